"""The whole check, in order: logs with what their leaves tell of, then objects, then everything else, then the counters."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exchange.fsck.findings import Findings, Progress, Wrong
from exchange.fsck.logs import LogCheck, Mark
from exchange.fsck.objects import ObjectCheck
from exchange.fsck.registry import RegistryCheck
from exchange.fsck.scratch import Scratch
from exchange.ledger.entry import LOGS
from exchange.ledger.generations import Closing, following, in_order, kind, named, number
from exchange.ledger.note import NoteFault, Policy
from exchange.store.contract import WRITABLE
from exchange.store.scan import Scan
from exchange.times import parse_us


@dataclass(slots=True)
class _Fates:
    """What entries say became of leaves' private parts, and of leaves that were lost."""

    blocked: set[tuple[str, int]] = field(default_factory=set)
    erased: set[tuple[str, int]] = field(default_factory=set)
    recovered: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """By log, the leaves that were put back: what they tell of may be lost for good."""

    def take(self, log: str, leaf: Mapping[str, Any]) -> None:
        pub = leaf["pub"]
        if leaf["t"] == "block":
            self.blocked.add((pub.get("log"), pub.get("index")))
        elif leaf["t"] == "erase":
            self.erased.add((pub.get("log"), pub.get("index")))
        elif leaf["t"] == "log.recover":
            self.recovered.setdefault(pub.get("log", log), []).append((pub.get("from", 0), pub.get("size", 0)))
        elif leaf["t"] == "log.close" and "from" in pub:
            self.recovered.setdefault(pub.get("log", log), []).append((pub["from"], pub.get("held", 0)))

    def put_back(self, log: str, index: int) -> bool:
        return any(start <= index < end for start, end in self.recovered.get(log, ()))

    def judge(self, findings: Findings, scratch: Scratch, logs: Mapping[str, LogCheck]) -> None:
        for place in scratch.unopened():
            if place not in self.erased and not self.put_back(*place) and not findings.counts["leaf"]:
                findings.add("private-missing", "leaf_private", "/".join(map(str, place)))
        marked = {(log, index) for log, one in logs.items() for index in one.blocked}
        for place in sorted(marked ^ (self.blocked - self.erased)):
            if not findings.counts["leaf_private"] and not self.put_back(*place):
                findings.add("row-differs", "leaf_private", "/".join(map(str, place)), "blocked")


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, in the order of the derivation: nothing above the first row that is named is wrong."""

    wrong: tuple[Wrong, ...]
    counts: Mapping[str, int]
    """Rows that are wrong, by table; more than were named where a table is ruined."""
    leaves: Mapping[str, int]

    @property
    def ok(self) -> bool:
        return not self.wrong


async def check(
    scan: Scan,
    policies: Mapping[str, Policy],
    anchor: Callable[[str], Mark | None],
    progress: Progress = lambda _table, _rows: None,
) -> Checked:
    """Derive everything again and compare. `anchor` reads a log's anchor; None: it cannot be read."""
    findings = Findings()
    with contextlib.closing(Scratch()) as scratch:
        objects = ObjectCheck(scan, findings, scratch, progress)
        registry = RegistryCheck(scan, findings, progress)
        fates, first = _Fates(), dict[str, Mapping[str, Any]]()

        async def take(log: str, index: int, leaf: Mapping[str, Any], private: Any) -> None:
            fates.take(log, leaf)
            if index == 0:
                first[log] = leaf
            await objects.take(log, index, leaf, private)
            await registry.take(log, index, leaf, private)

        logs: dict[str, LogCheck] = {}
        known = in_order(policies)
        for log, after in zip(known, [*known[1:], ""], strict=True):
            ended = kind(after) == kind(log)  # then its closing says what it was; its anchor may speak of what is lost
            mark = None if ended else anchor(log)
            if mark is None and not ended:
                findings.add("anchor-missing", "anchor", log)
            told = kind(log) == "both" or not any(map(_lost_of_both, first.values()))
            logs[log] = LogCheck(log, scan, policies[log], mark, findings, scratch, take, progress, told)
            await logs[log].run()
        await _generations(scan, findings, logs, first)
        fates.judge(findings, scratch, logs)
        await objects.run(fates.put_back)
        await registry.run(fates.put_back)
        exact = not fates.recovered and len(logs) == len(LOGS)
        await _head(scan, findings, logs, objects, registry, exact=exact)
    return Checked(
        tuple(findings.all),
        {table: count for table, count in findings.counts.items() if count},
        {log: one.frontier.size for log, one in logs.items()},
    )


