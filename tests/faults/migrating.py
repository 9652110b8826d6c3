"""Migrates a database in one process after another, each killed one statement later, until one gets to the end.

Prints the schema version after each, and the tables that were there.
"""

import os
import sys
from pathlib import Path

from exchange.store.sqlite import connect, migrate
from tests.faults.crash import CrashAt


def killed(database: Path, migrations: Path, at: int) -> bool:
    pid = os.fork()
    if pid == 0:
        connection = connect(database)
        with CrashAt({migrate.__code__}, at, really=True):
            migrate(connection, migrations)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0


def found(database: Path) -> str:
    connection = connect(database)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    connection.close()
    return f"{version} {' '.join(name for (name,) in tables)}"


def work(directory: Path, migrations: Path) -> None:
    at, ended = 0, False
    while not ended:
        at += 1
        database = directory / f"{at}.sqlite"
        ended = not killed(database, migrations, at)
        sys.stdout.write(f"{found(database)}\n")


if __name__ == "__main__":
    work(Path(sys.argv[1]), Path(sys.argv[2]))
