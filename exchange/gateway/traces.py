"""What would betray a sender, and whether any of it is in what is about to be sent, however it is written.

Looked for are the words that the hub and the original name (the sender's slug, names, ids, certificates, the original's own
ids and signature) and the sender's networks and domains; in upper or lower case, with or without accents and the signs
between letters, and as hex, base64, percent-encoding or A-labels. A find may be chance: then a person sees it, and nothing
else happens.
"""

import re
import unicodedata
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from certs.signature import EXT_SIG

SHORT: Final = 6
"""Letters and digits. Words with fewer are looked for as words of their own, or every text would hold them."""

_BETWEEN: Final = "\0"
"""Between texts: no text that the hub took in has this sign, so nothing is found across two of them."""

_UUID: Final = re.compile(r"--([0-9a-f-]{36})$")
_COUNTRY: Final = re.compile(r"^[a-z]{2}-")
_ADDRESS: Final = re.compile(
    r"(?<![0-9])(?=((?:[0-9]{1,3}\.){3}[0-9]{1,3}(?:/[0-9]{1,2}(?![0-9.]))?))"
    r"|(?<![0-9A-Fa-f:])(?=([0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:/[0-9]{1,3})?))"
)
"""Addresses and networks, each from where it begins: one may begin inside what another seems to go on with."""


class Traces:
    """Everything of one original's sender that is known."""

    def __init__(self, words: Iterable[str], assets: Iterable[str] = ()) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        forms = [_forms(word) for word in words]
        for asset in assets:
            with suppress(ValueError):
                self._networks.append(ip_network(asset, strict=False))
                continue
            forms.append(_forms(asset))
        self._forms = forms

    @classmethod
    def of(cls, original: Mapping[str, Any], words: Iterable[str], assets: Iterable[str]) -> "Traces":
        """With what the original itself says of its maker."""
        own = [str(original["id"]), str(original.get("created_by_ref", ""))]
        extensions = original.get("extensions")
        block = extensions.get(EXT_SIG) if isinstance(extensions, Mapping) else None
        if isinstance(block, Mapping):
            header, _, signature = str(block.get("signature", "")).partition("..")
            own += [str(block.get("signer_ref", "")), str(block.get("prev_sha256", "")), header, signature]
        return cls([*own, *words], assets)

    def found_in(self, obj: Mapping[str, Any]) -> str | None:
        """The first trace in any name or value of the object; None when there is none."""
        texts = list(_texts(obj))
        escaped = [text for text in texts if "%" in text]
        texts += [unquote(text) for text in escaped] + [unquote(unquote(text)) for text in escaped]
        written = _BETWEEN.join(texts)
        folded = _folded(written)
        solid = _solid(folded)
        for form in self._forms:
            if (
                any(one in solid for one in form.solid)
                or any(one in written for one in form.exact)
                or (form.short and re.search(rf"(?<![^\W_]){re.escape(form.short)}(?![^\W_])", folded))
            ):
                return form.word
        return self._address_in(written) if self._networks else None

    def _address_in(self, text: str) -> str | None:
        for match in _ADDRESS.finditer(text):
            with suppress(ValueError):
                network = ip_network(match[1] or match[2], strict=False)
                for own in self._networks:
                    if own.version == network.version and own.overlaps(network):
                        return str(own)
        return None


class _Form(NamedTuple):
    """How a word may be written."""

    word: str
    solid: frozenset[str]
    """Folded, letters and digits only."""
    exact: frozenset[str]
    short: str
    """For a word too short to be looked for inside others; else ""."""


@lru_cache(maxsize=4096)  # a sender's words are those of all its originals
def _forms(word: str) -> _Form:
    solid: set[str] = set()
    exact: set[str] = set()
    short = ""
    for form in _spellings(word):
        folded = _folded(form)
        letters = _solid(folded)
        if len(letters) >= SHORT:
            solid |= {letters, form.encode().hex(), folded.encode().hex()}
            exact |= {*_base64(form), *_base64(folded)}
        elif letters:
            short = folded.strip()
    return _Form(word, frozenset(solid), frozenset(exact), short)


def _spellings(word: str) -> Iterator[str]:
    yield word
    if uuid := _UUID.search(word):
        yield uuid[1]
    if _COUNTRY.match(word):
        yield word[3:]
    if "." in word and not word.isascii():
        with suppress(UnicodeError):
            yield word.encode("idna").decode()


def _base64(word: str) -> Iterator[str]:
    """What stands for the word inside any longer base64 text: at each of three places, without the ends it shares."""
    data = word.encode()
    if len(data) < SHORT:
        return
    for skipped in range(3):
        padded = bytes(skipped) + data
        whole = padded[: len(padded) - len(padded) % 3]
        for encode in (b64encode, urlsafe_b64encode):
            inner = encode(whole).decode()[4 if skipped else 0 :]
            if len(inner) >= SHORT + 2:
                yield inner


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


def _solid(folded: str) -> str:
    return "".join([sign for sign in folded if sign.isalnum() or sign == _BETWEEN])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
