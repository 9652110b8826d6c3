"""Text in which people made indicators harmless: put right again, and found in prose. One pass, linear in its length.

The usual extractors take seconds for a kilobyte that means them harm (`'a.' * 500 + '@'`). Here the text is cut at blanks
and brackets, and each word is read once by a pattern without nested repeats.
"""

import re
from collections.abc import Iterator

from feeds.values import Value, read_value

_SIGNS = {
    "dot": ".", ".": ".", "punkt": ".", "punto": ".", "at": "@", "@": "@", "arroba": "@", ":": ":", "://": "://", "/": "/",
    ":/": ":/",
}  # fmt: skip
_MARKED = "|".join(re.escape(one) for one in sorted(_SIGNS, key=len, reverse=True))
_DEFANGED = re.compile(
    rf"\[ ?({_MARKED}) ?\]|\( ?({_MARKED}) ?\)|\{{ ?({_MARKED}) ?\}}|\\(\.)|\b(hxxps?|h\*\*ps?|meow|fxp)(?=\[?:)",
    re.IGNORECASE,
)
_SCHEMES = {"hxxp": "http", "hxxps": "https", "h**p": "http", "h**ps": "https", "meow": "http", "fxp": "ftp"}

_WORD = re.compile(r"[^\s<>\"'`|,;()\[\]{}]+")
_TAIL = ".,:;!?*"

WORD_CHARACTERS_AT_MOST = 2_048


def refang(text: str) -> str:
    """`hxxps[:]//evil[.]example` as `https://evil.example`."""
    return _DEFANGED.sub(_sign, text)


def _sign(match: re.Match[str]) -> str:
    scheme = match[5]
    if scheme is not None:
        return _SCHEMES[scheme.lower()]
    word = match[1] or match[2] or match[3] or match[4]
    return _SIGNS[word.lower()]


def extract(text: str) -> Iterator[Value]:
    """The indicators of a prose text, each once: hashes, and all else that its author had made harmless.

    What was left as it is in prose is a link to read, the name of a file or of a victim.
    """
    seen: set[Value] = set()
    for word in _words(text):
        value = _value(*word)
        if value is not None and value not in seen:
            seen.add(value)
            yield value


_HARMLESS = "\ue000"
"""Of the private use area: marks, within a word, that it was put right. It never leaves this module."""


def _words(text: str) -> Iterator[tuple[str, bool]]:
    marked = _DEFANGED.sub(lambda match: _HARMLESS + _sign(match), text.replace(_HARMLESS, " "))
    for match in _WORD.finditer(marked):
        word = match[0]
        if len(word) <= WORD_CHARACTERS_AT_MOST:
            yield word.replace(_HARMLESS, "").strip(_TAIL), _HARMLESS in word


def _value(word: str, harmless: bool) -> Value | None:
    if not word:
        return None
    try:
        return read_value("any" if harmless else "hash", word)
    except ValueError:
        return None
