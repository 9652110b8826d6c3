"""The words for a judgement: every step of it, and the one sentence that names the clause, in both languages.

Nothing is judged here. The evaluator records what each clause did; this file only puts that record into words, so an
explanation cannot differ from what was enforced.
"""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from policies import builtin
from policies.clauses import Agreement, Clause
from policies.label import Label, Recipient
from policies.markings import PAP_ORDER, TLP_ORDER
from policies.predicates import OfBoth, OfLabel, OfRecipient, OfWay, Predicate, tlp_name
from policies.sides import ERRED, MATCHED, Side, applicable

EVALUATION_ERROR: Final = "evaluation-error"


@dataclass(frozen=True, slots=True)
class Step:
    """What one clause did. For a ceiling `matched` means that it held."""

    rule: str
    kind: Literal["builtin", "forbid", "permit", "ceiling"]
    matched: bool
    failed: str | None
    """The first predicate that failed, by its place in the document, or "evaluation-error"."""
    en: str
    es: str


class Case(NamedTuple):
    """The record of one judgement, from which its words are made."""

    agreement: Agreement
    label: Label
    recipient: Recipient | None
    """None when the question was whether the object may be submitted."""
    of: Side
    """What the clauses found in the label."""
    to: Side
    """What they found in the recipient."""
    applied: int
    """A bit for each built-in clause that applied."""
    matching: int
    """A bit for each clause of the agreement that matched, the forbids first."""
    erring: int
    """A bit for each that could not be evaluated."""
    failing: tuple[str, ...]
    """The ceilings that did not hold."""
    consented: bool
    """Whether a consent of the originator stood."""

    @property
    def permitting(self) -> int:
        """A bit for each permit that matched."""
        return self.matching & self.agreement.permit_bits

    def outcome(self, number: int) -> int:
        """What a clause did, by its number with the forbids first: MATCHED, ERRED, or which condition failed first."""
        if self.erring >> number & 1:
            return ERRED
        if self.matching >> number & 1:
            return MATCHED
        clause = self.agreement.clauses[number]
        failed = [one for one in (self.of.outcomes[number], self.to.outcomes[number]) if one != MATCHED]
        failed += [
            place
            for place, one in enumerate(clause.predicates)
            if isinstance(one, OfWay | OfBoth) and not _holds(one, self)
        ]
        return min(failed)


def steps(case: Case, failing: tuple[str, ...]) -> tuple[Step, ...]:
    """Every clause that was tried, in the order built-in, forbids, permits, ceilings. `failing` are the decision's ceilings,
    among them such as are asked only once everything else permits."""
    agreement = case.agreement
    tried = builtin.ON_RELEASE if case.recipient is not None else builtin.ON_SUBMISSION
    applied = builtin.of_bits(case.applied)
    done = [Step(rule, "builtin", rule in applied, None, *clause_text(agreement, rule)) for rule in tried]
    if case.recipient is not None:
        done += [_clause_step(clause, case.outcome(n)) for n, clause in enumerate(agreement.clauses)]
    failing = (*case.failing, *failing)
    for rule in dict.fromkeys((*applicable(agreement, case.label, case.recipient), *failing)):
        held = rule not in failing
        done.append(Step(rule, "ceiling", held, None if held else rule, *clause_text(agreement, rule)))
    return tuple(done)


def clause_text(agreement: Agreement, clause: str) -> tuple[str, str]:
    """The text of a clause by its id, built-in or of the agreement, in English and Spanish. Raises KeyError."""
    if clause in builtin.TEXTS:
        return builtin.TEXTS[clause]
    for one in agreement.clauses:
        if one.id == clause:
            return one.en, one.es
    if clause == builtin.ANYWHERE:
        top = _top(*agreement.limits.anywhere)
        return f"Nothing above {top} is exchanged.", f"No se intercambia nada por encima de {top}."
    for way, tops in ((None, agreement.limits.cross_border), *agreement.limits.direction.items()):
        for role, (rule, tlp, pap) in tops.items():
            if rule == clause:
                return _ceiling_text(role, way, _top(tlp, pap))
    raise KeyError(clause)


def _top(tlp: int, pap: int) -> str:
    return f"{tlp_name(TLP_ORDER[tlp])}, PAP:{PAP_ORDER[pap].upper()}"


def _ceiling_text(role: str, way: tuple[str, str] | None, top: str) -> tuple[str, str]:
    if way is None:
        return (
            f"Nothing above {top} crosses the border to the role {role}.",
            f"Nada por encima de {top} cruza la frontera hacia la función {role}.",
        )
    return (
        f"Nothing above {top} goes from {way[0]} to {way[1]} to the role {role}.",
        f"Nada por encima de {top} va de {way[0]} a {way[1]} hacia la función {role}.",
    )


