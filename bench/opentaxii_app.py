"""OpenTAXII in the peers' environment: `python -m bench.opentaxii_app` makes its database, gunicorn serves `app`.

Release 0.9.3 stores what is posted and then answers 500, as UUIDs are no JSON to it. The encoder below is all that is mended.
"""

import functools
import json
import secrets
import types
import uuid
from typing import Any

import opentaxii.taxii2.http
from opentaxii.http import app, server


class _WithUuids(json.JSONEncoder):
    def default(self, o: Any) -> Any:
        return str(o) if isinstance(o, uuid.UUID) else super().default(o)


opentaxii.taxii2.http.json = types.SimpleNamespace(dumps=functools.partial(json.dumps, cls=_WithUuids))


def establish() -> dict[str, str]:
    """One account, one API root, one collection, and how to reach them."""
    password = secrets.token_urlsafe(16)
    with app.app_context():
        storage = server.servers.taxii2.persistence.api
        root = storage.add_api_root(title="bench", default=True)
        collection = storage.add_collection(api_root_id=root.id, title="bench")
        server.auth.api.create_account("bench", password, is_admin=True)
        token = server.auth.api.authenticate("bench", password)
    return {
        "path": f"taxii2/{root.id}/collections/{collection.id}/",
        "token": token if isinstance(token, str) else token.decode(),
    }


if __name__ == "__main__":
    print(json.dumps(establish()))
