"""docs/ledger-events.md, written by `./dev rules` from the closed list of kinds; tests/unit/test_events.py holds it to that."""

import json

from exchange.errors import Text
from exchange.ledger.events import EVENTS, QUESTIONS, TYPES, Event
from tests.requirements import DOCS

PAGE = DOCS / "ledger-events.md"

HEAD = """# Everything the logs can hold

Made by `./dev rules` from `exchange/ledger/events.py`; do not edit. An entry of another kind, or with other public fields, cannot be made,
and `tests/vectors/ledger/leaves.jsonl` has one leaf of each. An audit pack carries the same list as JSON Schemas.
*Hecho por `./dev rules` a partir de `exchange/ledger/events.py`; no se edita. No puede hacerse un asiento de otra clase ni con otros campos.*

Every leaf is canonical JSON (RFC 8785) with `v`, `log`, `t` (the kind), `time`, `req` (shared by the entries of one act), `actor` (an account of
an organisation, never a person), `on` (what it is about), `out` (`ok` or `refused`), `pol` (the agreement in force and the number of its
adoption) and `pub`, whose fields depend on the kind; a `?` marks those that may be absent. `seq`, in national logs only, counts the entries of `both` and of
that log up to it: their common order, and nothing of the other country's number.
`c` commits, with a salt, to a private part that can be erased while the leaf stays.

What the list leaves to be understood:

- **Why one `decide` a label, not an object.** An agreement is judged by label, and every `submit` names its object's. So one `decide` holds for all
  objects of a label: it has its facets in clear and the RFC 6962 root over lines of each member's verdict, whose opening the owner's country has. It is written
  with the first object of a label that a process takes in under a version of the agreement, in the same transaction. For older objects
  under a newer version, facets and the text of the agreement give the verdict again, as both are kept.
- **Why `withhold` is a sum.** A leaf for each page would put a root over all that a member may *not* see into every release. So there is one for each
  member, collection and owning country a minute, only where that minute also gave the member something of that country: then the owner knows of
  the question already. A poll that gives a member nothing of a country leaves no trace in that country's log: it would tell who polls at home.
- **Refusals.** The first of a kind in a minute is written at once, repeats as a sum. They go to the log of the caller's country. A
  credential that names an account goes to that account's country; one that names none is nobody's, and its count goes to `both`.
- **Releases are written before the bytes leave.** A connection that broke counts as released.
- **Anchors.** `both` has the salted digest `SHA-256("hub-anchor-v1\\0" ‖ salt ‖ size in decimal ‖ ":" ‖ root)` of a national checkpoint; salt, size and root
  are in an `anchor` entry of that national log, under the same `req`. The other country learns neither size nor rate, and yet a country
  cannot rewrite its own log later.
"""


def document() -> str:
    lines = [HEAD, "## Types of fields", "", "| Type | As JSON Schema |", "|---|---|"]
    lines += [f"| {name} | `{_schema(schema)}` |" for name, (_, schema) in TYPES.items()]
    lines += ["", "## The questions", "", "| | Question | Pregunta | Kinds |", "|---|---|---|---|"]
    for number, text in QUESTIONS.items():
        kinds = ", ".join(f"`{t}`" for t, event in EVENTS.items() if number in event.questions)
        lines.append(f"| {number} | {text.en} | {text.es} | {kinds} |")
    lines += ["", "## The kinds", ""]
    for t, event in EVENTS.items():
        lines += [*_kind(t, event), ""]
    return "\n".join(lines)


def _kind(t: str, event: Event) -> list[str]:
    rule: Text = event.rule.value
    pub = ", ".join(f"`{name}` {kind}" for name, kind in event.pub.items()) or "none"
    return [
        f"### `{t}`",
        "",
        f"{event.text.en} *{event.text.es}*",
        "",
        f"- Log: {rule.en}. *{rule.es.capitalize()}.*",
        f"- Public: {pub}",
        f"- Private: {event.private or 'none'}",
        f"- Questions: {', '.join(map(str, event.questions))}",
    ]


def _schema(schema: object) -> str:
    return json.dumps(schema)
