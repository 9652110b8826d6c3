"""Rules between the properties of one object, as small functions that a type declares beside its model.

Each is asked with the validated copy, in which timestamps are sortable keys, and answers with a finding or None.
"""

from collections.abc import Callable
from typing import Any

from exchange.intake.stix.finding import Finding, breach

Rule = Callable[[dict[str, Any]], Finding | None]


def ordered(early: str, late: str, *, rule: str) -> Rule:
    """`late` is not before `early`, where both stand."""

    def check(copy: dict[str, Any]) -> Finding | None:
        if late in copy and early in copy and copy[late] < copy[early]:
            return breach("stix-time-order", late, rule=rule, other=early)
        return None

    return check


def after(early: str, late: str, *, rule: str) -> Rule:
    """`late` is later than `early`, where both stand."""

    def check(copy: dict[str, Any]) -> Finding | None:
        if late in copy and early in copy and copy[late] <= copy[early]:
            return breach("stix-time-after", late, rule=rule, other=early)
        return None

    return check


def some_of(*names: str, rule: str) -> Rule:
    def check(copy: dict[str, Any]) -> Finding | None:
        if any(name in copy for name in names):
            return None
        return breach("stix-one-of", "", rule=rule, names=", ".join(names))

    return check


def exactly_one_of(*names: str, rule: str) -> Rule:
    def check(copy: dict[str, Any]) -> Finding | None:
        if sum(name in copy for name in names) == 1:
            return None
        return breach("stix-exactly-one", "", rule=rule, names=", ".join(names))

    return check


def needs(name: str, *others: str, rule: str) -> Rule:
    """Where `name` stands, all of `others` do."""

    def check(copy: dict[str, Any]) -> Finding | None:
        if name in copy and any(other not in copy for other in others):
            return breach("stix-needs", name, rule=rule, other=", ".join(others))
        return None

    return check
