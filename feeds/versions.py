"""When something becomes a new version: what a source changed, withdrew, or left as it was. Pure."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Protocol

from certs.jcs import canonical, load
from exchange.client.envelopes import version_of
from exchange.times import as_millis_text, parse_us
from feeds.state import Change, Own

_MILLISECOND_US = 1_000
_BODY_LIMIT_BYTES = 10_000_000


class Known(Protocol):
    """What a feed's memory is asked here (feeds/state.py)."""

    def own(self, object_id: str) -> Own | None: ...

    def passed(self, object_id: str, version: str) -> str | None: ...

    def refused(self, object_id: str, version: str, content: str) -> bool: ...


def content_of(obj: Mapping[str, Any]) -> str:
    """Digest of the canonical form less `modified`: a source that only moves its date has not changed."""
    return sha256(canonical({name: value for name, value in obj.items() if name != "modified"})).hexdigest()


def own_change(obj: dict[str, Any], known: Known, *, key: str, epoch: int, now_us: int) -> Change | None:
    """The version to submit of an object of the operator's own; None when nothing changed.

    The first version's `modified` is its `created` (STIX 2.1, 3.6). A later one takes the time the source gives, but at
    least a millisecond after the version before and never a time that has not come yet.
    """
    content = content_of(obj)
    held = known.own(obj["id"])
    if held is not None and (held.revoked or held.content == content):
        return None
    dated = {**obj, "modified": obj["created"] if held is None else _after(held.modified, obj["modified"], now_us)}
    if known.refused(obj["id"], dated["modified"], content):
        return None
    return Change(obj["id"], dated["modified"], content, canonical(dated), own=True, key=key, epoch=epoch)


def revocation(held: Own, *, key: str, epoch: int, now_us: int) -> Change:
    """The last version of an object whose source withdrew it (STIX 2.1, 3.6.2)."""
    last: dict[str, Any] = load(held.body, max_bytes=_BODY_LIMIT_BYTES)
    ended = {**last, "revoked": True, "modified": _after(held.modified, as_millis_text(now_us), now_us)}
    content = content_of(ended)
    return Change(held.id, ended["modified"], content, canonical(ended), own=True, key=key, epoch=epoch, revoked=True)


def passed_change(obj: dict[str, Any], known: Known) -> Change | None:
    """A third party's object, value for value; None when this version of it was taken or stands refused."""
    body = canonical(obj)
    content, version = sha256(body).hexdigest(), version_of(obj)
    if known.passed(obj["id"], version) == content or known.refused(obj["id"], version, content):
        return None
    return Change(obj["id"], version, content, body, own=False)


def _after(before: str, proposed: str, now_us: int) -> str:
    return as_millis_text(max(min(parse_us(proposed), now_us), parse_us(before) + _MILLISECOND_US))
