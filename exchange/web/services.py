"""What request handlers are handed: the parts of the hub, put together in hub.py and nowhere else."""

from dataclasses import dataclass, field

from exchange.clock import Clock
from exchange.edl.lists import Lists
from exchange.governance.agreements import Agreements
from exchange.governance.feeds import FeedBook
from exchange.governance.records import Records
from exchange.governance.registry import Governance
from exchange.governance.statements import Statements
from exchange.holding import Holding
from exchange.intake.submit import Intake
from exchange.ledger.publisher import Publisher
from exchange.ledger.sequencer import Sequencer
from exchange.relaying import Relaying
from exchange.release.notices import Notices
from exchange.release.page import Release
from exchange.release.recall import Recalls
from exchange.rules import RuleBook
from exchange.settings import Settings
from exchange.store.contract import Store


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    clock: Clock
    store: Store
    sequencer: Sequencer
    publisher: Publisher
    rulebook: RuleBook
    intake: Intake
    release: Release
    recalls: Recalls
    notices: Notices
    governance: Governance
    records: Records
    relaying: Relaying
    agreements: Agreements
    statements: Statements
    feeds: FeedBook
    lists: Lists
    holding: Holding
    cursor_key: bytes
    """Signs `next` cursors; the same in every process of the hub."""
    audit_readers: set[str] = field(default_factory=set)
    """Auditors whose question this process is answering: one reads whole logs, so each has one at a time."""
