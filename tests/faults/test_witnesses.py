"""The hub among its witnesses: every subset of four, silence, mirrors, and a witness that forgot."""

import asyncio
import itertools
import json
import shutil
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest

from certs.jcs import load
from exchange.cli.setup import WITNESSES
from exchange.clock import FixedClock
from exchange.errors import LedgerFault
from exchange.ledger.asking import Cosigned
from exchange.ledger.catching_up import catch_up
from exchange.ledger.merkle import consistency_proof, inclusion_proof, leaf_hash, reader_of, root
from exchange.ledger.mirror import Copy, Piece
from exchange.ledger.note import Checkpoint, NoteFault, WitnessKey, note_text
from exchange.ledger.receipt import Receipt, ReceiptFault
from exchange.ledger.remembering import Request
from exchange.ledger.sources import Mirrors, SourceFault, entries, newest
from exchange.ledger.tiles import unbundle
from exchange.ledger.witness import Witness
from exchange.times import as_text
from tests.faults.logs import Logs
from tests.faults.witnesses import Both, both, round_of

SUBSETS = [frozenset(some) for size in range(5) for some in itertools.combinations(WITNESSES, size)]


def enough(names: frozenset[str]) -> bool:
    """What the policy says, said otherwise."""
    return any(name.startswith("us") for name in names) and any(name.startswith("mx") for name in names)


def test_there_are_sixteen_subsets_and_nine_are_enough() -> None:
    assert len(SUBSETS) == 16
    assert sum(map(enough, SUBSETS)) == 9


# --- the quorum ---


async def test_every_subset_is_judged_alike_in_notes_and_receipts(tmp_path: Path) -> None:
    async with both(tmp_path) as two:
        policy, pen = two.policies["both"], two.pens["both"]
        keys = {name: WitnessKey.decode((tmp_path / name / "witness.key").read_text().strip()) for name in WITNESSES}
        leaves = [b"%d" % n for n in range(7)]
        hashes = [leaf_hash(leaf) for leaf in leaves]
        body = Checkpoint(pen.name, 7, root(hashes)).body()
        for names in SUBSETS:
            note = note_text(pen.sign(body), [keys[name].cosign(body, 1) for name in sorted(names)])
            receipt = Receipt(3, tuple(inclusion_proof(3, 7, reader_of(hashes))), note)
            assert policy.satisfied(names) == enough(names)
            if enough(names):
                assert set(policy.check(note).cosigned) == names
                assert receipt.verify(leaves[3], policy).index == 3
                continue
            with pytest.raises(NoteFault, match="quorum-missing"):
                policy.check(note)
            with pytest.raises(ReceiptFault):
                receipt.verify(leaves[3], policy)


async def test_every_subset_of_witnesses_gives_receipts_as_the_policy_says(tmp_path: Path) -> None:
    async with both(tmp_path) as two:
        hub = two.opened()
        await hub.publisher.start(ask_witnesses=True)
        for names in SUBSETS:
            await two.speak(*names)
            await hub.append()
            await round_of(hub)
            size = (await hub.store.trees())["both"].size
            assert (await hub.publisher.receipt("both", size - 1) is not None) == enough(names), names
            row = await hub.store.checkpoint("both")
            assert row is not None
            assert {name for name, _ in row.cosignatures} == names
        assert hub.publisher.halted is None
        await hub.check()
        await hub.store.close()


# --- silence ---


async def degraded_entries(hub: Logs) -> list[dict[str, object]]:
    size = (await hub.store.trees())["both"].size
    entries = [json.loads(leaf) for leaf in await hub.store.leaves("both", 0, size)]
    return [one["pub"] for one in entries if one["t"] == "log.degraded"]


async def state(hub: Logs) -> str:
    return (await hub.store.epochs()).state


@pytest.mark.parametrize(
    ("left", "silent"), [(("us-a", "us-b"), ["MX"]), (("mx-b",), ["US"]), ((), ["US", "MX"]), (("us-a", "mx-b"), None)]
)
async def test_a_silent_country_closes_the_border_and_its_return_opens_it(
    tmp_path: Path, left: tuple[str, ...], silent: list[str] | None
) -> None:
    async with both(tmp_path) as two:
        hub = two.opened()
        await hub.publisher.start(ask_witnesses=True)
        await hub.append(count=3)
        await round_of(hub)
        assert await state(hub) == "open"
        await two.speak(*left)
        two.clock.advance(seconds=899)
        await hub.append()
        await round_of(hub)
        assert await state(hub) == "open"
        two.clock.advance(seconds=2)
        await round_of(hub)
        if silent is None:
            assert await state(hub) == "open"
            await hub.store.close()
            return
        assert await state(hub) == "degraded"
        await round_of(hub)
        await hub.append("us")
        await round_of(hub)
        assert [one["countries"] for one in await degraded_entries(hub)] == [silent], (
            "it is told once, and the log goes on"
        )
        assert hub.publisher.halted is None
        await two.speak(*WITNESSES)
        await round_of(hub)
        assert await state(hub) == "open"
        assert [one["release"] for one in await degraded_entries(hub)] == ["domestic", "all"]
        await round_of(hub)
        await hub.check()
        await hub.store.close()


