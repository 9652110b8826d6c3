"""What becomes visible to a member later than it was placed: it gets fresh ticks in that member's view, so that pollers see it.

Nothing opens by itself. What the rules allow is compared with what was written down when the member was last answered; a
label that is more to it now is opened in an act of its own, and only then given (docs/decisions/0013-late-release.md).
"""

import asyncio
import contextlib
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from exchange.clock import Clock
from exchange.ledger.entry import HUB, Entry, route
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Member
from exchange.model.recall import RecallRow
from exchange.model.view import CLOSED, DELAYED, EVER, NEW, NOW, OPEN, LateRun, View, Window, turned
from exchange.release.grants import Grants, Standing
from exchange.rules import Glance, RuleBook, Rules, changing
from exchange.store.acts import Act, Record, Stamp, Turn, ViewChange, Waiting
from exchange.store.answers import Epochs, LabelRow
from exchange.store.contract import Outdated, Store
from exchange.store.graph import alone
from exchange.store.runs import RUN_OBJECTS
from exchange.times import as_text
from policies.label import NOTICE

TRIES = 16
ALL = Window(0, EVER)
ROWS_AT_ONCE = 800
"""How many rows one step writes of what opens, of labels and of their runs: others take the head in between. Whoever finds so
many about to be written is answered by what it had, and is given what opened a little later."""


class Ready(NamedTuple):
    """A member whose view shows nothing beyond these rules."""

    glance: Glance
    member: Member
    view: View
    whole: bool
    """Whether all of it is given that they allow."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a view was found to agree with."""

    rules: Rules
    labels: int
    view: View
    last_tick: int | None
    """The hub's, where labels are delayed: what was placed since may be due sooner."""
    until_us: int
    """When the next delayed run is due."""


class Views:
    """Every member's view, as this process knows it. Any process may take one a step further: the store lets one of them."""

    def __init__(self, store: Store, sequencer: Sequencer, rulebook: RuleBook, grants: Grants, clock: Clock) -> None:
        self._store = store
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._grants = grants
        self._clock = clock
        self._checked: dict[str, _Checked] = {}
        self._written = _Written(store)
        self._ahead = 0
        """Rows of what opens that are about to be written."""
        self.rows_at_once = ROWS_AT_ONCE

    async def ready(self, glance: Glance, member: Member, *, patient: bool = False) -> Ready:
        """Bring the member's view up to the rules that it is to be answered by. What closed, is delayed or came up is always
        written first; of what opened one step, and none while others' fill the head, unless one is `patient`.

        Raises Unavailable when a step cannot be recorded, or when rules change faster than views follow.
        """
        given = False
        for _ in range(TRIES):
            rules, epochs = glance
            member = rules.registry.members.get(member.slug, member)
            rows = await self._grants.rows(epochs)
            written = await self._written.view(epochs, member.slug)
            checked = self._checked.get(member.slug)
            if checked is not None and self._holds(checked, glance, len(rows), written):
                return Ready(glance, member, checked.view, whole=True)
            now_us, history_us = self._clock.now_us(), _history_us(rules, self._clock.now_us())
            standing = await self._grants.standing(rules, epochs, member)
            if written is not None and len(written.states) > len(standing.states):
                glance = await self._rulebook.glance()  # written by somebody who knows of labels that came up since
                continue
            view = written or await self._first(rows, member, history_us)
            step = _Step(rules, rows, self._grants, member, view, standing, now_us, history_us)
            step.see(await self._store.ripe(step.delayed) if step.delayed else {})
            if written is not None and not (step.behind or step.waits):
                last_tick = epochs.last_tick if standing.delays else None
                self._checked[member.slug] = _Checked(rules, len(rows), view, last_tick, step.next_us)
                return Ready(glance, member, view, whole=True)
            opens = 0 if given else step.rows(self.rows_at_once)
            if self._ahead and self._ahead + opens > self.rows_at_once and not patient:
                opens = 0
            if written is not None and not (step.behind or opens):
                return Ready(glance, member, view, whole=False)
            await self._take(step, opens, glance)
            given = given or opens > 0
            glance = await self._rulebook.glance()
        raise changing()

    async def _take(self, step: "_Step", opens: int, glance: Glance) -> None:
        """`opens`: how many rows are to be written of what opens; 0 to leave it for later."""
        self._ahead += opens
        try:
            rules = glance.rules
            change = step.change(rules.registry.epoch, self.rows_at_once if opens else 0)
            if step.closes:
                step.count(await self._grants.rows(glance.epochs, counts=True))
                step.until_us = await self._shown_until(change.member)
                for collection in step.closing:
                    for run in await self._store.late(change.member, collection):
                        step.late[run.label].append(run)
            act = Act(
                str(uuid.uuid4()), step.record, rules.number, rules.until_us, view=change, weight=step.weight(opens),
                moves=glance.epochs.moves,  # what closed since by what cites it is not opened now
            )  # fmt: skip
            with contextlib.suppress(Outdated):  # another process took the step, or the agreement changed: look again
                await self._sequencer.append(act)
        finally:
            self._ahead -= opens

    async def _shown_until(self, member: str) -> int:
        """The last tick that was shown to the member at all: nobody is told to drop what came later. As it is now, since changes
        make it sink without a step; one that comes after this makes the step outdated."""
        view = await self._store.view(member)
        return view.until_us if view is not None else 0

    async def catch_up(self) -> None:
        """Bring every active member's view up to the rules, whether it asks or not, and give it all that they allow. After each
        step it rests as long as that took: half of the time, at least, is for those that ask."""
        glance = await self._rulebook.glance()
        if glance.rules.agreement is not None:
            for member in glance.rules.registry.members.values():
                if member.status == "active" and not member.auditor:
                    glance = await self._give(glance, member)

    async def _give(self, glance: Glance, member: Member) -> Glance:
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            glance, _, _, whole = await self.ready(glance, member, patient=True)
            if whole:
                return glance
            await asyncio.sleep(now() - began)
            glance = await self._rulebook.glance()

    def _holds(self, checked: _Checked, glance: Glance, labels: int, written: View | None) -> bool:
        rules, epochs = glance
        if checked.rules is not rules or checked.labels != labels or checked.view is not written:
            return False
        nothing_due = checked.last_tick == epochs.last_tick and self._clock.now_us() < checked.until_us
        return checked.last_tick is None or nothing_due

    async def _first(self, rows: Iterable[int], member: Member, history_us: int) -> View:
        """The view of a member that was never answered: no walk of its is under way, so all lies where it was placed, as far
        back as the agreement lets it look."""
        oldest = EVER
        if history_us:
            oldest = min((await self._store.ripe([(label, 0) for label in rows])).values(), default=EVER)
        return View(member.slug, 0, b"", history_us if oldest <= history_us else 0, 0, 0)


