"""A verified copy as a source of answers; and whether two copies are of one history."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exchange.auditing.answers import Mark
from exchange.errors import NotFound
from exchange.ledger.audit import Finding, Report, verify_copy
from exchange.ledger.entry import LOGS
from exchange.ledger.generations import Closing
from exchange.ledger.merkle import Frontier, leaf_hash
from exchange.ledger.note import NOTE_LIMIT_BYTES, Checkpoint, NoteFault, Policy
from exchange.ledger.opened import Line, openings_path, pages_path, read_opening, read_page
from exchange.ledger.tiles import WIDTH, Tile, bundles_of, unbundle
from exchange.store.answers import Opening


class Unverified(Exception):
    """A copy that does not verify answers nothing. `findings` say why."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("the copy does not verify")
        self.findings = findings


class CopyFiles:
    """The leaves of a copy, with what is opened or listed of them: read when asked for, a bundle's files at a time."""

    def __init__(self, directory: Path, sizes: Mapping[str, int]) -> None:
        self._directory = directory
        self._sizes = sizes

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]:
        found: list[bytes] = []
        for n in range(start // WIDTH, -(-end // WIDTH)):
            tile = Tile(None, n, min(WIDTH, self._sizes[log] - n * WIDTH))
            found += unbundle((self._directory / log / tile.path()).read_bytes())
        first = start // WIDTH * WIDTH
        return found[start - first : end - first]

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        found: dict[int, Opening] = {}
        for n in range(start // WIDTH, -(-end // WIDTH)):
            found.update((one.index, one) for one in self._lines(log, openings_path(n), read_opening))
            for page in self._lines(log, pages_path(n), read_page):
                found[page.index] = page.beside(found.get(page.index))
        return [found[index] for index in sorted(found) if start <= index < end]

    def _lines(self, log: str, name: str, read: Callable[[bytes], Line]) -> Iterator[Line]:
        try:
            with (self._directory / log / name).open("rb") as lines:
                yield from map(read, lines)
        except FileNotFoundError:
            return  # nothing in this bundle is for this auditor


def open_copy(directory: Path, policies: Mapping[str, Policy]) -> tuple[CopyFiles, tuple[Mark, ...]]:
    """Verify a copy, and only then read from it. Its logs are those it has; each needs a policy.

    Raises Unverified with what was found.
    """
    report = verified(directory, policies)
    marks = tuple(Mark(log.name, log.origin, log.size, log.root.hex()) for log in report.logs)
    return CopyFiles(directory, {mark.log: mark.size for mark in marks}), marks


def verified(directory: Path, policies: Mapping[str, Policy]) -> Report:
    """The report on a copy that verifies. A copy for one country has no log of the other: such a log is not asked for."""
    logs = [log for log in dict.fromkeys((*LOGS, *policies)) if (directory / log / "checkpoint").exists()]
    if not logs:
        raise NotFound("There is no log here.", "Aquí no hay ningún registro.", code="no-copy", field=directory.name)
    report = verify_copy(directory, {log: policies[log] for log in policies if log in logs})
    if not report.ok:
        raise Unverified(report.findings)
    return report


# --- is my copy the same as the other country's ---


@dataclass(frozen=True, slots=True)
class Comparison:
    """One log in both copies.

    "same": one size, one root. "earlier", "later": the other's is one of this log's heads, or the reverse. "fork": both
    are cosigned and are not of one history. "unproved": the other is larger, and has only its checkpoint to show.
    """

    log: str
    size: int
    other_size: int
    verdict: str
    first: int | None = None
    """The first entry that differs, where both have their entries."""

    @property
    def agrees(self) -> bool:
        return self.verdict in ("same", "earlier", "later")


def compare(mine: Path, other: Path, policies: Mapping[str, Policy]) -> list[Comparison]:
    """Compare the logs that both have. The other may be a whole copy, or nothing but LOG/checkpoint files.

    Raises Unverified for a copy of one's own that does not verify, NoteFault for a checkpoint of the other's that is not
    signed by the log and cosigned as the policy asks, NotFound when they have no log in common.
    """
    found = []
    for log in verified(mine, policies).logs:
        path = other / log.name / "checkpoint"
        if path.exists():
            note = path.read_bytes()
            if len(note) > NOTE_LIMIT_BYTES:
                raise NoteFault("note-malformed", "it is too large", "es demasiado grande")
            theirs, here = policies[log.name].check(note).checkpoint, Checkpoint(log.origin, log.size, log.root)
            if log.closed is not None and theirs.size > here.size:
                found.append(_compare_closed(log.name, here, theirs, log.closed))
            else:
                found.append(_compare(log.name, here, theirs, mine, other))
    if not found:
        raise NotFound(
            "The two have no log in common.", "No tienen ningún registro en común.", code="nothing-in-common"
        )
    return found


def _compare_closed(log: str, mine: Checkpoint, theirs: Checkpoint, ended: Closing) -> Comparison:
    """What is beyond what is left of a log that was closed: the same, if it is what the closing speaks of; who saw more, or
    another, convicts it."""
    verdict = "same" if theirs == ended.checkpoint else "unproved" if ended.covers(theirs) else "fork"
    return Comparison(log, mine.size, theirs.size, verdict)


def _compare(log: str, mine: Checkpoint, theirs: Checkpoint, here: Path, there: Path) -> Comparison:
    small, large, where = (theirs, mine, here) if theirs.size <= mine.size else (mine, theirs, there)
    try:
        # What the other's entries are is not verified: they count as far as they lead to its own cosigned root.
        if not _whole(where, log, large.size) or _root(where, log, large.size) != large.root:
            return Comparison(log, mine.size, theirs.size, "unproved")
        if _root(where, log, large.size, small.size) == small.root:
            verdict = "same" if mine.size == theirs.size else "earlier" if small is theirs else "later"
            return Comparison(log, mine.size, theirs.size, verdict)
        first = _first_difference(log, mine.size, here, theirs.size, there)
    except ValueError:
        return Comparison(log, mine.size, theirs.size, "unproved")
    return Comparison(log, mine.size, theirs.size, "fork", first)


def _whole(directory: Path, log: str, size: int) -> bool:
    return all((directory / log / tile.path()).is_file() for tile in bundles_of(size))


def _bundle(directory: Path, log: str, size: int, n: int) -> list[bytes]:
    tile = Tile(None, n, min(WIDTH, size - n * WIDTH))
    return [leaf_hash(leaf) for leaf in unbundle((directory / log / tile.path()).read_bytes())]


def _root(directory: Path, log: str, size: int, upto: int | None = None) -> bytes:
    """The root of the first `upto` entries in a copy of that size."""
    frontier, left = Frontier(0, ()), size if upto is None else upto
    for tile in bundles_of(size):
        hashes = _bundle(directory, log, size, tile.n)[:left]
        frontier, left = frontier.extend(hashes), left - len(hashes)
    return frontier.root()


def _first_difference(log: str, size: int, here: Path, other_size: int, there: Path) -> int | None:
    least = min(size, other_size)
    if not _whole(there, log, other_size):
        return None
    for tile in bundles_of(least):
        pair = zip(_bundle(here, log, size, tile.n), _bundle(there, log, other_size, tile.n), strict=False)
        for offset, (one, other) in enumerate(pair):
            if one != other:
                return tile.n * WIDTH + offset
    return None
