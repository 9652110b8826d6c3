"""What becomes visible to a member later than it was placed: it gets fresh ticks in that member's view, so that pollers see it.

Nothing opens by itself. What the rules allow is compared with what was written down when the member was last answered; a
label that is more to it now is opened in an act of its own, and only then given (docs/decisions/0013-late-release.md).
"""

import contextlib
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import orjson

from exchange.clock import Clock
from exchange.ledger.entry import HUB, Entry, route
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Member
from exchange.model.recall import RecallRow
from exchange.model.view import CLOSED, DELAYED, EVER, NOW, OPEN, LateRun, View, Window
from exchange.release.grants import Grants, Standing
from exchange.rules import Glance, RuleBook, Rules, changing
from exchange.store.contract import Act, LabelRow, Outdated, Record, Stamp, Store, Turn, ViewChange, Waiting
from exchange.store.runs import RUN_OBJECTS
from exchange.times import as_text
from policies.label import NOTICE, Label

TRIES = 16
ALL = Window(0, EVER)
RUNS_AT_ONCE = 5_000
"""How many runs one step releases: others take the head in between."""
STEPS_AT_ONCE = 4
"""How often a view is taken a step further for one answer when only late runs are left to be given: the next answers give on."""


class Ready(NamedTuple):
    """A member whose view agrees with these rules."""

    glance: Glance
    member: Member
    view: View


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a view was found to agree with."""

    rules: Rules
    labels: int
    views: int
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
        self.runs_at_once = RUNS_AT_ONCE

    async def ready(self, glance: Glance, member: Member) -> Ready:
        """Bring the member's view up to the rules that it is to be answered by.

        Raises Unavailable when a step cannot be recorded, or when rules change faster than views follow.
        """
        for number in range(TRIES):
            rules, epochs = glance
            member = rules.registry.members.get(member.slug, member)
            rows = await self._grants.rows(epochs)
            checked = self._checked.get(member.slug)
            if checked is not None and self._holds(checked, glance, len(rows)):
                return Ready(glance, member, checked.view)
            written = await self._store.view(member.slug)
            if checked is not None and written is not None and written.number == checked.view.number:
                checked = replace(checked, views=epochs.views)  # if that is all, it was another's view that took a step
                if self._holds(checked, glance, len(rows)):
                    self._checked[member.slug] = checked
                    return Ready(glance, member, checked.view)
            now_us, history_us = self._clock.now_us(), _history_us(rules, self._clock.now_us())
            standing = await self._grants.standing(rules, epochs, member)
            if written is not None and len(written.states) > len(standing.states):
                glance = await self._rulebook.glance()  # written by somebody who knows of labels that came up since
                continue
            view = written or await self._first(rows, member, history_us)
            step = _Step(rules, rows, member, view, standing, now_us, history_us)
            ripe = await self._store.ripe(step.delayed) if step.delayed else {}
            change = step.change(ripe, rules.registry.epoch, self.runs_at_once)
            step.until_us = min(epochs.last_tick, max(epochs.ruled, rules.since_us))
            for collection in step.closing if view.last_tick else ():
                step.late += await self._store.late(member.slug, collection)
            settled = written is not None and not step.behind
            if settled and not change.waiting:
                until_us = min([step.due_us(*one) for one in ripe.items()], default=EVER)
                last_tick = epochs.last_tick if standing.delays else None
                self._checked[member.slug] = _Checked(rules, len(rows), epochs.views, view, last_tick, until_us)
            if settled and (not change.waiting or number >= STEPS_AT_ONCE):
                return Ready(glance, member, view)
            with contextlib.suppress(Outdated):  # another process took the step, or the agreement changed: look again
                await self._sequencer.append(Act(str(uuid.uuid4()), step.record, agreement=rules.number, view=change))
            glance = await self._rulebook.glance()
        raise changing()

    async def catch_up(self) -> None:
        """Bring every active member's view up to the rules, whether it asks or not."""
        glance = await self._rulebook.glance()
        if glance.rules.agreement is not None:
            for member in glance.rules.registry.members.values():
                if member.status == "active" and not member.auditor:
                    glance = (await self.ready(glance, member)).glance

    def _holds(self, checked: _Checked, glance: Glance, labels: int) -> bool:
        rules, epochs = glance
        if checked.rules is not rules or checked.labels != labels or checked.views != epochs.views:
            return False
        nothing_due = checked.last_tick == epochs.last_tick and self._clock.now_us() < checked.until_us
        return checked.last_tick is None or nothing_due

    async def _first(self, rows: Sequence[LabelRow], member: Member, history_us: int) -> View:
        """The view of a member that was never answered: no walk of its is under way, so all lies where it was placed, as far
        back as the agreement lets it look."""
        oldest = EVER
        if history_us:
            oldest = min((await self._store.ripe([(row.id, 0) for row in rows])).values(), default=EVER)
        return View(member.slug, 0, b"", history_us if oldest <= history_us else 0, 0, 0)


