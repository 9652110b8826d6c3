"""A log's key is replaced while several processes sign, some without the new key, and while operators are killed at any statement."""

import asyncio
import contextlib
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from exchange.cli.setup import OPERATOR, WITNESSES
from exchange.clock import FixedClock
from exchange.errors import Conflict, LedgerFault, NotFound, Unavailable
from exchange.governance.log_keys import LogKeys
from exchange.governance.records import Records
from exchange.hub import witness_policies, working
from exchange.ledger.entry import LOGS, Entry
from exchange.ledger.note import LogKey, split_note
from exchange.ledger.rotation import ABOUT_KEYS, KeyStory
from exchange.ledger.signing import KeyFiles
from exchange.ledger.witness import retire
from exchange.settings import Settings
from exchange.store.acts import Act, Record
from exchange.store.answers import LogKeyRow
from exchange.store.changes import KeyTurn
from exchange.web.services import Services
from tests.faults.crash import Crash, CrashAt
from tests.fscking import fsck
from tests.places import Place, knobs_of
from tests.rotating import desk, new_key, trust
from tests.world import Founded, found


@pytest.fixture
async def founded(tmp_path: Path, place: Place) -> AsyncIterator[Founded]:
    async with found(tmp_path / "home", **knobs_of(place)) as made:
        yield made


def elsewhere(founded: Founded, where: Path) -> Settings:
    """Those of another process of the hub, with the keys that it has now."""
    shutil.copytree(founded.settings.keys, where)
    return founded.settings.model_copy(update={"keys": where})


async def signed(services: Services, log: str = "both") -> int:
    """The size of the newest checkpoint."""
    row = await services.store.checkpoint(log)
    assert row is not None
    return row.size


def lines(note_of: str, *keys: LogKey) -> set[str]:
    return {key.line(note_of) for key in keys}


async def test_who_lacks_a_key_signs_nothing_and_halts_nobody(founded: Founded, tmp_path: Path) -> None:
    old = KeyFiles(founded.settings.keys).main("both")
    late = elsewhere(founded, tmp_path / "late")
    new = new_key(founded, "both")
    early = elsewhere(founded, tmp_path / "early")
    KeyFiles(early.keys).path("both", new).replace(early.keys / "log-both.key")  # before its time
    clock = founded.clock
    async with working(founded.settings, clock) as whole, working(late, clock) as half, working(early, clock) as other:
        await whole.publisher.publish_once()
        size = await signed(whole)
        await other.records.anchor()
        await other.publisher.publish_once()
        assert await signed(whole) == size, "a key that nobody was told of signs nothing, wherever it lies"
        await whole.publisher.publish_once()
        await desk(whole).begin(OPERATOR, "both", new.vkey)
        size = await signed(whole)
        for services in (half, other):
            await services.records.anchor()
            await services.publisher.publish_once()
            assert await signed(whole) == size
            assert services.publisher.halted is None
            with pytest.raises(Unavailable, match="lacks a key"):
                await services.publisher.voucher()
            with pytest.raises(NotFound, match="is not among the keys"):
                await desk(services).abort(OPERATOR, "both")
        assert (await whole.store.epochs()).state == "open"
        mine = (await whole.store.trees())["us"].size
        assert await signed(whole, "us") == mine, "the logs that it has the keys of, it goes on to sign"
        for settings in (late, early):
            with pytest.raises(LedgerFault, match="log-key-missing"):
                async with working(settings, clock, ask_witnesses=True):
                    raise AssertionError("it must not serve")

        await whole.publisher.publish_once()
        row = await whole.store.checkpoint("both")
        assert row is not None and row.size == (await whole.store.trees())["both"].size
        body, found_lines = split_note(row.note)
        assert set(found_lines) == lines(body, old, new)

        # The key is brought to the machine, and the process that runs there needs no restart.
        shutil.copy(KeyFiles(founded.settings.keys).path("both", new), late.keys)
        await half.records.anchor()
        await half.publisher.publish_once()
        row = await half.store.checkpoint("both")
        assert row is not None and row.size == (await half.store.trees())["both"].size
        body, found_lines = split_note(row.note)
        assert set(found_lines) == lines(body, old, new)


