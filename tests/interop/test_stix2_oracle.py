"""Our verdict beside those of the OASIS library and the OASIS validator, over what others have published.

A disagreement is allowed only with a reason in this file; a reason that nothing needs any more fails too.
"""

import copy
import json
import lzma
import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
import stix2
import stix2validator

from exchange.intake.validate import validate
from tests.data import SHARED
from tests.stix_examples import EXAMPLES

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own deprecations

FOLDERS = (
    "oasis-stix-examples", "stix-elevator-idioms", "vendor-stix", "mitre-attack", "misp", "abuse-ch",
    "stix-common-objects", "stix-validator-cases",
)  # fmt: skip
ALIKE = 40
"""Objects of one folder, type and verdict that are asked about: 27,000 of the 32,000 are ATT&CK's."""

WE_REFUSE = {
    ("stix2", "stix-binary"): "b64decode drops what is not base64; the published example ends its payload in ' ...'",
    ("stix2", "stix-missing"): "the library fills in an absent modified; the Standard requires it",
    ("stix2", "stix-time-order"): "the library does not compare created and modified",
    ("stix2", "stix-empty-list"): "2.12: a list is not empty; the library does not look into custom properties",
    ("validator", "stix-empty-list"): "2.12: a list is not empty; the schemas do not look into custom properties",
    ("stix2", "stix-hex"): "2.8: lower-case digits; the library and the schemas take both",
    ("validator", "stix-hex"): "2.8: lower-case digits; the library and the schemas take both",
    ("stix2", "stix-id-uuid"): "identifiers are compared as text, so one spelling is accepted: lower case",
    (
        "validator",
        "stix-id-uuid",
    ): "identifiers are compared as text, so one spelling is accepted: lower case",
    ("stix2", "stix-property-suffix"): "COM-08: a _ref holds an identifier; ATT&CK has empty ones",
    (
        "validator",
        "stix-property-suffix",
    ): "COM-08: a _ref holds an identifier; ATT&CK has empty ones",
}
"""(who accepts, what we reject it for) → why we are right to."""

WE_ACCEPT = {
    "Invalid value for Indicator 'pattern'": "patterns are judged by exchange.intake.pattern, not by validate()"
}
"""Part of the library's message → why we are right to accept what both refuse."""


class Verdicts(NamedTuple):
    where: str
    obj: dict[str, Any]
    ours: tuple[str, ...]
    """Codes of rejection."""
    stix2: str
    """Its complaint, or ""."""
    validator: str


def ask(where: str, obj: dict[str, Any]) -> Verdicts:
    ours = tuple(sorted({found.code for found in validate(obj) if found.level == "reject"}))
    try:
        stix2.parse(copy.deepcopy(obj), allow_custom=True)
        library = ""
    except Exception as error:  # noqa: BLE001 - any refusal is an answer
        library = f"{type(error).__name__}: {error}"
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
    found = []
    for folder in FOLDERS:
        if not (SHARED / folder).exists():
            pytest.skip(f"real data {folder} is not beside this checkout")
        for path in sorted((SHARED / folder).rglob("*.json*")):
            data = path.read_bytes()
            try:
                value = json.loads(lzma.decompress(data) if path.suffix == ".xz" else data)
            except ValueError:
                continue  # some files are broken on purpose
            found += [(str(path.relative_to(SHARED)), obj) for obj in objects_in(value)]
    return tuple(found)


def is_stix_21(obj: dict[str, Any]) -> bool:
    return obj.get("spec_version") == "2.1" or ("spec_version" not in obj and "created" not in obj)


@cache
def asked() -> tuple[Verdicts, ...]:
    seen: Counter[tuple[Any, ...]] = Counter()
    answers = []
    for where, obj in published():
        if is_stix_21(obj):
            codes = tuple(found.code for found in validate(obj) if found.level == "reject")
            kind = (where.split("/")[0], obj["type"], codes)
            seen[kind] += 1
            if seen[kind] <= ALIKE:
                answers.append(ask(where, obj))
    return tuple(answers)


def test_enough_is_asked_about() -> None:
    assert len(published()) > 30_000
    assert len(asked()) > 1_000
    assert sum(not answer.ours for answer in asked()) > 900


def test_what_we_refuse_and_others_accept_is_explained() -> None:
    used = set()
    for answer in asked():
        for oracle, complaint in (("stix2", answer.stix2), ("validator", answer.validator)):
            if answer.ours and not complaint:
                reasons = {(oracle, code) for code in answer.ours} & WE_REFUSE.keys()
                assert reasons, f"{oracle} accepts {answer.obj['id']} of {answer.where}, we say {answer.ours}"
                used |= reasons
    assert used == WE_REFUSE.keys()


def test_what_both_others_refuse_and_we_accept_is_explained() -> None:
    used = set()
    for answer in asked():
        if not answer.ours and answer.stix2 and answer.validator:
            reasons = {part for part in WE_ACCEPT if part in answer.stix2}
            assert reasons, f"{answer.obj['id']} of {answer.where}: {answer.stix2}; {answer.validator}"
            used |= reasons
    assert used == WE_ACCEPT.keys()


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
