"""How a step of a member's view becomes rows, for every engine (docs/decisions/0013-late-release.md says why)."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import orjson

from exchange.model.view import CLOSED, NEW, NOW, LateRun, View, Window
from exchange.store.acts import Stepped, Turn, ViewChange, Waiting

Windows = tuple[Window, ...]

ALIKE = 1_000
"""How many different ones are kept of what is worked out by the windows of a label: those of labels that turned together are alike."""


class Ripe(NamedTuple):
    """A run that is to be released late."""

    run: int
    size: int
    label: int
    collection: str


class Kept(NamedTuple):
    """A `view_label` row: the native ticks of a label that are shown, and up to where the rest was released late."""

    label: int
    windows: Windows
    done: int

    @classmethod
    def of(cls, label: int, windows: str, done: int) -> "Kept":
        return cls(label, _read(windows), done)

    @classmethod
    def after(cls, turn: Turn, last_tick: int) -> "Kept":
        """What a label's row becomes when it turns behind `last_tick`."""
        return cls(turn.label, _stamped(turn.windows, last_tick), turn.done)

    @property
    def columns(self) -> tuple[int, str, int]:
        return self.label, _written(self.windows), self.done

    def gaps(self, until_us: int) -> Sequence[Window]:
        """The native ticks from `done` to `until_us` that are not shown where they are."""
        return _gaps(self.windows, self.done, until_us)


@lru_cache(ALIKE)
def _read(windows: str) -> Windows:
    return tuple([Window(*one) for one in orjson.loads(windows)])


@lru_cache(ALIKE)
def _written(windows: Windows) -> str:
    return orjson.dumps(list(map(list, windows))).decode()


@lru_cache(ALIKE)
def _stamped(windows: Windows, last_tick: int) -> Windows:
    return tuple([Window(*(last_tick if tick == NOW else tick for tick in one)) for one in windows])


@lru_cache(ALIKE)
def _gaps(windows: Windows, done: int, until_us: int) -> Sequence[Window]:
    found, after = [], done
    for window in sorted(windows):
        if window.after > after:
            found.append(Window(after, min(window.after, until_us)))
        after = max(after, window.until)
    return tuple([one for one in [*found, Window(after, until_us)] if one.after < one.until])


def opened(change: ViewChange, last_tick: int) -> tuple[dict[int, Kept], list[Kept]]:
    """The rows of the labels that turn and do not close, by label; and those of them that nothing waits under, to be written as they
    are: the others are when it is known up to where it went."""
    kept = {turn.label: Kept.after(turn, last_tick) for turn in change.turns if turn.opens}
    waiting = {one.label for one in change.waiting}
    return kept, [one for one in kept.values() if one.label not in waiting]


def closed_and_anew(change: ViewChange) -> tuple[list[int], list[int]]:
    """The labels that close, and those that open and were closed: what is left of either is forgotten."""
    closed = [turn.label for turn in change.turns if not turn.opens]
    return closed, [turn.label for turn in change.turns if turn.opens and turn.anew]


def follows(change: ViewChange, number: int, owes: int) -> bool:
    """Whether it is a step of the view as it is. While a recall owes where something lay, nothing comes to lie elsewhere."""
    return change.number == number and not (owes and any(turn.anew for turn in change.turns))


def forgotten(runs: Iterable[LateRun], anew: Sequence[int]) -> tuple[LateRun, ...]:
    """Those of labels that close."""
    left = set(anew)
    return tuple([run for run in runs if run.label not in left])


def stepped(view: View, change: ViewChange, step: Stepped) -> View:
    """What a view became, as `Store.view` would tell it."""
    windows, done = view.windows, view.done
    changed = {*closed_and_anew(change)[0], *[one[0] for one in step.kept]}
    if changed:
        windows = {label: shown for label, shown in windows.items() if label not in changed}
        done = {label: until for label, until in done.items() if label not in changed}
        windows.update({label: shown for label, shown, _ in step.kept})
        done.update({label: until for label, _, until in step.kept})
    last_tick = max(view.last_tick, step.late[-1].last_tick if step.late else 0)
    return View(
        view.member, change.number + 1, change.states, change.floor, last_tick, view.born if view.number else step.born,
        step.changes, change.until_us, view.elsewhere, view.owes or change.owes, windows, done,
    )  # fmt: skip


def lies_at(view: View, label: int, run: int, tick: int, late: LateRun | None) -> int | None:
    """The tick at which a row of a run lies in the view as it is written, shown yet or not; None when it is closed, or waits."""
    if view.state(label) == CLOSED:
        return None
    if late is not None:
        return tick - run + late.tick
    return tick if view.lies(label, tick) else None


def shown_at(view: View, label: int, run: int, tick: int, late: LateRun | None) -> int | None:
    """The same of a row that can have been shown."""
    if view.state(label) == NEW:  # it came under the label since, from where it was shown
        return None if late is None else tick - run + late.tick
    return None if (run if late is None else late.tick) > view.until_us else lies_at(view, label, run, tick, late)


def view_of(member: str, row: tuple[int, bytes, int, int, int, int, int, int, int], kept: Iterable[Kept]) -> View:
    """The view that these rows state: `row` is number, states, floor, last_tick, born, changes, until_us, elsewhere, owes."""
    labels = list(kept)
    return View(member, *row[:8], bool(row[8]), {one.label: one.windows for one in labels},
                {one.label: one.done for one in labels})  # fmt: skip


def fresh(ripe: Sequence[Ripe], tick: int) -> list[LateRun]:
    """The runs with ticks from `tick` on, one for each of their objects."""
    released = []
    for one in ripe:
        released.append(LateRun(tick, one.run, one.size, one.label))
        tick += one.size
    return released


def first(found: Iterable[Ripe], at_most: int) -> tuple[list[Ripe], bool]:
    """The earliest of them, in the order they were placed in, and whether there are more."""
    ripe = sorted(found)
    return ripe[:at_most], len(ripe) > at_most


def released(waiting: Waiting, kept: Kept, last_tick: int, ripe: Sequence[Ripe], *, cut: bool) -> Kept:
    """A label's row after the step."""
    until = until_of(waiting, last_tick)
    return Kept(kept.label, kept.windows, max(kept.done, min(until, ripe[-1].run) if cut else until))


def until_of(waiting: Waiting, last_tick: int) -> int:
    return last_tick if waiting.until_us == NOW else waiting.until_us
