"""Two worlds that differ by what is hidden from a member: every byte that this member can get is the same in both.

Nothing is compared that the hub draws by lot, the ids of errors. The clock is the same, and moves between
acts, as clocks do: what is left when it does not is in docs/threats.md.
"""

import contextlib
import shutil
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from exchange.cli import setup
from exchange.cli.setup import OPERATOR
from exchange.clock import FixedClock
from exchange.hub import running
from exchange.times import as_millis_text, as_text
from policies.markings import CAVEAT_MARKINGS
from tests.places import Place, knobs_of
from tests.viewing import Answer, Viewer
from tests.world import TLP2, Founded, World, found

NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")


@contextlib.asynccontextmanager
async def stage(founded: Founded, home: Path, own: dict[str, Any]) -> AsyncIterator[World]:
    """A world like another, for a scene of its own. `own`: its database, where that is no file of its home."""
    shutil.copytree(founded.settings.database.parent, home)
    moved = {"database": home / founded.settings.database.name, "anchors": home / "anchors", "witnesses": {},
             "witness_policy": home / "witness-policy"}  # fmt: skip
    setup.fail_open(moved["witness_policy"])
    quiet = {"view_interval_seconds": 1e6, "poll_sum_interval_seconds": 1e6}
    settings = founded.settings.model_copy(update=moved | quiet | own)
    clock = FixedClock(as_text(founded.clock.now_us()))
    connector = aiohttp.TCPConnector(ssl=founded.trusting())
    async with running(settings, clock) as hub, aiohttp.ClientSession(connector=connector) as session:
        yield World(**vars(founded) | {"settings": settings, "clock": clock}, hub=hub, session=session)


async def roles(world: World, slug: str, *words: str) -> None:
    cast(FixedClock, world.clock).advance(seconds=10)
    member = replace(world.members[slug], roles=words or world.members[slug].roles)
    await world.hub.services.governance.put_member(OPERATOR, member)


async def play(
    founded: Founded,
    home: Path,
    own: dict[str, Any],
    script: dict[str, list[dict[str, Any]]],
    viewer: str,
    *,
    hidden: bool,
) -> list[Answer]:
    """The same scene: what `viewer` hears of it."""
    async with stage(founded, home, own) as world:
        clock = cast(FixedClock, world.clock)
        seer = Viewer(world, viewer, indices=not viewer.startswith("us"))
        ids = [one["id"] for part in script.values() for one in part]

        async def submit(name: str, to: str = "indicators") -> None:
            clock.advance(seconds=10)
            if hidden or not name.startswith("hidden"):
                status = await world.post("us-cyber", *script[name], to=to)
                assert status["failure_count"] == 0, status

        await submit("shown")
        await submit("kept back")
        await submit("shown connected")
        await submit("hidden")
        await seer.look(ids)
        await submit("hidden later")
        await submit("shown later")
        await submit("kept back later")
        await submit("hidden elsewhere", "vulnerabilities")
        clock.advance(seconds=10)  # what opens takes ticks, as an act does
        await seer.look(ids)
        await roles(world, viewer, "feed")
        await submit("hidden when closed")
        await submit("shown when closed")
        await seer.look(ids)
        await roles(world, viewer)
        await seer.look(ids)
        clock.advance(seconds=10)
        if hidden:
            gone = script["hidden"][0]["id"]
            path = f"{world.root}collections/{world.collections['indicators']}/objects/{gone}/"
            async with world.session.delete(path, headers=world.headers("us-cyber")) as answer:
                assert answer.status == 200
        await seer.look(ids)
        return seer.heard


async def copied(request: pytest.FixtureRequest, place: Place) -> dict[str, Any]:
    """What the settings of a world like that at the place say of its database."""
    return knobs_of(await request.getfixturevalue("databases").copy(place) if isinstance(place, str) else place)


