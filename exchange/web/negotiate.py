"""What a client can read and what it sends: media types, and the language of the sentences shown to people."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from aiohttp import hdrs, web

from exchange.errors import NotAcceptable, UnsupportedMedia
from exchange.release.packing import Coding, Packing

TAXII = "application/taxii+json;version=2.1"
"""Written so that taxii2-client, which compares the text after removing blanks, recognises it."""

STIX = "application/stix+json;version=2.1"
JSON = "application/json"

_TAXII_TYPE = "application/taxii+json"
_STIX_TYPE = "application/stix+json"

_ITEM = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_PARAMETER = re.compile(r';[ \t]*([^=;, \t"]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;"]*)')
_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class Range:
    """One element of an Accept, Accept-Language or Content-Type header, in lower case."""

    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    quality: float = 1.0

    @property
    def version(self) -> str | None:
        return self.parameters.get("version")


def ranges(text: str) -> Iterator[Range]:
    """The elements of a header's list (RFC 9110, 5.6.1 and 12.4.2). A quality that is none counts as 1."""
    for item in _ITEM.findall(text):
        name, _, _ = item.partition(";")
        if not name.strip():
            continue
        parameters = {key.lower(): _unquoted(value) for key, value in _PARAMETER.findall(item)}
        quality = parameters.pop("q", "1")
        yield Range(name.strip().lower(), parameters, float(quality) if _QUALITY.fullmatch(quality) else 1.0)


def _unquoted(text: str) -> str:
    text = text.strip()
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if len(text) > 1 and text[0] == '"' else text


# --- what may be sent ---


def must_accept_taxii(request: web.BaseRequest, also: tuple[str, ...] = ()) -> None:
    """Raise NotAcceptable when the client cannot read TAXII 2.1. Nothing else is ever answered with 406: some clients
    fall back to TAXII 2.0 on it. `also`: names of other types under which this client's product takes it."""
    if not accepts_taxii(",".join(request.headers.getall(hdrs.ACCEPT, ())), also):
        raise NotAcceptable(
            f"This endpoint answers in {TAXII} only.", f"Este recurso responde únicamente en {TAXII}.", field="Accept"
        )


@lru_cache(maxsize=256)
def accepts_taxii(accept: str, also: tuple[str, ...] = ()) -> bool:
    """Whether a TAXII 2.1 answer suits an Accept header (several lines joined by commas; "" for none).

    The most specific range that speaks of TAXII 2.1 decides (RFC 9110, 12.5.1): `q=0` refuses it even beside `*/*`.
    Clients that name plain JSON or STIX 2.1 get TAXII too (TAXII 2.1, 3.1, leaves that to the server).
    """
    found = [(rank, one.quality) for one in ranges(accept) if (rank := _rank(one, also)) is not None]
    if not found:
        return not accept.strip()
    best = max(rank for rank, _ in found)
    return max(quality for rank, quality in found if rank == best) > 0


def _rank(one: Range, also: tuple[str, ...]) -> int | None:
    if one.name == _TAXII_TYPE:
        return {"2.1": 4, None: 3}.get(one.version)
    if one.name in (JSON, *also) or (one.name == _STIX_TYPE and one.version in (None, "2.1")):
        return 2 if one.quality > 0 else None  # refusing plain JSON says nothing of TAXII
    return {"application/*": 1, "*/*": 0}.get(one.name)


def packing(request: web.BaseRequest) -> Packing | None:
    """What the client says of compressed answers in its Accept-Encoding header; None where they are to be plain."""
    return packing_of(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, ())))


@lru_cache(maxsize=256)
def packing_of(accept_encoding: str) -> Packing | None:
    """RFC 9110, 12.5.3. A client that refuses the plain form as well as all of ours is sent the plain one: 406 would make
    some clients fall back to TAXII 2.0. `*` is taken for gzip: who reads Zstandard names it."""
    said = {one.name: one.quality for one in ranges(accept_encoding)}
    gzip = said.get("gzip", said.get("x-gzip", said.get("*", 0.0)))
    coding = Coding.ZSTD if said.get("zstd", 0.0) >= (gzip or 0.001) else Coding.GZIP
    quality = max(said.get("zstd", 0.0), gzip)
    plain = said.get("identity")
    if not quality or (plain or 0.0) > quality:
        return None
    return Packing(coding, demanded=plain == 0 or (plain is None and said.get("*") == 0))


# --- what may come in ---


def must_be_readable(request: web.BaseRequest) -> None:
    """Raise UnsupportedMedia for a body that is not STIX or TAXII 2.1, or that is compressed."""
    given = request.headers.getall(hdrs.CONTENT_TYPE, ())
    if len(given) != 1 or not readable(given[0]):
        raise UnsupportedMedia(
            f"The body must be {TAXII} or {STIX}.", f"El cuerpo debe ser {TAXII} o {STIX}.", field="Content-Type"
        )
    codings = request.headers.getall(hdrs.CONTENT_ENCODING, ())
    if codings and {one.name for one in ranges(",".join(codings))} - {"identity"}:
        # A limit on the body would have to be kept while inflating; nobody's client needs it.
        raise UnsupportedMedia(
            "Compressed bodies are not accepted.", "No se aceptan cuerpos comprimidos.", field="Content-Encoding"
        )


@lru_cache(maxsize=256)
def readable(content_type: str) -> bool:
    """Whether a POST body of this type is read: TAXII or STIX (2.1 or no version), or plain JSON."""
    found = list(ranges(content_type))
    if len(found) != 1:
        return False
    return found[0].name == JSON or (found[0].name in (_TAXII_TYPE, _STIX_TYPE) and found[0].version in (None, "2.1"))


# --- language ---


def language(request: web.BaseRequest) -> str:
    """ "es" or "en", whichever the client prefers; English when it does not say."""
    return preferred_language(",".join(request.headers.getall(hdrs.ACCEPT_LANGUAGE, ())))


@lru_cache(maxsize=256)
def preferred_language(accept_language: str) -> str:
    """ "es" or "en" for an Accept-Language header (RFC 9110, 12.5.4)."""
    qualities: dict[str, float] = {}
    for one in ranges(accept_language):
        primary = one.name.partition("-")[0]
        qualities[primary] = max(one.quality, qualities.get(primary, 0.0))
    other = qualities.get("*", 0.0)
    return "es" if qualities.get("es", other) > qualities.get("en", other) else "en"


__all__: Sequence[str] = (
    "JSON",
    "STIX",
    "TAXII",
    "Range",
    "accepts_taxii",
    "language",
    "must_accept_taxii",
    "must_be_readable",
    "packing",
    "packing_of",
    "preferred_language",
    "ranges",
    "readable",
)