class _Written:
    """The views as they were last written, read again only when their number has risen."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._as_of = -1
        self._numbers: dict[str, int] = {}
        self._views: dict[str, View] = {}
        self._reading = asyncio.Lock()

    async def view(self, epochs: Epochs, member: str) -> View | None:
        if epochs.views > self._as_of:
            async with self._reading:  # one read serves all who ask meanwhile
                if epochs.views > self._as_of:
                    self._numbers = await self._store.views()
                    self._as_of = epochs.views
        number, known = self._numbers.get(member, 0), self._views.get(member)
        if number and (known is None or known.number < number):
            known = await self._store.view(member)
            if known is not None:
                self._views[member] = known
        return known


def _history_us(rules: Rules, now_us: int) -> int:
    seconds = rules.in_force.backfill_seconds
    return 0 if seconds is None else max(0, now_us - 1_000_000 * seconds)


class _Step:
    """From what was written of a view to what the rules of now make of it, or as much of that as is to be done at once."""

    def __init__(
        self,
        rules: Rules,
        rows: Mapping[int, LabelRow],
        grants: Grants,
        member: Member,
        view: View,
        standing: Standing,
        now_us: int,
        history_us: int,
    ) -> None:
        self._rules = rules
        self._rows = rows
        self._grants = grants
        self._member = member
        self._view = view
        self._standing = standing
        self._now_us = now_us
        self._history_us = max(history_us, view.floor)
        changed = [label for label in turned(view.states, standing.states) if view.states[label - 1] != NEW]
        self.openings = [label for label in changed if view.states[label - 1] == CLOSED]
        """What may wait: until it is written it is not shown, and when it is, it is news."""
        self._turns = {label: self._turned(label) for label in changed if view.states[label - 1] != CLOSED}
        self._still = frozenset(changed)
        self._states = standing.states
        self._due: list[tuple[int, int]] = []
        self._rest: list[tuple[int, int]] = []
        self.next_us = EVER
        """When the next delayed run is due."""
        self._closed: list[int] = []
        self._logs: dict[str, str] = {}
        self.late: dict[int, list[LateRun]] = defaultdict(list)
        """What was released late to the member in the collections where something closes, by label."""
        self.until_us = 0
        """The last tick that was shown by the rules that the view was written by: nothing behind it was given under what closes."""

    @property
    def delayed(self) -> list[tuple[int, int]]:
        """(label, tick): up to the tick nothing of the delayed label is still to be released."""
        return [(label, self._view.settled(label)) for label in self._standing.delays if label not in self._still]

    def see(self, ripe: Mapping[int, int]) -> None:
        """Learn where the first run of each delayed label lies that is still to be released: its last object is released with it."""
        for label, run in ripe.items():
            wait_us = RUN_OBJECTS + 1_000_000 * self._standing.delays[label]
            self.next_us = min(self.next_us, run + wait_us)
            if run + wait_us <= self._now_us:
                self._due.append((label, self._now_us - wait_us))
        self._rest = [one for one in self._begun() if one[0] not in self._still]

    @property
    def waits(self) -> bool:
        """Whether there is what may wait."""
        return bool(self.openings or self._due or self._rest)

    @property
    def closes(self) -> bool:
        return bool(self._closed)

    @property
    def closing(self) -> list[str]:
        """The collections in which a label closes under which something lies."""
        return sorted({self._rows[label].collection for label in self._closed if self._withdraws(label)})

    def _withdraws(self, label: int) -> bool:
        """Whether a label that closes takes something from the member. Its own notices, where it may not look any more, are
        nothing to drop."""
        row = self._rows[label]
        return row.placements > 0 and self._grants.label(row).object_class != NOTICE

    @property
    def behind(self) -> bool:
        """Whether a label is less to the member than what was written, or new, or by what rules it is answered is not written
        yet: first it is, for what is placed from now on will have been shown by these."""
        written = self._view.states
        return bool(self._turns) or len(written) != len(self._standing.states) or NEW in written or not self._agrees

    @property
    def _agrees(self) -> bool:
        """Whether the view was written by these rules: by none that changed since, nor ceased by themselves."""
        return self._view.changes == self._rules.changes and self._view.until_us >= self._rules.since_us

    def rows(self, at_most: int) -> int:
        """How many are to be written of what may wait, if so many are the most at once."""
        opening = self._opening(at_most)
        runs = sum(self._rows[label].placements for label in (*opening, *dict(self._due), *dict(self._rest)))
        return min(at_most, len(opening) + max(1, runs)) if self.waits else 0

    def _opening(self, rows: int) -> list[int]:
        """Half of what is written is the runs of the labels. None while what opened before is not given to its end."""
        return [] if self._rest or not rows else self.openings[: max(1, rows // 2)]

    def weight(self, opens: int) -> int:
        """In objects: a row of what opens, or of what had opened and closes, takes half as long as one, to tell of a label that
        closes a seventh."""
        forgotten = sum(label in self._view.by_label for label in self._closed)
        return (opens + forgotten) // 2 + len(self._closed) // 7

    def change(self, registry: int, rows: int) -> ViewChange:
        """With so many rows, at most, of what may wait."""
        opening = self._opening(rows)
        states = bytearray(self._standing.states)
        for label in self.openings[len(opening) :]:
            states[label - 1] = CLOSED
        self._states = bytes(states)
        turns = {**self._turns, **{label: self._turned(label) for label in opening}}
        self._closed = [label for label, turn in turns.items() if not turn.opens]
        late = self._view.elsewhere  # then any label may have late runs, and forgets them when it closes
        kept = [turn for label, turn in turns.items() if turn.opens or late or label in self._view.by_label]
        waiting: list[Waiting] = []
        if rows:
            due = self._due
            kept += [Turn(label, True, (), self._view.floor) for label, _ in due if label not in self._view.by_label]
            waiting += [self._waiting(*one) for one in (*due, *self._rest)]
            waiting += [self._waiting(label, NOW) for label in turns if self._state(label) == OPEN]
        return ViewChange(
            self._member.slug, self._view.number, registry, self._states, self._view.floor, self._rules.until_us - 1,
            tuple(kept), tuple(waiting), max(1, rows - len(opening)),
        )  # fmt: skip

    def count(self, rows: Mapping[int, LabelRow]) -> None:
        """Learn how much lies under each label by now."""
        self._rows = rows

    def _begun(self) -> Iterator[tuple[int, int]]:
        """Labels that opened with more than one step could give, and until where it lies."""
        done = self._view.released
        for label, windows in self._view.windows:
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
        return Waiting(label, self._rows[label].collection, until_us)

    def _turned(self, label: int) -> Turn:
        """A label that is something else now. New ones are not among them: what lies under them was placed since, or is shown."""
        before, state = self._view.states[label - 1], self._standing.states[label - 1]
        windows = self._view.by_label.get(label)
        if state == CLOSED:
            return Turn(label, False)
        if before == CLOSED:
            return Turn(label, True, (Window(NOW, EVER),) if state == OPEN else (), self._since(label), anew=True)
        done = self._view.released.get(label, self._view.floor)
        if before == OPEN:  # what was shown stays; what comes is delayed
            *earlier, last = windows or (Window(0, EVER),)
            return Turn(label, True, (*earlier, Window(last.after, NOW)), done)
        return Turn(label, True, (*(windows or ()), Window(NOW, EVER)), done)

    def _since(self, label: int) -> int:
        """How far back a label that opens is shown. What is cited by something of late comes with it, however old it is."""
        places = self._rules.citing.places_of(self._grants.label(self._rows[label]))
        if places and any(one in self._rows and self._rows[one].last_tick > self._history_us for one in places):
            return 0
        return self._history_us

    # --- what is recorded of it: of labels what they say of the objects themselves, for their ends may be the other country's affair

    def record(self, stamp: Stamp) -> Record:
        """Called under the lock: an entry for each log and collection of what became visible, and of what ceased to be."""
        late: dict[tuple[str, str, str], list[LateRun]] = defaultdict(list)
        for run in stamp.late:
            cause = "delay" if self._state(run.label) == DELAYED else "grant"
            late[(*self._place(run.label), cause)].append(run)
        closed: dict[tuple[str, str], list[LabelRow]] = defaultdict(list)
        for label in self._closed:
            if self._withdraws(label):
                closed[self._place(label)].append(self._rows[label])
        recalls = {place: self._recall(place[1], rows, stamp.time_us) for place, rows in sorted(closed.items())}
        entries = [
            *[self._publish(*place, runs) for place, runs in sorted(late.items())],
            *[self._withdraw(*place, closed[place], recall) for place, recall in recalls.items()],
        ]
        return Record(tuple(entries), recalls=tuple(recalls.values()))

    def _place(self, label: int) -> tuple[str, str]:
        """The log, and the collection."""
        row = self._rows[label]
        if row.country not in self._logs:
            self._logs[row.country] = route(self._member.country, (row.country,))
        return self._logs[row.country], row.collection

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
            bounds = placed.setdefault(alone(self._rows[run.label].facets), [run.run, run.run])
            bounds[1] = run.run
        # `runs` comes first, and is found by the tick that it begins with (Store.publications).
        private = {"runs": [[run.tick, run.run, run.size] for run in runs], "under": placed}
        return Entry(log, "publish", HUB, f"coll:{collection}", pub, private=private)

    def _recall(self, collection: str, rows: Sequence[LabelRow], now_us: int) -> RecallRow:
        """What tells the objects apart, in words that the member has them by: it was shown their originators."""
        labels = list(map(self._grants.label, rows))
        what = sorted({(label.originator, label.object_class, label.tlp) for label in labels})
        told = {"labels": [{"originator": who, "class": kind, "tlp": tlp} for who, kind, tlp in what]}
        countries = [row.country for row in rows]
        suspended = not any(self._rules.withheld.isdisjoint(label.originators) for label in labels)
        cause = "suspension" if suspended else "grant"
        return self._rules.recall(
            self._member.slug, collection, cause, countries, told, now_us, scope=self._scope(collection, rows)
        )

    def _scope(self, collection: str, rows: Sequence[LabelRow]) -> bytes:
        """Where what closes lay in the view, for its notice to name: native ticks, since what became visible late has them too."""
        as_placed = self._windows((ALL,), ())
        shown = {
            row.id: self._shown(row.id) if row.id in self._view.by_label or row.id in self.late else as_placed
            for row in rows
        }
        before = self._view.states
        there = self._grants.ids(collection)
        open_then = [label for label in there if label > len(before) or before[label - 1] != CLOSED]
        until_us = max([self.until_us, *[until for windows in shown.values() for _, until in windows]])
        return orjson.dumps({"until": until_us, "labels": shown, "open": open_then}, option=orjson.OPT_NON_STR_KEYS)

    def _shown(self, label: int) -> list[list[int]]:
        return self._windows(self._view.by_label.get(label, (ALL,)), self.late.get(label, ()))

    def _windows(self, native: Iterable[Window], late: Sequence[LateRun]) -> list[list[int]]:
        windows = [Window(max(one.after, self._view.floor), one.until) for one in native]
        if late and not self._view.elsewhere:  # released in order and without a gap, but for what a window shows
            windows.append(Window(late[0].run - 1, late[-1].run + late[-1].size - 1))
        windows = [Window(one.after, min(one.until, self.until_us)) for one in windows]
        if self._view.elsewhere:  # what came under the label when others that lie around it were not to be seen
            windows += [Window(run.run - 1, run.run + run.size - 1) for run in late if run.tick <= self.until_us]
        return [list(one) for one in windows if one.after < one.until]

    def _withdraw(self, log: str, collection: str, rows: Sequence[LabelRow], recall: RecallRow) -> Entry:
        count = sum(row.placements for row in rows)
        pub = {"cause": recall.cause, "to": self._member.slug, "count": count, "recall": recall.id}
        private = {"labels": [alone(row.facets) for row in rows]}
        return Entry(log, "withdraw", HUB, f"coll:{collection}", pub, private=private)
