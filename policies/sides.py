"""The two sides of a case, each looked at once: what the clauses find in a label, and what they find in a recipient.

A case is a label and a recipient. Most conditions look at one of them only, so each is asked once per label and once per
recipient; what is left for the case itself are the two countries and the few conditions that look at both.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, NamedTuple

from policies import builtin
from policies.clauses import Agreement, Top
from policies.label import Label, Recipient
from policies.obligations import NO_OBLIGATIONS, Obligations, together
from policies.predicates import ASSURANCE_RANK, PAP_RANK, TLP_RANK, OfWay
from policies.words import instant

MATCHED: Final = -1
ERRED: Final = -2
"""Outcomes of a clause; any other is the number of the first condition that failed."""

_NAMED_ROLES: Final = frozenset({"agency", "csirt"})
"""Public authorities are named across the border; operators only when they consent."""
_PAP_LETS_ACT: Final = PAP_RANK["green"]
"""Beyond it no act is allowed that the adversary could notice."""

KEPT_AT_MOST: Final = 20_000
"""Four times the distinct labels at which a hub raises an alarm. Beyond it what is kept is thrown away and made anew."""


class Side(NamedTuple):
    """What the conditions on one side of a case came to, by clause. In the numbers of bits the forbids come first."""

    outcomes: tuple[int, ...]
    holding: int
    """A bit for each clause all of whose conditions on this side hold."""
    erring: int
    """A bit for each clause that could not be evaluated."""


class LabelSide(NamedTuple):
    label: Label
    side: Side
    applied: int
    """A bit for each built-in clause that applies to the label, whoever receives it."""
    broken: tuple[str, ...]
    """What could not be evaluated in it, beside clauses."""
    levels: tuple[int, int, int] | None
    """Ranks of TLP, PAP and assurance; None when a word is none that we know."""
    until: datetime | None
    """When its embargo ends."""
    understood: bool
    """Whether no marking of it is unknown."""
    named: bool
    """Whether it may be shown as it is: authorities may be named, and those who agreed to it."""
    lets_act: bool
    """Whether its PAP allows acts that the adversary could notice."""
    bounded: tuple[object, ...]
    """All of it that ceilings look at."""
    weight: tuple[object, ...]
    """All of it, beside clauses and ceilings, that a verdict rests on."""


class RecipientSide(NamedTuple):
    recipient: Recipient
    side: Side
    applied: int
    tops: dict[str, tuple[bool, tuple[Top, ...]]]
    """By the originator's country: whether no role of it may receive from there, and the ceilings to stay below."""
    failing: dict[tuple[object, ...], tuple[str, ...]]
    """What ceilings failed before, by all that they look at in a label."""


def label_side(agreement: Agreement, label: Label) -> LabelSide:
    found = agreement.kept.get(label)
    if not isinstance(found, LabelSide):
        found = _label_side(agreement, label)
        keep(agreement, label, found)
    return found


def _label_side(agreement: Agreement, label: Label) -> LabelSide:
    levels, until = _levels(label), _embargo(label)
    broken = () if levels else (builtin.CEILINGS,)
    broken = broken if until or not label.not_before else (*broken, builtin.EMBARGO)
    understood = _understood(agreement, label)
    # What a gateway signed shows nobody: it is the anonymous form.
    named = label.consent == "named" or label.assurance == "gateway-signed" or not _NAMED_ROLES.isdisjoint(label.roles)
    lets_act = levels is not None and levels[1] <= _PAP_LETS_ACT
    return LabelSide(
        label=label,
        side=_side((clause.of_label, label) for clause in agreement.clauses),
        applied=builtin.bit(builtin.CLASSIFIED) if "classified" in label.caveats else 0,
        broken=broken,
        levels=levels,
        until=until,
        understood=understood,
        named=named,
        lets_act=lets_act,
        bounded=(label.country, levels, understood),
        weight=(broken, named, lets_act, label.object_class, label.terms, label.purposes),
    )


def recipient_side(agreement: Agreement, recipient: Recipient) -> RecipientSide:
    found = agreement.kept.get(recipient)
    if not isinstance(found, RecipientSide):
        side = _side((clause.of_recipient, recipient) for clause in agreement.clauses)
        applied = 0 if recipient.status == "active" else builtin.bit(builtin.SUSPENDED)
        found = RecipientSide(recipient, side, applied, {}, {})
        keep(agreement, recipient, found)
    return found


def tops(agreement: Agreement, country: str, to: RecipientSide) -> tuple[bool, tuple[Top, ...]]:
    """Whether the border is closed to the recipient, and the ceilings between a country and it. Of several roles each must hold: a second role never gives more."""
    if country not in to.tops:
        recipient, limits = to.recipient, agreement.limits
        narrower = limits.direction.get((country, recipient.country), {})
        found = [top for role in recipient.roles if (top := narrower.get(role))]
        closed = False
        if country != recipient.country:
            border = [top for role in recipient.roles if (top := limits.cross_border.get(role))]
            closed, found = not border, border + found
        to.tops[country] = closed, tuple(found)
    return to.tops[country]


def failing(agreement: Agreement, of: LabelSide, to: RecipientSide) -> tuple[str, ...]:
    """The ceilings that do not hold in a case."""
    found = to.failing.get(of.bounded)
    if found is None:
        found = to.failing[of.bounded] = _failing(agreement, of, to)
    return found


