"""What the markings on a STIX object mean together: STIX defines no precedence, so this file does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policies.acs import ACS_EXTENSION, read_acs
from policies.terms import IEP_EXTENSION, TERMS_EXTENSION, Gathered, read_iep, read_terms

TLP_ORDER: Final = ("clear", "green", "amber", "amber+strict", "red")
PAP_ORDER: Final = ("clear", "green", "amber", "red")

TLP_DEFINITIONS: Final[Mapping[str, str]] = {
    # TLP 1: STIX 2.1, 7.2.1.4. "white" became "clear".
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": "clear",
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": "green",
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": "amber",
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "red",
    # TLP 2.0: OASIS extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d.
    "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487": "clear",
    "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb": "green",
    "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421": "amber",
    "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003": "amber+strict",
    "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1": "red",
}
"""TLP is known by these ids alone: a definition that merely says it is TLP is opaque."""

PAP_EXTENSION: Final = "extension-definition--f8d78575-edfd-406e-8e84-6162a8450f5b"
CUI_EXTENSION: Final = "extension-definition--dff17fb3-edcb-4f99-ad1b-4b751c95738a"
CAVEAT_EXTENSION: Final = "extension-definition--fe4644ed-1fdf-4220-a3a1-3d30a1da918a"
"""Ours: `caveat` is one word of the label's caveats."""

SIGNATURE_EXTENSION: Final = "extension-definition--d3983882-f2a7-4cdd-864e-d9d130bb0a5a"
"""Who signed a definition says nothing of who may have what it marks."""


def _caveat_marking(uuid: str, name: str, caveat: str) -> dict[str, Any]:
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": f"marking-definition--{uuid}",
        "created": "2026-11-23T00:00:00.000Z",
        "name": name,
        "extensions": {CAVEAT_EXTENSION: {"extension_type": "property-extension", "caveat": caveat}},
    }


CAVEAT_MARKINGS: Final[dict[str, dict[str, Any]]] = {
    marking["id"]: marking
    for marking in (
        _caveat_marking("18444816-7f8e-46a7-8378-e4186dd55f87", "NOFORN", "noforn"),
        _caveat_marking("705be908-b951-4696-ba76-21ab0b554e7f", "ORCON", "orcon"),
    )
}
"""The two markings analysts may use, by id. Like TLP they are pinned: every hub and client has the same bytes."""

_CAVEAT_BY_ID: Final = {
    marking: str(definition["extensions"][CAVEAT_EXTENSION]["caveat"])
    for marking, definition in CAVEAT_MARKINGS.items()
}
_PAP_WORDS: Final = {"white": "clear", **{word: word for word in PAP_ORDER}}


def strictest(order: Sequence[str], values: Iterable[str]) -> str:
    """The last of `values` in `order`. Raises ValueError for no values, or for one that `order` does not know."""
    return order[max(order.index(value) for value in values)]


@dataclass(frozen=True, slots=True)
class Marks:
    """What an object's markings say together. `tlp` and `pap` are None when none was given; defaults come later."""

    tlp: str | None
    pap: str | None
    caveats: tuple[str, ...]
    """Sorted."""
    rel_to: tuple[str, ...] | None
    """Sorted countries; None when no marking restricts them, () when they exclude each other."""
    audiences: tuple[str, ...] = ()
    """Sorted: the named groups that it is restricted to, all of them at once."""
    purposes: tuple[str, ...] | None = None
    """Sorted: the only purposes it may serve; None when no marking restricts them."""
    not_before: str = ""
    """The hour before which nobody else may have it, or ""."""
    cases: tuple[str, ...] = ()
    """Sorted: the handles under which its originator is asked for consent."""
    terms: tuple[str, ...] = ()
    """Sorted: what the markings ask of a recipient, as "obligation=word"."""


def resolve_markings(ids: Iterable[str], definitions: Mapping[str, Mapping[str, Any]]) -> Marks:
    """The marks of an object whose object and granular markings together cite `ids`.

    `definitions` holds the marking-definition objects at hand, by id. STIX 2.1 section 7.2 gives no precedence; ours
    is: of one ordered kind the strictest wins, restriction flags add up, permission sets intersect, the latest embargo
    holds, statements say nothing, and a marking that is unknown or not understood is the caveat "opaque:<id>", never
    nothing.
    """
    found = Gathered()
    for marking in set(ids):
        if marking in TLP_DEFINITIONS:
            found.tlp.add(TLP_DEFINITIONS[marking])
        elif marking in _CAVEAT_BY_ID:
            found.caveats.add(_CAVEAT_BY_ID[marking])
        elif not _read(definitions.get(marking), found):
            found.caveats.add(f"opaque:{marking}")
    return Marks(
        tlp=strictest(TLP_ORDER, found.tlp) if found.tlp else None,
        pap=strictest(PAP_ORDER, found.pap) if found.pap else None,
        caveats=tuple(sorted(found.caveats)),
        rel_to=None if found.rel_to is None else tuple(sorted(found.rel_to)),
        audiences=tuple(sorted(found.audiences)),
        purposes=None if found.purposes is None else tuple(sorted(found.purposes)),
        not_before=found.not_before,
        cases=tuple(sorted(found.cases)),
        terms=tuple(sorted(found.terms)),
    )


def _read(definition: Mapping[str, Any] | None, found: Gathered) -> bool:
    """Add what one definition says; False when any part of it was not understood."""
    if definition is None:
        return False
    extensions = definition.get("extensions", {})
    if not isinstance(extensions, Mapping):
        return False
    said = {key: body for key, body in extensions.items() if key != SIGNATURE_EXTENSION}
    if not said:
        return definition.get("definition_type") == "statement"
    understood = [_read_extension(key, body, found) for key, body in said.items()]  # read them all, then judge
    return all(understood)


def _read_extension(key: str, body: object, found: Gathered) -> bool:
    if not isinstance(body, Mapping):
        return False
    reader = _READERS.get(key)
    return reader is not None and reader(body, found)


def _read_pap(body: Mapping[str, Any], found: Gathered) -> bool:
    # The draft fixes four instances, but a forged fifth can only add a colour, and the strictest wins.
    word = body.get("pap")
    if not isinstance(word, str) or word not in _PAP_WORDS:
        return False
    found.pap.add(_PAP_WORDS[word])
    return True


def _read_acs(body: Mapping[str, Any], found: Gathered) -> bool:
    acs = read_acs(body)
    found.caveats |= acs.caveats
    if acs.rel_to is not None:
        found.only_to(acs.rel_to)
    return acs.understood


_FEDERAL_ONLY: Final = frozenset({"NOFORN", "FED ONLY"})


def _read_cui(body: Mapping[str, Any], found: Gathered) -> bool:
    """CUI dissemination controls: NOFORN and FED ONLY keep it in the country; we claim to understand no other."""
    controls = body.get("disseminations")
    if not isinstance(controls, list) or not controls or not all(isinstance(word, str) for word in controls):
        return False
    if not _FEDERAL_ONLY.isdisjoint(controls):
        found.caveats.add("noforn")
    return _FEDERAL_ONLY.issuperset(controls)


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], Gathered], bool]]] = {
    PAP_EXTENSION: _read_pap,
    CUI_EXTENSION: _read_cui,
    ACS_EXTENSION: _read_acs,
    IEP_EXTENSION: read_iep,
    TERMS_EXTENSION: read_terms,
}
