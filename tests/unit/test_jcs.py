"""Strict JSON: what is refused, by which name, and that the fast canonical form is the reference one, byte for byte."""

import json
import math
import time
from datetime import date
from enum import StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.jcs import SAFE_INTEGER, JsonError, canonical, load
from tests.data import shared

REFUSED = [
    (b"\xff", "json-encoding"),
    (b'"\xed\xa0\x80"', "json-encoding"),  # a surrogate in UTF-8 clothes
    (b'"\xc0\x80"', "json-encoding"),  # an overlong NUL
    (b"\xef\xbb\xbf{}", "json-encoding"),
    ("{}".encode("utf-16"), "json-encoding"),
    (b"", "json-syntax"),
    (b"{", "json-syntax"),
    (b"{}{}", "json-syntax"),
    (b"[1,]", "json-syntax"),
    (b"{'a':1}", "json-syntax"),
    (b'{"a":1,}', "json-syntax"),
    (b"// c\n{}", "json-syntax"),
    (b"[01]", "json-syntax"),
    (b"[1.]", "json-syntax"),
    (b"[.5]", "json-syntax"),
    (b"[+1]", "json-syntax"),
    (b"[0x10]", "json-syntax"),
    (b'"\x00"', "json-syntax"),
    (b'"a\nb"', "json-syntax"),
    (b'"\\x41"', "json-syntax"),
    (b'"\\u12"', "json-syntax"),
    (b"]", "json-syntax"),
    (b'{"a":1,"a":1}', "json-duplicate-key"),
    (b'{"a":1,"\\u0061":2}', "json-duplicate-key"),
    (b'[{"x":{"b":1,"c":2,"b":3}}]', "json-duplicate-key"),
    (b"NaN", "json-number"),
    (b"[Infinity]", "json-number"),
    (b"[-Infinity]", "json-number"),
    (b"1e999", "json-number"),
    (b"-1e999", "json-number"),
    (b"1e-999", "json-number"),
    (b"9007199254740992", "json-number"),
    (b"-9007199254740992", "json-number"),
    (b"1" * 5000, "json-number"),
    (b"-0", "json-number"),
    (b"[-0.0]", "json-number"),
    (b'"\\ud800"', "json-string"),
    (b'"\\udc00"', "json-string"),
    (b'"\\udc00\\ud800"', "json-string"),
    (b'"\\ud800\\\\\\udc00"', "json-string"),  # a backslash between the halves
    (b'"\\ud800 \\udc00"', "json-string"),
    (b'"\\uD83D\\uD83D\\uDE00"', "json-string"),
    (b'{"\\udfff":1}', "json-string"),
    (b'"\\u0000"', "json-string"),
    (b'"\\\\\\u0000"', "json-string"),
    (b"[" * 33 + b"]" * 33, "json-depth"),
    (b'{"a":' * 33 + b"1" + b"}" * 33, "json-depth"),
    (b"[" * 1_000_000, "json-depth"),
    (b'["]",' * 100_000, "json-depth"),  # brackets in strings must not hide the depth
    (b'["\\"]",' * 100_000, "json-depth"),
    (b'["\\\\",' * 100_000, "json-depth"),
    (b'{"}":{"\\\\":[' * 50, "json-depth"),
]


@pytest.mark.parametrize(("data", "code"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
@pytest.mark.rule("JSN-01", "JSN-02", "JSN-04", "JSN-10")
@pytest.mark.trap(5)
def test_what_is_refused_and_why(data: bytes, code: str) -> None:
    with pytest.raises(JsonError) as caught:
        load(data, max_bytes=10_000_000)
    assert caught.value.code == code
    assert caught.value.en != caught.value.es


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b' {"a" : [1, 2.5, true, null]}\r\n', {"a": [1, 2.5, True, None]}),
        (b"9007199254740991", SAFE_INTEGER),
        (b"[0, 0.0, 0e5, 1e-300]", [0, 0.0, 0.0, 1e-300]),
        (b'"\\ud83d\\ude00\\uD83D\\uDE00"', "😀😀"),
        (b'"\\\\u0000 \\\\ud800"', "\\u0000 \\ud800"),  # escaped backslashes, no escapes
        (b'"se\\u00f1al"', "señal"),
        ('"señal"'.encode(), "señal"),
        (b"[" * 32 + b"]" * 32, json.loads("[" * 32 + "]" * 32)),
        (b'"' + b"[" * 100 + b'"', "[" * 100),
        (b'["\\"' + b"[" * 100 + b'"]', ['"' + "[" * 100]),
        (b"[" + b"[],{}," * 100 + b"1]", [[], {}] * 100 + [1]),
    ],
)
def test_what_is_accepted(data: bytes, value: Any) -> None:
    assert load(data, max_bytes=1000) == value


@pytest.mark.rule("JSN-09")
def test_the_size_is_judged_first() -> None:
    with pytest.raises(JsonError, match="json-too-large"):
        load(b"\xff" * 11, max_bytes=10)


