"""The ledger as C2SP tlog-tiles files and receipts, each shown to those whose log or event it is, and to no others."""

import re
from base64 import b64encode
from dataclasses import replace

import orjson
import structlog
from aiohttp import hdrs, web

from exchange.errors import Conflict, Malformed, NotFound, NotPermitted
from exchange.ledger.entry import national
from exchange.ledger.generations import following, kind, number
from exchange.ledger.tiles import WIDTH, Tile, bundle, parse_path
from exchange.model.member import Access, Member
from exchange.rules import Caller
from exchange.web.finish import REVALIDATE
from exchange.web.negotiate import JSON
from exchange.web.problems import problem
from exchange.web.routes import Request, Route
from exchange.web.services import Services

_log = structlog.get_logger("puente.ledger")

WAIT_SECONDS = 20
"""The longest that `Prefer: wait` holds a request: under every proxy's and client's time-out."""

PENDING_SECONDS = 10
"""About one round of the witnesses."""

_BYTES = "application/octet-stream"
_TEXT = "text/plain; charset=utf-8"
_INDEX = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_WAIT = re.compile(r"\bwait=([0-9]{1,6})(?![0-9])", re.ASCII | re.IGNORECASE)
AUDIT_SEEN = "X-Audit-Seen"
AUDIT_PROOF = "X-Audit-Proof"
_SEEN = re.compile(r"(0|[1-9][0-9]{0,15}):([0-9a-f]{64})", re.ASCII)
_FOREVER = "private, max-age=31536000, immutable"


async def get_checkpoint(request: Request, caller: Caller) -> web.Response:
    """The newest signed checkpoint of a log with the cosignatures it has (C2SP tlog-checkpoint).

    To a client that says in X-Audit-Seen what it saw before, the newest one cosigned by both countries, and in X-Audit-Proof
    that it grew out of that.
    """
    log = _log_of(request, caller.member)
    told = request.headers.get(AUDIT_SEEN)
    if told is not None:
        return await _grown(request, caller, log, told)
    note = await request.services.publisher.newest_note(log)
    if note is None:
        raise _absent()
    return web.Response(body=note, headers={hdrs.CONTENT_TYPE: _TEXT})


async def _grown(request: Request, caller: Caller, log: str, told: str) -> web.Response:
    size, root = _seen(told)
    found = await request.services.publisher.grown(log, size, root)
    if not found and size and await _may_be_lost(request, log, size, root):
        raise Conflict(
            f"This log was closed for ever, and what you saw at {size} entries is not all here. See the first entry of"
            f" {following(log)}, and keep what you have: it may be the only trace.",
            f"Este registro se cerró para siempre y lo que usted vio con {size} asientos no está completo aquí. Vea el primer asiento"
            f" de {following(log)} y conserve lo que tiene: puede ser el único rastro.",
            code="log-closed",
            field=AUDIT_SEEN,
        )
    if found is None:
        raise _absent()
    if isinstance(found, bytes):
        # No halt: what a member says of an unsigned number must not stop two countries. Its own note convicts the hub.
        _log.critical("a member saw another history", member=caller.member.slug, log=log, size=size, root=root.hex())
        raise Conflict(
            f"This log does not contain what you saw at {size} entries. Keep it: it is signed evidence.",
            f"Este registro no contiene lo que usted vio con {size} asientos. Consérvelo: es evidencia firmada.",
            code="history-other",
            field=AUDIT_SEEN,
        )
    note, proof = found
    words = ",".join(b64encode(digest).decode() for digest in proof)  # at most 63: under 3 kB
    return web.Response(
        body=note, headers={hdrs.CONTENT_TYPE: _TEXT, AUDIT_PROOF: words, hdrs.CACHE_CONTROL: "no-store"}
    )


async def get_tile(request: Request, caller: Caller) -> web.Response:
    """A hash tile or an entry bundle (C2SP tlog-tiles). For auditors: entries name every member's acts."""
    services = request.services
    log = _log_of(request, caller.member)
    if not may_audit(log, caller.member):
        raise NotPermitted(
            "Whole logs are for auditors.", "Los registros completos son para los auditores.", code="auditors-only"
        )
    try:
        tile = parse_path(f"tile/{request.match_info['path']}")
    except ValueError:
        raise _absent() from None
    size = (await services.store.trees())[log].size
    level = tile.level or 0
    if tile.n * WIDTH + tile.width > size >> (8 * level):
        raise _absent()
    headers = {hdrs.CONTENT_TYPE: _BYTES, hdrs.CACHE_CONTROL: _FOREVER}
    return web.Response(body=await _tile(services, log, tile), headers=headers)


async def _tile(services: Services, log: str, tile: Tile) -> bytes:
    if tile.level is None:
        start = tile.n * WIDTH
        return bundle(await services.store.leaves(log, start, start + tile.width))
    return await services.store.tile(log, tile.level, tile.n, tile.width)


async def get_leaf(request: Request, caller: Caller) -> web.Response:
    """The bytes of one entry, as they were hashed. A member sees those of its own organisation's acts."""
    log = _log_of(request, caller.member)
    data = await _leaf(request.services, log, _index_of(request), caller.member)
    return web.Response(body=data, headers={hdrs.CONTENT_TYPE: JSON, hdrs.CACHE_CONTROL: _FOREVER})


