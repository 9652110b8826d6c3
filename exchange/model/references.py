"""What an object refers to: the ids that it would give away to whoever reads it."""

from collections.abc import Mapping
from typing import Any, Final

from certs.signature import EXT_ATT
from policies.markings import CAVEAT_EXTENSION, CAVEAT_MARKINGS, SIGNATURE_EXTENSION, TLP_DEFINITIONS

_GRAPH: Final = frozenset({
    "source_ref", "target_ref", "sighting_of_ref", "observed_data_refs", "where_sighted_refs", "object_refs", "object_ref",
})  # fmt: skip
"""Where an identity is one of the things connected. Elsewhere it only says whose something is, as `created_by_ref` does."""
_ASIDE: Final = frozenset({
    "created_by_ref", "object_marking_refs", "granular_markings", "external_references", "kill_chain_phases",
    SIGNATURE_EXTENSION,
})  # fmt: skip
_COMMON: Final = ("created_by_ref", "object_marking_refs", "external_references")
_COMPANIONS: Final = ("marking-definition--", "extension-definition--")
"""They say how to read an object, and nothing of anybody: whoever has the object may know that it cites them."""
_EVERYBODYS: Final = frozenset({*TLP_DEFINITIONS, *CAVEAT_MARKINGS, CAVEAT_EXTENSION, EXT_ATT, SIGNATURE_EXTENSION})
DEFINITIONS: Final = frozenset({"marking-definition", "extension-definition"})


def marking_ids(obj: Mapping[str, Any]) -> tuple[str, ...]:
    """Every marking the object carries: its own and those of its parts. One marked property marks the whole for release."""
    ids = tuple(obj.get("object_marking_refs", ()))
    granular = obj.get("granular_markings")
    if not granular and len(ids) < 2:
        return ids
    parts = [mark["marking_ref"] for mark in granular or () if "marking_ref" in mark]
    return tuple(dict.fromkeys((*ids, *parts)))


def citations(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids by which a validated object says whose it is and how to read it, those aside that everybody has."""
    cited = [one for one in marking_ids(value) if one not in _EVERYBODYS]
    if "extensions" in value:
        cited += [one for one in value["extensions"] if one not in _EVERYBODYS and one.startswith(_COMPANIONS)]
    own, creator = value.get("id", ""), value.get("created_by_ref", "")
    if not cited:
        return (creator,) if creator not in (own, "") else ()
    return tuple(sorted({*cited, creator} - {own, ""}))


def may_refer(value: Mapping[str, Any], body: bytes) -> bool:
    """Whether there can be more than nothing in `references`, from the object's canonical form: for most objects not, and this is
    quicker than to look."""
    aside = sum([name in value for name in _COMMON])
    block = value["extensions"].get(SIGNATURE_EXTENSION) if "extensions" in value else None
    if isinstance(block, dict) and "signer_ref" in block:
        aside += 1
    return body.count(b"_ref") > aside


def references(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids of what a validated object connects, in any property whose name says so, extensions and custom ones among them.

    That it is its creator's it says anyway, so its creator (who sighted something, for instance) is no end of it.
    """
    found: list[str] = []
    _gather(value, found)
    known = (value.get("id"), value.get("created_by_ref"))
    return tuple(dict.fromkeys(ref for ref in found if ref not in known))


def _gather(value: Mapping[str, Any], found: list[str]) -> None:
    for key, content in value.items():
        if type(content) is str:
            if key[-4:] == "_ref" and key not in _ASIDE and _connects(key, content):
                found.append(content)
        elif type(content) is dict:
            if key not in _ASIDE:
                _gather(content, found)
        elif type(content) is list and key not in _ASIDE:
            for part in content:
                if type(part) is dict:
                    _gather(part, found)
                elif type(part) is str and key[-5:] == "_refs" and _connects(key, part):
                    found.append(part)


def _connects(key: str, ref: str) -> bool:
    if "--" not in ref or ref.startswith(_COMPANIONS):
        return False
    return key in _GRAPH or not ref.startswith("identity--")
