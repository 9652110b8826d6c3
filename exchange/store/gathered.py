"""What gathers while the acts of a group are judged, for every engine: what was asked beforehand for all of them, and rows that are
written together.

Acts that do not touch each other's objects leave no trace in the database before the group's end: one that fails is forgotten
here. Where one does touch another's, or must look at what was written, an engine writes what gathered first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any, NamedTuple

from exchange.store.acts import Act, MovedRun, NewObject
from exchange.store.graph import tells_of_citing
from exchange.store.placing import FollowedRow, Held, Judged, Laid, PlacementRow, ReferenceRow, VersionRow, lay
from exchange.store.runs import NewRun, cut

LabelRow = tuple[int, str, str, str, int]
"""id, collection, facets, country, live."""


class Rows(NamedTuple):
    """What is to be written."""

    labels: list[LabelRow]
    versions: list[VersionRow]
    placements: list[PlacementRow]
    runs: list[NewRun]
    superseded: list[int]
    followed: list[FollowedRow]
    references: list[ReferenceRow]
    doubtful: list[int]


@dataclass(frozen=True, slots=True)
class Mark:
    """What `Gathered.reset` needs to forget an act that failed."""

    last_tick: int
    next_vid: int
    changed: bool
    moves: int
    label_news: dict[int, list[int]]
    named: int
    sizes: tuple[int, ...]
    turned: int
    alive: frozenset[int]


@dataclass(slots=True)
class Gathered:
    """The state of a group's placing.

    `laid.label_news` gathers what each label gained. `changed` says that rows placed earlier may read differently now: a
    version got a rival, or went.
    """

    time_us: int
    laid: Laid
    next_label: int
    changed: bool = False
    moves: int = 0
    moved: list[MovedRun] = field(default_factory=list)
    """What became news by the act at hand, beside what it placed."""
    steps: int = 0
    """How many views that was a step of."""
    turned: int = 0
    """How often a label that tells of citing came to hold something, or ceased to, as far as it is written."""
    alive: set[int] = field(default_factory=set)
    """Labels that tell of citing and surely hold something now, and may not have before."""
    doubtful: list[int] = field(default_factory=list)
    """Labels of which it is to be asked."""
    superseded: list[int] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    _named: list[str] = field(default_factory=list)
    """Labels made in this transaction, whether written yet or not."""
    new_labels: list[LabelRow] = field(default_factory=list)
    held: dict[str, list[Held]] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    """Ids of which this transaction wrote something, or of which more than one object comes: what was asked beforehand does not
    do for them."""
    referred: set[str] = field(default_factory=set)
    """Those among the group's ids that something refers to: what is placed under them bears on that."""

    def expect(self, batch: Sequence[Act]) -> list[NewObject]:
        """The objects to ask about beforehand."""
        objects: dict[str, NewObject] = {}
        for act in batch:
            for new in act.objects:
                if new.object.id in objects:
                    self.touched.add(new.object.id)
                else:
                    objects[new.object.id] = new
                self.referred.update(new.refs)
        return list(objects.values())

    def learn(self, ids: Iterable[str], held: Mapping[str, list[Held]]) -> None:
        """What was asked of these ids once more."""
        for id_ in ids:
            self.held.pop(id_, None)
        self.held |= held

    def bears_on_others(self, act: Act) -> bool:
        """Whether the act must see what the group's earlier acts wrote, or writes what only a savepoint can take back."""
        return (
            not act.only_places
            or any(new.refs for new in act.objects)
            or not self.touched.isdisjoint([new.object.id for new in act.objects])
            or not self.referred.isdisjoint([new.object.id for new in act.objects])
        )

    def mark(self) -> Mark:
        laid, self.moved, self.steps = self.laid, [], 0
        news = {label: list(gained) for label, gained in laid.label_news.items()}
        return Mark(
            laid.last_tick, laid.next_vid, self.changed, self.moves, news, len(self._named),
            tuple(map(len, self._rows())), self.turned, frozenset(self.alive),
        )  # fmt: skip

    def _rows(self) -> tuple[list[Any], ...]:
        laid = self.laid
        return (
            laid.versions, laid.placements, laid.runs, laid.followed, laid.references, self.new_labels, self.superseded,
            self.doubtful,
        )  # fmt: skip

    def reset(self, mark: Mark) -> None:
        """Forget an act that failed."""
        laid = self.laid
        laid.last_tick, laid.next_vid, laid.label_news, self.changed, self.moves = (
            mark.last_tick, mark.next_vid, mark.label_news, mark.changed, mark.moves
        )  # fmt: skip
        self.turned, self.alive = mark.turned, set(mark.alive)
        for rows, size in zip(self._rows(), mark.sizes, strict=True):
            del rows[size:]
        for name in self._named[mark.named :]:
            del self.labels[name]
        self.next_label -= len(self._named) - mark.named
        del self._named[mark.named :]

    def name(self, name: str, collection: str, country: str) -> int:
        """The number of a label, which is made where there is none."""
        if name not in self.labels:
            self.labels[name] = self.next_label
            self._named.append(name)
            self.new_labels.append((self.next_label, collection, name, country, 0 if tells_of_citing(name) else -1))
            self.next_label += 1
        return self.labels[name]

    def take(self) -> Rows:
        """What gathered until now, to be written by who asks."""
        laid = self.laid
        placements, runs = _side_by_side(laid.placements, laid.runs)
        rows = Rows(
            self.new_labels, laid.versions, placements, runs, self.superseded, laid.followed, laid.references, self.doubtful
        )  # fmt: skip
        self.new_labels, self.superseded, self.doubtful = [], [], []
        laid.versions, laid.placements, laid.runs, laid.followed, laid.references = [], [], [], [], []
        return rows

    def gather(self, judged: Judged, ids: Iterable[str]) -> None:
        """Lay what was judged, all of whose labels are known. `ids` are those of all the objects."""
        for name, one in judged.labels.items():
            self.name(name, one.collection, one.country)
        before = len(self.laid.runs)
        lay(judged, self.labels, self.time_us, self.laid)
        runs = self.laid.runs[before:]
        telling = {self.labels[name] for name in judged.labels if tells_of_citing(name)}
        self.alive.update([run.label for run in runs if not run.odd and run.label in telling])
        self.doubtful += {run.label for run in runs if run.odd}
        self.superseded += judged.superseded
        self.changed = self.changed or judged.changed
        self.touched.update(ids)


def _side_by_side(placements: list[PlacementRow], runs: list[NewRun]) -> tuple[list[PlacementRow], list[NewRun]]:
    """The same in as few runs as may be: what several acts placed under one label lies in one run if there is no tick between."""
    joined: list[NewRun] = []
    before = 0

    def place(run: NewRun) -> tuple[str, int, int, int]:
        """Alike for neighbours: without a gap, ticks rise as objects are counted."""
        nonlocal before
        before += len(run.objects)
        return run.collection, run.label, run.odd, run.first_tick + len(run.objects) - before

    for _, neighbours in groupby(runs, key=place):
        first, *others = neighbours
        if not others:
            joined.append(first)
            continue
        tick = first.first_tick
        for objects in cut(list(chain(first.objects, *(run.objects for run in others)))):
            joined.append(first._replace(first_tick=tick, objects=objects))
            tick += len(objects)
    if len(joined) < len(runs):
        ticks = chain.from_iterable([run.first_tick] * len(run.objects) for run in joined)
        placements = [(*row[:-1], tick) for row, tick in zip(placements, ticks, strict=True)]
    return placements, joined
