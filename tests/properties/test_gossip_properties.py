"""What a member remembers of a log: any honest growth is taken, and no history that parts from it ever is."""

import asyncio
import json
import tempfile
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.client.gossip import Alarm, Memory, Shown
from exchange.clock import FixedClock
from exchange.errors import Conflict, NotFound
from exchange.ledger.merkle import consistency_proof, leaf_hash, reader_of, root
from exchange.ledger.note import Checkpoint, LogKey, Policy, WitnessKey, note_text

LOG = LogKey("puente.hub.example/audit/both", bytes(range(32)))
US, MX, STRANGER = (WitnessKey(f"{name}.example", bytes([n] * 32)) for n, name in enumerate(("us", "mx", "x"), 1))
POLICY = Policy.parse(
    f"log {LOG.vkey}\nwitness us {US.vkey}\nwitness mx {MX.vkey}\ngroup BOTH all us mx\nquorum BOTH\n"
)
MINE = [leaf_hash(b"%d" % n) for n in range(80)]


def note(leaves: Sequence[bytes], size: int, by: Sequence[WitnessKey] = (US, MX)) -> bytes:
    body = Checkpoint(LOG.name, size, root(leaves[:size])).body()
    return note_text(LOG.sign(body), [key.cosign(body, 1) for key in by])


@dataclass
class Hub:
    """It shows a size of some history, and tries its best to prove that."""

    leaves: Sequence[bytes]
    size: int
    by: Sequence[WitnessKey] = (US, MX)
    answer: Exception | None = None
    proof: str | None = None

    async def checkpoint(self, log: str, seen: Checkpoint) -> Shown:
        if self.answer is not None:
            raise self.answer
        proof = (
            consistency_proof(seen.size, self.size, reader_of(self.leaves[: self.size]))
            if 0 < seen.size < self.size
            else []
        )
        text = ",".join(b64encode(digest).decode() for digest in proof) if self.proof is None else self.proof
        return Shown(note(self.leaves, self.size, self.by), text)


def memory_in(directory: Path) -> Memory:
    return Memory(directory, {"both": POLICY}, FixedClock())


def told(directory: Path, hub: Hub) -> str:
    """How the member takes it: "" or the code of its alarm."""
    try:
        asyncio.run(memory_in(directory).compare(hub))
    except Alarm as alarm:
        assert alarm.evidence.exists()
        assert alarm.evidence.stat().st_mode & 0o077 == 0
        return alarm.code
    return ""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 80), min_size=1, max_size=6))
def test_growth_is_taken_and_nothing_shorter(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        seen = 0
        for size in sizes:
            code = told(Path(name), Hub(MINE, size))
            assert code == ("" if size >= seen else "history-shorter")
            seen = max(seen, size)
            assert memory_in(Path(name)).last("both")[0].size == seen


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 79), st.integers(0, 78), st.integers(1, 80))
def test_a_hub_that_forked_is_found_at_every_size(seen: int, parts_at: int, shown: int) -> None:
    """Unless what was seen lies before the fork: then both histories grew out of it, and the next look decides."""
    fork = [*MINE[:parts_at], *(leaf_hash(b"fork %d" % n) for n in range(80 - parts_at))]
    with tempfile.TemporaryDirectory() as name:
        assert told(Path(name), Hub(MINE, seen)) == ""
        before = memory_in(Path(name)).last("both")
        code = told(Path(name), Hub(fork, shown))
        if shown < seen:
            assert code == "history-shorter"
        elif seen <= parts_at:
            assert code == ""
            return
        else:
            assert code == "history-fork"
        assert memory_in(Path(name)).last("both") == before, "what contradicts is not remembered"
        (evidence,) = (Path(name) / "alarms").iterdir()
        assert json.loads(evidence.read_bytes())["seen"] == before[1].decode()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 79), st.data())
def test_no_altered_proof_is_taken(seen: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(seen + 1, 80))
    hashes = consistency_proof(seen, size, reader_of(MINE[:size]))
    at = data.draw(st.integers(0, len(hashes) - 1))
    altered = [
        [*hashes[:at], bytes([hashes[at][0] ^ 1]) + hashes[at][1:], *hashes[at + 1 :]],
        hashes[:at] + hashes[at + 1 :],
        [*hashes, hashes[at]],
    ]
    with tempfile.TemporaryDirectory() as name:
        assert told(Path(name), Hub(MINE, seen)) == ""
        for one in altered:
            text = ",".join(b64encode(digest).decode() for digest in one)
            assert told(Path(name), Hub(MINE, size, proof=text)) == "history-fork"
        assert told(Path(name), Hub(MINE, size)) == ""


@pytest.mark.parametrize(
    ("by", "code"), [((US,), "quorum-missing"), ((MX,), "quorum-missing"), ((US, STRANGER), "quorum-missing")]
)
def test_what_one_country_alone_cosigned_is_an_alarm(tmp_path: Path, by: tuple[WitnessKey, ...], code: str) -> None:
    assert told(tmp_path, Hub(MINE, 5, by)) == code
    assert not (tmp_path / "both").exists()


def test_a_hub_that_shows_nothing_any_more_is_an_alarm(tmp_path: Path) -> None:
    none, other = NotFound("none", "ninguno"), Conflict("other", "otro", code="history-other")
    assert told(tmp_path, Hub(MINE, 5, answer=none)) == "", "nothing is cosigned yet"
    assert told(tmp_path, Hub(MINE, 5)) == ""
    assert told(tmp_path, Hub(MINE, 5, answer=none)) == "history-gone"
    assert told(tmp_path, Hub(MINE, 5, answer=other)) == "history-other"
    for proof in ("x", "AAAA", ",".join(["A" * 44] * 70)):
        assert told(tmp_path, Hub(MINE, 9, proof=proof)) == "history-fork"
