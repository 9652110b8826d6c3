"""What runs tell: what one did, what stands refused or could not be read, and how a source has fared since."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson

from certs.jcs import JsonError
from certs.keys import replace_file
from exchange.errors import Refusal, Text
from exchange.times import as_text
from feeds.adapter import Record, Skipped
from feeds.faults import FeedFault
from feeds.values import NoValue

HELD = "warninglist-held"
"""The code under which a hub holds back what names a known-good value, until somebody there releases it."""

TOLD_AT_MOST = 10_000
"""Lines of a quarantine file, of each kind: a hostile source can be wrong without end."""


@dataclass(slots=True)
class Run:
    """What one run of one source did. `fault` is why it ended early."""

    source: str
    calls: str = ""
    """Where it was allowed to call."""
    records: int = 0
    objects: int = 0
    unchanged: int = 0
    accepted: int = 0
    revoked: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    fault: Refusal | None = None
    sha256: str = ""
    """Of what was read, where that was one document."""
    cursor: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.fault is None

    @property
    def held(self) -> int:
        return self.refused[HELD]

    @property
    def rejected(self) -> int:
        return self.refused.total() - self.held


@dataclass(frozen=True, slots=True)
class Papers:
    """One source's files beside its state."""

    directory: Path
    name: str

    @property
    def report_file(self) -> Path:
        """JSON: when the last run ended, what it did, and how many in a row have failed."""
        return self.directory / f"{self.name}.run.json"

    @property
    def quarantine_file(self) -> Path:
        """JSON lines: what stands refused, and what the last run could not read, each with its reason."""
        return self.directory / f"{self.name}.quarantine.jsonl"

    @property
    def pause_file(self) -> Path:
        """Stands while an operator wants the source left alone."""
        return self.directory / f"{self.name}.paused"

    def last(self) -> dict[str, Any]:
        """The last report; {} before the first run."""
        try:
            found: dict[str, Any] = orjson.loads(self.report_file.read_bytes())
        except FileNotFoundError:
            return {}
        return found

    def left(self, refusals: Counter[str], run: Run | None) -> dict[str, int]:
        """What stands left out now. `run` is None for one that read nothing: what was skipped before it still is."""
        skipped = self.last().get("left", {}).get("skipped", 0) if run is None else run.skipped.total()
        return {"held": refusals[HELD], "refused": refusals.total() - refusals[HELD], "skipped": skipped}

    def write_report(self, run: Run, began_us: int, now_us: int, left: Mapping[str, int] | None = None) -> None:
        """`left`: what stands held, refused and skipped now, beside what this run did; None: as before it."""
        before = self.last()
        report = {
            "source": run.source, "calls": run.calls, "began": as_text(began_us), "ended": as_text(now_us), "records": run.records,
            "objects": run.objects, "accepted": run.accepted, "unchanged": run.unchanged, "revoked": run.revoked,
            "refused": dict(run.refused), "skipped": dict(run.skipped),
            "fault": {"code": run.fault.code, "en": run.fault.text.en, "es": run.fault.text.es} if run.fault else None,
            "faults": 0 if run.ok else int(before.get("faults", 0)) + 1,
            "last_good": as_text(now_us) if run.ok else before.get("last_good", ""),
            "last_news": as_text(now_us) if run.accepted else before.get("last_news", ""),
            "left": before.get("left", {}) if left is None else left,
            "retry_after_seconds": run.fault.retry_after_seconds if isinstance(run.fault, FeedFault) else 0,
        }  # fmt: skip
        replace_file(self.report_file, orjson.dumps(report))

    def write_quarantine(self, refused: Iterable[dict[str, Any]], skipped: Iterable[Skipped] | None) -> None:
        """`skipped` is None for a run that read nothing: what could not be read before still cannot."""
        lines = chain(self._unread() if skipped is None else _told(skipped), map(_line, islice(refused, TOLD_AT_MOST)))
        first = next(lines, None)
        if first is None:
            with suppress(FileNotFoundError):
                self.quarantine_file.unlink()
            return
        draft = self.quarantine_file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(first)
            file.writelines(lines)
        draft.replace(self.quarantine_file)

    def _unread(self) -> list[bytes]:
        """The lines of what could not be read, as the last run left them."""
        try:
            lines = self.quarantine_file.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [line for line in lines if "name" in orjson.loads(line)]


def _told(skipped: Iterable[Skipped]) -> Iterator[bytes]:
    for one in islice(skipped, TOLD_AT_MOST):
        if one.code != "tlp-definition":
            yield _line({"name": one.name, "code": one.code, "en": one.text.en, "es": one.text.es, "count": one.count})


def _line(told: dict[str, Any]) -> bytes:
    return orjson.dumps(told) + b"\n"


def misshapen(record: Record, error: Exception) -> Skipped:
    """Why a record could not be mapped."""
    if isinstance(error, JsonError):
        return Skipped(record.key, error.code, Text(error.en, error.es), key=record.key)
    if isinstance(error, NoValue):
        return Skipped(record.key, "record-value", error.text, key=record.key)
    text = Text(
        f"The record does not have the form it should: {type(error).__name__}.",
        f"El registro no tiene la forma debida: {type(error).__name__}.",
    )
    return Skipped(record.key, "record-form", text, key=record.key)
