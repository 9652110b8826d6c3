"""Events are written where they happen: refusals, keys, anchors, what was decided and kept back, a clock that was set forward."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from exchange.cli.setup import OPERATOR
from exchange.clock import FixedClock
from exchange.errors import Unavailable
from exchange.governance.records import anchor_digest
from exchange.ledger.entry import HUB, Entry, label_name
from exchange.ledger.merkle import root_of_lines
from exchange.ledger.note import new_witness_key
from exchange.ledger.sequencer import CLOCK_STEP_US, Sequencer
from exchange.rules import Caller
from exchange.store.acts import Act, Done, Record
from policies.markings import CAVEAT_MARKINGS
from tests.places import Place, open_at
from tests.taxii import UNKNOWN, heads, leaves, private_part
from tests.world import TLP2, World, make_world

NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    quiet = {"poll_sum_interval_seconds": 1e6, "anchor_interval_seconds": 1e6}
    async with make_world(tmp_path_factory.mktemp("events"), **quiet, **database) as made:
        yield made


async def status(world: World, path: str, **headers: str) -> int:
    async with world.session.get(world.root + path, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_the_logs_begin_with_their_keys_and_policies(world: World) -> None:
    begun = await leaves(world, "both", "log.open")
    publisher = world.hub.services.publisher
    assert {one["pub"]["origin"]: one["pub"]["key"] for one in begun} == {
        origin: publisher.vkeys[log] for log, origin in publisher.origins.items()
    }


async def test_refusals_are_written_once_and_then_summed(world: World) -> None:
    await world.hub.services.release.flush_sums()
    counts = {kind: len(await leaves(world, "mx", kind)) for kind in ("deny", "deny.sum")}
    elsewhere = {log: (await world.hub.services.store.trees())[log].size for log in ("both", "us")}
    path = f"collections/{world.collections['indicators']}/objects/{UNKNOWN}/"
    for _ in range(4):
        assert await status(world, path, **world.headers("mx-ciber")) == 404
    [first] = (await leaves(world, "mx", "deny"))[counts["deny"] :]
    assert (first["pub"]["code"], first["out"]) == ("not-found", "refused")
    assert (await private_part(world, "mx", first))["path"].endswith(path)
    assert len(await leaves(world, "mx", "deny.sum")) == counts["deny.sum"]
    await world.hub.services.release.flush_sums()
    [rest] = (await leaves(world, "mx", "deny.sum"))[counts["deny.sum"] :]
    assert (rest["pub"]["count"], rest["actor"]) == (3, first["actor"])
    sizes = await world.hub.services.store.trees()
    assert {log: sizes[log].size for log in elsewhere} == elsewhere


async def test_a_credential_that_is_not_valid_is_counted_where_its_account_is(world: World) -> None:
    token = world.tokens["mx-ciber"]
    path = f"collections/{world.collections['indicators']}/"
    for given in (f"Bearer {token[:-3]}xxx", f"Bearer {token[:-3]}yyy", "Bearer puente_0000000000000000_x", "Basic !"):
        assert await status(world, path, Accept="*/*", Authorization=given) == 401
    await world.hub.services.release.flush_sums()
    [known] = await leaves(world, "mx", "auth.fail.sum")
    assert (known["actor"].split(":")[1], known["pub"]["count"]) == ("mx-ciber", 2)
    strangers = {one["pub"]["code"]: one for one in await leaves(world, "both", "auth.fail.sum")}
    assert {code: one["actor"] for code, one in strangers.items()} == {
        "credential-invalid": "none:none:acct:none", "credential-malformed": "none:none:acct:none",
    }  # fmt: skip
    assert await leaves(world, "us", "auth.fail.sum") == []


async def test_what_was_decided_and_what_was_kept_back_is_in_the_owners_log(world: World) -> None:
    shown, hidden = world.signed("us-cyber"), world.signed("us-cyber", object_marking_refs=[TLP2["amber"], NOFORN])
    assert (await world.post("us-cyber", shown))["failure_count"] == 0
    assert (await world.post("us-cyber", hidden))["failure_count"] == 0
    submitted = {one["pub"]["object"]: one["pub"]["label"] for one in await leaves(world, "us", "submit")}
    decided = {one["pub"]["label"]: one for one in await leaves(world, "us", "decide")}
    entry = decided[submitted[hidden["id"]]]
    verdicts = (await private_part(world, "us", entry))["verdicts"]
    assert root_of_lines([" ".join(words) for words in verdicts]).hex() == entry["pub"]["root"]
    assert label_name(entry["pub"]["facets"]) == entry["pub"]["label"]
    assert {words[0]: words[1] for words in verdicts}["mx-ciber"] == "deny"

    assert shown["id"] in await world.pull("mx-ciber") and hidden["id"] not in await world.pull("mx-ciber")
    await world.hub.services.release.flush_sums()
    [kept] = [one for one in await leaves(world, "us", "withhold") if one["pub"]["to"] == "mx-ciber"]
    labels = (await private_part(world, "us", kept))["labels"]
    assert submitted[hidden["id"]] in {name for name, *_ in labels}
    assert kept["pub"]["count"] == sum(count for _, count, _ in labels)
    assert kept["pub"]["root"] == root_of_lines([" ".join(map(str, line)) for line in labels]).hex()
    assert await leaves(world, "mx", "withhold") == [], "a requester must not learn that there is more"

    await world.pull("mx-ciber")
    await world.hub.services.release.flush_sums()
    again = [one for one in await leaves(world, "us", "withhold") if one["pub"]["to"] == "mx-ciber"]
    assert again == [kept], "what was said before is not said again"


async def test_an_anchor_opens_in_its_own_log_only(world: World) -> None:
    await world.hub.services.publisher.publish_once()
    await world.hub.services.records.exported(OPERATOR, await heads(world, "us"), to="us", openings=True, since={})
    [shown] = [one for one in await leaves(world, "both", "anchor") if one["pub"]["log"] == "us"][-1:]
    [opening] = (await leaves(world, "us", "anchor"))[-1:]
    assert shown["pub"].keys() == {"log", "digest"} and shown["req"] == opening["req"]
    size, top, salt = opening["pub"]["size"], bytes.fromhex(opening["pub"]["root"]), opening["pub"]["salt"]
    assert anchor_digest(size, top, bytes.fromhex(salt)).hex() == shown["pub"]["digest"]
    row = await world.hub.services.store.checkpoint("us")
    assert row is not None and (size, top) == (row.size, row.root)
    [export] = (await leaves(world, "us", "pack.export"))[-1:]
    assert (export["pub"]["size"], export["req"]) == (size, shown["req"])
    assert await leaves(world, "both", "pack.export") == []


async def test_a_question_to_the_logs_is_one_of_them(world: World) -> None:
    rules = await world.hub.services.rulebook.current()
    caller = Caller(rules.registry.members["aud-mx"], "7f3a")
    await world.hub.services.records.read(caller, "who-saw", ["both", "mx"], 3, words={"object": UNKNOWN}, seed="1")
    [entry] = await leaves(world, "mx", "audit.read")
    assert entry["pub"] == {"question": "who-saw", "logs": ["both", "mx"], "rows": 3, "seed": "1"}
    assert (await private_part(world, "mx", entry))["object"] == UNKNOWN


async def test_what_an_operator_read_is_in_each_log_and_what_was_asked_in_no_country(world: World) -> None:
    words = {"asked": {"member": "mx-ciber"}, "rows": 3}
    await world.hub.services.records.read_here(OPERATOR, "what-did", ["both", "us", "mx"], words=words)
    for log in ("both", "us", "mx"):
        [entry] = [one for one in await leaves(world, log, "audit.read") if one["actor"] == OPERATOR]
        assert entry["pub"] == {"question": "what-did", "logs": [log]}
        assert ("c" in entry) is (log == "both")


async def test_a_start_tells_what_was_changed_while_no_hub_ran(world: World) -> None:
    """Settings by their digests; witnesses by their keys, each change once."""
    records, publisher = world.hub.services.records, world.hub.services.publisher
    witnesses = {name: key.vkey for name, key in publisher.policy("both").witnesses.items()}
    added = [one for one in await leaves(world, "both", "key.add") if one["pub"]["purpose"] == "witness"]
    assert {one["on"].partition(":")[2]: one["pub"]["key"] for one in added} == witnesses
    [first] = await leaves(world, "both", "log.start")
    assert not [one for one in await leaves(world, "both", "admin") if one["pub"]["command"] == "settings"]

    retired, gone = "us-b", "mx-b"
    other = {**witnesses, retired: new_witness_key("witness.example/us-b").vkey}
    del other[gone]
    began = {"software": "puente/0.1.1", "config": "ab" * 32}
    for _ in range(2):
        await records.began(HUB, began, other)
    [settings] = [one for one in await leaves(world, "both", "admin") if one["pub"]["command"] == "settings"]
    assert settings["pub"] == {"command": "settings", "before": first["pub"]["config"], "after": "ab" * 32}
    [new] = [one for one in await leaves(world, "both", "key.rotate") if one["on"].startswith("witness:")]
    assert (new["on"], new["pub"]["key"]) == (f"witness:{retired}", other[retired])
    assert new["pub"]["after"] == sorted(witnesses.values())
    ended = {one["on"]: one["pub"]["key"] for one in await leaves(world, "both", "key.revoke")}
    assert ended == {f"witness:{name}": witnesses[name] for name in (retired, gone)}

    await records.began(HUB, {**began, "config": first["pub"]["config"]}, witnesses)
    assert await records._witnesses() == witnesses, "what the log tells is what counts"


async def test_whose_an_account_is_stays_in_its_country(world: World) -> None:
    governance = world.hub.services.governance
    credential, _ = await governance.create_token(OPERATOR, "mx-ciber", days=1, note="turno de noche, ext. 118")
    [given] = [one for one in await leaves(world, "both", "acct.add") if one["pub"]["account"] == credential.id]
    [bound] = [one for one in await leaves(world, "mx", "acct.bind") if one["pub"]["account"] == credential.id]
    assert bound["req"] == given["req"] and "c" not in given
    assert await private_part(world, "mx", bound) == {"note": "turno de noche, ext. 118"}


# --- a clock that is set ---


@contextlib.asynccontextmanager
async def sequencing(place: Place, clock: FixedClock) -> AsyncIterator[Sequencer]:
    store = await open_at(place, clock)
    sequencer = Sequencer(store, clock)
    running = asyncio.get_running_loop().create_task(sequencer.run())
    try:
        yield sequencer
    finally:
        sequencer.close()
        await running
        await store.close()


async def note(sequencer: Sequencer, t: str = "admin", **pub: str) -> Done:
    entry = Entry("both", t, HUB, "test", pub or {"command": "test"})
    return await sequencer.append(Act(str(uuid.uuid4()), lambda _: Record((entry,))))


async def test_a_step_forward_is_refused_until_it_is_confirmed(place: Place) -> None:
    clock = FixedClock()
    async with sequencing(place, clock) as hub:
        await note(hub)
        clock.advance(seconds=86_400)  # a quiet day is no step
        begun = (await note(hub)).stamp.time_us
        clock.step(seconds=CLOCK_STEP_US / 1_000_000)
        assert (await note(hub)).stamp.time_us == begun + CLOCK_STEP_US, "the most that is let pass"
        clock.step(seconds=3600)
        for _ in range(2):
            with pytest.raises(Unavailable) as refused:
                await note(hub)
            assert refused.value.code == "clock-step"
        async with sequencing(place, clock) as operator:
            confirmed = await note(operator, "clock.step", before="2026-11-24T12:00:00.000000Z",
                                   after="2026-11-24T13:00:00.000000Z")  # fmt: skip
        clock.advance(seconds=600)
        assert (await note(hub)).stamp.time_us == confirmed.stamp.time_us + 600_000_000
        clock.step(seconds=3600)
        with pytest.raises(Unavailable):
            await note(hub)


async def test_a_step_back_keeps_the_order_and_its_end_is_no_step_forward(place: Place) -> None:
    clock = FixedClock()
    async with sequencing(place, clock) as hub:
        first = (await note(hub)).stamp.time_us
        clock.step(seconds=-3600)
        clock.advance(seconds=60)
        assert (await note(hub)).stamp.time_us == first
        clock.advance(seconds=60)
        clock.step(seconds=3600)
        assert (await note(hub)).stamp.time_us == first + 120_000_000
