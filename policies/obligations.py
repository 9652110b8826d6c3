"""What is asked of the recipient: by each permit, by the document, by the object's markings; together the stricter wins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from policies.document import Document, Permit
from policies.label import Label
from policies.words import seconds

# Each order runs from the loosest to the strictest word.
_ORDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "identity": ("reveal", "reveal-with-consent", "country-only", "anonymise"),
    "view": ("full", "tearline"),
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
    "attribution": ("may", "must", "must-not"),
    "resale": ("may", "must-not"),
    "sighting_feedback.granularity": ("full", "sector-count", "count"),
}
_LONGER_IS_STRICTER: Final = frozenset({"delay"})
_GRANULARITY: Final = "sighting_feedback.granularity"
_PURPOSES: Final = "purposes"
_EXCLUDED: Final = "excluded_purposes"


@dataclass(frozen=True, slots=True)
class Obligations:
    """The obligations of one permit, or of several taken together."""

    words: Mapping[str, str]
    """By the document's names; durations as written; purposes joined by commas."""
    delay_seconds: int
    expires_after_seconds: int | None

    @property
    def identity(self) -> str:
        return self.words.get("identity", "anonymise")

    @property
    def tearline(self) -> bool:
        return self.words.get("view") == "tearline"

    @property
    def may_block(self) -> bool:
        """Whether the recipient's devices may block by it. "None" and "contact for instruction" are IEP's words for no act
        of one's own."""
        idle = self.words.get("permitted_actions") in ("none", "contact-for-instruction")
        return self.words.get("blocking") == "may" and not idle

    def after(self, delay_seconds: int) -> "Obligations":
        """The same, and not before what the object refers to is given."""
        if delay_seconds <= self.delay_seconds:
            return self
        return replace(
            self, words=MappingProxyType({**self.words, "delay": f"{delay_seconds}s"}), delay_seconds=delay_seconds
        )

    @property
    def purposeless(self) -> bool:
        """Purposes that exclude each other, of permits or of permits and originator: there is no use left for it."""
        return self.words.get(_PURPOSES) == ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the document asks of every recipient, whatever permits."""

    retain: str | None
    retain_by_class: Mapping[str, str]
    granularity: str | None
    purposes: frozenset[str]
    excluded_purposes: str


def bounds_of(document: Document) -> Bounds:
    retention, sightings = document.retention, document.sightings
    return Bounds(
        retain=retention.default if retention else None,
        retain_by_class={str(name): term for name, term in retention.by_class.items()} if retention else {},
        granularity=sightings.granularity if sightings else None,
        purposes=frozenset(document.purposes.allowed),
        excluded_purposes=",".join(sorted(document.purposes.excluded)),
    )


def obligations_of(permit: Permit) -> Obligations:
    """The obligations that one permit writes down."""
    then = permit.then.model_dump(exclude_none=True, exclude={"sighting_feedback"})
    words = {key: str(value) for key, value in then.items()}
    if feedback := permit.then.sighting_feedback:
        words |= {"sighting_feedback.within": feedback.within, _GRANULARITY: feedback.granularity}
    if permit.when.purposes is not None:
        words[_PURPOSES] = ",".join(sorted(permit.when.purposes))
    return _sealed(words)


def together(permits: Sequence[Obligations], label: Label, bounds: Bounds) -> Obligations:
    """All that binds whoever receives what the label describes; where two speak of the same thing the stricter holds."""
    words = accumulated(permits)
    _add(words, _of_document(bounds, label, feedback="sighting_feedback.within" in words))
    for term in label.terms:  # two markings may speak of one thing
        key, word = term.split("=", 1)
        _add(words, {key: word})
    if label.purposes is not None:
        # A purpose that the document does not know is none that anybody here could serve.
        _add(words, {_PURPOSES: ",".join(one for one in label.purposes if one in bounds.purposes)})
    return _sealed(words)


def accumulated(permits: Sequence[Obligations]) -> dict[str, str]:
    """What several permits ask together."""
    words: dict[str, str] = {}
    for one in permits:
        _add(words, one.words)
    if not all("blocking" in one.words for one in permits):
        words.pop("blocking", None)  # a licence, not a duty: whoever is silent on it has not given it
    return words


def looser(key: str, one: str, other: str) -> bool:
    """Whether a word asks less of the recipient than another."""
    return one != other and _stricter(key, one, other) != one


def _of_document(bounds: Bounds, label: Label, *, feedback: bool) -> dict[str, str]:
    """The bounds that apply. How much to tell of sightings is said only to those who are asked to tell of them."""
    found: dict[str, str] = {}
    if retain := bounds.retain_by_class.get(label.object_class, bounds.retain):
        found["retain"] = retain
    if bounds.granularity and feedback:
        found[_GRANULARITY] = bounds.granularity
    if bounds.excluded_purposes:
        found[_EXCLUDED] = bounds.excluded_purposes
    return found


def _add(words: dict[str, str], more: Mapping[str, str]) -> None:
    for key, word in more.items():
        words[key] = _stricter(key, words[key], word) if key in words else word


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
