"""The nine TAXII 2.1 endpoints. Each asks one door, release or intake, and gives what it answers a form."""

from dataclasses import replace

import orjson
import structlog
from aiohttp import hdrs, web

from exchange.errors import NotFound, NotPermitted
from exchange.model.member import Access, Collection
from exchange.model.page import Cursor
from exchange.release.page import Released
from exchange.release.sheet import View
from exchange.rules import Caller
from exchange.taxii import resources
from exchange.taxii.cursor import ForeignCursor, decode, encode, start
from exchange.taxii.query import Asked, asked_in
from exchange.times import as_text
from exchange.web.evidence import AUDIT_LEAF, audit_leaf
from exchange.web.finish import NO_STORE, REVALIDATE
from exchange.web.negotiate import TAXII, language, must_be_readable, packing
from exchange.web.pieces import Pieces
from exchange.web.routes import Handler, Query, Request, Route
from exchange.web.services import Services

_log = structlog.get_logger("puente.taxii")


# --- what is there ---


async def get_discovery(request: Request, caller: Caller) -> web.Response:
    """What this server offers (TAXII 2.1, 4.1)."""
    return _taxii(resources.discovery(request.services.settings))


async def get_api_root(request: Request, caller: Caller) -> web.Response:
    """The API root's title, versions and limits (TAXII 2.1, 4.2)."""
    services = _services(request)
    return _taxii(resources.api_root(services.settings))


async def get_status(request: Request, caller: Caller) -> web.Response:
    """What became of a submission (TAXII 2.1, 4.3). Its submitter may ask, and the auditors of its country."""
    return _taxii(await _services(request).intake.status(caller, request.match_info["status"]))


async def get_collections(request: Request, caller: Caller) -> web.Response:
    """The collections the caller may read or write (TAXII 2.1, 5.1)."""
    _services(request)
    return _taxii(resources.collections(request.glance.rules.registry.collections, caller.member))


async def get_collection(request: Request, caller: Caller) -> web.Response:
    """One collection, by its id or its alias (TAXII 2.1, 5.2)."""
    _services(request)
    collection = find_collection(request, caller)
    return _taxii(orjson.dumps(resources.collection(collection, caller.member)))


# --- reading ---


async def get_manifest(request: Request, caller: Caller) -> web.StreamResponse:
    """Which versions a collection holds (TAXII 2.1, 5.3)."""
    return await _page(request, caller, _asked(request, caller), resources.MANIFEST)


async def get_objects(request: Request, caller: Caller) -> web.StreamResponse:
    """The objects of a collection (TAXII 2.1, 5.4)."""
    return await _page(request, caller, _asked(request, caller), resources.OBJECTS)


async def get_object(request: Request, caller: Caller) -> web.StreamResponse:
    """The versions of one object (TAXII 2.1, 5.6): the latest, unless others are asked for."""
    return await _page(request, caller, _asked(request, caller), resources.OBJECTS, request.match_info["object"])


async def get_versions(request: Request, caller: Caller) -> web.StreamResponse:
    """The version texts of one object, oldest addition first (TAXII 2.1, 5.8). `match[version]` does not apply."""
    question = replace(_asked(request, caller), versions=("all",))
    return await _page(request, caller, question, resources.VERSIONS, request.match_info["object"])


async def _page(
    request: Request, caller: Caller, question: Asked, view: View, only: str | None = None
) -> web.StreamResponse:
    services = _services(request)
    collection = readable_collection(request, caller)
    cursor = await _cursor(services, caller, collection, question)
    begin = start(question, cursor, collection=collection.id, only=only)
    wish = packing(request)
    released = await services.release.page(
        caller, request.glance, collection, begin.match, begin.after_us, question.limit, view, wish
    )
    sheet = released.sheet
    if only is not None and not sheet.count:
        # 5.6: an object that is not here is 404; one whose versions the filters leave out is an empty envelope.
        await services.release.must_hold(caller, collection, only)
    following = None
    if sheet.more:
        place = Cursor(caller.member.slug, collection.id, begin.match, sheet.last_us)
        following = encode(place, services.cursor_key)
    pieces = resources.paged(sheet, view, following, lists=caller.product.empty_lists)
    response = Pieces(pieces, {hdrs.CONTENT_TYPE: TAXII}) if sheet.count else _taxii(b"".join(pieces))
    if wish is not None and sheet.packed is not None:
        response.headers[hdrs.CONTENT_ENCODING] = wish.coding.value
    _stamp(response, services, released)
    return response


def _asked(request: Request, caller: Caller) -> Asked:
    settings = request.services.settings
    most = settings.page_limit_objects
    usual = most if caller.product.whole_pages else settings.page_default_objects
    return asked_in(request.rel_url.raw_query_string, default_limit=usual, highest_limit=most)


async def _cursor(services: Services, caller: Caller, collection: Collection, question: Asked) -> Cursor | None:
    if question.next is None:
        return None
    try:
        return decode(question.next, services.cursor_key, member=caller.member.slug)
    except ForeignCursor as refusal:
        _log.warning("cursor refused", member=caller.member.slug, account=caller.account, reason=refusal.reason)
        raise


def _stamp(response: web.StreamResponse, services: Services, released: Released) -> None:
    """TAXII 2.1, 3.2. An empty page repeats its lower bound: a client that keeps it as cursor loses nothing."""
    response.headers["X-TAXII-Date-Added-First"] = as_text(released.sheet.first_us)
    response.headers["X-TAXII-Date-Added-Last"] = as_text(released.sheet.last_us)
    if released.leaves:
        response.headers[AUDIT_LEAF] = audit_leaf(released.leaves, services.publisher.origins)


# --- writing ---


