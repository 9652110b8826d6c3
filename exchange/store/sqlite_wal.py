"""SQLite's journal (its write-ahead log) is copied into the database beside the commits, so that none waits while 64 MB are.

SQLite does it in the commit with which the journal has become that long: up to 114 ms, in which the hub answers nobody. What was copied
changes nothing for a reader, nor for what a crash leaves: that is in the journal until it begins anew.
"""

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

LONG_PAGES = 4_000
"""From here on the journal is copied, and begun anew when all of it was. A long one makes readers slower."""
FEW = 8
"""One part in so many the writer copies itself: of 4,000 pages 10 ms. While it does nothing is added, and so all is copied; of a longer
journal the part is larger, so that however much each commit adds there comes an end."""

_WRITTEN, _COPIED = 16, 96
"""Where in the journal's index its number of pages is, and how many of them were copied (sqlite.org/walformat.html, 2.1 and 2.2)."""


class Journal:
    """Of one database. `tidy` is called after each commit, by the thread that writes."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection], *, long_pages: int = LONG_PAGES) -> None:
        self._long = long_pages
        self._connection = connect()
        self._index = os.open(f"{path}-shm", os.O_RDONLY)  # there while anybody has the database open
        self._thread = ThreadPoolExecutor(1, "sqlite-journal")
        self._copying: Future[None] | None = None

    def tidy(self, writing: sqlite3.Connection) -> None:
        """Have the journal copied if it is long; or see to the rest, which came while that was done."""
        written = self._read(_WRITTEN)
        if written < self._long or not (self._copying is None or self._copying.done()):
            return
        if written - self._read(_COPIED) > written // FEW:
            self._copying = self._thread.submit(_copy, self._connection)
        else:
            _copy(writing)

    def close(self) -> None:
        """Wait for what is being copied, and let go of the files."""
        self._thread.shutdown(wait=True)
        self._connection.close()
        os.close(self._index)

    def _read(self, place: int) -> int:
        return int.from_bytes(os.pread(self._index, 4, place), sys.byteorder)


def _copy(connection: sqlite3.Connection) -> None:
    # As far as no reader still needs what is older; what fails now is done after a later commit, as SQLite itself does.
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
