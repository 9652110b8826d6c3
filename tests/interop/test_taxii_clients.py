"""Whole clients against a whole hub: whatever happens between two of their requests, each ends with what it may have."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
import requests
import stix2
from taxii2client.common import _HTTPConnection
from taxii2client.v21 import ApiRoot, Collection, Server, as_pages

from exchange.cli.setup import OPERATOR
from exchange.model.instant import instant
from exchange.times import as_millis_text
from policies.markings import CAVEAT_MARKINGS
from tests.interop.clients import (
    Cytaxii,
    EclecticIq,
    Elastic,
    FortiGate,
    Misp,
    OpenCti,
    OpenCtiConnector,
    Product,
    Sentinel,
    Taxii2Client,
    Workbench,
    Xsoar,
)
from tests.places import Place, knobs_of
from tests.taxii import call, connection, get, ids
from tests.world import TAXII, TLP2, World, make_world

PRODUCTS = (
    Cytaxii, EclecticIq, Elastic, FortiGate, Misp, OpenCti, OpenCtiConnector, Sentinel, Taxii2Client, Workbench, Xsoar,
)  # fmt: skip
MEMBERS = ("us-customs", "mx-ciber")
COLLECTIONS = ("indicators", "vulnerabilities")
NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")


@dataclass
class Held:
    """A version as the model knows it: where it lies, and for whom."""

    obj: dict[str, Any]
    collection: str
    readers: frozenset[str]


@dataclass
class Scene:
    """The hub's author, what the model says that it submitted, and the products that poll meanwhile."""

    world: World
    chance: random.Random
    products: list[Product]
    held: list[Held] = field(default_factory=list)
    ever: dict[str, set[str]] = field(default_factory=lambda: {slug: set() for slug in MEMBERS})
    """Ids that each member was ever permitted."""
    closed: set[str] = field(default_factory=set)
    """Members to whom the agreement gives nothing now."""

    def permitted(self, slug: str, collections: tuple[str, ...]) -> dict[str, str]:
        """The latest version of each object that the member may have now: whoever may not have it has none of the object."""
        latest = {one.obj["id"]: one for one in sorted(self.held, key=lambda one: instant(one.obj["modified"]))}
        return {
            id_: instant(one.obj["modified"])
            for id_, one in latest.items()
            if slug in one.readers and slug not in self.closed and one.collection in collections
        }

    async def submit(self, *objects: dict[str, Any], to: str) -> None:
        signed = [self.world.sign("us-cyber", obj) for obj in objects]
        status = await self.world.post("us-cyber", *signed, to=to)
        assert status["success_count"] == len(objects), status
        for obj in objects:
            readers = frozenset(MEMBERS[:1] if NOFORN in obj["object_marking_refs"] else MEMBERS)
            self.held.append(Held(obj, to, readers))
            for slug in readers - self.closed:
                self.ever[slug].add(obj["id"])

    def markings(self) -> list[str]:
        return [TLP2["amber"], *([NOFORN] if self.chance.random() < 0.3 else [])]

    # What may happen.

    async def add(self) -> None:
        """Some new objects, by an author whose clock may run ahead of the hub's."""
        ahead_us = self.chance.choice([0, 0, 0, 240_000_000])
        now = as_millis_text(self.world.clock.now_us() + ahead_us)
        objects = [
            self.world.indicator("us-cyber", created=now, modified=now, object_marking_refs=self.markings())
            for _ in range(self.chance.randint(1, 5))
        ]
        await self.submit(*objects, to=self.chance.choice(COLLECTIONS))

    async def revise(self) -> None:
        """Another version of something, not always a later one, not always for the same readers."""
        if self.held:
            one = self.chance.choice(self.held)
            known = {other.obj["modified"] for other in self.held if other.obj["id"] == one.obj["id"]}
            modified = as_millis_text(self.world.clock.now_us() + self.chance.randint(-3, 3) * 1_000_000)
            if modified not in known and modified > one.obj["created"]:
                changed = one.obj | {"modified": modified, "object_marking_refs": self.markings()}
                await self.submit(changed, to=one.collection)

    async def delete(self) -> None:
        """An object out of its collection, all its versions."""
        if self.held:
            gone = self.chance.choice(self.held)
            path = f"collections/{self.world.collections[gone.collection]}/objects/{gone.obj['id']}/"
            assert (await call(self.world, "us-cyber", "DELETE", path))[0] == 200
            self.held = [one for one in self.held if one.obj["id"] != gone.obj["id"]]

    async def turn(self, slug: str | None = None) -> None:
        """What a member may have is taken from it, or given to it again: it is no authority for a while."""
        slug = slug or self.chance.choice(MEMBERS)
        self.closed ^= {slug}
        member = self.world.members[slug]
        if slug in self.closed:
            member = replace(member, roles=("feed",))
            for product in self.products:
                if product.slug == slug:
                    product.drop()
        else:
            self.ever[slug] |= {one.obj["id"] for one in self.held if slug in one.readers}
        await self.world.hub.services.governance.put_member(OPERATOR, member)

    async def poll(self) -> None:
        """One request of some product."""
        await self.chance.choice(self.products).step()

    @property
    def actions(self) -> tuple[tuple[int, Callable[[], Awaitable[None]]], ...]:
        return ((4, self.add), (3, self.revise), (1, self.delete), (1, self.turn), (40, self.poll))

    async def happen(self, times: int) -> None:
        weights, actions = zip(*self.actions, strict=True)
        for action in self.chance.choices(actions, weights, k=times):
            await action()

    async def settle(self, product: Product) -> None:
        """Let a product finish its walk and make one more from where it then stands."""
        for _ in range(2):
            await product.step()
            while not product.resting:
                await product.step()


