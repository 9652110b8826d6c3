"""One log, from the bytes of its leaves to what was signed over them.

Which of two rows that disagree is the wrong one is for a third to say: the signed root, where one covers both, else the
tree's own row, whose frontier and root must agree with each other.
"""

from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from exchange.fsck.findings import Findings, Progress
from exchange.fsck.scratch import Scratch
from exchange.ledger.entry import commitment
from exchange.ledger.generations import kind
from exchange.ledger.merkle import EMPTY, HASH_BYTES, Frontier, leaf_hash, root
from exchange.ledger.note import Checkpoint, NoteFault, Policy, Verifier, cosigned_by, open_note
from exchange.ledger.tiles import WIDTH
from exchange.store.scan import Cells, Scan

Take = Callable[[str, int, Mapping[str, Any], Any], Awaitable[None]]
"""Called with each leaf that is an event: log, index, the event, and its private part where that is here."""

_STEP = 1000


@dataclass(frozen=True, slots=True)
class Mark:
    """What the anchor says of a log."""

    size: int
    root: bytes


def as_bytes(cell: object) -> bytes:
    """A cell that should hold bytes. One that was edited into text is still something that hashes to something else."""
    return cell.encode() if isinstance(cell, str) else bytes(cell) if isinstance(cell, bytes) else b""


class Ahead:
    """Rows in the order of a key, one looked at beforehand."""

    def __init__(self, rows: AsyncIterator[Cells]) -> None:
        self._rows = rows
        self.row: Cells | None = None

    async def step(self) -> None:
        self.row = await anext(self._rows, None)

    @classmethod
    async def of(cls, rows: AsyncIterator[Cells]) -> "Ahead":
        made = cls(rows)
        await made.step()
        return made

    async def upto(self, key: int) -> AsyncIterator[Cells]:
        """Those whose first cell is at most `key`."""
        while self.row is not None and self.row[0] <= key:
            yield self.row
            await self.step()


@dataclass(slots=True)
class _Doubt:
    """A tile's hash that is not the leaves': one of the two is wrong."""

    tile: str
    position: int
    first: int
    """The first leaf under it."""


