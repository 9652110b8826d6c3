"""The agreement document: what it refuses and where, its digest, and the sample with its own examples."""

import tomllib
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import rfc8785

from policies.agreement import AgreementError, Finding, canonical_form, load, run_tests
from policies.mistakes import line_index

SAMPLE = Path(__file__).resolve().parents[2] / "policies" / "agreements" / "us-mx-trade-cyber.toml"
TEXT = SAMPLE.read_text("utf-8")

SMALL = """\
schema = "bilateral-sharing-agreement/1"
agreement_id = "small"
version = 1
effective_from = "2027-01-01T00:00:00Z"
expires = "2028-01-01T00:00:00Z"
purposes = { allowed = ["cyber-defense"] }

[legal_basis]
us = { text = "…", valid_until = "2027-09-30" }
mx = { text = "…", valid_until = "2028-12-31" }

[parties]
US = { authority = "us-cyber", gateway = "us-gateway", approvers = { threshold = 1, keys = ["a"] } }
MX = { authority = "mx-ciber", gateway = "mx-gateway", approvers = { threshold = 1, keys = ["b"] } }

[vocabulary]
sectors = ["trade.port"]
roles = ["agency", "operator"]
collections = ["indicators"]

[audiences.ports]
members = ["us-port-gulf", "mx-puerto-pac"]
owner = "US"

[defaults]
effect = "deny"
unmarked_as = "amber"
unknown_marking = "deny-cross-border"
dangling_endpoint = "withhold"
min_assurance = { cross_border = "gateway-signed", in_country = "imported" }

[ceilings]
cross_border.agency = { tlp = "amber", pap = "amber" }
anywhere = { tlp = "amber+strict", pap = "amber" }

[[permit]]
id = "P-ONE"
text.en = "One."
text.es = "Uno."
direction = ["US>MX"]
from = { roles = ["agency"] }
to = { roles = ["agency"], sectors = ["trade.port"] }
when = { classes = ["indicator"], tlp.max = "green", purposes = ["cyber-defense"] }
then = { identity = "reveal", retain = "90d" }

[[permit]]
id = "P-TWO"
text = { en = "Two.", es = "Dos." }
direction = ["US>US"]
to = { audience = "ports" }
then = {}

[[forbid]]
id = "F-ONE"
text.en = "Not."
text.es = "No."
when = { caveats.any = ["noforn"] }
"""


def findings(text: str | bytes) -> list[Finding]:
    with pytest.raises(AgreementError) as caught:
        load(text if isinstance(text, bytes) else text.encode())
    return caught.value.findings


def altered(old: str, new: str) -> tuple[str, int]:
    """SMALL with one passage replaced, and the line where it stands."""
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new), SMALL[: SMALL.index(old)].count("\n") + 1


def test_the_small_document_is_sound() -> None:
    agreement = load(SMALL.encode())
    assert (agreement.agreement_id, agreement.version, agreement.prev_sha256) == ("small", 1, None)
    assert [clause.id for clause in (*agreement.permits, *agreement.forbids)] == ["P-ONE", "P-TWO", "F-ONE"]
    assert agreement.unmarked_as == "amber"


