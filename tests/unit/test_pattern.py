"""STIX patterns: what is refused and by which name, what is only warned of, which values a pattern names, what it costs."""

import json

import pytest

from exchange.intake.pattern import (
    _SHAPES,
    _TEXTS,
    BYTES_AT_MOST,
    COMPARISONS_AT_MOST,
    DEPTH_AT_MOST,
    check_pattern,
    values,
)
from exchange.intake.shapes import Allowances, Budget
from tests.data import read_shared

SHA256 = "aec070645fe53ee3b3763059376134f058cc337247c978add178b6ccdfb0019f"
DAY = "t'2026-11-23T00:00:00Z'"
NEXT_DAY = "t'2026-11-24T00:00:00Z'"


def codes(text: str) -> list[str]:
    return [fault.code for fault in check_pattern(text)]


def refused(text: str) -> bool:
    return any(fault.level == "reject" for fault in check_pattern(text))


@pytest.mark.parametrize(
    "text",
    [
        "[ipv4-addr:value = '198.51.100.1']",
        "[ipv4-addr:value ISSUBSET '198.51.100.0/24']",
        f"[file:hashes.'SHA-256' = '{SHA256}' OR file:hashes.MD5 = 'cead3f77f6cda6ec00f57d76c9a6879f']",
        "[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_port = 443]",
        "([a:b = 1] FOLLOWEDBY [c:d = 2]) WITHIN 300 SECONDS",
        f"[a:b = 1] START {DAY} STOP {NEXT_DAY}",
        "[a:b = 1]REPEATS 5TIMES",
        "[a:b=1AND a:c=2]",
        "[a:'quoted key'[*].'x'[0].y NOT IN ('s', 's', 's')]",
        "[NOT EXISTS a:b] // why",
        "[a:b = h'' OR a:b = b'AA==' OR a:b = -.5 OR a:b = +007.5 OR a:b <> true]",
        "[a:b = 'it\\'s\\\\']",
        "[a:b = 'líneas\ny más']",
        "[a:b IN ()]",
        "[a:b\u2003=\u00a0/* [[[ */ 1]",
        f"[file:hashes{'[0]' * 30}.'SHA-256' = '{SHA256}']",
        f"[file:hashes.'SHA-256\\'' NOT == '{SHA256}']",
        "[file:hashes.SSDEEP = '3::' OR file:hashes.SSDEEP = 5 OR file:hashes.custom IN ('a', 'b')]",
    ],
)
def test_good_patterns_have_no_fault(text: str) -> None:
    assert check_pattern(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "((",
        "[",
        "[]",
        "a:b = 1",
        "[a:b = 1",
        "[a:b = 1]]",
        "[a:b = 1] [c:d = 2]",
        "[a:b = 1] x",
        "/* first */ [a:b = 1]",
        "[a:b = 'C:\\Windows']",
        "[a:b = 'open]",
        "[a:b = 's', 's']",
        "[a:b IN ('s') AND a:c = 's', 's']",
        "[a:b IN ('s',)]",
        "[a:b IN ('s',,'s' 's')]",
        "[a:b IN ('s' 's')]",
        "[a:b IN (, 's')]",
        "[a:b IN ('s') OR a:b IN (, 's')]",
        "[a:b = 01]",
        "[a:b = 1 2]",
        "[a:b-c = 1]",
        "[a:LIKE = 1]",
        "[a:b[-1] = 1]",
        "[a:b = 1] REPEATS 5.0 TIMES",
        "[a:b = 1] REPEATS -5 TIMES",
        "[a:b = 1]\x1c",
        "[a:b = 1\ufeff]",
        "[a:b = “1”]",
        "[file:hashes[0] = 'x']",
    ],
)
@pytest.mark.rule("PAT-01")
def test_bad_grammar_is_refused(text: str) -> None:
    assert codes(text) == ["pattern-syntax"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[a:b = 1 AND c:d = 2]", "pattern-types"),
        ("[(a:b = 1 OR c:d = 2) AND e:f = 3]", "pattern-types"),
        ("[a:b = 1 AND (c:d IN ('x', 'y') OR e:f = 3)]", "pattern-types"),
        ("[EXISTS a:b AND c:d = 2]", "pattern-types"),
        ("[a:b = 1] OR [a:b = 1 AND a:c[*] = 2 AND c:d = 2]", "pattern-types"),
        ("[a:b = 1] REPEATS 0 TIMES", "pattern-qualifier"),
        ("[a:b = 1] WITHIN 0.0 SECONDS", "pattern-qualifier"),
        ("[a:b = 1] WITHIN 5 SECONDS WITHIN 6 SECONDS", "pattern-qualifier-twice"),
        (f"[a:b = 1] START {DAY} STOP {DAY}", "pattern-interval"),
        (f"[a:b = 1] START {NEXT_DAY} STOP {DAY}", "pattern-interval"),
        ("[a:b = h'abc']", "pattern-constant"),
        ("[a:b = b'']", "pattern-constant"),
        ("[a:b = b'AAA']", "pattern-constant"),
        ("[a:b = b'A-_=']", "pattern-constant"),
        ("[a:b = t'2026-02-30T00:00:00Z']", "pattern-constant"),
        ("[a:b = t'2026-01-01T00:00:60Z']", "pattern-constant"),
        ("[a:b = t'2026-01-01']", "pattern-constant"),
        (f"[a:b = {'1' * 65}]", "pattern-constant"),
        (f"[file:hashes.'SHA-256' = '{SHA256[1:]}']", "pattern-hash"),
        ("[file:hashes.MD5 = 'zz']", "pattern-hash"),
        (f"[file:hashes.'SHA-256' IN ('{SHA256}')]", "pattern-hash-operator"),
        ("[a:b = '\0']", "pattern-nul"),
    ],
)
@pytest.mark.rule("PAT-02", "PAT-03", "PAT-04")
def test_each_rule_has_its_name(text: str, code: str) -> None:
    assert codes(text) == [code]
    assert refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "[a:b = 1 OR c:d = 2]",
        "[a:b = 1] AND [c:d = 2]",
        "([a:b = 1] AND ([c:d = 2] OR [e:f = 3]))",
        "[(a:b = 1 OR c:d = 2) AND (c:d = 2 OR e:f = 3)]",
        "[a:b = 1 AND NOT EXISTS c:d]",
        "[a:b IN (1, 2) AND a:c[0] = 1 AND a:'c:d'[*].e = 1]",
        "[a:b[*] = 1] AND [c:d[1] = 1]",
    ],
)
def test_operands_that_one_object_can_satisfy_may_be_joined(text: str) -> None:
    assert check_pattern(text) == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[a:b IN (1, 'a')]", "pattern-set-mixed"),
        ("[a:b IN (true, 'a', true, 'a')]", "pattern-set-mixed"),
        ("[a:b MATCHES '(']", "pattern-regex"),
        ("[a:b ISSUBSET 'a' OR a:b ISSUPERSET 'b']", "pattern-subset"),
    ],
)
@pytest.mark.rule("PAT-05")
def test_what_is_only_odd_is_warned_of(text: str, code: str) -> None:
    faults = check_pattern(text)
    assert {fault.code for fault in faults} == {code}
    assert {(fault.level, fault.rule) for fault in faults} == {("warn", "PAT-05")}