@pytest.mark.rule("CLI-02", "CLI-07", "CLI-08", "CLI-09", "CLI-10", "CLI-11", "CLI-13", "CLI-14", "PAG-21")
@pytest.mark.rule("OBJ-06", "NEG-21", "DSC-11", "DSC-12", "PAG-12", "PAG-19")
@pytest.mark.parametrize("seed", range(3))
async def test_each_product_ends_with_what_it_may_have(tmp_path: Path, place: Place, seed: int) -> None:
    # What is withdrawn is told by the API alone: a product's set is then what it may have, and nothing else.
    async with make_world(tmp_path, notices=False, **knobs_of(place)) as world:
        products = [await product.enrolled(world, slug) for product in PRODUCTS for slug in MEMBERS]
        scene = Scene(world, random.Random(seed), products)
        for _ in range(3):
            await scene.happen(80)
            for slug in sorted(scene.closed):
                await scene.turn(slug)
            for product in products:
                await scene.settle(product)
                permitted = scene.permitted(product.slug, product.collections)
                assert {one: product.seen.get(one) for one in permitted} == permitted, f"{product} lost something"
                assert product.seen.keys() <= scene.ever[product.slug], f"{product} was given too much"
                if product.replaces:
                    assert product.seen == permitted


# --- clients that write ---


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("clients"), body_limit_bytes=20_000, **database) as made:
        yield made


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.rule("CLI-12", "ROOT-04", "ROOT-08")
async def test_misp_pushes_in_parts_that_fit(world: World) -> None:
    """MISP's taxii_push: envelopes cut at max_content_length, posted as bytes, no status waited for."""
    limit = (await get(world, ""))["max_content_length"]
    objects = [world.signed("us-cyber") for _ in range(60)]
    parts: list[list[dict[str, Any]]] = [[]]
    for obj in objects:
        if len(orjson.dumps({"objects": [*parts[-1], obj]})) > limit:
            parts.append([])
        parts[-1].append(obj)
    assert len(parts) > 2
    path = f"collections/{world.collections['indicators']}/objects/"
    for part in parts:
        status, body, _ = await call(world, "us-cyber", "POST", path, orjson.dumps({"objects": part}))
        assert (status, body["failure_count"]) == (202, 0)
    assert ids(await get(world, path)) == [one["id"] for one in objects]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.rule("ADD-07", "NEG-13", "NEG-14")
