"""Which objects of an act are placed, and where: judged from what the store holds, without asking it anything.

An engine says what it holds of the ids (`Held`), this says what becomes of each object and what has to be written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from exchange.model.instant import instant
from exchange.model.versions import Known, Verdict, judge, leaves_gap
from exchange.store.acts import NewObject, Placed, Removal
from exchange.store.runs import NewRun, cut
from exchange.times import as_text, parse_us

VersionRow = tuple[int, str, str, str, str, str, str, bool, str, bytes, bytes]
"""vid, id, instant, holder, type, version, created, revoked, owner, sha256, item."""
PlacementRow = tuple[str, int, int, int, int, int]
"""collection, tick, label, vid, newer, run."""


FollowedRow = tuple[int, str, str, int, int]
"""Of a version that follows another: its tick, collection, id and label, and the vid of the one before."""

ReferenceRow = tuple[int, str]
"""vid, and an id that the version refers to."""


class Held(NamedTuple):
    """One version with the id of a new object.

    Versions of one id under one holder have one owner and one `created` (model.versions.judge lets no others in), so the
    first speaks for all: beside it, a store need only tell of those of the same instant, the newest before it, the first
    that revokes, and the newest with their twins.
    """

    id: str
    vid: int
    instant: str
    created: str
    revoked: bool
    owner: str
    holder: str
    sha256: bytes
    placed: bool
    """Whether it lies in the new object's collection."""

    @property
    def known(self) -> Known:
        return Known(self.instant, self.created, bool(self.revoked), self.owner, self.holder, self.sha256)


class Going(NamedTuple):
    """An object on its way in: its place in the act, the number of its version where that is held already."""

    new: NewObject
    number: int
    vid: int | None
    newer: int
    gap: bool
    before: int
    """The version before it by the same holder in that collection; 0 for none."""
    label: str
    """What it is to lie under."""

    @property
    def body(self) -> bytes:
        return self.new.object.body


@dataclass(slots=True)
class Judged:
    """What becomes of objects whose ids all differ: none of them bears on another."""

    placed: list[Placed] = field(default_factory=list)
    going: dict[tuple[str, frozenset[str]], list[Going]] = field(default_factory=dict)
    """By what they say themselves, in order of first appearance: the label that they were given, and the types of what they refer to."""
    superseded: list[int] = field(default_factory=list)
    """Versions that a later one joins: to be marked wherever they lie, and their runs as odd."""
    changed: bool = False
    """Rows placed earlier may read differently now."""

    @property
    def labels(self) -> dict[str, NewObject]:
        """Every label that something is to lie under, with something that is."""
        return {
            one.label: one.new
            for (_, kinds), of_label in self.going.items()
            for one in (of_label if kinds else of_label[:1])
        }


_NOTHING: Final = frozenset[str]()


def judge_all(objects: Sequence[NewObject], held: Mapping[str, Sequence[Held]]) -> Judged:
    """The verdicts, and what they ask for."""
    judged = Judged()
    for new in objects:
        verdict, gap = Verdict.STORED, bool(new.previous)
        same, newer = None, 0
        others = held.get(new.object.id, ())
        if others:
            known = [one.known for one in others]
            verdict = judge(new.object, new.owner, new.holder, known)
            same = next((one for one in others if (one.instant, one.holder) == (new.object.instant, new.holder)), None)
            if verdict.success:
                verdict = Verdict.DUPLICATE if same is not None and same.placed else Verdict.STORED
            if verdict is Verdict.STORED:
                gap = leaves_gap(new.object, new.previous, new.holder, known)
                newer = _rivals(new, same, others, judged)
        if verdict is Verdict.STORED:
            vid = same.vid if same is not None else None
            one = Going(new, len(judged.placed), vid, newer, gap, _before(new, others), new.label)
            kinds = frozenset([ref.partition("--")[0] for ref in new.refs]) if new.refs else _NOTHING
            judged.going.setdefault((new.label, kinds), []).append(one)
        judged.placed.append(Placed(verdict))
    return judged


def _before(new: NewObject, held: Sequence[Held]) -> int:
    own = [one for one in held if one.placed and one.holder == new.holder and one.instant < new.object.instant]
    return max(own, key=lambda one: one.instant).vid if own else 0


def _rivals(new: NewObject, same: Held | None, held: Sequence[Held], judged: Judged) -> int:
    """Note what the new version may supersede; 1 when it may itself be superseded (a late old version, or a twin of
    another holder). Only marks: what the reader may see decides which is the latest."""
    rivals = [one for one in held if one is not same]
    if not rivals:
        return 0
    judged.changed = True
    newest = max(one.instant for one in rivals)
    if same is None and new.object.instant >= newest:
        # Every version with a later one was marked when that came; the newest alone can be without a mark.
        judged.superseded += [one.vid for one in rivals if one.instant == newest]
    return int(newest >= new.object.instant)


