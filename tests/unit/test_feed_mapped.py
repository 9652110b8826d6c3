"""Sources that are declared, not coded: every one of the catalogue over real data where it is at hand, and hostile forms."""

import contextlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import Malformed
from exchange.times import as_millis_text
from feeds.adapter import Fetched, Part, Record
from feeds.catalogue import Source, packaged, read
from feeds.faults import FeedFault
from feeds.mapped import MappedAdapter
from feeds.mapping import Mapping, declared_count, edition_us
from feeds.reading import Row, rows
from tests import feed_objects
from tests.data import read_shared
from tests.feed_objects import everybody_takes
from tests.pki import US_PORT

# Source, file, rows that become indicators, rows that are told and left out.
REAL = [
    ("urlhaus", "abuse-ch/urlhaus/csv_recent-2022-09-13.csv", 138, 12),  # that copy has dates with XX for digits
    ("urlhaus", "abuse-ch/urlhaus/csv_recent-2025-04-21.csv.xz", 11_125, 0),
    ("threatfox", "abuse-ch/threatfox/json_recent-2026-07-24.json.xz", 4_488, 0),
    ("feodo", "abuse-ch/feodo/ipblocklist-2021-10-02.csv", 375, 0),
    ("feodo", "abuse-ch/feodo/ipblocklist-2024-04-04.csv", 28, 0),
    ("sslbl", "abuse-ch/sslbl/sslblacklist-sample1.csv", 285, 0),
    ("malwarebazaar", "abuse-ch/malwarebazaar/full_dump-2026-02-26.csv", 39, 0),
    ("spamhaus-drop", "blocklists/spamhaus/drop_v4-2025-04-15.json", 1_406, 0),
    ("firehol-dshield", "blocklists/firehol/dshield.netset", 20, 0),
    ("ipsum", "blocklists/ipsum/ipsum-2026-08-22.txt.xz", 14_217, 0),
    ("openphish", "blocklists/openphish/feed-2026-08-17T0000Z.txt", 300, 0),
]


def fetched(data: bytes, name: str = "feed") -> Fetched:
    return Fetched("https://feed.example/", (Part.of(name, data),), {})


def source(**mapping: Any) -> Source:
    """A source of the table's default form, less what is given."""
    return packaged()["openphish"].model_copy(update={"name": "feed", "mapping": Mapping(**mapping)})


