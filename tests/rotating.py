"""A new key for a log of a hub in a home, and witnesses that are told of it."""

from collections.abc import Iterable

from click.testing import CliRunner

from exchange.cli.rotating import rotate_key
from exchange.governance.log_keys import LogKeys
from exchange.hub import witness_policies
from exchange.ledger.generations import current
from exchange.ledger.note import LogKey
from exchange.ledger.signing import KeyFiles
from exchange.web.services import Services
from tests.world import Founded


def new_key(founded: Founded, log: str) -> LogKey:
    """As an operator makes it: it lies among the hub's keys, and its policy lists it."""
    made = CliRunner().invoke(rotate_key, ["new", log, "--home", str(founded.home.root)], catch_exceptions=False)
    files = KeyFiles(founded.settings.keys)
    key = files.find(current(witness_policies(founded.settings))[log], made.stdout.strip())
    assert key is not None
    return key


def trust(founded: Founded, key: LogKey, witnesses: Iterable[str]) -> None:
    for name in witnesses:
        founded.witnesses[name].add_log(key.vkey)


def desk(services: Services) -> LogKeys:
    return LogKeys(services.store, services.sequencer, services.publisher, services.records)
