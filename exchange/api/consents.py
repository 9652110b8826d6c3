"""Consents and additions to audiences over HTTP: asked for, given, refused and taken back, each signed by who says it."""

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import hdrs, web

from exchange.governance.statements import Asked
from exchange.model.member import Access, Member
from exchange.model.statement import Statement
from exchange.rules import Caller, Rules
from exchange.store.acts import LeafRef
from exchange.times import as_text, parse_us
from exchange.web.evidence import AUDIT_LEAF, audit_leaf
from exchange.web.negotiate import JSON
from exchange.web.routes import Request, Route


async def get_consents(request: Request, caller: Caller) -> web.Response:
    """The requests that the caller made or that were put to it, and the consents that it gave or that name it."""
    statements, now_us = request.services.statements, request.services.clock.now_us()
    return _json(
        {
            "requests": [asked(one) for one in await statements.asked(caller.member)],
            "consents": [
                granted(one, request.glance.rules, now_us, withdrawn=withdrawn)
                for one, withdrawn in await statements.granted(caller.member)
            ],
        }
    )


async def post_request(request: Request, caller: Caller) -> web.Response:
    """Ask an originator for its consent. Nothing is told of what it holds; no answer in time is a no."""
    return _json(asked(await request.services.statements.request(caller, await request.body())), status=202)


async def post_consent(request: Request, caller: Caller) -> web.Response:
    """Grant, refuse or withdraw a consent: a statement signed by the originator's signing key. It holds from then on."""
    made, leaves = await request.services.statements.accept(caller, await request.body(), about="consent")
    return _stated(request, made, leaves)


async def get_audiences(request: Request, caller: Caller) -> web.Response:
    """The agreement's audiences: whom the document names, and whom their owners added since. Members see those they belong to,
    and those that they may extend."""
    return _json({"audiences": audiences(request.glance.rules, caller.member)})


async def post_audience(request: Request, caller: Caller) -> web.Response:
    """Add a member to an audience, or take out one that was added: a statement signed by the authority of its owner."""
    made, leaves = await request.services.statements.accept(caller, await request.body(), about="audience")
    return _stated(request, made, leaves)


# --- words ---


def asked(one: Asked) -> dict[str, Any]:
    said = one.request.said
    return {
        "id": one.request.id,
        "member": one.request.member,
        "originator": said["originator"],
        "case": said["case"],
        "reason": said["reason"],
        "asked": as_text(one.request.made_us),
        "due": said["due"],
        "state": one.state,
    }


def granted(one: Statement, rules: Rules, now_us: int, *, withdrawn: bool) -> dict[str, Any]:
    """A consent, and until when it really holds: never longer than the agreement lets one."""
    said = one.said
    longest = parse_us(said["given"]) + 1_000_000 * rules.in_force.consent_seconds
    until_us = min(parse_us(said["until"]), longest)
    state = "withdrawn" if withdrawn else "standing" if now_us < until_us else "over"
    names = ("case", "members", "countries", "given")
    return {
        "id": one.id, "originator": one.member, **{name: said[name] for name in names}, "until": as_text(until_us),
        "state": state,
    }  # fmt: skip


def audiences(rules: Rules, asker: Member | None) -> list[dict[str, Any]]:
    """Every audience for None, the operator."""
    named = rules.in_force.document.audiences
    since: dict[str, list[str]] = {}
    for member, names in rules.additions.items():
        for name in names:
            since.setdefault(name, []).append(member)
    parties = rules.in_force.document.parties
    return [
        {
            "audience": name,
            "owner": one.owner,
            "may_extend": one.may_extend,
            "members": list(one.members),
            "added": sorted(since.get(name, ())),
        }
        for name, one in named.items()
        if asker is None or asker.slug in (parties[one.owner].authority, *one.members, *since.get(name, ()))
    ]


def _stated(request: Request, made: Statement, leaves: Sequence[LeafRef]) -> web.Response:
    origins = request.services.publisher.origins
    told = [{"log": one.log, "index": one.index, "origin": origins[one.log], "hash": one.hash.hex()} for one in leaves]
    response = _json({"id": made.id, "leaves": told}, status=201)
    response.headers[AUDIT_LEAF] = audit_leaf(leaves, origins)
    return response


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), headers={hdrs.CONTENT_TYPE: JSON})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/api/v1/consents", Access.MEMBER, get_consents, answer="Consents"),
    Route("POST", "/api/v1/consents", Access.MEMBER, post_consent, answer="Stated", success=201, takes="Statement"),
    Route(
        "POST",
        "/api/v1/consents/requests",
        Access.MEMBER,
        post_request,
        answer="ConsentRequest",
        success=202,
        takes="ConsentQuestion",
    ),
    Route("GET", "/api/v1/audiences", Access.MEMBER, get_audiences, answer="Audiences"),
    Route("POST", "/api/v1/audiences", Access.MEMBER, post_audience, answer="Stated", success=201, takes="Statement"),
)
