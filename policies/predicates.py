"""The conditions a clause can state: each a test of a label and a recipient, with its words in both languages."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from policies.document import Document, Forbid, From, Permit, To, When
from policies.label import ASSURANCE_ORDER, CONFIDENCE_ORDER, Label, Recipient
from policies.markings import PAP_ORDER, TLP_ORDER

Test = Callable[[Label, Recipient], bool]

TLP_RANK: Final = {word: rank for rank, word in enumerate(TLP_ORDER)}
PAP_RANK: Final = {word: rank for rank, word in enumerate(PAP_ORDER)}
CONFIDENCE_RANK: Final = {word: rank for rank, word in enumerate(CONFIDENCE_ORDER)}
ASSURANCE_RANK: Final = {word: rank for rank, word in enumerate(ASSURANCE_ORDER)}


@dataclass(frozen=True, slots=True)
class Predicate:
    """One condition of a clause. `en` and `es` complete "it requires that …"."""

    key: str
    """Where the document writes it: "when.tlp.max"."""
    holds: Test
    en: str
    es: str


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
    yield Predicate(
        "direction",
        lambda label, recipient: (label.country, recipient.country) in pairs,
        f"it goes one of these ways: {ways}",
        f"vaya en uno de estos sentidos: {ways}",
    )


def _originator(side: From) -> Iterator[Predicate]:
    if side.countries is not None:
        countries = frozenset[str](side.countries)
        yield Predicate(
            "from.countries",
            lambda label, _: label.country in countries,
            f"the originator is of {_any(countries)}",
            f"el remitente sea de {_any(countries)}",
        )
    if side.roles is not None:
        roles = frozenset(side.roles)
        yield Predicate(
            "from.roles",
            lambda label, _: not roles.isdisjoint(label.roles),
            f"the originator has one of these roles: {_any(roles)}",
            f"el remitente tenga una de estas funciones: {_any(roles)}",
        )
    if side.sectors is not None:
        sectors = frozenset(side.sectors)
        yield Predicate(
            "from.sectors",
            lambda label, _: not sectors.isdisjoint(label.sectors),
            f"the originator is of one of these sectors: {_any(sectors)}",
            f"el remitente sea de uno de estos sectores: {_any(sectors)}",
        )
    if side.members is not None:
        members = frozenset(side.members)
        yield Predicate(
            "from.members",
            lambda label, _: label.originator in members,
            f"the originator is one of {_any(members)}",
            f"el remitente sea uno de estos: {_any(members)}",
        )


def _recipient(side: To) -> Iterator[Predicate]:
    if side.countries is not None:
        countries = frozenset[str](side.countries)
        yield Predicate(
            "to.countries",
            lambda _, recipient: recipient.country in countries,
            f"the recipient is of {_any(countries)}",
            f"el destinatario sea de {_any(countries)}",
        )
    if side.roles is not None:
        roles = frozenset(side.roles)
        yield Predicate(
            "to.roles",
            lambda _, recipient: not roles.isdisjoint(recipient.roles),
            f"the recipient has one of these roles: {_any(roles)}",
            f"el destinatario tenga una de estas funciones: {_any(roles)}",
        )
    if side.sectors is not None:
        sectors = frozenset(side.sectors)
        yield Predicate(
            "to.sectors",
            lambda _, recipient: not sectors.isdisjoint(recipient.sectors),
            f"the recipient is of one of these sectors: {_any(sectors)}",
            f"el destinatario sea de uno de estos sectores: {_any(sectors)}",
        )


def _recipient_by_name(side: To, document: Document) -> Iterator[Predicate]:
    named = side.members
    if side.audience is not None:
        group = document.audiences[side.audience].members
        named = group if named is None else [slug for slug in named if slug in group]
    if named is not None:
        members = frozenset(named)
        key, who = ("to.audience", side.audience) if side.audience else ("to.members", _any(members))
        yield Predicate(
            key,
            lambda _, recipient: recipient.member in members,
            f"the recipient is one of {who}",
            f"el destinatario sea uno de estos: {who}",
        )
    if side.sector_overlap:
        yield Predicate(
            "to.sector_overlap",
            lambda label, recipient: not set(label.sectors).isdisjoint(recipient.sectors),
            "originator and recipient share a sector",
            "remitente y destinatario compartan un sector",
        )
    if side.status is not None:
        statuses = frozenset[str](side.status)
        yield Predicate(
            "to.status",
            lambda _, recipient: recipient.status in statuses,
            f"the recipient's status is {_any(statuses)}",
            f"la situación del destinatario sea {_any(statuses)}",
        )


def _levels(when: When) -> Iterator[Predicate]:
    if when.tlp is not None:
        tlp = TLP_RANK[when.tlp.max]
        name = tlp_name(when.tlp.max)
        yield Predicate(
            "when.tlp.max",
            lambda label, _: TLP_RANK[label.tlp] <= tlp,
            f"the object is at most {name}",
            f"el objeto no exceda {name}",
        )
    if when.pap is not None:
        pap = PAP_RANK[when.pap.max]
        name = f"PAP:{when.pap.max.upper()}"
        yield Predicate(
            "when.pap.max",
            lambda label, _: PAP_RANK[label.pap] <= pap,
            f"the object is at most {name}",
            f"el objeto no exceda {name}",
        )
    if when.confidence is not None:
        floor = CONFIDENCE_RANK[when.confidence.floor]
        yield Predicate(
            "when.confidence.floor",
            lambda label, _: CONFIDENCE_RANK[label.confidence] >= floor,
            f"the confidence is at least {when.confidence.floor}",
            f"la confianza sea al menos {when.confidence.floor}",
        )
    if when.assurance is not None:
        yield from _assurance(when.assurance.floor, when.assurance.any)


def _assurance(floor: str | None, words: Sequence[str] | None) -> Iterator[Predicate]:
    if floor is not None:
        least = ASSURANCE_RANK[floor]
        yield Predicate(
            "when.assurance.floor",
            lambda label, _: ASSURANCE_RANK[label.assurance] >= least,
            f"the assurance is at least {floor}",
            f"la garantía de origen sea al menos {floor}",
        )
    if words is not None:
        accepted = frozenset(words)
        yield Predicate(
            "when.assurance.any",
            lambda label, _: label.assurance in accepted,
            f"the assurance is {_any(accepted)}",
            f"la garantía de origen sea {_any(accepted)}",
        )


def _kinds(when: When) -> Iterator[Predicate]:
    if when.classes is not None:
        classes = frozenset[str](when.classes)
        yield Predicate(
            "when.classes",
            lambda label, _: label.object_class in classes,
            f"the object is of one of these classes: {_any(classes)}",
            f"el objeto sea de una de estas clases: {_any(classes)}",
        )
    if when.sectors is not None:
        sectors = frozenset(when.sectors.any)
        yield Predicate(
            "when.sectors.any",
            lambda label, _: not sectors.isdisjoint(label.sectors),
            f"the object is of one of these sectors: {_any(sectors)}",
            f"el objeto sea de uno de estos sectores: {_any(sectors)}",
        )
    if when.collections is not None:
        collections = frozenset(when.collections)
        yield Predicate(
            "when.collections",
            lambda label, _: label.collection in collections,
            f"it was submitted to {_any(collections)}",
            f"se haya depositado en {_any(collections)}",
        )
    if when.feeds is not None:
        feeds = frozenset(when.feeds)
        yield Predicate(
            "when.feeds",
            lambda label, _: label.feed in feeds,
            f"it comes from one of these feeds: {_any(feeds)}",
            f"provenga de una de estas fuentes: {_any(feeds)}",
        )


def _restrictions(when: When, known: frozenset[str]) -> Iterator[Predicate]:
    if when.caveats is not None:
        words = frozenset(when.caveats.any)
        test = _caveats(words, known)
        yield Predicate(
            "when.caveats.any",
            test,
            f"the object bears one of these caveats: {_any(words)}",
            f"el objeto lleve una de estas restricciones: {_any(words)}",
        )
    if when.rel_to is not None:
        yield Predicate(
            "when.rel_to",
            lambda label, _: label.rel_to is not None,
            "the originator named the countries it may go to",
            "el remitente haya nombrado los países a los que puede ir",
        )
    if when.consent is not None:
        consent = when.consent
        yield Predicate(
            "when.consent",
            lambda label, _: label.consent == consent,
            "the originator agrees to be named" if consent == "named" else "the originator does not agree to be named",
            "el remitente acepte ser nombrado" if consent == "named" else "el remitente no acepte ser nombrado",
        )
    # `purposes` is no condition: it bounds what the recipient may do, and travels as an obligation.


def _caveats(words: frozenset[str], known: frozenset[str]) -> Test:
    """ "opaque" stands for every marking that nobody here understands, save those the document names as known."""
    if "opaque" not in words:
        return lambda label, _: not words.isdisjoint(label.caveats)

    def any_caveat(label: Label, _: Recipient) -> bool:
        return any(
            caveat in words or (caveat.startswith("opaque:") and caveat not in known) for caveat in label.caveats
        )

    return any_caveat


def _unless(form: Forbid) -> Iterator[Predicate]:
    # Consent records are not part of a label yet, so no consent is ever valid: silence means no, and the forbid holds.
    if form.unless.recipient_country_in and not form.unless.originator_consent:
        yield Predicate(
            "unless.recipient_country_in",
            lambda label, recipient: label.rel_to is None or recipient.country not in label.rel_to,
            "the recipient's country is not among those the originator named",
            "el país del destinatario no figure entre los que nombró el remitente",
        )


def _any(words: frozenset[str]) -> str:
    return ", ".join(sorted(words)) or "∅"
