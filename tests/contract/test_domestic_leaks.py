"""Two worlds that differ by what one country does at home: every byte that the other can get is the same in both.

That is its own log, `both`, their checkpoints, and each answer of the hub to its members and auditors. What the hub draws by
lot, salts and the numbers of requests, is left out; so is what follows from it, roots and signatures, but not their lengths.
"""

import asyncio
import re
import shutil
import uuid
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.cli.erasing import privacy
from exchange.cli.setup import OPERATOR
from exchange.clock import FixedClock
from exchange.governance.privacy import ERASURE_TYPE
from exchange.hub import running
from exchange.times import as_millis_text, as_text
from policies.markings import CAVEAT_MARKINGS
from tests.faults.test_recover import approvals
from tests.postgres import Databases
from tests.taxii import UNKNOWN, heads
from tests.viewing import Answer, Viewer
from tests.world import TLP2, Founded, World, found

DRAWN = re.compile(rb'"(c|req|root|digest|salt|key)":"[^"]*"')
NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")
RESOLVERS = ("8.8.8.8", "1.1.1.1")
"""Held until somebody accepts them."""
QUIET = {
    "view_interval_seconds": 1e6, "poll_sum_interval_seconds": 1e6, "anchor_interval_seconds": 1e6,
    "checkpoint_interval_seconds": 1e6, "witnesses": {},
}  # fmt: skip


class Home:
    """What the members of one country do among themselves, what they are refused, and what is erased of it."""

    def __init__(
        self, world: World, country: str, objects: list[dict[str, Any]], ends: list[list[dict[str, Any]]]
    ) -> None:
        self.world = world
        self.ends = list(ends)
        self.country = country.lower()
        self.members = ("us-cyber", "us-customs") if country == "US" else ("mx-ciber", "mx-aduanas")
        self.left = list(objects)
        self.placed: list[str] = []
        self.accepted = 0

    async def ask(self, path: str, expected: int, **headers: str) -> None:
        given = self.world.headers(self.members[0], **headers)
        async with self.world.session.get(f"{self.world.root}{path}", headers=given) as answer:
            assert answer.status == expected, await answer.text()
            await answer.read()

    @property
    def domestic(self) -> str:
        return f"collections/{self.world.collections[f'{self.country}-domestic']}/objects/"

    async def _post(self, count: int, to: str) -> None:
        objects = [self.left.pop() for _ in range(min(count, len(self.left)))]
        if objects:
            status = await self.world.post(self.members[0], *objects, to=to)
            assert status["failure_count"] == 0, status
        if to != "indicators":
            self.placed += [one["id"] for one in objects]

    async def submit(self) -> None:
        await self._post(7, f"{self.country}-domestic")

    async def hold_an_end(self) -> None:
        """What something of the other country refers to, whether it is held there or not, comes here too."""
        if self.ends:
            end = self.ends.pop()
            status = await self.world.post(self.members[0], *end, to=f"{self.country}-domestic")
            assert status["failure_count"] == 0, status
            self.placed.append(end[0]["id"])

    async def share_at_home(self) -> None:
        """Into the shared collection, marked for nobody abroad."""
        await self._post(7, "indicators")

    async def be_refused(self) -> None:
        unsigned = self.world.indicator(self.members[0])
        assert (await self.world.post(self.members[0], unsigned, to=f"{self.country}-domestic"))["failure_count"] == 1

    async def pull(self) -> None:
        await self.ask(self.domestic, 200)

    async def find_nothing(self) -> None:
        await self.ask(f"{self.domestic}?added_after=2100-01-01T00:00:00Z", 200)
        for place in (self.domestic, f"collections/{self.world.collections['indicators']}/objects/"):
            await self.ask(f"{place}{UNKNOWN}/", 404)

    async def mistake(self) -> None:
        await self.ask(f"{self.domestic}?next=foreign", 400)
        await self.ask(self.domestic, 401, Authorization=f"Bearer {self.world.tokens[self.members[0]][:-2]}xx")

    async def delete(self) -> None:
        if self.placed:
            gone = f"{self.world.root}{self.domestic}{self.placed.pop()}/"
            async with self.world.session.delete(gone, headers=self.world.headers(self.members[0])) as answer:
                assert answer.status == 200

    async def erase(self) -> None:
        """A private part of its own log, by its own approvers."""
        desk, log = privacy(self.world.hub.services), self.country
        size = (await self.world.hub.services.store.trees())[log].size
        held = await self.world.hub.services.store.openings(log, 0, size)
        for step in ("block", "erase") if held else ():
            statement = await desk.statement(step, log, held[0].index, "test")
            given = approvals(self.world, statement, log, ERASURE_TYPE)
            await desk.do(step, log, held[0].index, "test", given)

    async def accept(self) -> None:
        """A value that is held, from its own members."""
        holding, value = self.world.hub.services.holding, RESOLVERS[self.accepted % len(RESOLVERS)]
        self.accepted += 1
        await holding.release(OPERATOR, value, f"country:{self.country.upper()}", reason="test", days=3)

    async def live(self, day: Sequence[str]) -> None:
        for act in day:
            await getattr(self, act)()


