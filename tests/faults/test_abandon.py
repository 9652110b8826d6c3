"""What nobody can give back closes a log for ever: by its countries' approval of exactly that, and never what could be recovered."""

import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from exchange.cli.packing import HubCopy
from exchange.cli.setup import OPERATOR
from exchange.errors import LedgerFault, NotPermitted, Unavailable
from exchange.governance.abandoning import ABANDONMENT_TYPE, Loss, NextLogs
from exchange.governance.recovery import RECOVERY_TYPE, Gap, Recovered, Recovery
from exchange.hub import open_store, witness_policies, working
from exchange.ledger.audit import write_copy
from exchange.ledger.entry import LOGS
from exchange.ledger.note import Checkpoint, note_text, split_note
from exchange.ledger.publisher import Anchor, Anchors
from exchange.ledger.receipt import Receipt
from exchange.ledger.remembering import Request
from exchange.ledger.sources import Folder
from exchange.model.member import Status
from exchange.store.contract import CheckpointRow, Store, TreeRow
from exchange.times import parse_us
from tests.faults.test_recover import approvals, back_up, cosign, halted, replace_database, submit
from tests.fscking import fsck
from tests.world import Founded, found

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Loser:
    """A hub whose database was lost, and whose `us` entries since the backup nobody has."""

    founded: Founded
    backup: Any
    whole: Path
    """What would give everything back."""
    copy: Path
    """The same without the entries of `us`."""
    trees: dict[str, TreeRow]
    lost_tick: int
    receipt: tuple[bytes, bytes]
    """Of an entry that is lost."""
    early: tuple[bytes, bytes]
    """Of one that is not."""

    def recovery(self, store: Store, source: Path, *abandon: str) -> Recovery:
        return recovery(self.founded, store, source, *abandon)


def recovery(founded: Founded, store: Store, source: Path, *abandon: str) -> Recovery:
    settings = founded.settings
    anchors = Anchors(settings.anchors)
    return Recovery(
        store, founded.clock, witness_policies(settings), anchors, Folder(source),
        abandon=abandon, next_logs=NextLogs(settings.keys, settings.witness_policy, anchors),
    )  # fmt: skip


def signed(founded: Founded, plan: Sequence[Gap | Loss], countries: str = "us mx", **changed: Any) -> list[bytes]:
    """What the approvers of these countries sign of a plan; `changed` in what is closed."""
    given = []
    for one in plan:
        mine = " ".join({country.lower() for country in one.countries} & set(countries.split()))
        given += approvals(founded, one.statement | (changed if isinstance(one, Loss) else {}), mine, one.typ)
    return given


def trust(founded: Founded, loss: Loss) -> None:
    """The witnesses of the countries whose log it is are told of the next one."""
    for name, witness in founded.witnesses.items():
        if name[:2].upper() in loss.countries:
            witness.add_log(loss.next)


