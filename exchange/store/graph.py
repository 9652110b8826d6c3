"""What connects objects is labelled with the labels of all that it connects: judged from what the store holds.

An engine drives these generators: each yields a question, and is sent the rows that answer it. docs/decisions/0014-graphs.md
says why.
"""

from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from exchange.model.stix import SCO_TYPES
from exchange.model.view import CLOSED, NEW
from exchange.store.acts import MovedObject
from exchange.store.answers import CitingRow
from exchange.store.placing import Judged
from policies.label import Label

REACH_AT_MOST: Final = 20_000
"""Objects that one leads to, whatever the way. What leads to more is for its originator alone."""

Alternatives = tuple[str, ...]
"""The labels that an object lies under, as texts: whoever may have one of them may have the object."""

_VALUE: Final = ("value",)


class End(NamedTuple):
    """A version as it lies in a collection, with what it refers to itself."""

    id: str
    holder: str
    collection: str
    instant: str
    facets: str
    refs: tuple[str, ...]


class Lain(NamedTuple):
    """A placement of something that refers to others."""

    vid: int
    id: str
    version: str
    sha256: bytes
    item: bytes
    collection: str
    tick: int
    label: int
    facets: str
    country: str
    newer: int
    run: int
    refs: tuple[str, ...]

    @property
    def object(self) -> MovedObject:
        return MovedObject(self.id, self.version, self.sha256, self.item)


class EndsOf(NamedTuple):
    """Question: every placement of these ids (End)."""

    ids: Sequence[str]


class ReferringTo(NamedTuple):
    """Question: the versions that refer to any of these ids (their id, vid)."""

    ids: Sequence[str]


class PlacementsOf(NamedTuple):
    """Question: every placement of these versions (Lain)."""

    vids: Sequence[int]


class Moving(NamedTuple):
    """A placement that is to lie under another label."""

    lain: Lain
    facets: str


class Again(NamedTuple):
    """Under which label something lay, at which tick, and where it lies since."""

    former: int
    placed: int
    label: int
    tick: int


class Reach:
    """What a few objects lead to: the ids, and under which labels each lies."""

    def __init__(self, incoming: Iterable[End] = ()) -> None:
        self._incoming = defaultdict(list)
        for one in incoming:
            self._incoming[one.id].append(one)
        self._known: dict[str, tuple[Alternatives, tuple[str, ...]]] = {}

    def find(self, refs: Iterable[str]) -> Generator[EndsOf, Sequence[End], None]:
        wanted = set(refs) - self._known.keys()
        while wanted and len(self._known) <= REACH_AT_MOST:
            rows = defaultdict(list)
            for row in (yield EndsOf(sorted(wanted))):
                rows[row.id].append(row)
            for one in wanted:
                self._known[one] = _newest([*rows[one], *self._incoming[one]])
            wanted = {ref for one in wanted for ref in self._known[one][1]} - self._known.keys()

    def label(self, facets: str, refs: Sequence[str], object_id: str) -> str:
        """The label of an object of which the label itself says `facets`."""
        own, ends, seen, ahead = alone(facets), set[Alternatives](), {object_id}, list(refs)
        while ahead:
            one = ahead.pop()
            if one in seen:
                continue
            seen.add(one)
            if one not in self._known or len(seen) > REACH_AT_MOST:
                return _refused(own)
            alternatives, further = self._known[one]
            ends.add(alternatives)
            if not alternatives and one.partition("--")[0] in SCO_TYPES:
                ends.add(_VALUE)
            ahead += further
        return _joined(own, frozenset(ends))


def _newest(rows: Iterable[End]) -> tuple[Alternatives, tuple[str, ...]]:
    """Of each holder in each collection the newest version speaks: who tightens a marking tightens it for what was before."""
    newest: dict[tuple[str, str], End] = {}
    for row in rows:
        place = (row.collection, row.holder)
        if place not in newest or row.instant >= newest[place].instant:
            newest[place] = row
    alternatives = {_as_end(row.facets) for row in newest.values()}
    return tuple(sorted(alternatives)), tuple(dict.fromkeys(ref for row in newest.values() for ref in row.refs))


