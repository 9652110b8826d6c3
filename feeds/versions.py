"""When something becomes a new version: what a source changed, withdrew, or left as it was. Pure."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal, Protocol

from certs.jcs import canonical, load
from exchange.client.envelopes import UNVERSIONED_TYPES, version_of
from exchange.model.stix import SCO_TYPES
from exchange.times import as_millis_text, parse_us
from feeds.adapter import Record
from feeds.stable import stable, time_text
from feeds.state import Change, Own

_MILLISECOND_US = 1_000
_SECOND_US = 1_000_000
_BODY_LIMIT_BYTES = 10_000_000


class Known(Protocol):
    """What a feed's memory is asked here (feeds/state.py)."""

    def own(self, object_id: str) -> Own | None: ...

    def passed(self, object_id: str, version: str) -> str | None: ...

    def refused(self, object_id: str, content: str) -> bool: ...


def content_of(obj: Mapping[str, Any]) -> str:
    """Digest of the canonical form less `modified`: a source that only moves its date has not changed."""
    return sha256(canonical({name: value for name, value in obj.items() if name != "modified"})).hexdigest()


def own_change(obj: dict[str, Any], known: Known, record: Record, now_us: int) -> Change | None:
    """The version to submit of an object of the operator's own; None when nothing changed.

    The first version's `modified` is its `created` (STIX 2.1, 3.6). A later one takes the time the source gives, but at
    least a millisecond after the version before and never a time that has not come yet. An indicator that holds while it
    is listed is renewed when less than half of its time is left; so is a sighting, with a count of one more.
    """
    obj = stable(obj)
    content = content_of(obj)
    held = known.own(obj["id"])
    last = None if held is None else _body(held)
    if held is None and obj.get("revoked"):
        return None  # nobody was told that it was so
    if held is not None and (held.revoked or (held.content == content and not _due(held, record, now_us))):
        return None
    if held is not None and obj["type"] in UNVERSIONED_TYPES:
        return None  # it has no versions (STIX 2.1, 3.2, 7.2.1): what is said first stands, as it does for the hub
    dated = {**obj, **_times(obj, last, record.lifetime_seconds * _SECOND_US, now_us)}
    if obj["type"] not in UNVERSIONED_TYPES:
        proposed = obj.get("modified") or as_millis_text(now_us)
        dated["modified"] = dated["created"] if held is None else _after(held.modified, proposed, now_us)
    if known.refused(obj["id"], content):
        return None
    return _own_change(dated, content, record)


def ending(held: Own, how: Literal["revoke", "expire"], record: Record, now_us: int) -> Change | None:
    """The version that says of an object that its source lists it no more; None when there is nothing to say.

    To revoke is to say that it was never so, or is no more, for good (STIX 2.1, 3.6.2); to expire, that it holds until now.
    """
    last = _body(held)
    if last["type"] == "malware" or last["type"] in UNVERSIONED_TYPES:
        return None  # they have no end; a family is no less one for being listed nowhere
    modified = _after(held.modified, as_millis_text(now_us), now_us)
    if how == "revoke":
        return _own_change({**last, "revoked": True, "modified": modified}, None, record)
    if last["type"] != "indicator":
        return None
    if "valid_until" in last and parse_us(last["valid_until"]) <= now_us:
        return None
    until = time_text(max(now_us, parse_us(last["valid_from"]) + _MILLISECOND_US))
    # Not the content that the source gave: listed again, it is a change.
    return _own_change({**last, "valid_until": until, "modified": modified}, None, record)


def passed_change(obj: dict[str, Any], known: Known) -> tuple[Change, bool]:
    """A third party's object, value for value; and whether it is new: neither taken in this version nor standing refused."""
    body = canonical(obj)
    content, version = sha256(body).hexdigest(), version_of(obj)
    new = known.passed(obj["id"], version) != content and not known.refused(obj["id"], content)
    return Change(obj["id"], version, content, body, own=False), new


def _own_change(obj: dict[str, Any], content: str | None, record: Record) -> Change:
    return Change(
        obj["id"], version_of(obj), content or content_of(obj), canonical(obj), own=True, key=record.key,
        epoch=record.epoch, revoked=obj.get("revoked") is True,
    )  # fmt: skip


def _times(obj: Mapping[str, Any], last: Mapping[str, Any] | None, lifetime_us: int, now_us: int) -> dict[str, Any]:
    """What the object leaves to us: as in the version before, else now."""
    if obj["type"] in SCO_TYPES:
        return {}
    before = last or {}
    created = obj.get("created") or before.get("created") or as_millis_text(now_us)
    if obj["type"] == "sighting":  # its count: how often the source was found to say so, anew or still
        first = obj.get("first_seen") or before.get("first_seen") or time_text(parse_us(created))
        seen_us = max(parse_us(obj.get("last_seen") or as_millis_text(now_us)), parse_us(first))
        return {
            "created": created,
            "first_seen": first,
            "last_seen": time_text(seen_us),
            "count": before.get("count", 0) + 1,
        }
    if obj["type"] != "indicator":
        return {"created": created}
    begin = obj.get("valid_from") or before.get("valid_from") or time_text(parse_us(created))
    until = {"valid_until": time_text(now_us + lifetime_us)} if lifetime_us else {}
    return {"created": created, "valid_from": begin, **until}


def _due(held: Own, record: Record, now_us: int) -> bool:
    if not record.lifetime_seconds:
        return False
    body, half_us = _body(held), record.lifetime_seconds * _SECOND_US // 2
    if body["type"] == "sighting":
        return now_us - parse_us(body["last_seen"]) >= half_us
    until = body.get("valid_until")
    return until is not None and parse_us(until) - now_us <= half_us


def _body(held: Own) -> dict[str, Any]:
    body: dict[str, Any] = load(held.body, max_bytes=_BODY_LIMIT_BYTES)
    return body


def _after(before: str, proposed: str, now_us: int) -> str:
    return as_millis_text(max(min(parse_us(proposed), now_us), parse_us(before) + _MILLISECOND_US))
