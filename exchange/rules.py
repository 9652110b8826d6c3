"""The rules in force: registry, trust and agreement as one immutable snapshot, renewed as soon as any of them changes.

Asked at the start of every request. The question costs one small read; only an answer that changed costs a rebuild. So a
suspended member, a revoked certificate or a new agreement takes effect on the next request of every process.
"""

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from certs.signature import Keyring, KeyringEntry, Revocation, Revocations
from certs.trust import TrustList
from exchange.citing import Citing, CitingBook
from exchange.clock import Clock
from exchange.crls import CrlFolder
from exchange.errors import Unavailable
from exchange.ledger.entry import Entry, actor, national, route
from exchange.model.member import Collection, Member, Status, in_audience
from exchange.model.product import PLAIN, Product
from exchange.model.recall import RecallRow
from exchange.model.statement import added, standing_grants
from exchange.store.answers import Epochs, Registry
from exchange.store.changes import AgreementRow
from exchange.store.contract import Store
from exchange.times import as_datetime, as_text, parse_us
from policies.agreement import Agreement
from policies.agreement import load as load_agreement
from policies.consent import Consent
from policies.decide import Decision, decide, may_submit
from policies.label import Label, Recipient
from policies.overlay import Overlay, overlaid, parse_overlay, withholding
from policies.words import seconds


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, by which credential, from where. Address and agent go only into the private part of an entry."""

    member: Member
    account: str
    address: str = ""
    agent: str = ""
    product: Product = PLAIN
    """What the credential was made for."""

    @property
    def actor(self) -> str:
        return actor(self.member.country, self.member.slug, self.account)

    @property
    def private(self) -> dict[str, str]:
        # A header may hold bytes that are no text, and those have no canonical form.
        return {"address": self.address, "agent": self.agent[:200].encode("utf-8", "replace").decode()}


_MINUTE_US: Final = 60_000_000
_HOUR_US: Final = 60 * _MINUTE_US

TERMS: Final = {
    "delete": "error",
    "marking": "error",
    "revoke": "error",
    "grant": "legal",
    "suspension": "legal",
    "compromise": "compromise",
    "erasure": "privacy",
}
"""By the cause of a recall, the class under which the agreement's [withdrawal] speaks of it: what originators do corrects an
error, a right that ended is law, what approvers have erased is a person's."""


