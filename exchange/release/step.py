"""One step of a member's view: from what was written of it to what the rules of now make of it, and what the logs are told of that."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from exchange.ledger.entry import HUB, Entry, route
from exchange.model.member import Member
from exchange.model.recall import RecallRow
from exchange.model.view import CLOSED, DELAYED, EVER, NEW, NOW, OPEN, LateRun, View, Window, turns
from exchange.release.closing import Closing, Told
from exchange.release.grants import Grants, Standing
from exchange.rules import Rules
from exchange.store.acts import Record, Stamp, Turn, ViewChange, Waiting
from exchange.store.graph import alone
from exchange.store.runs import RUN_OBJECTS
from exchange.store.scope import Scope, by_label, owed
from exchange.times import as_text

FROM_NOW = (Window(NOW, EVER),)

Place = tuple[str, str]
"""The log in which something is told, and the collection."""


class Step:
    """All of it, or as much as is to be done at once."""

    def __init__(
        self, rules: Rules, grants: Grants, closing: Closing, member: Member, view: View, standing: Standing, now_us: int,
        history_us: int,
    ) -> None:  # fmt: skip
        self._rules = rules
        self._grants = grants
        self._closing = closing
        self._member = member
        self._view = view
        self._standing = standing
        self._now_us = now_us
        self._history_us = max(history_us, view.floor)
        self._turned = turns(view.states, standing.states)
        self._closed: dict[Place, tuple[int, ...]] = {}
        """The labels that close with something under them, by where that is told."""
        self._forgotten: Sequence[int] = ()
        """Of the labels that close, those that something is kept of until then."""
        self._owes = False
        self._states = standing.states
        self._due: list[tuple[int, int]] = []
        self._rest: list[tuple[int, int]] = []
        self.next_us = EVER
        """When the next delayed run is due."""
        self._logs: dict[str, str] = {}

    @property
    def delayed(self) -> list[tuple[int, int]]:
        """(label, tick): up to the tick nothing of the delayed label is still to be released."""
        turned = self._turned.all
        return [(label, self._view.settled(label)) for label in self._standing.delays if label not in turned]

    def see(self, ripe: Mapping[int, int]) -> None:
        """Learn where the first run of each delayed label lies that is still to be released: its last object is released with it."""
        for label, run in ripe.items():
            wait_us = RUN_OBJECTS + 1_000_000 * self._standing.delays[label]
            self.next_us = min(self.next_us, run + wait_us)
            if run + wait_us <= self._now_us:
                self._due.append((label, self._now_us - wait_us))
        self._rest = [one for one in self._begun() if one[0] not in self._turned.all]

    @property
    def waits(self) -> bool:
        """Whether there is what may wait: until it is written it is not shown, and when it is, it is news."""
        return bool(self._turned.opens or self._due or self._rest)

    @property
    def closes(self) -> bool:
        return bool(self._turned.closes)

    @property
    def behind(self) -> bool:
        """Whether a label is less to the member than what was written, or new, or by what rules it is answered is not written
        yet: first it is, for what is placed from now on will have been shown by these."""
        written, turned = self._view.states, self._turned
        less = bool(turned.closes or turned.others)
        return less or len(written) != len(self._standing.states) or NEW in written or not self._agrees

    @property
    def _agrees(self) -> bool:
        """Whether the view was written by these rules: by none that changed since, nor ceased by themselves."""
        return self._view.changes == self._rules.changes and self._view.until_us >= self._rules.since_us

    def rows(self, at_most: int) -> int:
        """How many are to be written of what may wait, if so many are the most at once."""
        opening = self._opening(at_most)
        labels = (*opening, *dict(self._due), *dict(self._rest))
        runs = sum([self._grants.row(label).placements for label in labels])
        return min(at_most, len(opening) + max(1, runs)) if self.waits else 0

    def fits(self, rows: int) -> bool:
        """Whether with so many, at most, all that may wait is written."""
        return len(self._opening(rows)) == len(self._turned.opens) and self.rows(rows) < rows

    def only_runs(self, rows: int) -> bool:
        """Whether it opens no label and gives only what lies under a few that are open: no more than it would open with so many rows."""
        labels = len(self._due) + len(self._rest) + len(self._turned.others)
        return not self._opening(rows) and labels <= max(1, rows // 4)

    def _opening(self, rows: int) -> Sequence[int]:
        """To open a label takes as long as to release three runs. None while what opened before is not given to its end."""
        return () if self._rest or not rows else self._turned.opens[: max(1, rows // 4)]

    def close(self, forget_at_once: int) -> None:
        """Once it is known how much lies under each label: see what is told of those that close, and whether what is kept of them is
        forgotten with it. Of more labels than `forget_at_once` it is not: their recalls owe where they lay."""
        closed: dict[Place, list[int]] = defaultdict(list)
        for (country, collection), labels in self._closing.places(self._turned.closes).items():
            there = [label for label in labels if self._grants.row(label).placements]
            if there:
                closed[self._log(country), collection] += there
        self._closed = {place: tuple(sorted(labels)) for place, labels in closed.items()}
        kept = self._kept()
        self._owes = bool(closed) and len(kept) > forget_at_once
        later = {label for labels in closed.values() for label in labels} if self._owes else ()
        self._forgotten = [label for label in kept if label not in later]

    def weight(self, opens: int) -> int:
        """In objects: a row of what opens, or of what had opened and is forgotten, takes half as long as one, to tell of a label that
        closes a third, on PostgreSQL (on SQLite a seventh)."""
        return (opens + len(self._forgotten)) // 2 + len(self._turned.closes) // 3

    def _kept(self) -> Sequence[int]:
        """Of the labels that close, those that something is kept of."""
        closes, view = self._turned.closes, self._view
        if view.elsewhere:  # then any label may have late runs
            return closes
        return [label for label in closes if label in view.windows] if view.windows else ()

    def change(self, registry: int, rows: int) -> ViewChange:
        """With so many rows, at most, of what may wait."""
        turned, opening = self._turned, self._opening(rows)
        if len(opening) < len(turned.opens):
            states = bytearray(self._standing.states)
            for label in turned.opens[len(opening) :]:
                states[label - 1] = CLOSED
            self._states = bytes(states)
        kept = [Turn(label, False) for label in self._forgotten]
        kept += [self._turn(label) for label in (*turned.others, *opening)]
        waiting: list[Waiting] = []
        if rows:
            due = self._due
            kept += [Turn(label, True, (), self._view.floor) for label, _ in due if label not in self._view.windows]
            waiting += [self._waiting(*one) for one in (*due, *self._rest)]
            waiting += [self._waiting(label, NOW) for label in (*turned.others, *opening) if self._state(label) == OPEN]
        return ViewChange(
            self._member.slug, self._view.number, registry, self._states, self._view.floor, self._rules.until_us - 1,
            tuple(kept), tuple(waiting), max(1, rows - len(opening)), self._owes,
        )  # fmt: skip

    def _begun(self) -> Iterator[tuple[int, int]]:
        """Labels that opened with more than one step could give, and until where it lies."""
        done = self._view.done
        for label, windows in self._view.windows.items():
            until_us = windows[-1].after if windows else 0
            if (
                done.get(label, self._view.floor) < until_us
                and self._state(label) == OPEN
                and self._view.settled(label) < until_us
            ):
                yield label, until_us

    def _state(self, label: int) -> int:
        return self._states[label - 1]

    def _waiting(self, label: int, until_us: int) -> Waiting:
        return Waiting(label, self._grants.row(label).collection, until_us)

    def _turn(self, label: int) -> Turn:
        """A label that does not close."""
        before, state = self._view.states[label - 1], self._standing.states[label - 1]
        if before == CLOSED:
            return Turn(label, True, FROM_NOW if state == OPEN else (), self._since(label), anew=True)
        windows = self._view.windows.get(label)
        done = self._view.done.get(label, self._view.floor)
        if before == OPEN:  # what was shown stays; what comes is delayed
            *earlier, last = windows or (Window(0, EVER),)
            return Turn(label, True, (*earlier, Window(last.after, NOW)), done)
        return Turn(label, True, (*(windows or ()), *FROM_NOW), done)

    def _since(self, label: int) -> int:
        """How far back a label that opens is shown. What is cited by something of late comes with it, however old it is."""
        places = self._rules.citing.places_of(self._grants.label(self._grants.row(label)))
        if places and any(self._grants.last_tick(one) > self._history_us for one in places):
            return 0
        return self._history_us

    # --- what is recorded of it

    def record(self, stamp: Stamp) -> Record:
        """Called under the lock: an entry for each log and collection of what became visible, and of what ceased to be."""
        if stamp.step is None:
            raise ValueError("a view's step without its outcome")
        late: dict[tuple[str, str, str], list[LateRun]] = defaultdict(list)
        for run in stamp.step.late:
            cause = "delay" if self._state(run.label) == DELAYED else "grant"
            late[(*self._place(run.label), cause)].append(run)
        entries = [self._publish(*place, runs) for place, runs in sorted(late.items())]
        recalls: list[RecallRow] = []
        scope = Scope(self._view, stamp.step.until_us, by_label(stamp.step.gone))
        for (log, collection), labels in sorted(self._closed.items()):
            told = self._closing.told(labels)
            there = self._closing.open(self._view.states, collection, len(self._grants.ids(collection)))
            lay = owed(labels, scope.until_us, there) if self._owes else scope.of(labels, there)
            recall = self._recall(collection, told, lay, stamp.time_us)
            entries.append(self._withdraw(log, collection, labels, told, recall))
            recalls.append(recall)
        return Record(tuple(entries), recalls=tuple(recalls))

    def _place(self, label: int) -> Place:
        row = self._grants.row(label)
        return self._log(row.country), row.collection

    def _log(self, country: str) -> str:
        if country not in self._logs:
            self._logs[country] = route(self._member.country, (country,))
        return self._logs[country]

    def _publish(self, log: str, collection: str, cause: str, runs: Sequence[LateRun]) -> Entry:
        pub = {
            "cause": cause,
            "to": self._member.slug,
            "first": as_text(runs[0].tick),
            "last": as_text(runs[-1].last_tick),
            "count": sum(run.size for run in runs),
        }
        placed: dict[str, list[int]] = {}
        for run in runs:
            bounds = placed.setdefault(alone(self._grants.row(run.label).facets), [run.run, run.run])
            bounds[1] = run.run
        # `runs` comes first, and is found by the tick that it begins with (Store.publications).
        private = {"runs": [[run.tick, run.run, run.size] for run in runs], "under": placed}
        return Entry(log, "publish", HUB, f"coll:{collection}", pub, private=private)

    def _recall(self, collection: str, told: Told, scope: bytes, now_us: int) -> RecallRow:
        suspended = not any(self._rules.withheld.isdisjoint(one) for one in told.originators)
        cause = "suspension" if suspended else "grant"
        made = self._rules.recall(self._member.slug, collection, cause, told.countries, told.what, now_us, scope=scope)
        return replace(made, owes=self._owes)

    def _withdraw(self, log: str, collection: str, labels: Iterable[int], told: Told, recall: RecallRow) -> Entry:
        count = sum([self._grants.row(label).placements for label in labels])
        pub = {"cause": recall.cause, "to": self._member.slug, "count": count, "recall": recall.id}
        return Entry(log, "withdraw", HUB, f"coll:{collection}", pub, private=told.private)