@pytest.mark.parametrize("text", ["[a:b IN (1, 2.5, -3)]", "[a:b MATCHES '[[a]]']", "[a:b MATCHES '(?i)(']"])
def test_what_cannot_be_judged_is_not_warned_of(text: str) -> None:
    assert check_pattern(text) == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("(" * 500 + "[a:b = 1]" + ")" * 500, "pattern-too-deep"),
        ("[" + "(" * 500 + "a:b = 1" + ")" * 500 + "]", "pattern-too-deep"),
        ("(" * DEPTH_AT_MOST + "[a:b = 1]" + ")" * DEPTH_AT_MOST, "pattern-too-deep"),
        ("[a:b" + ".c" * 4000 + " = 1]", "pattern-too-deep"),
        ("[a:b" + "[0]" * 2600 + " = 1]", "pattern-too-deep"),
        ("[" * 8000, "pattern-too-deep"),
        ("[" + " OR ".join(["a:b = 1"] * 5000) + "]", "pattern-too-long"),
        ("[" + " OR ".join(["a:b=1"] * (COMPARISONS_AT_MOST + 1)) + "]", "pattern-too-many"),
        (" AND ".join(["[a:b=1]"] * (COMPARISONS_AT_MOST + 1)), "pattern-too-many"),
        ("[a:b = 1 " + "OR " * 2600, "pattern-too-many"),
        (" OR ".join(["(" * 28 + "[a:b=1]" + ")" * 28] * 100), "pattern-too-many"),
        ("[a:b IN (" + ",".join(["'a'"] * 20_000) + ")]", "pattern-too-long"),
        ("[a:b = '" + "ñ" * (BYTES_AT_MOST // 2) + "']", "pattern-too-long"),
        ("0" * 8000, "pattern-constant"),
        ("0 " * 4000, "pattern-too-many"),
        ("'" * 8000, "pattern-too-many"),
        ("'" * 8001, "pattern-syntax"),
        ("/*" * 4000, "pattern-syntax"),
        ("[a:b = 1] " + "x " * 4000, "pattern-too-many"),
        ("hashes " + "= 5 " * 2000, "pattern-too-many"),
    ],
)
@pytest.mark.rule("PAT-06")
def test_what_is_too_big_is_refused_before_the_grammar_is_asked(text: str, code: str) -> None:
    assert [fault.code for fault in check_pattern(text, nothing_left())] == [code]


