"""The rules in force: registry, trust and agreement as one immutable snapshot, renewed as soon as any of them changes.

Asked at the start of every request. The question costs one small read; only an answer that changed costs a rebuild. So a
suspended member, a revoked certificate or a new agreement takes effect on the next request of every process.
"""

import asyncio
from dataclasses import dataclass
from functools import cached_property

from certs.signature import Keyring, KeyringEntry, Revocation
from certs.trust import TrustList
from exchange.clock import Clock
from exchange.errors import Unavailable
from exchange.ledger.entry import actor
from exchange.model.member import Collection, Member
from exchange.store.contract import Epochs, Registry, Store
from exchange.times import as_datetime, as_text
from policies.agreement import Agreement
from policies.agreement import load as load_agreement
from policies.decide import Decision, decide, may_submit
from policies.label import Label, Recipient


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, by which credential, from where. The last two go only into the private part of an entry."""

    member: Member
    account: str
    address: str = ""
    agent: str = ""

    @property
    def actor(self) -> str:
        return actor(self.member.country, self.member.slug, self.account)

    @property
    def private(self) -> dict[str, str]:
        return {"address": self.address, "agent": self.agent[:200]}


@dataclass(frozen=True)
class Rules:
    """One consistent answer to who is who and what is agreed. Compare `number` and `registry.epoch` to know it again."""

    number: int
    """Adoption number of the agreement; 0 when none was adopted yet."""
    agreement: Agreement | None
    registry: Registry
    trust: TrustList | None
    keyring: Keyring
    now: str
    """The time the agreement's dates are judged at; a snapshot does not outlive a date that matters."""

    def recipient(self, member: Member) -> Recipient:
        return Recipient(member.slug, member.country, member.roles, member.sectors, member.status)

    def decide(self, label: Label, member: Member) -> Decision:
        """The one judgement of who may have what: enforced by release, shown by explain."""
        return decide(self.in_force, label, self.recipient(member), now=self.now)

    def may_submit(self, label: Label) -> Decision:
        return may_submit(self.in_force, label, now=self.now)

    @property
    def in_force(self) -> Agreement:
        """The agreement, or a refusal: without one nothing is shared."""
        if self.agreement is None:
            raise Unavailable(
                "No sharing agreement is in force, so nothing can be exchanged.",
                "No hay un acuerdo de intercambio vigente, por lo que no puede intercambiarse nada.",
                code="no-agreement",
                retry_after_seconds=300,
            )
        return self.agreement

    @cached_property
    def by_identity(self) -> dict[str, Member]:
        return {member.identity_id: member for member in self.registry.members.values()}

    def collection(self, name: str) -> Collection | None:
        """By id or alias."""
        return next((c for c in self.registry.collections if name in (c.id, c.alias)), None)


class RuleBook:
    """Keeps the newest snapshot of this process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._current: Rules | None = None
        self._renewing = asyncio.Lock()

    async def current(self) -> Rules:
        return (await self.glance())[0]

    async def glance(self) -> tuple[Rules, Epochs]:
        """The rules, and the epochs they were checked against."""
        epochs = await self._store.epochs()
        rules = self._current
        if rules is not None and self._fits(rules, epochs):
            return rules, epochs
        async with self._renewing:
            rules = self._current
            if rules is None or not self._fits(rules, epochs):
                rules = self._current = await self._build()
        return rules, epochs

    def _fits(self, rules: Rules, epochs: Epochs) -> bool:
        if rules.number != epochs.agreement or rules.registry.epoch != epochs.registry:
            return False
        # A day's edge renews it anyway: certificates, CRLs and the agreement's dates are judged afresh.
        now = as_text(self._clock.now_us())
        if now[:13] != rules.now[:13]:
            return False
        dates = (rules.agreement.effective_from, rules.agreement.expires) if rules.agreement else ()
        return not any(rules.now < date <= now for date in dates)

    async def _build(self) -> Rules:
        registry = await self._store.registry()
        adopted = await self._store.agreement()
        now_us = self._clock.now_us()
        trust = TrustList.parse(registry.trust_list.document) if registry.trust_list else None
        entries = [
            KeyringEntry(
                cert.certificate, registry.members[cert.member].identity_id, registry.members[cert.member].country
            )
            for cert in registry.signing
        ]
        return Rules(
            number=adopted.number if adopted else 0,
            agreement=load_agreement(adopted.document) if adopted else None,
            registry=registry,
            trust=trust,
            keyring=Keyring.build(entries, trust, _revocations(registry), at=as_datetime(now_us)),
            now=as_text(now_us),
        )


def _revocations(registry: Registry) -> dict[str, Revocation]:
    return {
        key: Revocation(
            as_datetime(row.revoked_us),
            as_datetime(row.compromised_since_us) if row.compromised_since_us is not None else None,
        )
        for key, row in registry.revoked.items()
    }
