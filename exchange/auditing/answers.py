"""Answers: one question put to some logs, as JSON Lines that say what they rest on, and that the hub's key can be put under.

    {"question": …, "number": …, "asked": {…}, "logs": [{"log", "origin", "size", "root"}], "columns": […]}
    {"time": …, "log": …, "entry": …, …}                       one line for each row
    {"rows": …, "matched": …, "totals": […], "remarks": [{"code", "en", "es"}], "next": …}
    {"note": …}                                                from a hub only: a signed note (c2sp.org/signed-note)

The note's text is SEAL_TITLE and the SHA-256 of every byte before its line. Whoever has the logs up to the sizes in the
first line can ask again, and gets the same rows.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from exchange.auditing.acts import ACT_QUESTIONS
from exchange.auditing.facts import Fact, Leaves, walk
from exchange.auditing.folds import Question, Scope
from exchange.auditing.objects import OBJECT_QUESTIONS
from exchange.auditing.rows import PLACE, Asked, Remark, Row, Sample
from exchange.auditing.times import TIME_QUESTIONS
from exchange.errors import Malformed, NotFound, Text
from exchange.ledger.generations import kind
from exchange.ledger.note import NoteFault, Verifier, open_note

QUESTIONS: Mapping[str, Question] = {
    one.name: one
    for one in sorted(
        (*OBJECT_QUESTIONS, *TIME_QUESTIONS, *ACT_QUESTIONS), key=lambda one: (one.number == 0, one.number)
    )
}
"""By name, in the order of the list. (15), whether two copies are the same, is asked of two copies: `copies.compare`."""

SEAL_TITLE = "puente-audit-answer/v1"
"""No log's origin, so that the note can never be taken for a checkpoint by the same key."""

WORK_PER_TURN = 2_000
"""Entries, and objects in lists, between two turns of the event loop: some 10 ms, as a hub answers others meanwhile."""

Progress = Callable[[int, int], None]
"""Called with the entries read so far, and their number."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a log is read: its checkpoint of that size has that root."""

    log: str
    origin: str
    size: int
    root: str

    @property
    def told(self) -> dict[str, str | int]:
        return {"log": self.log, "origin": self.origin, "size": self.size, "root": self.root}


@dataclass(frozen=True, slots=True)
class Answer:
    head: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    end: Mapping[str, Any]

    def encode(self) -> bytes:
        """As JSON Lines, without a seal."""
        return b"".join(orjson.dumps(one) + b"\n" for one in (self.head, *self.rows, self.end))

    @property
    def columns(self) -> tuple[str, ...]:
        return (*PLACE, *self.head["columns"])


def question(asked: Asked, scope: Iterable[str]) -> Question:
    """The question asked, with all it needs. Raises NotFound, or Malformed naming what is missing."""
    found = QUESTIONS.get(asked.question)
    if found is None:
        raise NotFound("There is no such question.", "No existe esa consulta.", code="no-such-question")
    for name in found.takes:
        if not getattr(asked, name):
            raise _bad(name, f"{found.name} needs {name}.", f"{found.name} requiere {name}.")
    for name in ("object", "to"):
        if getattr(asked, name) and name not in (*found.takes, *found.may_take):
            raise _bad(name, f"{found.name} takes no {name}.", f"{found.name} no admite {name}.")
    if bool(asked.sample) != bool(asked.seed):
        raise _bad("seed", "sample and seed go together.", "sample y seed van juntos.")
    if asked.log and asked.log not in {name for log in scope for name in (log, kind(log))}:
        raise NotFound("There is no such log here.", "No existe ese registro aquí.", code="no-such-log", field="log")
    return found


