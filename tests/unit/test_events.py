"""The closed list of events: nothing else can be made, every kind has a leaf to show, and the page says what the code does."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from exchange.ledger.entry import LOGS, Entry, encode
from exchange.ledger.events import EVENTS, NATIONAL, QUESTIONS, Rule, schemas
from exchange.times import parse_us
from tests.ledger_events import PAGE, document

ROOT = Path(__file__).parents[2]
LEAVES = (ROOT / "tests" / "vectors" / "ledger" / "leaves.jsonl").read_bytes().splitlines()
SCHEMAS = schemas()

every = pytest.mark.parametrize("data", LEAVES, ids=[json.loads(data)["t"] for data in LEAVES])


def test_every_kind_has_one_leaf() -> None:
    assert [json.loads(data)["t"] for data in LEAVES] == list(EVENTS)


@every
def test_the_leaf_is_what_the_hub_writes(data: bytes) -> None:
    leaf = json.loads(data)
    entry = Entry(leaf["log"], leaf["t"], leaf["actor"], leaf["on"], leaf["pub"], leaf["out"])
    frame = {"time_us": parse_us(leaf["time"]), "req": leaf["req"], "pol": leaf["pol"], "seq": leaf.get("seq")}
    assert encode(entry, **frame, commitment_b64=leaf["c"].encode() if "c" in leaf else None) == data


@every
def test_the_leaf_is_by_its_schema_and_an_altered_one_is_not(data: bytes) -> None:
    leaf = json.loads(data)
    schema = SCHEMAS[leaf["t"]]
    jsonschema.validate(leaf, schema)
    event = EVENTS[leaf["t"]]
    required = [name for name, _, required in event.fields() if required]
    for broken in (
        {**leaf, "t": "other"}, {**leaf, "v": 2}, {**leaf, "more": 1}, {**leaf, "log": "ca"},
        {**leaf, "pub": {**leaf["pub"], "more": 1}},
        *({**leaf, "pub": {k: v for k, v in leaf["pub"].items() if k != name}} for name in required),
        *({**leaf, "pub": {**leaf["pub"], name: None}} for name in leaf["pub"]),
    ):  # fmt: skip
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


@every
def test_no_entry_of_another_shape_can_be_made(data: bytes) -> None:
    leaf = json.loads(data)
    event = EVENTS[leaf["t"]]

    def entry(**changes: Any) -> Entry:
        given = {**leaf, **changes}
        return Entry(given["log"], given["t"], "hub:puente:acct:hub", "x", given["pub"])

    pub = leaf["pub"]
    entry()
    with pytest.raises(ValueError, match="no such kind"):
        entry(t=leaf["t"] + ".other")
    with pytest.raises(ValueError, match="no field of it"):
        entry(pub={**pub, "more": "x"})
    for name, _, required in event.fields():
        if required:
            with pytest.raises(ValueError, match=f"lacks {name}"):
                entry(pub={key: value for key, value in pub.items() if key != name})
    for log in LOGS:
        if (event.rule is Rule.BOTH and log != "both") or (event.rule in NATIONAL and log == "both"):
            with pytest.raises(ValueError, match="not for log"):
                entry(log=log)


def test_a_field_has_its_type() -> None:
    for wrong in (1, None, ["x"]):
        with pytest.raises(ValueError, match="as command"):
            Entry("us", "admin", "a", "b", {"command": wrong, "alias": "first of its shape"})
    with pytest.raises(ValueError, match="bool as count"):
        Entry("us", "poll.sum", "a", "b", {"last": "", "first": "", "count": True})  # type: ignore[dict-item]


def test_every_question_has_kinds_and_every_kind_a_question() -> None:
    assert {number for event in EVENTS.values() for number in event.questions} == QUESTIONS.keys()
    assert all(event.questions and event.text.en and event.text.es for event in EVENTS.values())


def test_code_makes_the_kinds_of_the_list_and_no_others() -> None:
    """By the source: whatever stands where a kind is due is in the list, and the list has nothing that no code makes."""
    made = {kind for path in sorted((ROOT / "exchange").rglob("*.py")) for kind in _kinds(path)}
    assert made - EVENTS.keys() == set()
    assert EVENTS.keys() - made == set()


MAKERS = {
    "Entry": 1,
    "LedgerEntry": 1,
    "_entry": 1,
    "_act": 1,
    "note": 1,
    "_mark": 1,
    "_Sum": 1,
    "Statement": 1,
    "_say": 1,
}
"""Where a kind stands among what is handed to them."""


def _kinds(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in MAKERS:
                yield from _texts(node, MAKERS[name])


def _texts(call: ast.Call, place: int) -> Iterator[str]:
    given = [*call.args[place : place + 1], *(word.value for word in call.keywords if word.arg == "t")]
    for one in given:
        branches = [one.body, one.orelse] if isinstance(one, ast.IfExp) else [one]
        yield from (part.value for part in branches if isinstance(part, ast.Constant) and isinstance(part.value, str))


def test_the_page_is_what_the_list_says() -> None:
    assert PAGE.read_text("utf-8") == document(), "run ./dev rules"