ACTS = (
    "submit",
    "hold_an_end",
    "share_at_home",
    "be_refused",
    "pull",
    "find_nothing",
    "mistake",
    "delete",
    "erase",
    "accept",
)
DAY = (*ACTS, "hold_an_end", "find_nothing", "delete", "pull", "hold_an_end", "find_nothing")
DAYS = 2
"""In a scene."""
OBJECTS = 40
EXAMPLES = 20
"""A scene takes a third of a second."""


async def play(
    founded: Founded, home: Path, database: dict[str, Any], script: list[list[dict[str, Any]]], away: list[dict[str, Any]],
    ends: list[list[dict[str, Any]]], *, viewer: str, days: Sequence[Sequence[str]],
) -> tuple[list[Answer], dict[str, list[bytes]]]:  # fmt: skip
    """The same scene in a world of its own, in which the other country lives these days at home: what a country hears, and what
    its logs hold then."""
    shutil.copytree(founded.settings.database.parent, home)
    moved = {"database": home / founded.settings.database.name, "anchors": home / "anchors", **database}
    settings = founded.settings.model_copy(update=moved | QUIET)
    clock = FixedClock(as_text(founded.clock.now_us()))
    connector = aiohttp.TCPConnector(ssl=founded.trusting())
    country, other = ("US", "MX") if viewer.startswith("us") else ("MX", "US")
    async with running(settings, clock) as hub, aiohttp.ClientSession(connector=connector) as session:
        world = World(**vars(founded) | {"settings": settings, "clock": clock}, hub=hub, session=session)
        seer = Viewer(world, viewer, domestic=f"{country.lower()}-domestic")
        auditor = Viewer(world, f"aud-{country.lower()}", domestic=f"{country.lower()}-domestic")
        abroad = Home(world, other, away, ends)
        ids = [one["id"] for part in script for one in part]
        services = hub.services
        for day, objects in zip(days, script, strict=True):
            clock.advance(seconds=10)
            await world.post(viewer, *objects)
            clock.advance(seconds=10)
            await abroad.live(day)
            clock.advance(seconds=10)
            await seer.look(ids)
            await auditor.look([script[0][0]["id"], script[0][-1]["id"]])
            clock.advance(seconds=10)
            await services.release.flush_sums()
            await services.publisher.publish_once()
            await services.records.anchor()
            taken = await heads(world, "both", country.lower())
            await services.records.exported(OPERATOR, taken, to=country.lower(), openings=True, since={})
            await services.publisher.publish_once()
            await _read_logs(auditor, country.lower())
        logs = {}
        for log in ("both", country.lower()):
            size = (await services.store.trees())[log].size
            logs[log] = await services.store.leaves(log, 0, size)
        return seer.heard + auditor.heard, logs


async def _read_logs(auditor: Viewer, own: str) -> None:
    """What an auditor is answered of the logs: of what hangs on salts, only the length."""
    for log in ("both", own, "us", "mx"):
        for path in ("checkpoint", "tile/entries/000.p/1", "tile/0/000.p/1", "leaf/0", "leaf/100000"):
            before = len(auditor.heard)
            await auditor.ask(f"/ledger/{log}/{path}", Accept="*/*")
            for n, (asked, status, headers, body) in enumerate(auditor.heard[before:], before):
                plain = tuple(pair for pair in headers if pair[0].lower() != "etag")
                auditor.heard[n] = (asked, status, plain, str(len(body)).encode())


Seen = tuple[list[Answer], dict[str, list[tuple[int, bytes]]]]