async def get_receipt(request: Request, caller: Caller) -> web.Response:
    """The proof that an entry is in the log under a checkpoint that both countries cosigned (C2SP tlog-proof).

    `Prefer: wait=N` waits up to N seconds for the cosignatures (RFC 7240); without them it is 404, receipt-pending.
    """
    services = request.services
    log, index = _log_of(request, caller.member), _index_of(request)
    await _leaf(services, log, index, caller.member)
    closed = _is_closed(request, log)
    wait = 0 if closed else _wait_of(request)
    found = await services.publisher.receipt(log, index, wait_seconds=wait)
    if found is None and closed:
        raise NotFound(
            "This log was closed for ever before both countries had cosigned this entry: there will be no receipt of it.",
            "Este registro se cerró para siempre antes de que ambos países cofirmaran este asiento: no habrá recibo de él.",
            code="receipt-never",
        )
    if found is None:
        refusal = NotFound(
            "No checkpoint over this entry is cosigned by both countries yet. Ask again shortly.",
            "Aún no hay un punto de control sobre esta entrada cofirmado por ambos países. Intente de nuevo en breve.",
            code="receipt-pending",
        )
        return problem(refusal, request, media=JSON, retry_after_seconds=PENDING_SECONDS)
    headers: dict[str, str] = {hdrs.CONTENT_TYPE: _TEXT}
    if wait:
        headers["Preference-Applied"] = f"wait={wait}"
    return web.Response(body=found, headers=headers)


# --- who may see what ---


def may_audit(log: str, member: Member) -> bool:
    """Whole logs are for auditors: `both` for those of either country, a country's own log for its own."""
    return member.auditor and may_see(log, member)


def may_see(log: str, member: Member) -> bool:
    """A country's own log does not exist for the other country."""
    return kind(log) in ("both", national(member.country))


def is_own(leaf: bytes, member: Member) -> bool:
    """Whether the entry records an act of the member's organisation (`us:us-cyber:acct:7f3a`)."""
    actor = orjson.loads(leaf)["actor"].split(":")
    return bool(actor[:2] == [member.country.lower(), member.slug])


async def _leaf(services: Services, log: str, index: int, member: Member) -> bytes:
    """The entry, if this member may see it. Others' entries and those not yet written look alike."""
    leaves = await services.store.leaves(log, index, index + 1)
    everybodys = index == 0 and number(log) > 1  # how the log before ended, which any of its members may have seen
    if not leaves or not (everybodys or may_audit(log, member) or is_own(leaves[0], member)):
        raise _absent()
    return leaves[0]


def _log_of(request: Request, member: Member) -> str:
    """`both`, or with a generation `both/2`."""
    log = "/".join([request.match_info[name] for name in ("log", "generation") if name in request.match_info])
    if log not in request.services.publisher.origins or not may_see(log, member):
        raise _absent()
    return log


async def _may_be_lost(request: Request, log: str, size: int, root: bytes) -> bool:
    """Whether what somebody saw is beyond what can be proved of a closed log, and does not contradict what is left of it."""
    left = (await request.services.store.trees())[log].size
    held = size <= left
    return _is_closed(request, log) and (not held or await request.services.publisher.rounds.root_at(log, size) == root)


def _is_closed(request: Request, log: str) -> bool:
    return following(log) in request.services.publisher.origins


def _index_of(request: Request) -> int:
    text = request.match_info["index"]
    if _INDEX.fullmatch(text) is None:
        raise _absent()
    return int(text)


def _seen(told: str) -> tuple[int, bytes]:
    match = _SEEN.fullmatch(told)
    if match is None:
        raise Malformed(
            "X-Audit-Seen is <size>:<root in hex>.", "X-Audit-Seen es <tamaño>:<raíz en hex>.", field=AUDIT_SEEN
        )
    return int(match[1]), bytes.fromhex(match[2])


def _wait_of(request: Request) -> int:
    match = _WAIT.search(",".join(request.headers.getall("Prefer", ())))
    return min(int(match.group(1)), WAIT_SECONDS) if match else 0


def _absent() -> NotFound:
    return NotFound("There is no such ledger file.", "No existe ese archivo del registro.", code="no-such-ledger-file")


_FILES = (
    Route("GET", "/ledger/{log}/checkpoint", Access.MEMBER, get_checkpoint, media=JSON, cache=REVALIDATE),
    Route("GET", "/ledger/{log}/tile/{path*}", Access.MEMBER, get_tile, cache=REVALIDATE),
    Route("GET", "/ledger/{log}/leaf/{index}", Access.MEMBER, get_leaf, answer="Leaf", cache=REVALIDATE),
    Route("GET", "/ledger/{log}/receipt/{index}", Access.MEMBER, get_receipt, cache=REVALIDATE),
)

ROUTES: tuple[Route, ...] = (
    *_FILES,
    *(replace(one, path=one.path.replace("{log}", "{log}/{generation}")) for one in _FILES),
)
"""A log's first generation has the address it always had; the second of `both` lies under /ledger/both/2/."""
