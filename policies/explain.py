"""The words for a judgement: every step of it, and the one sentence that names the clause, in both languages.

Nothing is judged here. The evaluator records what each clause did; this file only puts that record into words, so an
explanation cannot differ from what was enforced.
"""

from dataclasses import dataclass
from typing import Final, Literal

from policies.clauses import Agreement, Clause
from policies.label import Label, Recipient
from policies.predicates import tlp_name

MATCHED: Final = -1
ERRED: Final = -2
"""Outcomes of a clause; any other is the index of the first predicate that failed."""

EVALUATION_ERROR: Final = "evaluation-error"

OWN: Final = "OWN"
SUSPENDED: Final = "SUSPENDED"
NOT_YET: Final = "effective_from"
EXPIRED: Final = "expires"
CLASSIFIED: Final = "classification"
SUBMIT: Final = "SUBMIT"
ANYWHERE: Final = "ceilings.anywhere"
CROSS_BORDER: Final = "ceilings.cross_border"
MIN_ASSURANCE: Final = "defaults.min_assurance"
UNKNOWN_MARKING: Final = "defaults.unknown_marking"
NO_PERMIT: Final = "defaults.effect"
PURPOSES: Final = "purposes"

_BUILT_IN: Final = {
    OWN: ("A member may read back its own objects.", "Todo miembro puede volver a leer sus propios objetos."),
    SUSPENDED: (
        "A member that is not active receives nothing.",
        "El miembro que no se encuentra activo no recibe nada.",
    ),
    NOT_YET: ("The agreement is not in force yet.", "El acuerdo aún no ha entrado en vigor."),
    EXPIRED: ("The agreement has expired.", "El acuerdo ha expirado."),
    CLASSIFIED: (
        "Classified material has no place in this exchange.",
        "El material clasificado no tiene cabida en este intercambio.",
    ),
    SUBMIT: (
        "The object may be submitted; who receives it is judged apart.",
        "El objeto puede depositarse; quién lo recibe se decide por separado.",
    ),
    NO_PERMIT: ("What no clause permits is denied.", "Se deniega lo que ninguna cláusula permite."),
    MIN_ASSURANCE: (
        "The object's origin is not assured well enough.",
        "La garantía de origen del objeto es insuficiente.",
    ),
    UNKNOWN_MARKING: (
        "The object bears a marking that this exchange does not understand.",
        "El objeto lleva una marca que este intercambio no comprende.",
    ),
    PURPOSES: (
        "The purposes of the clauses that permit it exclude each other.",
        "Las finalidades de las cláusulas que lo permiten se excluyen entre sí.",
    ),
    CROSS_BORDER: (
        "No role of the recipient has a ceiling for what crosses the border.",
        "Ninguna función del destinatario tiene un techo para lo que cruza la frontera.",
    ),
}


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


@dataclass(frozen=True, slots=True)
class Case:
    """The record of one judgement, from which its words are made."""

    agreement: Agreement
    label: Label
    recipient: Recipient | None
    """None when the question was whether the object may be submitted."""
    builtins: tuple[tuple[str, bool], ...]
    """Built-in clauses and whether each applied."""
    forbids: tuple[int, ...]
    """Outcome of each forbid of the agreement, in its order."""
    permits: tuple[int, ...]
    ceilings: tuple[tuple[str, bool], ...]
    """Ceilings that applied to the case and whether each held."""


def steps(case: Case) -> tuple[Step, ...]:
    """Every clause that was tried, in the order built-in, forbids, permits, ceilings."""
    agreement = case.agreement
    done = [Step(rule, "builtin", applied, None, *clause_text(agreement, rule)) for rule, applied in case.builtins]
    done += [_clause_step(*pair) for pair in zip(agreement.forbids, case.forbids, strict=False)]
    done += [_clause_step(*pair) for pair in zip(agreement.permits, case.permits, strict=False)]
    done += [
        Step(rule, "ceiling", held, None if held else rule, *clause_text(agreement, rule))
        for rule, held in case.ceilings
    ]
    return tuple(done)


