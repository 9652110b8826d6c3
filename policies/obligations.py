"""What a permit asks of the recipient, and how the obligations of several permits become one set: the stricter wins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from policies.document import Permit, seconds

# Each order runs from the loosest to the strictest word.
_ORDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "identity": ("reveal", "reveal-with-consent", "country-only", "anonymise"),
    "onward": ("own-country", "own-org", "with-consent", "none"),
    "permitted_actions": (
        "externally-visible-direct",
        "externally-visible-indirect",
        "internally-visible",
        "contact-for-instruction",
        "none",
    ),
    "blocking": ("may", "must-not"),
    "encrypt_in_transit": ("may", "must"),
    "notify_affected": ("may", "must-not"),
    "sighting_feedback.granularity": ("full", "sector-count", "count"),
}
_LONGER_IS_STRICTER: Final = frozenset({"delay"})
_PURPOSES: Final = "purposes"


@dataclass(frozen=True, slots=True)
class Obligations:
    """The obligations of one permit, or of several taken together."""

    words: Mapping[str, str]
    """By the document's names; durations as written; purposes joined by commas."""
    delay_seconds: int
    expires_after_seconds: int | None

    @property
    def identity(self) -> str:
        return self.words["identity"]

    @property
    def may_block(self) -> bool:
        """Whether the recipient's devices may block by it. "None" and "contact for instruction" are IEP's words for no act
        of one's own."""
        idle = self.words.get("permitted_actions") in ("none", "contact-for-instruction")
        return self.words.get("blocking") == "may" and not idle

    @property
    def purposeless(self) -> bool:
        """Several permits whose purposes exclude each other: there is nothing the recipient could use it for."""
        return self.words.get(_PURPOSES) == ""


def obligations_of(permit: Permit) -> Obligations:
    """The obligations that one permit writes down."""
    then = permit.then.model_dump(exclude_none=True, exclude={"sighting_feedback"})
    words = {key: str(value) for key, value in then.items()}
    if feedback := permit.then.sighting_feedback:
        words |= {"sighting_feedback.within": feedback.within, "sighting_feedback.granularity": feedback.granularity}
    if permit.when.purposes:
        words[_PURPOSES] = ",".join(sorted(permit.when.purposes))
    return _sealed(words)


def together(several: Sequence[Obligations]) -> Obligations:
    """All of them at once; where two speak of the same thing the stricter holds. `several` is not empty."""
    if len(several) == 1:
        return several[0]
    words: dict[str, str] = {}
    for one in several:
        for key, word in one.words.items():
            words[key] = _stricter(key, words[key], word) if key in words else word
    if not all("blocking" in one.words for one in several):
        words.pop("blocking", None)  # a licence, not a duty: whoever is silent on it has not given it
    return _sealed(words)


def _stricter(key: str, one: str, other: str) -> str:
    if one == other:
        return one
    if order := _ORDERS.get(key):
        return max(one, other, key=order.index)
    if key == _PURPOSES:
        return ",".join(sorted(set(one.split(",")) & set(other.split(","))))
    return (max if key in _LONGER_IS_STRICTER else min)(one, other, key=seconds)


def _sealed(words: dict[str, str]) -> Obligations:
    lapses = words.get("expires_after")
    return Obligations(
        MappingProxyType(words),
        seconds(words["delay"]) if "delay" in words else 0,
        seconds(lapses) if lapses else None,
    )


NO_OBLIGATIONS: Final = Obligations(MappingProxyType({}), 0, None)
