"""The conditions a clause can state: each a test of a label and a recipient, with its words in both languages."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from policies.document import Document, Forbid, From, Permit, To, When
from policies.label import ASSURANCE_ORDER, CONFIDENCE_ORDER, Label, Recipient
from policies.markings import PAP_ORDER, TLP_ORDER

TLP_RANK: Final = {word: rank for rank, word in enumerate(TLP_ORDER)}
PAP_RANK: Final = {word: rank for rank, word in enumerate(PAP_ORDER)}
CONFIDENCE_RANK: Final = {word: rank for rank, word in enumerate(CONFIDENCE_ORDER)}
ASSURANCE_RANK: Final = {word: rank for rank, word in enumerate(ASSURANCE_ORDER)}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a clause, and what it looks at. `en` and `es` complete "it requires that …"."""

    key: str
    """Where the document writes it: "when.tlp.max"."""
    en: str
    es: str


@dataclass(frozen=True, slots=True)
class OfWay(Condition):
    """Looks at the two countries alone: the originator's, the recipient's."""

    holds: Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class OfLabel(Condition):
    holds: Callable[[Label], bool]


@dataclass(frozen=True, slots=True)
class OfRecipient(Condition):
    holds: Callable[[Recipient], bool]


@dataclass(frozen=True, slots=True)
class OfBoth(Condition):
    """Looks at the case whole; the last argument is whether the originator has validly consented to it."""

    holds: Callable[[Label, Recipient, bool], bool]


Predicate = OfWay | OfLabel | OfRecipient | OfBoth


def predicates_of(form: Permit | Forbid, document: Document) -> Iterator[Predicate]:
    """The conditions of one rule, in the order they are tried: direction, from, to, when, unless."""
    yield from _direction(form.direction)
    yield from _originator(form.from_)
    yield from _recipient(form.to)
    yield from _recipient_by_name(form.to, document)
    yield from _levels(form.when)
    yield from _kinds(form.when)
    yield from _restrictions(form.when, known_markings(document))
    if isinstance(form, Forbid):
        yield from _unless(form)


def belonging(document: Document, name: str) -> Callable[[Recipient], bool]:
    """Who belongs to an audience: whom the document names, and, if it may be extended, whom its owner has added.

    An audience with nobody in it, and one that the document does not define, have no members.
    """
    audience = document.audiences.get(name)
    if audience is None:
        return lambda _: False
    members = frozenset(audience.members)
    if not audience.may_extend:
        return lambda recipient: recipient.member in members
    return lambda recipient: recipient.member in members or name in recipient.audiences


def known_markings(document: Document) -> frozenset[str]:
    return frozenset(f"opaque:{marking}" for marking in document.vocabulary.markings)


def tlp_name(word: str) -> str:
    """ "amber+strict" as people write it; TLP labels are the same in every language."""
    return f"TLP:{word.upper()}"


# In the functions below an absent condition is no predicate, while an empty list is a predicate that nobody satisfies.


def _direction(directions: Sequence[str] | None) -> Iterator[Predicate]:
    if directions is None:
        return
    pairs = frozenset((way[:2], way[3:]) for way in directions)
    ways = ", ".join(directions)
    yield OfWay(
        "direction",
        f"it goes one of these ways: {ways}",
        f"vaya en uno de estos sentidos: {ways}",
        lambda origin, destination: (origin, destination) in pairs,
    )


def _originator(side: From) -> Iterator[Predicate]:
    if side.countries is not None:
        countries = frozenset[str](side.countries)
        yield OfLabel(
            "from.countries",
            f"the originator is of {_any(countries)}",
            f"el remitente sea de {_any(countries)}",
            lambda label: label.country in countries,
        )
    if side.roles is not None:
        roles = frozenset(side.roles)
        yield OfLabel(
            "from.roles",
            f"the originator has one of these roles: {_any(roles)}",
            f"el remitente tenga una de estas funciones: {_any(roles)}",
            lambda label: not roles.isdisjoint(label.roles),
        )
    if side.sectors is not None:
        sectors = frozenset(side.sectors)
        yield OfLabel(
            "from.sectors",
            f"the originator is of one of these sectors: {_any(sectors)}",
            f"el remitente sea de uno de estos sectores: {_any(sectors)}",
            lambda label: not sectors.isdisjoint(label.sectors),
        )
    if side.members is not None:
        members = frozenset(side.members)
        yield OfLabel(
            "from.members",
            f"the originator is one of {_any(members)}",
            f"el remitente sea uno de estos: {_any(members)}",
            lambda label: label.originator in members,
        )