@pytest.mark.parametrize(
    ("old", "new", "code", "where"),
    [
        ('schema = "bilateral-sharing-agreement/1"', 'schema = "other/1"', "wrong-schema", "schema"),
        ("version = 1", "version = 0", "out-of-range", "version"),
        ("version = 1", "version = 1.0", "wrong-type", "version"),
        ("version = 1", "version = true", "wrong-type", "version"),
        ("version = 1", 'version = "1"', "wrong-type", "version"),
        ("version = 1", "version = 2", "bad-chain", "version"),
        ("version = 1", f'version = 1\nprev_sha256 = "{"0" * 64}"', "bad-chain", "prev_sha256"),
        ("version = 1", 'version = 2\nprev_sha256 = "abc"', "bad-form", "prev_sha256"),
        ("version = 1", "version = 1\nsurprise = 1", "unknown-key", "surprise"),
        ('"2028-01-01T00:00:00Z"', '"2028-13-01T00:00:00Z"', "bad-date", "expires"),
        ('"2028-01-01T00:00:00Z"', '"2028-01-01T00:00:00+00:00"', "bad-date", "expires"),
        ('"2028-01-01T00:00:00Z"', "2028-01-01T00:00:00Z", "wrong-type", "expires"),
        ('"2028-01-01T00:00:00Z"', '"2026-01-01T00:00:00Z"', "date-order", "expires"),
        (
            '"2028-01-01T00:00:00Z"',
            '"2028-01-01T00:00:00Z"\nreview_by = "2029-01-01T00:00:00Z"',
            "date-order",
            "review_by",
        ),
        ('"2027-09-30"', '"2027-02-30"', "bad-date", "legal_basis.us.valid_until"),
        ('mx = { text = "…", valid_until = "2028-12-31" }', "", "missing-party", "legal_basis"),
        ('threshold = 1, keys = ["a"]', 'threshold = 2, keys = ["a"]', "bad-threshold", "parties.US.approvers"),
        ('threshold = 1, keys = ["a"]', 'threshold = 1, keys = ["a", "a"]', "bad-threshold", "parties.US.approvers"),
        (
            'threshold = 1, keys = ["a"]',
            'threshold = 0, keys = ["a"]',
            "out-of-range",
            "parties.US.approvers.threshold",
        ),
        ('effect = "deny"', 'effect = "permit"', "unknown-word", "defaults.effect"),
        ('effect = "deny"', "", "missing-key", "defaults.effect"),
        ('unmarked_as = "amber"', 'unmarked_as = "red"', "contradictory-ceiling", "defaults.unmarked_as"),
        (
            'agency = { tlp = "amber",',
            'agency = { tlp = "red",',
            "contradictory-ceiling",
            "ceilings.cross_border.agency",
        ),
        (
            'pap = "amber" }\nanywhere',
            'pap = "red" }\nanywhere',
            "contradictory-ceiling",
            "ceilings.cross_border.agency",
        ),
        ("cross_border.agency", "cross_border.regulator", "undefined-name", "ceilings.cross_border.regulator"),
        ('tlp.max = "green"', 'tlp.max = "red"', "contradictory-ceiling", "permit 1, when.tlp.max"),
        ('tlp.max = "green"', 'pap.max = "red"', "contradictory-ceiling", "permit 1, when.pap.max"),
        ('tlp.max = "green"', 'tlp.max = "mauve"', "unknown-word", "permit 1, when.tlp.max"),
        ('tlp.max = "green"', 'sectors.any = ["trade.sea"]', "undefined-name", "permit 1, when.sectors.any"),
        ('tlp.max = "green"', 'collections = ["nowhere"]', "undefined-name", "permit 1, when.collections"),
        ('tlp.max = "green"', 'feeds = ["kev"]', "undefined-name", "permit 1, when.feeds"),
        (
            'purposes = ["cyber-defense"] }\nthen',
            'purposes = ["tax"] }\nthen',
            "undefined-name",
            "permit 1, when.purposes",
        ),
        ('classes = ["indicator"]', 'classes = ["everything"]', "unknown-word", "permit 1, when.classes 1"),
        ('id = "P-TWO"', 'id = "P-ONE"', "duplicate-id", "permit 2, id"),
        ('id = "P-TWO"', 'id = "F-TWO"', "bad-form", "permit 2, id"),
        ('id = "P-TWO"', 'id = "OWN"', "bad-form", "permit 2, id"),
        ('text.es = "Uno."', "", "missing-text", "permit 1, text.es"),
        ('text.es = "Uno."', 'text.es = "  "', "missing-text", "permit 1, text.es"),
        ('text.en = "Not."\ntext.es = "No."', "", "missing-text", "forbid 1, text"),
        ('direction = ["US>US"]', "", "missing-key", "permit 2, direction"),
        ('direction = ["US>US"]', "direction = []", "empty-audience", "permit 2, direction"),
        ('direction = ["US>US"]', 'direction = ["US>CA"]', "unknown-word", "permit 2, direction 1"),
        ('from = { roles = ["agency"] }', "from = { roles = [] }", "empty-audience", "permit 1, from.roles"),
        ('from = { roles = ["agency"] }', 'from = { roles = ["spy"] }', "undefined-name", "permit 1, from.roles"),
        (
            'from = { roles = ["agency"] }',
            'from = { countries = ["CA"] }',
            "unknown-word",
            "permit 1, from.countries 1",
        ),
        ('from = { roles = ["agency"] }', 'from = { audience = "ports" }', "unknown-key", "permit 1, from.audience"),
        (
            'sectors = ["trade.port"] }\nwhen',
            'sectors = ["trade.sea"] }\nwhen',
            "undefined-name",
            "permit 1, to.sectors",
        ),
        ('to = { audience = "ports" }', 'to = { audience = "bars" }', "undefined-name", "permit 2, to.audience"),
        ('to = { audience = "ports" }', "to = { members = [] }", "empty-audience", "permit 2, to.members"),
        ('members = ["us-port-gulf", "mx-puerto-pac"]', "members = []", "empty-audience", "audiences.ports.members"),
        ('retain = "90d"', 'retain = "90"', "bad-duration", "permit 1, then.retain"),
        ('retain = "90d"', 'retain = "0d"', "bad-duration", "permit 1, then.retain"),
        ('identity = "reveal"', 'identity = "shout"', "unknown-word", "permit 1, then.identity"),
        ("then = {}", "then = {}\nunless = { originator_consent = 'valid' }", "unknown-key", "permit 2, unless"),
        ('caveats.any = ["noforn"]', 'caveats.any = ["nofrn"]', "unknown-word", "forbid 1, when.caveats.any 1"),
        ('caveats.any = ["noforn"]', "caveats.any = []", "empty-audience", "forbid 1, when.caveats.any"),
        ('caveats.any = ["noforn"]', 'caveats.all = ["noforn"]', "unknown-key", "forbid 1, when.caveats.all"),
    ],
)
def test_each_mistake_is_named_with_its_place(old: str, new: str, code: str, where: str) -> None:
    text, line = altered(old, new)
    found = next((one for one in findings(text) if (one.code, one.where) == (code, where)), None)
    assert found is not None, findings(text)
    assert found.en
    assert found.es
    assert found.en != found.es
    if new and "\n" not in old + new:
        assert found.line == line