class Scenes:
    """One home from which scenes are played that differ by nothing but the days of the other country."""

    def __init__(self, founded: Founded, viewer: str, databases: Databases | None) -> None:
        self._founded = founded
        self._viewer = viewer
        self._databases = databases
        self._numbers = count()
        now = as_millis_text(founded.clock.now_us())

        def several(slug: str, number: int, *more: str) -> list[dict[str, Any]]:
            return [
                founded.signed(slug, created=now, modified=now, object_marking_refs=[TLP2["amber"], *more],
                               pattern=f"[ipv4-addr:value = '198.51.100.{n}']")
                for n in range(1, number + 1)
            ]  # fmt: skip

        other = "mx-ciber" if viewer == "us-cyber" else "us-cyber"
        mine = founded.members[other].identity_id
        statement = founded.sign(other, {
            "type": "marking-definition", "spec_version": "2.1", "id": f"marking-definition--{uuid.uuid4()}", "created": now,
            "created_by_ref": mine, "definition_type": "statement", "definition": {"statement": "."},
            "object_marking_refs": [NOFORN],
        })  # fmt: skip
        identity = founded.sign(other, {
            "type": "identity", "spec_version": "2.1", "id": mine, "created": now, "modified": now, "created_by_ref": mine,
            "name": "A", "identity_class": "organization", "object_marking_refs": [NOFORN],
        })  # fmt: skip
        values = [f"203.0.113.{n}" for n in range(1, 5)]
        held = [founded.observed(viewer, value, TLP2["amber"]) for value in values[:2]]
        self._ends = [founded.observed(other, value, TLP2["amber"], NOFORN) for value in values]
        ids = [one["id"] for one, _ in self._ends]
        connecting = [
            founded.related(viewer, ids[source], ids[target], TLP2["amber"], *marks)
            for source, target, *marks in ((0, 1), (1, 0, NOFORN), (0, 2, NOFORN), (2, 3, NOFORN), (3, 1, NOFORN))
        ]
        shown = several(viewer, 5)
        self._script = [
            [*shown[:3], *held[0], *connecting[2:4]],
            [*shown[3:], *held[1], *connecting[:2], connecting[4]],
        ]
        # The last is sent first: what is cited, and then what cites it.
        plain, citing = several(other, OBJECTS - 12, NOFORN), several(other, 10, NOFORN, statement["id"])
        self._away = [*plain, *citing, identity, statement]

    async def seen(self, days: Sequence[Sequence[str]]) -> Seen:
        copy = {}
        if self._databases is not None:
            copy["database_url"] = await self._databases.copy(self._founded.settings.database_url)
        home = self._founded.home.root / f"scene-{next(self._numbers)}"
        answers, logs = await play(
            self._founded, home, copy, self._script, self._away, self._ends, viewer=self._viewer, days=days
        )  # fmt: skip
        self.kinds = {orjson.loads(one)["t"] for leaves in logs.values() for one in leaves}
        return answers, {log: [(len(one), DRAWN.sub(rb"*", one)) for one in leaves] for log, leaves in logs.items()}


def alike(these: Seen, those: Seen) -> None:
    for one, other in zip(these[0], those[0], strict=True):
        assert one == other
    assert these[1] == those[1]


@pytest.mark.parametrize("viewer", ["us-cyber", "mx-ciber"])
async def test_what_one_country_does_at_home_changes_no_byte_of_the_others(
    request: pytest.FixtureRequest, tmp_path: Path, database: dict[str, Any], viewer: str
) -> None:
    made: Databases | None = request.getfixturevalue("databases") if database else None
    knobs = {"database_url": await made.fresh()} if made is not None else {}
    async with found(tmp_path / "home", clock=FixedClock(), **knobs) as founded:
        scenes = Scenes(founded, viewer, made)
        quiet = await scenes.seen([()] * DAYS)
        alike(quiet, await scenes.seen([DAY] * DAYS))
    assert {"submit", "decide", "publish", "release", "deny", "anchor", "pack.export"} <= scenes.kinds


@pytest.mark.parametrize("viewer", ["us-cyber", "mx-ciber"])
def test_nor_does_whatever_else_it_might_do(tmp_path: Path, viewer: str) -> None:
    """Days at home as they come: one that tells is made as short as it can be and still tell."""
    with asyncio.Runner() as runner:
        home = found(tmp_path / "home", clock=FixedClock())
        scenes = Scenes(runner.run(home.__aenter__()), viewer, None)
        quiet = runner.run(scenes.seen([()] * DAYS))
        day = st.lists(st.sampled_from(ACTS), max_size=8)

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
        @given(days=st.tuples(*[day] * DAYS))
        def judge(days: tuple[list[str], ...]) -> None:
            alike(quiet, runner.run(scenes.seen(days)))

        judge()
        runner.run(home.__aexit__(None, None, None))
