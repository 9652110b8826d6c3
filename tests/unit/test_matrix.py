"""Matrix differences against the pairs judged one by one; coverage; and what an overlay may and may not say."""

import itertools
import random
from collections.abc import Iterable

import pytest

from policies.agreement import AgreementError, load, run_tests
from policies.decide import Decision, decide
from policies.label import Label, Recipient
from policies.matrix import Audience, Change, coverage, differences
from policies.overlay import load_overlay, overlaid, parse_overlay
from tests.agreeing import amended, overlay
from tests.unit.test_grants import SAMPLE

NOW = "2026-11-24T12:00:00Z"
NOW_US = 1_795_521_600_000_000
AGREEMENT = load(SAMPLE)
RECIPIENTS = [
    Recipient(f"{country.lower()}-{role}-{number}", country, (role,), (sector,), status)
    for number, (country, role, sector, status) in enumerate(
        itertools.product(("US", "MX"), ("agency", "operator"), ("trade.port", "trade.rail"), ("active", "suspended"))
    )
]
RECIPIENTS += [Recipient("mx-twin", "MX", ("agency",), ("trade.port",), "active")]


def labels(count: int) -> list[Label]:
    chance = random.Random(7)
    senders = [one for one in RECIPIENTS if one.status == "active"]
    found = []
    for _ in range(count):
        sender = chance.choice(senders)
        found.append(
            Label(
                collection="indicators", originator=sender.member, country=sender.country, roles=sender.roles,
                sectors=sender.sectors, tlp=chance.choice(["clear", "green", "amber", "amber+strict"]),
                pap=chance.choice(["clear", "amber"]), caveats=tuple(chance.choice([[], ["noforn"], ["orcon"]])),
                rel_to=None, object_class=chance.choice(["indicator", "report"]),
                confidence=chance.choice(["low", "high"]), assurance="originator-signed", consent="none", feed="",
            )
        )  # fmt: skip
    return list(dict.fromkeys(found))


LABELS = labels(120)
VARIANTS = {
    "narrower": load(amended(SAMPLE, "P-AUTHORITY-TO-AUTHORITY", '"US>MX", "MX>US"', '"MX>US"')),
    "wider": load(amended(SAMPLE, "F-NOFORN", '"US>MX", "MX>US"', '"MX>US"')),
    "naming": load(amended(SAMPLE, "F-NOFORN", "\nwhen", '\nto.members = ["mx-twin"]\nwhen')),
    "by clause": load(
        SAMPLE.partition(b"[[test]]")[0].replace(b'own_objects = "read-back"', b'own_objects = "by-clause"')
    ),
    "same": AGREEMENT,
}


def notice(decision: Decision) -> tuple[object, ...]:
    return (decision.effect == "permit", decision.view, decision.may_block, dict(decision.obligations))


def pairs(changes: Iterable[Change]) -> dict[tuple[Label, str], str]:
    return {(one.label, to.member): one.kind for one in changes for to in one.recipients}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_difference_is_every_pair_that_is_decided_otherwise(name: str) -> None:
    new = VARIANTS[name]
    found = pairs(differences(AGREEMENT, new, [Audience(LABELS, RECIPIENTS)], old_now=NOW, new_now=NOW))
    expected = {}
    for label, to in itertools.product(LABELS, RECIPIENTS):
        before, after = (decide(one, label, to, now=NOW) for one in (AGREEMENT, new))
        if before.effect != after.effect:
            expected[label, to.member] = "gained" if after.effect == "permit" else "lost"
        elif after.effect == "permit" and notice(before) != notice(after):
            expected[label, to.member] = "changed"
    assert found == expected
    assert bool(found) == (name != "same")


def test_a_change_names_the_clause_that_makes_it() -> None:
    def clauses(new: str, old: str = "same") -> set[str]:
        both = VARIANTS[old], VARIANTS[new]
        return {one.clause for one in differences(*both, [Audience(LABELS, RECIPIENTS)], old_now=NOW, new_now=NOW)}

    assert clauses("narrower") == clauses("same", "narrower") == {"P-AUTHORITY-TO-AUTHORITY"}
    assert "F-NOFORN" in clauses("same", "wider"), "what forbids is named before what no longer permits"


def test_the_first_agreement_gives_all_that_it_permits() -> None:
    found = pairs(differences(None, AGREEMENT, [Audience(LABELS, RECIPIENTS)], old_now=NOW, new_now=NOW))
    assert set(found.values()) == {"gained"}
    permitted = sum(
        decide(AGREEMENT, *pair, now=NOW).effect == "permit" for pair in itertools.product(LABELS, RECIPIENTS)
    )
    assert len(found) == permitted


