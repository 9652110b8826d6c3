"""Questions about what was done: refusals, agreements, keys, privileged acts, feeds, gaps, erasures, reads of the audit."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from exchange.auditing.facts import Fact, plain, tick_of
from exchange.auditing.folds import Listing, Question, Scope, about_whom, detail
from exchange.auditing.rows import Asked, Remark, Row
from exchange.errors import Text
from exchange.ledger.entry import national
from exchange.ledger.events import QUESTIONS
from exchange.ledger.rotation import ABOUT_KEYS, KeyStory

# --- lists ---


def _refusal(fact: Fact) -> Mapping[str, str]:
    return {
        "code": fact.text("code"), "object": fact.text("object"), "version": fact.text("version"), "times": str(fact.count),
        "agreement": fact.pol,
    }  # fmt: skip


def _agreement(fact: Fact) -> Mapping[str, str]:
    version = fact.text("agreement") or (f"{fact.text('agreement_id')}/{fact.text('version')}" if "version" in fact.pub else "")  # fmt: skip
    names = ("agreement", "agreement_id", "version", "approver", "country", "decision", "sha256", "policy_sha256")
    return {
        "agreement": version or fact.on.removeprefix("agreement:"), "in force": fact.pol, "country": fact.text("country"),
        "approver": fact.text("approver") or _names(fact.pub.get("approvers", ())), "decision": fact.text("decision"),
        "sha256": fact.text("sha256") or fact.text("policy_sha256"), "detail": detail(fact, *names, "approvers"),
    }  # fmt: skip


def _names(approvers: Any) -> str:
    """Approvers as a list, or as lists by country."""
    lists = approvers.values() if isinstance(approvers, Mapping) else [list(approvers)]
    return " ".join(plain(one) for one in lists)


def _act(fact: Fact) -> Mapping[str, str]:
    return {"on": fact.on, "by": fact.actor, "outcome": fact.out, "detail": detail(fact)}


def _remark(code: str, en: str, es: str) -> Remark:
    return Remark(code, Text(en, es))


def _listing(
    kinds: str, cells: Callable[[Fact], Mapping[str, str]], member: Callable[[Fact], str] = lambda fact: fact.member
) -> Callable[[Asked, Scope], Listing]:
    return lambda asked, scope: Listing(kinds.split(), cells, member)


class WhatDid:
    """Everything that a member did, and what was done to it."""

    def __init__(self, asked: Asked, scope: Scope) -> None:
        self._member = asked.member

    def take(self, fact: Fact) -> Iterator[Row]:
        if self._member in (fact.member, about_whom(fact)):
            yield Row.of(fact, {"event": fact.t, "agreement": fact.pol, **_act(fact)}, member=self._member)

    def end(self) -> Iterable[Row]:
        return ()

    def remarks(self, rows: int) -> Iterable[Remark]:
        return ()


# --- releases under a superseded agreement ---


class Superseded:
    """(6) Releases whose entry names an older agreement than was in force.

    In `both`, activations and releases have one order. A country's own log has the activations of `both` beside it by
    time alone: there only a release at a later time than the activation counts.
    """

    def __init__(self, asked: Asked, scope: Scope) -> None:
        self._in_force = self._before = 0
        self._since = ""
        self._checked = 0

    def take(self, fact: Fact) -> Iterator[Row]:
        again = fact.t == "log.close" and fact.kind == "both"
        if again or fact.t in ("policy.activate", "policy.tighten", "policy.lift", "policy.lapse", "policy.expire"):
            self._activate(fact)
        elif fact.t == "release":
            self._checked += 1
            certain = self._in_force if fact.kind == "both" or fact.time > self._since else self._before
            if fact.agreement < certain:
                yield Row.of(fact, {"agreement": fact.pol, "in force": str(certain), "activated": self._since,
                                    "kind": fact.text("kind"), "objects": fact.text("count")})  # fmt: skip

    def _activate(self, fact: Fact) -> None:
        if fact.time > self._since:
            self._before = self._in_force
        self._in_force, self._since = max(self._in_force, fact.agreement), fact.time

    def end(self) -> Iterable[Row]:
        return ()

    def remarks(self, rows: int) -> Iterator[Remark]:
        yield _remark(
            "releases-checked",
            f"{self._checked} releases were compared with the agreement in force.",
            f"Se compararon {self._checked} entregas con el acuerdo en vigor.",
        )


# --- keys ---


class Keys:
    """(8) Key changes, and how many submissions were accepted under each signing key."""

    def __init__(self, asked: Asked, scope: Scope) -> None:
        self._logs = scope.logs
        self._changes: list[tuple[Fact, str]] = []
        self._story = KeyStory()
        self._accepted: Counter[str] = Counter()
        self._countries: dict[str, str] = {}

    def take(self, fact: Fact) -> Iterable[Row]:
        if fact.t == "submit":
            self._accepted[fact.text("signer")] += 1
        elif fact.t == "acct.enrol":
            self._countries[fact.text("member")] = fact.text("country")
        elif fact.t == "log.open" or (fact.t == "log.close" and fact.kind == "both"):
            self._told(fact)
        elif fact.t.startswith("key."):
            self._changes.append((fact, "" if self._told(fact) else "unsigned"))
        return ()

    def _told(self, fact: Fact) -> bool:
        return fact.t not in ABOUT_KEYS or self._story.take({"t": fact.t, "on": fact.on, "pub": fact.pub})

    def end(self) -> Iterator[Row]:
        for fact, finding in self._changes:
            member = about_whom(fact)
            country, key = self._countries.get(member, ""), fact.text("key")
            told = bool(country) and national(country) in self._logs
            yield Row.of(fact, {
                "event": fact.t, "key": key, "by": fact.actor, "accepted": str(self._accepted[key]) if told and key else "",
                "finding": finding, "detail": detail(fact, "key"),
            }, member=member)  # fmt: skip

    def remarks(self, rows: int) -> Iterator[Remark]:
        yield _remark(
            "accepted-own",
            "`accepted` counts submissions in the logs you may see; it is empty for members of the other country.",
            "`accepted` cuenta los envíos de los registros que usted puede ver; está vacío para los miembros del otro país.",
        )
        yield _remark(
            "key-unsigned",
            "`unsigned` marks a change of a log's own key that the key before it, or the new one, has not signed.",
            "`unsigned` marca un cambio de la llave de un registro que la llave anterior, o la nueva, no ha firmado.",
        )


# --- feeds, gaps ---


class Feeds:
    """(10) Runs of feeds, with the time since the same feed's run before."""

    def __init__(self, asked: Asked, scope: Scope) -> None:
        self._last: dict[tuple[str, str], str] = {}

    def take(self, fact: Fact) -> Iterator[Row]:
        if fact.t != "feed.run":
            return
        feed = fact.text("feed") or fact.on.removeprefix("feed:")
        before = self._last.get((fact.member, feed), "")
        self._last[fact.member, feed] = fact.time
        counts = {name: fact.text(name) for name in ("fetched", "accepted", "refused", "complete", "code")}
        yield Row.of(fact, {
            "feed": feed, **counts, "since before": _seconds(before, fact.time),
            "detail": detail(fact, "feed", *counts),
        })  # fmt: skip

    def end(self) -> Iterable[Row]:
        return ()

    def remarks(self, rows: int) -> Iterator[Remark]:
        if not rows:
            yield _remark(
                "no-feed-runs",
                "These logs hold no feed.run entries. What a feed's member submitted is under what-did and refused.",
                "Estos registros no contienen asientos feed.run. Lo que envió el miembro de una fuente está en what-did y refused.",
            )


