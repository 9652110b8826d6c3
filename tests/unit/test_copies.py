"""Two copies side by side: the same, one an earlier head of the other, or of two histories, and then where they part."""

import asyncio
from pathlib import Path

import pytest

from exchange.auditing.copies import Comparison, Unverified, compare, open_copy
from exchange.errors import NotFound
from exchange.ledger.note import NoteFault
from exchange.ledger.pack import write_copy
from tests.unit.test_audit import POLICIES, Source, files, flip, leaf

ENTRIES = [leaf("both", n) for n in range(700)]
POLICY = {"both": POLICIES["both"]}


def copied(directory: Path, entries: list[bytes]) -> Path:
    asyncio.run(write_copy(directory, Source({"both": entries})))
    return directory


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("mine") / "copy", ENTRIES[:600])


def heads_only(copy: Path) -> Path:
    """What the other country may send instead of a copy."""
    for path in files(copy):
        if path != "both/checkpoint":
            (copy / path).unlink()
    return copy


@pytest.mark.parametrize(
    ("size", "verdict"),
    [(600, "same"), (1, "earlier"), (256, "earlier"), (599, "earlier"), (601, "later"), (700, "later")],
)
def test_heads_of_one_history(mine: Path, tmp_path: Path, size: int, verdict: str) -> None:
    other = copied(tmp_path / "other", ENTRIES[:size])
    assert compare(mine, other, POLICY) == [Comparison("both", 600, size, verdict)]
    heads_only(other)
    expected = "unproved" if verdict == "later" else verdict  # a larger head alone does not show what it grew from
    assert compare(mine, other, POLICY) == [Comparison("both", 600, size, expected)]


@pytest.mark.parametrize("size", [300, 600, 700])
@pytest.mark.parametrize("place", [0, 255, 256, 299])
def test_a_fork_names_the_first_entry_that_differs(mine: Path, tmp_path: Path, size: int, place: int) -> None:
    forged = [*ENTRIES[:place], leaf("both", place, pol="us-mx/2@1"), *ENTRIES[place + 1 : size]]
    other = copied(tmp_path / "other", forged)
    [found] = compare(mine, other, POLICY)
    assert (found.verdict, found.first, found.agrees) == ("fork", place, False)
    heads_only(other)
    [found] = compare(mine, other, POLICY)
    assert found.verdict == ("unproved" if size > 600 else "fork") and found.first is None


def test_nothing_of_the_others_is_believed_that_is_not_cosigned(mine: Path, tmp_path: Path) -> None:
    other = copied(tmp_path / "other", ENTRIES[:700])
    flip(next(path for path in (other / "both" / "tile" / "entries").iterdir() if path.is_file()), 90)
    assert [one.verdict for one in compare(mine, other, POLICY)] == ["unproved"]
    flip(other / "both" / "checkpoint", 3)
    with pytest.raises(NoteFault):
        compare(mine, other, POLICY)


def test_a_copy_of_ones_own_that_fails_is_compared_with_nothing(tmp_path: Path) -> None:
    copy = copied(tmp_path / "copy", ENTRIES[:20])
    entries = next(path for path in (copy / "both" / "tile" / "entries").rglob("*") if path.is_file())
    flip(entries, 90)
    for refused in (lambda: compare(copy, copy, POLICY), lambda: open_copy(copy, POLICY), lambda: open_copy(copy, {})):
        with pytest.raises(Unverified):
            refused()
    with pytest.raises(NotFound):
        open_copy(tmp_path, POLICY)
