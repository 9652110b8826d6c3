"""An agreement made ready to judge by: each clause a tuple of predicates, each ceiling a rank."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from policies.document import Document, Forbid, Permit, instant, seconds
from policies.obligations import Obligations, obligations_of
from policies.predicates import ASSURANCE_RANK, PAP_RANK, TLP_RANK, Predicate, Test, known_markings, predicates_of


@dataclass(frozen=True, slots=True)
class Clause:
    """One permit or forbid."""

    id: str
    kind: str
    """"permit" or "forbid"."""
    en: str
    es: str
    predicates: tuple[Predicate, ...]
    """In the order they are tried: direction, from, to, when, unless."""
    tests: tuple[Test, ...]
    """The predicates' functions alone: what the evaluator loops over."""
    obligations: Obligations | None
    """Of a permit; None for a forbid."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds that no permit widens, as ranks in their orders."""

    anywhere: tuple[int, int]
    """Greatest (TLP, PAP)."""
    cross_border: Mapping[str, tuple[str, int, int]]
    """By recipient role: the ceiling's id, greatest TLP, greatest PAP."""
    assurance_cross_border: int
    assurance_in_country: int
    known_markings: frozenset[str]
    """Caveats "opaque:…" that the document names, and which are therefore known."""
    unknown_denied_at_home: bool


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """A sound agreement, ready to judge by. Two are the same when their `sha256` is."""

    document: Document
    canonical: bytes
    """The parsed document as RFC 8785 JSON: what is hashed and approved."""
    sha256: str
    """Hexadecimal digest of `canonical`."""
    permits: tuple[Clause, ...]
    forbids: tuple[Clause, ...]
    limits: Limits
    begins: datetime
    ends: datetime
    named_members: frozenset[str]
    """The members that its clauses can tell from their peers."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Agreement) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    @property
    def agreement_id(self) -> str:
        return self.document.agreement_id

    @property
    def version(self) -> int:
        return self.document.version

    @property
    def prev_sha256(self) -> str | None:
        """Digest of the version before; None for the first."""
        return self.document.prev_sha256

    @property
    def effective_from(self) -> str:
        return self.document.effective_from

    @property
    def expires(self) -> str:
        return self.document.expires

    @property
    def unmarked_as(self) -> str:
        """The TLP of an object that bears none and whose member has no default."""
        return self.document.defaults.unmarked_as

    @property
    def reads_back_own(self) -> bool:
        """Whether a member may read its own objects whatever the clauses say (the built-in clause OWN)."""
        return self.document.defaults.own_objects == "read-back"

    @property
    def backfill_seconds(self) -> int | None:
        """How far back reaches what becomes visible to a member later than it was placed; None for all of it."""
        backfill = self.document.defaults.backfill
        return seconds(backfill) if backfill else None

    def distinguishes(self, member: str) -> bool:
        """Whether decisions for this member may differ from those for another of equal country, roles and sectors."""
        return self.reads_back_own or member in self.named_members


def compile_agreement(document: Document, canonical: bytes, sha256: str) -> Agreement:
    """The agreement that a document, already found sound, states."""
    forms = [*document.permit, *document.forbid]
    members = {slug for form in forms for slug in form.to.members or ()}
    audiences = {form.to.audience for form in forms if form.to.audience}
    members.update(slug for name in audiences for slug in document.audiences[name].members)
    return Agreement(
        document=document,
        canonical=canonical,
        sha256=sha256,
        permits=tuple(compile_clause(form, document) for form in document.permit),
        forbids=tuple(compile_clause(form, document) for form in document.forbid),
        limits=_limits(document),
        begins=instant(document.effective_from),
        ends=instant(document.expires),
        named_members=frozenset(members),
    )


def compile_clause(form: Permit | Forbid, document: Document) -> Clause:
    """One rule of the document as predicates. `document` says who its audiences are and which markings are known."""
    predicates = tuple(predicates_of(form, document))
    return Clause(
        id=form.id,
        kind="permit" if isinstance(form, Permit) else "forbid",
        en=form.text.en,
        es=form.text.es,
        predicates=predicates,
        tests=tuple(predicate.holds for predicate in predicates),
        obligations=obligations_of(form) if isinstance(form, Permit) else None,
    )


def _limits(document: Document) -> Limits:
    ceilings, defaults = document.ceilings, document.defaults
    return Limits(
        anywhere=(TLP_RANK[ceilings.anywhere.tlp], PAP_RANK[ceilings.anywhere.pap]),
        cross_border={
            role: (f"ceilings.cross_border.{role}", TLP_RANK[top.tlp], PAP_RANK[top.pap])
            for role, top in ceilings.cross_border.items()
        },
        assurance_cross_border=ASSURANCE_RANK[defaults.min_assurance.cross_border],
        assurance_in_country=ASSURANCE_RANK[defaults.min_assurance.in_country],
        known_markings=known_markings(document),
        unknown_denied_at_home=defaults.unknown_marking == "deny",
    )
