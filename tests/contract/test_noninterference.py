"""Two worlds that differ by what is hidden from a member: every byte that this member can get is the same in both.

Nothing is compared that the hub draws by lot, the ids of errors. The clock is the same, and moves between
acts, as clocks do: what is left when it does not is in docs/threats.md.
"""

import shutil
import uuid
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

        def related(source: str, target: str) -> dict[str, Any]:
            """What connects first objects of the script: it is not there for whoever may not have both."""
            clock.advance(seconds=1)
            base = founded.indicator("us-cyber", created=now, modified=now)
            kept = {
                name: base[name]
                for name in ("spec_version", "created_by_ref", "created", "modified", "object_marking_refs")
            }
            return founded.sign("us-cyber", kept | {
                "type": "relationship", "id": f"relationship{base['id'].removeprefix('indicator')}",
                "relationship_type": "related-to", "source_ref": script[source][0]["id"], "target_ref": script[target][0]["id"],
            })  # fmt: skip

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
    listed = b"".join(body for path, _, _, body in plain if "/objects/?" in path)
    assert not any(
        one["id"].encode() in listed for name, part in script.items() if name.startswith("kept") for one in part
    )
    assert all(one["id"].encode() in seen for name, part in script.items() if name.startswith("shown") for one in part)
