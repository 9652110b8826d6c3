"""What becomes visible to a member later than it was placed: it gets fresh ticks in that member's view, so that pollers see it.

Nothing opens by itself. What the rules allow is compared with what was written down when the member was last answered; a
label that is more to it now is opened in an act of its own, and only then given (docs/decisions/0013-late-release.md).
"""

import asyncio
import contextlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from exchange.clock import Clock
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Member
from exchange.model.view import EVER, View
from exchange.release.closing import Closing
from exchange.release.grants import Grants
from exchange.release.step import Step
from exchange.rules import Glance, RuleBook, Rules, changing
from exchange.store.acts import Act, Record, Stamp
from exchange.store.answers import Epochs
from exchange.store.contract import Outdated, Store
from exchange.store.late import stepped

TRIES = 16
ROWS_AT_ONCE = 100
"""How many rows one step writes of what opens, of labels and of their runs: others take the head in between. Whoever finds so
many about to be written is answered by what it had, and is given what opened a little later. Twice as many, if that is all:
an answer that says a part of little would be odd, and such a step takes some 7 ms of CPU time."""

RUNS_AT_ONCE = 2_000
"""How many runs a step writes that opens no label and gives what lies under a few: a run costs a twentieth of what a label costs."""

FORGOTTEN_AT_ONCE = 200
"""Of how many labels that close a step forgets what had opened late. Of more the hub's round does: the recall owes meanwhile
where they lay (store/scope.py), and nobody waits for it."""


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
        self._closing = Closing(grants)
        self._clock = clock
        self._checked: dict[str, _Checked] = {}
        self._written = _Written(store)
        self._ahead = 0
        """Rows of what opens that are about to be written."""
        self.rows_at_once = ROWS_AT_ONCE
        self.runs_at_once = RUNS_AT_ONCE
        self.forgotten_at_once = FORGOTTEN_AT_ONCE

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
            step = Step(rules, self._grants, self._closing, member, view, standing, now_us, history_us)
            step.see(await self._store.ripe(step.delayed) if step.delayed else {})
            if written is not None and not (step.behind or step.waits):
                last_tick = epochs.last_tick if standing.delays else None
                self._checked[member.slug] = _Checked(rules, len(rows), view, last_tick, step.next_us)
                return Ready(glance, member, view, whole=True)
            rows_at_once = self.runs_at_once if step.only_runs(self.rows_at_once) else self.rows_at_once
            at_most = 0 if given or not step.waits else rows_at_once * (1 + step.fits(2 * rows_at_once))
            if self._ahead and self._ahead + step.rows(at_most) > rows_at_once and not patient:
                at_most = 0
            if written is not None and not (step.behind or at_most):
                return Ready(glance, member, view, whole=False)
            if at_most and view.owes:  # what opens may lie where what closed lay
                await self.settle(view)
                glance = await self._rulebook.glance()
                continue
            await self._take(step, at_most, glance, view, patient=patient)
            given = given or at_most > 0
            glance = await self._rulebook.glance()
        raise changing()

    async def _take(self, step: Step, at_most: int, glance: Glance, view: View, *, patient: bool) -> None:
        """From `view` on. `at_most`: so many rows are to be written of what opens; 0 to leave it for later."""
        opens = step.rows(at_most)
        self._ahead += opens
        try:
            rules = glance.rules
            if step.closes:
                await self._grants.rows(glance.epochs, counts=True)
                step.close(self.forgotten_at_once)
            change = step.change(rules.registry.epoch, at_most)
            act = Act(
                str(uuid.uuid4()), step.record, rules.number, rules.until_us, view=change, weight=step.weight(opens),
                moves=glance.epochs.moves,  # what closed since by what cites it is not opened now
            )  # fmt: skip
            with contextlib.suppress(Outdated):  # another process took the step, or the agreement changed: look again
                done = await self._sequencer.append(act, patient=patient)
                if done.stamp.step is not None:
                    self._written.learn(stepped(view, change, done.stamp.step))
        finally:
            self._ahead -= opens

    async def settle(self, view: View, *, patient: bool = False) -> None:
        """Have the member's recalls say what they owe, and forget what is kept for it."""
        if view.owes:
            weight = len(view.windows) // 2
            act = Act(str(uuid.uuid4()), _nothing_to_tell, weight=weight, settles=view.member)
            await self._sequencer.append(act, patient=patient)

    async def catch_up(self) -> None:
        """Bring every active member's view up to the rules, whether it asks or not, and give it all that they allow. After each
        step during which others had something to write it rests as long as that took: half of the time, at least, is for those; and what
        it writes gives way to theirs.
        What recalls owe comes last: the sooner everybody's labels are closed, the fewer have to close them while they ask."""
        glance = await self._rulebook.glance()
        if glance.rules.agreement is not None:
            for settling in (False, True):
                for member in glance.rules.registry.members.values():
                    if member.status == "active" and not member.auditor:
                        glance = await self._give(glance, member, settling=settling)

    async def _give(self, glance: Glance, member: Member, *, settling: bool) -> Glance:
        now = asyncio.get_running_loop().time
        while True:
            began, accepted = now(), self._sequencer.accepted
            glance, _, view, whole = await self.ready(glance, member, patient=True)
            if whole and not (settling and view.owes):
                return glance
            if whole:
                await self.settle(view, patient=True)
            others = self._sequencer.accepted - accepted > 1
            await asyncio.sleep(now() - began if others else 0)
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

    def learn(self, view: View) -> None:
        """What this process wrote itself need not be read back."""
        self._views[view.member] = view


def _nothing_to_tell(_: Stamp) -> Record:
    """The closing was told when it was written."""
    return Record(())


def _history_us(rules: Rules, now_us: int) -> int:
    seconds = rules.in_force.backfill_seconds
    return 0 if seconds is None else max(0, now_us - 1_000_000 * seconds)
