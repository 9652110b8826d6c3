"""Block lists for whatever does not speak TAXII: one value a line, CSV, NDJSON, with ETags, for the credential's member."""

import asyncio
import re
from email.utils import formatdate, parsedate_to_datetime

import structlog
from aiohttp import hdrs, web

from exchange.edl.lists import File, Given
from exchange.edl.text import KINDS_OF, MEDIA, Wanted
from exchange.errors import Malformed, NotFound, NotPermitted, Refusal, Unavailable
from exchange.governance.credentials import warning_days
from exchange.model.member import Access, Collection
from exchange.release.packing import Coding, packed
from exchange.release.sheet import PACKED_BYTES
from exchange.rules import Caller
from exchange.times import as_text
from exchange.web.evidence import AUDIT_LEAF, audit_leaf
from exchange.web.finish import REVALIDATE
from exchange.web.negotiate import packing
from exchange.web.pieces import Pieces
from exchange.web.routes import Query, Request, Route

ENTRIES = "X-Puente-Entries"
EXPIRES = "X-Puente-Credential-Expires"
EXPIRING = "X-Puente-Credential-Warning"

FORMS = ("", *(f"-{coding.value}" for coding in Coding))
"""What the entity tag of a list ends in, by its representation."""

_log = structlog.get_logger("puente.edl")

_TOP = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


async def get_list(request: Request, caller: Caller) -> web.StreamResponse:
    """What the caller's devices may block by, of one collection: only what the agreement lets it have and block by, valid now.

    A fault is 503, never an empty list. 304 by If-None-Match or If-Modified-Since.
    """
    services = request.services
    collection = _readable(request, caller, request.match_info["list"])
    wanted = _wanted(request)
    try:
        given = await services.lists.give(caller, collection, wanted, _Holder(request).has)
    except Refusal:
        raise
    except Exception as error:  # whatever it is, the device must keep what it has
        _log.exception("block list not made", list=collection.alias, file=wanted.file)
        raise Unavailable(
            "The list cannot be made now. Keep the one you have.",
            "La lista no puede generarse ahora. Conserve la que tiene.",
            code="list-fault",
            retry_after_seconds=60,
        ) from error
    return await _answer(request, caller, wanted, given)


async def _answer(request: Request, caller: Caller, wanted: Wanted, given: Given) -> web.StreamResponse:
    services, file = request.services, given.file
    headers = {
        hdrs.ETAG: _etag(file),
        hdrs.LAST_MODIFIED: formatdate(given.modified_s, usegmt=True),
        hdrs.CACHE_CONTROL: REVALIDATE,
        ENTRIES: str(file.count),
    }
    if given.leaves:
        headers[AUDIT_LEAF] = audit_leaf(given.leaves, services.publisher.origins)
    credential = request.glance.rules.registry.credentials.get(caller.account)
    if credential is not None:
        headers[EXPIRES] = as_text(credential.expires_us)
        days = warning_days(credential, services.clock.now_us())
        if days is not None:
            headers[EXPIRING] = f"{days}d"
    if given.content is None:
        return web.Response(status=304, headers=headers)
    headers[hdrs.CONTENT_TYPE] = MEDIA[wanted.suffix]
    content = given.content
    if len(content) <= PACKED_BYTES:
        return web.Response(body=content, headers=headers)
    wish = packing(request)
    if wish is not None:
        headers[hdrs.CONTENT_ENCODING] = wish.coding.value
        headers[hdrs.ETAG] = f'"{file.digest}-{wish.coding.value}"'  # RFC 9110, 8.8.3.3: another representation
        content = await asyncio.to_thread(packed, wish.coding, content)
    return Pieces([content], headers)


class _Holder:
    """What the device says that it has (RFC 9110, 13.1): by tag if it names any, else by date."""

    def __init__(self, request: Request) -> None:
        self._tags = ",".join(request.headers.getall(hdrs.IF_NONE_MATCH, ()))
        self._since_s = _seconds(request.headers.get(hdrs.IF_MODIFIED_SINCE, ""))

    def has(self, digest: str, modified_s: int) -> bool:
        if self._tags:
            return any(f'"{digest}{form}"' in self._tags for form in FORMS) or self._tags.strip() == "*"
        return self._since_s is not None and modified_s <= self._since_s


def _etag(file: File) -> str:
    return f'"{file.digest}"'


def _seconds(date: str) -> int | None:
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None  # 13.1.3: a date that is none is ignored


# --- what is asked for ---


def _readable(request: Request, caller: Caller, name: str) -> Collection:
    """Raises NotFound for a list that is not there or hidden, NotPermitted for one that the caller may only write to."""
    found = request.glance.rules.collection(name)
    if found is None or not (found.can_read(caller.member) or found.can_write(caller.member)):
        raise _absent()
    if not found.can_read(caller.member):
        raise NotPermitted(
            "Your organisation may not read this collection.",
            "Su organización no puede leer esta colección.",
            code="collection-write-only",
        )
    return found


def _wanted(request: Request) -> Wanted:
    """Raises NotFound for a file that no list has, Malformed naming the parameter."""
    file = request.match_info["file"]
    if file not in KINDS_OF:
        raise _absent()
    top = _one(request, "top")
    if top is not None and _TOP.fullmatch(top) is None:
        raise _malformed("top", "takes a whole number above zero", "admite un número entero mayor que cero")
    comments, wildcard = _flag(request, "comments"), _flag(request, "wildcard")
    scheme = _one(request, "scheme")
    if scheme not in (None, "keep", "strip"):
        raise _malformed("scheme", "takes keep or strip", "admite keep o strip")
    return Wanted(
        file=file,
        top=int(top) if top else None,
        comments=comments and file.endswith(".txt"),
        strip=scheme == "strip" and file == "urls.txt",
        wildcard=wildcard and file == "domains.txt",
    )


def _flag(request: Request, name: str) -> bool:
    text = _one(request, name)
    if text not in (None, "0", "1"):
        raise _malformed(name, "takes 0 or 1", "admite 0 o 1")
    return text == "1"


def _one(request: Request, name: str) -> str | None:
    values = request.rel_url.query.getall(name, [])
    if len(values) > 1:
        raise _malformed(name, "is given more than once", "aparece más de una vez")
    return values[0] if values else None


def _malformed(name: str, en: str, es: str) -> Malformed:
    return Malformed(f"{name} {en}.", f"{name} {es}.", code="query-malformed", field=name)


def _absent() -> NotFound:
    return NotFound("There is no such list.", "No existe esa lista.", code="no-such-list", field="list")


_OPTIONS = (
    Query("top", "At most so many entries: the surest, of equal ones the newest."),
    Query("comments", "1: a line beginning with # at the head of a text list. 0 unless asked for."),
    Query("scheme", "strip: URLs without http://, as PAN-OS wants them. keep unless asked for."),
    Query("wildcard", "1: domains also with *. before them. 0 unless asked for."),
)

ROUTES: tuple[Route, ...] = (Route("GET", "/edl/v1/{list}/{file}", Access.MEMBER, get_list, query=_OPTIONS),)