@pytest.mark.rule("CLI-11")
async def test_opencti_and_splunk_post_bundles(world: World) -> None:
    """OpenCTI's taxii-post: one object a POST, as a STIX bundle; Splunk's CTIS app: a bundle, then the status. Cyware's
    inbox_request posts as Splunk does."""
    url = f"{world.root}collections/{world.collections['vulnerabilities']}/objects/"
    for content_type in ("application/stix+json; version=2.1", TAXII):
        obj = world.signed("us-cyber")
        bundle = {"type": "bundle", "id": f"bundle--{obj['id'][11:]}", "objects": [obj]}
        headers = world.headers("us-cyber", **{"Content-Type": content_type})
        headers["Accept"] = "application/taxii+json; version=2.1"
        async with world.session.post(url, data=orjson.dumps(bundle), headers=headers) as answer:
            assert answer.status == 202
            status = await answer.json(content_type=None)
        assert status["success_count"] == 1
        assert await get(world, f"status/{status['id']}/") == status
        assert obj["id"] in await world.pull("mx-ciber", "vulnerabilities")


# --- clients nobody here wrote ---


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.rule("CLI-01", "CLI-02", "CLI-03", "CLI-04", "NEG-20", "PAG-06")
@pytest.mark.peer("OTX-7")
async def test_taxii2_client_finds_adds_walks_and_deletes(world: World) -> None:
    """From the server's URL to the collection, as its manual does; `as_pages` over objects and over the manifest."""
    sent = [world.signed("us-cyber") for _ in range(5)]
    first = sent[0]

    def found(conn: _HTTPConnection) -> tuple[ApiRoot, Collection]:
        root = ApiRoot(Server(f"{world.hub.url}/taxii2/", conn=conn).default.url, conn=conn)
        [one] = [one for one in root.collections if one.title == "Border indicators"]
        one.refresh()
        return root, one

    def walk() -> None:
        with connection(world, "mx-ciber") as reading, connection(world, "us-cyber") as writing:
            (root, author), (_, reader) = found(writing), found(reading)
            status = author.add_objects({"objects": sent}, wait_for_completion=True)
            again = root.get_status(status.id)
            again.refresh()
            assert (status.success_count, again.success_count, again.status) == (5, 5, "complete")
            pulled = [o["id"] for page in as_pages(reader.get_objects, per_request=3) for o in page.get("objects", [])]
            listed = [o["id"] for page in as_pages(reader.get_manifest, per_request=4) for o in page.get("objects", [])]
            assert pulled == listed
            assert len(pulled) == len(set(pulled))
            assert pulled[-5:] == [one["id"] for one in sent]
            assert reader.get_object(first["id"])["objects"] == [first]
            assert reader.object_versions(first["id"])["versions"] == [first["modified"]]
            author.delete_object(first["id"])
            with pytest.raises(requests.HTTPError, match="404"):
                reader.get_object(first["id"])

    await asyncio.to_thread(walk)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.rule("CLI-05", "CLI-06", "FLT-08", "ADD-07")
async def test_stix2_gets_queries_and_tells_versions(world: World) -> None:
    """python-stix2's TAXIICollectionStore, both its halves: a signed object survives its parsing on the way in."""
    first = world.signed("us-cyber", name="first")
    plain = {key: value for key, value in first.items() if key != "extensions"}
    later = as_millis_text(world.clock.now_us() + 1_000_000)
    second = world.sign("us-cyber", plain | {"modified": later, "name": "second"})
    url = f"{world.root}collections/{world.collections['vulnerabilities']}/"

    def through() -> None:
        with connection(world, "us-cyber") as writing, connection(world, "mx-ciber") as reading:
            store = stix2.TAXIICollectionStore(Collection(url, conn=writing), allow_custom=True)
            store.add([stix2.parse(first, allow_custom=True), stix2.parse(second, allow_custom=True)])
            assert orjson.loads(store.get(first["id"]).serialize()) == second
            source = stix2.TAXIICollectionStore(Collection(url, conn=reading), allow_custom=True)
            assert source.get(first["id"]).name == "second"
            assert sorted(one.name for one in source.all_versions(first["id"])) == ["first", "second"]
            for query, names in (
                ([("id", "=", first["id"])], {"second"}),
                ([("type", "=", "indicator"), ("id", "=", first["id"])], {"second"}),
                ([("version", "=", "first"), ("id", "=", first["id"])], {"first"}),
                ([("type", "=", "malware")], set()),
                ([("added_after", "=", "2100-01-01T00:00:00Z")], set()),
                ([("added_after", "=", "2020-01-01T00:00:00Z"), ("name", "=", "second")], {"second"}),
            ):
                filters = [stix2.Filter(*one) for one in query]
                assert {one.name for one in source.query(filters)} == names, query

    await asyncio.to_thread(through)
