"""What an object refers to: the ids that it would give away to whoever reads it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies.markings import SIGNATURE_EXTENSION

_GRAPH: Final = frozenset({
    "source_ref", "target_ref", "sighting_of_ref", "observed_data_refs", "where_sighted_refs", "object_refs", "object_ref",
})  # fmt: skip
"""Where an identity is one of the things connected. Elsewhere it only says whose something is, as `created_by_ref` does."""
_ASIDE: Final = frozenset({
    "created_by_ref", "object_marking_refs", "granular_markings", "external_references", "kill_chain_phases",
    SIGNATURE_EXTENSION,
})  # fmt: skip
_COMPANIONS: Final = ("marking-definition--", "extension-definition--")
"""They say how to read an object, and nothing of anybody: whoever has the object may know that it cites them."""


def references(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids of what a validated object connects, in any property whose name says so, extensions and custom ones among them.

    That it is its creator's it says anyway, so its creator (who sighted something, for instance) is no end of it.
    """
    known = (value.get("id"), value.get("created_by_ref"))
    return tuple(dict.fromkeys(ref for ref in _found(value) if ref not in known))


def _found(value: Mapping[str, Any]) -> Iterator[str]:
    for key, content in value.items():
        if key in _ASIDE:
            continue
        if key.endswith(("_ref", "_refs")):
            for ref in content if isinstance(content, list) else (content,):
                if isinstance(ref, str) and _connects(key, ref):
                    yield ref
        elif isinstance(content, dict):
            yield from _found(content)
        elif isinstance(content, list):
            for part in content:
                if isinstance(part, dict):
                    yield from _found(part)


def _connects(key: str, ref: str) -> bool:
    if "--" not in ref or ref.startswith(_COMPANIONS):
        return False
    return key in _GRAPH or not ref.startswith("identity--")