def test_a_line_is_given_for_what_is_missing_too() -> None:
    text, line = altered('text.es = "Uno."\n', "")
    (one,) = findings(text)
    assert one.line == line - 1  # the text it stands beside


def test_a_mistake_in_one_of_several_tables_is_placed_in_that_table() -> None:
    text, line = altered("then = {}", 'then = { delay = "soon" }')
    (one,) = findings(text)
    assert (one.code, one.where, one.line) == ("bad-duration", "permit 2, then.delay", line)


def test_all_findings_of_a_stage_are_told_at_once() -> None:
    text = (
        SMALL.replace('id = "P-TWO"', 'id = "P-ONE"')
        .replace('"ports" }', '"bars" }')
        .replace('unmarked_as = "amber"', 'unmarked_as = "red"')
    )
    assert {one.code for one in findings(text)} == {"duplicate-id", "undefined-name", "contradictory-ceiling"}
    lines = [one.line for one in findings(text)]
    assert lines == sorted(lines, key=lambda line: line or 0)


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        (b"\xff\xfe", "not-utf8", None),
        (b"a = 1\nb = = 2\n", "not-toml", 2),
        (b"a = 1\na = 2\n", "not-toml", 2),
        (b"a = " + b"[" * 5_000, "not-toml", None),
        (b"#" * 1_048_577, "too-large", None),
    ],
)
def test_what_is_no_toml_file(data: bytes, code: str, line: int | None) -> None:
    (one,) = findings(data)
    assert (one.code, one.line) == (code, line)


def test_an_empty_file_lacks_everything() -> None:
    assert {one.code for one in findings(b"")} == {"missing-key"}


@pytest.mark.parametrize(
    ("test", "code", "where"),
    [
        ('recipient = "nobody"\nlabel = { country = "US" }', "undefined-name", "test 1, recipient"),
        ('recipient = { country = "CA" }\nlabel = { country = "US" }', "unknown-word", "test 1, recipient.country"),
        ('label = { originator = "nobody" }', "undefined-name", "test 1, label"),
        ('label = { country = "US", tlp = "mauve" }', "unknown-word", "test 1, label.tlp"),
    ],
)
def test_examples_are_checked_too(test: str, code: str, where: str) -> None:
    text = f'{SMALL}\n[[test]]\nname.en = "x"\nname.es = "equis"\n{test}\nexpect = {{ effect = "deny", forbid = "F-ONE" }}\n'
    assert (code, where) in [(one.code, one.where) for one in findings(text)]


