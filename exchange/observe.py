"""What the hub says of itself while it runs: one structured event per request, on standard error. Never secrets."""

import logging
import sys
from typing import Any, TextIO

import orjson
import structlog
from aiohttp.http_exceptions import HttpProcessingError

from exchange.clock import SystemClock
from exchange.times import as_text


def configure(*, machine: bool | None = None, file: TextIO | None = None) -> None:
    """JSON lines for machines, coloured columns on a terminal; to `file` when one is given. Called once per process."""
    as_json = not sys.stderr.isatty() if machine is None else machine
    # Tracebacks without the values of variables: among them are tokens and keys.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[_as_json] if as_json else [structlog.processors.add_log_level, _stamp, console],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=file or sys.stderr),
        cache_logger_on_first_use=True,
    )


_CLOCK = SystemClock()


def _stamp(logger: Any, name: str, event: Any) -> Any:
    event["timestamp"] = as_text(_CLOCK.now_us())
    return event


def _as_json(logger: Any, name: str, event: Any) -> str:
    # Every request writes one event: structlog's own chain and renderer would cost a fifth of an empty poll.
    event["level"] = name
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, name, event)
    _stamp(logger, name, event)
    return orjson.dumps(event, default=str).decode()


def http_logger() -> logging.Logger:
    """What the HTTP library says for itself. Bytes that it could not read as HTTP may be a credential: their fault is
    named, and they are not repeated."""
    logger = logging.getLogger("puente.http")
    if not logger.filters:
        logger.addFilter(_discreet)
    return logger


def _discreet(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg, record.args, record.exc_info = f"{record.getMessage()}: {type(error).__name__}", (), None
    return True
