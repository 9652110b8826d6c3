"""Whatever is done to a good object, validation answers, answers the same again, and leaves the object alone."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.intake.validate import MAX_FINDINGS, sco_id, validate
from exchange.model.instant import instant
from tests.stix_examples import EXAMPLES

TEXT = st.text(max_size=12) | st.sampled_from(
    [
        "2026-03-01T12:00:00.000Z",
        "2.1",
        "indicator",
        "x-a",
        "tlp",
        "new-sco",
        "new-sdo",
        "identity--x",
        "[0]",
        "name",
        "\ud800",
    ]
)
KEYS = st.text(max_size=6) | st.sampled_from(
    sorted(
        {key for example in EXAMPLES.values() for key in example}
        | {"selectors", "lang", "extension_type", "MD5", "ntfs-ext"}
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a value."""
    found: list[tuple[Any, Any]] = []
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        found += [(value, key), *places(member)]
    return found


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    obj = copy.deepcopy(EXAMPLES[draw(st.sampled_from(sorted(EXAMPLES)))])
    for _ in range(draw(st.integers(1, 3))):
        everywhere = places(obj)
        if not everywhere:
            break
        container, key = everywhere[draw(st.integers(0, len(everywhere) - 1))]
        match draw(st.sampled_from(["delete", "replace", "insert", "transplant"])):
            case "delete":
                del container[key]
            case "replace":
                container[key] = draw(JSON)
            case "insert" if isinstance(container, dict):
                container[draw(KEYS)] = draw(JSON)
            case "insert":
                container.insert(key, draw(JSON))
            case _:
                other, name = draw(st.sampled_from(everywhere))
                container[key] = copy.deepcopy(other[name])
    return obj


def judge(value: Any) -> None:
    before = repr(value)
    findings = validate(value)

    assert repr(value) == before
    assert validate(value) == findings
    assert len(findings) <= MAX_FINDINGS
    assert len({found.level for found in findings}) <= 1
    for found in findings:
        assert found.en
        assert found.es


@settings(max_examples=1500, deadline=None)
@given(damaged())
def test_damaged_objects(obj: dict[str, Any]) -> None:
    judge(obj)
    sco_id(obj)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_json_value(value: Any) -> None:
    judge(value)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(EXAMPLES)), st.dictionaries(KEYS, JSON, max_size=4))
def test_any_members_of_a_known_type(name: str, members: dict[str, Any]) -> None:
    judge({**members, "type": name, "id": EXAMPLES[name]["id"]})


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_what_is_not_rejected_has_what_later_steps_rely_on(obj: dict[str, Any]) -> None:
    """`model.stix`, labelling and the store read these without looking again."""
    if any(found.level == "reject" for found in validate(obj)):
        return
    assert isinstance(obj["type"], str)
    assert obj["id"].startswith(f"{obj['type']}--")
    for name in ("created", "modified"):
        assert instant(obj.get(name, "2026-01-01T00:00:00Z"))
    assert isinstance(obj.get("revoked", False), bool)
    assert isinstance(obj.get("confidence", 0), int)
    assert isinstance(obj.get("created_by_ref", ""), str)
    marks = [*obj.get("object_marking_refs", ()), *(m.get("marking_ref", "") for m in obj.get("granular_markings", ()))]
    assert all(isinstance(mark, str) for mark in marks)
    if obj["type"] == "indicator":
        assert obj["pattern"]
        assert obj["pattern_type"]


@settings(max_examples=500, deadline=None)
@given(st.datetimes(), st.datetimes(), st.integers(0, 9), st.integers(0, 9))
def test_instants_sort_as_times_do(first: Any, second: Any, digits: int, zeros: int) -> None:
    one, two = (
        f"{time.strftime('%Y').zfill(4)}{time.strftime('-%m-%dT%H:%M:%S')}.{time.microsecond:06}"
        for time in (first, second)
    )

    assert (instant(f"{one}{'0' * zeros}Z") < instant(f"{two}{'0' * digits}Z")) == (first < second)
    assert instant(f"{one}Z") < instant(f"{one}{'0' * zeros}{digits + 1}Z")