@dataclass(slots=True)
class LogCheck:
    """Reads one log once, in order."""

    log: str
    scan: Scan
    policy: Policy
    anchor: Mark | None
    findings: Findings
    scratch: Scratch
    take: Take
    progress: Progress
    keys_told: bool = True
    """False where entries are lost for ever that may have told of other keys of it."""
    frontier: Frontier = EMPTY
    last_time: str = ""
    blocked: set[int] = field(default_factory=set)
    """Leaves whose private part is marked as blocked."""
    _pending: list[bytes] = field(default_factory=list)
    _window: list[bytes] = field(default_factory=list)
    _levels: dict[int, list[bytes]] = field(default_factory=dict)
    _tiles: dict[int, Ahead] = field(default_factory=dict)
    _doubts: list[_Doubt] = field(default_factory=list)
    _orders: list[tuple[int, str]] = field(default_factory=list)
    _private: list[tuple[str, int]] = field(default_factory=list)
    """What is wrong with private parts, unless it is their leaves: code and index."""
    _bad: tuple[int, int] | None = None
    """Between these two sizes the log stops being what was signed; a tile may still tell where."""
    _good: int = 0
    """The log is what was signed up to here."""
    _broken: bool = False
    """A leaf is missing or named: hashes above it cannot be compared any more."""
    _seq: int = 0
    _tree: tuple[int, bytes, bytes] = (0, b"", b"")
    _keys: list[Cells] = field(default_factory=list)
    """What signs the log by its size, where it was given a second key: vkey, since, until."""
    _cosignatures: "Ahead" = field(init=False)

    async def run(self) -> None:
        where = f"WHERE log = '{self.log}'"
        trees = [row async for row in self.scan.rows(f"SELECT size, root, frontier FROM tree {where}")]
        if not trees:
            self.findings.add("tree-row", "tree", self.log, "log")
        sql = f"SELECT vkey, since, until FROM log_key {where} ORDER BY since"
        self._keys = [row async for row in self.scan.rows(sql)]
        self._tree = (trees[0][0], as_bytes(trees[0][1]), as_bytes(trees[0][2])) if trees else (0, b"", b"")
        checkpoints = await Ahead.of(self.scan.rows(f"SELECT size, root, note FROM checkpoint {where} ORDER BY size"))
        self._cosignatures = await Ahead.of(
            self.scan.rows(f"SELECT size, witness, line FROM cosignature {where} ORDER BY size, witness")
        )
        private = await Ahead.of(
            self.scan.rows(f"SELECT idx, salt, payload, blocked FROM leaf_private {where} ORDER BY idx")
        )
        expected = 0
        async for index, data, digest in self.scan.rows(f"SELECT idx, data, hash FROM leaf {where} ORDER BY idx"):
            if index != expected and expected == self._tree[0] and self._frontier_kept() is not None:
                self.findings.add("leaf-extra", "leaf", f"{self.log}/{index}")
                continue
            if index != expected:
                self.findings.add("leaf-missing", "leaf", f"{self.log}/{expected}")
                self._broken = True
            expected = index + 1
            await self._catch_up(checkpoints, index)
            await self._leaf(index, as_bytes(data), as_bytes(digest), private)
            if expected % _STEP == 0:
                self.progress("leaf", _STEP)
        self.progress("leaf", expected % _STEP)
        await self._catch_up(checkpoints, expected)
        async for row in self._rest(private):
            self._private.append(("private-extra", row[0]))
        await self._end(expected, checkpoints)

    @staticmethod
    async def _rest(ahead: Ahead) -> AsyncIterator[Cells]:
        while ahead.row is not None:
            yield ahead.row
            await ahead.step()

    # --- leaves ---

    async def _leaf(self, index: int, data: bytes, digest: bytes, private: Ahead) -> None:
        hashed = leaf_hash(data)
        if hashed != digest:
            self.findings.add("leaf-hash", "leaf", f"{self.log}/{index}")
            self._broken = True
        self._pending.append(hashed)
        self._window.append(hashed)
        if len(self._window) == WIDTH:
            await self._tile(0, index // WIDTH, self._window, WIDTH)
            self._window = []
        opening = None
        async for row in private.upto(index):
            if row[0] == index:
                opening = row
            else:
                self._private.append(("private-extra", row[0]))
        leaf = self._event(index, data)
        if leaf is not None:
            await self.take(self.log, index, leaf, self._opened(index, leaf, opening))

    def _event(self, index: int, data: bytes) -> Mapping[str, Any] | None:
        try:
            leaf = orjson.loads(data)
        except orjson.JSONDecodeError:
            leaf = None
        wrong = None if isinstance(leaf, dict) else "JSON"
        if wrong is None:
            wrong = next(
                (name for name in ("t", "time", "req", "actor", "on") if not isinstance(leaf.get(name), str)), None
            )
        if wrong is None and (leaf.get("log") != kind(self.log) or not isinstance(leaf.get("pub"), dict)):
            wrong = "log" if leaf.get("log") != kind(self.log) else "pub"
        if wrong is not None:
            self.findings.add("leaf-form", "leaf", f"{self.log}/{index}", wrong)
            return None
        if leaf["time"] < self.last_time:
            self._orders.append((index, "time"))
        self.last_time = max(self.last_time, leaf["time"])
        seq = leaf.get("seq", self._seq + 1)
        if not isinstance(seq, int) or seq <= self._seq:
            self._orders.append((index, "seq"))
        else:
            self._seq = seq if kind(self.log) != "both" else 0
        del self._orders[100:]
        return leaf  # type: ignore[no-any-return]

    def _opened(self, index: int, leaf: Mapping[str, Any], opening: Cells | None) -> Any:
        committed = leaf.get("c")
        del self._private[100:]
        if not isinstance(committed, str):
            if opening is not None:
                self._private.append(("private-extra", index))
            return None
        value = None
        if opening is not None:
            if opening[3]:
                self.blocked.add(index)
            salt, payload = as_bytes(opening[1]), as_bytes(opening[2])
            if len(salt) != 32 or commitment(salt, payload) != b64decode(committed):
                self._private.append(("private-wrong", index))
            else:
                value = orjson.loads(payload)
        self.scratch.commit(b64decode(committed), self.log, index, opened=opening is not None)
        return value

    # --- hashes ---

    def _flush(self) -> None:
        self.frontier = self.frontier.extend(self._pending)
        self._pending = []

    async def _tile(self, level: int, n: int, hashes: Sequence[bytes], span: int) -> None:
        """A tile is full: compare it with the one kept. `span`: how many leaves lie under it."""
        rows = self._tiles.get(level)
        if rows is None:
            rows = self._tiles[level] = await Ahead.of(
                self.scan.rows(f"SELECT n, data FROM tile WHERE log = '{self.log}' AND level = {level} ORDER BY n")
            )
        found = None
        async for row in rows.upto(n):
            if row[0] == n:
                found = as_bytes(row[1])
            else:
                self.findings.add("tile-extra", "tile", f"{self.log}/{level}/{row[0]}")
        name = f"{self.log}/{level}/{n}"
        if found is None:
            self.findings.add("tile-missing", "tile", name)
        elif found != b"".join(hashes) and len(self._doubts) < 100:
            position = _first_difference(found, hashes)
            self._doubts.append(_Doubt(name, position, n * span + position * (span // WIDTH)))
        above = self._levels.setdefault(level + 1, [])
        above.append(root(hashes))
        if len(above) == WIDTH:
            full, self._levels[level + 1] = above, []
            await self._tile(level + 1, n // WIDTH, full, span * WIDTH)

    def _settle(self, size: int, *, good: bool, last: int = -1) -> None:
        """The log up to `size` is what was signed, or it is not: whose fault the doubts until there are."""
        if self._broken:
            return
        doubts = [one for one in self._doubts if one.first < size]
        if good:
            self._good = size
            for one in doubts:
                self.findings.add("tile-changed", "tile", one.tile, one.position)
            self._doubts = [one for one in self._doubts if one.first >= size]
            return
        self._broken = True
        self._bad = (max(self._good, last), size)

    def _judge_bad(self) -> None:
        if self._bad is not None:
            start, end = self._bad
            first = min((one.first for one in self._doubts if start <= one.first < end), default=start)
            self.findings.add("leaf-changed", "leaf", f"{self.log}/{first}", f"{first}…{end - 1}")

    # --- what was signed ---

    async def _catch_up(self, checkpoints: Ahead, size: int) -> None:
        """Compare what was signed at sizes up to this one."""
        while checkpoints.row is not None and checkpoints.row[0] <= size:
            if checkpoints.row[0] < size and checkpoints.row[0] != self.frontier.size + len(self._pending):
                self._broken = True  # passed over: leaves are missing
            self._flush()
            await self._checkpoint(*checkpoints.row)
            await checkpoints.step()
        if self.anchor is not None and self.anchor.size == size and size:
            self._flush()
            if not self._broken and self.frontier.size == size and self.frontier.root() != self.anchor.root:
                self.findings.add("anchor-fork", "anchor", self.log)

    async def _checkpoint(self, size: int, kept: bytes, note: bytes) -> None:
        key, note = f"{self.log}/{size}", as_bytes(note)
        fault = None
        try:
            opened = open_note(note, {*self.policy.logs, *(Verifier.parse(row[0]) for row in self._keys)})
            signed = Checkpoint.parse(opened.body)
            named = [one.name for one in self.policy.logs]
            if (signed.size, signed.root) != (size, as_bytes(kept)) or signed.origin not in named:
                fault = "root, size"
            elif self._must_sign(size) - {one.key.vkey for one in opened.signatures}:
                fault = "note-unsigned"
        except NoteFault as error:
            fault = error.code
        await self._cosigned(size, note if fault is None else None)
        if fault is not None:
            self.findings.add("checkpoint-note", "checkpoint", key, fault)
        elif size <= self.frontier.size and not self._broken:
            self._settle(size, good=self.frontier.root() == as_bytes(kept))

    def _must_sign(self, size: int) -> set[str]:
        keys = self._keys if self.keys_told else ()
        return {key for key, since, until in keys if since <= size and (until is None or size < until)}

    async def _cosigned(self, size: int, note: bytes | None) -> None:
        """`note` is None where the checkpoint itself is not to be believed."""
        async for at, witness, line in self._cosignatures.upto(size):
            if at < size:
                self.findings.add("checkpoint-missing", "checkpoint", f"{self.log}/{at}")
            elif note is not None and cosigned_by(self.policy, str(witness), note, [str(line)]) is None:
                self.findings.add("cosignature-wrong", "cosignature", f"{self.log}/{at}/{witness}")

    # --- the end ---

    async def _end(self, count: int, checkpoints: Ahead) -> None:
        self._flush()
        while checkpoints.row is not None:  # signed, and beyond what is here
            size = checkpoints.row[0]
            await self._checkpoint(*checkpoints.row)
            if not self.findings.told("checkpoint", f"{self.log}/{size}") and not self._broken:
                self.findings.add("leaf-missing", "leaf", f"{self.log}/{count}")
                self._broken = True
            await checkpoints.step()
        await self._cosigned(2**63, None)
        self._judge_tree(count)
        self._judge_bad()
        if not self._broken:
            for index, name in self._orders:
                self.findings.add("leaf-order", "leaf", f"{self.log}/{index}", name)
            for code, index in self._private:
                self.findings.add(code, "leaf_private", f"{self.log}/{index}")
        if self.anchor is not None and self.anchor.size > count and not self._broken:
            self.findings.add("anchor-ahead", "anchor", self.log, self.anchor.size)
        await self._no_more_tiles()

    async def _no_more_tiles(self) -> None:
        if self._broken:
            return
        full = {level: self.frontier.size // WIDTH ** (level + 1) for level in range(8)}
        sql = f"SELECT level, n FROM tile WHERE log = '{self.log}' ORDER BY level, n"
        async for level, n in self.scan.rows(sql):
            if n >= full.get(level, 0) or n < 0:
                self.findings.add("tile-extra", "tile", f"{self.log}/{level}/{n}")

    def _judge_tree(self, count: int) -> None:
        size, kept, edge = self._tree
        if self._broken:
            return
        here = self.frontier
        if count != size:
            if kept == here.root() or self._frontier_kept() is None:
                self.findings.add("tree-row", "tree", self.log, "size")
                self._settle(count, good=True)
            elif count < size:
                self.findings.add("leaf-missing", "leaf", f"{self.log}/{count}")
                self._broken = True
            else:
                for index in range(size, min(count, size + 100)):
                    self.findings.add("leaf-extra", "leaf", f"{self.log}/{index}")
                self._broken = True
            return
        if (kept, edge) == (here.root(), here.encode()):
            self._settle(size, good=True)
            return
        stored = self._frontier_kept()
        if self._good == size or stored is None or here.root() == kept:
            self.findings.add("tree-row", "tree", self.log, "frontier" if kept == here.root() else "root")
            self._settle(size, good=True)
            return
        first, start = 0, 0
        for bit, mine, other in zip(_spans(size), here.hashes, stored.hashes, strict=True):
            if mine != other:
                first = start
                break
            start += bit
        self._settle(size, good=False, last=first)

    def _frontier_kept(self) -> Frontier | None:
        """The tree row's own frontier, if the row agrees with itself."""
        size, kept, edge = self._tree
        try:
            stored = Frontier.decode(size, edge)
        except ValueError:
            return None
        return stored if stored.root() == kept else None


def _spans(size: int) -> list[int]:
    """How many leaves lie under each hash of a frontier."""
    return [1 << bit for bit in reversed(range(size.bit_length())) if size >> bit & 1]


def _first_difference(found: bytes, hashes: Sequence[bytes]) -> int:
    for position, digest in enumerate(hashes):
        if found[position * HASH_BYTES : (position + 1) * HASH_BYTES] != digest:
            return position
    return len(hashes) - 1
