"""STIX patterns: limits first, then the reference grammar, which judges each shape of pattern once.

Most patterns differ only in their values. A linear scan takes the values out, checks each by itself and leaves the
shape; the OASIS reference validator (ANTLR: 0.3 ms for a short pattern, deeply recursive) sees a shape the first time
only, and never one over our limits. A pattern is accepted when the reference accepts it, and refused beyond that for
what the Standard forbids and the reference does not look at:

* PAT-02  comparisons joined by AND that no single object can satisfy (STIX 2.1, 9.5)
* PAT-03  REPEATS 0, WITHIN 0, START not before STOP (9.5.1)
* PAT-04  dates that do not exist, leap seconds, numbers of more than 64 characters (9.2)
* PAT-06  the limits below

The reference also refuses what the Standard allows, a set of hashes: `file:hashes.MD5 IN (…)`. So do we, because every
consumer that uses the stix2 library would fail on the whole object.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Literal, NoReturn

from stix2patterns.v21.object_validator import HASHES_REGEX
from stix2patterns.validator import run_validator

from exchange.intake.shapes import Budget, Shapes
from exchange.model.instant import instant

BYTES_AT_MOST = 8192
DEPTH_AT_MOST = 32
"""Brackets open at once, and steps in one object path: the reference recurses over both."""
COMPARISONS_AT_MOST = 256
TOKENS_AT_MOST = 3072
"""In a shape. Bounds what the reference can cost: 0.2 s for the worst that was found."""
NUMBER_AT_MOST = 64
SHAPE_CHARACTERS_KEPT = 4_000_000
"""Some 80,000 shapes of ordinary length. All real data that we have together has 63."""
REGEX_CHARACTERS_JUDGED = 512
"""Of all MATCHES constants of one pattern together; what is longer is not judged. Compiling is not free."""

Level = Literal["reject", "warn"]


@dataclass(frozen=True, slots=True)
class PatternFault:
    """One thing wrong with a pattern. `rule` is the row of the STIX requirement list."""

    rule: str
    code: str
    en: str
    es: str
    level: Level = "reject"


_TOKEN = re.compile(
    # Possessive throughout: no text makes it look at a character more than a few times. The white space, the numbers and
    # the escapes are the reference grammar's own, which are not Python's.
    r"""[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*+
    (?:(?P<mark>[]\[(:*,]|==?|!=|<[=>]?|>=?|\.(?![0-9]))
    |(?P<typed>[thb]'[^']*+')
    |(?P<bool>(?:true|false)(?![A-Za-z0-9_-]))
    |(?P<name>[A-Za-z_][A-Za-z0-9_-]*+)
    |(?P<string>'[^'\\]*+(?:\\['\\][^'\\]*+)*+')
    |(?P<number>[+-]?(?:[0-9]++(?:\.[0-9]++)?|\.[0-9]++))
    |(?P<close>\))
    |(?P<comment>/\*(?s:.*?)\*/|//[^\n\r]*+)
    |(?P<end>\Z)
    |(?P<stray>(?s:.)))""",
    re.VERBOSE,
)
_PLAIN = frozenset({"mark", "name"})
_JOINS = frozenset({"AND", "OR", "FOLLOWEDBY"})
_OPERATORS = frozenset(
    {"=", "==", "!=", "<>", "<", "<=", ">", ">=", "IN", "LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET", "EXISTS"}
)


def check_pattern(text: str, budget: Budget | None = None) -> tuple[PatternFault, ...]:
    """What is wrong with a STIX 2.1 pattern; nothing for a good one. Never raises.

    A fault of level "reject" comes alone; those of level "warn" (PAT-05) may be several. The cost is linear in the
    length, whatever is in the text, and the reference's besides for a shape not seen lately. That is taken from
    `budget`; when it does not suffice, the pattern is refused unjudged.
    """
    try:
        if len(text) > BYTES_AT_MOST or len(text.encode("utf-8", "surrogatepass")) > BYTES_AT_MOST:
            _refuse("pattern-too-long", limit=BYTES_AT_MOST)
        if "\0" in text:
            _refuse("pattern-nul")
        simple = _SIMPLE(text)
        if simple is not None:
            return _verdict(_simple_shape(simple[1]), budget)
        reading = _Reading("hashes" in text)
        shape = reading.shape(text)
        return _verdict(shape, budget) or tuple(reading.warnings)
    except _Refused as refused:
        return (refused.fault,)


# Most patterns compare one property with one string, and nothing but the shape depends on the path unless it is a hash's:
# `_Reading` would come to the same, by way of seven tokens.
_SIMPLE = re.compile(r"\[([a-z0-9-]++:(?!hashes)[a-z_]++(?:\.(?!hashes)[a-z_]++)*+) = '([^'\\]*+)'\]").fullmatch


@lru_cache(maxsize=4096)
def _simple_shape(path: str) -> str:
    return f"[ {path.replace(':', ' : ').replace('.', ' . ')} = 's' ]"


def values(text: str) -> tuple[tuple[str, str], ...]:
    """(object path, value) of every string that a pattern names outright: by =, IN, ISSUBSET, or LIKE without wildcards.

    Negated comparisons name nothing, and MATCHES, ISSUPERSET and LIKE with wildcards describe. Paths are written one
    way, without spaces and with quotes only where a key needs them: `ipv4-addr : 'value'` is `ipv4-addr:value`. Meant
    for a pattern that `check_pattern` accepted; any other text gives something, and does not raise.
    """
    if (simple := _SIMPLE(text)) is not None:
        return ((simple[1], simple[2]),)
    found: list[tuple[str, str]] = []
    run: list[str] = []
    path = operator = before = ""
    for kind, token in tokens(text):
        if kind == "string" and before not in (".", ":"):
            value = _unescaped(token)
            if operator in _NAMING or (operator == "LIKE" and not _WILDCARD(value)):
                found.append((path, value))
        elif token in _OPERATORS:
            # `NOT =` names no value, and neither does EXISTS
            operator = "" if run[-1:] == ["NOT"] else token
            path = "".join(run)
            run.clear()
        elif token in _JOINS or token in ("(", ")"):
            run.clear()
        elif run or kind == "name":
            run.append(_key(token) if kind == "string" else token)
        before = token
    return tuple(found)


def alternatives(text: str) -> tuple[tuple[str, str], ...]:
    """`values` of a pattern of which each, alone, makes the whole pattern match; nothing for any other pattern.

    That is: observations and comparisons joined by OR, each with a string by =, IN or ISSUBSET, and no qualifier. `text`
    is a pattern that `check_pattern` accepted.
    """
    for kind, token in tokens(text):
        if kind not in _ALTERNATIVE or token in _NARROWING:
            return ()
    return values(text)


_ALTERNATIVE = frozenset({"mark", "name", "string", "close"})
_NARROWING = (_OPERATORS | _JOINS | {"NOT", "WITHIN", "REPEATS", "START", "STOP"}) - {"=", "==", "IN", "ISSUBSET", "OR"}
_NAMING = frozenset({"=", "==", "IN", "ISSUBSET"})
_WILDCARD = re.compile("[%_]").search
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_BARE_KEY = re.compile("'[A-Za-z_][A-Za-z0-9_]*'").fullmatch


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """Kind and text of every token but comments; joined by spaces they are the same pattern."""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind is not None and kind not in ("comment", "end"):
            yield kind, match[kind]


def _unescaped(token: str) -> str:
    return _ESCAPE.sub(r"\1", token[1:-1]) if "\\" in token else token[1:-1]


def _key(token: str) -> str:
    return token[1:-1] if _BARE_KEY(token) else token


class _Reading:
    """One pass over one pattern: checks its values and writes its shape."""

    __slots__ = ("_has_hashes", "_kinds", "_parts", "_regex_left", "_start", "warnings")

    def __init__(self, has_hashes: bool) -> None:
        self.warnings: dict[PatternFault, None] = {}
        self._has_hashes = has_hashes
        self._kinds: list[str] | None = None  # of the constants of the set we are in
        self._parts: list[str] = []
        self._regex_left = REGEX_CHARACTERS_JUDGED
        self._start = ""

    def shape(self, text: str) -> str:
        """The pattern with one stand-in for all constants of a kind, comments gone and white space normal.

        The stand-in is the same token to the grammar, so the shape is valid exactly when the pattern is.
        """
        put = self._parts.append
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or "stray"
            token = match[kind]
            if kind in _PLAIN:
                put(token)
            elif kind == "close":
                put(token)
                self._kinds = None
            elif kind == "comment":
                # The reference wants nothing but parentheses and spaces before the first bracket.
                if "[" not in self._parts:
                    _refuse("pattern-syntax", detail="a comment before the first bracket")
            elif kind == "stray":
                _refuse("pattern-syntax", detail=f"unexpected sign at character {match.start(kind) + 1}")
            elif kind != "end":
                self._constant(kind, token)
        return " ".join(self._parts)

    def _constant(self, kind: str, token: str) -> None:
        parts = self._parts
        before = parts[-1] if parts else ""
        if kind == "string":
            if before in (".", ":"):
                parts.append(token)  # a key of the object path
                return
            stand_in = self._string(token, before)
        elif kind == "number":
            stand_in = _number(token, before)
        elif kind == "typed":
            stand_in = self._typed(token, before)
        else:
            stand_in = "true"
        if self._has_hashes and kind != "string" and _hash_algorithm(parts) is not None:
            stand_in = token  # the reference reads any constant as a hash here
        if before in ("(", ",") and self._collapses(stand_in, before):
            return
        parts.append(stand_in)

    def _collapses(self, stand_in: str, before: str) -> bool:
        # In a set, "X , Y" after X has been seen may lose ", Y": a list stays a list, so validity stays as it was.
        parts, kinds = self._parts, self._kinds
        if before == "(":
            if parts[-2:-1] == ["IN"]:
                self._kinds = [stand_in]
        elif kinds is not None and parts[-2] in kinds:
            if stand_in in kinds:
                parts.pop()
                return True
            if _FAMILY.get(stand_in, stand_in) != _FAMILY.get(kinds[0], kinds[0]):
                self._warn("pattern-set-mixed")
            kinds.append(stand_in)
        return False

    def _string(self, token: str, before: str) -> str:
        if before == "MATCHES":
            self._regex(_unescaped(token))
        elif before in ("ISSUBSET", "ISSUPERSET"):
            try:
                ipaddress.ip_network(_unescaped(token), strict=False)
            except ValueError:
                self._warn("pattern-subset", operator=before)
        if self._has_hashes:
            algorithm = _hash_algorithm(self._parts)
            if algorithm is not None:
                # the reference's own table and reading of the constant
                if not re.match(HASHES_REGEX[algorithm][0], token.replace("'", "")):
                    _refuse("pattern-hash", value=token[:80], algorithm=algorithm)
                return _SAMPLES[algorithm]
        return "'s'"

    def _regex(self, regex: str) -> None:
        if len(regex) > self._regex_left or _NOT_JUDGED(regex):
            return
        self._regex_left -= len(regex)
        try:
            re.compile(regex)
        except (re.error, OverflowError, RecursionError, Warning):
            self._warn("pattern-regex", value=regex[:80])

    def _typed(self, token: str, before: str) -> str:
        kind, value = token[0], token[2:-1]
        if kind != "t":
            if (_HEX if kind == "h" else _BASE64)(value) is None:
                _refuse("pattern-constant", value=token[:80])
            return _TYPED[kind]
        try:
            moment = instant(value)
        except ValueError:
            moment = ""
        if not moment:
            _refuse("pattern-constant", value=token[:80])
        if before == "START":
            self._start = moment
        elif before == "STOP" and moment <= self._start:
            _refuse("pattern-interval")
        return _TYPED[kind]

    def _warn(self, code: str, **facts: object) -> None:
        self.warnings[_fault(code, facts)] = None


_HEX = re.compile("(?:[0-9a-fA-F]{2})*+").fullmatch
_BASE64 = re.compile("(?=.)(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?").fullmatch
# Ignoring case, and sets of characters beyond Latin-1, cost Python milliseconds each to compile; the rest are the texts
# that it warns of as possible syntax of a later version.
_NOT_JUDGED = re.compile(r"\(\?[aLmsux]*i|[^\x00-\x7f]|\\[uUN]|\[\[|--|&&|~~|\|\|").search
_TYPED = {"t": "t'2020-01-01T00:00:00Z'", "h": "h'00'", "b": "b'AA=='"}
_FAMILY = {"-1": "1", "1.5": "1", "-1.5": "1"}
_SAMPLES = {
    name: next(f"'{'a' * size}'" for size in (1, 32, 40, 56, 64, 96, 128) if re.match(regex, "a" * size))
    for name, (regex, _) in HASHES_REGEX.items()
}


def _number(token: str, before: str) -> str:
    digits = token.lstrip("+-")
    if len(token) > NUMBER_AT_MOST:
        _refuse("pattern-constant", value=token[:80])
    if "." not in token and digits != "0" and digits[0] == "0":
        _refuse("pattern-syntax", detail=f"a leading zero in {token}")
    if before in ("REPEATS", "WITHIN") and not digits.strip("0."):
        _refuse("pattern-qualifier", qualifier=before)
    # the grammar tells these four apart
    return ("-" if token[0] == "-" else "") + ("1.5" if "." in token else "1")


def _hash_algorithm(parts: list[str]) -> str | None:
    """The row of the reference's table that the constant after these parts is held to, if any."""
    end = len(parts) - 1
    if parts[end - 1 : end] == ["NOT"]:
        end -= 1
    begin = end - 1
    lowest = max(0, end - 3 * DEPTH_AT_MOST - 2)  # longer paths are refused anyhow
    while begin >= lowest and parts[begin] != ":":
        begin -= 1
    path = parts[begin + 1 : end]
    if "hashes" not in path and "'hashes'" not in path:
        return None
    algorithm = path[-1].upper().replace("-", "").replace("\\'", "").replace("'", "")
    return algorithm if algorithm in HASHES_REGEX else None


_SHAPES: Shapes[tuple[PatternFault, ...]] = Shapes(SHAPE_CHARACTERS_KEPT)

# ANTLR's prediction tables are shared by the whole process, and nobody promises that threads may fill them together.
_REFERENCE = Lock()


def _verdict(shape: str, budget: Budget | None) -> tuple[PatternFault, ...]:
    known = _SHAPES.get(shape)
    if known is not None:
        return known
    words = [word for _, word in tokens(shape)]
    _check_limits(words)
    if budget is not None and not budget.spend(len(words)):
        _refuse("pattern-budget", seconds=budget.wait_seconds)
    try:
        verdict = _judged(shape)
    except Exception as error:  # noqa: BLE001  # the reference raises what it likes on bad input; none of it is acceptance
        # Not remembered: a RecursionError depends on who called.
        return (_fault("pattern-syntax", {"detail": type(error).__name__}),)
    _SHAPES.put(shape, verdict)
    return verdict


def _judged(shape: str) -> tuple[PatternFault, ...]:
    try:
        with _REFERENCE:
            problems = run_validator(shape, stix_version="2.1")
        if problems:
            detail = _PLACE.sub("", str(problems[0]))[:200]
            _refuse(next((code for sign, code in _KNOWN if sign in detail), "pattern-syntax"), detail=detail)
        _check_types(shape)
    except _Refused as refused:
        return (refused.fault,)
    return ()


_PLACE = re.compile(r"^FAIL: (?:Error found at line [0-9]+:[0-9]+\. )?")  # in the shape, which the sender never saw
_KNOWN = (("Duplicate qualifier type", "pattern-qualifier-twice"), ("' is not a valid ", "pattern-hash-operator"))


def _check_limits(words: list[str]) -> None:
    depth = steps = comparisons = joins = 0
    for word in words:
        depth += _DEPTH.get(word, 0)
        steps = steps + 1 if word in (".", "[") else 0 if word in _PATH_ENDS else steps
        comparisons += word in _OPERATORS
        joins += word in _JOINS
        if depth > DEPTH_AT_MOST or steps > DEPTH_AT_MOST:
            _refuse("pattern-too-deep", limit=DEPTH_AT_MOST)
    # A pattern joins n comparisons by n - 1 operators, so too many of either is too many.
    if max(comparisons, joins + 1) > COMPARISONS_AT_MOST or len(words) > TOKENS_AT_MOST:
        _refuse("pattern-too-many", limit=COMPARISONS_AT_MOST)


_DEPTH = {"[": 1, "(": 1, "]": -1, ")": -1}
_PATH_ENDS = _OPERATORS | _JOINS | {":"}


def _check_types(shape: str) -> None:
    """STIX 2.1, 9.5: one object must be able to satisfy both sides of an AND. `shape` is of a valid pattern."""
    words = [word for _, word in tokens(_NO_TYPE.sub("", shape))]
    frames = [(_ANY, _ANY)]  # per open parenthesis: what the operands before the last OR allow, and those after it
    for word, following in zip(words, [*words[1:], ""], strict=True):
        either, both = frames[-1]
        if following == ":":
            frames[-1] = (either, _common(both, frozenset({word})))
        elif word == "OR":
            frames[-1] = (either | both, _ANY)
        elif word == "(":
            frames.append((_ANY, _ANY))
        elif word == ")":
            frames.pop()
            outer, beside = frames[-1]
            frames[-1] = (outer, _common(beside, either | both))
        elif word in ("[", "]"):
            frames[-1] = (_ANY, _ANY)


_ANY: frozenset[str] = frozenset()
# Indexes, whose brackets are not an observation's; and NOT EXISTS, which an object of any type may satisfy.
_NO_TYPE = re.compile(r"\[ (?:[0-9]+|\*) \]|NOT EXISTS \S+ :")


def _common(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    if not left or not right:
        return left or right
    if left.isdisjoint(right):
        _refuse("pattern-types", left=", ".join(sorted(left)), right=", ".join(sorted(right)))
    return left & right


class _Refused(Exception):
    def __init__(self, fault: PatternFault) -> None:
        super().__init__(fault.code)
        self.fault = fault


def _refuse(code: str, **facts: object) -> NoReturn:
    raise _Refused(_fault(code, facts))


def _fault(code: str, facts: Mapping[str, object]) -> PatternFault:
    rule, en, es = _TEXTS[code]
    level: Level = "warn" if rule == "PAT-05" else "reject"
    return PatternFault(rule, code, en.format(**facts), es.format(**facts), level)


_TEXTS: Mapping[str, tuple[str, str, str]] = {
    "pattern-syntax": (
        "PAT-01",
        "The pattern is not valid by the STIX 2.1 grammar: {detail}.",
        "El patrón no es válido según la gramática de STIX 2.1: {detail}.",
    ),
    "pattern-types": (
        "PAT-02",
        "AND joins comparisons that no single object can satisfy: {left} and {right}.",
        "AND une comparaciones que ningún objeto puede cumplir por sí solo: {left} y {right}.",
    ),
    "pattern-qualifier": (
        "PAT-03",
        "{qualifier} needs a number above zero.",
        "{qualifier} requiere un número mayor que cero.",
    ),
    "pattern-qualifier-twice": (
        "PAT-03",
        "A qualifier of one kind stands twice on one expression: {detail}.",
        "Un mismo tipo de calificador aparece dos veces en una expresión: {detail}.",
    ),
    "pattern-interval": (
        "PAT-03",
        "START is not before STOP.",
        "START no es anterior a STOP.",
    ),
    "pattern-constant": (
        "PAT-04",
        "{value} is not a well-formed constant.",
        "{value} no es una constante bien formada.",
    ),
    "pattern-hash": (
        "PAT-04",
        "{value} is not a well-formed {algorithm} hash.",
        "{value} no es un resumen {algorithm} bien formado.",
    ),
    "pattern-hash-operator": (
        "PAT-04",
        "A hash is compared whole and one at a time: write = and join by OR instead of a set ({detail}).",
        "Un resumen se compara entero y de uno en uno: escriba = y una con OR en lugar de un conjunto ({detail}).",
    ),
    "pattern-set-mixed": (
        "PAT-05",
        "A set holds constants of more than one type.",
        "Un conjunto contiene constantes de más de un tipo.",
    ),
    "pattern-regex": (
        "PAT-05",
        "The regular expression of MATCHES does not compile: {value}",
        "La expresión regular de MATCHES no compila: {value}",
    ),
    "pattern-subset": (
        "PAT-05",
        "{operator} is for addresses and networks only.",
        "{operator} es solo para direcciones y redes.",
    ),
    "pattern-too-long": (
        "PAT-06",
        "The pattern is longer than {limit} bytes.",
        "El patrón tiene más de {limit} bytes.",
    ),
    "pattern-too-deep": (
        "PAT-06",
        "The pattern is nested deeper than {limit} levels.",
        "El patrón tiene más de {limit} niveles de anidamiento.",
    ),
    "pattern-too-many": (
        "PAT-06",
        "The pattern has more than {limit} comparisons, or as many parts.",
        "El patrón tiene más de {limit} comparaciones, o partes equivalentes.",
    ),
    "pattern-budget": (
        "PAT-06",
        "No pattern of this shape was judged lately, and new shapes have used up what this envelope, or your organisation"
        " for now, may spend on them. Nothing is wrong with the object: submit it again in {seconds} seconds.",
        "Ningún patrón de esta forma se ha evaluado recientemente, y las formas nuevas agotaron lo que este sobre, o por"
        " ahora su organización, puede gastar en ellas. El objeto no tiene nada malo: envíelo de nuevo en {seconds}"
        " segundos.",
    ),
    "pattern-nul": (
        "PAT-06",
        "The pattern has a NUL character.",
        "El patrón contiene un carácter NUL.",
    ),
}
