"""From an object and its submission to the label that the agreement judges."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from certs.origin import Origin
from exchange.citing import Counting
from exchange.model.member import Collection, Member
from exchange.model.references import DEFINITIONS, citations, marking_ids
from exchange.rules import Rules
from policies.agreement import Agreement
from policies.cited import may_be_opened
from policies.decide import Decision
from policies.label import (
    CAVEAT_MARKINGS,
    TLP_DEFINITIONS,
    Label,
    confidence_band,
    object_class,
    resolve_markings,
)

JUDGEMENTS_KEPT: Final = 10_000
"""Far more than a hub's members, collections and markings give; a member that invents feed names gains nothing."""

FIXED_MARKINGS: Final = frozenset({*TLP_DEFINITIONS, *CAVEAT_MARKINGS})
"""Markings that mean the same in every envelope."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A label, the text by which it is interned, and whether the agreement lets it in."""

    label: Label
    text: str
    decision: Decision
    curbed: bool = False
    """Whether its originator cites in too many ways, or has too many definitions, for this one to count."""


class Labeller:
    """Labels under one snapshot of the rules. Objects that no agreement can tell apart are labelled and judged once."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._kept: dict[tuple[object, ...], Judged] = {}
        self._count = Counting(rules.citing)

    def judge(
        self,
        obj: Mapping[str, Any],
        *,
        owner: Member,
        collection: Collection,
        assurance: str,
        definitions: Mapping[str, dict[str, Any]],
        claimed: tuple[str, ...] = (),
        feed: str = "",
        origin: Origin | None = None,
    ) -> Judged:
        """The label of one object version (`label_for`), judged."""
        marks = marking_ids(obj)
        band = confidence_band(obj.get("confidence"))
        cites, named = citations(obj), _named(obj, owner, assurance)
        key = (obj["type"], band, marks, owner, collection.alias, assurance, claimed, feed, origin, cites, named)
        found = self._kept.get(key)
        if found is None:
            label = label_for(
                obj,
                owner=owner,
                collection=collection,
                assurance=assurance,
                agreement=self._rules.in_force,
                definitions=definitions,
                claimed=claimed,
                feed=feed,
                origin=origin,
            )
            label, curbed = self._count.within(label)
            found = Judged(label, label.encode(), self._rules.may_submit(label), curbed)
            if FIXED_MARKINGS.issuperset((*marks, *claimed)) and len(self._kept) < JUDGEMENTS_KEPT:
                self._kept[key] = found
        return found


def label_for(
    obj: Mapping[str, Any],
    *,
    owner: Member,
    collection: Collection,
    assurance: str,
    agreement: Agreement,
    definitions: Mapping[str, dict[str, Any]],
    claimed: tuple[str, ...] = (),
    feed: str = "",
    origin: Origin | None = None,
) -> Label:
    """The label of one object version.

    `definitions` are the marking-definitions known to the hub by id; an unknown one becomes an opaque caveat, never
    nothing. `claimed` are marking ids that an importer's attestation sets for objects that carry no TLP of their own.
    Without any TLP: the member's default, else what the agreement says for unmarked objects. `origin` is what a gateway
    attests of whom it stands for: an object's facets are then that sender's, who is not to be named.
    """
    own = marking_ids(obj)
    marks = resolve_markings(own, definitions)
    if marks.tlp is None and claimed:
        marks = resolve_markings((*own, *claimed), definitions)  # a licence statement says nothing of who may have it
    label = Label(
        collection=collection.alias,
        originator=owner.slug,
        country=owner.country.value,
        roles=tuple(sorted(owner.roles)) if origin is None else origin.roles,
        sectors=tuple(sorted(owner.sectors)) if origin is None else origin.sectors,
        tlp=marks.tlp or owner.default_tlp or agreement.unmarked_as,
        pap=marks.pap or "clear",
        caveats=marks.caveats,
        rel_to=marks.rel_to,
        object_class=object_class(obj["type"]),
        confidence=confidence_band(obj.get("confidence")),
        assurance=assurance,
        consent="named" if origin is None and (owner.consents or "agency" in owner.roles) else "none",
        feed=feed,
        audiences=marks.audiences,
        purposes=marks.purposes,
        not_before=marks.not_before,
        cases=marks.cases,
        terms=marks.terms,
        cites=citations(obj),
    )
    named = _named(obj, owner, assurance) if may_be_opened(label) else ""
    return replace(label, named=named, marked=marks.tlp is not None or marks.pap is not None) if named else label


def _named(obj: Mapping[str, Any], owner: Member, assurance: str) -> str:
    """The id of what may be opened by being cited. Of one's own identities only the one that stands as creator is."""
    if obj["type"] == "identity":
        return str(obj["id"]) if assurance == "imported" or obj["id"] == owner.identity_id else ""
    return str(obj["id"]) if obj["type"] in DEFINITIONS else ""


def cited_markings(values: Iterable[Any]) -> set[str]:
    """Every marking id that any of these values cites, whatever JSON they are."""
    cited: set[str] = set()
    for value in values:
        if not isinstance(value, dict):
            continue
        refs, marks = value.get("object_marking_refs"), value.get("granular_markings")
        if isinstance(refs, list):
            cited.update([ref for ref in refs if isinstance(ref, str)])
        if isinstance(marks, list):
            found = [mark.get("marking_ref") for mark in marks if isinstance(mark, dict)]
            cited.update([ref for ref in found if isinstance(ref, str)])
    return cited
