"""Agreements over HTTP: which there were and are, one with its text and approvals, what is pending, what another would change,
and what the caller may see by the one in force."""

from typing import Any

import orjson
from aiohttp import hdrs, web

from exchange.errors import Malformed, NotFound
from exchange.governance.comparing import IN_FORCE, Asked, compare, held_agreement, oversees
from exchange.governance.drafts import Draft
from exchange.model.member import Access, Member
from exchange.release.access import access
from exchange.rules import Caller, Rules, agreement_of, overlays_of
from exchange.store.changes import AgreementRow
from exchange.times import as_text, parse_us
from exchange.web.finish import REVALIDATE
from exchange.web.negotiate import JSON, language
from exchange.web.routes import Query, Request, Route
from policies.clauses import Agreement
from policies.overlay import Overlay


async def get_agreements(request: Request, caller: Caller) -> web.Response:
    """Every adoption, newest first: versions that came into force, and what was tightened or ended beside them."""
    rules = request.glance.rules
    rows = await request.services.store.agreements()
    return _json({"agreements": [_adoption(row, rules) for row in reversed(rows)]}, request)


async def get_agreement(request: Request, caller: Caller) -> web.Response:
    """One adoption with its text, its approvals and the tightenings beside it. `in-force` is the newest."""
    rules = request.glance.rules
    row = await request.services.store.agreement(_number(request.match_info["number"], rules))
    if row is None:
        raise _absent()
    agreed = agreement_of(row.document)
    return _json(
        {
            **_adoption(row, rules),
            "document": row.document.decode(),
            "clauses": clauses(agreed),
            "approvals": orjson.loads(row.approvals),
            "tightenings": [
                {**_overlay(overlay), "document": kept["document"], "approvals": kept["approvals"]}
                for overlay, kept in zip(overlays_of(row), orjson.loads(row.overlays), strict=True)
            ],
        },
        request,
    )


async def get_pending(request: Request, caller: Caller) -> web.Response:
    """Versions on their way. Those that both countries approved are shown to every member; before that, and with their
    impact, to auditors and to each country's authority."""
    rules = request.glance.rules
    shown = await request.services.agreements.pending()
    if not oversees(rules, caller.member):
        shown = [one for one in shown if one.scheduled]
    return _json({"pending": [pending(one, rules, caller.member) for one in shown]}, request)


async def get_difference(request: Request, caller: Caller) -> web.Response:
    """What another agreement would change, for objects added since a time: of what the caller may know of today, nothing
    else."""
    services, rules = request.services, request.glance.rules
    asked = Asked(caller.member, _since(request))
    old = await held_agreement(services.store, rules, request.rel_url.query.get("old", IN_FORCE))
    new = await _named(request, caller, request.rel_url.query.get("new", ""))
    return _json(await compare(services.store, rules, old, new, asked), request)


async def get_access(request: Request, caller: Caller) -> web.Response:
    """What the caller may see, and by which clause: kinds of objects by collection, with the duties that come with them."""
    return _json(await access(request.services.release, request.glance, caller, language(request)), request)


# --- words ---


def pending(draft: Draft, rules: Rules, asker: Member | None) -> dict[str, Any]:
    """A version on its way, as this asker may know it; None is the operator."""
    found = {
        "agreement": draft.name,
        "version": draft.row.version,
        "sha256": draft.row.sha256,
        "impact_sha256": draft.row.impact_sha256,
        "state": "scheduled" if draft.scheduled else "draft",
        "proposed": as_text(draft.row.proposed_us),
        "effective_from": draft.agreement.effective_from,
        "document": draft.row.document.decode(),
        "clauses": clauses(draft.agreement),
    }
    if asker is None or oversees(rules, asker):
        standing = draft.standing(rules)
        openings = orjson.loads(draft.row.openings)
        found["approved"] = {country: list(names) for country, names in standing.approved.items()}
        found["needed"] = dict(standing.needed)
        found["impact"] = orjson.loads(draft.row.impact)
        found["opening"] = openings if asker is None else {asker.country.value: openings[asker.country]}
    return found