async def test_a_log_that_rests_is_cosigned_again_so_that_silence_can_be_told_from_peace(tmp_path: Path) -> None:
    async with both(tmp_path) as two:
        hub = two.opened()
        await hub.publisher.start(ask_witnesses=True)
        await hub.append(count=3)
        for _ in range(20):
            await round_of(hub)
            two.clock.advance(seconds=300)
        assert await state(hub) == "open"
        assert await degraded_entries(hub) == []
        await hub.store.close()


@pytest.mark.parametrize("names", [frozenset(), frozenset({"us-a", "us-b"}), frozenset({"us-b", "mx-a"})])
async def test_a_start_needs_one_answer_of_each_country(tmp_path: Path, names: frozenset[str]) -> None:
    async with both(tmp_path) as two:
        hub = two.opened()
        await hub.publisher.start(ask_witnesses=True)
        await hub.append()
        await round_of(hub)
        await hub.store.close()
        await two.speak(*names)
        again = two.opened()
        await again.publisher.start(ask_witnesses=True)
        assert await state(again) == ("open" if enough(names) else "degraded")
        await again.append()
        await round_of(again)
        assert await state(again) == ("open" if enough(names) else "degraded"), "a fresh cosignature is no answer to us"
        await two.speak(*WITNESSES)
        await round_of(again)
        assert await state(again) == "open"
        await again.store.close()


async def test_of_two_processes_one_tells_and_a_halt_is_kept(tmp_path: Path) -> None:
    async with both(tmp_path) as two:
        first, second = two.opened(), two.opened()
        for hub in (first, second):
            await hub.publisher.start(ask_witnesses=True)
        await first.append(count=2)
        await round_of(first)
        await two.speak("us-a")
        two.clock.advance(seconds=1_000)
        await asyncio.gather(round_of(first), round_of(second))
        assert await state(second) == "degraded"
        assert len(await degraded_entries(first)) == 1
        await first.store.halt("fork")
        await two.speak(*WITNESSES)
        await round_of(second)
        assert await state(second) == "fork"
        await first.store.close()
        await second.store.close()


# --- mirrors ---


async def test_a_mirror_cosigns_what_it_holds_and_shows_it_to_who_may_read(tmp_path: Path) -> None:
    async with both(tmp_path) as two:
        hub = two.opened()
        await hub.publisher.start(ask_witnesses=True)
        for log, count in (("both", 1), ("both", 255), ("us", 700), ("both", 1_000), ("mx", 3)):
            await hub.append(log, count=count)
            await round_of(hub)
        sizes = {log: tree.size for log, tree in (await hub.store.trees()).items()}
        for name in WITNESSES:
            for log in ("both", name[:2]):
                copy = Copy(tmp_path / name / "mirror", two.pens[log].name)
                assert copy.leaves(0, copy.size) == await hub.store.leaves(log, 0, sizes[log])
        foreign = sha256(two.pens["mx"].name.encode()).hexdigest()
        assert not (tmp_path / "us-a" / "mirror" / foreign).exists(), "another country's own log"

        folder = f"{two.urls['us-a']}/{sha256(two.pens['both'].name.encode()).hexdigest()}"
        token = (tmp_path / "us-a" / "reader.token").read_text().strip()
        async with aiohttp.ClientSession() as session:
            for headers, status in (({}, 401), ({"Authorization": "Bearer x"}, 401)):
                async with session.get(f"{folder}/tile/entries/000", headers=headers) as answer:
                    assert answer.status == status
            shown: list[bytes] = []
            for path in ("000", "001", "002", "003", f"004.p/{sizes['both'] - 1024}"):
                async with session.get(
                    f"{folder}/tile/entries/{path}", headers={"Authorization": f"Bearer {token}"}
                ) as answer:
                    assert answer.status == 200, path
                    shown += unbundle(await answer.read())
            assert shown == await hub.store.leaves("both", 0, sizes["both"])
        await hub.store.close()


