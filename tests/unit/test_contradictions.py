"""What a document says that can never come about is refused, with its line; what will soon hurt is told."""

import pytest

from policies.agreement import AgreementError, Finding, load
from policies.contradictions import covers
from policies.warnings import warnings
from tests.unit.test_agreement import SMALL, altered, findings

WHOLE = SMALL.replace(
    "[defaults]\n",
    """[designations]
US = { by = "us-cyber", roles = ["agency"] }

[originator_control]
answer_by = "originator"
time_limit = "72h"
on_silence = "refuse"
consent_valid = "30d"

[redaction]
prepared_by = ["originator"]
signature = "originator-signed"
properties = { indicator = ["pattern", "valid_from"] }

[sightings]
learns = ["originator"]
granularity = "sector-count"

[reciprocity]
window = "90d"
feedback_percent = 50
on_breach = "report"

[retention]
default = "365d"
by_class = { indicator = "180d" }

[defaults]
""",
).replace("cross_border.agency", 'direction."US>MX".agency = { tlp = "green", pap = "amber" }\ncross_border.agency')


def test_the_whole_document_is_sound() -> None:
    assert load(WHOLE.encode()).document.reciprocity


def changed(old: str, new: str) -> tuple[list[Finding], int]:
    assert WHOLE.count(old) == 1, (old, WHOLE.count(old))
    line = WHOLE[: WHOLE.index(old)].count("\n") + 1
    return findings(WHOLE.replace(old, new)), line