def _recipient(side: To) -> Iterator[Predicate]:
    if side.countries is not None:
        countries = frozenset[str](side.countries)
        yield OfRecipient(
            "to.countries",
            f"the recipient is of {_any(countries)}",
            f"el destinatario sea de {_any(countries)}",
            lambda recipient: recipient.country in countries,
        )
    if side.roles is not None:
        roles = frozenset(side.roles)
        yield OfRecipient(
            "to.roles",
            f"the recipient has one of these roles: {_any(roles)}",
            f"el destinatario tenga una de estas funciones: {_any(roles)}",
            lambda recipient: not roles.isdisjoint(recipient.roles),
        )
    if side.sectors is not None:
        sectors = frozenset(side.sectors)
        yield OfRecipient(
            "to.sectors",
            f"the recipient is of one of these sectors: {_any(sectors)}",
            f"el destinatario sea de uno de estos sectores: {_any(sectors)}",
            lambda recipient: not sectors.isdisjoint(recipient.sectors),
        )


def _recipient_by_name(side: To, document: Document) -> Iterator[Predicate]:
    if side.members is not None:
        members = frozenset(side.members)
        yield OfRecipient(
            "to.members",
            f"the recipient is one of {_any(members)}",
            f"el destinatario sea uno de estos: {_any(members)}",
            lambda recipient: recipient.member in members,
        )
    if side.audience is not None:
        audience = side.audience
        yield OfRecipient(
            "to.audience",
            f"the recipient belongs to the audience {audience}",
            f"el destinatario pertenezca a la audiencia {audience}",
            belonging(document, audience),
        )
    if side.sector_overlap:
        yield OfBoth(
            "to.sector_overlap",
            "originator and recipient share a sector",
            "remitente y destinatario compartan un sector",
            lambda label, recipient, _: not set(label.sectors).isdisjoint(recipient.sectors),
        )
    if side.status is not None:
        statuses = frozenset[str](side.status)
        yield OfRecipient(
            "to.status",
            f"the recipient's status is {_any(statuses)}",
            f"la situación del destinatario sea {_any(statuses)}",
            lambda recipient: recipient.status in statuses,
        )


def _levels(when: When) -> Iterator[Predicate]:
    if when.tlp is not None:
        tlp = TLP_RANK[when.tlp.max]
        name = tlp_name(when.tlp.max)
        yield OfLabel(
            "when.tlp.max",
            f"the object is at most {name}",
            f"el objeto no exceda {name}",
            lambda label: TLP_RANK[label.tlp] <= tlp,
        )
    if when.pap is not None:
        pap = PAP_RANK[when.pap.max]
        name = f"PAP:{when.pap.max.upper()}"
        yield OfLabel(
            "when.pap.max",
            f"the object is at most {name}",
            f"el objeto no exceda {name}",
            lambda label: PAP_RANK[label.pap] <= pap,
        )
    if when.confidence is not None:
        floor = CONFIDENCE_RANK[when.confidence.floor]
        yield OfLabel(
            "when.confidence.floor",
            f"the confidence is at least {when.confidence.floor}",
            f"la confianza sea al menos {when.confidence.floor}",
            lambda label: CONFIDENCE_RANK[label.confidence] >= floor,
        )
    if when.assurance is not None:
        yield from _assurance(when.assurance.floor, when.assurance.any)


def _assurance(floor: str | None, words: Sequence[str] | None) -> Iterator[Predicate]:
    if floor is not None:
        least = ASSURANCE_RANK[floor]
        yield OfLabel(
            "when.assurance.floor",
            f"the assurance is at least {floor}",
            f"la garantía de origen sea al menos {floor}",
            lambda label: ASSURANCE_RANK[label.assurance] >= least,
        )
    if words is not None:
        accepted = frozenset(words)
        yield OfLabel(
            "when.assurance.any",
            f"the assurance is {_any(accepted)}",
            f"la garantía de origen sea {_any(accepted)}",
            lambda label: label.assurance in accepted,
        )