def test_an_example_must_expect_rules_that_exist_and_have_a_name_of_its_own() -> None:
    one = '\n[[test]]\nname.en = "x"\nname.es = "equis"\nlabel = { country = "US" }\nexpect = { effect = "deny", forbid = "F-NOWHERE" }\n'
    assert [(f.code, f.where) for f in findings(SMALL + one * 2)] == [
        ("undefined-name", "test 1, expect.forbid"),
        ("duplicate-test", "test 2, name.en"),
        ("duplicate-test", "test 2, name.es"),
        ("undefined-name", "test 2, expect.forbid"),
    ]


def test_a_failing_example_says_what_was_unmet() -> None:
    one = (
        '\n[[test]]\nname.en = "x"\nname.es = "equis"\nlabel = { country = "US", roles = ["agency"] }\n'
        'recipient = { country = "MX", roles = ["agency"], sectors = ["trade.port"] }\n'
        'expect = { effect = "deny", forbid = "F-ONE", view = "full" }\n'
    )
    (result,) = run_tests(load((SMALL + one).encode()))
    assert not result.passed
    assert [one.en for one in result.unmet] == ["effect: expected deny, got permit", "forbid: expected F-ONE, got none"]
    assert [one.es for one in result.unmet] == [
        "effect: se esperaba deny y resultó permit",
        "forbid: se esperaba F-ONE y resultó nada",
    ]


def test_the_digest_is_of_the_canonical_form_not_of_the_layout() -> None:
    agreement = load(TEXT.encode())
    assert agreement.canonical == rfc8785.dumps(tomllib.loads(TEXT))
    assert load(("# a comment\n\n" + TEXT).encode()) == agreement
    assert load(TEXT.replace("version = 1", "version    =   1", 1).encode()).sha256 == agreement.sha256
    other = load(TEXT.replace("than", "then").replace("shall", "must", 1).encode())
    assert other.sha256 != agreement.sha256
    assert other != agreement
    assert hash(other) != hash(agreement)


@pytest.mark.parametrize("value", [{"a": 1.5}, {"a": [{"b": None}]}, {"a": 2**53}, {"ñ": 1}, {"a": float("nan")}])
def test_what_has_no_one_canonical_form_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        canonical_form(value)


def test_canonical_text_is_jcs_for_awkward_strings() -> None:
    value = {"b": '\u0000\u001f\u007f"\\/\b\t\n\f\r…ñ\U0001f600', "a": [True, False, 0, -1, {}, []]}
    assert canonical_form(value) == rfc8785.dumps(value)


def test_an_agreement_cannot_be_changed() -> None:
    agreement = load(TEXT.encode())
    with pytest.raises(FrozenInstanceError):
        agreement.sha256 = "0" * 64  # type: ignore[misc]
    with pytest.raises(TypeError):
        agreement.permits[0].obligations.words["identity"] = "reveal"  # type: ignore[index, union-attr]


def test_the_line_index_passes_over_strings_of_several_lines() -> None:
    text = 'a = """\n[b]\nc = 1\n"""\n[b]\nc = 2\n[[d]]\n[d.e]\nf = 1\n[[d]]\n"g" = 1\n'
    index = line_index(text)
    assert index[("b",)] == 5
    assert index[("b", "c")] == 6
    assert index[("d", 0, "e", "f")] == 9
    assert index[("d", 1, "g")] == 11


def test_members_are_told_apart_only_where_the_document_can() -> None:
    by_clause = SMALL.replace('effect = "deny"', 'effect = "deny"\nown_objects = "by-clause"')
    agreement = load(by_clause.encode())
    assert agreement.distinguishes("us-port-gulf")
    assert not agreement.distinguishes("us-cyber")
    assert load(SMALL.encode()).distinguishes("us-cyber")