def piece_of(two: Both, leaves: list[bytes], start: int, end: int, size: int) -> Piece:
    hashes = [leaf_hash(leaf) for leaf in leaves]
    proof = consistency_proof(end, size, reader_of(hashes)) if end < size else []
    note = two.pens["both"].sign(Checkpoint(two.pens["both"].name, size, root(hashes[:size])).body())
    return Piece(start, end, tuple(proof), note, tuple(leaves[start:end]))


async def test_a_mirror_takes_only_what_the_log_signed(tmp_path: Path) -> None:
    async with both(tmp_path) as two:
        await two.speak()
        witness = Witness(tmp_path / "us-a", two.clock)
        leaves = [b"leaf %d" % n for n in range(600)]
        good = piece_of(two, leaves, 0, 300, 600)
        other = Piece(0, 300, good.proof, good.note, (b"other", *good.leaves[1:]))
        assert witness.keep(other.encode()).status == 422
        assert witness.keep(piece_of(two, leaves, 1, 300, 600).encode()).text == "0\n"
        assert witness.keep(good.encode()[:-1]).status == 400
        assert witness.keep(good.encode().replace(b"\n600\n", b"\n601\n")).status == 403
        assert not (tmp_path / "us-a" / "refused").exists(), "anybody could have sent these"
        assert witness.answer(Request(0, (), good.note).encode()).media_type == "text/x.puente.copy-size"
        assert witness.keep(good.encode()).status == 200
        assert witness.keep(good.encode()).status == 409
        assert witness.answer(Request(0, (), good.note).encode()).status == 503
        witness.close()
        witness = Witness(tmp_path / "us-a", two.clock)  # it remembers its copy
        assert witness.keep(piece_of(two, leaves, 300, 600, 600).encode()).text == "600\n"
        assert witness.answer(Request(0, (), good.note).encode()).status == 200
        # A fork that grew out of the cosigned size cannot be led into the copy.
        fork = [*leaves[:600], b"x", b"y"]
        assert witness.keep(piece_of(two, fork, 600, 602, 602).encode()).status == 200
        honest = [*leaves, b"a", b"b"]
        hashes = [leaf_hash(leaf) for leaf in honest]
        note = two.pens["both"].sign(Checkpoint(two.pens["both"].name, 602, root(hashes)).body())
        proof = tuple(consistency_proof(600, 602, reader_of(hashes)))
        assert witness.answer(Request(600, proof, note).encode()).status == 422
        (evidence,) = (tmp_path / "us-a" / "refused").iterdir()
        kept = load(evidence.read_bytes(), max_bytes=1_000_000)
        assert kept["copied"] and kept["copied"] != kept["request"].partition("\n\n")[2]
        witness.close()


async def test_a_crash_between_files_and_size_is_forgotten(tmp_path: Path) -> None:
    async with both(tmp_path) as two:
        leaves = [b"leaf %d" % n for n in range(600)]
        copy = Copy(tmp_path / "copy", two.pens["both"].name)
        copy.extend(piece_of(two, leaves, 0, 100, 600))
        before = (copy.directory / "copy.json").read_bytes()
        copy.extend(piece_of(two, leaves, 100, 120, 600))
        (copy.directory / "copy.json").write_bytes(before)
        (copy.directory / "tile/entries/000.p/100").write_bytes(b"".join(len(x).to_bytes(2) + x for x in leaves[:100]))
        again = Copy(tmp_path / "copy", two.pens["both"].name)
        assert again.size == 100
        again.extend(piece_of(two, leaves, 100, 600, 600))
        assert again.leaves(0, 600) == leaves
        assert Copy(tmp_path / "copy", two.pens["both"].name).frontier.root() == root([leaf_hash(x) for x in leaves])


# --- a witness that forgot ---


async def test_a_restored_witness_is_shown_what_it_signed_and_retires(tmp_path: Path) -> None:
    async with both(tmp_path) as two:
        hub = two.opened()
        await hub.publisher.start(ask_witnesses=True)
        await hub.append(count=3)
        await round_of(hub)
        await two.speak("us-b", "mx-a", "mx-b")
        shutil.copytree(tmp_path / "us-a", tmp_path / "backup")
        await two.speak(*WITNESSES)
        await hub.append(count=4)
        two.clock.advance(seconds=1)
        await round_of(hub)
        await two.speak("us-b", "mx-a", "mx-b")
        shutil.rmtree(tmp_path / "us-a")
        shutil.copytree(tmp_path / "backup", tmp_path / "us-a")
        await two.speak(*WITNESSES)  # by its own files it cannot know
        await hub.append()
        await round_of(hub)
        assert (tmp_path / "us-a" / "retired.json").exists()
        row = await hub.store.checkpoint("both")
        assert row is not None
        assert {name for name, _ in row.cosignatures} == {"us-b", "mx-a", "mx-b"}, "the others are enough"
        assert hub.publisher.halted is None
        await two.speak("us-b", "mx-a", "mx-b")
        with pytest.raises(LedgerFault, match="witness-retired"):
            Witness(tmp_path / "us-a", two.clock)
        await hub.store.close()


