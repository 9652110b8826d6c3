"""A program that is killed while it brings the database up to date leaves an old schema or a new one, never a mixture."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from exchange.store.sqlite import connect, migrate

ROOT = Path(__file__).resolve().parents[2]


def test_a_migration_may_be_killed_at_any_statement(tmp_path: Path) -> None:
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    for name in "abc":
        (migrations / f"{name}.sql").write_text(f"CREATE TABLE {name}1 (x);\nCREATE TABLE {name}2 (x);\n")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.faults.migrating", str(tmp_path), str(migrations)],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    outcomes = ran.stdout.splitlines()
    assert len(outcomes) > 20
    assert set(outcomes[:-1]) == {"0 "}, "all that are missing come in one transaction"
    assert outcomes[-1] == "3 a1 a2 b1 b2 c1 c2"


def test_processes_that_start_together_may_make_the_database_together(tmp_path: Path) -> None:
    barrier = threading.Barrier(3)

    def first(_: int) -> None:
        for attempt in range(100):
            barrier.wait(timeout=20)
            connection = connect(tmp_path / f"{attempt}.sqlite")
            migrate(connection)
            connection.close()

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(first, range(3))) == [None] * 3