async def answer(
    asked: Asked,
    source: Leaves,
    marks: Sequence[Mark],
    *,
    skip: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Answer:
    """Put a question to the first leaves of some logs. With `limit`, so many rows from row `skip` on."""
    scope = Scope(tuple(mark.log for mark in marks))
    asking = question(asked, scope.logs)
    gathering = _Gathering(asking, asked, scope, skip, limit)
    total, done, since_turn = sum(mark.size for mark in marks), 0, 0
    async for fact in walk(source, {mark.log: mark.size for mark in marks}, private=asking.private):
        gathering.take(fact)
        done += 1
        since_turn += 1 + len((fact.private or {}).get("items", ()))
        if since_turn > WORK_PER_TURN:
            since_turn = 0
            await asyncio.sleep(0)
        if on_progress is not None and done % 4096 == 0:
            on_progress(done, total)
    gathering.close()
    head = {
        "question": asking.name, "number": asking.number, "asked": asked.told, "logs": [mark.told for mark in marks],
        "columns": list(asking.columns),
    }  # fmt: skip
    return Answer(head, gathering.rows, gathering.end)


class _Gathering:
    """Rows as they come: filtered, counted, drawn or cut to the page."""

    def __init__(self, asking: Question, asked: Asked, scope: Scope, skip: int, limit: int | None) -> None:
        self._asking = asking
        self._asked = asked
        self._fold = asking.begin(asked, scope)
        self._sample = Sample(asked.sample, asked.seed) if asked.sample else None
        self._skip, self._limit = skip, limit
        self._page: list[Row] = []
        self._matched = 0
        self._totals: Counter[tuple[str, ...]] = Counter()
        self._collections: dict[str, str] = {}
        self._closed: list[Remark] = []

    def take(self, fact: Fact) -> None:
        if fact.t == "admin" and "alias" in fact.pub:
            self._collections[fact.collection] = fact.text("alias")
        if fact.t == "log.close":
            self._closed.append(_closed(fact))
        self._admit(self._fold.take(fact))

    def close(self) -> None:
        self._admit(self._fold.end())
        if self._sample is not None:
            drawn = self._sample.rows
            self._page = drawn[self._skip : None if self._limit is None else self._skip + self._limit]

    def _admit(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if not self._asked.admits(row, self._collections):
                continue
            number = self._matched
            self._matched += 1
            if self._asking.totals:
                told = self._told(row)
                self._totals[tuple(str(told[name]) for name in self._asking.totals)] += int(told.get("times") or 1)
            if self._sample is not None:
                self._sample.offer(number, row)
            elif number >= self._skip and (self._limit is None or number < self._skip + self._limit):
                self._page.append(row)

    def _told(self, row: Row) -> dict[str, str | int]:
        return row.told(self._asking.columns, self._collections)

    @property
    def rows(self) -> list[dict[str, str | int]]:
        return [self._told(row) for row in self._page]

    @property
    def more(self) -> bool:
        whole = self._matched if self._sample is None else min(self._matched, self._asked.sample)
        return self._skip + len(self._page) < whole

    @property
    def end(self) -> dict[str, Any]:
        names = (*self._asking.totals, "times")
        return {
            "rows": len(self._page),
            "matched": self._matched,
            "totals": [dict(zip(names, (*key, count), strict=True)) for key, count in sorted(self._totals.items())],
            "remarks": [one.told for one in (*self._fold.remarks(self._matched), *self._closed)],
            "more": self.more,
        }


def _closed(fact: Fact) -> Remark:
    log, held, lost = (fact.text(name) for name in ("log", "held", "lost"))
    return Remark("log-closed", Text(
        f"{log} was closed for ever: {held} of its entries are left, and {lost} are lost. What those tell of is in no answer.",
        f"{log} se cerró para siempre: quedan {held} de sus asientos y se perdieron {lost}. Lo que estos cuentan no está en ninguna"
        " respuesta.",
    ))  # fmt: skip


def _bad(field: str, en: str, es: str) -> Malformed:
    return Malformed(en, es, code="query-malformed", field=field)


# --- the seal ---


def seal(answer: bytes, sign: Callable[[str], bytes]) -> bytes:
    """An answer with the signer's note as its last line."""
    return answer + orjson.dumps({"note": sign(_seal_text(answer)).decode()}) + b"\n"


def unseal(data: bytes, verifiers: Iterable[Verifier]) -> Answer:
    """An answer whose seal was checked. Raises NoteFault."""
    body, _, line = data.removesuffix(b"\n").rpartition(b"\n")
    body += b"\n"
    try:
        note = orjson.loads(line)["note"].encode()
        lines = [orjson.loads(one) for one in body.splitlines()]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise _not_sealed() from None
    if open_note(note, verifiers).body != _seal_text(body) or len(lines) < 2:
        raise _not_sealed()
    return Answer(lines[0], lines[1:-1], lines[-1])


def _seal_text(answer: bytes) -> str:
    return f"{SEAL_TITLE}\n{sha256(answer).hexdigest()}\n"


def _not_sealed() -> NoteFault:
    return NoteFault(
        "answer-seal",
        "The answer is not the one that the hub put its key under.",
        "La respuesta no es la que el centro firmó con su clave.",
    )