@pytest.mark.parametrize(
    ("old", "new", "code", "where"),
    [
        # names and tables
        ('by = "us-cyber", roles = ["agency"]', 'by = "us-cyber", roles = ["spy"]', "undefined-name", "designations.US.roles"),
        ('direction."US>MX".agency', 'direction."US>MX".spy', "undefined-name", "ceilings.direction.US>MX.spy"),
        ('direction."US>MX".agency', 'direction."US>CA".agency', "unknown-word", "ceilings.direction.US>CA"),
        ("then = {}", 'then = { view = "tearlines" }', "unknown-word", "permit 2, then.view"),
        ('properties = { indicator = ["pattern", "valid_from"] }', "properties = { indicator = [] }", "empty-audience", "redaction.properties.indicator"),
        ('properties = { indicator = ["pattern", "valid_from"] }', 'properties = { idea = ["pattern"] }', "unknown-word", "redaction.properties.idea"),
        ("feedback_percent = 50", "feedback_percent = 101", "out-of-range", "reciprocity.feedback_percent"),
        ('on_breach = "report"', 'on_breach = "cut-off"', "one-sided-cut-off", "reciprocity.on_breach"),
        ('on_breach = "report"', 'on_breach = "cut-off"\ncut_off_chosen_by = ["US"]', "one-sided-cut-off", "reciprocity.on_breach"),
        ('on_silence = "refuse"', 'on_silence = "release"', "unknown-word", "originator_control.on_silence"),
        ('allowed = ["cyber-defense"]', 'allowed = ["cyber-defense"], excluded = ["cyber-defense"]', "contradictory-purpose", "purposes.excluded"),
        ('retain = "90d"', 'retain = "181d"', "contradictory-retention", "permit 1, then.retain"),
        ("then = {}", 'then = { retain = "366d" }', "contradictory-retention", "permit 2, then.retain"),
        ("then = {}", 'then = { sighting_feedback = { within = "1d", granularity = "full" } }', "contradictory-sightings", "permit 2, then.sighting_feedback"),
        # ceilings
        ('direction."US>MX".agency = { tlp = "green"', 'direction."US>MX".agency = { tlp = "amber+strict"', "contradictory-ceiling", "ceilings.direction.US>MX.agency"),
        ('{ tlp = "green", pap = "amber" }', '{ tlp = "green", pap = "red" }', "contradictory-ceiling", "ceilings.direction.US>MX.agency"),
        ('direction."US>MX".agency', 'direction."US>MX".operator', "contradictory-ceiling", "ceilings.direction.US>MX.operator"),
        ('direction."US>MX".agency = { tlp = "green"', 'direction."US>MX".agency = { tlp = "clear"', "contradictory-ceiling", "permit 1, when.tlp.max"),
        ('to = { roles = ["agency"], sectors', 'to = { roles = ["operator"], sectors', "unreachable-permit", "permit 1, to.roles"),
        ('direction = ["US>US"]', 'direction = ["US>US"]\nwhen = { assurance.any = ["unsigned"] }', "never-applies", "permit 2, when.assurance"),
        # conditions in each other's way
        ('direction = ["US>US"]', 'direction = ["US>US"]\nfrom = { countries = ["MX"] }', "never-applies", "permit 2, direction"),
        ('to = { audience = "ports" }', 'to = { audience = "ports", countries = ["MX"] }', "never-applies", "permit 2, direction"),
        ('to = { audience = "ports" }', 'to = { audience = "ports", members = ["mx-aduanas"] }', "never-applies", "permit 2, to.members"),
        ('to = { audience = "ports" }', 'to = { status = ["suspended"] }', "never-applies", "permit 2, to.status"),
        ('tlp.max = "green"', 'assurance = { floor = "gateway-signed", any = ["imported"] }', "never-applies", "permit 1, when.assurance"),
        ('tlp.max = "green"', 'assurance.any = ["imported"]', "never-applies", "permit 1, when.assurance"),
        ('tlp.max = "green"', 'caveats.any = ["classified", "opaque"]', "never-applies", "permit 1, when.caveats.any"),
        # shadows
        ('caveats.any = ["noforn"]', "tlp.max = 'amber+strict'", "shadowed-rule", "permit 1, id"),
    ],
)  # fmt: skip
def test_what_can_never_come_about_is_refused_at_its_line(old: str, new: str, code: str, where: str) -> None:
    found, line = changed(old, new)
    one = next((one for one in found if (one.code, one.where) == (code, where)), None)
    assert one is not None, found
    assert one.en
    assert one.es
    assert one.en != one.es
    assert one.line is not None
    if where.split(", ")[-1].split(".")[0] in old and "\n" not in new:  # else it stands at another key than was changed
        assert one.line == line


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # An extensible audience may yet get the member; unknown markings stay only where they must.
        ('owner = "US"', 'owner = "US"\nmay_extend = true'),
        ('tlp.max = "green"', 'caveats.any = ["noforn", "opaque"]'),
        ('tlp.max = "green"', 'assurance.any = ["imported", "gateway-signed"]'),
        ('to = { audience = "ports" }', 'to = { status = ["suspended", "active"] }'),
        ('on_breach = "report"', 'on_breach = "cut-off"\ncut_off_chosen_by = ["US", "MX"]'),
        ('retain = "90d"', 'retain = "180d"'),
        ("then = {}", 'then = { view = "tearline" }'),
        # Less may be asked than the bound lets one ask.
        ("then = {}", 'then = { sighting_feedback = { within = "1d", granularity = "count" } }'),
    ],
)
def test_what_may_yet_come_about_is_not(old: str, new: str) -> None:
    text = WHOLE.replace(old, new)
    if "may_extend" in new:
        text = text.replace('to = { audience = "ports" }', 'to = { audience = "ports", members = ["mx-aduanas"] }')
    assert load(text.encode())


def test_tables_that_clauses_lean_on_must_be_there() -> None:
    text, line = altered("then = {}", 'then = { view = "tearline" }')
    assert [(one.code, one.where, one.line) for one in findings(text)] == [
        ("missing-table", "permit 2, then.view", line)
    ]
    text, _ = altered(
        'when = { caveats.any = ["noforn"] }',
        'when = { caveats.any = ["orcon"] }\nunless = { originator_consent = "valid" }',
    )
    assert [(one.code, one.where) for one in findings(text)] == [("missing-table", "forbid 1, unless")]


