"""An OASIS medallion server on loopback: a real TAXII 2.1 upstream for the demo and for tests. It never serves our data."""

import io
import logging
import secrets
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

OBJECTS_AT_MOST = 150
"""Its reads are quadratic in the number of objects."""

API_ROOT = "upstream"
COLLECTION = "472c94ae-3113-4e3e-a4dd-a9f4ac7471d4"
STIX = "application/stix+json;version=2.1"
NO_VERSION = "2026-11-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the upstream's one collection is, and how to log in."""

    url: str
    user: str
    password: str = field(repr=False)


@contextmanager
def run_medallion(objects: Sequence[dict[str, Any]], *, port: int = 0, page_objects: int = 50) -> Iterator[Upstream]:
    """Serve at most OBJECTS_AT_MOST objects until the block ends, with credentials made afresh.

    medallion is a development dependency: raises ModuleNotFoundError where it is not installed, and ValueError for more
    objects than it can serve in reasonable time.
    """
    if len(objects) > OBJECTS_AT_MOST:
        raise ValueError(f"medallion is given {len(objects)} objects; at most {OBJECTS_AT_MOST}")
    user, password = "puente", secrets.token_urlsafe(16)
    server = _server(_application(objects, {user: password}, page_objects), port)
    thread = threading.Thread(target=server.serve_forever, name="medallion", daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/{API_ROOT}/collections/{COLLECTION}/"
        yield Upstream(url, user, password)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _application(objects: Sequence[dict[str, Any]], users: dict[str, str], page_objects: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # others' code, at import
        import flask
        import medallion
        from medallion import exceptions

    # An application of its own each time: medallion's global one takes its blueprints once per process.
    app = flask.Flask("medallion")
    app.register_error_handler(exceptions.ProcessingError, medallion.handle_processing_error)
    app.register_error_handler(exceptions.BackendError, medallion.handle_backend_error)
    medallion.set_config(app, "taxii", {"taxii": {"max_page_size": page_objects}})
    medallion.set_config(app, "users", {"users": users})
    medallion.set_config(
        app,
        "backend",
        {
            "backend": {
                "module": "medallion.backends.memory_backend",
                "module_class": "MemoryBackend",
                "filename": io.StringIO(orjson.dumps(_data(objects)).decode()),
            }
        },
    )
    medallion.register_blueprints(app)
    return app


def _data(objects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """medallion's database: one API root with one collection; object n was added n milliseconds after the first."""
    manifest = [
        {
            "id": one["id"],
            "date_added": f"2026-11-01T00:00:00.{number:03d}000Z",
            "version": one.get("modified") or one.get("created") or NO_VERSION,
            "media_type": STIX,
        }
        for number, one in enumerate(objects)
    ]
    collection = {
        "id": COLLECTION,
        "title": "Upstream objects",
        "can_read": True,
        "can_write": False,
        "media_types": [STIX],
        "manifest": manifest,
        "objects": [
            one if "created" in one or "modified" in one else {**one, "_date_added": NO_VERSION} for one in objects
        ],
    }
    information = {
        "title": "Upstream",
        "versions": ["application/taxii+json;version=2.1"],
        "max_content_length": 9_765_625,
    }
    return {
        "/discovery": {"title": "Upstream", "default": f"/{API_ROOT}/", "api_roots": [f"/{API_ROOT}/"]},
        API_ROOT: {"information": information, "status": [], "collections": [collection]},
    }


def _server(app: Any, port: int) -> Any:
    from werkzeug.serving import WSGIRequestHandler, make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: object, **__: object) -> None:
            """Nothing: a demo shows what the hub does, not what its upstream was asked."""

    server: Any = make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet)
    # A client's kept-alive connection must not keep its thread, and with it the whole demo, from ending.
    server.block_on_close = False
    server.daemon_threads = True
    return server
