"""TAXII resources as bytes: required properties, no empty lists, objects joined and never rebuilt."""

import pytest

from certs.jcs import load
from exchange.model.member import Collection, Country, Member
from exchange.model.page import Page, Row, Span, Spans
from exchange.release.sheet import Sheet, View
from exchange.settings import Settings
from exchange.store.acts import LeafRef
from exchange.taxii import resources
from exchange.web.evidence import audit_leaf

US = Member("us-cyber", "identity--1", Country.US, "agency", ("agency",), (), "A", "A")
AUDITOR = Member("us-audit", "identity--2", Country.US, "auditor", ("auditor",), (), "A", "A")
SETTINGS = Settings(title="Puente v1.0 *test*", public_url="https://hub.example:8443/")


def coll(readers: str, writers: str, title: str = "Indicators") -> Collection:
    return Collection(
        "91a7b528-80eb-42ed-a74d-c6fbd5a26116", "indicators", title, "", tuple(readers.split()), tuple(writers.split())
    )


def written(view: View, count: int, following: str | None = None, *, lists: bool = False) -> bytes:
    """A manifest or a list of versions, of `count` rows."""
    rows = [Row(n, 1, f"indicator--{n}", f"2026-01-01T00:00:00.{n}Z", bytes(32), 0, 0) for n in range(1, count + 1)]
    assert view.write is not None
    sheet = Sheet.of_rows(Page(tuple(rows), following is not None, 7), view.write, {1: "US"})
    return b"".join(resources.paged(sheet, view, following, lists=lists))


def joined(*contents: bytes, following: str | None = None, lists: bool = False) -> bytes:
    """An envelope of spans."""
    spans = [Span(n, 1, 1, bytes(32), content) for n, content in enumerate(contents, 1)]
    sheet = Sheet.of_spans(Spans(tuple(spans), following is not None, 7), {1: "US"})
    return b"".join(resources.paged(sheet, resources.OBJECTS, following, lists=lists))


def read(data: bytes) -> dict[str, object]:
    found = load(data, max_bytes=100_000)
    assert isinstance(found, dict)
    return found


@pytest.mark.rule("DSC-02", "DSC-03", "DSC-04", "DSC-05", "DSC-06", "DSC-11", "DSC-12", "ROOT-01", "ROOT-02")
@pytest.mark.rule("ROOT-03", "ROOT-04", "ROOT-11", "SER-02", "SER-04", "SER-07")
@pytest.mark.rule("ROOT-05")
def test_discovery_and_api_root() -> None:
    found = read(resources.discovery(SETTINGS))
    assert found["default"] == "https://hub.example:8443/taxii2/us-mx/"
    assert found["api_roots"] == [found["default"]]
    root = read(resources.api_root(SETTINGS))
    assert root["versions"] == ["application/taxii+json;version=2.1"]
    assert root["max_content_length"] == SETTINGS.body_limit_bytes
    assert root["title"] == "Puente v1 0 test", "no dot and no star: OpenCTI picks by title"


@pytest.mark.rule("AUT-16", "COL-02", "COL-04", "COL-06", "COL-12", "COL-13", "SER-05")
def test_collections_show_the_rights_of_who_asks() -> None:
    writing = coll("", "all", "Drop.box*")
    found = read(resources.collections([coll("all", ""), writing, coll("country:MX", "country:MX")], US))["collections"]
    assert isinstance(found, list)
    assert [(one["can_read"], one["can_write"]) for one in found] == [(True, False), (False, True)]
    assert found[1]["title"] == "Drop box"
    assert "description" not in found[0], "SER-05 in spirit: nothing empty is sent"
    assert resources.collections([coll("all", "all")], AUDITOR) == b"{}"


@pytest.mark.rule("OBJ-01", "OBJ-02", "SER-10", "SER-12")
def test_objects_are_the_stored_bytes_joined() -> None:
    """Whatever spelling was signed comes back."""
    first, second = b'{"id":"a","x":1.0,"t":"2026-01-01T00:00:00.1Z"}', '{"id":"b","name":"señal"}'.encode()
    objects = b'"objects":[' + first + b"," + second + b"]}"
    assert joined(first, second, following="tok") == b'{"more":true,"next":"tok",' + objects
    assert joined(first, second) == b'{"more":false,' + objects


@pytest.mark.rule("OBJ-03", "OBJ-06", "MAN-05", "VER-04", "SER-05")
def test_nothing_is_an_empty_object() -> None:
    assert joined() == written(resources.MANIFEST, 0) == written(resources.VERSIONS, 0) == b"{}"
    assert joined(lists=True) == written(resources.MANIFEST, 0, lists=True) == b'{"more":false,"objects":[]}'
    assert written(resources.VERSIONS, 0, lists=True) == b'{"more":false,"versions":[]}'


@pytest.mark.rule("MAN-01", "MAN-02", "MAN-04", "VER-07", "PAG-06", "PAG-07", "SER-08", "INT-3.6")
def test_manifest_and_versions() -> None:
    found = read(written(resources.MANIFEST, 2, "tok"))
    assert found["objects"] == [
        {
            "id": f"indicator--{n}",
            "date_added": f"1970-01-01T00:00:00.00000{n}Z",
            "version": f"2026-01-01T00:00:00.{n}Z",
            "media_type": "application/stix+json;version=2.1",
        }
        for n in (1, 2)
    ]
    assert (found["more"], found["next"]) == (True, "tok")
    assert read(written(resources.VERSIONS, 2)) == {
        "more": False,
        "versions": ["2026-01-01T00:00:00.1Z", "2026-01-01T00:00:00.2Z"],
    }


def test_thousands_of_entries_are_a_short_header() -> None:
    origins = {"us": "hub/audit/us", "both": "hub/audit/both"}
    leaves = [LeafRef("us", index, b"") for index in [*range(100, 5100), 9]] + [LeafRef("both", 7, b"")]
    assert audit_leaf(leaves, origins) == "hub/audit/both/7, hub/audit/us/9, hub/audit/us/100-5099"
