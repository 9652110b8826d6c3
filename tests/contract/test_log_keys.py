"""A log's own key is replaced while the hub goes on: what signs, who accepts it, and that there is no way back. On both stores."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from exchange.auditing.answers import Mark, answer
from exchange.auditing.rows import Asked
from exchange.cli.__main__ import puente
from exchange.cli.packing import write_pack
from exchange.cli.setup import OPERATOR, WITNESSES
from exchange.errors import Conflict, NotFound, Unavailable
from exchange.hub import witness_policies, working
from exchange.ledger import offline
from exchange.ledger.audit import verify_copy
from exchange.ledger.entry import Entry
from exchange.ledger.note import Checkpoint, LogKey, NoteFault, Policy, note_text, open_note, split_note
from exchange.ledger.remembering import Request
from exchange.ledger.rotation import Rotation
from exchange.ledger.signing import KeyFiles
from exchange.store.acts import Act, Record
from exchange.store.answers import LogKeyRow
from exchange.web.services import Services
from tests.fscking import fsck
from tests.packs import reseal
from tests.places import Place, knobs_of, order
from tests.rotating import desk, new_key, trust
from tests.world import Founded, found, make_world

NOBODY = "note-unsigned"


async def cosigned(services: Services, log: str = "both") -> bytes:
    """The newest note, after a round."""
    await services.records.anchor()
    await services.publisher.publish_once()
    await services.publisher.witness_round()
    note = await services.publisher.newest_note(log)
    assert note is not None
    assert services.publisher.halted is None
    return note


def signers(note: bytes, *keys: LogKey) -> list[LogKey]:
    """Which of these keys signed."""
    lines = split_note(note)[1]
    return [key for key in keys if any(key.line(split_note(note)[0]) == line for line in lines)]


def refused(policy: Policy, note: bytes) -> str:
    try:
        policy.check(note)
    except NoteFault as fault:
        return fault.code
    return ""


def knowing(policy: Policy, *keys: LogKey) -> Policy:
    """The same policy with these log keys alone."""
    return replace(policy, logs=tuple(key.verifier for key in keys))


def without(note: bytes, key: LogKey) -> bytes:
    body, lines = split_note(note)
    return note_text(f"{body}\n".encode(), [line for line in lines if line != key.line(body)])


async def whole(founded: Founded, place: Place) -> bool:
    at = place if isinstance(place, str) else founded.settings.database
    return (await fsck(at, witness_policies(founded.settings), founded.settings.anchors)).ok


@pytest.fixture
async def founded(tmp_path: Path, place: Place) -> AsyncIterator[Founded]:
    async with found(tmp_path / "home", **knobs_of(place)) as made:
        yield made


async def test_the_key_of_both_is_replaced_and_nobody_loses_the_log(
    founded: Founded, place: Place, tmp_path: Path
) -> None:
    old, new = KeyFiles(founded.settings.keys).main("both"), new_key(founded, "both")
    policy = witness_policies(founded.settings)["both"]
    before, after = knowing(policy, old), knowing(policy, new)
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        first = await cosigned(services)
        assert signers(first, old, new) == [old], "a key that was made signs nothing yet"
        audited_us = services.clock.now_us()
        rotation = await desk(services).begin(OPERATOR, "both", new.vkey)
        assert rotation.holds

        # Both sign. Who knows one of the two, old or new, accepts it; the witnesses go on, and none knows the new key yet.
        both_sign = await cosigned(services)
        assert signers(both_sign, old, new) == [old, new]
        assert [refused(one, both_sign) for one in (policy, before, after)] == ["", "", ""]
        assert set(policy.check(both_sign).cosigned) == set(WITNESSES)
        for gone, blind, sees in ((old, before, after), (new, after, before)):
            stripped = without(both_sign, gone)
            assert (refused(blind, stripped), refused(sees, stripped)) == ("log-unsigned", "")
        assert await whole(founded, place)

        # It cannot be finished over the heads of a country.
        trust(founded, new, ["us-a", "us-b"])
        with pytest.raises(Unavailable, match="mx-a, mx-b") as lacking:
            await desk(services).finish(OPERATOR, "both")
        assert lacking.value.code == "log-key-unknown"
        assert signers(await cosigned(services), old, new) == [old, new]
        trust(founded, new, ["mx-a"])
        assert await desk(services).finish(OPERATOR, "both") == (new.vkey, ["mx-b"])

        # The new one alone. Who was not told does not follow, and says why; the other witness of that country speaks for it.
        alone = await cosigned(services)
        assert signers(alone, old, new) == [new]
        assert [refused(one, alone) for one in (policy, before, after)] == ["", "log-unsigned", ""]
        assert set(policy.check(alone).cosigned) == {"us-a", "us-b", "mx-a"}
        assert (await services.store.epochs()).state == "open"
        trust(founded, new, ["mx-b"])
        assert set(policy.check(await cosigned(services)).cosigned) == set(WITNESSES)
        assert await whole(founded, place)

    # The old key is destroyed. A start, a pack and its verifiers need it no more.
    KeyFiles(founded.settings.keys).path("both", new).replace(founded.settings.keys / "log-both.key")
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        assert signers(await cosigned(services), old, new) == [new]
        await write_pack(services, tmp_path / "pack", "us", audited_us, [("both", 0)])
    assert signers((tmp_path / "pack/both/checkpoint.old").read_bytes(), old, new) == [old]
    us = witness_policies(founded.settings)["us"]
    for keys in (policy, after):
        assert judged(tmp_path / "pack", {"both": keys, "us": us}) == set(), (
            "the entry tells whose the notes of before were"
        )
    assert "both/checkpoint" in judged(tmp_path / "pack", {"both": before, "us": us})


def judged(pack: Path, policies: dict[str, Policy]) -> set[str]:
    """The files in which something is wrong, as both verifiers say."""
    ours = {one.file for one in verify_copy(pack, policies).findings}
    texts = {log: offline.Policy(policy.text()) for log, policy in policies.items()}
    theirs = {path for path, _ in offline.verify(pack, texts, {})[0].findings}
    assert {one for one in ours ^ theirs if not one.endswith(".leaf")} == set()
    return ours


async def test_a_note_that_lacks_a_signature_is_found(founded: Founded, place: Place, tmp_path: Path) -> None:
    """Either signature makes it a note of the log. But entries say that both sign, so whoever has those sees what is missing."""
    old, new = KeyFiles(founded.settings.keys).main("both"), new_key(founded, "both")
    policies = witness_policies(founded.settings)
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        await desk(services).begin(OPERATOR, "both", new.vkey)
        note = await cosigned(services)
        await write_pack(services, tmp_path / "pack", "both", None, [])
        size = Checkpoint.parse(split_note(note)[0]).size
    known = {"both": policies["both"]}
    assert judged(tmp_path / "pack", known) == set()
    for gone in (old, new):
        for trusted in (policies["both"], knowing(policies["both"], *({old, new} - {gone}))):
            copy = Path(shutil.copytree(tmp_path / "pack", tmp_path / "stripped"))
            at = copy / "both/checkpoint"
            at.write_bytes(without(at.read_bytes(), gone))
            reseal(copy)
            assert judged(copy, {"both": trusted}) == {"both/checkpoint"}
            shutil.rmtree(copy)

    body, [line, *_] = split_note(without(note, new))
    hexed = note_text(f"{body}\n".encode(), [line]).hex()
    blob = f"X'{hexed}'" if isinstance(place, Path) else f"decode('{hexed}', 'hex')"
    at_place = place if isinstance(place, str) else founded.settings.database
    await order(at_place, f"UPDATE checkpoint SET note = {blob} WHERE log = 'both' AND size = {size}")
    [wrong] = (await fsck(at_place, policies, founded.settings.anchors)).wrong
    assert (wrong.code, wrong.key) == ("checkpoint-note", f"both/{size}")


async def test_there_is_no_way_back_to_the_old_key(founded: Founded) -> None:
    """Somebody has the key that was replaced, and all leaves. What he makes no witness cosigns, and the log itself tells on it."""
    old, new = KeyFiles(founded.settings.keys).main("both"), new_key(founded, "both")
    trust(founded, new, WITNESSES)
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        await desk(services).begin(OPERATOR, "both", new.vkey)
        await desk(services).finish(OPERATOR, "both")
        size = Checkpoint.parse(split_note(await cosigned(services))[0]).size
        await services.records.anchor()
        tree = (await services.store.trees())["both"]
        proof = await services.publisher.rounds.consistency("both", size, tree.size)
        body = Checkpoint(old.name, tree.size, tree.root).body()
        for name in WITNESSES:
            said = founded.witnesses[name].answer(Request(size, tuple(proof), old.sign(body)).encode())
            assert (said.status, said.text) == (403, "Only a key signed the note that was replaced.\n")
        with pytest.raises(Conflict) as once:
            await desk(services).begin(OPERATOR, "both", old.vkey)
        assert once.value.code == "log-key-known"
        assert signers(await cosigned(services), old, new) == [new]


async def test_it_may_be_aborted_and_begun_again_with_another_key(founded: Founded, place: Place) -> None:
    old = KeyFiles(founded.settings.keys).main("mx")
    first, second = new_key(founded, "mx"), new_key(founded, "mx")
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        keys = desk(services)
        assert await keys.rows("mx") == [LogKeyRow("mx", old.vkey, 0)]
        for step in (keys.finish, keys.abort):
            with pytest.raises(Conflict) as nothing:
                await step(OPERATOR, "mx")
            assert nothing.value.code == "log-key-one"
        sizes = [(await services.store.trees())["mx"].size]
        await keys.begin(OPERATOR, "mx", first.vkey)
        sizes.append((await services.store.trees())["mx"].size)
        assert signers(await cosigned(services, "mx"), old, first, second) == [old, first], (
            "its own anchor made it grow"
        )
        with pytest.raises(Conflict) as turning:
            await keys.begin(OPERATOR, "mx", second.vkey)
        assert turning.value.code == "log-key-turning"
        before = (await services.store.trees())["mx"].size
        assert await keys.abort(OPERATOR, "mx") == first.vkey
        assert signers(await cosigned(services, "mx"), old, first, second) == [old]
        with pytest.raises(Conflict) as known:
            await keys.begin(OPERATOR, "mx", first.vkey)
        assert known.value.code == "log-key-known"
        trust(founded, second, ["mx-b"])
        await keys.begin(OPERATOR, "mx", second.vkey)
        assert await keys.finish(OPERATOR, "mx") == (second.vkey, ["mx-a"])
        assert signers(await cosigned(services, "mx"), old, first, second) == [second]
        assert [(row.key, row.since) for row in await keys.rows("mx")][:2] == [
            (old.vkey, 0),
            (first.vkey, sizes[0] + 1),
        ]
        assert (await keys.rows("mx"))[1].until == before + 1
        assert await keys.rows("both") != await keys.rows("mx"), "each log has its own"
    assert await whole(founded, place)


async def test_what_is_not_ready_does_not_begin(founded: Founded) -> None:
    elsewhere = new_key(founded, "us")
    key = new_key(founded, "both")
    policy = founded.settings.witness_policy / "both"
    listed = policy.read_text()
    policy.write_text(listed.replace(f"log {key.vkey}\n", ""))
    async with working(founded.settings, founded.clock) as services:
        for vkey, code in ((elsewhere.vkey, "log-key-missing"), ("x", "log-key-missing"), (key.vkey, "log-key-policy")):
            with pytest.raises(NotFound) as refusal:
                await desk(services).begin(OPERATOR, "both", vkey)
            assert (refusal.value.code, refusal.value.field) == (code, "vkey")
        assert await services.store.log_keys("both") == []


async def test_every_reader_knows_whose_word_it_is(founded: Founded, place: Place, tmp_path: Path) -> None:
    """A change that the old key did not sign cannot come by the command. If it is in the log all the same, verifiers, the
    auditor's desk and fsck say so."""
    old, new = KeyFiles(founded.settings.keys).main("both"), new_key(founded, "both")
    forged = Rotation("both", old.vkey, new.vkey, Rotation.signed("both", new, new).signatures)
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        await desk(services).begin(OPERATOR, "both", new.vkey)
        await desk(services).abort(OPERATOR, "both")
        entry = Entry("both", "key.rotate", OPERATOR, "log:both", forged.pub)
        await services.sequencer.append(Act("forged", lambda _: Record((entry,))))
        size = (await services.store.trees())["both"].size
        found = await answer(Asked("keys"), services.store, [Mark("both", old.name, size, "")])
        rows = [row for row in found.rows if (row["detail"] and "log=both" in row["detail"]) or row["key"] == new.vkey]
        assert [(row["event"], row["finding"]) for row in rows] == [
            ("key.rotate", ""), ("key.revoke", ""), ("key.rotate", "unsigned"),
        ]  # fmt: skip
        await cosigned(services)
        await write_pack(services, tmp_path / "pack", "both", None, [])
    [entries] = judged(tmp_path / "pack", {"both": witness_policies(founded.settings)["both"]})
    assert entries.startswith("both/tile/entries/")
    at = place if isinstance(place, str) else founded.settings.database
    found_wrong = (await fsck(at, witness_policies(founded.settings), founded.settings.anchors)).wrong
    assert [(one.code, one.table) for one in found_wrong] == [("row-differs", "log_key")]


