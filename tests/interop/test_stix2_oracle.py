"""Our verdict beside those of the OASIS library and the OASIS validator, over what others have published.

A disagreement is allowed only with a reason in this file; a reason that nothing needs any more fails too.
"""

import copy
import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
import stix2
import stix2validator

from exchange.intake.pattern import check_pattern
from exchange.intake.validate import validate
from tests.data import documents
from tests.stix_examples import EXAMPLES

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own deprecations

ALIKE = 40
"""Objects of one folder, type and verdict that are asked about: 27,000 of the 32,000 are ATT&CK's."""

WE_REFUSE = {
    "stix-property-suffix": "COM-08: a _ref holds an identifier; ATT&CK has empty ones",
    "stix-type-unknown": "IDN-06: the matcher's cases have a type `test` that nothing announces",
    "stix-type": "IDN-06: the matcher's cases have a type with an underscore",
    "stix-empty-list": "2.12: a list is not empty; the library does not look into custom properties",
    "stix-missing": "the library fills in an absent modified; the Standard requires it",
    "stix-binary": "b64decode drops what is not base64; the published example ends its payload in ' ...'",
    "stix-id-uuid": "identifiers are compared as text, so one spelling is accepted: lower case",
    "stix-hex": "2.8: lower-case digits; the library takes both",
    "stix-ref": "2.9: the matcher's cases have references that are no identifiers",
    "stix-time-order": "3.2: the library does not compare created and modified",
    "stix-null": "null is no value of STIX; the library drops a property that is null",
}
"""Code of ours → why we are right to refuse what the library accepts, or the validator."""


class Verdicts(NamedTuple):
    where: str
    obj: dict[str, Any]
    ours: tuple[str, ...]
    """Codes of rejection."""
    stix2: str
    """Its complaint, or ""."""
    validator: str


def refusals(obj: dict[str, Any]) -> set[str]:
    """Our codes, the pattern's among them."""
    found = {finding.code for finding in validate(obj) if finding.level == "reject"}
    if not found and obj["type"] == "indicator" and obj["pattern_type"] == "stix":
        found = {fault.code for fault in check_pattern(obj["pattern"]) if fault.level == "reject"}
    return found


def library_complaint(obj: dict[str, Any]) -> str:
    try:
        stix2.parse(copy.deepcopy(obj), allow_custom=True)
    except Exception as error:  # noqa: BLE001 - any refusal is an answer
        return f"{type(error).__name__}: {error}"
    return ""


def ask(where: str, obj: dict[str, Any]) -> Verdicts:
    ours = tuple(sorted(refusals(obj)))
    library = library_complaint(obj)
    try:
        result = stix2validator.validate_instance(copy.deepcopy(obj))
        schemas = "" if result.is_valid else "; ".join(str(error) for error in result.errors)
    except Exception as error:  # noqa: BLE001 - it is not made for damaged objects
        schemas = f"crashed: {error!r}"
    return Verdicts(where, obj, ours, library, schemas)


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        identifier = value.get("id")
        if isinstance(value.get("type"), str) and isinstance(identifier, str) and value["type"] != "bundle":
            yield from [value] if "--" in identifier else []
        else:
            for member in value.values():
                yield from objects_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from objects_in(member)


@cache
def published() -> tuple[tuple[str, dict[str, Any]], ...]:
    """Every STIX object of the real data, of either version."""
    return tuple((where, obj) for where, value in documents(b'"type"', b'"id"') for obj in objects_in(value))


def is_stix_21(obj: dict[str, Any]) -> bool:
    return obj.get("spec_version") == "2.1" or ("spec_version" not in obj and "created" not in obj)


@cache
def asked() -> tuple[Verdicts, ...]:
    seen: Counter[tuple[Any, ...]] = Counter()
    answers = []
    for where, obj in published():
        if is_stix_21(obj):
            codes = tuple(sorted(refusals(obj)))
            kind = (where.split("/")[0], obj["type"], codes)
            seen[kind] += 1
            if seen[kind] <= ALIKE:
                answers.append(ask(where, obj))
    return tuple(answers)


def test_enough_is_asked_about() -> None:
    assert len(published()) > 30_000
    assert len(asked()) > 1_000
    assert sum(not answer.ours for answer in asked()) > 900


def test_every_object_there_is_has_the_librarys_verdict_or_a_reason() -> None:
    """All of the real data, no sample: 32,000 objects, their patterns included."""
    asked_about, used = 0, set()
    for where, obj in published():
        if is_stix_21(obj):
            asked_about += 1
            ours, complaint = refusals(obj), library_complaint(obj)
            if ours and not complaint:
                assert ours <= WE_REFUSE.keys(), f"the library accepts {obj['id']} of {where}, we say {ours}"
                used |= ours
            assert ours or not complaint, f"we accept {obj['id']} of {where}; the library says {complaint}"
    assert asked_about > 32_000
    assert used == WE_REFUSE.keys(), "a reason that nothing needs any more"


def test_what_we_refuse_and_the_validator_accepts_is_explained() -> None:
    for answer in asked():
        if answer.ours and not answer.validator:
            assert set(answer.ours) <= WE_REFUSE.keys(), f"{answer.obj['id']} of {answer.where}: {answer.ours}"


def test_we_accept_nothing_that_both_others_refuse() -> None:
    for answer in asked():
        both = answer.stix2 and answer.validator
        assert answer.ours or not both, f"{answer.obj['id']} of {answer.where}: {answer.stix2}; {answer.validator}"


def test_stix_2_0_is_refused_by_name() -> None:
    older = [obj for _, obj in published() if "spec_version" not in obj and "created" in obj]

    assert len(older) > 3_000
    for obj in older:
        codes = {found.code for found in validate(obj)}
        assert codes & {"stix-version-2-0", "stix-type-unknown"}, obj["id"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_our_examples_are_good_to_all_three(name: str) -> None:
    answer = ask("examples", EXAMPLES[name])

    assert (answer.ours, answer.stix2, answer.validator) == ((), "", "")


VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**20, "", "x", "zz", "0a", "2026-01-01T00:00:00Z", "2020-01-01T00:00:00.000Z", [], {},
    ["x"], {"a": 1}, [{}], EXAMPLES["identity"]["id"], EXAMPLES["file"]["id"], [EXAMPLES["file"]["id"]],
    [EXAMPLES["marking-definition"]["id"]],
)  # fmt: skip
NAMES = (
    "x_a",
    "foo",
    "name",
    "value",
    "Foo",
    "severity",
    "url",
    "body",
    "lang",
    "x_hex",
    "objects",
    "x-foo",
    "is_active",
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield value, key
        yield from places(member)


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_that_both_others_see_escapes_us(seed: int) -> None:
    dice = random.Random(seed)
    refused = 0
    for _ in range(400):
        obj = copy.deepcopy(EXAMPLES[dice.choice(sorted(EXAMPLES))])
        container, key = dice.choice(list(places(obj)))
        act = dice.random()
        if act < 0.35:
            del container[key]
        elif act < 0.75 or isinstance(container, list):
            container[key] = copy.deepcopy(dice.choice(VALUES))
        else:
            container[dice.choice(NAMES)] = copy.deepcopy(dice.choice(VALUES))
        answer = ask("damaged", obj)
        both = bool(answer.stix2 and answer.validator and not answer.validator.startswith("crashed"))
        refused += both
        assert answer.ours or not both, f"{answer.stix2}; {answer.validator}: {obj}"
    assert refused > 80
