"""Which objects a page held: by the ticks that its entry names, and by its `items_root`, which the log vouches for.

A `publish` entry's private part lists what was placed, with the ticks; one about a late release, which ticks stand for
which. A `release` entry's lists the ticks that the page gave. So a page's item hashes can be put together, and hashed to
the root in the clear part. Retention may drop any of the lists: then only the root remains, and it is said so.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from exchange.auditing.facts import Fact, tick_of
from exchange.ledger.merkle import root
from exchange.ledger.opened import places
from exchange.model.stix import item_hash


class Evidence(StrEnum):
    """How sure it is that a page held an object."""

    PROVED = "proved"
    """Every item of the page is known, and they hash to its items_root."""
    LISTED = "listed"
    """The page's list names its tick; some other item of the page is not known here, so that the root cannot be checked."""
    CONTRADICTED = "contradicted"
    """The page's list names its tick, but the items do not hash to its root."""
    ROOT_ONLY = "root-only"
    """The page's list was dropped. Only its root and its range remain, and the range spans the object."""


class Version(NamedTuple):
    """One version of the object, as it was placed."""

    version: str
    sha256: str
    fact: Fact


class Run(NamedTuple):
    """Neighbouring ticks: what was placed there, or where that was placed which was released late there."""

    first: int
    size: int
    items: bytes
    native: int


