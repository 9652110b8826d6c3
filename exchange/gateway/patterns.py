"""What of a detection pattern may go without its author's name: adversaries' properties, without comments and times."""

import re
from typing import Final

from exchange.errors import Text
from exchange.gateway.faults import Unfit
from exchange.intake.pattern import tokens

_PATHS: Final = re.compile(
    r"(?:ipv4-addr|ipv6-addr|domain-name|url|email-addr):value"
    r"|domain-name:resolves_to_refs\[(?:\*|[0-9]+)\]\.value"
    r"|ipv[46]-addr:belongs_to_refs\[(?:\*|[0-9]+)\]\.number"
    r"|autonomous-system:number"
    r"|file:(?:name|size|mime_type|magic_number_hex|hashes\.(?:'[A-Za-z0-9-]+'|[A-Za-z0-9_]+))"
    r"|file:extensions\.'windows-pebinary-ext'\.(?:imphash|pe_type|number_of_sections)"
    r"|email-message:(?:subject|(?:from|sender)_ref\.value)"
    r"|network-traffic:(?:dst_ref\.value|dst_port|protocols\[(?:\*|[0-9]+)\])"
    r"|network-traffic:extensions\.'http-request-ext'\.(?:request_method|request_value|request_header\.(?:'User-Agent'|Host))"
    r"|x509-certificate:(?:serial_number|subject|issuer|hashes\.(?:'[A-Za-z0-9-]+'|[A-Za-z0-9_]+))"
    r"|windows-registry-key:(?:key|values\[(?:\*|[0-9]+)\]\.(?:name|data|data_type))"
    r"|mutex:name|process:(?:command_line|name|image_ref\.name)|software:(?:name|version|vendor|cpe)",
    re.ASCII,
).fullmatch
"""Properties that describe what the adversary has and does. Others tell of where it was seen: a mailbox written to, the
address that connected, the folder of a file, whatever a custom object holds."""

_OPERATORS: Final = frozenset(
    {"=", "==", "!=", "<>", "<", "<=", ">", ">=", "IN", "LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET"}
)
_JOINS: Final = frozenset({"AND", "OR", "FOLLOWEDBY"})


def told(pattern: str) -> str:
    """The pattern as it may be told: the same, its comments gone. `pattern` is one that the hub took in.

    Raises Unfit ("held") for a pattern that only a person can judge.
    """
    words: list[str] = []
    path: list[str] = []
    in_path = True
    for kind, word in tokens(pattern):
        if kind == "stray" or word == "EXISTS":
            raise _held("pattern-form", f"{word[:20]}", f"{word[:20]}")
        if kind == "typed" and word.startswith("t"):
            raise _held("pattern-time", "a point in time", "un momento en el tiempo")
        if in_path and word not in ("NOT", *_OPERATORS, *_JOINS) and (path or word not in ("[", "(")):
            path.append(word)
            continue
        if path:
            words.append(_property("".join(path)))
            path = []
        words.append(word)
        in_path = word in _JOINS or (in_path and word not in _OPERATORS)
    return _joined(words)


def _property(path: str) -> str:
    if _PATHS(path) is None:
        raise _held("pattern-path", f"the property {path[:80]}", f"la propiedad {path[:80]}")
    return path


def _joined(words: list[str]) -> str:
    """As people write patterns. A constant ends in its quote, so only a bracket of the pattern's own is looked at."""
    text = ""
    for word in words:
        apart = text and text[-1] not in "[(" and word not in ("]", ")", ",")
        text += f" {word}" if apart else word
    return text


def _held(code: str, en: str, es: str) -> Unfit:
    return Unfit("held", code, Text(f"The pattern names {en}.", f"El patrón nombra {es}."))