def test_coverage_counts_tests_and_pairs() -> None:
    found = {
        one.clause: one for one in coverage(AGREEMENT, run_tests(AGREEMENT), [Audience(LABELS, RECIPIENTS)], now=NOW)
    }
    assert list(found) == [one.id for one in (*AGREEMENT.permits, *AGREEMENT.forbids)]
    assert all(one.tests for one in found.values())
    assert found["F-NOFORN"].live and found["F-NOFORN"].kind == "forbid"
    assert not found["F-DOMESTIC"].live, "nothing here lies in a domestic collection"


# --- overlays ---


def test_an_overlay_only_takes_away() -> None:
    made = load_overlay(overlay(AGREEMENT, NOW_US), AGREEMENT)
    over = overlaid(AGREEMENT, [made])
    found = pairs(differences(AGREEMENT, over, [Audience(LABELS, RECIPIENTS)], old_now=NOW, new_now=NOW))
    assert found and set(found.values()) == {"lost"}
    assert all(label.country != to[:2].upper() for label, to in found), "what stays at home stays as it was"
    assert (over.sha256 != AGREEMENT.sha256, over.canonical) == (True, AGREEMENT.canonical)
    assert overlaid(AGREEMENT, []) is AGREEMENT
    lost = next(label for label, to in found if to == "mx-twin")
    decision = decide(over, lost, RECIPIENTS[-1], now=NOW)
    assert decision.clause == "F-US-PORTS"
    assert ("Por ahora nada cruza" in decision.reason("es"), "Nothing crosses" in decision.reason("en")) == (True, True)


def test_an_overlay_may_name_a_member() -> None:
    made = load_overlay(overlay(AGREEMENT, NOW_US, more='to.members = ["mx-twin"]'), AGREEMENT)
    over = overlaid(AGREEMENT, [made])
    assert "mx-twin" in over.named_members
    found = pairs(differences(AGREEMENT, over, [Audience(LABELS, RECIPIENTS)], old_now=NOW, new_now=NOW))
    assert {to for _, to in found} == {"mx-twin"}


@pytest.mark.parametrize(
    ("old", "new", "code", "where"),
    [
        ("F-US-PORTS", "F-NOFORN", "duplicate-id", "forbid 1, id"),
        ('["US>MX", "MX>US"]', '["MX>MX", "MX>US"]', "overlay-foreign", "forbid 1, direction"),
        ('direction = ["US>MX", "MX>US"]', "", "overlay-foreign", "forbid 1, direction"),
        ("agreement_version = 1", "agreement_version = 2", "overlay-agreement", "agreement_version"),
        (AGREEMENT.sha256, "0" * 64, "overlay-agreement", "agreement_sha256"),
        ("us-mx-trade-cyber", "us-ca", "overlay-agreement", "agreement_id"),
        ("bilateral-sharing-overlay/1", "bilateral-sharing-agreement/1", "wrong-schema", "schema"),
        ("[[forbid]]", "[[permit]]", "missing-key", "forbid"),
        ('country = "US"', 'country = "CA"', "unknown-word", "country"),
        ("reason.es", "motivo.es", "missing-text", "reason.es"),
        ("Nothing crosses for now.", "", "missing-text", "forbid 1, text.en"),
    ],
)
def test_each_mistake_in_an_overlay_is_named(old: str, new: str, code: str, where: str) -> None:
    text = overlay(AGREEMENT, NOW_US).decode()
    assert old in text
    with pytest.raises(AgreementError) as error:
        load_overlay(text.replace(old, new).encode(), AGREEMENT)
    found = [(one.code, one.where) for one in error.value.findings]
    assert (code, where) in found, found
    assert all(one.en != one.es for one in error.value.findings)


@pytest.mark.parametrize(
    ("allowed", "days", "sound"), [("7d", 7, True), ("7d", 8, False), ("90d", 30, True), ("90d", 31, False)]
)
def test_an_overlay_lasts_as_agreed_and_never_over_thirty_days(allowed: str, days: int, sound: bool) -> None:
    agreement = load(SAMPLE.replace(b'max_overlay = "30d"', f'max_overlay = "{allowed}"'.encode()))
    document = overlay(agreement, NOW_US, days=days)
    if sound:
        assert load_overlay(document, agreement) == parse_overlay(document)
        return
    with pytest.raises(AgreementError) as error:
        load_overlay(document, agreement)
    assert [one.code for one in error.value.findings] == ["overlay-term"]


def test_without_an_emergency_clause_nobody_acts_alone() -> None:
    text = SAMPLE.decode()
    start = text.index("[emergency]")
    agreement = load((text[:start] + text[text.index("[", start + 1) :]).encode())
    assert agreement.document.emergency is None
    with pytest.raises(AgreementError) as error:
        load_overlay(overlay(agreement, NOW_US), agreement)
    assert [one.code for one in error.value.findings] == ["overlay-not-agreed"]
