"""What nobody can give back closes a log for ever: by its countries' approval of exactly that, and never what could be recovered."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from certs.jcs import canonical
from exchange.auditing.answers import answer as answer_of
from exchange.auditing.answers import unseal
from exchange.auditing.copies import CopyFiles, compare, open_copy
from exchange.auditing.rows import Asked
from exchange.cli.erasing import privacy
from exchange.cli.ledger import read_policies
from exchange.cli.packing import HubCopy, write_pack
from exchange.cli.setup import OPERATOR
from exchange.client import Alarm, Client, Memory
from exchange.client.gossip import SEEN
from exchange.errors import LedgerFault, NotPermitted, Unavailable
from exchange.governance.abandoning import ABANDONMENT_TYPE, Loss, NextLogs
from exchange.governance.privacy import ERASURE_TYPE
from exchange.governance.recovery import RECOVERY_TYPE, Gap, Recovered, Recovery
from exchange.hub import open_store, witness_policies, working
from exchange.ledger import offline
from exchange.ledger.audit import verify_copy, write_copy
from exchange.ledger.entry import LOGS, Entry
from exchange.ledger.generations import stem
from exchange.ledger.merkle import leaf_hash, root
from exchange.ledger.note import Checkpoint, LogKey, WitnessKey, note_text, split_note
from exchange.ledger.pack import SEAL
from exchange.ledger.publisher import Anchor, Anchors
from exchange.ledger.receipt import Receipt
from exchange.ledger.remembering import Request
from exchange.ledger.sources import Folder
from exchange.ledger.tiles import bundle, unbundle
from exchange.model.member import Status
from exchange.store.acts import Act, Record
from exchange.store.answers import CheckpointRow, TreeRow
from exchange.store.contract import Store
from exchange.times import parse_us
from tests.faults.test_recover import approvals, back_up, cosign, halted, replace_database, submit, told_in
from tests.fscking import fsck
from tests.world import Founded, found, opened

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
    shared: str
    """An object that was released before the backup."""
    old_note: bytes
    """The checkpoint of `us` at the backup."""

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
    async with found(root, witness_interval_seconds=0.2, checkpoint_interval_seconds=0.05, **database) as founded:
        async with opened(founded) as world:
            [shared] = await submit(world.hub.services, founded, "us-cyber", 1)
            assert shared in await world.pull("us-customs", query=f"match[id]={shared}")
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            await submit(services, founded, "us-cyber", 3)
            await submit(services, founded, "mx-ciber", 1)
            await cosign(services)
            early = await receipt_of(services, "us", 0)
            note = await services.publisher.newest_cosigned("us")
            assert note is not None
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
        yield Loser(founded, backup, root / "whole", copy, trees, tick, late, early, shared, note)


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

    # A database that went another way cannot go on either; what is held of it then is not what was cosigned.
    other = Act("other", lambda _: Record((Entry("both", "admin", OPERATOR, "x", {"command": "test"}),)))
    await store.extend([other])
    with pytest.raises(NotPermitted) as refusal:
        await loser.recovery(store, loser.whole).plan()
    assert refusal.value.code == "recover-fork"
    both, us, _ = await loser.recovery(store, loser.whole, "both").plan()
    tree = (await store.trees())["both"]
    assert isinstance(both, Loss) and (both.held, both.held_root) == (tree.size, tree.root) and isinstance(us, Gap)
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
        await submit(services, founded, "us-cyber", 1)
        await cosign(services)
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


async def everything(founded: Founded, directory: Path, whom: str = "us") -> Path:
    """What an auditor takes home."""
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        await cosign(services)
        await write_pack(services, directory, whom, None)
    return directory


def offline_findings(copy: Path, policies: Path, kept: dict[str, bytes] | None = None) -> list[tuple[str, str]]:
    """What the verifier in the copy says."""
    texts = {log: (policies / log).read_text() for log in ("both", "us")}
    return offline.verify(copy, offline.separate(texts), kept or {})[0].findings


async def test_auditors_have_answers_from_every_generation(loser: Loser, tmp_path: Path) -> None:
    founded = loser.founded
    async with opened(founded) as world:
        assert loser.shared in await world.pull("us-port-gulf", query=f"match[id]={loser.shared}")
        services = world.hub.services
        while await services.publisher.receipt("us/3", (await services.store.trees())["us/3"].size - 1) is None:
            await asyncio.sleep(0.05)
        query = {"object": loser.shared}
        url = f"{world.hub.url}/api/v1/audit/who-saw"
        async with world.session.get(url, params=query, headers=world.headers("aud-us")) as answer:
            assert answer.status == 200
            policies = witness_policies(founded.settings)
            told = unseal(await answer.read(), policies["both"].logs)
    assert {(row["log"], row["member"]) for row in told.rows} == {("us", "us-customs"), ("us/3", "us-port-gulf")}
    remarks = [one["en"] for one in told.end["remarks"] if one["code"] == "log-closed"]
    assert len(remarks) == 2 and "us was closed for ever" in remarks[0] and "us/2 was" in remarks[1]

    # And offline, by both verifiers, from a pack that has all of them.
    copy = await everything(founded, tmp_path / "copy")
    keys = founded.settings.witness_policy
    mine = {log: policy for log, policy in read_policies(keys).items() if not log.startswith("mx")}
    kept = {"us": (loser.whole / "us/checkpoint").read_bytes(), "both": (loser.whole / "both/checkpoint").read_bytes()}
    report = verify_copy(copy, mine, kept)
    assert report.ok, report.findings
    assert [(log.name, log.closed is not None) for log in report.logs] == [
        ("both", False), ("us", True), ("us/2", True), ("us/3", False)
    ]  # fmt: skip
    assert offline_findings(copy, keys, kept) == []
    source, marks = open_copy(copy, mine)
    again = await answer_of(Asked("who-saw", object=loser.shared), source, marks)
    assert [row["log"] for row in again.rows] == ["us", "us/3"]
    assert [one.verdict for one in compare(copy, copy, mine)] == ["same"] * 4
    assert {one.log: one.verdict for one in compare(copy, loser.whole, mine)} == {"both": "earlier", "us": "same"}

    # Whoever was told of no later generation learns that there is one.
    old = {log: mine[log] for log in ("both", "us")}
    found = {(one.file, one.code) for one in verify_copy(copy, old).findings}
    assert {("us/2/checkpoint", "policy-missing"), ("us/3/checkpoint", "policy-missing")} <= found


async def test_a_forged_generation_is_refused(loser: Loser, tmp_path: Path) -> None:
    """By whoever runs the hub, with the new log's key, and witnesses that saw nothing of the old one."""
    founded = loser.founded
    copy = await everything(founded, tmp_path / "copy")
    keys = founded.settings.witness_policy
    mine = {log: policy for log, policy in read_policies(keys).items() if not log.startswith("mx")}
    before, after = (mine[log].check((copy / log / "checkpoint").read_bytes()).checkpoint for log in ("us/2", "us/3"))
    leaves = await CopyFiles(copy, {"us/3": after.size}).leaves("us/3", 0, after.size)
    async with working(founded.settings, founded.clock) as services:
        rows = [row for row in await services.store.checkpoints("us/2", 1) if row.cosignatures]
    older = rows[0]
    assert older.size < before.size
    older_note = note_text(older.note, [line for _, line in older.cosignatures])
    kept = {"us/2": (copy / "us/2/checkpoint").read_bytes()}

    def forge(target: Path, shown: bytes, /, **pub: Any) -> Path:
        forged = Path(shutil.copytree(copy, target))
        leaf = orjson.loads(leaves[0])
        leaf["pub"] |= pub
        (forged / "us/2/checkpoint").write_bytes(shown)
        rewrite(forged, founded, "us/3", [canonical(leaf), *leaves[1:]])
        return forged

    honest = forge(tmp_path / "honest", kept["us/2"])
    assert verify_copy(honest, mine, kept).ok, "the forging itself is sound"
    assert offline_findings(honest, keys, kept) == []
    other = {"note": older_note.decode(), "size": older.size, "root": older.root.hex()}
    for name, shown, pub, code in (
        ("another-size", kept["us/2"], {"size": older.size}, ("us/3/checkpoint", "generation-unfounded")),
        ("another-root", kept["us/2"], {"root": "00" * 32}, ("us/3/checkpoint", "generation-unfounded")),
        ("no-note", kept["us/2"], {"note": ""}, ("us/3/checkpoint", "generation-unfounded")),
        ("first-log", kept["us/2"], {"note": loser.old_note.decode()}, ("us/3/checkpoint", "generation-unfounded")),
        ("another-next", kept["us/2"], {"next": "x/audit/us/9"}, ("us/3/checkpoint", "generation-unfounded")),
        ("other-leaves", kept["us/2"], {"held_root": "11" * 32}, ("us/2/checkpoint", "generation-other")),
        # One that was cosigned, and was not the last: what came after it would be forgotten.
        ("older", kept["us/2"], other, ("us/2/checkpoint", "generation-other")),
        ("older-shown", older_note, other, ("us/2/checkpoint", "kept-newer")),
    ):
        forged = forge(tmp_path / name, shown, **pub)
        assert code in {(one.file, one.code) for one in verify_copy(forged, mine, kept).findings}, name
        assert code[0] in {path for path, _ in offline_findings(forged, keys, kept)}, name


