"""Content negotiation: each NEG row of the TAXII checklist, with the headers that real clients send."""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from exchange.errors import NotAcceptable, UnsupportedMedia
from exchange.model.product import PRODUCTS
from exchange.release.packing import Coding, Packing
from exchange.web.negotiate import (
    TAXII,
    accepts_taxii,
    language,
    must_accept_taxii,
    must_be_readable,
    packing_of,
    preferred_language,
    ranges,
    readable,
)


def request(headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> web.BaseRequest:
    """All that negotiation looks at: the headers."""
    return cast(web.BaseRequest, SimpleNamespace(headers=CIMultiDict(headers)))


ACCEPTED = {
    "NEG-01": "application/taxii+json;version=2.1",
    "NEG-02": "application/taxii+json",
    "NEG-07 last": "text/html, application/xml;q=0.9, application/taxii+json;version=2.1",
    "NEG-07 first": "application/taxii+json;version=2.1, text/html",
    "NEG-08 blanks": "application/taxii+json ; version=2.1",
    "NEG-08 tabs": "application/taxii+json;\tversion = 2.1",
    "NEG-08 case": "Application/TAXII+JSON;Version=2.1",
    "NEG-08 quoted": 'application/taxii+json;version="2.1"',
    "NEG-09 low": "application/taxii+json;version=2.1;q=0.001",
    "NEG-10": "application/taxii+json;version=2.1,application/stix+json;version=2.1",
    "NEG-17": "",
    "NEG-22 all": "*/*",
    "NEG-22 application": "application/*",
    "OpenCTI 4246": "application/json, text/plain, */*",
    "OpenCTI": "application/taxii+json; version=2.1",
    "both versions": "application/taxii+json;version=2.0, application/taxii+json;version=2.1;q=0.5",
    "stix": "application/stix+json;version=2.1",
    "json": "application/json",
    "json refused, rest taken": "application/json;q=0, */*",
    "text refused": "text/html;q=0, */*;q=0.1",
    "comma in quotes": 'text/html;x="a,b;c", application/taxii+json',
    "charset": "application/taxii+json;version=2.1;charset=utf-8",
    "senseless quality": "application/taxii+json;version=2.1;q=abc",
    "empty elements": ", ,application/taxii+json,,",
}
REFUSED = {
    "NEG-06": "text/html",
    "NEG-06 xml": "application/xml",
    "NEG-09": "application/taxii+json;version=2.1;q=0",
    "NEG-09 q=0 beside anything": "application/taxii+json;version=2.1;q=0, */*",
    "NEG-09 q=0.000": "application/taxii+json;q=0.000",
    "NEG-16 2.0": "application/taxii+json;version=2.0",
    "NEG-16 3.0": "application/taxii+json;version=3.0",
    "NEG-16 TAXII 2.0": "application/vnd.oasis.taxii+json; version=2.0",
    "wildcards refused": "*/*;q=0",
    "no type": "nonsense",
}


@pytest.mark.parametrize("accept", ACCEPTED.values(), ids=ACCEPTED.keys())
@pytest.mark.rule("NEG-01", "NEG-02", "NEG-07", "NEG-08", "NEG-09", "NEG-10", "NEG-17", "NEG-22")
def test_accepted(accept: str) -> None:
    assert accepts_taxii(accept)


@pytest.mark.parametrize("accept", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.rule("NEG-06", "NEG-09", "NEG-16")
def test_not_acceptable(accept: str) -> None:
    assert not accepts_taxii(accept)


def test_a_products_own_type_is_taken_for_its_product_alone() -> None:
    fortigate = PRODUCTS["fortigate"].media
    for accept in ("application/vnd.oasis.stix+json; version=2.0", "application/vnd.oasis.stix+json"):
        assert accepts_taxii(accept, fortigate)
        assert not accepts_taxii(accept)
    assert not accepts_taxii("application/vnd.oasis.stix+json;q=0", fortigate)


@pytest.mark.rule("NEG-18")
def test_several_header_lines_are_one_list() -> None:
    lines = CIMultiDict([("Accept", "text/html"), ("Accept", TAXII)])
    must_accept_taxii(request(lines))
    with pytest.raises(NotAcceptable):
        must_accept_taxii(request({"Accept": "text/html"}))


@pytest.mark.rule("NEG-20")
def test_our_own_type_is_what_taxii2_client_compares() -> None:
    assert TAXII.replace(" ", "").split(";") == ["application/taxii+json", "version=2.1"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/taxii+json;version=2.1",
        "application/taxii+json",
        "application/taxii+json; version=2.1",
        "application/taxii+json;version=2.1;charset=utf-8",
        'Application/Taxii+Json; Version="2.1"',
        "application/stix+json; version=2.1",
        "application/stix+json",
        "application/json",
        "application/json; charset=utf-8",
    ],
)
@pytest.mark.rule("NEG-11", "NEG-12", "NEG-14")
def test_readable(content_type: str) -> None:
    """And what Splunk and OpenCTI send."""
    assert readable(content_type)


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/taxii+json;version=2.0", "application/xml", "application/vnd.oasis.stix+json",
     "application/taxii+json, text/plain"],
)  # fmt: skip
@pytest.mark.rule("NEG-13")
def test_unsupported(content_type: str) -> None:
    assert not readable(content_type)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": TAXII, "Content-Encoding": "gzip"},
        {"Content-Type": TAXII, "Content-Encoding": "identity, deflate"},
        CIMultiDict([("Content-Type", TAXII), ("Content-Type", "text/plain")]),
    ],
)
def test_bodies_that_are_not_read(headers: dict[str, str]) -> None:
    with pytest.raises(UnsupportedMedia):
        must_be_readable(request(headers))


