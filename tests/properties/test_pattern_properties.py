"""For any text, our verdict on a STIX pattern is the reference validator's, but for the limits that we name."""

from hypothesis import given, settings
from hypothesis import strategies as st
from stix2patterns.validator import run_validator

from exchange.intake.pattern import _Reading, _Refused, check_pattern, values

STRICTER = {
    "pattern-types",
    "pattern-qualifier",
    "pattern-interval",
    "pattern-constant",
    "pattern-nul",
    "pattern-too-long",
    "pattern-too-deep",
    "pattern-too-many",
}

MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def reference_accepts(text: str) -> bool:
    try:
        return not run_validator(text, stix_version="2.1")
    except Exception:  # noqa: BLE001  # RecursionError, AttributeError and UnboundLocalError all occur
        return False


def agree(text: str) -> bool:
    """Whether both accept; fails when they differ for a reason that has no name."""
    rejects = [fault.code for fault in check_pattern(text) if fault.level == "reject"]
    accepted = reference_accepts(text)
    if rejects and rejects[0] in STRICTER:
        return False
    assert accepted is not bool(rejects), (text, rejects)
    return accepted


spaces = st.sampled_from(["", " ", "  ", "\n", "\t", "\xa0", "\u2028", "/* ' [ */", "// '\n"])


@st.composite
def spaced(draw: st.DrawFn, *parts: st.SearchStrategy[str]) -> str:
    """The parts with white space or comments between, or nothing: tokens may touch."""
    return "".join(draw(part) + draw(st.one_of(st.just(" "), spaces)) for part in parts)


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


strings = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12).map(
    lambda value: f"'{escaped(value)}'"
)
numbers = st.sampled_from(["0", "1", "443", "-5", "+7", "1.5", "-.5", ".25", "007.5", "00", "01", "1.", "--1"])
times = ["t'2026-11-23T06:00:00Z'", "t'2026-11-23T06:00:00.123456789Z'", "t'2026-13-23T06:00:00Z'", "t'2026-11-23'"]
typed = st.sampled_from(
    [*times, "h''", "h'aF09'", "h'a'", "b'AAAA'", "b'AA=='", "b''", "b'A==='", "true", "false", "True"]
)
hashes = st.sampled_from([f"'{MD5}'", f"'{MD5}{MD5}'", f"'{MD5}00000000'", f"'{MD5[1:]}'", "'3::'", f"'{MD5}\n'"])
constants = st.one_of(strings, numbers, typed, hashes)
keys = st.sampled_from(
    [
        "value",
        "hashes",
        "'hashes'",
        "MD5",
        "'SHA-256'",
        "'SHA-256\\''",
        "sha1",
        "SSDEEP",
        "'x y'",
        "dst_ref",
        "x-y",
        "IN",
    ]
)
steps = st.one_of(keys.map(lambda key: "." + key), st.sampled_from(["[*]", "[0]", "[+1]", "[-1]", "[x]"]))
paths = st.builds(
    lambda kind, first, rest: f"{kind}:{first}{''.join(rest)}",
    st.sampled_from(["file", "ipv4-addr", "x-custom", "NOT"]),
    keys,
    st.lists(steps, max_size=3),
)
sets = st.lists(constants, max_size=6).map(lambda members: f"({','.join(members)})")
operators = st.sampled_from(["=", "==", "!=", "<>", "<", "<=", ">", ">=", "LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET"])
negation = st.sampled_from(["", "", " NOT "])
comparisons = st.one_of(
    spaced(paths, negation, operators, constants),
    spaced(paths, negation, st.just("IN"), sets),
    spaced(negation, st.just(" EXISTS "), paths),
)
tests = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        spaced(inner, st.sampled_from([" AND ", " OR "]), inner),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=4,
)
qualifiers = st.one_of(
    spaced(st.just(" REPEATS "), numbers, st.just("TIMES")),
    spaced(st.just(" WITHIN "), numbers, st.just("SECONDS")),
    spaced(st.just(" START "), typed, st.just(" STOP "), typed),
)
patterns = st.recursive(
    tests.map(lambda text: f"[{text}]"),
    lambda inner: st.one_of(
        spaced(inner, st.sampled_from([" AND ", " OR ", " FOLLOWEDBY "]), inner),
        spaced(inner, qualifiers),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=4,
)
fragments = st.one_of(
    st.sampled_from([*"'\"[]().,:=<>!*+-/\\ 0a_é\0\x1c\xa0\ufeff", "''", "\\'", "/*", "*/", "//", " AND ", ",1"]),
    constants,
    keys,
    st.characters(),
)


@settings(max_examples=350, deadline=None)
@given(patterns)
def test_generated_patterns_have_the_verdict_of_the_reference(text: str) -> None:
    agree(text)


@settings(max_examples=450, deadline=None)
@given(patterns, st.data())
def test_mutated_patterns_have_the_verdict_of_the_reference(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 6)))
        text = text[:begin] + data.draw(st.one_of(st.just(""), fragments)) + text[end:]
    agree(text)


@settings(max_examples=400, deadline=None)
@given(st.lists(fragments, max_size=30).map("".join))
def test_any_text_has_the_verdict_of_the_reference(text: str) -> None:
    agree(text)
    values(text)


@settings(max_examples=400, deadline=None)
@given(patterns, st.data())
def test_the_shape_has_the_reference_grammars_verdict_on_the_pattern(text: str, data: st.DataObject) -> None:
    """One verdict on a shape stands for all patterns of it, good and bad."""
    if data.draw(st.booleans()):
        begin = data.draw(st.integers(0, len(text)))
        text = text[:begin] + data.draw(fragments) + text[begin + data.draw(st.integers(0, 3)) :]
    try:
        shape = _Reading("hashes" in text).shape(text)
    except _Refused:
        return  # refused by a rule of its own, before there is a shape
    assert reference_accepts(shape) is reference_accepts(text), (text, shape)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200))
def test_any_value_comes_out_as_it_went_in(value: str) -> None:
    text = f"[domain-name:value = '{escaped(value)}']"
    assert check_pattern(text) == ()
    assert values(text) == (("domain-name:value", value),)


@settings(max_examples=120, deadline=None)
@given(patterns, strings)
def test_space_and_comments_change_nothing(text: str, value: str) -> None:
    if len(text) > 2000 or not agree(text):
        text = "[a:b = 's']"
    joined = f"{text} AND /* ' */ [ url : 'value'//\n={value} ]"
    assert agree(joined)
    assert values(joined)[:-1] == values(text)
    assert values(joined)[-1][0] == "url:value"


@settings(max_examples=200, deadline=None)
@given(paths, st.lists(st.one_of(constants, fragments), min_size=1, max_size=5), st.integers(1, 20))
def test_long_sets_have_the_verdict_of_the_reference(path: str, members: list[str], times: int) -> None:
    agree(f"[{path} IN ({','.join(members * times)}) OR a:b = 's', 's']")
    agree(f"[{path} IN ({','.join(members * times)})]")


@given(st.from_regex(r"[a-z][a-z0-9-]{0,8}:[a-z_]{1,8}(\.[a-z_]{1,8}){0,3}", fullmatch=True), st.text(max_size=30))
def test_the_short_way_to_a_shape_comes_to_the_same(path: str, value: str) -> None:
    """The commonest form of pattern is not read token by token; everything else about it is as for any other."""
    text = f"[{path} = '{value.replace(chr(92), '').replace(chr(39), '').replace(chr(0), '')}']"
    same = f"[{path}  = {text.partition(' = ')[2]}"
    assert check_pattern(text) == check_pattern(same)
    assert values(text) == values(same)