def objects_of(found: Source, data: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """What comes of a document, and why rows were left out."""
    made, left = feed_objects.objects_of(MappedAdapter(US_PORT, found), fetched(data))
    return made, list(left.elements())


@pytest.mark.parametrize(("name", "path", "mapped", "left"), REAL)
def test_real_documents_become_objects_that_everybody_takes(name: str, path: str, mapped: int, left: int) -> None:
    made, wrong = objects_of(packaged()[name], read_shared(path))
    kinds = Counter(one["type"] for one in made)
    assert (kinds["indicator"], len(wrong)) == (mapped, left)
    assert kinds["marking-definition"] == 1
    assert len({one["id"] for one in made}) == len(made)
    everybody_takes(made)
    known = {one["id"] for one in made}
    assert all(one["target_ref"] in known and one["source_ref"] in known for one in made if "target_ref" in one)


def test_a_row_of_threatfox_says_what_it_should() -> None:
    row = {
        "ioc_value": "192.0.2.7:8443", "ioc_type": "ip:port", "threat_type": "botnet_cc", "malware": "win.vidar",
        "malware_printable": "Vidar", "first_seen_utc": "2026-07-24 13:50:06", "last_seen_utc": None,
        "confidence_level": 75, "is_compromised": True, "reference": "https://vendor.example/vidar", "tags": "vidar,None ,c2",
        "reporter": "crep1x",
    }  # fmt: skip
    made, wrong = objects_of(packaged()["threatfox"], json.dumps({"1856791": [row]}).encode())
    assert wrong == []
    licence, family, indicator, link = made
    assert licence["definition"]["statement"].startswith("abuse.ch ThreatFox: ")
    assert (family["name"], family["is_family"]) == ("Vidar", True)
    assert indicator["external_references"][0] == {
        "source_name": "threatfox", "external_id": "1856791", "url": "https://vendor.example/vidar",
    }  # fmt: skip
    assert (indicator["created"], indicator["valid_from"]) == ("2026-07-24T13:50:06.000Z", "2026-07-24T13:50:06Z")
    assert indicator["valid_until"] == "2026-08-23T13:50:06Z"
    assert (indicator["confidence"], indicator["indicator_types"]) == (75, ["compromised"])
    assert indicator["labels"] == ["threatfox:vidar", "threatfox:None", "threatfox:c2"]
    assert indicator["object_marking_refs"] == [packaged()["threatfox"].marking, licence["id"]]
    assert (link["source_ref"], link["target_ref"]) == (indicator["id"], family["id"])
    assert indicator["created_by_ref"] == US_PORT


# --- forms ---


@pytest.mark.parametrize(
    ("mapping", "data", "expected"),
    [
        ({"format": "lines", "kind": "ip"}, b"\xef\xbb\xbf# c\r\n192.0.2.1\r\n\r\n 192.0.2.2 # why\n", ["192.0.2.1", "192.0.2.2"]),
        ({"format": "lines", "kind": "network", "comment": ";"}, b"; c\n192.0.2.0/24 ; SBL1\n", ["192.0.2.0/24"]),
        ({"format": "lines", "comment": "", "kind": "url"}, b"https://e.example/#a\n", ["https://e.example/#a"]),
        ({"format": "lines", "kind": "domain", "refang": True}, b"e[.]example\n", ["e.example"]),
        ({"format": "csv", "value": "b"}, b'a,b\n1, "e.example"\n"2\nx",f.example\n', ["e.example", "f.example"]),
        ({"format": "csv", "columns": ["a", "b"], "value": "b", "delimiter": ";"}, b"a;b\n1;e.example\n", ["e.example"]),
        ({"format": "json", "value": "a.b"}, b' [ {"a":{"b":"e.example"}} , {"a":{"b":"f.example"}} ] ', ["e.example", "f.example"]),
        ({"format": "json", "items": "data"}, b'{"n":[1,{"data":2}],"data":[{"value":"e.example"}],"z":', ["e.example"]),
        ({"format": "json", "items": "*"}, b'{"1":{"value":"e.example"},"2":[{"value":"f.example"}]}', ["e.example", "f.example"]),
        ({"format": "json"}, b"[]", []),
        ({"format": "ndjson"}, b'{"value":"e.example"}\n\n{"value":"f.example"}', ["e.example", "f.example"]),
    ],
)  # fmt: skip
def test_forms_of_documents(mapping: dict[str, Any], data: bytes, expected: list[str]) -> None:
    made, wrong = objects_of(source(**mapping), data)
    assert [one["name"] for one in made if one["type"] == "indicator"] == expected
    assert wrong == []


@pytest.mark.parametrize(
    ("mapping", "data", "codes"),
    [
        ({"format": "csv", "columns": ["a", "value"]}, b"1,e.example\n1,2,3\n1\n", ["row-cells", "row-cells"]),
        ({"format": "csv", "columns": ["a", "value"]}, b'1,e.example\n1,"e"x\n2,f.example\n', ["row-csv"]),
        ({"format": "csv", "columns": ["a", "value"]}, b"1,e.example\n1,\xff\xfe.example\n", ["record-form"]),
        ({"format": "ndjson"}, b'{"value":"e.example"}\n{"value":"e.exa\n{"a":1,"a":2}\n5\n', ["json-syntax", "json-duplicate-key", "row-object"]),
        ({"format": "json"}, b'[{"value":"e.example"},{"a":1,"a":2},{"value":NaN},7]', ["json-duplicate-key", "json-number", "row-object"]),
        ({"format": "json"}, b'[{"value":"e.example"},{"value":5},{"value":null},{},{"value":"\\ud800"}]', ["row-key", "row-key", "record-form", "record-form"]),
    ],
)  # fmt: skip
def test_one_bad_row_is_told_and_the_others_go_on(mapping: dict[str, Any], data: bytes, codes: list[str]) -> None:
    made, wrong = objects_of(source(**mapping), data)
    assert sorted(wrong) == sorted(codes)
    assert "e.example" in {one["name"] for one in made}


@pytest.mark.parametrize(
    ("mapping", "data"),
    [
        ({"format": "json"}, b'[{"value":"e.example"},{"val'), ({"format": "json"}, b'[{"value":"e.example"}'),
        ({"format": "json"}, b'[{"value":"e.example"}] x'), ({"format": "json"}, b"{}"), ({"format": "json"}, b""),
        ({"format": "json", "items": "data"}, b'{"a":1}'), ({"format": "json"}, b"[" * 200_000), ({"format": "json"}, b"[\xff]"),
        ({"format": "json"}, b'["' + b"x" * 3_000_000), ({"format": "lines"}, b"x" * 2_000_000),
        ({"format": "json", "items": "*"}, b'{"a" 5}'),
    ],
)  # fmt: skip
def test_what_is_no_whole_document_is_a_fault(mapping: dict[str, Any], data: bytes) -> None:
    with pytest.raises(FeedFault) as refused:
        objects_of(source(**mapping), data)
    assert refused.value.code == "feed-form"
    assert refused.value.text.es


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_json_is_read_alike_however_it_arrives(size: int) -> None:
    class Dripping(io.BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            return super().read(size)

    value = [{"value": "é" * n, "n": n, "deep": {"a": [1.5, -12, True]}} for n in range(30)]
    data = json.dumps(value, ensure_ascii=False, indent=1).encode()
    found = list(rows(Dripping(data), Mapping(format="json"), "x"))
    assert [one.cells for one in found if isinstance(one, Row)] == value


JSONISH = st.lists(st.sampled_from([b'{"value":', b'"e.example"', b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\n", b"1e9", b"-", b"\xff", b"null", b" "])).map(b"".join)  # fmt: skip


@given(
    st.binary(max_size=80) | JSONISH,
    st.sampled_from(["lines", "csv", "json", "ndjson"]),
    st.sampled_from(["", "*", "data"]),
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_give_objects_or_a_fault(data: bytes, form: str, items: str) -> None:
    with contextlib.suppress(FeedFault):
        made, _ = objects_of(source(format=form, items=items, refang=True), data)
        everybody_takes(made[1:3])


def test_what_a_source_says_of_itself() -> None:
    for text, words in (
        ("# Last updated: 2021-10-02 09:25:46 UTC  #", "Last updated:"), ('{"timestamp":1633166746,"size":1}', '"timestamp":'),
        ("# Last update: Sat, 02 Oct 2021 11:25:46 +0200\n#", "Last update:"),
    ):  # fmt: skip
        assert as_millis_text(edition_us(text, words)) == "2021-10-02T09:25:46.000Z"
    assert edition_us("# Last updated: soon", "Last updated:") == edition_us("", "x") == 0
    assert declared_count("# Number of entries: 7202", "Number of entries:") == 7202
    assert declared_count("# END", "Number of entries:") is None


async def test_yesterdays_edition_and_a_short_one_are_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    found = source(format="lines", kind="ip", edition="Updated:", count="Entries:", full_state=True).model_copy(
        update={"location": str(file)}
    )
    adapter = MappedAdapter(US_PORT, found)
    file.write_bytes(b"# Updated: 2026-01-02 00:00:00\n192.0.2.1\n# Entries: 1\n")
    first = await adapter.fetch(found, {})
    assert first is not None
    assert len(list(adapter.records(first))) == 2
    file.write_bytes(b"# Updated: 2026-01-01 00:00:00\n192.0.2.1\n# Entries: 1\n")
    with pytest.raises(FeedFault, match="older") as refused:
        await adapter.fetch(found, first.cursor)
    assert refused.value.code == "feed-stale"
    file.write_bytes(b"# Updated: 2026-01-03 00:00:00\n192.0.2.1\n# Entries: 3\n")
    short = await adapter.fetch(found, first.cursor)
    assert short is not None
    with pytest.raises(FeedFault, match="3"):
        list(adapter.records(short))


def test_times_are_read_in_their_zone() -> None:
    """JPCERT gives Japanese time without saying so; ViriBack days first; others seconds since the epoch."""
    for text, more, expected in (
        ("2025/09/01 11:10:00", {"time_format": "%Y/%m/%d %H:%M:%S", "time_zone": "Asia/Tokyo"}, "2025-09-01T02:10:00Z"),
        ("03-01-2026", {"time_format": "%d-%m-%Y", "time_zone": "America/Tijuana"}, "2026-01-03T08:00:00Z"),
        ("1633166746", {"time_format": "epoch"}, "2021-10-02T09:25:46Z"),
        ("2026-02-02 17:33:09 UTC", {}, "2026-02-02T17:33:09Z"),
        ("2026-02-02T17:33:09.123456+01:00", {}, "2026-02-02T16:33:09.123Z"),
    ):  # fmt: skip
        data = json.dumps([{"value": "e.example", "t": text}]).encode()
        made, wrong = objects_of(source(format="json", first_seen="t", valid_days=1, **more), data)
        assert wrong == []
        assert made[1]["valid_from"] == expected
        assert made[1]["valid_until"] > expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("kind = 'ipp'", "mapping.kind"), ("format = 'xml'", "mapping.format"), ("kind_column = 'a'", "kinds"),
        ("time_zone = 'Mars/Base'", "time_zone"), ("time_zone = '../etc/passwd'", "time_zone"), ("time_format = 'iso9'", "time_format"),
        ("kill_chain = ['x']", "kill_chain"), ("hashes = { MD7 = 'a' }", "hashes"), ("confidence = 101", "mapping.confidence"),
        ("colour = 'red'", "mapping.colour"), ("delimiter = ''", "mapping.delimiter"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_names_its_source_and_key(change: str, named: str) -> None:
    text = f"""
[[source]]
name = "mine"
adapter = "mapped"
location = "mine.txt"
publisher = "me"
licence = "none"
tlp = "green"
collection = "indicators"
cadence_seconds = 3600
good_for_en = "a"
good_for_es = "b"
[source.mapping]
{"" if change.startswith("format") else "format = 'lines'"}
{change}
"""
    with pytest.raises(Malformed, match="mine") as refused:
        read(text)
    assert named in refused.value.text.en


def test_an_adapter_without_its_mapping_is_refused() -> None:
    text = """
[[source]]
name = "mine"
adapter = "mapped"
location = "mine.txt"
publisher = "me"
licence = "none"
tlp = "green"
collection = "indicators"
cadence_seconds = 3600
good_for_en = "a"
good_for_es = "b"
"""
    with pytest.raises(Malformed, match="mapping"):
        read(text)
    with pytest.raises(Malformed, match="password_file"):
        read(text.replace('"mapped"', '"stix"') + 'secret_in = "header:X"\n')


def test_records_are_told_apart_and_records_alike_are_one() -> None:
    adapter = MappedAdapter(US_PORT, source(format="lines", kind="domain"))
    found = [one for one in adapter.records(fetched(b"E.example\ne.example.\nf.example\n")) if isinstance(one, Record)]
    assert [one.key for one in found[1:]] == ["e.example", "e.example", "f.example"]
    assert len({one.raw for one in found[1:]}) == 3
