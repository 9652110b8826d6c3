"""A member holds a whole hub to the history that it saw before; receipts that are pending come with the next run."""

from base64 import b64decode
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from exchange.cli.giving import collect, keep_entry, waiting
from exchange.client import Alarm, Client, Memory, read_policy
from exchange.client.gossip import PROOF, SEEN
from exchange.ledger.merkle import EMPTY_ROOT, verify_consistency
from exchange.ledger.note import Checkpoint, LogKey, Policy, WitnessKey, new_witness_key, note_text
from exchange.ledger.receipt import ReceiptFault
from tests.world import World, make_world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    quick = {"witness_interval_seconds": 0.2, "checkpoint_interval_seconds": 0.05}
    async with make_world(tmp_path_factory.mktemp("gossip"), **quick, **database) as made:
        yield made


pytestmark = pytest.mark.asyncio(loop_scope="module")


def client_of(world: World, slug: str) -> Client:
    signer = world.home.signer(slug, world.members[slug].identity_id)
    return Client(world.hub.url, clock=world.clock, token=world.tokens[slug], ca_file=world.home.ca_file, signer=signer)


def memory_of(world: World, slug: str, directory: Path) -> Memory:
    policy = world.home.member(slug) / "policy"
    return Memory(directory, {path.name: read_policy(path) for path in policy.iterdir()}, world.clock)


async def cosigned(client: Client, sent: Any) -> None:
    for leaf in sent[0].leaves:
        while await client.receipt(leaf.log, leaf.index, wait_seconds=20) is None:
            pass


async def test_a_log_that_grows_is_proved_to_grow(world: World, tmp_path: Path) -> None:
    memory = memory_of(world, "us-cyber", tmp_path)
    assert set(memory.policies) == {"both", "us"}
    sizes = []
    async with client_of(world, "us-cyber") as client:
        for _ in range(4):
            await cosigned(client, await client.submit([world.indicator("us-cyber")], "indicators"))
            await memory.compare(client)
            sizes.append(memory.last("both")[0].size)
        await memory.compare(client)
    assert sizes == sorted(set(sizes)), "each look saw more"
    assert not (tmp_path / "alarms").exists()
    assert (tmp_path / "both" / "checkpoint").exists()


async def ask(world: World, slug: str, log: str, seen: str) -> tuple[int, bytes, Any]:
    async with world.session.get(
        f"{world.hub.url}/ledger/{log}/checkpoint", headers=world.headers(slug, **{SEEN: seen})
    ) as answer:
        return answer.status, await answer.read(), answer.headers


async def test_the_proof_is_a_short_header_that_anybody_can_check(world: World) -> None:
    async with client_of(world, "us-cyber") as client:
        await cosigned(client, await client.submit([world.indicator("us-cyber")], "indicators"))
    policy = read_policy(world.home.member("us-cyber") / "policy" / "both")
    publisher = world.hub.services.publisher
    row = await publisher.rounds.newest("both")
    assert row is not None
    for size in (0, 1, 2, 3, row.size):
        old = await publisher.rounds.root_at("both", size)
        status, body, headers = await ask(world, "us-cyber", "both", f"{size}:{old.hex()}")
        new = policy.check(body).checkpoint
        assert (status, new.size >= row.size, len(headers[PROOF]) < 3_000) == (200, True, True)
        client_proof = memory_proof(headers[PROOF])
        assert verify_consistency(size, new.size, old, new.root, client_proof)
    assert old != EMPTY_ROOT


def memory_proof(header: str) -> tuple[bytes, ...]:
    return tuple(b64decode(word) for word in header.split(",") if word)


async def test_what_the_log_never_was_is_refused_and_what_is_no_checkpoint_named(world: World) -> None:
    async with client_of(world, "us-cyber") as client:
        await cosigned(client, await client.submit([world.indicator("us-cyber")], "indicators"))
    nowhere = "0" * 64
    for seen in (f"1:{nowhere}", f"{10**15}:{nowhere}", f"0:{nowhere}"):
        assert (await ask(world, "us-cyber", "both", seen))[0] == 409
    for seen in ("", "1", f"01:{nowhere}", f"1:{nowhere[:-1]}", f"-1:{nowhere}", f"1:{nowhere.upper()}x"):
        status, body, _ = await ask(world, "us-cyber", "both", seen)
        assert (status, SEEN.encode() in body) == (400, True)
    empty = f"0:{EMPTY_ROOT.hex()}"
    assert (await ask(world, "us-cyber", "mx", empty))[0] == 404, "another country's log does not exist"


async def test_a_hub_that_forgot_is_an_alarm_with_evidence(world: World, tmp_path: Path) -> None:
    """The member remembers a history that witnesses of both countries cosigned and that this hub does not have."""
    memory = memory_of(world, "us-cyber", tmp_path)
    async with client_of(world, "us-cyber") as client:
        await memory.compare(client)
        seen, note = memory.last("both")
        keys = {name: (world.home.witness(name) / "witness.key").read_text().strip() for name in ("us-a", "mx-a")}
        forged = forge(world, Checkpoint(seen.origin, seen.size, sha256(b"another").digest()), keys)
        (tmp_path / "both" / "checkpoint").write_bytes(forged)
        with pytest.raises(Alarm, match="history-other") as alarm:
            await memory.compare(client)
    assert forged.decode().splitlines()[2] in alarm.value.evidence.read_text()
    assert memory.last("both")[1] == forged != note


def forge(world: World, checkpoint: Checkpoint, keys: dict[str, str]) -> bytes:
    log = LogKey.decode((world.settings.keys / "log-both.key").read_text().strip())
    body = checkpoint.body()
    return note_text(log.sign(body), [WitnessKey.decode(text).cosign(body, 1) for text in keys.values()])


async def test_receipts_that_are_pending_come_with_the_next_run(world: World, tmp_path: Path) -> None:
    policies = memory_of(world, "us-cyber", tmp_path).policies
    async with client_of(world, "us-cyber") as client:
        (sent,) = await client.submit([world.indicator("us-cyber")], "indicators")
        for leaf in sent.leaves:  # an earlier run kept the entries, and then lost patience or power
            keep_entry(tmp_path / "mine", leaf.log, leaf.index, await client.leaf(leaf.log, leaf.index))
        assert len(waiting(tmp_path / "mine")) == len(sent.leaves)
        kept = await collect(client, tmp_path / "mine", policies)
        assert len(kept) == len(sent.leaves)
        assert waiting(tmp_path / "mine") == []
        assert await collect(client, tmp_path / "mine", policies) == []


async def test_a_receipt_that_the_members_own_policy_does_not_bear_out_is_not_kept(
    world: World, tmp_path: Path
) -> None:
    policies = {}
    for path in (world.home.member("us-cyber") / "policy").iterdir():
        lines = path.read_text().splitlines()
        others = [
            f"witness {line.split()[1]} {new_witness_key('other.example').vkey}" if line.startswith("witness") else line
            for line in lines
        ]
        policies[path.name] = Policy.parse("\n".join([*others, ""]))
    async with client_of(world, "us-cyber") as client:
        (sent,) = await client.submit([world.indicator("us-cyber")], "indicators")
        leaf = sent.leaves[0]
        keep_entry(tmp_path / "mine", leaf.log, leaf.index, await client.leaf(leaf.log, leaf.index))
        with pytest.raises(ReceiptFault):
            await collect(client, tmp_path / "mine", policies)
    assert list((tmp_path / "mine").glob("*.tlog-proof")) == []