def alike(plain: list[Answer], more: list[Answer]) -> None:
    assert len(plain) == len(more)
    unlike = [(one, other) for one, other in zip(plain, more, strict=True) if one != other]
    # The first alone, and cut short: to lay out the difference of all of them takes minutes.
    assert not unlike, "\n".join(str(part)[:2_000] for part in unlike[0])


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("viewer", "marking"), [("mx-ciber", NOFORN), ("us-port-gulf", TLP2["amber+strict"])])
async def test_what_is_hidden_changes_no_byte(
    request: pytest.FixtureRequest, tmp_path: Path, place: Place, viewer: str, marking: str
) -> None:
    """For a member of the author's own country the index of its own log's leaf is left out: that log tells its country how much
    is placed, and is meant to."""
    clock = FixedClock()
    async with found(tmp_path / "home", clock=clock, **knobs_of(place)) as founded:
        now = as_millis_text(clock.now_us())

        def several(count: int, **more: Any) -> list[dict[str, Any]]:
            return [
                founded.signed(
                    "us-cyber", created=now, modified=now, pattern=f"[ipv4-addr:value = '198.51.100.{n}']", **more
                )
                for n in range(1, count + 1)
            ]

        strict = {"object_marking_refs": [marking] if marking in TLP2.values() else [TLP2["amber"], marking]}
        script = {
            name: several(count, **(strict if name.startswith("hidden") else {}))
            for name, count in {
                "shown": 3, "hidden": 2, "hidden later": 70, "shown later": 3, "hidden elsewhere": 2,
                "hidden when closed": 3, "shown when closed": 2,
            }.items()
        }  # fmt: skip

        def related(source: str, target: str) -> dict[str, Any]:
            """What connects first objects of the script: it is not there for whoever may not have both."""
            clock.advance(seconds=1)
            return founded.related("us-cyber", script[source][0]["id"], script[target][0]["id"])

        def statement(*marks: str) -> dict[str, Any]:
            return founded.sign("us-cyber", {
                "type": "marking-definition", "spec_version": "2.1", "id": f"marking-definition--{uuid.uuid4()}",
                "created_by_ref": founded.members["us-cyber"].identity_id, "created": now, "definition_type": "statement",
                "definition": {"statement": "As it is."},
            } | ({"object_marking_refs": list(marks)} if marks else {}))  # fmt: skip

        # One that the viewer has, one that it comes to have by what cites it, one that it never has: cited by hidden things too.
        had, comes, hidden_one = statement(TLP2["green"]), statement(), statement(*strict["object_marking_refs"])
        script["shown"] += [had, comes]
        script["shown later"] += several(1, object_marking_refs=[TLP2["amber"], comes["id"]])
        cited = [had["id"], comes["id"], hidden_one["id"]]
        marks = {"object_marking_refs": [*strict["object_marking_refs"], *cited]}
        # The first is taken out again: nothing else lies under its label.
        script["hidden"] = [*several(1, confidence=30, **marks), *script["hidden"], hidden_one, *several(2, **marks)]
        script["hidden later"] += several(2, confidence=50, **marks)
        script["hidden elsewhere"] += several(1, confidence=60, **marks)
        script["hidden when closed"] += several(1, confidence=95, **marks)
        script |= {
            "kept back": [related("shown", "hidden"), related("hidden", "hidden later")],
            "shown connected": [related("shown", "shown")],
            "kept back later": [related("shown later", "hidden"), related("hidden later", "shown")],
        }
        answers = [
            await play(founded, tmp_path / str(hidden), await copied(request, place), script, viewer, hidden=hidden)
            for hidden in (False, True)
        ]
    plain, more = answers
    alike(plain, more)
    seen = b"".join(body for *_, body in plain)
    listed = b"".join(body for path, _, _, body in plain if "/objects/?" in path)
    assert not any(
        one["id"].encode() in listed for name, part in script.items() if name.startswith("kept") for one in part
    )
    assert all(one["id"].encode() in seen for name, part in script.items() if name.startswith("shown") for one in part)


# --- a second copy of what something refers to ---

VALUES = ("198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4")
VIEWERS = [("mx-ciber", NOFORN), ("us-port-gulf", TLP2["amber+strict"])]
"""Who asks, and a marking that hides from it."""


class Copies:
    """What several hold, each under its own marking, and what refers to it."""

    def __init__(self, founded: Founded, marking: str) -> None:
        strict = [marking] if marking in TLP2.values() else [TLP2["amber"], marking]
        self.shown = {value: founded.observed("us-cyber", value, TLP2["amber"]) for value in VALUES}
        self.hidden = {value: founded.observed("us-customs", value, *strict) for value in VALUES}
        self.ids = [one[0]["id"] for one in self.shown.values()]
        self.first = [self._related(founded, *pair) for pair in ((0, 1), (1, 2), (0, 3))]
        """In one envelope, of which some lead to what gets a copy and some do not."""
        self.second = [self._related(founded, *pair) for pair in ((2, 3), (0, 3), (2, 1))]
        self.third = [self._related(founded, *pair) for pair in ((1, 3), (1, 0))]
        self.end = founded.signed("us-cyber")
        later = {"id": self.end["id"], "created": self.end["created"]}
        cast(FixedClock, founded.clock).advance(seconds=1)
        self.stricter = founded.signed("us-cyber", object_marking_refs=strict, **later)
        self.fourth = [founded.related("us-cyber", self.end["id"], self.ids[0])]
        self.all = [
            *self.ids,
            self.end["id"],
            *[one["id"] for one in (*self.first, *self.second, *self.third, *self.fourth)],
        ]

    def _related(self, founded: Founded, source: int, target: int) -> dict[str, Any]:
        return founded.related("us-cyber", self.ids[source], self.ids[target])


