"""From an object and its submission to the label that the agreement judges."""

from collections.abc import Mapping
from typing import Any

from exchange.model.member import Collection, Member
from policies.agreement import Agreement
from policies.label import Label, confidence_band, object_class, resolve_markings


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
) -> Label:
    """The label of one object version.

    `definitions` are the marking-definitions known to the hub by id; an unknown one becomes an opaque caveat, never
    nothing. `claimed` are marking ids that an importer's attestation sets for objects that carry no TLP of their own.
    Without any TLP: the member's default, else what the agreement says for unmarked objects.
    """
    own = marking_ids(obj)
    marks = resolve_markings(own, definitions)
    if marks.tlp is None and claimed:
        marks = resolve_markings((*own, *claimed), definitions)  # a licence statement says nothing of who may have it
    return Label(
        collection=collection.alias,
        originator=owner.slug,
        country=owner.country.value,
        roles=tuple(sorted(owner.roles)),
        sectors=tuple(sorted(owner.sectors)),
        tlp=marks.tlp or owner.default_tlp or agreement.unmarked_as,
        pap=marks.pap or "clear",
        caveats=marks.caveats,
        rel_to=marks.rel_to,
        object_class=object_class(obj["type"]),
        confidence=confidence_band(obj.get("confidence")),
        assurance=assurance,
        consent="named" if owner.consents or "agency" in owner.roles else "none",
        feed=feed,
    )


def marking_ids(obj: Mapping[str, Any]) -> tuple[str, ...]:
    """Every marking the object carries: its own and those of its parts. One marked property marks the whole for release."""
    ids = list(obj.get("object_marking_refs", ()))
    ids += [mark["marking_ref"] for mark in obj.get("granular_markings", ()) if "marking_ref" in mark]
    return tuple(dict.fromkeys(ids))
