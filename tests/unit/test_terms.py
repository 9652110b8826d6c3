"""Markings that say what may be done with an object: FIRST's IEP, and an originator's own release terms."""

import json
from typing import Any

import pytest

from policies.markings import Marks, resolve_markings
from policies.terms import IEP_EXTENSION, TERMS_EXTENSION
from tests.data import read_shared

MARKING, OTHER = "marking-definition--a", "marking-definition--b"
OPAQUE = (f"opaque:{MARKING}",)


def resolved(*bodies: tuple[str, dict[str, Any]]) -> Marks:
    definitions = {
        name: {"type": "marking-definition", "extensions": {key: {"extension_type": "property-extension", **body}}}
        for name, (key, body) in zip((MARKING, OTHER), bodies, strict=False)
    }
    return resolve_markings(definitions, definitions)


def terms(**body: Any) -> tuple[str, dict[str, Any]]:
    return TERMS_EXTENSION, body


def iep(**body: Any) -> tuple[str, dict[str, Any]]:
    named = {"iep_id": "0224bfdf-ea3a-49c3-96f6-66d908bb1845", "iep_version": 2.0, "start_date": "2022-10-01T00:00:00Z"}
    return IEP_EXTENSION, named | body


def test_the_real_iep_example() -> None:
    real = json.loads(read_shared("stix-common-objects/iep/iep-data-marking-example.json"))
    marks = resolve_markings([real["id"]], {real["id"]: real})
    assert (marks.tlp, marks.caveats) == ("amber", ())
    assert marks.terms == (
        "attribution=must-not", "encrypt_in_transit=may", "notify_affected=may",
        "permitted_actions=externally-visible-direct", "resale=must-not",
    )  # fmt: skip


@pytest.mark.parametrize(("word", "tlp"), [("white", "clear"), ("green", "green"), ("amber", "amber"), ("red", "red")])
def test_iep_has_the_four_old_colours(word: str, tlp: str) -> None:
    assert resolved(iep(tlp=word)).tlp == tlp


@pytest.mark.parametrize(
    "body",
    [
        {"tlp": "amber+strict"}, {"tlp": 1}, {"permitted_actions": "dance"}, {"encrypt_in_transit": "must-not"},
        {"surprise": "x"}, {"tlp": ["red"]},
    ],
)  # fmt: skip
def test_what_iep_does_not_say_is_opaque(body: dict[str, Any]) -> None:
    assert resolved(iep(**body)).caveats == OPAQUE


def test_what_is_understood_of_a_policy_binds_beside_what_is_not() -> None:
    marks = resolved(iep(tlp="red", surprise="x"))
    assert (marks.tlp, marks.caveats) == ("red", OPAQUE)


def test_a_policy_that_has_ended_binds_all_the_same() -> None:
    assert resolved(iep(tlp="red", end_date="2022-10-02T00:00:00Z")).tlp == "red"


def test_an_originators_own_terms() -> None:
    marks = resolved(
        terms(release_to=["US", "MX"], audience="ports", purposes=["cyber-defense"], not_before="2027-01-15T06:00:00Z")
    )
    assert marks == Marks(
        tlp=None, pap=None, caveats=(), rel_to=("MX", "US"), audiences=("ports",), purposes=("cyber-defense",),
        not_before="2027-01-15T06:00:00Z",
    )  # fmt: skip


def test_a_handle_for_consent_puts_the_object_under_its_originators_control() -> None:
    marks = resolved(terms(case="flood-2027"))
    assert (marks.caveats, marks.cases) == (("orcon",), ("flood-2027",))


def test_of_two_the_narrower_holds() -> None:
    marks = resolved(
        terms(
            release_to=["US", "MX"],
            audience="ports",
            purposes=["a", "b"],
            not_before="2027-01-15T06:00:00Z",
            case="one",
        ),
        terms(release_to=["MX", "CA"], audience="rail", purposes=["b"], not_before="2027-01-15T09:00:00Z", case="two"),
    )
    assert (marks.rel_to, marks.audiences, marks.purposes) == (("MX",), ("ports", "rail"), ("b",))
    assert (marks.not_before, marks.cases) == ("2027-01-15T09:00:00Z", ("one", "two"))
    apart = resolved(terms(release_to=["US"], purposes=["a"]), terms(release_to=["MX"], purposes=["b"]))
    assert (apart.rel_to, apart.purposes) == ((), ())


@pytest.mark.parametrize(
    ("given", "hour"),
    [
        ("2027-01-15T06:00:00Z", "2027-01-15T06:00:00Z"),
        ("2027-01-15T06:00:00.000001Z", "2027-01-15T07:00:00Z"),
        ("2027-01-15T23:10:00Z", "2027-01-16T00:00:00Z"),
        ("2027-01-15T00:00:00-06:00", "2027-01-15T06:00:00Z"),
        ("2027-01-15T05:30:00+05:30", "2027-01-15T00:00:00Z"),
    ],
)
def test_an_embargo_ends_on_the_hour(given: str, hour: str) -> None:
    assert resolved(terms(not_before=given)).not_before == hour


@pytest.mark.parametrize(
    "body",
    [
        {"release_to": "MX"}, {"release_to": []}, {"release_to": ["mx"]}, {"release_to": ["US", "mx"]}, {"release_to": [1]}, {"release_to": ["MXX"]}, {"release_to": ["US", "mx"]},
        {"purposes": {}}, {"purposes": []}, {"purposes": ["Cyber"]}, {"audience": "Ports"}, {"audience": ["ports"]},
        {"audience": ""}, {"audience": "a" * 65}, {"case": 7}, {"case": "a b"}, {"not_before": "2027-01-15"},
        {"not_before": "2027-01-15T06:00:00"}, {"not_before": "soon"}, {"not_before": 7},
        {"not_before": "9999-12-31T23:59:00Z"}, {"surprise": 1},
    ],
)  # fmt: skip
def test_terms_that_are_not_of_the_expected_form_are_opaque(body: dict[str, Any]) -> None:
    assert f"opaque:{MARKING}" in resolved(terms(**body)).caveats


def test_a_list_that_is_not_understood_names_nobody() -> None:
    assert resolved(terms(release_to=["mx"])).rel_to == ()
    assert resolved(terms(purposes=["Cyber"])).purposes == ()
    assert resolved(terms(case=7)).caveats == (f"opaque:{MARKING}", "orcon")
    assert resolved(terms(audience="a" * 64)).audiences == ("a" * 64,)
