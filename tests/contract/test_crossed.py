"""What was published at home and crossed later: the other country's auditors are told of it by the pages that gave it, and of nothing else."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from certs.jcs import canonical
from exchange.auditing.answers import Answer, answer
from exchange.auditing.copies import open_copy
from exchange.auditing.rows import Asked
from exchange.cli.erasing import privacy
from exchange.cli.ledger import read_policies
from exchange.cli.packing import write_pack
from exchange.governance.privacy import ERASURE_TYPE
from exchange.ledger.audit import verify_copy
from exchange.times import as_text
from policies.terms import TERMS_EXTENSION
from tests.auditors import Story
from tests.contract.test_consents import api, said
from tests.contract.test_originators_terms import marked
from tests.faults.test_recover import approvals
from tests.packs import beside, entries, opened, reseal
from tests.world import TLP2, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

READERS = ("mx-ciber", "mx-aduanas")
CASE, OTHER_CASE = "flood-2027", "drill"


@dataclass
class Told:
    """A hub where two objects crossed later and one of the same envelope did not."""

    story: Story
    later: list[str]
    stayed: str
    packs: Path

    async def asked(self, whom: str, question: str, object_id: str, to: str = "") -> Answer:
        """The hub's answer to this country's auditors, which their pack gives too."""
        words = {"object": object_id, **({"to": to} if to else {})}
        there = await self.story.ask(f"aud-{whom}", question, until=self.story.ended, **words)
        source, marks = open_copy(self.packs / whom, read_policies(self.story.world.settings.witness_policy))
        here = await answer(Asked(question, until=self.story.ended, **words), source, marks)
        assert here.rows == list(there.rows)
        return here


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[Told]:
    async with make_world(
        tmp_path_factory.mktemp("hub"), notices=False, witness_interval_seconds=0.2, rate_burst=10_000, **database
    ) as world:
        await world.post("mx-marina", world.signed("mx-marina"), to="mx-domestic")
        marks = {case: marked(world, TERMS_EXTENSION, {"case": case})[0] for case in (CASE, OTHER_CASE)}
        first, stayed, second = (
            world.signed("us-cyber", object_marking_refs=[TLP2["green"], marks[case]["id"]])
            for case in (CASE, OTHER_CASE, CASE)
        )
        at_once = world.signed("us-cyber", tlp="green")
        assert (await world.post("us-cyber", *marks.values(), first, at_once, stayed, second))["failure_count"] == 0
        assert at_once["id"] in await world.pull(READERS[0])
        for reader in (
            READERS
        ):  # to one that has asked before it is news, at fresh ticks; a newcomer finds it where it was placed
            grant = said(world, "us-cyber", "consent.grant", case=CASE, members=[reader])
            assert (await api(world, "us-cyber", "consents", grant))[0] == 201
            for query in ("limit=2", "match[type]=indicator"):
                assert {first["id"], second["id"]} <= set(await world.pull(reader, query=query))
            place = f"collections/{world.collections['indicators']}"
            for path in (
                f"{place}/objects/{first['id']}/",
                f"{place}/objects/{first['id']}/versions/",
                f"{place}/manifest/",
            ):
                assert (await world.get(reader, path))[0] == 200
        story = Story(world, crossing=at_once, ended=as_text(world.clock.now_us()))
        packs = tmp_path_factory.mktemp("packs")
        for whom in ("us", "mx", "both"):
            await story.pack(packs / whom, whom)
        yield Told(story, [first["id"], second["id"]], stayed["id"], packs)


async def test_the_other_countrys_auditors_are_told_who_saw_it_and_why(told: Told) -> None:
    for one in told.later:
        us, mx = [await told.asked(whom, "who-saw", one) for whom in ("us", "mx")]
        assert {(row["member"], row["kind"]) for row in mx.rows} >= {(who, "objects") for who in READERS}
        assert {row["evidence"] for row in mx.rows} == {"proved"}
        assert [row for row in us.rows if row["log"] == "both"] == list(mx.rows)
        for reader, before in zip(READERS, (["publish"], []), strict=True):
            us, mx = [await told.asked(whom, "why", one, reader) for whom in ("us", "mx")]
            assert [row for row in us.rows if row["log"] == "both"] == list(mx.rows)
            assert [row["event"] for row in mx.rows if row["event"] != "release"] == before
        assert [one["code"] for one in (await told.asked("mx", "submitted", one)).end["remarks"]] == ["crossed-later"]
        other = await told.asked("mx", "why", one, "mx-marina")
        assert [one["code"] for one in other.end["remarks"]] == ["never-released", "crossed-later"]
    versions = [row["kind"] for row in (await told.asked("mx", "who-saw", told.later[0])).rows]
    assert {"objects", "versions", "manifest"} <= set(versions)


async def test_what_stayed_at_home_is_not_told(told: Told) -> None:
    for question, to in (("who-saw", ""), ("why", READERS[0]), ("submitted", "")):
        mx = await told.asked("mx", question, told.stayed, to)
        assert not mx.rows and "not-in-these-logs" in [one["code"] for one in mx.end["remarks"]]
    for whom in ("mx", "both"):
        text = b"".join(one.read_bytes() for one in (told.packs / whom).rglob("*") if one.is_file())
        assert told.stayed.encode() not in text
        assert all(one.encode() in text for one in told.later)


async def test_only_the_first_page_that_gave_it_has_a_list(told: Told) -> None:
    """A pack grows by each object once; and where a log that it has names all, by nothing."""
    for whom, named in (("us", 0), ("mx", 1), ("both", 1)):
        leaves = entries(told.packs / whom, "both")
        lists = [
            one["list"] for one in beside(told.packs / whom, "both", "pages") if leaves[one["index"]]["t"] == "release"
        ]
        lines = [line.split(" ")[1] for one in lists for line in one.get("items", ())]
        assert [lines.count(one) for one in told.later] == [named, named], whom


async def test_the_joint_pack_proves_it_too(told: Told) -> None:
    source, marks = open_copy(told.packs / "both", read_policies(told.story.world.settings.witness_policy))
    found = await answer(Asked("who-saw", object=told.later[0]), source, marks)
    assert found.rows == list((await told.asked("mx", "who-saw", told.later[0])).rows)


# --- what a forger may try ---


def _other_object(line: dict[str, Any], told: Told) -> None:
    line["list"]["items"] = [one.replace(told.later[0], told.stayed) for one in line["list"]["items"]]


def _missing_line(line: dict[str, Any], told: Told) -> None:
    del line["list"]["items"][0]


def _other_place(line: dict[str, Any], told: Told) -> None:
    """Its first and last place, and their number, stay as the entry says."""
    items = line["list"]["items"]
    (one, a), (two, b) = (items[n].split(" ", 1) for n in (0, -1))
    assert len(items) > 1
    items[0], items[-1] = f"{two} {a}", f"{one} {b}"


def _another_entry(line: dict[str, Any], told: Told) -> None:
    leaves = entries(told.packs / "mx", "both")
    line["index"] = next(
        n for n, leaf in enumerate(leaves) if leaf["t"] == "publish" and leaf["pub"]["cause"] == "grant"
    )  # type: ignore[index]


def _ticks_again(line: dict[str, Any], told: Told) -> None:
    """Of what was opened anyhow."""
    line["list"] = {"ticks": [[int(line["list"]["items"][0].split(" ")[0]), len(line["list"]["items"])]]}


@pytest.mark.parametrize("forge", [_other_object, _missing_line, _other_place, _another_entry, _ticks_again])
async def test_a_forged_list_is_named(
    told: Told, tmp_path: Path, forge: Callable[[dict[str, Any], Told], None]
) -> None:
    policy, whom = tmp_path / "policy", "mx"
    policy.mkdir()
    for log in ("both", whom):
        shutil.copy(told.story.world.settings.witness_policy / log, policy / log)
    pack = Path(shutil.copytree(told.packs / whom, tmp_path / "pack"))
    lines = {one["index"]: one for one in beside(pack, "both", "pages")}
    line = next(one for one in lines.values() if any(told.later[0] in item for item in one["list"].get("items", ())))
    assert line["index"] in opened(pack, "both"), "a page of its own members has its opening, and the list beside it"
    assert verify_copy(pack, read_policies(policy)).ok
    del lines[line["index"]]
    forge(line, told)
    lines[line["index"]] = line
    written = b"".join(canonical(lines[index]) + b"\n" for index in sorted(lines))
    (pack / "both/pages/000.jsonl").write_bytes(written)
    reseal(pack)
    findings = {(one.file, one.entry) for one in verify_copy(pack, read_policies(policy)).findings}
    assert findings == {("both/pages/000.jsonl", line["index"])}
    command = [sys.executable, "-I", pack / "verify.py", "--policy", policy, "--json", pack]
    ran = await asyncio.to_thread(subprocess.run, list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert {one["file"] for one in json.loads(ran.stdout)["findings"]} == {"both/pages/000.jsonl"}


# --- what goes ---


async def test_what_was_deleted_is_told_of_until_its_list_is_blocked(told: Told, tmp_path: Path) -> None:
    """Its originator's deletion takes nothing from the log; a blocked list is in no export, and an erased one is nowhere."""
    world = told.story.world
    url = f"{world.root}collections/{world.collections['indicators']}/objects/{told.later[1]}/"
    async with world.session.delete(url, headers=world.headers("us-cyber")) as gone:
        assert gone.status == 200
    before = await told.asked("mx", "who-saw", told.later[1])
    assert before.rows
    # A pack begins at the last checkpoint before its time: the questions that named the other object must lie before that.
    await world.cosigned()
    since_us = world.clock.now_us()
    await world.cosigned()
    recalls = await told.story.ask("aud-mx", "recalls", object=told.later[1])
    assert {(row["member"], bool(row["had"])) for row in recalls.rows} == {(who, True) for who in READERS}

    desk, store = privacy(world.hub.services), world.hub.services.store
    size = (await store.trees())["us"].size
    [index] = [
        one.index for one in await store.openings("us", 0, size) if b'{"items":' in one.payload and told.later[1].encode() in one.payload
    ]  # fmt: skip
    for step in ("block", "erase"):
        statement = await desk.statement(step, "us", index, "test")  # type: ignore[arg-type]
        given = approvals(world, statement, "us", ERASURE_TYPE)
        await desk.do(step, "us", index, "test", given)  # type: ignore[arg-type]
        after = await told.story.ask("aud-mx", "who-saw", object=told.later[1], until=told.story.ended)
        assert not after.rows, step
        pack = await told.story.pack(tmp_path / step, "mx")
        pages = b"".join(one.read_bytes() for one in (pack / "both" / "pages").rglob("*.jsonl"))
        assert told.later[1].encode() not in pages, step
        assert verify_copy(
            pack, {one: policy for one, policy in read_policies(world.settings.witness_policy).items() if one != "us"}
        ).ok
    # A pack of a time in which nothing of it left names nothing of it.
    await told.story.world.cosigned()
    await write_pack(world.hub.services, tmp_path / "since", "mx", since_us)
    assert not any(told.later[0].encode() in one.read_bytes() for one in (tmp_path / "since").rglob("*.jsonl"))