@dataclass(frozen=True)
class Rules:
    """One consistent answer to who is who and what is agreed. Compare `number` and `registry.epoch` to know it again."""

    number: int
    """Adoption number of the agreement; 0 when none was adopted yet."""
    agreement: Agreement | None
    """What is judged by: what both countries agreed, with what one of them tightened since."""
    agreed: Agreement | None
    """What both countries agreed."""
    overlays: tuple[Overlay, ...]
    registry: Registry
    trust: TrustList | None
    keyring: Keyring
    revocations: Revocations
    """By the registry, and by the countries' own lists where the hub was given a folder of them."""
    crls: object
    """The state of that folder the snapshot was made from."""
    now: str
    """The time the agreement's dates are judged at; a snapshot does not outlive a date that matters."""
    consents: tuple[Consent, ...] = ()
    """What originators consented to, and have not taken back."""
    additions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By member, the audiences that their owners have added it to."""
    withheld: frozenset[str] = frozenset()
    """Members that are suspended: nobody has what they sent for as long as they are."""
    citing: Citing = field(default_factory=Citing)
    """What definitions and identities are cited by."""

    def recipient(self, member: Member) -> Recipient:
        added = self.additions.get(member.slug, ())
        readable = tuple([one.alias for one in self.registry.collections if one.can_read(member)])
        return Recipient(member.slug, member.country, member.roles, member.sectors, member.status, added, readable)

    def decide(self, label: Label, member: Member) -> Decision:
        """The one judgement of who may have what: enforced by release, shown by explain."""
        return self.judge(label, self.recipient(member))

    def judge(self, label: Label, recipient: Recipient) -> Decision:
        cited = self.citing.pairs
        return decide(self.in_force, label, recipient, now=self.now, consents=self.consents, cited=cited)

    def peer(self, member: Member) -> Recipient:
        """The member as one of those whom no clause can tell from each other: equal for equal decisions, save on what is
        the member's own."""
        found = self.recipient(member)
        named = member.slug in self.in_force.named_members or member.slug in self._consented
        return found if named else replace(found, member="")

    def under(self, agreed: Agreement, overlays: tuple[Overlay, ...]) -> "Rules":
        """The same with another agreement, as they will be when it comes into force."""
        now = max(self.now, agreed.effective_from)
        agreement = withholding(overlaid(agreed, overlays), self.withheld)
        return replace(self, number=self.number + 1, agreement=agreement, agreed=agreed, overlays=overlays, now=now)

    def may_submit(self, label: Label) -> Decision:
        return may_submit(self.in_force, label, now=self.now)

    def recall(
        self, member: str, collection: str, cause: str, countries: Iterable[str], what: object, now_us: int,
        *, scope: bytes = b"",
    ) -> RecallRow:  # fmt: skip
        """What a member is to drop, by the terms of the agreement."""
        name = TERMS[cause]
        term = getattr(self.in_force.document.withdrawal, name, None)
        due_us = None if term is None else now_us + 1_000_000 * seconds(term.act_within)
        required = term is not None and term.ack == "required"
        reveals = "id" if term is None else term.reveals
        words = " ".join(sorted(set(countries)))
        return RecallRow(
            str(uuid.uuid4()), member, collection, cause, name, reveals, words, orjson.dumps(what), scope, now_us, due_us,
            required,
        )  # fmt: skip

    def recall_entry(self, recall: RecallRow, who: str) -> Entry:
        """That a member is asked to drop something: in the log that it and the originator's country both have."""
        pub = {"recall": recall.id, "to": recall.member, "cause": recall.cause}
        log = route(self.registry.members[recall.member].country, recall.countries.split())
        return Entry(log, "recall", who, f"coll:{recall.collection}", pub)

    def log_of(self, encoded: str, country: str) -> str:
        """In which log objects of a label are published, and withdrawn: `both` when anybody of the other country may have them as
        they are. Where only an anonymous view may cross, the other country's auditors must not learn by whom and when the
        original came."""
        if self.agreement is None:
            return national(country)
        label = Label.decode(encoded)
        return self.log_by(country, [(one, self.decide(label, one)) for one in self.registry.members.values()])

    def log_by(self, country: str, decided: Iterable[tuple[Member, Decision]]) -> str:
        """The same, by what was decided."""
        crosses = any(
            member.country != country and one.effect == "permit" and one.view == "full" for member, one in decided
        )
        return "both" if crosses else national(country)

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

    def released(self, member: Member, now_us: int) -> dict[str, int]:
        """The held values that are accepted from the member now, and until when."""
        found: dict[str, int] = {}
        for one in self.registry.releases:
            if one.until_us > now_us and in_audience((one.audience,), member):
                found[one.value] = max(one.until_us, found.get(one.value, 0))
        return found

    def is_gateway(self, member: Member) -> bool:
        """Whether the trust list names the member as its own country's gateway."""
        return self.trust is not None and self.trust.gateway(member.country) == member.identity_id

    @cached_property
    def basis(self) -> tuple[object, ...]:
        """All that a decision hangs on beside the label and the recipient, and what that is cited by (`citing`, whose changes bear on
        few labels): equal ones decide alike."""
        return (
            self.agreement.sha256 if self.agreement else "",
            self.until_us,
            self.registry.collections,
            self.consents,
            *sorted(self.additions.items()),
        )

    @property
    def changes(self) -> int:
        """How many changes of registry and agreement there had been: it tells these rules from those of before."""
        return self.number + self.registry.epoch

    @cached_property
    def now_us(self) -> int:
        return parse_us(self.now)

    @cached_property
    def until_us(self) -> int:
        """When the agreement, or a consent, next begins or ends: from then on it is judged afresh."""
        return min([turn for turn in self._turns if turn > self.now_us], default=2**62)

    @cached_property
    def since_us(self) -> int:
        """When one of them last did; 0 for never."""
        return max([turn for turn in self._turns if turn <= self.now_us], default=0)

    @cached_property
    def _turns(self) -> list[int]:
        agreement = self.agreement
        turns = [turn for one in self.consents for turn in (one.given, one.until)]
        turns += [agreement.effective_from, agreement.expires] if agreement else []
        return list(map(parse_us, turns))  # as numbers: texts of unequal precision do not compare as times do

    @cached_property
    def _consented(self) -> frozenset[str]:
        """Members that a consent names, and so tells from their peers."""
        return frozenset(slug for one in self.consents for slug in one.members)

    @cached_property
    def by_identity(self) -> dict[str, Member]:
        return {member.identity_id: member for member in self.registry.members.values()}

    def collection(self, name: str) -> Collection | None:
        """By id or alias."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Collection]:
        return {name: one for one in self.registry.collections for name in (one.alias, one.id)}


class Glance(NamedTuple):
    """The rules, and the epochs they were checked against: what one request is judged by."""

    rules: Rules
    epochs: Epochs


def changing() -> Unavailable:
    """What is answered when rules change faster than something can be decided under them."""
    return Unavailable(
        "The rules are changing right now. Try again shortly.",
        "Las reglas están cambiando en este momento. Intente de nuevo en breve.",
    )


@dataclass(frozen=True, slots=True)
class _Trusted:
    """Whose signatures count, and what that was made of."""

    made_of: tuple[object, ...] = ()
    trust: TrustList | None = None
    keyring: Keyring = field(default_factory=lambda: Keyring({}))
    revocations: Revocations = field(default_factory=lambda: Revocations.listed({}))


class RuleBook:
    """Keeps the newest snapshot of this process."""

    def __init__(self, store: Store, clock: Clock, crls: Path | None = None) -> None:
        self._store = store
        self._clock = clock
        self._crls = CrlFolder(crls) if crls is not None else None
        self._current: Rules | None = None
        self._trusted = _Trusted()
        self._renewing = asyncio.Lock()
        self._citing = CitingBook(store)

    async def current(self) -> Rules:
        return (await self.glance()).rules

    async def glance(self) -> Glance:
        """The rules as they are now."""
        epochs = await self._store.epochs()
        rules = self._current
        if rules is None or not self._fits(rules, epochs):
            async with self._renewing:
                rules = self._current
                if rules is None or not self._fits(rules, epochs):
                    rules = self._current = await self._build(epochs.citing)
        if rules.citing.epoch < epochs.citing:
            async with self._renewing:
                # Whoever came first did it for all; only the citing is another then, so that the rest is kept.
                rules = self._current or rules
                if rules.citing.epoch < epochs.citing:
                    rules = self._current = replace(rules, citing=await self._citing.current(epochs.citing))
        if (
            epochs.last_tick >= rules.until_us
        ):  # ticks run ahead of the clock when much is placed: what lies there is for the next
            epochs = replace(epochs, last_tick=rules.until_us - 1)
        return Glance(rules, epochs)

    def _fits(self, rules: Rules, epochs: Epochs) -> bool:
        if rules.number != epochs.agreement or rules.registry.epoch != epochs.registry:
            return False
        if self._crls is not None and self._crls.state() != rules.crls:
            return False
        # An hour's edge renews it anyway: certificates and the agreement's dates are judged afresh; a list's age each minute.
        now_us = self._clock.now_us()
        return self._edge(now_us) == self._edge(rules.now_us) and now_us < rules.until_us

    def _edge(self, now_us: int) -> int:
        return now_us // (_HOUR_US if self._crls is None else _MINUTE_US)

    async def _build(self, citing: int) -> Rules:
        registry = await self._store.registry()
        adopted = await self._store.agreement()
        agreed = agreement_of(adopted.document) if adopted else None
        overlays = overlays_of(adopted) if adopted else ()
        withheld = frozenset(one.slug for one in registry.members.values() if one.status == Status.SUSPENDED)
        now_us = self._clock.now_us()
        crls = self._crls.state() if self._crls is not None else None
        if (made_of := _made_of(registry, crls, self._edge(now_us))) != self._trusted.made_of:
            self._trusted = self._judged(made_of, registry, now_us)
        return Rules(
            number=adopted.number if adopted else 0,
            agreement=withholding(overlaid(agreed, overlays), withheld) if agreed else None,
            agreed=agreed,
            overlays=overlays,
            registry=registry,
            trust=self._trusted.trust,
            keyring=self._trusted.keyring,
            revocations=self._trusted.revocations,
            crls=crls,
            now=as_text(now_us),
            consents=_consents(registry, agreed),
            additions=_additions(registry, agreed),
            withheld=withheld,
            citing=await self._citing.current(citing),
        )

    def _judged(self, made_of: tuple[object, ...], registry: Registry, now_us: int) -> _Trusted:
        """Every enrolled certificate judged, which takes a path each."""
        trust = TrustList.parse(registry.trust_list.document) if registry.trust_list else None
        revocations = Revocations.listed(_revocations(registry))
        if self._crls is not None and trust is not None:
            revocations = self._crls.read(trust.intermediates(), _revocations(registry), at=as_datetime(now_us))
        keyring = Keyring.build(_enrolled(registry), trust, revocations, at=as_datetime(now_us))
        return _Trusted(made_of, trust, keyring, revocations)


def _made_of(registry: Registry, crls: object, edge: int) -> tuple[object, ...]:
    """All that whom to trust hangs on: an approval or a new agreement changes the registry and none of this."""
    return registry.trust_list, registry.revoked, _enrolled(registry), crls, edge


def _enrolled(registry: Registry) -> list[KeyringEntry]:
    return [
        KeyringEntry(cert.certificate, registry.members[cert.member].identity_id, registry.members[cert.member].country)
        for cert in registry.signing
    ]


@lru_cache(maxsize=16)
def agreement_of(document: bytes) -> Agreement:
    """The agreement that a document states. Reading one takes some ten milliseconds."""
    return load_agreement(document)


def overlays_of(row: AgreementRow) -> tuple[Overlay, ...]:
    """The tightenings that an adoption keeps in force."""
    return tuple(parse_overlay(one["document"].encode()) for one in orjson.loads(row.overlays))


def _consents(registry: Registry, agreed: Agreement | None) -> tuple[Consent, ...]:
    """The consents that stand, each cut to what the agreement lets one last."""
    seconds_at_most = agreed.consent_seconds if agreed else 0
    found = []
    for one in standing_grants(registry.statements):
        said = one.said
        until_us = min(parse_us(said["until"]), parse_us(said["given"]) + 1_000_000 * seconds_at_most)
        found.append(
            Consent(
                one.member,
                said["case"],
                tuple(said["members"]),
                tuple(said["countries"]),
                said["given"],
                as_text(until_us),
            )
        )
    return tuple(found)


def _additions(registry: Registry, agreed: Agreement | None) -> dict[str, tuple[str, ...]]:
    """By member, the audiences that the agreement lets their owner add to, and to which its authority added it."""
    found: dict[str, list[str]] = {}
    for (audience, member), by in added(registry.statements).items():
        if agreed is not None and may_extend(agreed, audience, by):
            found.setdefault(member, []).append(audience)
    return {member: tuple(sorted(audiences)) for member, audiences in found.items()}


def may_extend(agreed: Agreement, audience: str, by: str) -> bool:
    """Whether a member may add to an audience: it is the authority of its owner, and both countries agreed to that."""
    named = agreed.document.audiences.get(audience)
    return named is not None and named.may_extend and agreed.document.parties[named.owner].authority == by


def _revocations(registry: Registry) -> dict[str, Revocation]:
    return {
        key: Revocation(
            as_datetime(row.revoked_us),
            as_datetime(row.compromised_since_us) if row.compromised_since_us is not None else None,
        )
        for key, row in registry.revoked.items()
    }
