"""What the hub says of itself while it runs: one structured event per request, on standard error. Never secrets."""

import logging
import sys
from typing import Any, TextIO

import orjson
import structlog

from exchange.clock import SystemClock
from exchange.times import as_text


def configure(*, machine: bool | None = None, file: TextIO | None = None) -> None:
    """JSON lines for machines, coloured columns on a terminal; to `file` when one is given. Called once per process."""
    as_json = not sys.stderr.isatty() if machine is None else machine
    renderer = _as_json if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[structlog.processors.add_log_level, _stamp, structlog.processors.format_exc_info, renderer]
        if as_json
        else [structlog.processors.add_log_level, _stamp, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=file or sys.stderr),
        cache_logger_on_first_use=True,
    )


_CLOCK = SystemClock()


def _stamp(logger: Any, name: str, event: Any) -> Any:
    event["timestamp"] = as_text(_CLOCK.now_us())
    return event


def _as_json(logger: Any, name: str, event: Any) -> str:
    # Every request writes one event: structlog's own renderer would cost a fifth of an empty poll.
    return orjson.dumps(event, default=str).decode()
