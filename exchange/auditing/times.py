"""(7) How long it took from submission to availability to pull; (11) whether what was recalled was dropped, and who had it."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from exchange.auditing.facts import Fact, tick_of
from exchange.auditing.folds import Question, Scope
from exchange.auditing.pages import Shelf, span_of, ticks_of
from exchange.auditing.rows import Asked, Remark, Row
from exchange.errors import Text
from exchange.ledger.events import QUESTIONS
from exchange.ledger.opened import places


@dataclass(slots=True)
class _Batch:
    """What one entry published, or released late."""

    first: int
    last: int
    fact: Fact
    runs: list[tuple[int, int]]
    """The ticks of it, as (first, last). One act's publications in two logs lie between each other: their ranges tell nothing."""
    pulled: set[str] = field(default_factory=set)

    def meets(self, first: int, last: int) -> bool:
        place = bisect_right(self.runs, last, key=lambda run: run[0]) - 1
        return place >= 0 and self.runs[place][1] >= first


def _placed(fact: Fact) -> list[tuple[int, int]]:
    """What the private part lists; nothing where it is dropped, or may not be seen."""
    private = fact.private or {}
    runs = [(first, size) for first, _, size in private.get("runs", ())]
    return sorted((first, first + size - 1) for first, size in (*runs, *places(private.get("items", ()))))


class Timeliness:
    """One row for each member's first pull of what one act published.

    What is submitted is available with the same commit, so the lag is that between the two entries' times. Of a late
    release, which is available from its own commit on, it is the lag since then.
    """

    def __init__(self, asked: Asked, scope: Scope) -> None:
        self._batches: dict[str, list[_Batch]] = {}
        self._lags: list[int] = []

    def take(self, fact: Fact) -> Iterator[Row]:
        if fact.t not in ("publish", "release"):
            return
        batches = self._batches.setdefault(fact.collection, [])
        found = span_of(fact)
        if fact.t == "publish" and found is not None:
            place = bisect_right(batches, found[0], key=lambda one: one.first)
            batches.insert(place, _Batch(*found, fact, _placed(fact) or [found]))
        if fact.t == "publish" or found is None:
            return
        first, last = found
        runs = ticks_of(fact) or [[first, last - first + 1]]
        for batch in _touched(batches, runs):
            to = batch.fact.text("to")
            if fact.member not in batch.pulled and to in ("", fact.member):
                batch.pulled.add(fact.member)
                yield self._row(fact, batch)

    def _row(self, release: Fact, batch: _Batch) -> Row:
        lag = tick_of(release.time) - tick_of(batch.fact.time)
        return Row.of(release, {
            "cause": batch.fact.text("cause"), "available": batch.fact.time, "objects": batch.fact.text("count"),
            "seconds": f"{lag // 1_000_000}.{lag % 1_000_000 // 1000:03d}", "published": f"{batch.fact.log} {batch.fact.index}",
        })  # fmt: skip

    def end(self) -> Iterable[Row]:
        return ()

    def remarks(self, rows: int) -> Iterator[Remark]:
        waiting = sum(1 for batches in self._batches.values() for one in batches if not one.pulled)
        yield Remark("not-pulled", Text(
            f"Of the publications in these logs, {waiting} were pulled by nobody whose pulls are in these logs.",
            f"De las publicaciones de estos registros, {waiting} no fueron descargadas por nadie cuyas descargas consten en ellos.",
        ))  # fmt: skip


def _touched(batches: list[_Batch], runs: Iterable[Sequence[int]]) -> Iterator[_Batch]:
    """Those of which a page holds something. Only neighbours of one act overlap: what ends before them is not looked at."""
    for first, size in runs:
        place = bisect_right(batches, first + size - 1, key=lambda one: one.first) - 1
        act = ""
        while place >= 0 and (batches[place].last >= first or batches[place].fact.req == act):
            if batches[place].meets(first, first + size - 1):
                yield batches[place]
            act = batches[place].fact.req
            place -= 1


class Recalled:
    """One row for each recall, as it stands at the end of the logs."""

    def __init__(self, asked: Asked, scope: Scope) -> None:
        self._object = asked.object
        self._shelf = Shelf(asked.object)
        self._recalls: dict[str, Fact] = {}
        self._withdrawn: dict[str, str] = {}
        """The object that an act took out, by request."""
        self._seen: dict[str, str] = {}
        self._acknowledged: dict[str, str] = {}
        self._had: dict[str, str] = {}
        """Who had the object, since when."""

    def take(self, fact: Fact) -> Iterable[Row]:
        self._shelf.take(fact)
        recall = fact.on.removeprefix("recall:")
        if fact.t == "recall":
            self._recalls[fact.text("recall")] = fact
        elif fact.t == "recall.seen":
            self._seen.setdefault(recall, fact.time)
        elif fact.t == "recall.ack":
            self._acknowledged.setdefault(recall, fact.time)
        elif fact.t == "withdraw":
            self._withdrawn[fact.req] = fact.text("object")
        elif fact.t == "release" and self._object and self._shelf.on(fact) is not None:
            self._had.setdefault(fact.member, fact.time)
        return ()

    def end(self) -> Iterator[Row]:
        for name, fact in self._recalls.items():
            about = fact.text("object") or self._withdrawn.get(fact.req, "")
            if self._object in ("", about):
                to = fact.text("to")
                seen, acknowledged = self._seen.get(name, ""), self._acknowledged.get(name, "")
                yield Row.of(fact, {
                    "recall": name, "cause": fact.text("cause"), "object": about, "seen": seen, "acknowledged": acknowledged,
                    "due": fact.text("due"), "had": self._had.get(to, ""),
                    "state": "acknowledged" if acknowledged else "seen" if seen else "open",
                }, member=to)  # fmt: skip

    def remarks(self, rows: int) -> Iterator[Remark]:
        if self._object:
            asked = {one.text("to") for one in self._recalls.values()}
            unasked = sorted(self._had.keys() - asked)
            if unasked and self._object in self._withdrawn.values():
                yield Remark("had-it-unasked", Text(
                    f"These had it before and were not asked to drop it in these logs: {' '.join(unasked)}.",
                    f"Lo tuvieron antes y en estos registros no consta que se les pidiera descartarlo: {' '.join(unasked)}.",
                ))  # fmt: skip
        else:
            yield Remark("ask-by-object", Text(
                "With --object, it is also told since when each had it.",
                "Con --object se indica también desde cuándo lo tuvo cada uno.",
            ))  # fmt: skip


TIME_QUESTIONS = (
    Question(
        "timeliness", 7,
        QUESTIONS[7],
        ("member", "collection", "objects", "cause", "available", "seconds", "published"),
        Timeliness, private=True,
    ),
    Question(
        "recalls", 11,
        QUESTIONS[11],
        ("member", "collection", "object", "cause", "state", "due", "seen", "acknowledged", "had", "recall"),
        Recalled, may_take=("object",), private=True,
    ),
)  # fmt: skip
