"""The auditor's questions over HTTP: asked of `both` and of the auditor's own country's log, recorded, and sealed."""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from aiohttp import hdrs, web

from exchange.api.ledger import may_audit
from exchange.auditing.answers import QUESTIONS, Answer, Mark, answer, question, seal
from exchange.auditing.crossed import CrossedLeaves
from exchange.auditing.rows import Asked, moment
from exchange.errors import Malformed, NotFound, Unavailable
from exchange.ledger.generations import in_order
from exchange.model.member import Access
from exchange.release.explain import explain
from exchange.rules import Caller
from exchange.web.negotiate import language
from exchange.web.routes import Query, Request, Route
from exchange.web.services import Services

JSONL = "application/jsonl"

ROWS = 1_000
ROWS_AT_MOST = 10_000
"""Of one answer: some 4 MB. What is more is asked for with `next`."""

_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,300}")
_COUNT = re.compile(r"[1-9][0-9]{0,6}", re.ASCII)
_NEXT = re.compile(r"(?:(?:both|us|mx)(?:/[0-9]{1,4})?\.[0-9]{1,15}-){1,99}[0-9]{1,9}", re.ASCII)
_PARAMETERS = (
    "object", "to", "since", "until", "log", "member", "collection", "sample", "seed", "limit", "next",
)  # fmt: skip


async def get_answer(request: Request, caller: Caller) -> web.Response:
    """The answer to one of the auditor's questions, as JSON Lines under the hub's signature. That it was asked is recorded.

    Rows are metadata: no answer holds an indicator's pattern or a person. Entries after the newest signed checkpoint are
    not told of yet.
    """
    services = request.services
    asked, skip, limit, sizes = _asked(request)
    vouch = await services.publisher.voucher()
    logs = [log for log in in_order(services.publisher.origins) if may_audit(log, caller.member)]
    question(asked, logs)
    if caller.member.slug in services.audit_readers:
        raise Unavailable(
            "Another question of your organisation is still being answered.",
            "Aún se está respondiendo otra consulta de su organización.",
            code="audit-busy",
            retry_after_seconds=2,
        )
    services.audit_readers.add(caller.member.slug)
    try:
        marks = await _marks(services, logs, sizes)
        source = CrossedLeaves(services.store, logs) if asked.object else services.store
        found = await answer(asked, source, marks, skip=skip, limit=limit)
    finally:
        services.audit_readers.discard(caller.member.slug)
    end = {**found.end, "next": _next(marks, skip + len(found.rows)) if found.end["more"] else None}
    if asked.question == "why":
        end["judgement"] = await _judgement(request, caller, asked)
    body = Answer(found.head, found.rows, end).encode()
    read = {"sha256": sha256(body).hexdigest(), **({"seed": asked.seed} if asked.seed else {})}
    upto = [f"{mark.log}@{mark.size}" for mark in marks]
    # Before any of it leaves, in the log of the auditor's own country; what was asked about whom is in the private part.
    await services.records.read(caller, asked.question, upto, len(found.rows), words={"asked": asked.told}, **read)
    return web.Response(
        body=seal(body, vouch),
        headers={hdrs.CONTENT_TYPE: JSONL, hdrs.CONTENT_LANGUAGE: language(request)},
    )


async def _judgement(request: Request, caller: Caller, asked: Asked) -> dict[str, Any] | None:
    """What the agreement in force says today, clause by clause; None where none is, or where this auditor may not ask."""
    services = request.services
    try:
        return await explain(
            services.store, services.release, services.rulebook, caller, asked.object, asked.to, language(request)
        )
    except (NotFound, Unavailable):
        return None


# --- how far ---


async def _marks(services: Services, logs: Sequence[str], sizes: dict[str, int] | None) -> list[Mark]:
    """The newest signed checkpoints, or those that an earlier page of this answer was read up to; of closed logs, all that is left."""
    found, trees = [], await services.store.trees()
    for log in logs:
        if trees[log].closed:
            found.append(Mark(log, services.publisher.origins[log], trees[log].size, trees[log].root.hex()))
            continue
        row = await services.store.checkpoint(log, None if sizes is None else sizes.get(log, 0))
        if row is None or (sizes is not None and row.size != sizes.get(log)):
            if sizes is not None:
                raise _malformed("next")
            continue  # nothing is signed yet
        found.append(Mark(log, services.publisher.origins[log], row.size, row.root.hex()))
    return found


def _next(marks: Sequence[Mark], skip: int) -> str:
    return "-".join([*[f"{mark.log}.{mark.size}" for mark in marks], str(skip)])


# --- what is asked ---


def _asked(request: Request) -> tuple[Asked, int, int, dict[str, int] | None]:
    given = request.rel_url.query
    values: dict[str, str] = {}
    for name in given:
        texts = given.getall(name)
        if name not in _PARAMETERS or len(texts) != 1 or _TEXT.fullmatch(texts[0]) is None:
            raise _malformed(name)
        values[name] = texts[0]
    skip, sizes = _place(values.pop("next", None))
    limit = min(_count(values, "limit") or ROWS, ROWS_AT_MOST)
    values.pop("limit", None)
    times = {name: moment(values.pop(name), name) for name in ("since", "until") if name in values}
    size = _count(values, "sample")
    values.pop("sample", None)
    if size > ROWS_AT_MOST:
        raise _malformed("sample")
    return Asked(request.match_info["question"], sample=size, **times, **values), skip, limit, sizes


def _place(text: str | None) -> tuple[int, dict[str, int] | None]:
    if text is None:
        return 0, None
    if _NEXT.fullmatch(text) is None:
        raise _malformed("next")
    *sizes, skip = text.split("-")
    return int(skip), {log: int(size) for log, _, size in (one.partition(".") for one in sizes)}


def _count(values: dict[str, str], name: str) -> int:
    text = values.get(name)
    if text is None:
        return 0
    if _COUNT.fullmatch(text) is None:
        raise _malformed(name)
    return int(text)


def _malformed(name: str) -> Malformed:
    shown = name[:40]
    return Malformed(
        f"The parameter {shown} is not one of this question, or its value is not of its form.",
        f"El parámetro {shown} no es de esta consulta, o su valor no tiene la forma debida.",
        code="query-malformed",
        field=shown,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/api/v1/audit/{question}",
        Access.AUDITOR,
        get_answer,
        query=(
            Query("object", f"STIX id. Needed by {', '.join(one.name for one in QUESTIONS.values() if 'object' in one.takes)}."),
            Query("to", "The member that `why` is asked about."),
            Query("since", "Only rows at or after this time."),
            Query("until", "Only rows before this time."),
            Query("log", "Only rows of this log."),
            Query("member", "Only rows about this member. Needed by what-did."),
            Query("collection", "Only rows of this collection, by id or alias."),
            Query("sample", "So many rows, drawn by `seed`."),
            Query("seed", "What the sample is drawn by; recorded."),
            Query("limit", f"Rows of one answer: {ROWS} without it, {ROWS_AT_MOST} at most."),
            Query("next", "As an answer gave it: the rows behind it, of the same logs up to the same sizes."),
        ),
        answer="AuditAnswer",
    ),
)  # fmt: skip
