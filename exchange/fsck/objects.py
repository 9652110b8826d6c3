"""Objects: their bytes as they lie in runs, the rows that index them, the labels they lie under, and the leaves that tell of them."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Any

import orjson

from certs.signature import NOTICE
from exchange.fsck.findings import Findings, Progress, PutBack
from exchange.fsck.logs import Ahead, as_bytes
from exchange.fsck.scratch import Scratch
from exchange.ledger.merkle import root
from exchange.model.instant import instant
from exchange.model.references import citations, may_refer, references
from exchange.model.stix import StixObject, item_hash
from exchange.store.graph import tells_of_citing
from exchange.store.runs import extent
from exchange.store.scan import Cells, Scan, literal
from exchange.store.sqlite_read import id_key
from exchange.times import parse_us
from policies.label import Label

_STEP = 1000
_HASH = 32

_LIVE = (
    "SELECT DISTINCT p.label FROM placement p JOIN object o ON o.vid = p.vid WHERE NOT EXISTS (SELECT 1 FROM object n"
    " JOIN placement q ON q.vid = n.vid WHERE {key} n.id = o.id AND n.holder = o.holder AND n.instant > o.instant"
    " AND q.collection = p.collection)"
)

_PLACED = (
    "SELECT p.tick, p.collection, p.label, p.vid, p.run, o.id, o.version, o.sha256, o.item, o.instant, o.type, o.revoked,"
    " o.created FROM placement p LEFT JOIN object o ON o.vid = p.vid ORDER BY p.tick"
)


@dataclass(frozen=True, slots=True)
class _Placed:
    tick: int
    collection: str
    label: int
    vid: int
    run: int
    id: str | None
    version: str
    sha256: bytes
    item: bytes
    instant: str
    type: str
    revoked: int
    created: str

    @classmethod
    def of(cls, row: Cells) -> "_Placed":
        cells: list[Any] = list(row)
        cells[7:9] = map(as_bytes, cells[7:9])
        return cls(*cells)

    @property
    def key(self) -> str:
        return f"{self.collection}/{self.tick}"

    @property
    def sound(self) -> bool:
        """Whether the object's row agrees with itself."""
        return self.item == item_hash(str(self.id), self.version, self.sha256)