def test_identity_is_no_coding() -> None:
    must_be_readable(request({"Content-Type": TAXII, "Content-Encoding": "identity"}))


@pytest.mark.parametrize(
    ("accept_language", "expected"),
    [
        ("", "en"),
        ("es", "es"),
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("en-US,en;q=0.9,es;q=0.8", "en"),
        ("en;q=0.1, es;q=0.2", "es"),
        ("fr, de", "en"),
        ("*", "en"),
        ("en;q=0, *", "es"),
        ("es;q=0", "en"),
        ("ES-419", "es"),
    ],
)
def test_language(accept_language: str, expected: str) -> None:
    assert preferred_language(accept_language) == expected
    assert language(request({"Accept-Language": accept_language})) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='*/;,="\\ q019.abtaxii+json', max_size=60))
def test_no_header_breaks_the_parsers(text: str) -> None:
    for one in ranges(text):
        assert 0 <= one.quality <= 1
    accepts_taxii(text)
    readable(text)
    assert preferred_language(text) in ("en", "es")


GZIP, ZSTD = Packing(Coding.GZIP), Packing(Coding.ZSTD)


@pytest.mark.parametrize(
    ("accept_encoding", "packing"),
    [
        ("", None),
        ("identity", None),
        ("br", None),
        ("br, zstd", ZSTD),
        ("zstd;q=0, gzip", GZIP),
        ("zstd;q=0", None),
        ("gzip, zstd;q=0.9", GZIP),
        ("gzip;q=0.9, zstd", ZSTD),
        ("zstd;q=0.5, identity", None),
        ("zstd, identity;q=0", Packing(Coding.ZSTD, demanded=True)),
        ("gzip;q=0, *;q=0, zstd", Packing(Coding.ZSTD, demanded=True)),
        ("gzip", GZIP),
        ("GZIP", GZIP),
        ("x-gzip", GZIP),
        ("gzip, deflate", GZIP),
        ("gzip, deflate, br, zstd", ZSTD),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", GZIP),
        ("*", GZIP),
        ("gzip;q=0", None),
        ("gzip;q=0.000, *", None),
        ("*;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0.5", GZIP),
        ("gzip, identity;q=0", Packing(Coding.GZIP, demanded=True)),
        ("gzip;q=0.1, *;q=0", Packing(Coding.GZIP, demanded=True)),
        ("*, identity;q=0", Packing(Coding.GZIP, demanded=True)),
        ("identity;q=0", None),
        ("gzip;q=nonsense", GZIP),
    ],
)
def test_compressed_answers_are_sent_to_who_wants_them(accept_encoding: str, packing: Packing | None) -> None:
    """RFC 9110, 12.5.3. Without a coding of ours even `identity;q=0` is sent the plain form: never 406. `*` is gzip."""
    assert packing_of(accept_encoding) == packing
