"""TAXII 2.1 resources as bytes: discovery, API root, collections, envelopes, manifests, versions."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from exchange.model.member import Collection, Member
from exchange.model.page import Row
from exchange.release.sheet import Sheet, View
from exchange.settings import Settings
from exchange.times import as_text
from exchange.web.negotiate import STIX, TAXII

DISCOVERY_PATH = "/taxii2/"

_PLAIN = str.maketrans(dict.fromkeys(".*", " "))


def plain_title(text: str) -> str:
    """A title without `.` and `*`: OpenCTI's connector picks roots and collections by patterns of dotted titles."""
    return " ".join(text.translate(_PLAIN).split())


def root_url(settings: Settings) -> str:
    """Absolute and with its last slash: clients request it as it is, and take its last segment as the root's name."""
    return f"{settings.public_url.rstrip('/')}{DISCOVERY_PATH}{settings.api_root}/"


def discovery(settings: Settings) -> bytes:
    """TAXII 2.1, 4.1.1."""
    url = root_url(settings)
    return orjson.dumps(
        {
            "title": plain_title(settings.title),
            "description": "Exchange of signed STIX 2.1 threat indicators between the United States and Mexico."
            " Intercambio de indicadores de amenaza STIX 2.1 firmados entre los Estados Unidos y México.",
            "default": url,
            "api_roots": [url],
        }
    )


def api_root(settings: Settings) -> bytes:
    """TAXII 2.1, 4.2.1."""
    return orjson.dumps(
        {
            "title": plain_title(settings.title),
            "versions": [TAXII],
            "max_content_length": settings.body_limit_bytes,
        }
    )


# --- collections ---


def visible(collection: Collection, member: Member) -> bool:
    """A collection with neither right is hidden: to this member it does not exist."""
    return collection.can_read(member) or collection.can_write(member)


def collection(found: Collection, member: Member) -> dict[str, Any]:
    """TAXII 2.1, 5.2.1, with the rights of the member who asks."""
    resource: dict[str, Any] = {"id": found.id, "title": plain_title(found.title)}
    if found.description:
        resource["description"] = found.description
    if found.alias:
        resource["alias"] = found.alias
    resource |= {
        "can_read": found.can_read(member),
        "can_write": found.can_write(member),
        "media_types": [STIX],
    }
    return resource


def collections(all_of_them: Iterable[Collection], member: Member) -> bytes:
    """TAXII 2.1, 5.1.1: those the member may see, sorted by id; no empty list is ever sent (2)."""
    shown = [collection(one, member) for one in sorted(all_of_them, key=lambda one: one.id) if visible(one, member)]
    return orjson.dumps({"collections": shown} if shown else {})


# --- pages ---


def _records(rows: Sequence[Row]) -> bytes:
    records = [
        {"id": row.id, "date_added": as_text(row.tick), "version": row.version, "media_type": STIX} for row in rows
    ]
    return orjson.dumps(records)[1:-1]


def _version_texts(rows: Sequence[Row]) -> bytes:
    return orjson.dumps(list(dict.fromkeys(row.version for row in rows)))[1:-1]


OBJECTS = View("objects")
"""TAXII 2.1, 3.7."""
MANIFEST = View("manifest", _records)
"""TAXII 2.1, 5.3.1: one record for each version."""
VERSIONS = View("versions", _version_texts)
"""TAXII 2.1, 5.8.1: the versions' own texts, in the order they were added."""


def paged(sheet: Sheet, view: View, following: str | None, *, lists: bool = False) -> tuple[bytes, ...]:
    """The resource that a page is sent as, in pieces; `following` is its `next`. It is compressed when its content is.

    `lists` is the wish of a client that cannot do without a list, even an empty one.
    """
    if not sheet.count and not lists:
        return (b"{}",)  # 2: an empty list is left out
    # 3.5 makes `next` optional, but taxii2-client repeats page one for ever without it. Base64url needs no escapes.
    head = b'{"more":false,"' if following is None else b'{"more":true,"next":"%b","' % following.encode()
    head += (b"versions" if view is VERSIONS else b"objects") + b'":['
    return sheet.packed.around(head, b"]}") if sheet.packed else (head, sheet.content, b"]}")