def clauses(agreement: Agreement) -> list[dict[str, str]]:
    """Each clause with its text in both languages."""
    return [
        {"id": one.id, "kind": one.kind, "en": one.en, "es": one.es} for one in (*agreement.permits, *agreement.forbids)
    ]


def _adoption(row: AgreementRow, rules: Rules) -> dict[str, Any]:
    agreed = agreement_of(row.document)
    return {
        "number": row.number,
        "agreement": row.name,
        "version": row.version,
        "sha256": agreed.sha256,
        "prev_sha256": agreed.prev_sha256,
        "impact_sha256": row.impact_sha256,
        "cause": row.cause,
        "state": "active" if row.number == rules.number else "superseded",
        "adopted": as_text(row.adopted_us),
        "effective_from": agreed.effective_from,
        "expires": agreed.expires,
        "overlays": [_overlay(one) for one in overlays_of(row)],
    }


def _overlay(overlay: Overlay) -> dict[str, Any]:
    document = overlay.document
    return {
        "overlay": document.overlay_id,
        "sha256": overlay.sha256,
        "country": document.country,
        "expires": document.expires,
        "reason": {"en": document.reason.en, "es": document.reason.es},
        "clauses": [{"id": one.id, "kind": "forbid", "en": one.text.en, "es": one.text.es} for one in document.forbid],
    }


# --- questions ---


async def _named(request: Request, caller: Caller, ref: str) -> Agreement:
    """The agreement to compare with. A draft that the caller may not know of is not there."""
    services, rules = request.services, request.glance.rules
    found = await held_agreement(services.store, rules, ref)
    if not oversees(rules, caller.member):
        drafts = [one for one in await services.agreements.drafts() if one.row.sha256 == found.sha256]
        adopted = any(agreement_of(row.document).sha256 == found.sha256 for row in await services.store.agreements())
        if drafts and not adopted and not drafts[-1].scheduled:
            raise NotFound("There is no such agreement here.", "No existe ese acuerdo aquí.", code="no-such-agreement")
    return found


def _number(text: str, rules: Rules) -> int:
    if text == IN_FORCE:
        return rules.number
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise _absent()
    return int(text)


def _since(request: Request) -> int:
    text = request.rel_url.query.get("since")
    if text is None:
        return 0
    try:
        return parse_us(text)
    except ValueError:
        raise Malformed(
            "since takes a timestamp such as 2026-11-24T12:00:00Z.",
            "since admite una marca de tiempo como 2026-11-24T12:00:00Z.",
            code="query-malformed",
            field="since",
        ) from None


def _absent() -> NotFound:
    return NotFound("There is no such agreement here.", "No existe ese acuerdo aquí.", code="no-such-agreement")


def _json(value: object, request: Request) -> web.Response:
    headers = {hdrs.CONTENT_TYPE: JSON, hdrs.CONTENT_LANGUAGE: language(request)}
    return web.Response(body=orjson.dumps(value), headers=headers)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/api/v1/agreements", Access.MEMBER, get_agreements, answer="Agreements", cache=REVALIDATE),
    Route("GET", "/api/v1/agreements/pending", Access.MEMBER, get_pending, answer="Pending"),
    Route(
        "GET",
        "/api/v1/agreements/diff",
        Access.MEMBER,
        get_difference,
        query=(
            Query("new", "The agreement to compare: a version, id/version or digest.", required=True),
            Query("old", "The agreement it is compared with; the one in force without it."),
            Query("since", "Count only objects added since this time."),
        ),
        answer="Difference",
    ),
    Route("GET", "/api/v1/agreements/{number}", Access.MEMBER, get_agreement, answer="Agreement", cache=REVALIDATE),
    Route("GET", "/api/v1/access", Access.MEMBER, get_access, answer="Access"),
)