@pytest.mark.parametrize(
    "text",
    [
        "(" * (DEPTH_AT_MOST - 1) + "[a:b = 1]" + ")" * (DEPTH_AT_MOST - 1),
        "[" + " OR ".join(["a:b=1"] * COMPARISONS_AT_MOST) + "]",
        "[a:b IN (" + ",".join(["'a'"] * 2000) + ")]",
        "[a:b = '" + "a" * (BYTES_AT_MOST - 10) + "']",
        "[a:b" + ".c" * DEPTH_AT_MOST + " = 1]",
    ],
)
def test_the_limits_themselves_are_allowed(text: str) -> None:
    assert check_pattern(text) == ()


def test_a_shape_is_judged_once() -> None:
    _SHAPES.clear()
    for text in (
        "[url:value = 'a']",
        "[ url:value='b\\'] OR [x:y = \\'c' ]",
        "[url:value =/* */'c']",
        "[url:value = '" + "d" * 5000 + "']",
    ):
        assert check_pattern(text) == ()
    assert len(_SHAPES) == 1
    for size in range(1, 50):
        assert check_pattern("[url:value IN (" + ",".join(f"'{n}'" for n in range(size)) + ")]") == ()
    assert len(_SHAPES) == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[ipv4-addr:value = '198.51.100.1']", [("ipv4-addr:value", "198.51.100.1")]),
        ("[ipv4-addr : 'value' /* x */ == '198.51.100.1']", [("ipv4-addr:value", "198.51.100.1")]),
        ("[url:value IN ('a', 'b')]", [("url:value", "a"), ("url:value", "b")]),
        ("[ipv4-addr:value ISSUBSET '198.51.100.0/24']", [("ipv4-addr:value", "198.51.100.0/24")]),
        ("[domain-name:value LIKE 'a.example']", [("domain-name:value", "a.example")]),
        ("[domain-name:value LIKE '%.example']", []),
        ("[domain-name:value MATCHES 'a']", []),
        ("[url:value NOT = 'a' OR url:value NOT IN ('b') OR url:value != 'c']", []),
        ("[NOT EXISTS url:value OR url:value = 'a']", [("url:value", "a")]),
        (f"[file:hashes.'SHA-256' = '{SHA256}']", [("file:hashes.'SHA-256'", SHA256)]),
        ("[(domain-name:resolves_to_refs [ * ] . value = 'x')]", [("domain-name:resolves_to_refs[*].value", "x")]),
        ("[a:b[0].'c d' = 'x'] REPEATS 5 TIMES AND ([a:b = 'y'])", [("a:b[0].'c d'", "x"), ("a:b", "y")]),
        ("[a:b = 'x\\' OR url:value = \\'y']", [("a:b", "x' OR url:value = 'y")]),
        ("[a:b = '\\\\\\'']", [("a:b", "\\'")]),
        ("[a:b = 5 AND a:c = 'x' AND a:d = true]", [("a:c", "x")]),
        ("[a:'NOT'.b = 'x']", [("a:NOT.b", "x")]),
    ],
)
def test_values_are_those_a_pattern_names(text: str, found: list[tuple[str, str]]) -> None:
    assert check_pattern(text) == ()
    assert values(text) == tuple(found)


