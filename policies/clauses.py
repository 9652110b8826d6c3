"""An agreement made ready to judge by: each clause its conditions, sorted by what they look at; each ceiling a rank."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from policies.document import Ceiling, Document, Forbid, Permit
from policies.label import Label, Recipient
from policies.obligations import Bounds, Obligations, bounds_of, obligations_of
from policies.predicates import (
    ASSURANCE_RANK,
    PAP_RANK,
    TLP_RANK,
    OfBoth,
    OfLabel,
    OfRecipient,
    Predicate,
    belonging,
    known_markings,
    predicates_of,
)
from policies.words import instant, seconds

Top = tuple[str, int, int]
"""A ceiling: its id, the greatest TLP, the greatest PAP."""


@dataclass(frozen=True)
class Clause:
    """One permit or forbid."""

    id: str
    kind: str
    """"permit" or "forbid"."""
    en: str
    es: str
    predicates: tuple[Predicate, ...]
    """In the order they are told of: direction, from, to, when, unless."""
    obligations: Obligations | None
    """Of a permit; None for a forbid."""

    @cached_property
    def of_label(self) -> tuple[tuple[int, Callable[[Label], bool]], ...]:
        """The conditions that look at the label alone, with their numbers among all."""
        return tuple((n, one.holds) for n, one in enumerate(self.predicates) if isinstance(one, OfLabel))

    @cached_property
    def of_recipient(self) -> tuple[tuple[int, Callable[[Recipient], bool]], ...]:
        return tuple((n, one.holds) for n, one in enumerate(self.predicates) if isinstance(one, OfRecipient))

    @cached_property
    def of_both(self) -> tuple[tuple[int, Callable[[Label, Recipient, bool], bool]], ...]:
        return tuple((n, one.holds) for n, one in enumerate(self.predicates) if isinstance(one, OfBoth))


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds that no permit widens, as ranks in their orders."""

    anywhere: tuple[int, int]
    """Greatest (TLP, PAP)."""
    cross_border: Mapping[str, Top]
    """By recipient role."""
    direction: Mapping[tuple[str, str], Mapping[str, Top]]
    """By the originator's and the recipient's country, then by recipient role: bounds beside those of the border."""
    assurance_cross_border: int
    assurance_in_country: int
    known_markings: frozenset[str]
    """Caveats "opaque:…" that the document names, and which are therefore known."""
    unknown_denied_at_home: bool


@dataclass(frozen=True, eq=False)
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
    bounds: Bounds
    """What the document asks of every recipient, whichever clause permits."""
    begins: datetime
    ends: datetime
    named_members: frozenset[str]
    """The members that its clauses and audiences can tell from their peers."""
    kept: dict[object, object] = field(default_factory=dict, repr=False, compare=False)
    """What was worked out of it before (policies/sides.py): it saves time and decides nothing."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Agreement) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    @cached_property
    def clauses(self) -> tuple[Clause, ...]:
        """Every clause, the forbids first."""
        return (*self.forbids, *self.permits)

    @cached_property
    def permit_bits(self) -> int:
        """A bit for each clause, by its number in `clauses`, that is a permit."""
        return sum(1 << number for number, clause in enumerate(self.clauses) if clause.kind == "permit")

    @cached_property
    def both_bits(self) -> int:
        """A bit for each clause with a condition that looks at the case whole."""
        return sum(1 << number for number, clause in enumerate(self.clauses) if clause.of_both)

    @cached_property
    def members_of(self) -> Mapping[str, Callable[[Recipient], bool]]:
        """Who belongs to each audience."""
        return {name: belonging(self.document, name) for name in self.document.audiences}

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

    @cached_property
    def consent_seconds(self) -> int:
        """How long a consent holds at most; 0 when the document has no originator control, so that none ever does."""
        control = self.document.originator_control
        return seconds(control.consent_valid) if control else 0

    @cached_property
    def embargo_seconds(self) -> int:
        """How far ahead an embargo may reach; 0 when the document has none."""
        embargo = self.document.embargo
        return seconds(embargo.longest) if embargo else 0

    def distinguishes(self, member: str) -> bool:
        """Whether decisions for this member may differ from those for another of equal country, roles and sectors."""
        return self.reads_back_own or member in self.named_members


def compile_agreement(document: Document, canonical: bytes, sha256: str) -> Agreement:
    """The agreement that a document, already found sound, states."""
    forms = [*document.permit, *document.forbid]
    members = {slug for form in forms for slug in form.to.members or ()}
    # An originator may restrict an object to any audience, so all of them tell members apart.
    members.update(slug for audience in document.audiences.values() for slug in audience.members)
    return Agreement(
        document=document,
        canonical=canonical,
        sha256=sha256,
        permits=tuple(compile_clause(form, document) for form in document.permit),
        forbids=tuple(compile_clause(form, document) for form in document.forbid),
        limits=_limits(document),
        bounds=bounds_of(document),
        begins=instant(document.effective_from),
        ends=instant(document.expires),
        named_members=frozenset(members),
    )


def compile_clause(form: Permit | Forbid, document: Document) -> Clause:
    """One rule of the document as predicates. `document` says who its audiences are and which markings are known."""
    return Clause(
        id=form.id,
        kind="permit" if isinstance(form, Permit) else "forbid",
        en=form.text.en,
        es=form.text.es,
        predicates=tuple(predicates_of(form, document)),
        obligations=obligations_of(form) if isinstance(form, Permit) else None,
    )


def _limits(document: Document) -> Limits:
    ceilings, defaults = document.ceilings, document.defaults
    return Limits(
        anywhere=(TLP_RANK[ceilings.anywhere.tlp], PAP_RANK[ceilings.anywhere.pap]),
        cross_border=_tops("ceilings.cross_border", ceilings.cross_border),
        direction={
            (way[:2], way[3:]): _tops(f"ceilings.direction.{way}", tops) for way, tops in ceilings.direction.items()
        },
        assurance_cross_border=ASSURANCE_RANK[defaults.min_assurance.cross_border],
        assurance_in_country=ASSURANCE_RANK[defaults.min_assurance.in_country],
        known_markings=known_markings(document),
        unknown_denied_at_home=defaults.unknown_marking == "deny",
    )


def _tops(where: str, ceilings: Mapping[str, Ceiling]) -> dict[str, Top]:
    return {role: (f"{where}.{role}", TLP_RANK[top.tlp], PAP_RANK[top.pap]) for role, top in ceilings.items()}
