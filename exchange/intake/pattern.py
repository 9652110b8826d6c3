"""STIX patterns: limits first, then the reference grammar, which judges each shape of pattern once.

Most patterns differ only in their values. A linear scan takes the values out, checks each by itself, and leaves the shape;
the reference parser (ANTLR, 0.3 ms and deeply recursive) sees a shape the first time only, and never one over our limits.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from stix2patterns.validator import run_validator

from exchange.model.instant import instant

BYTES_AT_MOST = 8192
DEPTH_AT_MOST = 32
COMPARISONS_AT_MOST = 256
SHAPES_KEPT = 4096


@dataclass(frozen=True, slots=True)
class PatternFault:
    """One thing wrong with a pattern. `rule` is the row of the STIX requirement list."""

    rule: str
    code: str
    en: str
    es: str
    level: str = "reject"


_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<typed>[thb]'[^']*')
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<number>(?<![\w.-])-?\d+(?:\.\d+)?(?![\w.]))
    |(?P<word>[A-Za-z_][\w-]*)
    |(?P<open>[\[(])
    |(?P<close>[\])])
    |(?P<compare>=|!=|<=|>=|<|>)
    |(?P<other>[.:,*])""",
    re.VERBOSE | re.DOTALL,
)


def check_pattern(text: str) -> tuple[PatternFault, ...]:
    """What is wrong with a STIX pattern; nothing for a good one. Linear in its length, whatever is in it."""
    if len(text.encode("utf-8", "surrogatepass")) > BYTES_AT_MOST:
        return (
            _fault(
                "PAT-06",
                "pattern-too-long",
                f"longer than {BYTES_AT_MOST} bytes",
                f"tiene más de {BYTES_AT_MOST} bytes",
            ),
        )
    try:
        shape = _shape(text)
    except _Refused as refused:
        return (refused.fault,)
    return _judge(shape)


class _Refused(Exception):
    def __init__(self, fault: PatternFault) -> None:
        super().__init__(fault.code)
        self.fault = fault


def _fault(rule: str, code: str, en: str, es: str) -> PatternFault:
    return PatternFault(rule, code, f"The pattern is not accepted: {en}.", f"El patrón no se acepta: {es}.")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _Refused(_fault("PAT-01", "pattern-syntax", f"unexpected sign at character {position}", f"signo inesperado en el carácter {position}"))  # fmt: skip
        position = match.end()
        if match.lastgroup != "space":
            yield match.lastgroup, match.group()


def _shape(text: str) -> str:
    parts: list[str] = []
    depth = comparisons = 0
    before = ""
    for kind, token in _tokens(text):
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
        elif kind == "compare" or token in ("IN", "LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET", "EXISTS"):
            comparisons += 1
        if depth > DEPTH_AT_MOST or comparisons > COMPARISONS_AT_MOST:
            raise _Refused(_fault("PAT-06", "pattern-too-deep", f"nested deeper than {DEPTH_AT_MOST} or more than {COMPARISONS_AT_MOST} comparisons", f"anidado a más de {DEPTH_AT_MOST} niveles o con más de {COMPARISONS_AT_MOST} comparaciones"))  # fmt: skip
        # a quoted key after a dot is part of the path and stays; a value becomes one of its kind
        parts.append(token if before == "." or kind not in _LITERALS else _literal(kind, token, before))
        before = token
    return " ".join(parts)


_LITERALS = ("string", "number", "typed")


def _literal(kind: str, token: str, before: str) -> str:
    if kind == "string":
        return "'s'"
    if kind == "number":
        if before in ("REPEATS", "WITHIN"):
            if token.startswith("-") or not token.strip("0."):
                raise _Refused(_fault("PAT-03", "pattern-qualifier", f"{before} needs a positive number", f"{before} requiere un número positivo"))  # fmt: skip
            return "1" if token.isdigit() else "1.5"
        return "1" if "." not in token else "1.5"
    return _typed(token)


def _typed(token: str) -> str:
    value = token[2:-1]
    try:
        if token[0] == "t":
            instant(value)
            return "t'2020-01-01T00:00:00Z'"
        if token[0] == "h":
            bytes.fromhex(value)
            if not re.fullmatch(r"(?:[0-9a-fA-F]{2})*", value):
                raise ValueError
            return "h'00'"
        b64decode(value, validate=True)
    except (ValueError, Base64Error):
        raise _Refused(_fault("PAT-04", "pattern-constant", f"{token[:40]} is not a well-formed constant", f"{token[:40]} no es una constante bien formada")) from None  # fmt: skip
    return "b'AA=='"


@lru_cache(maxsize=SHAPES_KEPT)
def _judge(shape: str) -> tuple[PatternFault, ...]:
    try:
        problems = run_validator(shape, stix_version="2.1")
    except Exception as error:  # noqa: BLE001  # the reference raises what it likes on bad input; none of it is acceptance
        problems = [type(error).__name__]
    if not problems:
        return ()
    detail = str(problems[0])[:200]
    return (_fault("PAT-01", "pattern-syntax", detail, "la gramática de patrones de STIX 2.1 lo rechaza"),)


_COMPARED = re.compile(r"([\w-]+:[\w.'-]+?(?:\.'[^']*')?)\s*(?:=|IN|ISSUBSET)\s*\(?\s*((?:'(?:[^'\\]|\\.)*'\s*,?\s*)+)")
_STRING = re.compile(r"'((?:[^'\\]|\\.)*)'")


def values(text: str) -> tuple[tuple[str, str], ...]:
    """(object path, value) of the equality, IN and ISSUBSET comparisons of a pattern that was accepted."""
    found: list[tuple[str, str]] = []
    for match in _COMPARED.finditer(text):
        for value in _STRING.findall(match.group(2)):
            found.append((match.group(1), value.replace("\\'", "'").replace("\\\\", "\\")))
    return tuple(found)
