"""One broken rule of STIX 2.1 in one object."""

from dataclasses import dataclass

from exchange.intake.stix.wordings import WORDINGS, Level

Place = tuple[int | str, ...]
"""Keys and indexes from the object down."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach in one object. `field` is a path such as `kill_chain_phases[0].phase_name`; "" means the object."""

    rule: str
    """Row of the requirement list, e.g. "TIM-01"."""
    code: str
    """Stable kebab-case name."""
    field: str
    level: Level
    en: str
    es: str


def breach(code: str, field: str, *, rule: str = "", **facts: object) -> Finding:
    """A finding of `code` at `field`; `facts` fill the placeholders of its texts."""
    wording = WORDINGS[code]
    return Finding(
        rule or wording.rule,
        code,
        field,
        wording.level,
        wording.en.format(field=field, **facts),
        wording.es.format(field=field, **facts),
    )


def path(place: Place) -> str:
    """`("a", 0, "b")` as `a[0].b`; keys that a producer chose are cut short."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step[:80]}" if text else step[:80]
    return text