def another(kind: str, body: str, id_: str) -> str:
    return f'\n[[{kind}]]\nid = "{id_}"\ntext = {{ en = "x", es = "y" }}\n{body}\n'


PLAIN = 'direction = ["US>MX"]\nfrom = { roles = ["agency"] }\nto = { roles = ["agency"], sectors = ["trade.port"] }\n'
NARROW = 'when = { classes = ["indicator"], tlp.max = "clear", purposes = ["cyber-defense"] }\n'
P_ONE = 'then = { identity = "reveal", retain = "90d" }'


@pytest.mark.parametrize(
    ("rule", "shadowed"),
    [
        (another("permit", PLAIN + NARROW + P_ONE, "P-LESS"), ["permit 3, id"]),
        (another("permit", PLAIN + NARROW + 'then = { identity = "reveal", retain = "80d" }', "P-LESS"), []),
        (another("permit", PLAIN + NARROW.replace("clear", "amber") + P_ONE, "P-MORE"), ["permit 1, id"]),
        (another("permit", PLAIN.replace("agency", "operator", 1) + NARROW + P_ONE, "P-OTHER"), []),
        (another("permit", PLAIN + NARROW.replace("clear", "green") + P_ONE, "P-SAME"), ["permit 3, id"]),
        (another("forbid", 'when = { caveats.any = ["noforn", "orcon"] }', "F-MORE"), ["forbid 1, id"]),
        (another("forbid", 'when = { caveats.any = ["noforn"], tlp.max = "green" }', "F-LESS"), ["forbid 2, id"]),
        (another("forbid", 'when = { caveats.any = ["noforn"] }', "F-SAME"), ["forbid 2, id"]),
        (another("forbid", 'when = { caveats.any = ["noforn"] }\nunless = { recipient_country_in = "rel_to" }', "F-LIFTED"), ["forbid 2, id"]),
        (another("forbid", 'when = { caveats.any = ["noforn", "orcon"] }\nunless = { recipient_country_in = "rel_to" }', "F-LIFTED"), []),
        (another("forbid", 'direction = ["US>MX"]', "F-ALL"), ["permit 1, id"]),
        (another("forbid", "", "F-EVERYTHING"), ["permit 1, id", "permit 2, id", "forbid 1, id"]),
        (another("forbid", 'unless = { recipient_country_in = "rel_to" }', "F-BUT"), []),
    ],
)  # fmt: skip
def test_a_rule_that_another_covers_whole_is_refused(rule: str, shadowed: list[str]) -> None:
    text = SMALL + rule
    if not shadowed:
        assert load(text.encode())
        return
    assert [(one.code, one.where) for one in findings(text)] == [("shadowed-rule", where) for where in shadowed]


def test_an_opaque_marking_that_is_known_is_not_of_the_unknown() -> None:
    wide, known = {"when.caveats": frozenset({"opaque"})}, frozenset({"opaque:m"})
    assert covers(wide, {"when.caveats": frozenset({"opaque:n"})}, known)
    assert not covers(wide, {"when.caveats": frozenset({"opaque:m"})}, known)
    assert not covers({"when.caveats": frozenset({"opaque:n"})}, wide, known)