def rewrite(copy: Path, founded: Founded, log: str, leaves: list[bytes]) -> None:
    """The log's files as its key and its country's witnesses would sign them."""
    hashes = [leaf_hash(leaf) for leaf in leaves]
    width = len(leaves)
    (copy / log / f"tile/entries/000.p/{width}").write_bytes(bundle(leaves))
    (copy / log / f"tile/0/000.p/{width}").write_bytes(b"".join(hashes))
    key = LogKey.decode((founded.settings.keys / f"log-{stem(log)}.key").read_text().strip())
    body = Checkpoint(key.name, width, root(hashes)).body()
    witness = WitnessKey.decode((founded.home.witness("us-a") / "witness.key").read_text().strip())
    note = note_text(key.sign(body), [witness.cosign(body, founded.clock.now_us() // 1_000_000)])
    (copy / log / "checkpoint").write_bytes(note)
    files = sorted(path for path in copy.rglob("*") if path.is_file() and path.name != "MANIFEST")
    lines = "".join(f"{sha256(one.read_bytes()).hexdigest()}  {one.relative_to(copy).as_posix()}\n" for one in files)
    (copy / "MANIFEST").write_text(f"{lines}{SEAL}{sha256(lines.encode()).hexdigest()}\n")


async def test_what_a_member_saw_of_it_is_no_alarm_once_it_knows_the_next(loser: Loser, tmp_path: Path) -> None:
    founded = loser.founded
    policies = {
        log: one for log, one in read_policies(founded.settings.witness_policy).items() if not log.startswith("mx")
    }
    (tmp_path / "us").mkdir()
    (tmp_path / "us/checkpoint").write_bytes((loser.whole / "us/checkpoint").read_bytes())
    async with opened(founded) as world:
        client = Client(
            world.hub.url, clock=founded.clock, token=founded.tokens["us-cyber"], ca_file=founded.home.ca_file
        )
        async with client:
            with pytest.raises(Alarm) as alarm:
                await Memory(tmp_path, {"us": policies["us"]}, founded.clock).compare(client)
            assert alarm.value.code == "log-closed"
            memory = Memory(tmp_path, policies, founded.clock)
            await memory.compare(client)
            early = policies["us"].check(loser.old_note).checkpoint
            for size, root_seen, code in (
                (early.size, early.root, 200), (early.size, bytes(32), "history-other"), (10_000, bytes(32), "log-closed"),
            ):  # fmt: skip
                told = world.headers("us-cyber", **{SEEN: f"{size}:{root_seen.hex()}"})
                async with world.session.get(f"{world.hub.url}/ledger/us/checkpoint", headers=told) as answer:
                    assert answer.status == 200 if code == 200 else code in await answer.text(), size
            assert memory.last("us/3")[0].origin.endswith("/us/3")
            for path, status in (
                ("/ledger/us/checkpoint", 200), ("/ledger/us/2/checkpoint", 200), ("/ledger/us/3/leaf/0", 200),
                ("/ledger/us/4/checkpoint", 404), ("/ledger/us/1/checkpoint", 404), ("/ledger/us/2/leaf/1", 404),
            ):  # fmt: skip
                async with world.session.get(world.hub.url + path, headers=world.headers("us-maritime")) as answer:
                    assert answer.status == status, path
            for path, status in (("/ledger/us/3/leaf/0", 404), ("/ledger/us/3/tile/entries/000", 404)):
                async with world.session.get(world.hub.url + path, headers=world.headers("aud-mx")) as answer:
                    assert answer.status == status, path
            size = (await world.hub.services.store.trees())["us"].size
            path = f"/ledger/us/tile/entries/000.p/{size}"
            async with world.session.get(world.hub.url + path, headers=world.headers("aud-us")) as answer:
                assert (answer.status, len(unbundle(await answer.read()))) == (200, size), "the old one stays readable"


async def test_what_a_closed_log_committed_to_can_still_be_erased(loser: Loser) -> None:
    founded = loser.founded
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        desk, opening = privacy(services), await told_in(services, "us", loser.shared)
        for step in ("block", "erase"):
            statement = await desk.statement(step, "us", opening.index, "test")  # type: ignore[arg-type]
            given = approvals(founded, statement, "us mx", ERASURE_TYPE)
            await desk.do(step, "us", opening.index, "test", given)  # type: ignore[arg-type]
        assert await services.store.opening("us", opening.index) is None
        size = (await services.store.trees())["us/3"].size
        [told] = [orjson.loads(one) for one in await services.store.leaves("us/3", size - 1, size)]
        assert (told["t"], told["log"], told["pub"]["log"]) == ("erase", "us", "us")
    checked = await fsck(
        founded.settings.database_url or founded.settings.database,
        witness_policies(founded.settings),
        founded.settings.anchors,
    )
    assert checked.ok, checked.wrong


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
