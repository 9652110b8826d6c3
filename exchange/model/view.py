"""How a collection lies for one member: where it was placed, or with fresh ticks where it became visible later."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

NOW = -1
EVER = 2**62
"""Later than any tick."""

CLOSED, OPEN, DELAYED, NEW = b"codn"
"""What a label is to a member: not to be seen; to be seen where it was placed; to be seen some time after it was placed. New: not
written down yet, as those are that came up since."""


class Window(NamedTuple):
    """Native ticks that are shown where they are: after < tick <= until."""

    after: int
    until: int


class LateRun(NamedTuple):
    """A run that was released late: its objects have `tick`, tick + 1, … in place of `run`, run + 1, …"""

    tick: int
    run: int
    size: int
    label: int

    @property
    def last_tick(self) -> int:
        return self.tick + self.size - 1


def late_tick(late: Sequence[LateRun], tick: int) -> int | None:
    """The tick that a row has among what was released late (in the order of placement), by the one it was placed at."""
    place = bisect_right(late, tick, key=lambda run: run.run) - 1
    run = late[place] if place >= 0 else None
    return tick - run.run + run.tick if run is not None and tick < run.run + run.size else None


_ANOTHER = re.compile(rb"[^\0]")


def turned(before: bytes, after: bytes) -> Iterator[int]:
    """The labels of `before` that are something else in `after`. As one number they are compared at once, however many differ."""
    size = min(len(before), len(after))
    both = int.from_bytes(before[:size]) ^ int.from_bytes(after[:size])
    return (found.end() for found in _ANOTHER.finditer(both.to_bytes(size)))


@dataclass(frozen=True)
class Turned:
    """Labels that are something else than what was written of them, in the order of their ids. New ones are not among them: what lies
    under them was placed since, or is shown."""

    opens: tuple[int, ...]
    """They were closed."""
    closes: tuple[int, ...]
    others: tuple[int, ...]

    @cached_property
    def all(self) -> frozenset[int]:
        return frozenset((*self.opens, *self.closes, *self.others))


@lru_cache(64)
def turns(before: bytes, after: bytes) -> Turned:
    """Members of one kind stand alike: when an agreement changes, it is worked out for the first of them."""
    opens, closes, others = list[int](), list[int](), list[int]()
    for label in turned(before, after):
        was = before[label - 1]
        if was != NEW:
            (opens if was == CLOSED else closes if after[label - 1] == CLOSED else others).append(label)
    return Turned(tuple(opens), tuple(closes), tuple(others))


@dataclass(frozen=True)
class View:
    """One member's view, as it was last written. It is never cut inside a run: ticks of one run are all in a window, or none."""

    member: str
    number: int
    """Rises with each step."""
    states: bytes
    """By label id, from 1 on. Labels beyond are new, and lie where they were placed."""
    floor: int
    """Nothing that was placed up to here is shown: the bound of the agreement for what a new member is given."""
    last_tick: int
    """Of what was released late; 0 when nothing was."""
    born: int
    """The tick at which the member was first answered."""
    changes: int = 0
    """How many changes of registry and agreement there had been when it was written: what it was judged by."""
    until_us: int = EVER
    """The last tick that can have been shown by those rules: they hold no longer, or cease to. It sinks with the first change
    after `changes`, whether the view was read since or not."""
    elsewhere: int = 0
    """When something last came under another label that is not shown where it was placed; 0 when nothing did."""
    owes: bool = False
    """Whether of labels that closed is kept what a recall is still to say: until it does, none of them opens."""
    windows: Mapping[int, tuple[Window, ...]] = field(default_factory=dict, hash=False)
    """By label. A label that is not named is shown wherever it was placed. No pair is made for any of them: thousands of labels
    turn at once for each member, and a collection of garbage that finds so many new pairs stops everybody."""
    done: Mapping[int, int] = field(default_factory=dict, hash=False)
    """By the same labels: up to where what no window shows has been released late."""

    def state(self, label: int) -> int:
        return self.states[label - 1] if label <= len(self.states) else NEW

    def settled(self, label: int) -> int:
        """Up to this tick, whatever was placed under the label is shown already, or never will be."""
        tick = self.done.get(label, self.floor)
        for window in sorted(self.windows.get(label, ())):
            if window.after <= tick:
                tick = max(tick, window.until)
        return tick

    @cached_property
    def shape(self) -> tuple[str, int, tuple[int, ...], tuple[tuple[Window, ...], ...]]:
        """Equal ones, and only later late runs in the same member's, place everything alike."""
        labels = tuple(sorted(self.windows))
        shown = tuple(map(self.windows.__getitem__, labels))
        return self.member if self.last_tick else "", self.floor, labels, shown

    def native(self, label: int, tick: int) -> bool:
        """Whether a row that was placed at a tick is shown there."""
        windows = self.windows.get(label)
        return tick > self.floor and (windows is None or any(after < tick <= until for after, until in windows))

    def lies(self, label: int, tick: int) -> bool:
        """The same by what the label is to the member."""
        state = self.state(label)
        return state != CLOSED and (state != DELAYED or label in self.windows) and self.native(label, tick)