async def test_a_country_that_was_not_told_is_silent_and_nothing_halts(tmp_path: Path, place: Place) -> None:
    """Its one witness that knew the new key is lost; the other one still goes by the old one."""
    clock = FixedClock()
    async with found(tmp_path / "home", clock=clock, **knobs_of(place)) as founded:
        new = new_key(founded, "both")
        trust(founded, new, ["us-a", "mx-a"])
        async with working(founded.settings, clock, ask_witnesses=True) as services:

            async def state_after(seconds: int) -> str:
                clock.advance(seconds=seconds)
                await services.records.anchor()
                await services.publisher.publish_once()
                await services.publisher.witness_round()
                assert services.publisher.halted is None
                return (await services.store.epochs()).state

            await desk(services).begin(OPERATOR, "both", new.vkey)
            assert await desk(services).finish(OPERATOR, "both") == (new.vkey, ["mx-b", "us-b"])
            assert await state_after(1) == "open"
            retire(founded.home.witness("mx-a"), "lost", clock)
            assert await state_after(1) == "open"
            assert await state_after(901) == "degraded"
            trust(founded, new, ["mx-b"])
            assert await state_after(1) == "open"


async def told(services: Services) -> list[tuple[int, KeyStory]]:
    """By the sizes of `both` from which on it is so, what its entries say of the keys."""
    size = (await services.store.trees())["both"].size
    found, story = [], KeyStory()
    for index, data in enumerate(await services.store.leaves("both", 0, size)):
        leaf = orjson.loads(data)
        if leaf["t"] in ABOUT_KEYS and story.take(leaf):
            found.append((index + 1, KeyStory(dict(story.signing), dict(story.ever))))
    return found


async def must_be_one_story(services: Services, keys: list[LogKey]) -> None:
    """Every note is signed by exactly the keys that the entries under it name, and rows say the same."""
    history = await told(services)
    by_name = {key.vkey: key for key in keys}
    for row in await services.store.checkpoints("both", 1):
        body, found_lines = split_note(row.note)
        signing = [story for since, story in history if since <= row.size][-1].signing["both"]
        assert set(found_lines) == lines(body, *(by_name[name] for name in signing)), row.size
    rows = [row for row in await services.store.log_keys("both") if row.until is None]
    assert not rows or tuple(row.key for row in rows) == history[-1][1].signing["both"]


async def test_all_processes_change_at_one_place_in_the_log(founded: Founded) -> None:
    """Two sign as fast as they can while a third turns the keys to and fro."""
    keys = [KeyFiles(founded.settings.keys).main("both"), *(new_key(founded, "both") for _ in range(4))]
    for key in keys[1:]:
        trust(founded, key, WITNESSES)
    draw, done = random.Random(7), asyncio.Event()

    async def work(services: Services) -> None:
        while not done.is_set():
            await services.records.anchor()
            await services.publisher.publish_once()
            await asyncio.sleep(draw.random() / 200)

    async with contextlib.AsyncExitStack() as stack:
        operator, *hubs = [await stack.enter_async_context(working(founded.settings, founded.clock)) for _ in range(3)]
        working_hubs = [asyncio.create_task(work(one)) for one in hubs]
        for number, key in enumerate(keys[1:]):
            await desk(operator).begin(OPERATOR, "both", key.vkey)
            await asyncio.sleep(draw.random() / 10)
            await (desk(operator).abort if number % 2 else desk(operator).finish)(OPERATOR, "both")
            await asyncio.sleep(draw.random() / 10)
        done.set()
        await asyncio.gather(*working_hubs)
        assert [one.publisher.halted for one in hubs] == [None, None]
        await must_be_one_story(operator, keys)
        assert len(await operator.store.checkpoints("both", 1)) > 10


