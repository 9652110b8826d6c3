"""Tells the hub of each run, once: kept in the state from its beginning, sent at its end or with a later one's."""

import uuid
from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog

from certs.jcs import canonical
from exchange.client import Client
from exchange.errors import Conflict, Malformed, Refusal, TooLarge
from exchange.times import as_text
from feeds.catalogue import Source
from feeds.report import Run
from feeds.state import FeedState

INTERRUPTED: Final = "interrupted"
"""Why a run that never came to its end is not complete."""
ADAPTER: Final = "feed-adapter-fault"

TOLD_AT_ONCE: Final = 100
CURSOR_CHARACTERS_AT_MOST: Final = 200
TEXT_CHARACTERS_AT_MOST: Final = 1_000

_log = structlog.get_logger("puente.feeds")


class Telling:
    """Of one run. What the hub is told is settled when the run ends and never changes: the hub knows a run by its words."""

    def __init__(self, source: Source, state: FeedState, run: Run, last_good: str) -> None:
        self._source = source
        self._state = state
        self._run = run
        self._id = str(uuid.uuid4())
        self._last_good = last_good

    def begin(self, now_us: int) -> None:
        self._state.begin_run(self.words(now_us, INTERRUPTED))

    def end(self, now_us: int, code: str) -> None:
        """`code`: why it is not complete, or ""."""
        self._state.end_run(self.words(now_us, code))

    def words(self, now_us: int, code: str) -> bytes:
        """What the hub is told if the run ends now."""
        run, source = self._run, self._source
        words: dict[str, Any] = {
            "run": self._id, "to": as_text(now_us), "fetched": run.records, "accepted": run.accepted, "held": run.held,
            "refused": run.rejected, "skipped": run.skipped.total(), "complete": not code,
            "cadence_seconds": source.cadence_seconds, "source": source.location[:TEXT_CHARACTERS_AT_MOST],
        }  # fmt: skip
        if self._last_good:
            words["from"] = self._last_good
        if run.sha256:
            words["sha256"] = run.sha256
        cursor = _shown(run.cursor)
        if cursor:
            words["cursor"] = cursor
        if code:
            words["code"] = code
        if run.fault is not None:
            en, es = run.fault.text.en, run.fault.text.es
            words["fault"] = {"en": en[:TEXT_CHARACTERS_AT_MOST], "es": es[:TEXT_CHARACTERS_AT_MOST]}
        return canonical(words)

    async def tell(self, client: Client) -> None:
        """Everything the hub was not told yet, in order. What it cannot take now waits for the next run."""
        for number, words in self._state.untold(TOLD_AT_ONCE):
            try:
                await client.report_run(self._source.name, orjson.loads(words))
            except (Malformed, Conflict, TooLarge) as refusal:
                _log.error(
                    "the hub does not record a run", source=self._source.name, code=refusal.code, field=refusal.field
                )
            except Refusal as refusal:
                _log.warning("the hub is told of runs later", source=self._source.name, code=refusal.code)
                return
            self._state.forget_run(number)


def _shown(cursor: Mapping[str, str]) -> str:
    """The place in the source, without its address: "" when that is too long for an entry."""
    place = {name: value for name, value in sorted(cursor.items()) if value and name != "sha256" and "://" not in value}
    text = orjson.dumps(place).decode() if place else ""
    return text if len(text) <= CURSOR_CHARACTERS_AT_MOST else ""