async def first_entry(store: Store, log: str) -> dict[str, Any]:
    [data] = await store.leaves(log, 0, 1)
    found: dict[str, Any] = orjson.loads(data)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def loser(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[Loser]:
    root = tmp_path_factory.mktemp("loser")
    async with found(root, **database) as founded:
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            await submit(services, founded, "us-cyber", 3)
            await submit(services, founded, "mx-ciber", 1)
            await cosign(services)
            early = await receipt_of(services, "us", 0)
        backup = await back_up(founded)
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            await submit(services, founded, "us-cyber", 40)
            await submit(services, founded, "mx-ciber", 2)
            await services.governance.set_status(OPERATOR, "mx-aduanas", Status.SUSPENDED)
            await cosign(services)
            trees = await services.store.trees()
            await write_copy(root / "whole", HubCopy(services, LOGS, countries=("us", "mx")))
            late = await receipt_of(services, "us", trees["us"].size - 1)
            tick = (await services.store.epochs()).last_tick
        copy = Path(shutil.copytree(root / "whole", root / "copy"))
        shutil.rmtree(copy / "us" / "tile" / "entries")
        yield Loser(founded, backup, root / "whole", copy, trees, tick, late, early)


async def receipt_of(services: Any, log: str, index: int) -> tuple[bytes, bytes]:
    proof = await services.publisher.receipt(log, index)
    assert proof is not None
    [leaf] = await services.store.leaves(log, index, index + 1)
    return proof, leaf


async def test_what_can_be_recovered_is_not_abandoned(loser: Loser) -> None:
    await replace_database(loser.founded, loser.backup)
    store = await open_store(loser.founded.settings, loser.founded.clock)
    for source, abandon, code in (
        (loser.whole, ["us"], "possible"),
        (loser.whole, ["both", "us"], "possible"),
        (loser.copy, ["mx"], "source"),  # its `mx` is whole, and what is lost was not named
        (loser.copy, [], "source"),
    ):
        with pytest.raises(NotPermitted) as refusal:
            await loser.recovery(store, source, *abandon).plan()
        assert refusal.value.code == f"recover-{code}", (source.name, abandon)
    await store.close()


async def test_nothing_but_the_approval_of_exactly_this_closes_a_log(loser: Loser) -> None:
    founded = loser.founded
    await replace_database(founded, loser.backup)
    store = await open_store(founded.settings, founded.clock)
    closing = loser.recovery(store, loser.copy, "us")
    plan = await closing.plan()
    both, loss, mx = plan
    assert isinstance(both, Gap) and isinstance(loss, Loss) and isinstance(mx, Gap)
    assert loss.checkpoint.size == loser.trees["us"].size and loss.lost == loser.trees["us"].size - loss.held > 40
    assert (await loser.recovery(store, loser.copy, "us").plan())[1] == loss, "the next log's key is made once"

    recovered = approvals(founded, loss.statement | {"act": "log.recover"}, "us", RECOVERY_TYPE)
    as_recovery = approvals(founded, loss.statement, "us", RECOVERY_TYPE)
    foreign = approvals(founded, loss.statement, "mx", ABANDONMENT_TYPE)
    others = signed(founded, [both, mx])
    for given, code in (
        (others, "approval-missing"),
        ([*others, *signed(founded, [loss])[:1]], "approval-missing"),
        ([*others, *foreign], "approval-country"),
        ([*others, *as_recovery], "approval-form"),
        ([*others, *recovered], "approval-form"),
        ([*signed(founded, [both], "us"), *signed(founded, [mx, loss])], "approval-missing"),
        ([*others, *signed(founded, [loss], held=loss.held - 1)], "approval-replayed"),
        ([*others, *signed(founded, [loss], size=loss.checkpoint.size - 1)], "approval-replayed"),
        ([*others, *signed(founded, [loss], lost=0)], "approval-replayed"),
        ([*others, *signed(founded, [loss], next=loss.next[:-4] + "AAA=")], "approval-replayed"),
    ):
        with pytest.raises(NotPermitted) as refusal:
            await closing.run(given)
        assert refusal.value.code == code
    # Nor does it serve for anything else: to recover this log after all.
    whole = loser.recovery(store, loser.whole)
    with pytest.raises(NotPermitted) as refusal:
        await whole.run([*others, *signed(founded, [loss])])
    assert refusal.value.code == "approval-form"
    trees = await store.trees()
    assert not any(tree.closed for tree in trees.values()) and trees["us"].size == loss.held
    assert (await store.epochs()).state == "open", "restored, and not noticed yet"
    await store.close()


async def test_a_closed_log_goes_on_as_the_next(loser: Loser, tmp_path: Path) -> None:
    founded = loser.founded
    await replace_database(founded, loser.backup)
    await halted(founded, "rollback")
    store = await open_store(founded.settings, founded.clock)
    closing = loser.recovery(store, loser.copy, "us")
    plan = await closing.plan()
    loss = plan[1]
    assert isinstance(loss, Loss)
    done = await closing.run(signed(founded, plan))
    assert [one.log for one in done.closed] == ["us"] and set(done.leaves) == {"both", "mx"}

    # The old log is what it was; the first entry of the next says how it ended.
    trees = await store.trees()
    assert trees["us"] == TreeRow("us", loss.held, loss.held_root, 0, closed=True)
    assert trees["us/2"].before == loser.trees["us"].size and not trees["us/2"].closed
    told = await first_entry(store, "us/2")
    pub = told["pub"]
    assert (told["t"], told["log"], told["on"]) == ("log.close", "us", "log:us")
    assert (pub["held"], pub["lost"], pub["size"]) == (loss.held, loss.lost, loser.trees["us"].size)
    assert [one.split(" ")[:2] for one in pub["approvals"]] == [["US", "us-appr-1"], ["US", "us-appr-2"]]
    policies = witness_policies(founded.settings)
    assert policies["us"].check(pub["note"].encode()).checkpoint == loss.checkpoint
    [opened] = [
        leaf for data in await store.leaves("both", 0, trees["both"].size) if (leaf := orjson.loads(data))["t"] == "log.open"
        and leaf["pub"]["log"] == "us/2"
    ]  # fmt: skip
    assert opened["pub"].keys() == {"log", "origin", "key", "witness_policy", "previous"}, "not how long it was"

    # Nothing is appended to it, put back into it, or signed for it any more.
    row = CheckpointRow("us", loss.held, loss.held_root, b"", 0)
    for work in (store.add_checkpoint(row), store.restore("us", loss.held, [b"{}"])):
        with pytest.raises(LedgerFault):
            await work
    assert (await store.epochs()).last_tick > loser.lost_tick
    assert parse_us(pub["after"]) > loser.lost_tick
    await store.close()

    trust(founded, loss)
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        [new] = await submit(services, founded, "us-cyber", 1)
        await cosign(services)
        held = await services.store.held(new)
        assert held[0].placements[0][0] > loser.lost_tick, "whoever polled up to there misses nothing"
        note = await services.publisher.newest_cosigned("us/2")
        assert note is not None
        checkpoint = policies["us/2"].check(note).checkpoint
        assert checkpoint.origin == loss.next_origin and checkpoint.size >= 2
        proof, leaf = await receipt_of(services, "us/2", 1)
        assert Receipt.parse(proof).verify(leaf, policies["us/2"]).checkpoint.origin == loss.next_origin
        with pytest.raises(ValueError, match="No log key"):
            Receipt.parse(proof).verify(leaf, policies["us"])
        assert (await services.publisher.cosigned_note("us", 1)) is not None, "it can still be proved from"
        assert await services.publisher.grown("us", loss.checkpoint.size, loss.checkpoint.root) == b""
        suspended = (await services.rulebook.current()).registry.members["mx-aduanas"]
        assert suspended.status is Status.SUSPENDED, "`both` was recovered"
    checked = await fsck(founded.settings.database_url or founded.settings.database, policies, founded.settings.anchors)
    assert checked.ok, checked.wrong
    # What was proved stays proved, lost or not: and only as what it was.
    for proof, leaf in (loser.early, loser.receipt):
        assert Receipt.parse(proof).verify(leaf, policies["us"]).checkpoint.origin == loss.checkpoint.origin
        with pytest.raises(ValueError, match="No log key"):
            Receipt.parse(proof).verify(leaf, policies["us/2"])


async def test_a_witness_cosigns_no_more_of_a_closed_log(loser: Loser) -> None:
    """After the test before this: whoever got hold of the old key, and of everything that was lost, still gets nowhere."""
    founded = loser.founded
    policy = witness_policies(founded.settings)["us"]
    body = split_note((loser.whole / "us/checkpoint").read_bytes())[0]
    size = Checkpoint.parse(body).size
    own = [
        line
        for line in (loser.whole / "us/checkpoint").read_text().splitlines()
        if line.startswith(f"— {policy.logs[0].name} ")
    ]
    for name in ("us-a", "us-b"):
        request = Request(size, (), note_text(f"{body}\n".encode(), own))
        answer = founded.witnesses[name].answer(request.encode())
        assert (answer.status, answer.evidence) == (403, True), answer
    assert founded.witnesses["mx-a"].checkpoint("") is None


async def test_three_generations_and_a_hub_that_slept_through_two(loser: Loser, tmp_path: Path) -> None:
    founded = loser.founded
    async with working(founded.settings, founded.clock, ask_witnesses=True) as sleeper:
        await write_copy(tmp_path / "copy", HubCopy(sleeper, ["both", "us/2", "mx"], countries=("us", "mx")))
        before = await sleeper.store.trees()
        # It signed what nobody cosigned, and lost it: such a log cannot go on.
        Anchors(founded.settings.anchors).write("us/2", Anchor(before["us/2"].size + 5, bytes(32)))
        await sleeper.store.halt("rollback")
        store = await open_store(founded.settings, founded.clock)
        with pytest.raises(NotPermitted) as refusal:
            await recovery(founded, store, tmp_path / "copy").plan()
        assert refusal.value.code == "recover-anchor"
        closing = recovery(founded, store, tmp_path / "copy", "us")
        plan = await closing.plan()
        loss = plan[1]
        assert isinstance(loss, Loss) and (loss.log, loss.lost) == ("us/2", 5)
        assert loss.next_origin == loss.checkpoint.origin.removesuffix("/2") + "/3"
        assert isinstance(await closing.run(signed(founded, plan)), Recovered)
        trees = await store.trees()
        assert [log for log, tree in trees.items() if tree.closed] == ["us", "us/2"]
        assert trees["us/3"].before == before["us/2"].before + before["us/2"].size + 5
        assert (await first_entry(store, "us/3"))["seq"] > orjson.loads((await store.leaves("us/2", 0, 9))[-1])["seq"]

        # The sleeper wakes, with the keys of the generation before.
        anchor = Anchors(founded.settings.anchors).read("us/2")
        with pytest.raises(Unavailable) as unavailable:
            await submit(sleeper, founded, "us-cyber", 1)
        assert unavailable.value.code == "ledger-halted"
        await sleeper.publisher.publish_once()
        await sleeper.publisher.witness_round()
        assert sleeper.publisher.halted == "log-closed"
        assert Anchors(founded.settings.anchors).read("us/2") == anchor
        assert (await store.epochs()).state == "open", "it halts nobody else"
        assert (await store.trees())["us/2"].size == trees["us/2"].size
        assert not await store.checkpoints("us/3", 1)
        await store.close()
    trust(founded, loss)
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        await submit(services, founded, "us-cyber", 1)
        await cosign(services)
        assert await services.publisher.newest_cosigned("us/3") is not None
    policies = witness_policies(founded.settings)
    checked = await fsck(founded.settings.database_url or founded.settings.database, policies, founded.settings.anchors)
    assert checked.ok and checked.leaves.keys() == {"both", "us", "us/2", "us/3", "mx"}, checked.wrong


async def test_a_backup_from_before_the_closing_starts_nothing(loser: Loser) -> None:
    founded = loser.founded
    await replace_database(founded, loser.backup)
    await halted(founded, "log-generation")
    store = await open_store(founded.settings, founded.clock)
    for abandon in ([], ["us"]):
        with pytest.raises(NotPermitted) as refusal:
            await recovery(founded, store, loser.copy, *abandon).plan()
        assert refusal.value.code == "recover-generation"
    await store.close()