def _kinds(when: When) -> Iterator[Predicate]:
    if when.classes is not None:
        classes = frozenset[str](when.classes)
        yield OfLabel(
            "when.classes",
            f"the object is of one of these classes: {_any(classes)}",
            f"el objeto sea de una de estas clases: {_any(classes)}",
            lambda label: label.object_class in classes,
        )
    if when.sectors is not None:
        sectors = frozenset(when.sectors.any)
        yield OfLabel(
            "when.sectors.any",
            f"the object is of one of these sectors: {_any(sectors)}",
            f"el objeto sea de uno de estos sectores: {_any(sectors)}",
            lambda label: not sectors.isdisjoint(label.sectors),
        )
    if when.collections is not None:
        collections = frozenset(when.collections)
        yield OfLabel(
            "when.collections",
            f"it was submitted to {_any(collections)}",
            f"se haya depositado en {_any(collections)}",
            lambda label: label.collection in collections,
        )
    if when.feeds is not None:
        feeds = frozenset(when.feeds)
        yield OfLabel(
            "when.feeds",
            f"it comes from one of these feeds: {_any(feeds)}",
            f"provenga de una de estas fuentes: {_any(feeds)}",
            lambda label: label.feed in feeds,
        )


def _restrictions(when: When, known: frozenset[str]) -> Iterator[Predicate]:
    if when.caveats is not None:
        words = frozenset(when.caveats.any)
        test = _caveats(words, known)
        yield OfLabel(
            "when.caveats.any",
            f"the object bears one of these caveats: {_any(words)}",
            f"el objeto lleve una de estas restricciones: {_any(words)}",
            test,
        )
    if when.rel_to is not None:
        yield OfLabel(
            "when.rel_to",
            "the originator named the countries it may go to",
            "el remitente haya nombrado los países a los que puede ir",
            lambda label: label.rel_to is not None,
        )
    if when.consent is not None:
        consent = when.consent
        yield OfLabel(
            "when.consent",
            "the originator agrees to be named" if consent == "named" else "the originator does not agree to be named",
            "el remitente acepte ser nombrado" if consent == "named" else "el remitente no acepte ser nombrado",
            lambda label: label.consent == consent,
        )
    # `purposes` is no condition: it bounds what the recipient may do, and travels as an obligation.


def _caveats(words: frozenset[str], known: frozenset[str]) -> Callable[[Label], bool]:
    """ "opaque" stands for every marking that nobody here understands, save those the document names as known."""
    if "opaque" not in words:
        return lambda label: not words.isdisjoint(label.caveats)

    def any_caveat(label: Label) -> bool:
        return any(
            caveat in words or (caveat.startswith("opaque:") and caveat not in known) for caveat in label.caveats
        )

    return any_caveat


def _unless(form: Forbid) -> Iterator[Predicate]:
    by_consent, by_country = form.unless.originator_consent, form.unless.recipient_country_in
    if by_consent and by_country:
        yield OfBoth(
            "unless",
            "the originator has not consented, or did not name the recipient's country",
            "el remitente no haya dado su consentimiento o no haya nombrado el país del destinatario",
            lambda label, recipient, consented: not (consented and _named(label, recipient)),
        )
    elif by_consent:
        # Silence means no: only a consent that stands lifts the clause.
        yield OfBoth(
            "unless.originator_consent",
            "the originator has not consented",
            "el remitente no haya dado su consentimiento",
            lambda _, __, consented: not consented,
        )
    elif by_country:
        yield OfBoth(
            "unless.recipient_country_in",
            "the recipient's country is not among those the originator named",
            "el país del destinatario no figure entre los que nombró el remitente",
            lambda label, recipient, _: not _named(label, recipient),
        )


def _named(label: Label, recipient: Recipient) -> bool:
    return label.rel_to is not None and recipient.country in label.rel_to


def _any(words: frozenset[str]) -> str:
    return ", ".join(sorted(words)) or "∅"
