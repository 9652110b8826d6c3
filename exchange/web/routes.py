"""Routes and the one guard in front of them: who asks, may they, not too fast, and every answer in one form."""

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import structlog
from aiohttp import hdrs, web

from exchange.errors import LedgerFault, Malformed, NotAuthenticated, NotFound, Refusal, Unavailable
from exchange.ledger.entry import STRANGER, actor, national
from exchange.model.member import Access
from exchange.rules import Caller, Glance, Rules
from exchange.web.auth import NOBODY, identify, must_be_allowed, named
from exchange.web.body import Held, Room, read_body
from exchange.web.finish import finished
from exchange.web.limits import Limits, Rate
from exchange.web.negotiate import JSON, TAXII, must_accept_taxii
from exchange.web.problems import fault, problem, without_route
from exchange.web.services import Services

Handler = Callable[["Request", Caller], Awaitable[web.StreamResponse]]
Identify = Callable[[web.BaseRequest, Rules, int], Caller]

_log = structlog.get_logger("puente.web")


class Request(web.BaseRequest):
    """One request, and what its handler needs: the hub's parts, the rules it is judged by, the values in its path."""

    match_info: Mapping[str, str]
    glance: Glance
    """For routes that need a credential."""
    caller: Caller = NOBODY
    """Who it turned out to be, refused or not."""

    def __init__(self, *given: Any, services: Services, table: "Table", room: Room) -> None:
        super().__init__(*given)
        self.services = services
        self.table = table
        self.held = Held(room)

    async def body(self) -> bytes:
        """The whole body, within every limit."""
        return await read_body(self, self.services.settings, self.held)


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter, as the API's document describes it."""

    name: str
    about: str
    required: bool = False


@dataclass(frozen=True)
class Route:
    """One method of one path. There is no default for `allows`: a route must say who may call it.

    `path` is a template: `{name}` stands for one segment, `{name*}` at the end for the rest. Handlers find the values
    in `request.match_info`; routes for ANYONE are handed NOBODY. The last five describe it for the API's document.
    """

    method: str
    path: str
    allows: Access
    handler: Handler
    media: str = JSON
    """Of its answers and its errors. TAXII routes answer 406 to clients that cannot read them."""
    query: tuple[Query, ...] = ()
    answer: str = ""
    """Name of the schema of a successful answer; "" for bytes."""
    success: int = 200
    cache: str = ""
    """Cache-Control of a successful answer that has an entity tag and is not sent again to who knows it; "" for neither."""
    takes: str = ""
    """Name of the schema of the request's body; "" when it has none."""


# --- finding the route ---


@dataclass(frozen=True, slots=True)
class Resource:
    """All methods of one path template."""

    template: str
    pattern: re.Pattern[str]
    methods: dict[str, Route] = field(default_factory=dict)

    @property
    def allowed(self) -> str:
        """The value of an Allow header: HEAD goes wherever GET does, and OPTIONS tells this."""
        return ", ".join(sorted({"OPTIONS", *self.methods, *(["HEAD"] if "GET" in self.methods else [])}))


@dataclass(frozen=True, slots=True)
class Found:
    resource: Resource
    values: Mapping[str, str]

    def route(self, method: str) -> Route | None:
        return self.resource.methods.get("GET" if method == "HEAD" else method)


class Table:
    """Every route of the hub, in the order given: the first template that fits a path wins."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._resources: dict[str, Resource] = {}
        for route in routes:
            resource = self._resources.setdefault(route.path, Resource(route.path, _compiled(route.path)))
            if route.method in resource.methods:
                raise ValueError(f"two routes for {route.method} {route.path}")
            resource.methods[route.method] = route
        self._guarded = {_first(route.path) for route in routes if route.allows is not Access.ANYONE}
        self._media = {_first(route.path): route.media for route in reversed(routes)}

        self._find_again = lru_cache(maxsize=1024)(self._find)

    def find(self, raw_path: str) -> Found | None:
        """The resource of a path, with or without its last slash, `//` read as `/`; None when there is none."""
        # Pollers ask for the same few paths all day.
        return self._find_again(raw_path) if len(raw_path) < REMEMBERED_PATH else self._find(raw_path)

    def _find(self, raw_path: str) -> Found | None:
        path = canonical_path(raw_path)
        if path is None:
            return None
        for resource in self._resources.values():
            match = resource.pattern.fullmatch(path)
            if match is not None:
                return Found(resource, match.groupdict())
        return None

    def guarded(self, raw_path: str) -> bool:
        """Whether an unknown path lies where a credential is needed: nobody else learns that it is unknown."""
        return _first(unquote(raw_path)) in self._guarded

    def media(self, raw_path: str) -> str:
        """The media type of errors for a path that has no route."""
        return self._media.get(_first(unquote(raw_path)), JSON)


REMEMBERED_PATH = 256
"""Longer paths than this are nobody's collection, and would make what is remembered large."""


def canonical_path(raw_path: str) -> str | None:
    """Segments decoded, empty ones dropped. None for what no resource is called by: broken UTF-8, an encoded slash."""
    try:
        segments = [unquote(segment, errors="strict") for segment in raw_path.split("/") if segment]
    except UnicodeDecodeError:
        return None
    if any("/" in segment or "\0" in segment for segment in segments):
        return None
    return "/" + "/".join(segments)