async def test_receipts_and_answers_go_on_under_two_keys(tmp_path: Path, place: Place) -> None:
    """A whole hub that serves while an operator's command beside it begins and finishes."""
    knobs = {"witness_interval_seconds": 0.1, "checkpoint_interval_seconds": 0.05, **knobs_of(place)}
    async with make_world(tmp_path / "home", **knobs) as world:
        new = new_key(world, "both")
        trust(world, new, WITNESSES)
        policy = witness_policies(world.settings)["both"]
        old = KeyFiles(world.settings.keys).main("both")

        async def shown() -> list[LogKey]:
            """Which keys signed the checkpoint that proves the newest entry."""
            await world.post("us-customs", world.signed("us-customs"))
            size = (await world.hub.services.store.trees())["both"].size
            proof = await world.hub.services.publisher.receipt("both", size - 1, wait_seconds=20)
            assert proof is not None
            note = proof.partition(b"\n\n")[2]
            assert set(knowing(policy, old, new).check(note).cosigned) & {"us-a", "us-b"}
            return signers(note, old, new)

        assert await shown() == [old]
        async with working(world.settings, world.clock) as beside:
            await desk(beside).begin(OPERATOR, "both", new.vkey)
        assert await shown() == [old, new]
        vouch = await world.hub.services.publisher.voucher()
        assert len(open_note(vouch("answer\n"), [old.verifier, new.verifier]).signatures) == 2
        async with working(world.settings, world.clock) as beside:
            await desk(beside).finish(OPERATOR, "both")
        assert await shown() == [new]
        with pytest.raises(ValueError, match="in its turn"):
            vouch(Rotation("both", old.vkey, new.vkey).text)


