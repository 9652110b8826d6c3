"""A medallion server on loopback: the reference implementation as an upstream for the demo and for tests, never for our data."""

import contextlib
import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the upstream's one collection is, and how to log in."""

    url: str
    user: str
    password: str = field(repr=False)


COLLECTION = "472c94ae-3113-4e3e-a4dd-a9f4ac7471d4"


@contextlib.contextmanager
def run_medallion(objects: Sequence[dict[str, Any]]) -> Iterator[Upstream]:
    """Serve some objects (a hundred or two: its reads are quadratic) until the block ends. Credentials are made afresh."""
    from medallion import application_instance, register_blueprints, set_config
    from werkzeug.serving import make_server

    user, password = "puente", secrets.token_urlsafe(16)
    data = {
        "discovery": {"title": "Upstream", "default": "/api/", "api_roots": ["/api/"]},
        "/api/": {
            "information": {
                "title": "Upstream", "versions": ["application/taxii+json;version=2.1"], "max_content_length": 100_000_000,
            },
            "status": [],
            "collections": [
                {
                    "id": COLLECTION, "title": "Upstream objects", "can_read": True, "can_write": False,
                    "media_types": ["application/stix+json;version=2.1"],
                    "objects": list(objects),
                    "manifest": [
                        {
                            "id": one["id"],
                            "date_added": f"2026-11-01T00:00:00.{number:06d}Z",
                            "version": one.get("modified") or one.get("created") or "2026-11-01T00:00:00.000Z",
                            "media_type": "application/stix+json;version=2.1",
                        }
                        for number, one in enumerate(objects)
                    ],
                }
            ],
        },
    }  # fmt: skip
    set_config(application_instance, "taxii", {"taxii": {"max_page_size": 50}})
    set_config(application_instance, "users", {"users": {user: password}})
    set_config(application_instance, "backend", {"backend": {"module_class": "MemoryBackend", "filename": data}})
    register_blueprints(application_instance)
    server = make_server("127.0.0.1", 0, application_instance, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Upstream(f"http://127.0.0.1:{server.server_port}/api/collections/{COLLECTION}/", user, password)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
