"""The hub's own API: who am I, submit, explain, who takes part, is the hub well, and the document of all of it."""

import orjson
from aiohttp import hdrs, web

from exchange.api.agreements import ROUTES as AGREEMENT_ROUTES
from exchange.api.auditing import ROUTES as AUDIT_ROUTES
from exchange.api.consents import ROUTES as CONSENT_ROUTES
from exchange.api.edl import ROUTES as EDL_ROUTES
from exchange.api.feeds import ROUTES as FEED_ROUTES
from exchange.api.gateway import ROUTES as GATEWAY_ROUTES
from exchange.api.ledger import ROUTES as LEDGER_ROUTES
from exchange.api.openapi import document
from exchange.errors import Malformed, NotFound, NotPermitted, Unavailable
from exchange.governance.credentials import warning_days
from exchange.model.member import Access, Collection, Member
from exchange.release.explain import explain
from exchange.rules import Caller
from exchange.store.contract import WRITABLE
from exchange.times import as_text
from exchange.web.evidence import AUDIT_LEAF, audit_leaf
from exchange.web.finish import REVALIDATE
from exchange.web.negotiate import JSON, language, must_be_readable
from exchange.web.routes import Query, Request, Route

# --- is the hub well? ---


async def get_alive(request: Request, caller: Caller) -> web.Response:
    """The process answers."""
    return _json({"alive": True})


async def get_ready(request: Request, caller: Caller) -> web.Response:
    """The hub can serve: its store is readable and its ledger grows. 503 otherwise.

    `state` is `degraded` while nothing crosses the border, because a country's witnesses are silent; all else goes on.
    """
    services = request.services
    epochs = await services.store.epochs()
    if epochs.state not in WRITABLE or services.publisher.halted is not None:
        raise Unavailable(
            "The exchange log has halted.",
            "El registro del intercambio está detenido.",
            code="ledger-halted",
            retry_after_seconds=60,
        )
    return _json({"ready": True, "state": epochs.state})


async def get_openapi(request: Request, caller: Caller) -> web.Response:
    """This document."""
    return _json(document(request.table.routes, request.services.settings))


# --- who, and with what rights ---


async def get_me(request: Request, caller: Caller) -> web.Response:
    """The member behind the credential, and until when the credential is valid. `warning_days` is 30, 14, 3 or 1 as its
    end comes near."""
    services, rules = request.services, request.glance.rules
    credential = rules.registry.credentials.get(caller.account)
    return _json(
        {
            **_member(caller.member, language(request)),
            "identity_id": caller.member.identity_id,
            "kind": caller.member.kind,
            "roles": list(caller.member.roles),
            "sectors": list(caller.member.sectors),
            "account": caller.account,
            "expires": as_text(credential.expires_us) if credential else None,
            "warning_days": warning_days(credential, services.clock.now_us()) if credential else None,
            "product": caller.product.name,
        }
    )


async def get_members(request: Request, caller: Caller) -> web.Response:
    """Who takes part: auditors see every member, a member sees itself."""
    rules = request.glance.rules
    shown = rules.registry.members.values() if caller.member.auditor else [caller.member]
    return _json({"members": [_member(member, language(request)) for member in shown]})


async def get_collections(request: Request, caller: Caller) -> web.Response:
    """The collections the caller may read or write, with the address that TAXII clients are given."""
    services = request.services
    rules = request.glance.rules
    base = f"{services.settings.public_url.rstrip('/')}/taxii2/{services.settings.api_root}/collections"
    return _json(
        {
            "collections": [
                {
                    "id": one.id,
                    "alias": one.alias,
                    "title": one.title,
                    "description": one.description,
                    "can_read": one.can_read(caller.member),
                    "can_write": one.can_write(caller.member),
                    "url": f"{base}/{one.id}/",
                }
                for one in rules.registry.collections
                if one.can_read(caller.member) or one.can_write(caller.member)
            ]
        }
    )


def _member(member: Member, spoken: str) -> dict[str, object]:
    return {
        "slug": member.slug,
        "name": member.name(spoken),
        "country": member.country.value,
        "status": member.status.value,
    }


# --- submissions ---


async def post_submission(request: Request, caller: Caller) -> web.Response:
    """Submit objects. The answer is the TAXII status, and where each entry about it lies in the logs."""
    services = request.services
    collection = _writable(request, caller, _required(request, "collection"))
    must_be_readable(request)
    body = await request.body()
    spoken = language(request)
    submitted = await services.intake.submit(caller, collection, body, language=spoken)
    origins = services.publisher.origins
    leaves = [
        {"log": leaf.log, "index": leaf.index, "origin": origins[leaf.log], "hash": leaf.hash.hex()}
        for leaf in submitted.leaves
    ]
    response = _json({**submitted.body, "leaves": leaves}, status=202)
    response.headers[hdrs.CONTENT_LANGUAGE] = spoken
    if leaves:
        response.headers[AUDIT_LEAF] = audit_leaf(submitted.leaves, origins)
    return response


