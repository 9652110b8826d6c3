"""What follows in members' views where something comes under another label: what an engine has to write of it.

It stays where it was placed. Whoever has it keeps it where it has it, whoever never asked finds it there, and for nobody else anything
changes. To whoever gains it, it is news: at fresh ticks at once where the label is open to it already, by a step of its view
(docs/decisions/0013-late-release.md) where it is not. docs/decisions/0014-graphs.md says why.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from exchange.model.view import CLOSED, DELAYED, NEW, OPEN, LateRun, View
from exchange.store.acts import MovedRun
from exchange.store.graph import Again, Moving
from exchange.store.late import Kept, lies_at, shown_at
from policies.label import Label

LateRow = tuple[str, str, int, int, int, int]
"""member, collection, tick, run, count, label."""
RelabelledRow = tuple[int, str, str, int, int, int]
"""tick, collection, id, label, former, placed."""


class Piece(NamedTuple):
    """Neighbours in a run that come under the same label; none of them where they stay under theirs."""

    start: int
    stop: int
    moving: Sequence[Moving]


def pieces(count: int, rows: Sequence[Moving], run: int) -> Iterator[Piece]:
    """A run of so many, cut where what comes under another label begins and ends."""
    facets = {one.lain.tick - run: one for one in rows}
    start = 0
    for at in range(1, count + 1):
        one, other = facets.get(start), facets.get(at)
        if at == count or (one and one.facets) != (other and other.facets):
            yield Piece(start, at, [facets[n] for n in range(start, at)] if one else [])
            start = at


@lru_cache(20_000)
def widens(former: str, facets: str) -> bool:
    """Whether whoever may have what lies under the one may have it under the other: no end asks for more than one did before."""
    before, after = Label.decode(former), Label.decode(facets)
    return all(any(set(one) <= set(end) and (one or not end) for one in before.ends) for end in after.ends)


@dataclass
class Relabelling:
    """Gathers rows, run after run. `views`: as far as the former labels and the new ones are concerned."""

    views: Mapping[str, View]
    countries: Mapping[str, str]
    """The members'."""
    late: Mapping[int, Mapping[str, LateRun]]
    """By run and member."""
    settled: int
    """How many views had it settled first what their recalls owe: they changed by that."""
    pending: frozenset[int]
    """Ticks of what came under another label before, and of which it is still to be told to who lost it by that."""
    time_us: int
    last_tick: int
    late_rows: list[LateRow] = field(default_factory=list)
    relabelled: list[RelabelledRow] = field(default_factory=list)
    kept: dict[tuple[str, int], Kept] = field(default_factory=dict)
    """`view_label` rows, by member and label."""
    again: list[Again] = field(default_factory=list)
    moved: list[MovedRun] = field(default_factory=list)
    elsewhere: set[str] = field(default_factory=set)
    """Members in whose views something does not lie where it was placed."""
    now: dict[str, View] = field(default_factory=dict)
    """The views that changed."""

    def stay(self, run: int, piece: Piece, label: int, collection: str) -> None:
        """What stays under its label, in a run that is cut."""
        self.late_rows += [
            (member, collection, one.tick + piece.start, run + piece.start, piece.stop - piece.start, label)
            for member, one in self.late[run].items()
        ]

    def turn(self, run: int, piece: Piece, label: int) -> None:
        """What comes under `label`."""
        first, count, before = piece.moving[0].lain, len(piece.moving), len(self.late_rows)
        fresh = max(self.time_us, self.last_tick + 1)
        self.last_tick = fresh + count - 1
        wider = widens(first.facets, piece.moving[0].facets)
        gaining, had = set[str](), False
        for member, view in self.views.items():
            late = self.late[run].get(member)
            shown = shown_at(view, first.label, run, first.tick, late)
            had = had or shown is not None
            self._inherit(member, view, first.label, label, wider=wider)
            tick = self._kept_at(member, piece, label, late, shown=shown is not None, wider=wider)
            if tick is None and self._is_news(member, piece, label, late):
                tick = fresh
                gaining.add(member)
            if tick is not None:
                self.late_rows.append((member, first.collection, tick, first.tick, count, label))
        self.elsewhere.update([row[0] for row in self.late_rows[before:]])
        ticks = list(enumerate([one.lain for one in piece.moving], fresh))
        self.again += [Again(one.label, one.tick, label, one.tick) for _, one in ticks]
        if had and not wider:
            self.relabelled += [
                (tick, one.collection, one.id, label, one.label, one.tick)
                for tick, one in ticks
                if one.tick not in self.pending
            ]
        if gaining:
            countries = frozenset(self.countries[member] for member in gaining)
            objects = tuple([one.object for _, one in ticks])
            self.moved.append(MovedRun(first.collection, first.country, countries, fresh, objects))

    def _inherit(self, member: str, view: View, former: int, label: int, *, wider: bool) -> None:
        """A label that is new to the view is to it what the former was, so that what was closed is opened by a step."""
        now, state = self.now.get(member, view), view.state(former)
        if now.state(label) != NEW:
            return
        if former in view.windows and label not in now.windows:
            done = view.done.get(former, view.floor)
            now = replace(now, windows={**now.windows, label: view.windows[former]}, done={**now.done, label: done})
            self.kept[member, label] = Kept(label, view.windows[former], done)
        if state in (CLOSED, DELAYED) or (state == OPEN and wider):
            states = now.states.ljust(label, bytes([NEW]))
            now = replace(now, states=states[: label - 1] + bytes([state]) + states[label:])
        if now is not view:
            self.now[member] = now

    def _kept_at(
        self, member: str, piece: Piece, label: int, late: LateRun | None, *, shown: bool, wider: bool
    ) -> int | None:
        """The tick of the late run by which it stays where the member has it; None where it needs none."""
        first, view = piece.moving[0].lain, self.views[member]
        now = self.now.get(member, view)
        lies = lies_at(view, first.label, first.run, first.tick, late)
        if late is not None:
            if (
                lies is None
                and now.state(label) == CLOSED
                and not self.pending.isdisjoint([one.lain.tick for one in piece.moving])
            ):
                return first.tick - first.run + late.tick  # that it was shown is still asked for
            return lies
        if lies is None or not shown:
            return None
        unsure = now.state(label) == NEW and not wider
        return lies if unsure or not now.lies(label, first.tick) else None

    def _is_news(self, member: str, piece: Piece, label: int, late: LateRun | None) -> bool:
        """Whether it becomes visible now, behind what the member was given already."""
        first, view = piece.moving[0].lain, self.views[member]
        now = self.now.get(member, view)
        if lies_at(view, first.label, first.run, first.tick, late) is not None:
            return False
        if view.state(first.label) != CLOSED and first.tick <= view.settled(first.label):
            return False  # it was left out for another reason: it came before all that the member is given
        state = now.state(label)
        # Under a delay, what was released up to a tick is old enough there.
        return state == OPEN or now.lies(label, first.tick) or (state == DELAYED and first.tick <= now.settled(label))

    def states(self, member: str) -> bytes:
        """What labels are to a member by now; nothing where it was never answered."""
        view = self.now.get(member) or self.views.get(member)
        return view.states if view is not None else b""

    @property
    def steps(self) -> int:
        return self.settled + len(self.rows)

    @property
    def rows(self) -> list[tuple[str, bytes, int]]:
        """member, states and `elsewhere` of the views that changed."""
        return [
            (member, self.states(member), self.last_tick if member in self.elsewhere else self.views[member].elsewhere)
            for member in sorted({*self.now, *self.elsewhere})
        ]
