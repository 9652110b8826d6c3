"""Fixtures that more than one room of tests needs: the two stores, and a PostgreSQL for the second."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from exchange.store.contract import Store
from tests.packs import Packs, make_packs
from tests.places import Place, open_at
from tests.postgres import Cluster, Databases, NoPostgres, cluster

ENGINES = ("sqlite", "postgres")

# As a hub writes them: with the values of variables a traceback of a whole hub takes seconds to lay out. To the process's own
# stderr: a command that is run beside the hub puts its own in place of sys.stderr and of sys.stdout, for all threads.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper("%H:%M:%S", utc=True),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ],
    logger_factory=structlog.WriteLoggerFactory(file=sys.__stderr__),
)

# How long an example takes, or is in the making, tells of the machine alone.
settings.register_profile("puente", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("puente")


@pytest.fixture(scope="session")
def server() -> Iterator[Cluster]:
    """A PostgreSQL of this session's own: a test may let it fall, and must start it again."""
    try:
        with cluster() as made:
            yield made
    except NoPostgres as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Databases on the server that EXCHANGE_TEST_POSTGRES names, else on our own."""
    given = os.environ.get("EXCHANGE_TEST_POSTGRES")
    made = Databases(given or request.getfixturevalue("server").url)
    asyncio.run(made.template())
    yield made
    if given:
        asyncio.run(made.drop())


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a new database is, for each engine."""
    return tmp_path / "hub.sqlite" if request.param == "sqlite" else _fresh(request)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    opened = await open_at(place)
    yield opened
    await opened.close()


@pytest.fixture(scope="module", params=ENGINES)
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the settings say of a hub's database, for each engine: tests of whole hubs that take this run on both."""
    return {} if request.param == "sqlite" else {"database_url": _fresh(request)}


def _fresh(request: pytest.FixtureRequest) -> str:
    made: Databases = request.getfixturevalue("databases")
    return asyncio.run(made.fresh())


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Packs:
    """What the auditors of both countries took home."""
    return asyncio.run(make_packs(tmp_path_factory.mktemp("packs")))