async def add_objects(request: Request, caller: Caller) -> web.Response:
    """Submit objects (TAXII 2.1, 5.5). The answer is complete: what it calls a success can be read at once."""
    services = _services(request)
    collection = writable_collection(request, caller)
    must_be_readable(request)
    body = await request.body()
    spoken = language(request)
    submitted = await services.intake.submit(caller, collection, body, language=spoken)
    response = _taxii(orjson.dumps(submitted.body), status=202)
    response.headers[hdrs.CONTENT_LANGUAGE] = spoken
    if submitted.leaves:
        response.headers[AUDIT_LEAF] = audit_leaf(submitted.leaves, services.publisher.origins)
    return response


async def delete_object(request: Request, caller: Caller) -> web.Response:
    """Take one's own object out of a collection (TAXII 2.1, 5.7): all its versions, unless some are named."""
    services = _services(request)
    question = _asked(request, caller)
    # 5.7: 404 with neither right, 403 with only one of them.
    collection = writable_collection(request, caller)
    _must_read(collection, caller)
    object_id = request.match_info["object"]
    if question.spec_versions and "2.1" not in question.spec_versions:
        raise _no_object()
    holders = await services.release.holders(collection, object_id, but=caller.member)
    try:
        await services.intake.remove(caller, collection, object_id, question.versions or ("all",), holders)
    except NotPermitted:
        # Another's object: that it exists is told only to those who may see it.
        await services.release.must_hold(caller, collection, object_id)
        raise
    return _taxii(b"")


# --- collections, and who may do what with them ---


def find_collection(request: Request, caller: Caller) -> Collection:
    """The collection that the path names by id or alias. Raises NotFound for an unknown one and, alike, for a hidden one."""
    found = request.glance.rules.collection(request.match_info["collection"])
    if found is None or not resources.visible(found, caller.member):
        raise NotFound("There is no such collection.", "No existe esa colección.", field="collection-id")
    return found


def readable_collection(request: Request, caller: Caller) -> Collection:
    """The same, for reading: raises NotPermitted for one that the caller may only write."""
    found = find_collection(request, caller)
    _must_read(found, caller)
    return found


def writable_collection(request: Request, caller: Caller) -> Collection:
    """The same, for writing: raises NotPermitted for one that the caller may only read."""
    found = find_collection(request, caller)
    if not found.can_write(caller.member):
        raise NotPermitted(
            "Your organisation may not write to this collection.",
            "Su organización no puede escribir en esta colección.",
            code="collection-read-only",
        )
    return found


def _must_read(collection: Collection, caller: Caller) -> None:
    if not collection.can_read(caller.member):
        raise NotPermitted(
            "Your organisation may not read this collection.",
            "Su organización no puede leer esta colección.",
            code="collection-write-only",
        )


def _services(request: Request) -> Services:
    """The hub's parts, once the API root in the path is known to be ours."""
    services = request.services
    if request.match_info["root"] != services.settings.api_root:
        raise NotFound("There is no such API root.", "No existe esa raíz de API.", field="api-root")
    return services


def _no_object() -> NotFound:
    return NotFound("There is no such object in this collection.", "No existe ese objeto en esta colección.")


def _taxii(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=body, headers={hdrs.CONTENT_TYPE: TAXII})


# --- the table ---

_ROOT = "/taxii2/{root}/"
_COLLECTION = f"{_ROOT}collections/{{collection}}/"
_OBJECTS = f"{_COLLECTION}objects/"
_OBJECT = f"{_OBJECTS}{{object}}/"

_AFTER = Query("added_after", "Only what was added after this UTC timestamp.")
_LIMIT = Query("limit", "At most so many.")
_NEXT = Query("next", "The value of next in the page before.")
_ID = Query("match[id]", "Ids, separated by commas.")
_TYPE = Query("match[type]", "STIX types, separated by commas.")
_VERSION = Query("match[version]", "first, last, all or timestamps, separated by commas.")
_SPEC = Query("match[spec_version]", "STIX versions, separated by commas.")

_ONE = (_AFTER, _LIMIT, _NEXT, _VERSION, _SPEC)
_MANY = (*_ONE, _ID, _TYPE)


def _get(path: str, handler: Handler, answer: str, query: tuple[Query, ...] = (), *, cache: str = "") -> Route:
    return Route("GET", path, Access.MEMBER, handler, media=TAXII, answer=answer, query=query, cache=cache)


ROUTES: tuple[Route, ...] = (
    _get(resources.DISCOVERY_PATH, get_discovery, "Discovery", cache=REVALIDATE),
    _get(_ROOT, get_api_root, "ApiRoot", cache=REVALIDATE),
    _get(f"{_ROOT}status/{{status}}/", get_status, "Status", cache=REVALIDATE),
    _get(f"{_ROOT}collections/", get_collections, "Collections", cache=REVALIDATE),
    _get(_COLLECTION, get_collection, "Collection", cache=REVALIDATE),
    _get(f"{_COLLECTION}manifest/", get_manifest, "Manifest", _MANY),
    _get(_OBJECTS, get_objects, "Envelope", _MANY),
    Route("POST", _OBJECTS, Access.MEMBER, add_objects, media=TAXII, answer="Status", success=202, takes="Envelope"),
    _get(_OBJECT, get_object, "Envelope", _ONE, cache=NO_STORE),
    Route("DELETE", _OBJECT, Access.MEMBER, delete_object, media=TAXII, query=(_VERSION, _SPEC)),
    _get(f"{_OBJECT}versions/", get_versions, "Versions", (_AFTER, _LIMIT, _NEXT, _SPEC)),
)
"""Discovery and the API root need a credential like the rest: who takes part is not told to strangers."""