def test_the_steps_at_a_terminal(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def run(*words: str) -> Result:
        return CliRunner().invoke(puente, [*words, "--home", str(home)])

    assert run("init").exit_code == 0
    made = run("ledger", "rotate-key", "new", "both")
    vkey = made.stdout.strip()
    key = KeyFiles(home / "hub/keys").find("both", vkey)
    assert key is not None
    path = KeyFiles(home / "hub/keys").path("both", key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert key.encode() not in made.output
    assert f"log {vkey}\nwitness us-a" in (home / "hub/witness-policy/both").read_text()
    assert "witness trust" in made.stderr

    begun = run("ledger", "rotate-key", "begin", "both", vkey)
    old = KeyFiles(home / "hub/keys").main("both")
    assert len(open_note(begun.stdout_bytes, [old.verifier, key.verifier]).signatures) == 2
    shown = orjson.loads(run("ledger", "rotate-key", "show", "--log", "both", "--json").stdout)
    assert [(row["key"], row["until"]) for row in shown] == [(old.vkey, None), (vkey, None)]
    unheard = run("ledger", "rotate-key", "finish", "both")
    assert isinstance(unheard.exception, Unavailable), "no witness answers"
    assert unheard.exception.code == "log-key-unknown"
    assert run("ledger", "rotate-key", "abort", "both").stdout.endswith(f"{vkey}.\n")
    assert isinstance(run("ledger", "rotate-key", "begin", "both", vkey).exception, Conflict)
    asked = orjson.loads(run("audit", "keys", "--json").stdout)
    turned = [(row["event"], row["finding"]) for row in asked["rows"] if row["key"] == vkey]
    assert turned == [("key.rotate", "")], "what came after is signed when a hub runs"