async def get_status(request: Request, caller: Caller) -> web.Response:
    """What became of a submission. Its submitter may ask, and the auditors of its country."""
    body = await request.services.intake.status(caller, request.match_info["status"])
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: JSON})


def _writable(request: Request, caller: Caller, name: str) -> Collection:
    found = request.glance.rules.collection(name)
    if found is None or not (found.can_read(caller.member) or found.can_write(caller.member)):
        raise NotFound("There is no such collection.", "No existe esa colección.", field="collection")
    if not found.can_write(caller.member):
        raise NotPermitted(
            "Your organisation may not write to this collection.",
            "Su organización no puede escribir en esta colección.",
            code="collection-read-only",
        )
    return found


# --- why ---


async def get_explanation(request: Request, caller: Caller) -> web.Response:
    """Why a recipient may or may not have an object: the same judgement that release enforces, clause by clause."""
    services = request.services
    spoken = language(request)
    answer = await explain(
        services.store,
        services.release,
        services.rulebook,
        caller,
        _required(request, "object"),
        _required(request, "to"),
        spoken,
        version=request.rel_url.query.get("version"),
    )
    response = _json(answer)
    response.headers[hdrs.CONTENT_LANGUAGE] = spoken
    return response


# --- what must be dropped ---


async def get_recalls(request: Request, caller: Caller) -> web.Response:
    """What the caller's organisation is asked to drop. That it was told so is recorded."""
    return _json({"recalls": [one.told for one in await request.services.recalls.shown(caller)]})


async def post_acknowledgement(request: Request, caller: Caller) -> web.Response:
    """Say that what is recalled was dropped. To say it again changes nothing."""
    services = request.services
    recall, leaves = await services.recalls.acknowledge(caller, request.match_info["recall"])
    response = _json(recall.told, status=202)
    if leaves:
        response.headers[AUDIT_LEAF] = audit_leaf(leaves, services.publisher.origins)
    return response


def _required(request: Request, name: str) -> str:
    values = request.rel_url.query.getall(name, [])
    if len(values) != 1 or not values[0]:
        raise Malformed(
            f"The parameter {name} is required, once.",
            f"El parámetro {name} es obligatorio y debe aparecer una sola vez.",
            code="query-malformed",
            field=name,
        )
    return values[0]


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), headers={hdrs.CONTENT_TYPE: JSON})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/healthz", Access.ANYONE, get_alive, answer="Alive"),
    Route("GET", "/readyz", Access.ANYONE, get_ready, answer="Ready"),
    Route("GET", "/api/v1/openapi.json", Access.ANYONE, get_openapi, answer="Document", cache=REVALIDATE),
    Route("GET", "/api/v1/me", Access.MEMBER, get_me, answer="Me"),
    Route("GET", "/api/v1/members", Access.MEMBER, get_members, answer="Members"),
    Route("GET", "/api/v1/collections", Access.MEMBER, get_collections, answer="OwnCollections", cache=REVALIDATE),
    Route(
        "POST",
        "/api/v1/submissions",
        Access.MEMBER,
        post_submission,
        query=(Query("collection", "Id or alias of the collection to submit to.", required=True),),
        answer="Submission",
        success=202,
        takes="Envelope",
    ),
    Route("GET", "/api/v1/status/{status}", Access.MEMBER, get_status, answer="Status", cache=REVALIDATE),
    Route(
        "GET",
        "/api/v1/explain",
        Access.MEMBER,
        get_explanation,
        query=(
            Query("object", "STIX id of the object.", required=True),
            Query("to", "The member it is explained for.", required=True),
            Query("version", "One version only; every held version without it."),
        ),
        answer="Explanation",
    ),
    Route("GET", "/api/v1/recalls", Access.MEMBER, get_recalls, answer="Recalls"),
    Route(
        "POST",
        "/api/v1/recalls/{recall}/acknowledgements",
        Access.MEMBER,
        post_acknowledgement,
        answer="Recall",
        success=202,
    ),
    *AGREEMENT_ROUTES,
    *AUDIT_ROUTES,
    *CONSENT_ROUTES,
    *EDL_ROUTES,
    *FEED_ROUTES,
    *GATEWAY_ROUTES,
    *LEDGER_ROUTES,
)
