"""Two worlds that differ by what is hidden from a member: every byte that this member can get is the same in both.

Nothing is compared that the hub draws by lot, the ids of errors. The clock is the same, and moves between
acts, as clocks do: what is left when it does not is in docs/threats.md.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

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


async def play(
    founded: Founded,
    home: Path,
    own: dict[str, Any],
    script: dict[str, list[dict[str, Any]]],
    viewer: str,
    *,
    hidden: bool,
) -> list[Answer]:
    """The same scene in a world of its own: what `viewer` hears of it. `own`: its database, where that is no file of its home."""
    shutil.copytree(founded.settings.database.parent, home)
    moved = {"database": home / founded.settings.database.name, "anchors": home / "anchors", "witnesses": {},
             "witness_policy": home / "witness-policy"}  # fmt: skip
    setup.fail_open(moved["witness_policy"])
    quiet = {"view_interval_seconds": 1e6, "poll_sum_interval_seconds": 1e6}
    settings = founded.settings.model_copy(update=moved | quiet | own)
    clock = FixedClock(as_text(founded.clock.now_us()))
    connector = aiohttp.TCPConnector(ssl=founded.trusting())
    async with running(settings, clock) as hub, aiohttp.ClientSession(connector=connector) as session:
        world = World(**vars(founded) | {"settings": settings, "clock": clock}, hub=hub, session=session)
        home_country = viewer.startswith("us")
        seer = Viewer(world, viewer, indices=not home_country)
        ids = [one["id"] for part in script.values() for one in part]

        async def submit(name: str, to: str = "indicators") -> None:
            clock.advance(seconds=10)
            if hidden or not name.startswith("hidden"):
                status = await world.post("us-cyber", *script[name], to=to)
                assert status["failure_count"] == 0, status

        async def roles(*words: str) -> None:
            clock.advance(seconds=10)
            member = replace(world.members[viewer], roles=words or world.members[viewer].roles)
            await world.hub.services.governance.put_member(OPERATOR, member)

        await submit("shown")
        await submit("hidden")
        await seer.look(ids)
        await submit("hidden later")
        await submit("shown later")
        await submit("hidden elsewhere", "vulnerabilities")
        await seer.look(ids)
        await roles("feed")
        await submit("hidden when closed")
        await submit("shown when closed")
        await seer.look(ids)
        await roles()
        await seer.look(ids)
        clock.advance(seconds=10)
        if hidden:
            gone = script["hidden"][0]["id"]
            path = f"{world.root}collections/{world.collections['indicators']}/objects/{gone}/"
            async with session.delete(path, headers=world.headers("us-cyber")) as answer:
                assert answer.status == 200
        await seer.look(ids)
        return seer.heard


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
        answers = []
        for hidden in (False, True):
            own = knobs_of(place)
            if isinstance(place, str):
                own = knobs_of(await request.getfixturevalue("databases").copy(place))
            answers.append(await play(founded, tmp_path / str(hidden), own, script, viewer, hidden=hidden))
    plain, more = answers
    assert len(plain) == len(more)
    unlike = [(one, other) for one, other in zip(plain, more, strict=True) if one != other]
    # The first alone, and cut short: to lay out the difference of all of them takes minutes.
    assert not unlike, "\n".join(str(part)[:2_000] for part in unlike[0])
    seen = b"".join(body for *_, body in plain)
    assert all(one["id"].encode() in seen for name, part in script.items() if name.startswith("shown") for one in part)
