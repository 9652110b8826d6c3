"""Stand-ins for SOC products: each keeps the cursor, and has the habits, that the product's own code has.

Read from OpenCTI's ingestionManager.ts and its taxii2 connector, Cortex XSOAR's TAXII2ApiModule and FeedTAXII2, Elastic's
ti_custom program, MISP's TAXII browser, and the manuals of Microsoft Sentinel, FortiGate and EclecticIQ. A `step` is one
request, so that anything can happen between two pages of a walk; `resting` says that no walk is under way.
"""

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from multidict import CIMultiDictProxy
from taxii2client.v21 import Collection, as_pages

from exchange.cli.setup import OPERATOR
from exchange.model.instant import instant
from exchange.times import as_datetime, as_millis_text, as_text, parse_us
from tests.taxii import connection
from tests.world import TAXII, World

PAGE = 3
"""Objects a page, so that walks have many."""

YEAR_US = 365 * 86_400_000_000

Body = dict[str, Any]
Headers = CIMultiDictProxy[str]


class Product:
    """What all have in common: a member's token, a collection, and the greatest version of each object it was given."""

    product = "generic"
    """What its credential is made for (`exchange.model.product`)."""
    replaces = False
    """Whether each answer is the product's whole knowledge, the earlier ones forgotten."""

    def __init__(self, world: World, slug: str, collection: str = "indicators") -> None:
        self.world = world
        self.slug = slug
        self.token = world.tokens[slug]
        self.collection = world.collections[collection]
        self.collections: tuple[str, ...] = (collection,)
        self.seen: dict[str, str] = {}
        self.resting = True

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {self.slug}"

    @classmethod
    async def enrolled(cls, world: World, slug: str) -> "Product":
        """With a credential of its own, made for the product."""
        made = cls(world, slug)
        governance = world.hub.services.governance
        _, made.token = await governance.create_token(OPERATOR, slug, days=30, product=cls.product)
        return made

    @property
    def objects_url(self) -> str:
        return f"{self.world.root}collections/{self.collection}/objects/"

    def now(self) -> str:
        """The product's own clock, which is right."""
        return as_text(self.world.clock.now_us())

    def basic(self, user: str = "puente") -> str:
        return "Basic " + b64encode(f"{user}:{self.token}".encode()).decode()

    def take(self, objects: list[Body]) -> None:
        for one in objects:
            version = one.get("modified", one.get("created", ""))
            if instant(version) > self.seen.get(one["id"], ""):
                self.seen[one["id"]] = instant(version)

    async def step(self) -> None:
        raise NotImplementedError

    def drop(self) -> None:
        """What the member has is withdrawn. No product does anything about it; what comes again after that is news."""

    async def ask(self, url: str, query: dict[str, str], **headers: str) -> tuple[Body, Headers]:
        """One GET. Any status but 200 is an error to every one of these products."""
        async with self.world.session.get(url, params=query, headers=headers, allow_redirects=False) as answer:
            body = await answer.json(content_type=None)
            if answer.status != 200:
                raise RefusedError(answer.status, body)
            return body, answer.headers


class RefusedError(Exception):
    """The hub answered something else than a page."""


class Sentinel(Product):
    """Microsoft Sentinel: API root and collection id typed by hand, Basic, and its own clock as the next added_after."""

    product = "sentinel"
    after = ""
    following = ""
    begun = ""

    async def step(self) -> None:
        if self.resting:
            self.begun = self.now()
        query = {"added_after": self.after} if self.after else {}
        query |= {"next": self.following} if self.following else {}
        body, _ = await self.ask(
            self.objects_url, query | {"limit": str(PAGE)}, Authorization=self.basic("sentinel"), Accept=TAXII
        )
        self.take(body.get("objects", []))
        self.following = body.get("next", "")
        self.resting = not body.get("more")
        if self.resting:
            self.after = self.begun


class Elastic(Product):
    """Elastic ti_custom: while paging only `next` and `limit`; the header is its whole cursor; `objects` must be there."""

    product = "elastic"
    cursor = ""
    following = ""

    async def step(self) -> None:
        # Go's RFC3339 layout has no fraction.
        initial = as_text(self.world.clock.now_us() - YEAR_US)[:19] + "Z"
        query = {"next": self.following} if self.following else {"added_after": self.cursor or initial}
        body, headers = await self.ask(
            self.objects_url.rstrip("/") + "/",
            query | {"limit": str(PAGE)},
            Authorization=f"Bearer {self.token}",
            Accept=TAXII,
        )
        self.take(body["objects"])
        self.following = body.get("next") or ""
        self.resting = not self.following
        self.cursor = headers["X-TAXII-Date-Added-Last"]  # a page without it would forget the cursor


