"""Where what closed lay in a member's view, for the notice of its recall to name.

Either a recall says it from the start, or it owes it: then it names the labels alone, what is kept of them stays in the view, and
`settled` says it when that is forgotten.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

import orjson

from exchange.model.view import EVER, LateRun, View, Window

ALL = Window(0, EVER)
_RUN = attrgetter("run")


@dataclass
class Scope:
    """By native ticks, since what became visible late has them too."""

    view: View
    until_us: int
    """The last tick that was shown by the rules that the view was written by: nothing behind it was given under what closes."""
    late: Mapping[int, Sequence[LateRun]]
    """What was released late under the labels that close, in the order of placement."""

    _placed: dict[tuple[Window, ...], list[list[int]]] = field(default_factory=dict)

    def of(self, labels: Iterable[int], open_then: Sequence[int]) -> bytes:
        shown = {label: self._shown(label) for label in labels}
        ends = [until for windows in shown.values() for _, until in windows] if self.view.elsewhere else []
        told = {"until": max([self.until_us, *ends]), "labels": shown, "open": open_then}
        return orjson.dumps(told, option=orjson.OPT_NON_STR_KEYS)

    def _shown(self, label: int) -> list[list[int]]:
        native, late = self.view.windows.get(label), self.late.get(label)
        if native is None:
            # It has late runs and no windows only if it came under the label when others were not to be seen.
            native = (ALL,)
        placed = self._placed.get(native)
        if placed is None:
            placed = self._placed[native] = list(self._cut(native))
        return [*placed, *self._late(late)] if late else placed

    # Lists as they are told, and no windows: of thousands of labels at once they cost an eighth of what a step takes.

    def _cut(self, windows: Iterable[Window]) -> Iterator[list[int]]:
        """Not before the view begins, nor behind what was shown."""
        for after, until in windows:
            begin, end = max(after, self.view.floor), min(until, self.until_us)
            if begin < end:
                yield [begin, end]

    def _late(self, late: Sequence[LateRun]) -> list[list[int]]:
        if self.view.elsewhere:  # what came under the label when others that lie around it were not to be seen
            return [[run.run - 1, run.run + run.size - 1] for run in late if run.tick <= self.until_us]
        # Released in order and without a gap, but for what a window shows.
        begin, end = late[0].run - 1, min(late[-1].run + late[-1].size - 1, self.until_us)
        return [[begin, end]] if begin < end else []


class Owed(NamedTuple):
    """A recall that names the labels alone."""

    recall: str
    until_us: int
    labels: Sequence[int]
    open_then: Sequence[int]

    @classmethod
    def of(cls, recall: str, scope: bytes) -> "Owed":
        said = orjson.loads(scope)
        return cls(recall, said["until"], said["labels"], said["open"])


def owed(labels: Sequence[int], until_us: int, open_then: Sequence[int]) -> bytes:
    """What such a recall says: `Owed.of` reads it."""
    return orjson.dumps({"until": until_us, "labels": labels, "open": open_then})


def is_owed(scope: bytes) -> bool:
    """Whether it names the labels alone."""
    try:
        return bool(scope) and isinstance(orjson.loads(scope)["labels"], list)
    except (ValueError, KeyError, TypeError):
        return False


def settled(view: View, recalls: Iterable[Owed], late: Iterable[LateRun]) -> list[tuple[bytes, str]]:
    """The scope and the id of each, by the view with all that is kept of their labels, and what was released late under those."""
    runs = by_label(late)
    return [(Scope(view, one.until_us, runs).of(one.labels, one.open_then), one.recall) for one in recalls]


def by_label(late: Iterable[LateRun]) -> dict[int, list[LateRun]]:
    """Each label's in the order of placement."""
    found: dict[int, list[LateRun]] = defaultdict(list)
    for run in sorted(late, key=_RUN):
        found[run.label].append(run)
    return found