@lru_cache(20_000)
def alone(facets: str) -> str:
    """What a label says of the object itself, as text."""
    return Label.decode(facets).alone.encode() if not facets.endswith('"ends":[]}') else facets


@lru_cache(20_000)
def _as_end(facets: str) -> str:
    return Label.decode(facets).as_end.encode()


def tells_of_citing(facets: str) -> bool:
    """Whether what lies under a label cites something, or may be opened by what cites it. What its ends say comes behind."""
    _, found, said = facets.partition('"named":')
    return bool(found) and not said.startswith('"","marked":false,"cites":[]')


def citing_of(rows: Sequence[Sequence[Any]]) -> tuple[int, list[CitingRow]]:
    """What an engine's rows say; of a hub without such labels there is one, without a label."""
    return rows[0][0], [CitingRow(label, live == 1, facets) for _, label, live, facets in rows if label is not None]


@lru_cache(20_000)
def _joined(own: str, ends: frozenset[Alternatives]) -> str:
    label = Label.decode(own)
    value = label.value_at_end()
    return label.joined(
        (value,) if end == _VALUE else tuple(map(Label.decode, end)) for end in ends
    ).encode()  # fmt: skip


def _refused(own: str) -> str:
    """A label whose end cannot be evaluated, hence is denied."""
    label = Label.decode(own)
    return label.joined([[replace(label.as_end, tlp="")]]).encode()


def join(judged: Judged) -> Generator[EndsOf, Sequence[End], None]:
    """Put what refers to others, among the objects of an act, under the labels of what it connects."""
    going = [one for of_label in judged.going.values() for one in of_label]
    if not any(one.new.refs for one in going):
        return
    reach = Reach(
        End(new.object.id, new.holder, new.collection, new.object.instant, new.label, new.refs)
        for new in (one.new for one in going)
    )
    yield from reach.find([ref for one in going for ref in one.new.refs])
    for of_label in judged.going.values():
        of_label[:] = [
            one._replace(label=reach.label(one.label, one.new.refs, one.new.object.id)) if one.new.refs else one
            for one in of_label
        ]


def followers(
    changed: Collection[str], placed: Collection[int]
) -> Generator[ReferringTo | PlacementsOf | EndsOf, Sequence[tuple[object, ...]], list[Moving]]:
    """What must lie under another label, since these ids lie otherwise than before. `placed` are versions that do already."""
    seen, asked, versions = set(changed), list(changed), set[int]()
    while asked:
        rows = yield ReferringTo(asked)
        versions |= {row[1] for row in rows}  # type: ignore[misc]
        asked = sorted({str(row[0]) for row in rows} - seen)
        seen |= set(asked)
    versions -= set(placed)
    if not versions:
        return []
    lain: Sequence[Lain] = yield PlacementsOf(sorted(versions))  # type: ignore[assignment]
    reach = Reach()
    yield from reach.find([ref for one in lain for ref in one.refs])
    judged = [Moving(one, reach.label(one.facets, one.refs, one.id)) for one in lain]
    return [one for one in judged if one.facets != one.lain.facets]


def still_named(scope: bytes, again: Iterable[Again], states: bytes) -> bytes | None:
    """What a recall without a notice says of where what closed lay, when some of it lies elsewhere now; None when none of it does.
    `states`: what labels are to its member. What it may have again, it is not to drop."""
    said = orjson.loads(scope)
    labels: dict[str, list[tuple[int, int]]] = said["labels"]
    found = [
        one
        for one in again
        if any(after < one.placed <= until for after, until in labels.get(str(one.former), ()))
        and (one.label > len(states) or states[one.label - 1] in (CLOSED, NEW))
    ]
    for one in found:
        labels.setdefault(str(one.label), []).append((one.tick - 1, one.tick))
        said["until"] = max(said["until"], one.tick)
    return orjson.dumps(said) if found else None