@pytest.mark.parametrize(
    ("expect", "code", "key"),
    [
        ('effect = "permit", rule = "OWN"', None, ""),
        ('effect = "permit", rule = "P-NOWHERE"', "undefined-name", "rule"),
        ('effect = "permit", rule = "F-ONE"', "undefined-name", "rule"),
        ('effect = "deny", forbid = "SUSPENDED"', None, ""),
        ('effect = "deny", forbid = "OWN"', "undefined-name", "forbid"),
        ('effect = "deny", ceiling = "ceilings.cross_border.agency"', None, ""),
        ('effect = "deny", ceiling = "ceilings.direction.US>MX.agency"', None, ""),
        ('effect = "deny", ceiling = "ceilings.cross_border.operator"', "undefined-name", "ceiling"),
        ('effect = "deny", clause = "defaults.effect"', None, ""),
        ('effect = "deny", clause = "nothing"', "undefined-name", "clause"),
    ],
)
def test_an_example_names_rules_that_exist(expect: str, code: str | None, key: str) -> None:
    text = (
        WHOLE + f'\n[[test]]\nname.en = "x"\nname.es = "equis"\nlabel = {{ country = "US" }}\nexpect = {{ {expect} }}\n'
    )
    if code is None:
        assert load(text.encode())
    else:
        assert [(one.code, one.where) for one in findings(text)] == [(code, f"test 1, expect.{key}")]


@pytest.mark.parametrize(
    "expect", ['effect = "permit", forbid = "F-ONE"', 'effect = "permit", ceiling = "ceilings.anywhere"', 'effect = "deny", rule = "P-ONE"']
)  # fmt: skip
def test_an_example_that_contradicts_itself_is_refused(expect: str) -> None:
    text = (
        WHOLE + f'\n[[test]]\nname.en = "x"\nname.es = "equis"\nlabel = {{ country = "US" }}\nexpect = {{ {expect} }}\n'
    )
    assert [one.code for one in findings(text)] == ["contradictory-test"]


def test_an_example_may_place_a_member_in_an_extensible_audience_only() -> None:
    fixture = '\n[fixtures.recipients]\nx = { country = "US", audiences = ["ports"] }\n'
    assert [(one.code, one.where) for one in findings(WHOLE + fixture)] == [
        ("undefined-name", "fixtures.recipients.x.audiences")
    ]
    assert load((WHOLE.replace('owner = "US"', 'owner = "US"\nmay_extend = true') + fixture).encode())


def test_contradictions_are_looked_for_once_all_names_are_defined() -> None:
    with pytest.raises(AgreementError) as caught:
        load((SMALL + another("forbid", "", "F-ALL")).replace('audience = "ports"', 'audience = "bars"').encode())
    assert [one.code for one in caught.value.findings] == ["undefined-name"]


# --- dates that warn ---


@pytest.mark.parametrize(
    ("now", "codes"),
    [
        ("2027-01-15T00:00:00Z", ["legal-basis-ends-first"]),
        ("2027-07-02T23:59:59Z", ["legal-basis-ends-first"]),
        ("2027-07-03T00:00:00Z", ["legal-basis-ends-first", "legal-basis-lapses"]),
        ("2027-09-30T23:59:59Z", ["legal-basis-ends-first", "legal-basis-lapses"]),
        ("2027-10-01T00:00:00Z", ["legal-basis-ends-first", "legal-basis-lapsed"]),
        ("2027-10-03T00:00:00Z", ["agreement-ends", "legal-basis-ends-first", "legal-basis-lapsed"]),
    ],
)
def test_dates_warn_and_refuse_nothing(now: str, codes: list[str]) -> None:
    found = warnings(load(SMALL.encode()), now=now, text=SMALL)
    assert [one.code for one in found] == codes
    assert all(one.en and one.es and one.en != one.es for one in found)
    lines = {one.where: one.line for one in found}
    assert lines["legal_basis.us.valid_until"] == SMALL[: SMALL.index("us = {")].count("\n") + 1


def test_a_review_is_told_of_a_quarter_ahead() -> None:
    text = SMALL.replace('"2028-01-01T00:00:00Z"', '"2028-01-01T00:00:00Z"\nreview_by = "2027-06-01T00:00:00Z"')
    agreement = load(text.encode())
    assert "review-due" not in [one.code for one in warnings(agreement, now="2027-03-02T23:59:59Z")]
    (due,) = [one for one in warnings(agreement, now="2027-03-03T00:00:00Z") if one.code == "review-due"]
    assert (due.line, due.where) == (None, "review_by")