def _lost_of_both(leaf: Mapping[str, Any]) -> bool:
    """Whether this is a closing that cost entries of `both`, which tell of all logs' keys."""
    return bool(leaf["t"] == "log.close" and leaf["log"] == "both" and leaf["pub"].get("lost"))


async def _generations(
    scan: Scan, findings: Findings, logs: Mapping[str, LogCheck], first: Mapping[str, Mapping[str, Any]]
) -> None:
    """Every generation but the newest is closed, and was what the first entry of the next one says, which also says how many
    entries were before."""
    rows = {log: (before, closed) async for log, before, closed in scan.rows("SELECT log, before, closed FROM tree")}
    for log in rows.keys() - logs.keys():
        findings.add("tree-strange", "tree", log)
    count = 0
    for log in logs:
        count = 0 if number(log) == 1 else count + _closed(findings, logs, first.get(log, {}), log)
        before, closed = rows.get(log, (count, following(log) in logs))
        if before != count or bool(closed) != (following(log) in logs):
            findings.add("tree-row", "tree", log, "before" if before != count else "closed")


def _closed(findings: Findings, logs: Mapping[str, LogCheck], leaf: Mapping[str, Any], log: str) -> int:
    """Hold the log before against its closing; how many entries it ever had, by that."""
    last = named(kind(log), number(log) - 1)
    try:
        found = Closing.read(leaf, logs[log].policy.logs[0].name, logs[last].policy)
    except NoteFault as fault:
        findings.add("leaf-form", "leaf", f"{log}/0", fault.code)
        return 0
    here = logs[last].frontier
    if (here.size, here.root()) != (found.held, found.held_root) and not findings.told("tree", last):
        findings.add("log-closing", "tree", last, f"{log}/0")
    return found.held + found.lost


async def _head(
    scan: Scan,
    findings: Findings,
    logs: Mapping[str, LogCheck],
    objects: ObjectCheck,
    registry: RegistryCheck,
    *,
    exact: bool,
) -> None:
    """The counters. `registry`, `revision`, `moves` and `citing` only tell processes that something changed, and follow from nothing. `exact`: no leaf was
    ever lost for good, so the last number is the number of leaves."""
    sql = "SELECT state, last_tick, last_time, seq, agreement, pol, views FROM head"
    rows = [row async for row in scan.rows(sql)]
    if len(rows) != 1:
        findings.add("head-counter", "head", 0, "k")
        return
    state, last_tick, last_time, seq, agreement, pol, views = rows[0]
    number, name = registry.newest_agreement()
    steps = [row[0] async for row in scan.rows("SELECT number FROM member_view ORDER BY member")]
    count = sum(one.frontier.size for one in logs.values())
    newest = max((one.last_time for one in logs.values()), default="")
    whole = not findings.counts["leaf"]
    for counter, right in (
        ("seq", not whole or seq == count or (seq > count and not exact)),
        ("last_time", not newest or last_time >= parse_us(newest)),
        ("last_tick", last_tick >= objects.last_tick),
        ("agreement", not whole or agreement == number),
        ("pol", not whole or pol == name),
        ("views", views >= sum(steps)),
    ):
        if not right:
            findings.add("head-counter", "head", 0, counter)
    if state not in WRITABLE:
        findings.add("head-halted", "head", 0, state)
