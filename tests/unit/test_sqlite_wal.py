"""The journal is copied beside the commits: it does not grow for ever, whoever reads meanwhile, and nothing that was committed is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.store.sqlite import connect
from exchange.store.sqlite_wal import Journal

LONG = 60
BODY = 30_000
"""Two pages."""


class Writer:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = connect(path)
        self.db.execute("PRAGMA wal_autocheckpoint = 0")
        self.db.execute("CREATE TABLE one (n INTEGER PRIMARY KEY, body BLOB)")
        self.journal = Journal(path, lambda: connect(path), long_pages=LONG)
        self.count = 0

    def write(self, times: int) -> None:
        for _ in range(times):
            self.count += 1
            self.db.execute("INSERT INTO one VALUES (?, zeroblob(?))", (self.count, BODY))
            self.journal.tidy(self.db)

    @property
    def journal_bytes(self) -> int:
        return Path(f"{self.path}-wal").stat().st_size


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    one = Writer(tmp_path / "hub.sqlite")
    yield one
    one.journal.close()
    one.db.close()


def test_the_journal_begins_anew_under_a_writer_that_never_rests(writer: Writer) -> None:
    writer.write(3_000)
    assert writer.journal_bytes < 3_000 * BODY / 2
    assert writer.db.execute("SELECT count(*), max(n) FROM one").fetchone() == (3_000, 3_000)
    assert writer.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_a_reader_still_needs_stays_and_is_copied_when_it_has_gone(writer: Writer) -> None:
    writer.write(10)
    reader = connect(writer.path, read_only=True)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM one").fetchone() == (10,)
    writer.write(500)
    assert writer.journal_bytes > 500 * BODY, "all of it, for the reader sees what was there when it began"
    assert reader.execute("SELECT count(*) FROM one").fetchone() == (10,)
    reader.execute("COMMIT")
    length = -1
    while length != writer.journal_bytes:  # on the journal's thread; then it is written over from its beginning
        length = writer.journal_bytes
        writer.write(300)
    reader.close()


def test_a_connection_that_cannot_copy_keeps_nobody_from_writing(writer: Writer) -> None:
    writer.journal._connection.close()  # whatever it is that fails there
    writer.write(500)
    assert writer.db.execute("SELECT count(*) FROM one").fetchone() == (500,)