@pytest.mark.parametrize(
    "text", ["", "]'a'", "'", ")(", "= 'a'", "a:b = 'x' 'y' NOT", "IN IN 'a'", "[" * 9000, "\ud800"]
)
def test_values_of_nonsense_do_not_raise(text: str) -> None:
    values(text)
    assert refused(text)


def test_a_fault_of_the_grammar_speaks_of_no_place_in_the_shape() -> None:
    (fault,) = check_pattern("[url:value = 'https://a.example/'] [url:value = 'b']")
    assert fault.en == "The pattern is not valid by the STIX 2.1 grammar: mismatched input '[' expecting <EOF>."


def test_a_value_cannot_become_syntax() -> None:
    """What a feed writes into a literal unescaped ends the literal, and is then judged as a pattern."""
    row = "x' OR ipv4-addr:value = '8.8.8.8"
    assert values(f"[url:value = '{row}']")[1] == ("ipv4-addr:value", "8.8.8.8")
    escaped = row.replace("\\", "\\\\").replace("'", "\\'")
    assert values(f"[url:value = '{escaped}']") == (("url:value", row),)
    assert refused("[url:value = 'https://x.example/it's']")


def test_every_fault_is_told_in_both_languages() -> None:
    for code, (rule, en, es) in _TEXTS.items():
        assert code.startswith("pattern-")
        assert rule.startswith("PAT-0")
        assert en != es
        assert [part.split("}")[0] for part in en.split("{")[1:]] == [part.split("}")[0] for part in es.split("{")[1:]]


def test_the_reference_suite_is_followed_but_for_dates_and_types() -> None:
    """The 87 cases of the OASIS suite. Beyond it, dates must exist and AND must be satisfiable."""
    differences = {}
    cases = json.loads(read_shared("stix-patterns/validator-cases-2.1.json"))
    for case in cases:
        if refused(case["pattern"]) is case["valid"]:
            differences[case["pattern"]] = codes(case["pattern"])
    assert len(cases) == 87
    assert sorted(differences.values()) == [["pattern-constant"]] * 3 + [["pattern-types"]]


def test_a_shape_that_is_known_is_not_judged_again() -> None:
    text = "[ipv4-addr:value = '198.51.100.1'] AND [x-never-judged:before LIKE 'known%']"
    assert [fault.code for fault in check_pattern(text, nothing_left())] == ["pattern-budget"]
    assert codes(text) == []
    assert check_pattern(text.replace("known", "other"), nothing_left()) == ()


def nothing_left() -> Budget:
    """Under which whatever the reference grammar would have to judge is refused as `pattern-budget`."""
    return Allowances(envelope=0, burst=0, per_second=1).envelope("us-cyber", 0)