@pytest.mark.parametrize(
    "data", [b"[" * 1_000_000, b'{"a":' * 200_000, b'["]",' * 200_000, b"[" * 33 + b"[]" * 500_000]
)
@pytest.mark.rule("JSN-09")
def test_depth_is_refused_at_once(data: bytes) -> None:
    took = []
    for _ in range(5):
        begun = time.process_time()
        with pytest.raises(JsonError, match="json-depth"):
            load(data, max_bytes=10_000_000)
        took.append(time.process_time() - begun)
    assert min(took) < 0.25  # CPU time, which a stalled machine may count as ours; measured 5 to 18 ms


TEXT = st.text(max_size=8)
NUMBERS = st.one_of(
    st.integers(-SAFE_INTEGER, SAFE_INTEGER),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 75.0, 1e16, 1e20, 1e21, 1e22, 1e-6, 1e-7, 5e-324, 123456789012345680000.0]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=600, deadline=None)
@given(VALUES)
def test_canonical_is_the_reference_form(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


PLAIN = st.recursive(
    st.one_of(st.booleans(), st.none(), st.integers(-SAFE_INTEGER, SAFE_INTEGER), st.text(max_size=30)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.text(st.characters(max_codepoint=127)), inner, max_size=6)
    ),
    max_leaves=30,
)


@settings(max_examples=400, deadline=None)
@given(PLAIN)
def test_canonical_fast_path_is_the_reference_form(value: Any) -> None:
    """The shapes that orjson writes: every character of every plane, ASCII names, no float."""
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("code_point", [*range(0x20), 0x22, 0x5C, 0x7F, 0x80, 0x2028, 0x2029, 0xFFFD, 0xFFFF, 0x1F600])
def test_every_escape_is_the_reference_one(code_point: int) -> None:
    assert canonical([chr(code_point)]) == rfc8785.dumps([chr(code_point)])


def test_names_are_sorted_by_utf16_unit() -> None:
    names = {"\ue000": 1, "\U0001f600": 2, "é": 3, "a": 4}
    assert list(json.loads(canonical(names))) == ["a", "é", "\U0001f600", "\ue000"]


class Word(StrEnum):
    US = "US"


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        [math.inf],
        {"a": -math.inf},
        SAFE_INTEGER + 1,
        [-SAFE_INTEGER - 1],
        2**70,
        "\ud800",
        {"\udc00": 1},
        {1: 2},
        {"a": {None: 1}},
        b"bytes",
        {"a"},  # one member: every process of a parallel run must give this case the same name
        {"when": date(2026, 11, 24)},
        object(),
    ],
    ids=lambda value: type(value).__name__ + str(value)[:12],
)
def test_what_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(JsonError, match="json-canonical"):
        canonical(value)


def test_words_of_an_enumeration_are_strings() -> None:
    assert canonical({"country": Word.US}) == b'{"country":"US"}'


def test_a_value_that_holds_itself_has_no_canonical_form() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(JsonError, match="json-canonical"):
        canonical(loop)


@pytest.mark.parametrize("name", ["arrays", "french", "unicode", "values"])
def test_published_vectors(name: str) -> None:
    """cyberphone/json-canonicalization; its numbers beyond the safe integers are for `json`, not for our loader."""
    folder = shared("jcs-rfc8785")
    value = json.loads((folder / "input" / f"{name}.json").read_bytes())
    assert canonical(value) == (folder / "output" / f"{name}.json").read_bytes().rstrip(b"\n")
    assert canonical(value) == bytes.fromhex((folder / "outhex" / f"{name}.txt").read_text())


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_load_or_are_refused_by_name(data: bytes) -> None:
    try:
        load(data, max_bytes=30, max_depth=3)
    except JsonError as error:
        assert error.code.startswith("json-")


@settings(max_examples=400, deadline=None)
@given(st.text(st.sampled_from(list('[]{}",:\\u0d8c1e.-naN ')), max_size=40))
def test_what_loads_has_a_canonical_form_that_loads_alike(text: str) -> None:
    try:
        value = load(text.encode(), max_bytes=100, max_depth=4)
    except JsonError:
        return
    assert value == json.loads(text)
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize("depth", [1, 2, 31, 32, 33, 34, 63, 64, 65, 200])
@pytest.mark.parametrize("text", ["[{}]", '{{"a":{}}}', '[1,"]",{}]', "[[],[[]],{}]"])
def test_exactly_as_deep_as_allowed(depth: int, text: str) -> None:
    body = "1"
    for _ in range(depth):
        body = text.replace("{{", "{").replace("}}", "}").replace("{}", body, 1) if "{}" in text else body
    data = body.encode()
    deepest = levels = 0
    inside = False
    for sign in body:
        inside ^= sign == '"'
        if not inside and sign in "[{":
            levels += 1
            deepest = max(deepest, levels)
        elif not inside and sign in "]}":
            levels -= 1
    if deepest <= 32:
        load(data, max_bytes=10_000, max_depth=32)
    else:
        with pytest.raises(JsonError) as refused:
            load(data, max_bytes=10_000, max_depth=32)
        assert refused.value.code == "json-depth"