@dataclass(slots=True)
class ObjectCheck:
    scan: Scan
    findings: Findings
    scratch: Scratch
    progress: Progress
    _lying: Counter[int] = field(default_factory=Counter)
    """Placements by label."""
    _labels: dict[int, Cells] = field(default_factory=dict)
    _decoded: dict[int, Label | None] = field(default_factory=dict)
    _live: set[int] = field(default_factory=set)
    """Labels under which the newest version of something lies."""
    _suspect: dict[int, str] = field(default_factory=dict)
    """Runs that a leaf contradicts: by first tick, which leaf."""
    _released_else: list[str] = field(default_factory=list)
    """Leaves that speak of other items than lie at their ticks, unless it is the runs."""
    _notices: set[bytes] = field(default_factory=set)
    """Items of the hub's notices, which nobody submitted."""
    _unfound: list[str] = field(default_factory=list)
    """Leaves that tell of notices of which nothing is there."""
    last_tick: int = 0

    # --- what leaves say of them; called leaf by leaf ---

    async def take(self, log: str, index: int, leaf: Mapping[str, Any], private: Any) -> None:
        pub, name = leaf["pub"], f"{log}/{index}"
        kind = leaf["t"]
        if kind == "submit" and all(isinstance(pub.get(one), str) for one in ("object", "version", "sha256")):
            self.scratch.submit(pub["object"], pub["version"], pub["sha256"], name)
        elif kind == "withdraw" and isinstance(pub.get("object"), str):
            self.scratch.take_out(pub["object"])
        elif kind == "publish" and pub.get("items_root"):
            first, last = parse_us(pub["first"]), parse_us(pub["last"])
            # Where an act went to two logs its ticks are told in two leaves, with gaps: those are not one range.
            if last - first + 1 == pub["count"]:
                await self._published(
                    name, first, pub["count"], pub["items_root"], notices=pub.get("cause") == "notice"
                )
        elif kind == "release" and isinstance(private, dict) and "ticks" in private:
            await self._released(name, leaf, private["ticks"])

    async def _published(self, leaf: str, first: int, count: int, items_root: str, *, notices: bool) -> None:
        found = await self._items(first, count)
        if found is None:
            self._unfound += [leaf] if notices else []
            return  # what is not there is told where it is missing
        self._notices.update(found if notices else ())
        if root(found).hex() != items_root:
            runs = [run for run, *_ in await self._runs(first, count)]
            self._suspect.update(dict.fromkeys(runs, leaf))

    async def _released(self, leaf: str, event: Mapping[str, Any], ticks: Sequence[Sequence[int]]) -> None:
        """What was released where it was placed. Under a view's own ticks it may have been forgotten which runs those were."""
        items: list[bytes] = []
        for first, count in ticks:
            part = await self._items(first, count)
            if part is None:
                return
            items += part
        if root(items).hex() != event["pub"].get("items_root"):
            self._released_else.append(leaf)
            del self._released_else[100:]

    async def _runs(self, first: int, count: int) -> list[Cells]:
        last = int(first) + int(count) - 1
        return [row async for row in self.scan.rows(
            "SELECT first_tick, count, items FROM run"
            f" WHERE first_tick BETWEEN {int(first) - 64} AND {last} AND first_tick + count > {int(first)} ORDER BY first_tick"
        )]  # fmt: skip

    async def _items(self, first: int, count: int) -> list[bytes] | None:
        """The item hashes at these ticks, None where a tick lies in no run."""
        items: list[bytes] = []
        for start, _, kept in await self._runs(first, count):
            cut = as_bytes(kept)
            begin, end = max(first - start, 0), min(first + count - start, len(cut) // _HASH)
            if start + begin != first + len(items):
                return None
            items += [cut[n * _HASH : (n + 1) * _HASH] for n in range(begin, end)]
        return items if len(items) == count else None

    # --- runs and placements ---

    async def run(self, put_back: PutBack) -> None:
        """After the leaves were read."""
        async for label, count in self.scan.rows("SELECT label, count(*) FROM placement GROUP BY label ORDER BY label"):
            self._lying[label] = count
        async for row in self.scan.rows(
            "SELECT id, collection, placements, last_tick, facets, country, live FROM label ORDER BY id"
        ):
            self._labels[row[0]] = row
        async for (label,) in self.scan.rows(_LIVE.format(key="n.id_key = o.id_key AND" if self.scan.keyed else "")):
            self._live.add(label)
        placed = await Ahead.of(self.scan.rows(_PLACED))
        done = 0
        async for row in self.scan.rows(
            "SELECT first_tick, collection, label, count, ends, items, bodies FROM run ORDER BY first_tick"
        ):
            first, _, _, count, *_ = row
            async for one in placed.upto(first - 1):
                self._homeless(_Placed.of(one))
            mine = [_Placed.of(one) async for one in placed.upto(first + max(count, 1) - 1)]
            self.last_tick = max(self.last_tick, first + count - 1)
            await self._run(row, mine)
            done += 1
            if done % 20 == 0:
                self.progress("run", 20)
                await asyncio.sleep(0)
        async for one in placed.upto(2**63):
            self._homeless(_Placed.of(one))
        self._judge_leaves()
        await self._references()
        self._judge_labels()
        await self._objects(put_back)

    def _judge_leaves(self) -> None:
        """What leaves contradict, where no run is found to be why."""
        if not self._told("run"):
            for first, leaf in self._suspect.items():
                self.findings.add("run-published", "run", first, leaf)
        if not self._told("run"):
            for leaf in self._released_else:
                self.findings.add("release-root", "leaf", leaf)

    def _homeless(self, one: _Placed) -> None:
        """A placement in no run: a row too many, or a run too few."""
        known = self._labels.get(one.label)
        if known is None or self._lying[one.label] > known[2]:
            self.findings.add("placement-extra", "placement", one.key)
        else:
            self.findings.add("run-missing", "run", one.run)

    async def _run(self, row: Cells, placed: Sequence[_Placed]) -> None:
        first, collection, label, count = row[:4]
        ends, items, bodies = (as_bytes(cell) for cell in row[4:])
        if not self._sound_run(row[:4], (ends, items, bodies), placed):
            return
        by_position = {one.tick - first: one for one in placed}
        for position in range(count):
            begin, end = extent(ends, position, position + 1)
            body, item = bodies[begin:end], items[_HASH * position : _HASH * (position + 1)]
            one = by_position.get(position)
            if one is None:
                if body:
                    self.findings.add("placement-missing", "placement", f"{collection}/{first + position}")
                continue
            if (one.run, one.label, one.collection) != (first, label, collection):
                names = ("run", "label", "collection")
                was = zip(names, (one.run, one.label, one.collection), (first, label, collection), strict=True)
                detail = ", ".join(name for name, mine, its in was if mine != its)
                self.findings.add("placement-differs", "placement", one.key, detail)
                continue
            beside = [by_position.get(at) for at in (position - 1, position + 1)]
            in_turn = all(two is None or two.vid - one.vid == two.tick - one.tick for two in beside)
            await self._one(first, one, body, item, in_turn=in_turn)

    def _sound_run(self, row: Cells, cells: tuple[bytes, bytes, bytes], placed: Sequence[_Placed]) -> bool:
        """Whether the run agrees with itself, with its label, and with what was published."""
        first, collection, label, count = row
        wrong = self._form(count, *cells)
        if wrong is None and placed:
            if all(one.label != label for one in placed):
                wrong = "label"
            elif all(one.collection != collection for one in placed):
                wrong = "collection"
            elif len(placed) > 1 and not any(_lies(one, first, cells[1]) for one in placed):
                wrong = "items"  # all of it is another's
        known = self._labels.get(label)
        if wrong is not None:
            self.findings.add("run-form", "run", first, wrong)
        elif cells[2].strip(b",") and not placed and known is not None and self._lying[label] >= known[2]:
            self.findings.add("run-extra", "run", first)
        elif first in self._suspect and not all(_lies(one, first, cells[1]) for one in placed):
            self.findings.add("run-published", "run", first, self._suspect[first])
        else:
            if known is not None and known[1] != collection:
                self.findings.add("label-differs", "label", label, "collection")
            return True
        return False

    def _form(self, count: int, ends: bytes, items: bytes, bodies: bytes) -> str | None:
        if len(ends) != 4 * count:
            return "count" if len(ends) // 4 == len(items) // _HASH else "ends"
        if len(items) != _HASH * count:
            return "items"
        places = [int.from_bytes(ends[n : n + 4], "little") for n in range(0, len(ends), 4)]
        if any(later <= sooner for sooner, later in pairwise(places)):
            return "ends"
        if not places or places[-1] != len(bodies):
            return "bodies"
        return None if all(bodies[end : end + 1] == b"," for end in places[:-1]) else "ends"

    async def _one(self, first: int, one: _Placed, body: bytes, item: bytes, *, in_turn: bool) -> None:
        """A placement, the object's row, the bytes, and the item hash kept beside them: which of the four is alone?"""
        if not body:
            self.findings.add("placement-extra", "placement", one.key)
            return
        digest = sha256(body).digest()
        obj, refs = _parsed(body)
        whole = obj is not None and obj.item == item
        if one.id is None or (whole and one.sound and one.item != item):
            await self._which(one, obj, item, in_turn=in_turn)
        elif obj is None or (digest != one.sha256 and one.sound):
            self.findings.add("run-bytes", "run", first, one.tick)
        elif (wrong := _differs(obj, one)) is not None:
            self.findings.add("object-differs", "object", one.vid, wrong)
        elif item != one.item:
            self.findings.add("run-form", "run", first, "items")
        else:
            self.scratch.refer(one.vid, refs)
            self._cites(one, body)

    def _cites(self, one: _Placed, body: bytes) -> None:
        """What a label says of its objects' citing opens what they cite: it must be true of each. One that is curbed says nothing."""
        if one.label not in self._decoded:
            self._decoded[one.label] = _label(self._labels[one.label][4]) if one.label in self._labels else None
        label = self._decoded[one.label]
        if label is not None and label.cites and label.cites != citations(orjson.loads(body)):
            self.findings.add("label-differs", "label", one.label, "cites")
        elif label is not None and label.named not in ("", one.id):
            self.findings.add("label-differs", "label", one.label, "named")

    async def _which(self, one: _Placed, obj: StixObject | None, item: bytes, *, in_turn: bool) -> None:
        """The placement names another object than the one whose bytes it places, or one that is not there. `in_turn`: its number
        follows its neighbours', as both do when they are new; then the object's row is the one out of place."""
        if obj is not None:
            sql = f"SELECT vid, item FROM object WHERE id = {literal(obj.id)} ORDER BY vid"
            async for vid, found in self.scan.rows(sql):
                if as_bytes(found) == item and vid != one.vid:
                    if in_turn and one.id is not None:
                        self.findings.add("object-differs", "object", one.vid, "vid")
                    else:
                        self.findings.add("placement-differs", "placement", one.key, "vid")
                    return
        self.findings.add("object-missing", "object", one.vid, one.key)

    # --- references, labels and objects ---

    async def _references(self) -> None:
        """What leads to an object is found by these rows when the object is marked otherwise or goes."""
        key_column = "id_key" if self.scan.keyed else "NULL"
        async for vid, ref, key in self.scan.rows(f"SELECT vid, id, {key_column} FROM reference ORDER BY vid, id"):
            name = f"{vid}/{ref}"
            if not self.scratch.refers(vid, ref):
                if not self._told("run", "placement", "object"):
                    self.findings.add("reference-extra", "reference", name)
            elif key is not None and id_key(ref) != key:
                self.findings.add("reference-differs", "reference", name, "id_key")
        for vid, ref in self.scratch.unasked():
            self.findings.add("reference-missing", "reference", f"{vid}/{ref}")

    def _judge_labels(self) -> None:
        for label, row in self._labels.items():
            wrong = _label_wrong(row[4], row[5]) or self._live_wrong(label, row)
            if wrong is not None:
                self.findings.add("label-differs", "label", label, wrong)
        for label, count in self._lying.items():
            if label not in self._labels:
                self.findings.add("label-missing", "label", label)
            elif self._labels[label][2] != count and not self._told("placement", "run"):
                self.findings.add("label-differs", "label", label, "placements")
        for label, row in self._labels.items():
            if label not in self._lying and row[2] != 0 and not self._told("placement", "run"):
                self.findings.add("label-differs", "label", label, "placements")

    def _live_wrong(self, label: int, row: Cells) -> str | None:
        if self._told("placement", "run", "object"):
            return None
        return None if row[6] == (int(label in self._live) if tells_of_citing(row[4]) else -1) else "live"

    def _told(self, *tables: str) -> bool:
        return any(self.findings.counts[table] for table in tables)

    async def _objects(self, put_back: PutBack) -> None:
        done = 0
        key_column = "id_key" if self.scan.keyed else "NULL"
        sql = f"SELECT vid, id, version, instant, sha256, item, {key_column} FROM object ORDER BY vid"
        async for vid, object_id, version, at, digest, item, key in self.scan.rows(sql):
            digest = as_bytes(digest)
            wrong = next((name for name, good in (
                ("item", as_bytes(item) == item_hash(object_id, version, digest)),
                ("instant", _instant(version) == at),
                ("id_key", key is None or id_key(object_id) == key),
            ) if not good), None)  # fmt: skip
            if wrong is not None:
                self.findings.add("object-differs", "object", vid, wrong)
            held = self.scratch.hold(object_id, version, digest.hex()) or as_bytes(item) in self._notices
            if not held and wrong is None and not self.findings.counts["leaf"]:
                self.findings.add("object-unlogged", "object", vid)
            done += 1
            if done % _STEP == 0:
                self.progress("object", _STEP)
        sql = "SELECT max(vid), min(vid) FROM object GROUP BY id, instant, holder HAVING count(*) > 1 ORDER BY 1"
        async for vid, first in self.scan.rows(sql):
            self.findings.add("object-twice", "object", vid, first)
        if not self._told("object", "leaf"):
            self._judge_lost(put_back)

    def _judge_lost(self, put_back: PutBack) -> None:
        unfound = [] if self._told("placement", "run") else [(NOTICE, leaf) for leaf in self._unfound]
        for object_id, leaf in (*self.scratch.lost(), *unfound):
            log, _, index = leaf.rpartition("/")
            if not put_back(log, int(index)):
                self.findings.add("object-missing", "object", object_id, leaf)


def _lies(one: _Placed, first: int, items: bytes) -> bool:
    """Whether the object that is placed is the one whose item hash stands there."""
    at = _HASH * (one.tick - first)
    return one.item == items[at : at + _HASH]


def _parsed(body: bytes) -> tuple[StixObject | None, tuple[str, ...]]:
    """The object, and what it refers to."""
    try:
        value = orjson.loads(body)
        return StixObject.of(value, body), references(value) if may_refer(value, body) else ()
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, ()


def _label_wrong(facets: str, country: str) -> str | None:
    """The column of a label that its facets, which decide who may see what lies under it, contradict."""
    label = _label(facets)
    if label is None:
        return "facets"
    return "country" if label.country != country else None


def _label(facets: str) -> Label | None:
    try:
        return Label.decode(facets)
    except ValueError:
        return None


def _instant(version: str) -> str | None:
    try:
        return instant(version)
    except (ValueError, TypeError):
        return None


def _differs(obj: StixObject, one: _Placed) -> str | None:
    """The first column of the object's row that its bytes contradict."""
    for name, mine, its in (
        ("id", one.id, obj.id),
        ("version", one.version, obj.version),
        ("type", one.type, obj.type),
        ("instant", one.instant, obj.instant),
        ("revoked", bool(one.revoked), obj.revoked),
        ("created", one.created, obj.created),
        ("sha256", one.sha256, obj.sha256),
        ("item", one.item, obj.item),
    ):
        if mine != its:
            return name
    return None