class Xsoar(Product):
    """Cortex XSOAR: root by name, collection by title, and the greatest `modified` it parsed as the next added_after."""

    product = "xsoar"
    url = ""
    last_run = ""
    greatest = ""
    pages: dict[str, str] | None = None

    async def _find(self) -> None:
        discovery, _ = await self.ask(f"{self.world.hub.url}/taxii2/", {}, **self._headers)
        roots = {url.split("/")[-2]: url for url in discovery["api_roots"]}
        found, _ = await self.ask(f"{roots['us-mx']}collections/", {}, **self._headers)
        titles = {one["title"]: one["id"] for one in found["collections"]}
        [title] = [title for title, identity in titles.items() if identity == self.collection]
        self.url = f"{roots['us-mx']}collections/{titles[title]}/objects/"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.token}", "Accept": TAXII}

    async def step(self) -> None:
        if not self.url:
            await self._find()
        if self.pages is None:
            after = self.last_run or as_text(self.world.clock.now_us() - YEAR_US)
            self.pages = {"added_after": after, "match[type]": "indicator,malware,relationship", "limit": str(PAGE)}
            self.greatest = ""
        body, _ = await self.ask(self.url, self.pages, **self._headers)
        objects = body.get("objects")
        if objects:
            self.take(objects)
            for one in objects:
                if one["type"] != "relationship" and one["modified"] > self.greatest:
                    self.greatest = one["modified"]
            if "next" not in self.pages and body["more"] and len(objects) != PAGE:
                self.pages["limit"] = str(len(objects))  # taxii2-client's as_pages shrinks after a short page
        if objects and body["more"]:
            self.pages["next"] = body["next"]
        else:  # an empty page ends it, whatever `more` says
            self.last_run = self.greatest or self.pages["added_after"]
            self.pages = None
        self.resting = self.pages is None


class OpenCti(Product):
    """OpenCTI's built-in TAXII feed: one page a tick, `next` beside added_after, dates cut to JavaScript's milliseconds."""

    product = "opencti"
    cursor = ""
    after = ""

    async def step(self) -> None:
        query = {"next": self.cursor} if self.cursor else {}
        query |= {"added_after": self.after} if self.after else {}
        body, headers = await self.ask(
            self.objects_url, query | {"limit": str(PAGE)}, Authorization=f"Bearer {self.token}", Accept=TAXII
        )
        objects = body.get("objects", [])
        self.take(objects)
        if objects and body.get("more") and body.get("next"):
            self.cursor = body["next"]
        else:
            self.cursor = ""
            if objects:
                self.after = as_millis_text(parse_us(headers.get("X-TAXII-Date-Added-Last", self.now())))
        self.resting = not self.cursor


class OpenCtiConnector(Product):
    """OpenCTI's taxii2 connector, polling `us-mx.*`: one dictionary of filters for all collections and all runs.

    Its `next` is never taken out, so the last token of one collection goes into the first request to the next one, and
    into the next run. An error drops what the run collected, and the clock moves on all the same.
    """

    product = "opencti"
    last_run = 0
    begun = 0

    def __init__(self, world: World, slug: str) -> None:
        super().__init__(world, slug)
        self.collections = ("indicators", "vulnerabilities")
        self.filters: dict[str, str] = {"limit": str(PAGE)}
        self.todo: list[str] = []
        self.found: list[Body] = []

    async def step(self) -> None:
        if self.resting:
            await self._begin()
        try:
            body, _ = await self.ask(
                f"{self.world.root}collections/{self.todo[0]}/objects/",
                self.filters,
                Authorization=self.basic(),
                Accept=TAXII,
            )
        except RefusedError:
            self.found = []
            self.todo = []
            body = {}
        self.found += body.get("objects", [])
        if body.get("more") is True:
            self.filters.pop("added_after", None)
            self.filters["next"] = body["next"]
        else:
            self.todo = self.todo[1:]
        self.resting = not self.todo
        if self.resting:
            self.take(self.found)
            self.last_run = self.begun

    async def _begin(self) -> None:
        found, _ = await self.ask(f"{self.world.root}collections/", {}, Authorization=self.basic(), Accept=TAXII)
        self.todo = [one["id"] for one in found["collections"]]
        self.found = []
        now_us = self.world.clock.now_us()
        self.begun = now_us // 1_000_000
        after = as_datetime(self.last_run * 1_000_000 or now_us - YEAR_US)
        self.filters["added_after"] = after.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Misp(Product):
    """MISP's browser: a double slash, `basic` in lower case, a Content-Type on GET, an empty `next` on the first page."""

    product = "misp"
    following = ""

    async def step(self) -> None:
        url = f"{self.world.hub.url}/taxii2/" + "/us-mx/" + f"/collections/{self.collection}/objects/"
        headers = {
            "Authorization": self.basic("misp").replace("Basic", "basic"),
            "Accept": TAXII,
            "Content-type": "application/taxii+json;version=2.1",
        }
        body, _ = await self.ask(url, {"limit": str(PAGE), "next": self.following}, **headers)
        self.take(body.get("objects", []))
        self.following = body.get("next") or ""
        self.resting = not self.following