class Shelf:
    """Where everything was placed, and one object in particular."""

    def __init__(self, object_id: str) -> None:
        self._id = object_id
        self._runs: list[Run] = []
        self.ticks: dict[int, Version] = {}
        """The object's, those of late releases among them."""
        self.crossed = False
        """Whether a page alone named it."""
        self.dropped = 0
        """Publications whose list is gone: what they placed cannot be told from them."""
        self._open: dict[str, tuple[int, int, Fact]] = {}
        """Such of the latest moment, by request: the object's own submission may yet say that it is in one."""
        self._spans: list[tuple[int, int, Version]] = []
        """Ranges of ticks in which the object was placed."""
        self._loose: list[tuple[int, int, Fact]] = []
        """Ranges of late releases of which nothing committed to what stands there."""

    def take(self, fact: Fact) -> list[Version]:
        """Learn from an entry; the object's versions that it tells were placed."""
        if fact.t == "submit" and fact.pub.get("object") == self._id:
            return self._submitted(fact)
        if fact.t == "release":
            self._name(fact)
        if fact.t != "publish":
            return []
        if fact.private is None:
            self._note_dropped(fact)
            return []
        self._shift(fact)
        return self._place(fact, fact.private.get("items", ()))

    def _note_dropped(self, fact: Fact) -> None:
        self.dropped += 1
        found = span_of(fact)
        if found is None or "to" in fact.pub or fact.pub.get("cause") == "ends":
            return
        if self._open and next(iter(self._open.values()))[2].time != fact.time:
            self._open.clear()
        self._open[fact.req + fact.collection] = (*found, fact)

    def _submitted(self, fact: Fact) -> list[Version]:
        # It has the request and the time of its publication, and of one time what was placed is read first.
        found = self._open.get(fact.req + fact.collection)
        if found is None:
            return []
        first, last, placed = found
        version = Version(fact.text("version"), fact.text("sha256"), placed)
        self._spans.append((first, last, version))
        return [version]

    def _place(self, fact: Fact, lines: Iterable[str]) -> list[Version]:
        found: list[Version] = []
        run: list[bytes] = []
        start = 0
        for line in lines:
            text, object_id, version, digest = line.split(" ")
            tick = int(text)
            if tick != start + len(run):
                self._keep(start, run)
                start, run = tick, []
            run.append(item_hash(object_id, version, bytes.fromhex(digest)))
            if object_id == self._id:
                self.ticks[tick] = Version(version, digest, fact)
                found.append(self.ticks[tick])
        self._keep(start, run)
        return found

    def _keep(self, start: int, run: list[bytes]) -> None:
        if run:
            self._runs.append(Run(start, len(run), b"".join(run), start))

    def _name(self, release: Fact) -> None:
        """A page that names its objects gave what crossed after it was published where nobody here may read it."""
        items = (release.private or {}).get("items", ())
        if not items:
            return
        self._runs.sort()
        lines, before = [], set(self.ticks)
        for line in items:
            text, _, name = line.partition(" ")
            at = self._at(int(text))
            tick = int(text) if at is None else at[0].native + at[1]
            if self._at(tick) is None:
                lines.append(f"{tick} {name}")
        self._place(release, lines)
        for tick in set(self.ticks) - before:
            self.crossed = True
            late = [run for run in self._runs if run.native != run.first and run.native <= tick < run.native + run.size]
            self.ticks.update((run.first + tick - run.native, self.ticks[tick]) for run in late)

    def _shift(self, fact: Fact) -> None:
        runs = (fact.private or {}).get("runs", ())
        if runs and not fact.bound:
            self._loose.append((runs[0][0], runs[-1][0] + runs[-1][2] - 1, fact))
        for first, native, size in runs:
            self._runs.append(Run(first, size, b"", native))
            for tick in [one for one in self.ticks if native <= one < native + size]:
                self.ticks[first + tick - native] = self.ticks[tick]

    # --- pages ---

    def on(self, release: Fact) -> tuple[Version, Evidence] | None:
        """The object's version that a page held, and how sure that is."""
        runs = ticks_of(release)
        if runs is None:
            return self._within(release)
        for first, size in runs:
            if size < len(self.ticks):
                hit = next((tick for tick in range(first, first + size) if tick in self.ticks), None)
            else:
                hit = next((tick for tick in self.ticks if first <= tick < first + size), None)
            if hit is not None:
                return self.ticks[hit], self._judge(release, runs)
        return self._unless_proved(release, runs) or self._spanned(runs, release)

    def _unless_proved(self, release: Fact, runs: Iterable[Sequence[int]]) -> tuple[Version, Evidence] | None:
        """A list that nothing committed to could leave the object out: its word counts only as far as it hashes to the root."""
        spanned = self._within(release)
        doubtful = (not release.bound and spanned is not None) or self._is_loose(release)
        if not self.ticks or not doubtful:
            return None
        evidence = self._judge(release, runs)
        if evidence is Evidence.CONTRADICTED:
            return (spanned or (self.ticks[max(self.ticks)], None))[0], evidence
        return spanned if evidence is Evidence.LISTED and not release.bound else None

    def _is_loose(self, release: Fact) -> bool:
        first, last = span_of(release) or (0, -1)
        return any(
            low <= last and first <= high and fact.collection == release.collection
            and fact.pub.get("to") == release.member
            for low, high, fact in self._loose
        )  # fmt: skip

    def _spanned(self, runs: Iterable[Sequence[int]], release: Fact) -> tuple[Version, Evidence] | None:
        for low, high, version in self._spans:
            if version.fact.collection == release.collection and any(
                first <= high and low < first + size for first, size in runs
            ):
                return version, Evidence.ROOT_ONLY
        return None

    def _within(self, release: Fact) -> tuple[Version, Evidence] | None:
        found = span_of(release)
        if found is None:
            return None
        first, last = found
        for tick, version in self.ticks.items():
            if first <= tick <= last and version.fact.collection == release.collection:
                return version, Evidence.ROOT_ONLY
        return self._spanned([(first, last - first + 1)], release)

    def _judge(self, release: Fact, runs: Iterable[Sequence[int]]) -> Evidence:
        items = b"".join(self._items(runs))
        if len(items) != 32 * release.count:
            return Evidence.LISTED
        hashes = [items[n : n + 32] for n in range(0, len(items), 32)]
        return Evidence.PROVED if root(hashes).hex() == release.pub.get("items_root") else Evidence.CONTRADICTED

    def _items(self, runs: Iterable[Sequence[int]]) -> Iterator[bytes]:
        self._runs.sort()  # they come almost in order
        for first, size in runs:
            while size > 0 and (found := self._at(first)) is not None:
                run, skip = found
                part = min(size, run.size - skip)
                if run.native == run.first:
                    yield run.items[32 * skip : 32 * (skip + part)]
                else:
                    yield from self._items([(run.native + skip, part)])
                first, size = first + part, size - part

    def _at(self, tick: int) -> tuple[Run, int] | None:
        place = bisect_right(self._runs, tick, key=lambda run: run.first) - 1
        run = self._runs[place] if place >= 0 else None
        return (run, tick - run.first) if run is not None and tick < run.first + run.size else None


def ticks_of(release: Fact) -> list[list[int]] | None:
    """The places that a page gave, as [first, count]; None where its list is not there."""
    private = release.private or {}
    return private.get("ticks") or places(private.get("items", ())) or None


def span_of(fact: Fact) -> tuple[int, int] | None:
    """The first and the last tick that an entry's clear part names."""
    try:
        return tick_of(fact.pub["first"]), tick_of(fact.pub["last"])
    except (KeyError, ValueError):
        return None
