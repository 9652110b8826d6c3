"""What two agreements decide differently, and which clauses ever decide anything: judged over labels and recipients.

Nothing here knows an object. A label is judged once for all recipients that neither agreement can tell apart, by the
same `decide` that enforces.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from policies.agreement import TestResult
from policies.builtin import NO_PERMIT
from policies.cited import NOTHING, Cited
from policies.clauses import Agreement
from policies.consent import Consent
from policies.decide import Decision, decide
from policies.label import Label, Recipient

Kind = Literal["gained", "lost", "changed"]


@dataclass(frozen=True, slots=True)
class Audience:
    """Labels whose objects the same recipients could read at all, such as those of one collection."""

    labels: Iterable[Label]
    recipients: Sequence[Recipient]


@dataclass(frozen=True, slots=True)
class Change:
    """One label that some recipients would have otherwise than they have it."""

    kind: Kind
    """"changed" when it is permitted before and after, but in another form or with other duties."""
    label: Label
    recipients: tuple[Recipient, ...]
    before: Decision | None
    """None where no agreement was in force."""
    after: Decision

    @property
    def clause(self) -> str:
        """The clause that makes the difference: that permits now, that forbids now, or that no longer permits."""
        if self.kind == "lost" and self.before is not None and self.after.clause == NO_PERMIT:
            return self.before.clause
        return self.after.clause


def differences(
    old: Agreement | None, new: Agreement, audiences: Iterable[Audience], *, old_now: str, new_now: str,
    consents: Collection[Consent] = (), cited: Cited = NOTHING,
) -> Iterator[Change]:  # fmt: skip
    """Every label and group of recipients that the two agreements decide differently, each at its own time."""
    named = frozenset(slug for one in consents for slug in one.members)
    for audience in audiences:
        groups = _groups(audience.recipients, old, new, named=named)
        for label in audience.labels:
            citing = cited.get((label.originator, label.named), ())
            for group in _apart(groups, label.originators.union(*(one.originators for one in citing))):
                case = label, group[0]
                before = decide(old, *case, now=old_now, consents=consents, cited=cited) if old is not None else None
                after = decide(new, *case, now=new_now, consents=consents, cited=cited)
                kind = _kind(before, after)
                if kind is not None:
                    yield Change(kind, label, group, before, after)


def permits(decision: Decision | None) -> bool:
    return decision is not None and decision.effect == "permit"


def _kind(before: Decision | None, after: Decision) -> Kind | None:
    if permits(before) != permits(after):
        return "gained" if permits(after) else "lost"
    if before is None or not permits(after) or _form(before) == _form(after):
        return None
    return "changed"


def _form(decision: Decision) -> tuple[object, ...]:
    """All that a recipient notices of a permit: not by which clause it came."""
    return (
        decision.view, decision.delay_seconds, decision.expires_after_seconds, decision.may_block,
        sorted(decision.obligations.items()),
    )  # fmt: skip


Group = tuple[Recipient, ...]


def _groups(
    recipients: Sequence[Recipient], *agreements: Agreement | None, named: frozenset[str] = frozenset()
) -> list[Group]:
    """Recipients that no clause of any of the agreements, and no consent (`named`), can tell apart. One's own objects are another matter."""
    named = named.union(*(one.named_members for one in agreements if one is not None))
    found: dict[tuple[object, ...], list[Recipient]] = {}
    for one in recipients:
        facets = (one.country, frozenset(one.roles), frozenset(one.sectors), frozenset(one.audiences), one.status,
                  one.collections)  # fmt: skip
        found.setdefault((*facets, one.member if one.member in named else ""), []).append(one)
    return [tuple(group) for group in found.values()]


def _apart(groups: list[Group], originators: frozenset[str]) -> Iterator[Group]:
    """The same groups, each originator of a label in one of its own: it may read back what is its own."""
    for group in groups:
        own = [(one,) for one in group if one.member in originators]
        others = tuple([one for one in group if one.member not in originators]) if own else group
        yield from own
        if others:
            yield others


# --- coverage ---


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often a clause applied: in the document's own examples, and to pairs of a live label and a recipient."""

    clause: str
    kind: str
    tests: int
    live: int


def coverage(
    agreement: Agreement, results: Iterable[TestResult], audiences: Iterable[Audience], *, now: str
) -> list[Coverage]:
    """Each clause of the agreement, in its order, with how often it applied. What never does, nobody has tried."""
    tests: Counter[str] = Counter()
    for result in results:
        tests.update(_applied(result.decision))
    live: Counter[str] = Counter()
    for audience in audiences:
        groups = _groups(audience.recipients, agreement)
        for label in audience.labels:
            for group in _apart(groups, label.originators):
                for clause in _applied(decide(agreement, label, group[0], now=now)):
                    live[clause] += len(group)
    return [Coverage(one.id, one.kind, tests[one.id], live[one.id]) for one in (*agreement.permits, *agreement.forbids)]


def _applied(decision: Decision) -> list[str]:
    return [step.rule for step in decision.trace if step.matched and step.kind in ("permit", "forbid")]
