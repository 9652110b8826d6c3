"""The KEV adapter and the versions made of it: three real catalogues in order, a withdrawal, a return."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stix2
import stix2validator
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.jcs import canonical
from certs.signature import lint
from exchange.clock import FixedClock
from exchange.intake.pattern import check_pattern
from exchange.intake.validate import validate
from exchange.times import parse_us
from feeds.adapter import Fetched, Part, Record, Skipped, load_adapter
from feeds.catalogue import Source, packaged
from feeds.faults import FeedFault
from feeds.identity import HUB_NAMESPACE, made_id
from feeds.kev import KevAdapter, _notes
from feeds.state import Own
from feeds.versions import ending, own_change
from tests.data import VENDORED, read_shared

OPERATOR = "identity--f431f809-377b-45e0-aa1c-6a4751cae5ff"
SAMPLES = [VENDORED / "kev" / f"kev-{day}.sample.json" for day in ("2025-04-29", "2025-08-25")]
SNAPSHOTS = [f"cisa-kev/kev-{day}.json.xz" for day in ("2025-02-21", "2025-04-29", "2025-08-25")]
NOW_US = FixedClock().now_us()


def source(location: str = "kev.json") -> Source:
    return packaged()["kev"].model_copy(update={"location": location})


def adapter() -> KevAdapter:
    return KevAdapter(OPERATOR, source())


def fetched(data: bytes) -> Fetched:
    return Fetched("file:///kev.json", (Part.of("kev.json", data),), {})


def mapped(data: bytes) -> Iterator[dict[str, Any]]:
    kev = adapter()
    for record in kev.records(fetched(data)):
        assert isinstance(record, Record)
        yield from kev.objects(record)


def test_every_record_becomes_what_the_hub_accepts_and_relays_keep() -> None:
    objects = list(mapped(SAMPLES[1].read_bytes()))
    assert len(objects) == 3 * 54
    assert len({one["id"] for one in objects}) == len(objects)
    for obj in objects:
        assert [one for one in validate(obj) if one.level == "reject"] == []
        lint(obj)
        assert stix2.parse(obj, allow_custom=False)["id"] == obj["id"]
        assert parse_us(obj["created"]) <= parse_us(obj["modified"])
    vulnerability, action, link = objects[:3]
    assert vulnerability["external_references"][0] == {"source_name": "cve", "external_id": vulnerability["name"]}
    assert (link["source_ref"], link["target_ref"]) == (action["id"], vulnerability["id"])
    for obj in objects[:6]:
        assert stix2validator.validate_instance(obj).is_valid
    assert check_pattern  # the module is there; a vulnerability has no pattern


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_whole_catalogues_map(snapshot: str) -> None:
    objects = list(mapped(read_shared(snapshot)))
    assert len(objects) == 3 * {"02": 1276, "04": 1327, "08": 1404}[snapshot[18:20]]
    for obj in objects:
        lint(obj)
        rejected = [one for one in validate(obj) if one.level == "reject"]
        assert not rejected, (obj, rejected)
    for obj in objects[::200]:
        stix2.parse(obj, allow_custom=False)


def test_links_are_found_however_they_are_written() -> None:
    """As the catalogue really has them: by commas, with half a JSON behind one, with a sign that no URL has."""
    notes = (
        'https://a.example/1, https://a.example/2,https://b.example/x,y ; https://nvd.nist.gov/vuln/detail/CVE-2025-5419", ;'
        " https://nuuo.example/letter\uff3fNVR.pdf; N/A; see the vendor, please"
    )
    links, remarks = _notes(notes)
    assert [one["url"] for one in links] == [
        "https://a.example/1", "https://a.example/2", "https://b.example/x,y", "https://nvd.nist.gov/vuln/detail/CVE-2025-5419",
    ]  # fmt: skip
    assert remarks == ["https://nuuo.example/letter\uff3fNVR.pdf", "see the vendor, please"]


def test_mapping_is_pure_and_ids_belong_to_operator_feed_and_key() -> None:
    data = SAMPLES[0].read_bytes()
    assert list(mapped(data)) == list(mapped(data))
    one = made_id("vulnerability", operator=OPERATOR, feed="kev", key="CVE-2025-0001")
    assert one == made_id("vulnerability", operator=OPERATOR, feed="kev", key="CVE-2025-0001", epoch=0)
    others = {
        made_id("vulnerability", operator=OPERATOR, feed="kev", key="CVE-2025-0002"),
        made_id("vulnerability", operator=OPERATOR, feed="kev-mirror", key="CVE-2025-0001"),
        made_id("vulnerability", operator=OPERATOR.replace("f431", "f432"), feed="kev", key="CVE-2025-0001"),
        made_id("vulnerability", operator=OPERATOR, feed="kev", key="CVE-2025-0001", epoch=1),
    }
    assert len(others | {one}) == 5
    for key, epoch in (('señal "x" \n \U0001f600', 3), ("a", 0)):
        name = canonical({"feed": "kev", "t": "malware", "k": key, "n": epoch}).decode()
        expected = uuid.uuid5(uuid.uuid5(HUB_NAMESPACE, OPERATOR), name)
        assert made_id("malware", operator=OPERATOR, feed="kev", key=key, epoch=epoch) == f"malware--{expected}"
    assert str(HUB_NAMESPACE) != "00abedb4-aa42-466c-9c01-fed23315a9b7"


# --- versions ---


RECORD = Record("k", None)


class Memory:
    """What the hub took, as feeds/state.py keeps it."""

    def __init__(self) -> None:
        self.held: dict[str, Own] = {}

    def own(self, object_id: str) -> Own | None:
        return self.held.get(object_id)

    def passed(self, object_id: str, version: str) -> str | None:
        return None

    def refused(self, object_id: str, content: str) -> bool:
        return False

    def take(self, data: bytes) -> list[dict[str, Any]]:
        changes = [own_change(obj, self, RECORD, NOW_US) for obj in mapped(data)]
        made = [one for one in changes if one is not None]
        for one in made:
            self.held[one.id] = Own(one.id, one.version, one.content, "", one.body, one.revoked)
        return [json.loads(one.body) for one in made]


def test_three_catalogues_in_order() -> None:
    memory = Memory()
    first, second, third = (memory.take(read_shared(one)) for one in SNAPSHOTS)
    assert len(first) == 3 * 1276
    assert all(one["modified"] == one["created"] for one in first)
    news = [one for one in second if one["modified"] == one["created"]]
    edits = [one for one in second if one["modified"] != one["created"]]
    assert len(news) == 3 * 51
    # One version for each object whose content changed: most edits touch the vulnerability alone.
    assert 27 <= len(edits) <= 2 * 27
    assert {one["modified"] for one in edits} == {"2025-04-29T16:56:06.365Z"}
    assert len([one for one in third if one["modified"] == one["created"]]) == 3 * 77
    assert {one["modified"] for one in third if one["modified"] != one["created"]} == {"2025-08-25T17:04:19.979Z"}
    assert memory.take(read_shared(SNAPSHOTS[2])) == []


def test_a_new_version_is_later_than_the_last_and_never_in_the_future() -> None:
    memory = Memory()
    catalogue = json.loads(SAMPLES[0].read_bytes())
    memory.take(json.dumps(catalogue).encode())
    entry = catalogue["vulnerabilities"][0]
    for text, released, expected in (
        ("one", "2099-01-01T00:00:00.0000Z", "2026-11-24T12:00:00.000Z"),
        ("two", "2001-01-01T00:00:00.0000Z", "2026-11-24T12:00:00.001Z"),
        ("three", "2001-01-01T00:00:00.0000Z", "2026-11-24T12:00:00.002Z"),
    ):
        entry["shortDescription"], catalogue["dateReleased"] = text, released
        [changed] = memory.take(json.dumps(catalogue).encode())
        assert changed["modified"] == expected
        assert changed["created"] == f"{entry['dateAdded']}T00:00:00.000Z"


def test_a_revocation_is_the_last_version() -> None:
    memory = Memory()
    memory.take(SAMPLES[0].read_bytes())
    held = next(iter(memory.held.values()))
    change = ending(held, "revoke", RECORD, NOW_US)
    assert change is not None
    ended = json.loads(change.body)
    assert change.revoked
    assert ended["revoked"] is True
    assert parse_us(ended["modified"]) > parse_us(held.modified)
    assert [one for one in validate(ended) if one.level == "reject"] == []
    lint(ended)


# --- bad catalogues ---


def catalogue(**more: Any) -> dict[str, Any]:
    return {**json.loads(SAMPLES[0].read_bytes()), **more}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"<html>403</html>", b"[]", b"{}", b'{"count": 0}', b"null", b'{"count":1,"count":2}',
        json.dumps(catalogue(dateReleased="yesterday")).encode(), json.dumps(catalogue(dateReleased=5)).encode(),
        json.dumps(catalogue(vulnerabilities=5)).encode(), json.dumps(catalogue(count=41)).encode(),
        json.dumps(catalogue(vulnerabilities=[])).encode(),
    ],
)  # fmt: skip
def test_what_is_no_whole_catalogue_is_a_fault(data: bytes) -> None:
    with pytest.raises(FeedFault) as refused:
        list(adapter().records(fetched(data)))
    assert refused.value.code in ("feed-form", "feed-incomplete")


def test_a_record_without_a_cve_is_told() -> None:
    data = json.dumps({"dateReleased": "2025-01-01T00:00:00Z", "count": 3, "vulnerabilities": [{}, 5, {"cveID": 7}]})
    found = list(adapter().records(fetched(data.encode())))
    assert [isinstance(one, Skipped) for one in found] == [True] * 3


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["cveID", "dateAdded", "notes", "cwes", "vendorProject", "dueDate", "shortDescription"]),
        st.none() | st.text(max_size=20) | st.integers() | st.lists(st.text(max_size=5), max_size=3),
    )
)
def test_a_broken_record_is_a_value_key_or_type_error(broken: dict[str, Any]) -> None:
    record = Record("CVE-2025-1", {**catalogue()["vulnerabilities"][0], **broken}, "2025-01-01T00:00:00.000Z")
    try:
        for obj in adapter().objects(record):
            validate(obj)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass


async def test_an_older_catalogue_is_no_news(tmp_path: Path) -> None:
    file = tmp_path / "kev.json"
    file.write_bytes(SAMPLES[1].read_bytes())
    kev, here = adapter(), source(str(file))
    found = await kev.fetch(here, {})
    assert found is not None
    assert await kev.fetch(here, found.cursor) is None
    file.write_bytes(SAMPLES[0].read_bytes())
    assert await kev.fetch(here, found.cursor) is None
    assert await kev.fetch(here, {}) is not None
    with pytest.raises(FeedFault):
        await kev.fetch(source(str(tmp_path / "none.json")), {})


def test_adapters_are_found_by_their_entry_points() -> None:
    for found in packaged().values():
        assert load_adapter(found, OPERATOR).converts == (found.adapter != "stix")
    with pytest.raises(Exception, match="no feed adapter"):
        load_adapter(source().model_copy(update={"adapter": "nobody"}), OPERATOR)