def sentence(case: Case, clause: str, *, permitted: bool, erred: bool, language: str) -> str:
    """One sentence that says what was decided and names the clause. Spanish for "es", English for anything else."""
    spanish = language == "es"
    verdict = _verdict(case, permitted=permitted, spanish=spanish)
    if erred:
        if spanish:
            return f"{verdict}: la cláusula {clause} no pudo evaluarse, y todo error deniega."
        return f"{verdict}: clause {clause} could not be evaluated, and an error denies."
    if clause == builtin.NO_PERMIT:
        return f"{verdict}: {_no_permit(case, spanish=spanish)}"
    text = clause_text(case.agreement, clause)[spanish]
    return f"{verdict}: {'cláusula' if spanish else 'clause'} {clause}: {text}"


def _verdict(case: Case, *, permitted: bool, spanish: bool) -> str:
    if case.recipient is None:
        if spanish:
            return "aceptado" if permitted else "no aceptado"
        return "accepted" if permitted else "not accepted"
    if spanish:
        return "compartido" if permitted else "no compartido"
    return "shared" if permitted else "not shared"


def _no_permit(case: Case, *, spanish: bool) -> str:
    found = _nearest(case)
    if found is None:
        return f"{builtin.TEXTS[builtin.NO_PERMIT][spanish]} ({builtin.NO_PERMIT})"
    clause, predicate = found
    if spanish:
        return (
            f"ninguna cláusula lo permite ({builtin.NO_PERMIT}); la más próxima es {clause.id}, "
            f"que exige que {predicate.es} ({predicate.key})."
        )
    return (
        f"no clause permits it ({builtin.NO_PERMIT}); the nearest is {clause.id}, "
        f"which requires that {predicate.en} ({predicate.key})."
    )


def nearest(case: Case) -> Step | None:
    """The permit that came closest, with the first condition it lacks; None when a permit matched, or there is none."""
    found = None if case.permitting else _nearest(case)
    return _lacking(*found) if found else None


def _nearest(case: Case) -> tuple[Clause, Predicate] | None:
    """The permit that came closest, and its first unmet condition.

    Closest is first by what the clause is about (direction, from, to, classes), then by its other conditions: who asks
    why wants the clause for their case, and how far they are from meeting it.
    """
    if case.recipient is None:
        return None
    found: list[tuple[tuple[int, int, int], Clause, Predicate]] = []
    for number, clause in enumerate(case.agreement.clauses):
        outcome = case.outcome(number) if clause.kind == "permit" else MATCHED
        if outcome >= 0:
            found.append(((*_unmet(clause, case), number), clause, clause.predicates[outcome]))
    if not found:
        return None
    _, clause, predicate = min(found, key=lambda one: one[0])
    return clause, predicate


def _unmet(clause: Clause, case: Case) -> tuple[int, int]:
    """How many conditions of the clause's subject, and how many in all, are not met."""
    lacking = [one.key for one in clause.predicates if not _holds(one, case)]
    return sum(key == "when.classes" or not key.startswith("when.") for key in lacking), len(lacking)


def _holds(one: Predicate, case: Case) -> bool:
    label, recipient = case.label, case.recipient
    if recipient is None:
        return False
    try:
        if isinstance(one, OfWay):
            return one.holds(label.country, recipient.country)
        if isinstance(one, OfLabel):
            return one.holds(label)
        if isinstance(one, OfRecipient):
            return one.holds(recipient)
        return one.holds(label, recipient, case.consented)
    except Exception:  # noqa: BLE001 - for words only; the evaluator has denied by now
        return False


def _clause_step(clause: Clause, outcome: int) -> Step:
    kind: Literal["forbid", "permit"] = "permit" if clause.kind == "permit" else "forbid"
    if outcome == MATCHED:
        return Step(clause.id, kind, True, None, clause.en, clause.es)
    if outcome == ERRED:
        en, es = "It could not be evaluated.", "No pudo evaluarse."
        return Step(clause.id, kind, False, EVALUATION_ERROR, en, es)
    return _lacking(clause, clause.predicates[outcome])


def _lacking(clause: Clause, predicate: Predicate) -> Step:
    kind: Literal["forbid", "permit"] = "permit" if clause.kind == "permit" else "forbid"
    en, es = f"It requires that {predicate.en}.", f"Exige que {predicate.es}."
    return Step(clause.id, kind, False, predicate.key, en, es)
