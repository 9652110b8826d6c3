"""Two worlds that differ by what one country does at home: every byte that the other can get is the same in both.

That is its own log, `both`, their checkpoints, and each answer of the hub to its members and auditors. What the hub draws by
lot, salts and the numbers of requests, is left out; so is what follows from it, roots and signatures, but not their lengths.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from exchange.cli.setup import OPERATOR
from exchange.clock import FixedClock
from exchange.hub import running
from exchange.times import as_millis_text, as_text
from policies.markings import CAVEAT_MARKINGS
from tests.postgres import Databases
from tests.taxii import UNKNOWN, heads
from tests.viewing import Answer, Viewer
from tests.world import TLP2, Founded, World, found

DRAWN = re.compile(rb'"(c|req|root|digest|salt|key)":"[^"]*"')
NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")
QUIET = {
    "view_interval_seconds": 1e6, "poll_sum_interval_seconds": 1e6, "anchor_interval_seconds": 1e6,
    "checkpoint_interval_seconds": 1e6, "witnesses": {},
}  # fmt: skip


class Home:
    """What the members of one country do among themselves, and what they are refused."""

    def __init__(self, world: World, country: str, objects: list[dict[str, Any]]) -> None:
        self.world = world
        self.country = country.lower()
        self.members = ("us-cyber", "us-customs") if country == "US" else ("mx-ciber", "mx-aduanas")
        self.objects = objects

    async def ask(self, path: str, expected: int, **headers: str) -> None:
        given = self.world.headers(self.members[0], **headers)
        async with self.world.session.get(f"{self.world.root}{path}", headers=given) as answer:
            assert answer.status == expected, await answer.text()
            await answer.read()

    async def live(self, step: int) -> None:
        """A day at home."""
        one, *others = self.objects[step * 20 : step * 20 + 20]
        domestic = f"collections/{self.world.collections[f'{self.country}-domestic']}/objects/"
        shared = f"collections/{self.world.collections['indicators']}/objects/"
        for objects, to in (([one, *others[:9]], f"{self.country}-domestic"), (others[9:], "indicators")):
            status = await self.world.post(self.members[0], *objects, to=to)
            assert status["failure_count"] == 0, status
        unsigned = self.world.indicator(self.members[0])
        assert (await self.world.post(self.members[0], unsigned, to=f"{self.country}-domestic"))["failure_count"] == 1
        await self.ask(domestic, 200)
        for _ in range(3):
            await self.ask(f"{domestic}?added_after=2100-01-01T00:00:00Z", 200)
            await self.ask(f"{domestic}{UNKNOWN}/", 404)
            await self.ask(f"{shared}{UNKNOWN}/", 404)
            await self.ask(f"{domestic}?next=foreign", 400)
        token = self.world.tokens[self.members[0]]
        await self.ask(domestic, 401, Authorization=f"Bearer {token[:-2]}xx")
        gone = f"{self.world.root}{domestic}{one['id']}/"
        async with self.world.session.delete(gone, headers=self.world.headers(self.members[0])) as answer:
            assert answer.status == 200


async def play(
    founded: Founded, home: Path, database: dict[str, Any], script: list[dict[str, Any]], away: list[dict[str, Any]], *,
    viewer: str, lively: bool,
) -> tuple[list[Answer], dict[str, list[bytes]]]:  # fmt: skip
    """The same scene in a world of its own: what a country hears, and what its logs hold then."""
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
        abroad = Home(world, other, away)
        services = hub.services
        for step, objects in enumerate((script[:3], script[3:])):
            clock.advance(seconds=10)
            await world.post(viewer, *objects)
            clock.advance(seconds=10)
            if lively:
                await abroad.live(step)
            clock.advance(seconds=10)
            await seer.look([one["id"] for one in script])
            await auditor.look([one["id"] for one in script[:1]])
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


@pytest.mark.parametrize("viewer", ["us-cyber", "mx-ciber"])
async def test_what_one_country_does_at_home_changes_no_byte_of_the_others(
    request: pytest.FixtureRequest, tmp_path: Path, database: dict[str, Any], viewer: str
) -> None:
    made: Databases | None = request.getfixturevalue("databases") if database else None
    knobs = {"database_url": await made.fresh()} if made is not None else {}
    clock = FixedClock()
    away = "mx-ciber" if viewer == "us-cyber" else "us-cyber"
    async with found(tmp_path / "home", clock=clock, **knobs) as founded:
        now = as_millis_text(clock.now_us())

        def several(slug: str, count: int, *more: str) -> list[dict[str, Any]]:
            return [
                founded.signed(slug, created=now, modified=now, object_marking_refs=[TLP2["amber"], *more],
                               pattern=f"[ipv4-addr:value = '198.51.100.{n}']")
                for n in range(1, count + 1)
            ]  # fmt: skip

        script, other = several(viewer, 5), several(away, 40, NOFORN)
        heard, held = [], []
        for lively in (False, True):
            copy = {"database_url": await made.copy(knobs["database_url"])} if made is not None else {}
            answers, logs = await play(
                founded, tmp_path / str(lively), copy, script, other, viewer=viewer, lively=lively
            )  # fmt: skip
            heard.append(answers)
            held.append({log: [(len(one), DRAWN.sub(rb"*", one)) for one in leaves] for log, leaves in logs.items()})
    for quiet, lively_too in zip(*heard, strict=True):
        assert quiet == lively_too
    assert held[0] == held[1]
    kinds = {orjson.loads(one)["t"] for leaves in logs.values() for one in leaves}
    assert {"submit", "decide", "publish", "release", "deny", "anchor", "pack.export"} <= kinds