def _compiled(template: str) -> re.Pattern[str]:
    parts = []
    for segment in template.strip("/").split("/"):
        name = re.fullmatch(r"\{([a-z_]+)(\*?)\}", segment)
        if name is None:
            parts.append(re.escape(segment))
        else:
            parts.append(f"(?P<{name[1]}>{'.+' if name[2] else '[^/]+'})")
    return re.compile("/" + "/".join(parts), re.DOTALL)


def _first(path: str) -> str:
    return path.strip("/").partition("/")[0]


# --- the guard ---

PATH_NOTED = 200
"""Of what was asked for and refused, in the private part of the entry."""

READING = (hdrs.METH_GET, hdrs.METH_HEAD)


class Guard:
    """Stands before every handler. What it cannot let through, it answers itself."""

    def __init__(self, services: Services, table: Table, identify: Identify = identify) -> None:
        self._services = services
        self._table = table
        self._identify = identify
        settings = services.settings
        self._limits = Limits(Rate(settings.rate_per_second, settings.rate_burst))

    async def answer(self, request: Request) -> web.StreamResponse:
        """The response to any request at all, and one event in the log for it."""
        began = time.perf_counter()
        raw_path = request.rel_url.raw_path
        found = self._table.find(raw_path)
        route = found.route(request.method) if found else None
        media = route.media if route else self._table.media(raw_path)
        event: dict[str, object] = {"method": request.method, "path": found.resource.template if found else "(unknown)"}
        try:
            response = await self._serve(request, found, event, media)
        except Refusal as refusal:
            event["code"], event["error_id"] = refusal.code, str(uuid.uuid4())
            await self._note(refusal, request, found)
            response = problem(refusal, request, media=media, error_id=str(event["error_id"]))
        except Exception as error:  # noqa: BLE001  # whatever it is, the client learns an id and no text
            event["code"], event["error_id"] = "internal", str(uuid.uuid4())
            response = _failed(error, request, media, event)
        finally:
            request.held.let_go()
        if not response.prepared:
            response = finished(request, response, route.cache if route and request.method in READING else "")
        event["status"] = response.status
        event["ms"] = round((time.perf_counter() - began) * 1000, 2)
        event["bytes"] = response.content_length or 0
        _log.info("request", **event)
        return response

    async def _serve(
        self, request: Request, found: Found | None, event: dict[str, object], media: str
    ) -> web.StreamResponse:
        route = found.route(request.method) if found else None
        caller = NOBODY
        if request.version.major != 1:
            raise Malformed("This is HTTP/1.1.", "Esto es HTTP/1.1.", code="http-version")
        # 1. Who asks: before the body, the media types or even the path are looked at.
        if not self._open(request, found, route):
            caller = await self._admitted(request, route, event)
        # 2. What is asked for.
        if found is None:
            raise NotFound("There is no such resource.", "No existe ese recurso.", code="no-such-resource")
        if route is None:
            return without_route(request, found.resource.allowed, media=media)
        if media == TAXII:
            must_accept_taxii(request, caller.product.media)
        request.match_info = found.values
        return await route.handler(request, caller)

    async def _admitted(self, request: Request, route: Route | None, event: dict[str, object]) -> Caller:
        request.glance = await self._services.rulebook.glance()
        now_us = self._services.clock.now_us()
        caller = request.caller = self._identify(request, request.glance.rules, now_us)
        event["member"] = caller.member.slug
        allows = route.allows if route else Access.MEMBER
        must_be_allowed(allows, caller.member, gateway=request.glance.rules.is_gateway(caller.member))
        self._limits.must_admit(caller.member.slug, now_us)
        return caller

    async def _note(self, refusal: Refusal, request: Request, found: Found | None) -> None:
        """Write who was refused. It is refused whether or not that can be written now."""
        services, now_us = self._services, self._services.clock.now_us()
        if isinstance(refusal, NotAuthenticated):
            known = named(request, request.glance.rules)
            who = actor(known[0].country, known[0].slug, known[1].id) if known else STRANGER
            log = national(known[0].country) if known else "both"
            services.release.sums.stranger(log, who, refusal.code, now_us)
        elif refusal.denies and found is not None and request.caller is not NOBODY:
            named_in = request.glance.rules.collection(found.values.get("collection", ""))
            on = f"coll:{named_in.id}" if named_in is not None else "hub"
            path = request.rel_url.raw_path[:PATH_NOTED].encode("utf-8", "replace").decode()
            await services.release.deny(request.caller, on, refusal.code, found.resource.template, path)

    def _open(self, request: Request, found: Found | None, route: Route | None) -> bool:
        if route is not None:
            return route.allows is Access.ANYONE
        if found is not None:
            return all(one.allows is Access.ANYONE for one in found.resource.methods.values())
        return not self._table.guarded(request.rel_url.raw_path)


def _failed(error: Exception, request: Request, media: str, event: dict[str, object]) -> web.Response:
    error_id = str(event["error_id"])
    _log.error("a handler failed", error_id=error_id, path=event["path"], exc_info=error)
    if isinstance(error, LedgerFault):
        refusal = Unavailable(
            "The exchange log has halted; nothing can be exchanged until its operators act.",
            "El registro del intercambio está detenido; nada puede intercambiarse hasta que actúen sus operadores.",
            code="ledger-halted",
            retry_after_seconds=60,
        )
        return problem(refusal, request, media=media, error_id=error_id)
    return fault(request, error_id, media=media)