@dataclass
class Copying:
    """The scene: `viewer` asks all the time, or once, when all is over."""

    world: World
    copies: Copies
    viewer: str
    late: bool
    hidden: bool

    def __post_init__(self) -> None:
        self.seer = Viewer(self.world, self.viewer, indices=not self.viewer.startswith("us"))

    async def look(self) -> None:
        if not self.late:
            await self.seer.look(self.copies.all)

    async def post(self, slug: str, *objects: dict[str, Any], to: str = "indicators") -> None:
        cast(FixedClock, self.world.clock).advance(seconds=10)
        if (slug, to) == ("us-cyber", "indicators") or self.hidden:
            status = await self.world.post(slug, *objects, to=to)
            assert status["failure_count"] == 0, status

    async def copy(self, value: str) -> None:
        await self.post("us-customs", *self.copies.hidden[value])

    async def drop(self, object_id: str, slug: str = "us-customs", of: str = "indicators") -> None:
        cast(FixedClock, self.world.clock).advance(seconds=10)
        if self.hidden:
            path = f"{self.world.root}collections/{self.world.collections[of]}/objects/{object_id}/"
            async with self.world.session.delete(path, headers=self.world.headers(slug)) as answer:
                assert answer.status == 200, await answer.text()

    async def come_and_go(self) -> None:
        copies = self.copies
        for held in copies.shown.values():
            await self.post("us-cyber", *held)
        await self.post("us-cyber", *copies.first)
        await self.look()
        await self.copy(VALUES[1])  # behind what refers to it
        await self.look()
        await self.copy(VALUES[2])
        await self.post("us-cyber", *copies.second)  # before what refers to it
        await self.look()
        await self.drop(copies.ids[1])
        await self.look()
        await self.post("us-cyber", *copies.third)
        await self.drop(copies.ids[2])
        await self.look()

    async def stay_at_home(self) -> None:
        """In the author's own country, and marked otherwise there."""
        copies = self.copies
        await self.post("us-cyber", copies.end)
        await self.post("us-cyber", *copies.fourth)
        await self.look()
        for one in (copies.end, copies.stricter) if self.viewer.startswith("mx") else ():
            await self.post("us-cyber", one, to="us-domestic")
            await self.look()
        if self.viewer.startswith("mx"):
            await self.drop(copies.end["id"], "us-cyber", "us-domestic")
            await self.look()

    async def come_while_closed(self) -> None:
        await self.copy(VALUES[3])
        await roles(self.world, self.viewer, "feed")
        await self.look()
        await self.copy(VALUES[0])
        await roles(self.world, self.viewer)
        await self.look()
        await self.drop(self.copies.ids[0])
        await self.look()

    async def heard(self) -> list[Answer]:
        await self.come_and_go()
        await self.stay_at_home()
        await self.come_while_closed()
        await self.seer.look(self.copies.all)
        return self.seer.heard


@pytest.mark.timeout(600)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("viewer", "marking"), VIEWERS)
async def test_a_second_hidden_copy_of_what_something_refers_to_changes_no_byte(
    request: pytest.FixtureRequest, tmp_path: Path, place: Place, viewer: str, marking: str, late: bool
) -> None:
    """Neither its coming, before or behind what refers to it, nor its going."""
    async with found(tmp_path / "home", clock=FixedClock(), **knobs_of(place)) as founded:
        copies = Copies(founded, marking)
        answers = []
        for hidden in (False, True):
            async with stage(founded, tmp_path / str(hidden), await copied(request, place)) as world:
                answers.append(await Copying(world, copies, viewer, late=late, hidden=hidden).heard())
    alike(*answers)
    listed = b"".join(body for path, _, _, body in answers[0] if "/objects/?" in path)
    assert all(one.encode() in listed for one in copies.all)
