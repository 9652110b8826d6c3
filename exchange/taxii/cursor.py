"""The `next` token: a place in one member's walk, signed, so that any process can go on from it at any time.

The token is base64url( version byte | JSON | HMAC-SHA256 cut to 16 bytes ). It carries the whole question, because
clients drop their filters while they page; it is not bound to a limit, and the same token may be used again.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, replace
from hashlib import sha256

import orjson

from exchange.errors import Malformed
from exchange.model.page import Cursor, Filter
from exchange.taxii.query import Asked

_VERSION = b"\x01"
_DOMAIN = b"puente-taxii-cursor\0"
_MAC_BYTES = 16


class ForeignCursor(Malformed):
    """A token that this hub did not make for this member. It is worth an event: tokens do not change by themselves."""

    denies = True

    def __init__(self, reason: str) -> None:
        super().__init__(
            "The value of next was not made for you by this server. Begin again with added_after.",
            "El valor de next no fue emitido para usted por este servidor. Comience de nuevo con added_after.",
            code="cursor-foreign",
            field="next",
        )
        self.reason = reason


# --- the token ---


def encode(cursor: Cursor, key: bytes) -> str:
    match = cursor.filter
    payload = _VERSION + orjson.dumps(
        [
            cursor.member,
            cursor.collection,
            cursor.tick,
            match.added_after_us,
            match.ids,
            match.types,
            match.versions,
            match.spec_versions,
        ]
    )
    return urlsafe_b64encode(payload + _mac(payload, key)).rstrip(b"=").decode()


def decode(token: str, key: bytes, *, member: str) -> Cursor:
    """The cursor of a token. Raises ForeignCursor for one that is altered, of another version, or another member's."""
    try:
        data = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (ValueError, Base64Error):
        raise ForeignCursor("not a token") from None
    payload, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(payload, key)) or payload[:1] != _VERSION:
        raise ForeignCursor("altered, or of another hub")
    # Base64 has spare bits and skips foreign characters: only the one spelling that `encode` writes is taken.
    if urlsafe_b64encode(data).rstrip(b"=").decode() != token:
        raise ForeignCursor("not as it was written")
    owner, collection, tick, added_after_us, *lists = orjson.loads(payload[1:])
    if owner != member:
        raise ForeignCursor("another member's")
    return Cursor(owner, collection, Filter(added_after_us, *(tuple(words) for words in lists)), tick)


def _mac(payload: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _DOMAIN + payload, sha256)[:_MAC_BYTES]


# --- where to go on ---


@dataclass(frozen=True, slots=True)
class Start:
    """Where a page begins: versions that match, with ticks above `after_us`."""

    match: Filter
    after_us: int = 0


def start(asked: Asked, cursor: Cursor | None, *, collection: str, only: str | None = None) -> Start:
    """Where to begin, so that no misuse of a token loses an object; giving some twice harms nobody.

    `only` is the object whose endpoint was asked, if it was one. Raises Malformed when request and token contradict.

    * no token, or the walk's own added_after replaced by another: page one of what is asked now
    * the token's collection: on from the token's place, under the token's filter
    * another collection's (or object's) token: page one of this one, from the token's added_after, for a client that
      takes a token along has left its own added_after out
    """
    match = asked.match if only is None else asked.match.only(only)
    if cursor is None:
        return Start(match)
    if asked.added_after_us is not None and asked.added_after_us != (cursor.filter.added_after_us or 0):
        return Start(match)
    kept = cursor.filter
    here = cursor.collection == collection and (only is None or kept.ids == (only,))
    if not here:
        return Start(replace(match, added_after_us=kept.added_after_us))
    if not (asked if only is None else replace(asked, ids=(), types=())).agrees_with(kept):
        raise Malformed(
            "The filters are not those of the value of next. Leave them out, or begin again without next.",
            "Los filtros no son los del valor de next. Omítalos o comience de nuevo sin next.",
            code="cursor-filters",
            field="next",
        )
    return Start(kept, cursor.tick)
