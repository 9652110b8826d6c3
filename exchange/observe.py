"""What the hub says of itself while it runs: one structured event per request, on standard error. Never secrets."""

import logging
import sys
from typing import TextIO

import structlog


def configure(*, machine: bool | None = None, file: TextIO | None = None) -> None:
    """JSON lines for machines, coloured columns on a terminal; to `file` when one is given. Called once per process."""
    as_json = not sys.stderr.isatty() if machine is None else machine
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=file or sys.stderr),
    )