def _history_us(rules: Rules, now_us: int) -> int:
    seconds = rules.in_force.backfill_seconds
    return 0 if seconds is None else max(0, now_us - 1_000_000 * seconds)


class _Step:
    """From what was written of a view to what the rules of now make of it."""

    def __init__(
        self,
        rules: Rules,
        rows: Sequence[LabelRow],
        member: Member,
        view: View,
        standing: Standing,
        now_us: int,
        history_us: int,
    ) -> None:
        self._rules = rules
        self._rows = {row.id: row for row in rows}
        self._member = member
        self._view = view
        self._standing = standing
        self._now_us = now_us
        self._history_us = max(history_us, view.floor)
        self._turns = {turn.label: turn for turn in self._turned()}
        self.late: list[LateRun] = []
        """What was released late to the member in the collections where something closes."""
        self.until_us = 0
        """The last tick there was when the rules last changed: nothing behind it was ever shown under what closes."""

    @property
    def closing(self) -> list[str]:
        """The collections in which a label closes under which something lies."""
        return sorted({self._rows[turn.label].collection for turn in self._turns.values() if self._withdraws(turn)})

    def _withdraws(self, turn: Turn) -> bool:
        """Whether a turn takes something from the member. Its own notices, where it may not look any more, are nothing to drop."""
        row = self._rows[turn.label]
        return not turn.opens and row.placements > 0 and Label.decode(row.facets).object_class != NOTICE

    @property
    def delayed(self) -> list[tuple[int, int]]:
        """(label, tick): up to the tick nothing of the delayed label is still to be released."""
        return [(label, self._view.settled(label)) for label in self._standing.delays if label not in self._turns]

    def due_us(self, label: int, run: int) -> int:
        """When a run of a delayed label may be released: its last object with its first."""
        return run + RUN_OBJECTS + 1_000_000 * self._standing.delays[label]

    @property
    def behind(self) -> bool:
        """Whether a label is another thing to the member than what was written, or new."""
        return self._view.states != self._standing.states

    def change(self, ripe: Mapping[int, int], registry: int, runs_at_most: int) -> ViewChange:
        """`ripe`: of each delayed label, where the first run lies that is still to be released."""
        due = [label for label, run in ripe.items() if self.due_us(label, run) <= self._now_us]
        turns = [*self._turns.values(), *[self._begun(label) for label in due if label not in self._view.by_label]]
        waiting = [self._waiting(label, self._now_us - self.due_us(label, 0)) for label in due]
        for label, windows in self._view.windows:
            if (
                label not in self._turns
                and self._state(label) == OPEN
                and self._view.settled(label) < windows[-1].after
            ):
                waiting.append(self._waiting(label, windows[-1].after))  # more than one step could give
        waiting += [self._waiting(turn.label, NOW) for turn in self._turns.values() if self._state(turn.label) == OPEN]
        return ViewChange(
            self._member.slug, self._view.number, registry, self._standing.states, self._view.floor, tuple(turns),
            tuple(waiting), runs_at_most,
        )  # fmt: skip

    def _state(self, label: int) -> int:
        return self._standing.states[label - 1]

    def _waiting(self, label: int, until_us: int) -> Waiting:
        return Waiting(label, self._rows[label].collection, until_us)

    def _begun(self, label: int) -> Turn:
        return Turn(label, True, (), self._view.floor)

    def _turned(self) -> Iterator[Turn]:
        """Labels that are something else now. New ones are not among them: the member was never answered without them."""
        for label, (before, state) in enumerate(zip(self._view.states, self._standing.states, strict=False), start=1):
            if before == state:
                continue
            windows, done = self._view.by_label.get(label), dict(self._view.done).get(label, self._view.floor)
            if state == CLOSED:
                yield Turn(label, False)
            elif before == CLOSED:
                yield Turn(label, True, (Window(NOW, EVER),) if state == OPEN else (), self._history_us)
            elif before == OPEN:  # what was shown stays; what comes is delayed
                *earlier, last = windows or (Window(0, EVER),)
                yield Turn(label, True, (*earlier, Window(last.after, NOW)), done)
            else:
                yield Turn(label, True, (*(windows or ()), Window(NOW, EVER)), done)

    # --- what is recorded of it ---

    def record(self, stamp: Stamp) -> Record:
        """Called under the lock: an entry for each log and collection of what became visible, and of what ceased to be."""
        late: dict[tuple[str, str, str], list[LateRun]] = defaultdict(list)
        for run in stamp.late:
            cause = "delay" if self._state(run.label) == DELAYED else "grant"
            late[(*self._place(run.label), cause)].append(run)
        closed: dict[tuple[str, str], list[LabelRow]] = defaultdict(list)
        for turn in self._turns.values():
            if self._withdraws(turn):
                closed[self._place(turn.label)].append(self._rows[turn.label])
        recalls = {place: self._recall(place[1], rows, stamp.time_us) for place, rows in sorted(closed.items())}
        entries = [
            *[self._publish(*place, runs) for place, runs in sorted(late.items())],
            *[self._withdraw(*place, closed[place], recall.id) for place, recall in recalls.items()],
        ]
        return Record(tuple(entries), recalls=tuple(recalls.values()))

    def _place(self, label: int) -> tuple[str, str]:
        """The log, and the collection."""
        row = self._rows[label]
        return route(self._member.country, (row.country,)), row.collection

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
            bounds = placed.setdefault(self._rows[run.label].facets, [run.run, run.run])
            bounds[1] = run.run
        private = {"placed": placed}
        return Entry(log, "publish", HUB, f"coll:{collection}", pub, private=private)

    def _recall(self, collection: str, rows: Sequence[LabelRow], now_us: int) -> RecallRow:
        """What tells the objects apart, in words that the member has them by: it was shown their originators."""
        labels = [Label.decode(row.facets) for row in rows]
        what = sorted({(label.originator, label.object_class, label.tlp) for label in labels})
        told = {"labels": [{"originator": who, "class": kind, "tlp": tlp} for who, kind, tlp in what]}
        countries = [row.country for row in rows]
        suspended = self._rules.withheld.issuperset(label.originator for label in labels)
        cause = "suspension" if suspended else "grant"
        return self._rules.recall(
            self._member.slug, collection, cause, countries, told, now_us, scope=self._scope(collection, rows)
        )

    def _scope(self, collection: str, rows: Sequence[LabelRow]) -> bytes:
        """Where what closes lay in the view, for its notice to name: native ticks, since what became visible late has them too."""
        shown = {row.id: self._shown(row.id) for row in rows}
        before = self._view.states
        others = [row.id for row in self._rows.values() if row.collection == collection and row.id not in shown]
        open_then = [label for label in others if label > len(before) or before[label - 1] != CLOSED]
        return orjson.dumps(
            {"until": self.until_us, "labels": shown, "open": open_then}, option=orjson.OPT_NON_STR_KEYS
        )

    def _shown(self, label: int) -> list[list[int]]:
        windows = [
            Window(max(one.after, self._view.floor), one.until) for one in self._view.by_label.get(label, (ALL,))
        ]
        runs = [run for run in self.late if run.label == label]
        if runs:  # released in order and without a gap, but for what a window shows
            windows.append(Window(runs[0].run - 1, runs[-1].run + runs[-1].size - 1))
        return [list(one) for one in windows if one.after < one.until]

    def _withdraw(self, log: str, collection: str, rows: Sequence[LabelRow], recall: str) -> Entry:
        count = sum(row.placements for row in rows)
        pub = {"cause": "grant", "to": self._member.slug, "count": count, "recall": recall}
        private = {"labels": [row.facets for row in rows]}
        return Entry(log, "withdraw", HUB, f"coll:{collection}", pub, private=private)