async def test_a_restored_state_beside_the_mirror_is_noticed_at_the_start(tmp_path: Path) -> None:
    async with both(tmp_path) as two:
        hub = two.opened()
        await hub.publisher.start(ask_witnesses=True)
        await hub.append(count=3)
        await round_of(hub)
        old = (tmp_path / "us-a" / "state.json").read_bytes()
        await hub.append(count=3)
        await round_of(hub)
        await two.speak()
        (tmp_path / "us-a" / "state.json").write_bytes(old)
        with pytest.raises(LedgerFault, match="older than its own last cosignature"):
            Witness(tmp_path / "us-a", FixedClock())
        with pytest.raises(LedgerFault, match="is retired"):
            Witness(tmp_path / "us-a", FixedClock())
        await hub.store.close()


# --- when the hub is lost ---


async def test_a_witness_that_lags_is_led_on_by_what_another_keeps(tmp_path: Path) -> None:
    """The hub is gone: what it signed last bears one country's cosignatures alone, and mirrors ask for their tokens."""
    async with both(tmp_path) as two, aiohttp.ClientSession() as session:
        hub, policy = two.opened(), two.policies["both"]
        await hub.publisher.start(ask_witnesses=True)
        await hub.append(count=300)
        await round_of(hub)
        await two.speak("us-a", "us-b")
        await hub.append(count=700)
        await round_of(hub)
        tree = (await hub.store.trees())["both"]
        await hub.store.close()
        await two.speak(*WITNESSES)

        tokens = [(tmp_path / name / "reader.token").read_text().strip() for name in WITNESSES]
        mirrors = Mirrors(session, [two.urls[name] for name in WITNESSES], tokens)
        assert await newest(mirrors, "both", policy) is None, "no text bears both countries' lines"
        strangers = Mirrors(session, list(two.urls.values()), [""] * len(WITNESSES))
        with pytest.raises(SourceFault, match="401"):
            await catch_up(session, strangers, "both", policy)

        led = await catch_up(session, mirrors, "both", policy)
        assert {url: type(answer) for url, answer in led.items()} == {
            two.urls[name]: Cosigned for name in WITNESSES if name.startswith("mx")
        }
        found = await newest(mirrors, "both", policy)
        assert found is not None
        assert (found[0].size, found[0].root) == (tree.size, tree.root)
        leaves = [leaf async for bundle in entries(mirrors, "both", found[0], 0) for leaf in bundle]
        assert root([leaf_hash(leaf) for leaf in leaves]) == tree.root
        assert await catch_up(session, mirrors, "both", policy) == {}
        assert await catch_up(session, mirrors, "us", two.policies["us"]) == {}, (
            "the other country is shown nothing of it"
        )
        assert not list(tmp_path.glob("*/refused/*"))


# --- what time it is ---


async def test_a_hub_ahead_of_both_countries_does_not_start_until_it_is_confirmed(tmp_path: Path) -> None:
    async with both(tmp_path) as two:
        hub = two.opened()
        await hub.publisher.start(ask_witnesses=True)
        await hub.append(count=3)
        await round_of(hub)
        await hub.store.close()

        two.clock.advance(seconds=1000)  # it was down so long; the witnesses know it, too
        fast = FixedClock(as_text(two.clock.now_us()))
        fast.advance(seconds=60)

        def ahead() -> Logs:
            return Logs.open(
                tmp_path / "hub", two.pens, clock=fast, policies=two.policies, witnesses=two.urls
            )  # fmt: skip

        hub = ahead()
        with pytest.raises(LedgerFault, match="60 seconds ahead") as fault:
            await hub.publisher.start(ask_witnesses=True)
        assert fault.value.code == "clock-ahead"
        assert (await hub.store.epochs()).state == "open", "nothing is halted"
        await hub.append()  # what an operator does who confirms it
        await hub.publisher.start(ask_witnesses=True)
        await hub.store.close()

        fast.advance(seconds=60)
        await two.speak("us-a", "us-b")
        hub = ahead()
        await hub.publisher.start(ask_witnesses=True)  # one country's clocks alone do not stop it
        assert hub.publisher.rounds.clock_ahead() == 0
        await hub.store.close()
