"""Feeds over HTTP: a member's runner tells of each of its runs, and whoever may know of a feed sees how it fares."""

import re
import uuid
from hashlib import sha256
from typing import Any, Final

import orjson
from aiohttp import hdrs, web

from certs.jcs import canonical
from exchange.api.bodies import read_object, text, wrong
from exchange.errors import Malformed, NotFound
from exchange.governance.feeds import Report
from exchange.model.member import Access
from exchange.rules import Caller
from exchange.times import as_text, parse_us
from exchange.web.evidence import AUDIT_LEAF, audit_leaf
from exchange.web.negotiate import JSON
from exchange.web.routes import Query, Request, Route

COUNTS: Final = ("fetched", "accepted", "held", "refused", "skipped")
_REQUIRED: Final = frozenset({"run", "to", "complete", *COUNTS})
_OPTIONAL: Final = frozenset({"from", "cadence_seconds", "cursor", "sha256", "code", "source", "fault"})
CURSOR_CHARACTERS_AT_MOST: Final = 200

_FEED = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII).fullmatch
_CODE = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}", re.ASCII).fullmatch
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch


async def post_run(request: Request, caller: Caller) -> web.Response:
    """Tell of a finished run of one's own feed. Told again in the same words, it is recorded once, and `leaves` is empty."""
    feed = request.match_info["feed"]
    if not _FEED(feed):
        raise wrong(
            "feed",
            "small letters, digits and hyphens, at most 63",
            "letras minúsculas, dígitos y guiones, 63 como máximo",
        )
    report = _report(feed, await read_object(request, _REQUIRED, _OPTIONAL))
    services = request.services
    leaves, origins = await services.feeds.record(caller, report), services.publisher.origins
    told = [{"log": one.log, "index": one.index, "origin": origins[one.log], "hash": one.hash.hex()} for one in leaves]
    answer = web.Response(
        status=201, body=orjson.dumps({"run": report.run, "leaves": told}), headers={hdrs.CONTENT_TYPE: JSON}
    )
    if leaves:
        answer.headers[AUDIT_LEAF] = audit_leaf(leaves, origins)
    return answer


async def get_feeds(request: Request, caller: Caller) -> web.Response:
    """How the caller's feeds fare; for auditors and its authority, all of their country. Nobody's of the other country."""
    shown = await request.services.feeds.shown(request.glance.rules, caller)
    return web.Response(body=orjson.dumps({"feeds": shown}), headers={hdrs.CONTENT_TYPE: JSON})


async def get_feed(request: Request, caller: Caller) -> web.Response:
    """The last runs of a feed, newest first; of each member's of that name that the caller may know of."""
    feed = request.match_info["feed"]
    if not _FEED(feed):
        raise NotFound("There is no such feed.", "No existe esa fuente.", code="no-such-feed", field="feed")
    shown = await request.services.feeds.shown_runs(request.glance.rules, caller, feed)
    return web.Response(body=orjson.dumps({"feeds": shown}), headers={hdrs.CONTENT_TYPE: JSON})


async def get_held(request: Request, caller: Caller) -> web.Response:
    """The values for which objects of the caller were held back, the last first, and until when each is released. With
    `released=1`, those that are released now."""
    only = request.rel_url.query.getall("released", ["0"])
    if only not in (["0"], ["1"]):
        raise Malformed("released takes 0 or 1.", "released admite 0 o 1.", code="query-malformed", field="released")
    held = await request.services.holding.held(request.glance.rules, [caller.member.slug])
    shown = [
        {
            "value": one.row.value,
            "list": one.row.list_name,
            "object": one.row.object_id,
            "held": as_text(one.row.held_us),
            "released_until": as_text(one.until_us) if one.until_us else None,
        }
        for one in held
        if one.until_us or only == ["0"]
    ]
    return web.Response(body=orjson.dumps({"held": shown}), headers={hdrs.CONTENT_TYPE: JSON})


# --- the report, member by member ---


def _report(feed: str, value: dict[str, Any]) -> Report:
    told: dict[str, Any] = {name: _count(value, name) for name in COUNTS}
    told["run"] = _uuid(value)
    ended_us = _time(value, "to")
    told["to"] = as_text(ended_us)
    told["complete"] = value["complete"]
    if not isinstance(told["complete"], bool):
        raise wrong("complete", "true or false", "true o false")
    if told["complete"] is ("code" in value):
        raise wrong(
            "code",
            "there when the run is not complete, and only then",
            "indicado si la ejecución no está completa, y solo entonces",
        )
    if "from" in value:
        told["from"] = as_text(_time(value, "from"))
    if "cadence_seconds" in value:
        told["cadence_seconds"] = _count(value, "cadence_seconds")
    told |= _texts(value)
    return Report(feed, told["run"], ended_us, sha256(canonical(told)).digest(), told)


def _texts(value: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if "cursor" in value:
        told["cursor"] = text(value, "cursor", most=CURSOR_CHARACTERS_AT_MOST)
    if "source" in value:
        told["source"] = text(value, "source")
    for name, fits, en, es in (
        ("sha256", _HEX, "a digest in hex", "una huella en hexadecimal"),
        ("code", _CODE, "small letters, digits, points and hyphens", "letras minúsculas, dígitos, puntos y guiones"),
    ):
        if name in value:
            told[name] = text(value, name)
            if not fits(told[name]):
                raise wrong(name, en, es)
    if "fault" in value:
        fault = value["fault"]
        if not isinstance(fault, dict) or fault.keys() != {"en", "es"}:
            raise wrong("fault", "an object of en and es", "un objeto con en y es")
        told["fault"] = {name: text({f"fault.{name}": fault[name]}, f"fault.{name}") for name in ("en", "es")}
    return told


def _uuid(value: dict[str, Any]) -> str:
    try:
        return str(uuid.UUID(text(value, "run", most=36)))
    except ValueError:
        raise wrong("run", "a UUID", "un UUID") from None


def _time(value: dict[str, Any], name: str) -> int:
    try:
        return parse_us(text(value, name, most=40))
    except ValueError:
        raise wrong(
            name, "a timestamp such as 2026-11-24T12:00:00Z", "una marca de tiempo como 2026-11-24T12:00:00Z"
        ) from None


def _count(value: dict[str, Any], name: str) -> int:
    found = value[name]
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**53:
        raise wrong(name, "a whole number, not negative", "un número entero no negativo")
    return found


_RELEASED = (Query("released", "1: only those that are released now."),)

ROUTES: tuple[Route, ...] = (
    Route("GET", "/api/v1/feeds", Access.MEMBER, get_feeds, answer="Feeds"),
    Route("GET", "/api/v1/feeds/{feed}", Access.MEMBER, get_feed, answer="FeedRuns"),
    Route("GET", "/api/v1/held", Access.MEMBER, get_held, query=_RELEASED, answer="Held"),
    Route(
        "POST", "/api/v1/feeds/{feed}/runs", Access.MEMBER, post_run, answer="Recorded", success=201, takes="FeedRun"
    ),
)  # fmt: skip
