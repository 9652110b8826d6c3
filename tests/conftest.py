"""Fixtures that more than one room of tests needs: the two stores, and a PostgreSQL for the second."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.places import Place
from tests.postgres import Databases, NoPostgres, running

ENGINES = ("sqlite", "postgres")


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """One server for the whole session. Where there is none its tests are skipped, and say why."""
    try:
        with running() as url:
            made = Databases(url)
            asyncio.run(made.template())
            yield made
            if "EXCHANGE_TEST_POSTGRES" in os.environ:
                asyncio.run(made.drop())
    except NoPostgres as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a new database is, for each engine."""
    return tmp_path / "hub.sqlite" if request.param == "sqlite" else _fresh(request)


@pytest.fixture(scope="module", params=ENGINES)
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the settings say of a hub's database, for each engine: tests of whole hubs that take this run on both."""
    return {} if request.param == "sqlite" else {"database_url": _fresh(request)}


def _fresh(request: pytest.FixtureRequest) -> str:
    made: Databases = request.getfixturevalue("databases")
    return asyncio.run(made.fresh())