class FortiGate(Product):
    """FortiGate's `stix://` resource: the media type of STIX 2.0, one GET, no cursor; the answer is the whole list."""

    product = "fortigate"
    replaces = True

    async def step(self) -> None:
        body, _ = await self.ask(
            self.objects_url,
            {},
            Authorization=self.basic("fortigate"),
            Accept="application/vnd.oasis.stix+json; version=2.0",
            Connection="close",
        )
        self.seen = {}
        self.take(body.get("objects", []))


class EclecticIq(Product):
    """EclecticIQ: from 1970 on, one page a run, the window moved up to the date of the last object it was given."""

    after = "1970-01-01T00:00:00Z"

    async def step(self) -> None:
        body, headers = await self.ask(
            self.objects_url,
            {"added_after": self.after, "limit": str(PAGE)},
            Authorization=self.basic(""),
            Accept="application/taxii+json; version=2.1",
        )
        self.take(body.get("objects", []))
        self.resting = not body.get("more")
        self.after = headers["X-TAXII-Date-Added-Last"]


class Cytaxii(Product):
    """Cyware's cytaxii2: asks `default` of discovery as it is, sends a Content-Type on GET, walks with its filters."""

    root = ""
    query: dict[str, str] | None = None

    async def step(self) -> None:
        headers = {"Authorization": self.basic("cyware"), "Accept": TAXII, "Content-Type": TAXII}
        if not self.root:
            discovery, _ = await self.ask(f"{self.world.hub.url}/taxii2/", {}, **headers)
            self.root = discovery["default"]
            await self.ask(self.root, {}, **headers)
        self.query = self.query or {"added_after": "2000-01-01T00:00:00.000Z", "limit": str(PAGE)}
        body, _ = await self.ask(f"{self.root}collections/{self.collection}/objects/", self.query, **headers)
        self.take(body.get("objects", []))
        self.query = self.query | {"next": body["next"]} if body.get("more") else None
        self.resting = self.query is None


class Workbench(Product):
    """ATT&CK Workbench's own test: no slash before the query, full pages while there is more, nothing twice."""

    query: dict[str, str] | None = None
    walked: tuple[str, ...] = ()

    def drop(self) -> None:
        self.walked = ()

    async def step(self) -> None:
        self.query = self.query or {"limit": str(PAGE)}
        body, _ = await self.ask(
            self.objects_url.rstrip("/"), self.query, Authorization=f"Bearer {self.token}", Accept=TAXII
        )
        objects = body.get("objects", [])
        more = body.get("more", False)
        assert len(objects) == PAGE or not more, "a short page"
        versions = tuple(f"{one['id']} {one['modified']}" for one in objects)
        assert not set(versions) & set(self.walked), "one object twice in a walk"
        self.take(objects)
        self.query = {"limit": str(PAGE), "next": body["next"]} if more else None
        self.walked = self.walked + versions if more else ()
        self.resting = self.query is None


class Taxii2Client(Product):
    """The real taxii2-client: `as_pages` over objects, then over the manifest, from the beginning each time."""

    def __init__(self, world: World, slug: str) -> None:
        super().__init__(world, slug)
        self.walk: Iterator[tuple[str, Body]] = iter(())

    async def step(self) -> None:
        if self.resting:
            self.walk = self._pages()
        kind, page = await asyncio.to_thread(next, self.walk, ("", {}))
        if kind == "objects":
            self.take(page.get("objects", []))
        self.resting = not kind

    def _pages(self) -> Iterator[tuple[str, Body]]:
        with connection(self.world, self.slug) as conn:
            reading = Collection(f"{self.world.root}collections/{self.collection}/", conn=conn)
            for page in as_pages(reading.get_objects, per_request=PAGE):
                yield "objects", page
            for page in as_pages(reading.get_manifest, per_request=PAGE):
                yield "manifest", page