def clause_text(agreement: Agreement, clause: str) -> tuple[str, str]:
    """The text of a clause by its id, built-in or of the agreement, in English and Spanish. Raises KeyError."""
    if clause in _BUILT_IN:
        return _BUILT_IN[clause]
    for rule in (*agreement.forbids, *agreement.permits):
        if rule.id == clause:
            return rule.en, rule.es
    ceilings = agreement.document.ceilings
    if clause == ANYWHERE:
        top = f"{tlp_name(ceilings.anywhere.tlp)}, PAP:{ceilings.anywhere.pap.upper()}"
        return f"Nothing above {top} is exchanged.", f"No se intercambia nada por encima de {top}."
    role = clause.removeprefix(CROSS_BORDER + ".")
    ceiling = ceilings.cross_border[role]
    top = f"{tlp_name(ceiling.tlp)}, PAP:{ceiling.pap.upper()}"
    return (
        f"Nothing above {top} crosses the border to the role {role}.",
        f"Nada por encima de {top} cruza la frontera hacia la función {role}.",
    )


def sentence(case: Case, clause: str, *, permitted: bool, erred: bool, language: str) -> str:
    """One sentence that says what was decided and names the clause. Spanish for "es", English for anything else."""
    spanish = language == "es"
    verdict = _verdict(case, permitted=permitted, spanish=spanish)
    if erred:
        if spanish:
            return f"{verdict}: la cláusula {clause} no pudo evaluarse, y todo error deniega."
        return f"{verdict}: clause {clause} could not be evaluated, and an error denies."
    if clause == NO_PERMIT:
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
    nearest = _nearest(case)
    if nearest is None:
        return f"{_BUILT_IN[NO_PERMIT][spanish]} ({NO_PERMIT})"
    clause, failed = nearest
    predicate = clause.predicates[failed]
    if spanish:
        return (
            f"ninguna cláusula lo permite ({NO_PERMIT}); la más próxima es {clause.id}, "
            f"que exige que {predicate.es} ({predicate.key})."
        )
    return (
        f"no clause permits it ({NO_PERMIT}); the nearest is {clause.id}, "
        f"which requires that {predicate.en} ({predicate.key})."
    )


def _nearest(case: Case) -> tuple[Clause, int] | None:
    """The permit that came closest, and its first unmet condition.

    Closest is first by what the clause is about (direction, from, to, classes), then by its other conditions: who asks
    why wants the clause for their case, and how far they are from meeting it.
    """
    found = [
        ((*_unmet(clause, case), number), clause, outcome)
        for number, (clause, outcome) in enumerate(zip(case.agreement.permits, case.permits, strict=True))
        if outcome >= 0
    ]
    if not found:
        return None
    _, clause, outcome = min(found, key=lambda one: one[0])
    return clause, outcome


def _unmet(clause: Clause, case: Case) -> tuple[int, int]:
    """How many conditions of the clause's subject, and how many in all, are not met."""
    subject = unmet = 0
    for predicate in clause.predicates:
        try:
            met = case.recipient is not None and predicate.holds(case.label, case.recipient)
        except Exception:  # noqa: BLE001 - counting for words only; the evaluator has denied by now
            met = False
        unmet += not met
        subject += not met and (predicate.key == "when.classes" or not predicate.key.startswith("when."))
    return subject, unmet


def _clause_step(clause: Clause, outcome: int) -> Step:
    kind: Literal["forbid", "permit"] = "permit" if clause.kind == "permit" else "forbid"
    if outcome == MATCHED:
        return Step(clause.id, kind, True, None, clause.en, clause.es)
    if outcome == ERRED:
        en, es = "It could not be evaluated.", "No pudo evaluarse."
        return Step(clause.id, kind, False, EVALUATION_ERROR, en, es)
    predicate = clause.predicates[outcome]
    en, es = f"It requires that {predicate.en}.", f"Exige que {predicate.es}."
    return Step(clause.id, kind, False, predicate.key, en, es)