async def test_of_two_operators_one_is_told_that_he_was_late(founded: Founded) -> None:
    first, second = new_key(founded, "both"), new_key(founded, "both")
    settings, clock = founded.settings, founded.clock
    async with working(settings, clock) as one, working(settings, clock) as other:
        begun = await asyncio.gather(
            desk(one).begin(OPERATOR, "both", first.vkey), desk(other).begin(OPERATOR, "both", second.vkey),
            return_exceptions=True,
        )  # fmt: skip
        refused = [one for one in begun if isinstance(one, Exception)]
        assert [type(fault) for fault in refused] == [Conflict]
        ended = await asyncio.gather(
            desk(one).abort(OPERATOR, "both"), desk(other).abort(OPERATOR, "both"), return_exceptions=True
        )
        assert [type(fault) for fault in ended if isinstance(fault, Exception)] == [Conflict]
        await one.publisher.publish_once()
        await must_be_one_story(one, [KeyFiles(settings.keys).main("both"), first, second])


STEPS = {
    LogKeys.begin.__code__, LogKeys.finish.__code__, LogKeys.abort.__code__, LogKeys._end.__code__, LogKeys._turn.__code__,
    LogKeys._both.__code__, LogKeys._signers.__code__, Records.anchors.__code__,
}  # fmt: skip


@pytest.mark.parametrize("step", ["begin", "abort", "finish"])
async def test_an_operator_may_be_killed_at_any_statement(founded: Founded, place: Place, step: str) -> None:
    """Afterwards either nothing was done or all of it, and the next step goes on from there."""
    keys = [KeyFiles(founded.settings.keys).main("us")]
    settings, clock = founded.settings, founded.clock

    async def do(services: Services, what: str) -> None:
        if what == "begin":
            await desk(services).begin(OPERATOR, "us", keys[-1].vkey)
        else:
            await (desk(services).finish if what == "finish" else desk(services).abort)(OPERATOR, "us")

    at, ended = 0, False
    while not ended:
        at += 1
        keys.append(new_key(founded, "us"))
        trust(founded, keys[-1], ["us-a", "us-b"])
        async with working(settings, clock) as services:
            two = len([row for row in await desk(services).rows("us") if row.until is None]) == 2
            if two == (step == "begin"):
                await do(services, "abort" if two else "begin")
        async with working(settings, clock) as services:
            try:
                with CrashAt(STEPS, at):
                    await do(services, step)
                ended = True
            except Crash:
                pass
        async with working(settings, clock) as services:
            await services.records.anchor()
            await services.publisher.publish_once()
            assert services.publisher.halted is None
            history = await told(services)
            rows = tuple(row.key for row in await services.store.log_keys("us") if row.until is None)
            assert not rows or rows == history[-1][1].signing["us"]
            row = await services.store.checkpoint("us")
            assert row is not None and row.size == (await services.store.trees())["us"].size
            body, found_lines = split_note(row.note)
            by_name = {key.vkey: key for key in keys}
            assert set(found_lines) == lines(body, *(by_name[name] for name in rows or [keys[0].vkey]))
    assert at > 8, "the tracing does not work here"
    at_place = place if isinstance(place, str) else settings.database
    assert (await fsck(at_place, witness_policies(settings), settings.anchors)).ok


async def test_a_turn_counts_from_where_the_log_is_within_a_group(founded: Founded) -> None:
    """What is committed together with it, and before it, is still signed as before."""
    async with working(founded.settings, founded.clock) as services:
        sizes = {log: tree.size for log, tree in (await services.store.trees()).items()}
        entry = Entry("us", "admin", OPERATOR, "x", {"command": "x"})
        turn = KeyTurn("us", ("a",), ("a", "b"))
        acts = [Act(f"before {number}", lambda _: Record((entry,))) for number in range(3)]
        acts += [Act("turn", lambda _: Record(()), changes=(turn,)), Act("after", lambda _: Record((entry,)))]
        *_, done, _ = await asyncio.gather(*map(services.sequencer.append, acts))
        assert done.leaves == ()
        rows = await services.store.log_keys("us")
        assert rows == [LogKeyRow("us", "a", 0), LogKeyRow("us", "b", sizes["us"] + 3 + 1)]
        assert [await services.store.log_keys(log) for log in LOGS if log != "us"] == [[], []]