def _failing(agreement: Agreement, of: LabelSide, to: RecipientSide) -> tuple[str, ...]:
    if of.levels is None:
        return ()  # told of as an error
    tlp, pap, assurance = of.levels
    limits, origin = agreement.limits, of.label.country
    crossing = origin != to.recipient.country
    found = [] if tlp <= limits.anywhere[0] and pap <= limits.anywhere[1] else [builtin.ANYWHERE]
    closed, above = tops(agreement, origin, to)
    if closed:
        found.append(builtin.CROSS_BORDER)
    found += [rule for rule, most_tlp, most_pap in above if tlp > most_tlp or pap > most_pap]
    if assurance < (limits.assurance_cross_border if crossing else limits.assurance_in_country):
        found.append(builtin.MIN_ASSURANCE)
    if not of.understood and (crossing or limits.unknown_denied_at_home):
        found.append(builtin.UNKNOWN_MARKING)
    return tuple(found)


def failing_on_submission(agreement: Agreement, of: LabelSide) -> tuple[str, ...]:
    """The ceilings for which an object is not even taken in."""
    if of.levels is None:
        return ()
    tlp, pap, assurance = of.levels
    limits, purposes = agreement.limits, of.label.purposes
    found = [] if tlp <= limits.anywhere[0] and pap <= limits.anywhere[1] else [builtin.ANYWHERE]
    if assurance < min(limits.assurance_cross_border, limits.assurance_in_country):
        found.append(builtin.MIN_ASSURANCE)
    if purposes is not None and set(purposes).isdisjoint(agreement.document.purposes.allowed):
        found.append(builtin.PURPOSES)
    return tuple(found)


def applicable(agreement: Agreement, label: Label, recipient: Recipient | None) -> list[str]:
    """The ceilings that are asked in a case, whether or not they hold; without a recipient, on submission."""
    if recipient is None:
        return [builtin.ANYWHERE, builtin.MIN_ASSURANCE]
    closed, above = tops(agreement, label.country, recipient_side(agreement, recipient))
    asked = ([builtin.CROSS_BORDER] if closed else []) + [rule for rule, _, _ in above]
    found = [builtin.ANYWHERE, *asked, builtin.MIN_ASSURANCE]
    if label.country != recipient.country or agreement.limits.unknown_denied_at_home:
        found.append(builtin.UNKNOWN_MARKING)
    return found


def within(agreement: Agreement, audiences: tuple[str, ...], recipient: Recipient) -> bool:
    """Whether the recipient belongs to every one of the audiences. Nobody belongs to one that is not defined."""
    members_of = agreement.members_of
    return all(name in members_of and members_of[name](recipient) for name in audiences)


def ways(agreement: Agreement, origin: str, destination: str) -> int:
    """A bit for each clause that applies between the two countries."""
    found = agreement.kept.get((origin, destination))
    if not isinstance(found, int):
        found = 0
        for number, clause in enumerate(agreement.clauses):
            if all(one.holds(origin, destination) for one in clause.predicates if isinstance(one, OfWay)):
                found |= 1 << number
        keep(agreement, (origin, destination), found)
    return found


def binding(agreement: Agreement, matching: int, label: Label) -> Obligations:
    """What all the permits among the clauses of these bits, the document and the object's markings ask together."""
    key = (matching, label.object_class, label.terms, label.purposes)
    found = agreement.kept.get(key)
    if not isinstance(found, Obligations):
        several = [
            clause.obligations or NO_OBLIGATIONS
            for number, clause in enumerate(agreement.clauses)
            if matching >> number & 1 and clause.kind == "permit"
        ]
        found = together(several, label, agreement.bounds)
        keep(agreement, key, found)
    return found


def ids(agreement: Agreement, bits: int) -> tuple[str, ...]:
    """The ids of the clauses of these bits, in the document's order."""
    return tuple([clause.id for number, clause in enumerate(agreement.clauses) if bits >> number & 1])


def _side(parts: Iterable[tuple[tuple[tuple[int, Callable[..., bool]], ...], object]]) -> Side:
    outcomes: list[int] = []
    holding = erring = 0
    for number, (conditions, subject) in enumerate(parts):
        outcome = MATCHED
        try:
            for place, holds in conditions:
                if not holds(subject):
                    outcome = place
                    break
        except Exception:  # noqa: BLE001 - whatever went wrong, it must deny, and a skipped forbid would permit
            outcome = ERRED
            erring |= 1 << number
        if outcome == MATCHED:
            holding |= 1 << number
        outcomes.append(outcome)
    return Side(tuple(outcomes), holding, erring)


def _embargo(label: Label) -> datetime | None:
    """When the embargo ends; None for none, and for an end that nobody understands."""
    try:
        return instant(label.not_before) if label.not_before else None
    except (TypeError, ValueError):
        return None


def _levels(label: Label) -> tuple[int, int, int] | None:
    try:
        return TLP_RANK[label.tlp], PAP_RANK[label.pap], ASSURANCE_RANK[label.assurance]
    except (KeyError, TypeError):
        return None


def _understood(agreement: Agreement, label: Label) -> bool:
    known = agreement.limits.known_markings
    return all(not caveat.startswith("opaque:") or caveat in known for caveat in label.caveats)


def keep(agreement: Agreement, key: object, value: object) -> None:
    if len(agreement.kept) >= KEPT_AT_MOST:
        agreement.kept.clear()
    agreement.kept[key] = value