class Gaps:
    """(13) Starts, stops, degraded periods, restores, clock steps; and starts that no stop came before."""

    def __init__(self, asked: Asked, scope: Scope) -> None:
        self._running = False
        self._last = ""

    def take(self, fact: Fact) -> Iterator[Row]:
        before, self._last = self._last, fact.time
        if not fact.t.startswith(("log.", "clock.")):
            return
        cells = {"event": fact.t, "by": fact.actor, "silent": _seconds(before, fact.time), "detail": detail(fact)}
        if fact.t == "log.start":
            cells["finding"] = "no-stop" if self._running else ""
        self._running = fact.t == "log.start" or (self._running and fact.t != "log.stop")
        yield Row.of(fact, cells)

    def end(self) -> Iterable[Row]:
        return ()

    def remarks(self, rows: int) -> Iterator[Remark]:
        yield _remark(
            "no-stop",
            "`silent` is the seconds since the entry before, in the logs you may see. `no-stop` marks a start of the hub that"
            " follows no stop: it was killed, or several processes of it run.",
            "«silencio» (`silent`) son los segundos desde el asiento anterior, en los registros que usted puede ver. `no-stop` marca un inicio"
            " del centro sin detención previa: se interrumpió, o se ejecutan varios procesos.",
        )


def _seconds(before: str, now: str) -> str:
    return str((tick_of(now) - tick_of(before)) // 1_000_000) if before else ""


# --- reads ---


class Reads(Listing):
    """(14) What auditors asked, packs that left, and what operators asked at the hub's own files."""

    def __init__(self, asked: Asked, scope: Scope) -> None:
        super().__init__(("audit.", "pack.", "admin"), _act, lambda fact: fact.member)

    def take(self, fact: Fact) -> Iterator[Row]:
        if fact.t != "admin" or fact.text("command").startswith("audit"):
            yield from super().take(fact)


# --- erasures ---


class Erased:
    """(12) What personal data was removed on entry, blocked, and erased; and by whose word."""

    def take(self, fact: Fact) -> Iterator[Row]:
        if fact.t in ("block", "erase") or "transform" in fact.pub:
            yield Row.of(fact, {
                "event": fact.t, "on": fact.on, "basis": fact.text("basis"), "by": fact.actor,
                "transform": fact.text("transform"), "detail": detail(fact, "basis", "transform"),
            })  # fmt: skip

    def end(self) -> Iterable[Row]:
        return ()

    def remarks(self, rows: int) -> Iterable[Remark]:
        return ()


ACT_QUESTIONS = (
    Question(
        "refused", 4, QUESTIONS[4],
        ("event", "member", "collection", "code", "object", "version", "times", "agreement"),
        _listing("submit.refuse deny deny.sum auth.fail.sum", _refusal), totals=("member", "code"),
    ),
    Question(
        "agreements", 5,
        QUESTIONS[5],
        ("event", "agreement", "country", "approver", "decision", "in force", "sha256", "detail"),
        _listing("policy.", _agreement),
    ),
    Question(
        "superseded", 6,
        QUESTIONS[6],
        ("member", "collection", "agreement", "in force", "activated", "kind", "objects"), Superseded,
    ),
    Question(
        "keys", 8, QUESTIONS[8],
        ("event", "member", "key", "accepted", "finding", "by", "detail"), Keys,
    ),
    Question(
        "admin", 9,
        QUESTIONS[9],
        ("event", "member", "on", "by", "outcome", "detail"),
        _listing("admin acct. role. edl.release block erase log.recover log.open log.close", _act, member=about_whom),
    ),
    Question(
        "feeds", 10, QUESTIONS[10],
        ("feed", "member", "fetched", "accepted", "refused", "complete", "code", "since before", "detail"), Feeds,
    ),
    Question(
        "erased", 12,
        QUESTIONS[12],
        ("event", "member", "on", "basis", "by", "transform", "detail"), lambda asked, scope: Erased(),
    ),
    Question(
        "gaps", 13,
        QUESTIONS[13],
        ("event", "silent", "finding", "by", "detail"), Gaps,
    ),
    Question(
        "reads", 14, QUESTIONS[14],
        ("event", "member", "on", "by", "detail"), Reads,
    ),
    Question(
        "what-did", 0, Text("Everything a member did.", "Todo lo que hizo un miembro."),
        ("event", "collection", "on", "by", "outcome", "agreement", "detail"), WhatDid, takes=("member",), totals=("event",),
    ),
)  # fmt: skip