@dataclass(slots=True)
class Laid:
    """Rows to be written, and the counters behind them."""

    last_tick: int
    next_vid: int
    versions: list[VersionRow] = field(default_factory=list)
    placements: list[PlacementRow] = field(default_factory=list)
    runs: list[NewRun] = field(default_factory=list)
    label_news: dict[int, list[int]] = field(default_factory=dict)
    """What each label gained: [count, last tick]."""
    followed: list[FollowedRow] = field(default_factory=list)
    references: list[ReferenceRow] = field(default_factory=list)


def lay(judged: Judged, labels: Mapping[str, int], time_us: int, laid: Laid) -> None:
    """Give ticks, from laid.last_tick on, by what the objects say themselves: under which labels that lies which one leads to may be
    hidden from who sees it, and bears on no tick. `judged.placed` learns them."""
    time_text = instant(as_text(time_us))
    for (_, kinds), of_label in judged.going.items():
        for part in cut(of_label):
            first = _next_tick(part, time_us, time_text, laid.last_tick)
            laid.last_tick = first + len(part) - 1
            for run in _alike(part) if kinds else (part,):
                name = run[0].label
                _lay_run(judged, run, name, labels[name], first, laid)
                first += len(run)


def _alike(part: Sequence[Going]) -> Iterator[Sequence[Going]]:
    for _, run in groupby(part, key=attrgetter("label")):
        yield list(run)


def _lay_run(judged: Judged, run: Sequence[Going], name: str, label: int, first: int, laid: Laid) -> None:
    for tick, one in enumerate(run, start=first):
        vid = one.vid
        if vid is None:
            vid, laid.next_vid = laid.next_vid, laid.next_vid + 1
            laid.versions.append(_version_row(vid, one.new))
        laid.references += [(vid, ref) for ref in one.new.refs]
        laid.placements.append((one.new.collection, tick, label, vid, one.newer, first))
        if one.before:
            laid.followed.append((tick, one.new.collection, one.new.object.id, label, one.before))
        told = name if one.new.refs else ""
        judged.placed[one.number] = Placed(Verdict.STORED, tick, one.gap, told, not one.newer)
    odd = max(one.newer for one in run)
    laid.runs.append(NewRun(run[0].new.collection, first, label, odd, [one.new.object for one in run]))
    news = laid.label_news.setdefault(label, [0, 0])
    news[0] += len(run)
    news[1] = first + len(run) - 1


def _next_tick(part: Sequence[Going], time_us: int, time_text: str, last_tick: int) -> int:
    """The first tick of a run. An author's clock may run ahead of ours, but no tick lies before its object's `modified`:
    a client whose cursor is the greatest `modified` it saw (Cortex XSOAR) would lose what is added until that moment."""
    tick = max(time_us, last_tick + 1)
    latest = max((one.new.object for one in part), key=lambda obj: obj.instant)
    return tick if latest.instant <= time_text else max(tick, parse_us(latest.version) + 1)


def _version_row(vid: int, new: NewObject) -> VersionRow:
    obj = new.object
    return (vid, obj.id, obj.instant, new.holder, obj.type, obj.version, obj.created, obj.revoked, new.owner, obj.sha256,
            obj.item)  # fmt: skip


def apart(objects: Sequence[NewObject]) -> Iterator[Sequence[NewObject]]:
    """The objects in order, cut where an id comes again: its second version is judged against the first."""
    if len(objects) < 2 or len({new.object.id for new in objects}) == len(objects):
        yield objects
        return
    part: list[NewObject] = []
    seen: set[str] = set()
    for new in objects:
        if new.object.id in seen:
            yield part
            part, seen = [], set()
        part.append(new)
        seen.add(new.object.id)
    yield part


class Lying(NamedTuple):
    """A version as it lies in a collection."""

    vid: int
    instant: str
    owner: str
    version: str
    label: int
    run: int
    tick: int
    facets: str


def chosen(removal: Removal, lying: Sequence[Lying]) -> list[Lying] | None:
    """Which of an id's versions (oldest first) a Removal takes out; None when the object is another's."""
    own = [one for one in lying if one.owner == removal.owner]
    if lying and not own:
        return None
    if "all" in removal.versions or not own:
        return own
    ends = {"first": own[0].instant, "last": own[-1].instant}
    wanted = {ends.get(word, word) for word in removal.versions}
    return [one for one in own if one.instant in wanted]
