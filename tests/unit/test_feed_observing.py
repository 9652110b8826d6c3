"""Observed data of STIX 2.0: what was observed becomes objects of STIX 2.1, under the ids that everybody computes for them."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import stix2
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.signature import Signer
from exchange.cli.__main__ import puente
from exchange.intake.validate import validate
from exchange.model.observables import sco_id
from exchange.model.stix import SCO_TYPES, UNVERSIONED
from feeds.adapter import Fetched, Part, load_adapter
from feeds.catalogue import packaged
from tests.data import read_shared, shared
from tests.feed_bench import Bench, bench
from tests.feed_objects import everybody_takes, objects_of
from tests.pki import US_PORT, make_pki

RED = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"
TIMES = {"created": "2017-01-01T00:00:00Z", "modified": "2017-01-01T00:00:00Z", "accessed": "2017-01-02T00:00:00Z"}

EVERYTHING: dict[str, Any] = {
    "0": {"type": "ipv4-addr", "value": "198.51.100.3", "resolves_to_refs": ["13"], "belongs_to_refs": ["14"]},
    "1": {"type": "domain-name", "value": "evil.example", "resolves_to_refs": ["0", "2", "x"]},
    "2": {"type": "ipv6-addr", "value": "2001:db8::1"},
    "3": {
        "type": "network-traffic", "start": "2017-01-01T00:00:00.5Z", "end": "2017-01-01T00:00:01Z", "src_ref": "0", "dst_ref": "1",
        "src_port": 24678, "dst_port": 80, "protocols": ["ipv4", "tcp", "http"], "src_payload_ref": "15",
        "extensions": {
            "http-request-ext": {"request_method": "get", "request_value": "/a", "request_header": {"Accept": "*/*", "Via": ["a", "b"]}, "message_body_data_ref": "15"},
            "socket-ext": {"address_family": "AF_INET", "protocol_family": "PF_INET"},
            "x-own-ext": {"a": 1},
        },
    },
    "4": {"type": "directory", "path": "C:\\Windows", **TIMES, "contains_refs": ["5", "6"]},
    "5": {
        "type": "file", "name": "a.zip", "hashes": {"md5": "d41d8cd98f00b204e9800998ecf8427e", "ssdeep": "3:a:b", "x_own": "1"}, "size": 3, **TIMES,
        "parent_directory_ref": "4", "is_encrypted": True, "encryption_algorithm": "AES128-CBC", "decryption_key": "k", "x_own": "z",
        "extensions": {"archive-ext": {"contains_refs": ["6"], "version": "5.0", "comment": "c"}, "ntfs-ext": {"alternate_data_streams": [{"name": "s", "hashes": {"SHA256": "0" * 64}}]}},
    },
    "6": {"type": "file", "name": "b.exe", "extensions": {"archive-ext": {"contains_refs": ["x"]}}, "content_ref": "15"},
    "7": {"type": "user-account", "user_id": "u", "account_type": "unix", "password_last_changed": "2017-01-01T00:00:00Z"},
    "8": {
        "type": "process", "pid": 7, "name": "b", "arguments": ["-v"], "created": "2017-01-01T00:00:00Z", "binary_ref": "6", "creator_user_ref": "7",
        "opened_connection_refs": ["3"], "child_refs": ["9"], "extensions": {"windows-service-ext": {"service_name": "s", "service_dll_refs": ["6"]}},
    },
    "9": {"type": "process", "pid": 8, "parent_ref": "8", "command_line": "b -v"},
    "10": {
        "type": "windows-registry-key", "key": "HKEY_LOCAL_MACHINE\\System\\Foo", "modified": "2017-01-01T00:00:00Z", "creator_user_ref": "7",
        "values": [{"name": "a", "data": "b", "data_type": "REG_SZ"}],
    },
    "11": {"type": "email-addr", "value": "a@evil.example", "display_name": "A", "belongs_to_ref": "7"},
    "12": {
        "type": "email-message", "is_multipart": True, "from_ref": "11", "to_refs": ["11"], "subject": "s", "raw_email_ref": "15",
        "additional_header_fields": {"Reply-To": "b@evil.example", "Received": ["x", "y"]},
        "body_multipart": [{"content_type": "text/plain", "body": "t"}, {"content_type": "application/zip", "body_raw_ref": "5"}, {"content_type": "a/b", "body_raw_ref": "x"}],
    },
    "13": {"type": "mac-addr", "value": "d2:fb:49:24:37:18"},
    "14": {"type": "autonomous-system", "number": 64496, "name": "AS"},
    "15": {"type": "artifact", "mime_type": "text/plain", "payload_bin": "YQ=="},
    "16": {"type": "url", "value": "https://evil.example/a"},
    "17": {"type": "mutex", "name": "__CLEANSWEEP__"},
    "18": {"type": "software", "name": "Word", "vendor": "Microsoft"},
    "19": {"type": "x509-certificate", "issuer": "C=ZA", "serial_number": "36:f7:d4", "x509_v3_extensions": {"basic_constraints": "CA:FALSE"}},
    "20": {"type": "x509-certificate", "issuer": "C=MX"},
    "x": {"type": "x-radio", "frequency": 7},
    "y": {"type": "network-traffic", "protocols": ["x"], "src_ref": "x"},
    "z": {"type": "process", "name": "only"},
}  # fmt: skip
"""Every type of 2.0; custom ones, what says nothing without them, and what refers to them."""


def observed(objects: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "observed-data", "id": "observed-data--1", "created": "2017-01-01T00:00:00Z", "modified": "2017-01-01T00:00:00Z",
        "created_by_ref": "identity--9", "first_observed": "2017-01-01T00:00:00Z", "last_observed": "2017-01-02T00:00:00Z",
        "number_observed": 3, "objects": objects, **more,
    }  # fmt: skip


def bundle(*objects: Any) -> bytes:
    return json.dumps({"type": "bundle", "id": "bundle--1", "spec_version": "2.0", "objects": objects}).encode()


def raised(*objects: Any) -> tuple[list[dict[str, Any]], Counter[str]]:
    adapter = load_adapter(packaged()["kev"].model_copy(update={"name": "feed", "adapter": "stix20"}), US_PORT)
    return objects_of(adapter, Fetched("file", (Part.of("a.json", bundle(*objects)),), {}))


def test_every_type_becomes_what_2_1_has_for_it() -> None:
    made, left = raised(observed(EVERYTHING))
    assert left == {}
    *seen, data = made
    assert len(seen) == 21
    assert {one["type"] for one in seen} == SCO_TYPES
    assert (data["object_refs"], data["number_observed"]) == ([one["id"] for one in seen], 3)
    assert (data["first_observed"], data["last_observed"]) == ("2017-01-01T00:00:00Z", "2017-01-02T00:00:00Z")
    everybody_takes(made)
    assert [one for obj in seen for one in validate(obj)] == []  # not even a warning: each id is as it is computed
    for one in seen:
        if sco_id(one) is None:
            assert (one["type"], one["id"][-22]) in (("process", "4"), ("x509-certificate", "4"))
        else:
            assert stix2.parse({name: value for name, value in one.items() if name != "id"})["id"] == one["id"]
    ip, name, _, traffic, folder, packed, file, account, parent, child, key, sender, mail, *_ = seen
    assert name["resolves_to_refs"] == data["object_refs"][0:3:2]
    assert (traffic["src_ref"], traffic["dst_ref"]) == (ip["id"], name["id"])
    assert set(traffic["extensions"]) == {"http-request-ext", "socket-ext"}
    assert traffic["extensions"]["http-request-ext"]["request_header"] == {"Accept": ["*/*"], "Via": ["a", "b"]}
    assert (folder["contains_refs"], packed["parent_directory_ref"]) == ([packed["id"], file["id"]], folder["id"])
    assert [packed[one] for one in ("ctime", "mtime", "atime")] == list(TIMES.values())
    assert packed["hashes"] == {"MD5": "d41d8cd98f00b204e9800998ecf8427e", "SSDEEP": "3:a:b"}
    assert packed["extensions"]["archive-ext"] == {"contains_refs": [file["id"]], "comment": "c"}
    assert "extensions" not in file
    assert account["credential_last_changed"] == "2017-01-01T00:00:00Z"
    assert (parent["image_ref"], parent["child_refs"], child["parent_ref"]) == (file["id"], [child["id"]], parent["id"])
    assert parent["extensions"]["windows-service-ext"]["service_dll_refs"] == [file["id"]]
    assert key["modified_time"] == "2017-01-01T00:00:00Z"
    assert (mail["from_ref"], len(mail["body_multipart"])) == (sender["id"], 2)


def test_the_same_record_gives_the_same_objects_and_a_changed_one_other_processes() -> None:
    made, _ = raised(observed(EVERYTHING))
    assert raised(observed(EVERYTHING))[0] == made
    again, _ = raised(observed({**EVERYTHING, "9": {"type": "process", "pid": 9}}))
    kept = {one["id"] for one in made} & {one["id"] for one in again}
    assert [one["type"] for one in made if one["id"] not in kept] == ["process", "process", "x509-certificate"]


def test_one_value_under_two_names_is_one_object() -> None:
    made, _ = raised(observed({"a": {"type": "url", "value": "u:a"}, "b": {"type": "url", "value": "u:a"}}))
    assert [one["type"] for one in made] == ["url", "observed-data"]


def test_published_ids_are_computed() -> None:
    for vector in json.loads(read_shared("sco-uuid5/vectors.json")):
        obj = vector["object"]
        if any(name.endswith("_ref") for name in obj) or "extensions" in obj:
            continue  # its references are ids already
        old = {name: value for name, value in obj.items() if name not in ("id", "spec_version") and "_ref" not in name}
        made, _ = raised(observed({"0": old}))
        assert made[0]["id"] == obj["id"]


def test_what_refers_to_observed_data_goes_on_to_where_it_was_raised() -> None:
    dates = {"created": "2017-01-01T00:00:00Z", "modified": "2017-01-01T00:00:00Z"}
    custom = observed({"0": EVERYTHING["x"]}, id="observed-data--2")
    sighting = {
        "type": "sighting", "id": "sighting--1", **dates, "sighting_of_ref": "malware--1", "observed_data_refs": ["observed-data--1", "observed-data--2"],
    }  # fmt: skip
    links = [
        {"type": "relationship", "id": f"relationship--{n}", **dates, "relationship_type": "related-to", "source_ref": "malware--1", "target_ref": f"observed-data--{n}"}
        for n in (1, 2)
    ]  # fmt: skip
    made, left = raised(observed({"0": EVERYTHING["16"]}), custom, sighting, *links)
    by_type = {one["type"]: one for one in made}
    assert left == {"stix-2.0-observed": 1, "record-form": 1}
    assert by_type["sighting"]["observed_data_refs"] == [by_type["observed-data"]["id"]]
    assert by_type["relationship"]["target_ref"] == by_type["observed-data"]["id"]
    everybody_takes(made)


def test_what_was_observed_is_marked_as_its_observation() -> None:
    made, _ = raised(observed({"0": EVERYTHING["16"]}, object_marking_refs=[RED]))
    assert [one["object_marking_refs"] for one in made] == [[RED], [RED]]
    parts = [{"marking_ref": RED, "selectors": ["objects.0.value"]}]
    assert raised(observed({"0": EVERYTHING["16"]}, granular_markings=parts)) == ([], {"record-form": 1})


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "0", "4", "x", "file"])
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b_ref", "c_refs", "type"]), inner)
    ),
)
RING = {
    n: {"type": "file", "name": n, "extensions": {"archive-ext": {"contains_refs": [m]}}} for n, m in pairwise("aba")
}
DEEP = {
    str(n): {"type": "file", "name": "f", "extensions": {"archive-ext": {"contains_refs": [str(n + 1)]}}} for n in range(10_000)
}  # fmt: skip


@pytest.mark.parametrize(
    "objects",
    [
        None, [], "0", 7, {}, {"0": None}, {"0": []}, {"0": {"type": []}}, {"0": {"type": "x-own"}}, RING, DEEP,
        {"0": {"type": "network-traffic", "protocols": ["tcp"], "src_ref": "0"}}, {"0": {"type": "network-traffic", "src_ref": {}}},
        {"0": {"type": "network-traffic", "protocols": ["tcp"], "src_ref": "9"}}, {"0": {"type": "file", "hashes": "md5"}},
        {"0": {"type": "file", "name": "a", "extensions": []}}, {"0": {"type": "file", "name": "a", "extensions": {"archive-ext": 1}}},
        {"0": {"type": "file", "name": "a", "contains_refs": 7}}, {"0": {"type": "file", "name": "a", "contains_refs": [{"a": 1}]}},
        {"0": {"type": "email-message", "is_multipart": True, "body_multipart": {"a": 1}}}, {"0": {"type": "process", "name": "a"}},
    ],
)  # fmt: skip
def test_what_cannot_be_raised_is_told_and_stops_nothing(objects: Any) -> None:
    good = observed({"0": EVERYTHING["16"]}, id="observed-data--2")
    made, left = raised({"type": [], "id": "a"}, observed(objects), good)
    assert [one["type"] for one in made] == ["url", "observed-data"]
    assert left.pop("not-stix-2.0") == 1
    assert left.total() == 1


@given(st.data())
@settings(deadline=None)
def test_whatever_stands_where_something_else_should_is_told(data: st.DataObject) -> None:
    objects = json.loads(json.dumps(EVERYTHING))
    part = data.draw(st.sampled_from([one for one in objects.values() if len(one) > 1]))
    while isinstance(inner := part[name := data.draw(st.sampled_from(sorted(part)))], dict) and data.draw(
        st.booleans()
    ):
        part = inner
    part[name] = data.draw(ANYTHING)
    made, left = raised(observed(objects))
    assert (made == []) == (left == {"record-form": 1})


def test_ten_thousand_observables() -> None:
    made, left = raised(observed({str(n): {"type": "url", "value": f"https://e.example/{n}"} for n in range(10_000)}))
    assert (len(made), left) == (10_001, {})


def test_a_trial_shows_them_as_they_would_be_submitted(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_bytes(bundle(observed({"0": EVERYTHING["16"]})))
    done = CliRunner().invoke(puente, ["feed", "test", "--location", str(file), "--adapter", "stix20", "--json"])
    url, data = json.loads(done.output)["first"]
    assert url == {"type": "url", "spec_version": "2.1", "id": url["id"], "value": "https://evil.example/a"}
    assert (data["object_refs"], done.exit_code) == ([url["id"]], 0)


# --- through the runner ---


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_pki(tmp_path_factory.mktemp("pki")).signer("US", "us-port", US_PORT)


async def test_an_observable_is_posted_once_and_covered_by_an_attestation(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        first, second = observed(EVERYTHING), observed({"a": EVERYTHING["16"]}, id="observed-data--2")
        assert (await publish(b, first, second)).accepted == 23
        assert {one["id"]: one for one in b.hub.objects if one["type"] in SCO_TYPES}.keys() == {
            one for data in b.hub.objects for one in data.get("object_refs", ())
        }
        sent = [obj for body in b.hub.bodies for obj in json.loads(body)["objects"]]
        covered = {one["id"]: one["version"] for obj in sent for one in covers(obj)}
        assert len(covered) == 21
        assert set(covered.values()) == {UNVERSIONED}
        assert (await publish(b, first, second)).accepted == 0
        # Observed anew, more often and with something more: a new version of what is said of it, and what is new.
        more = {**second, "number_observed": 4, "objects": {"a": EVERYTHING["16"], "b": EVERYTHING["2"], "c": {"type": "mutex", "name": "m"}}}  # fmt: skip
        assert (await publish(b, first, more)).accepted == 2
        # And with less: nothing is withdrawn of what was seen.
        done = await publish(b, first, {**second, "number_observed": 5})
        assert (done.accepted, done.revoked) == (1, 0)


def covers(obj: dict[str, Any]) -> list[dict[str, str]]:
    if obj.get("attestation_type") != "imported-from":
        return []
    found: list[dict[str, str]] = obj["covers"]
    return found


async def test_what_contradicts_itself_in_one_run_is_told(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        file = {"type": "file", "hashes": {"MD5": "d41d8cd98f00b204e9800998ecf8427e"}}
        b.publish(bundle(observed({"0": file}), observed({"0": {**file, "size": 0}}, id="observed-data--2")))
        done = await b.run(adapter="stix20", name="old")
        assert (done.fault, done.accepted, dict(done.skipped)) == (None, 3, {"source-contradiction": 1})


async def publish(b: Bench, *objects: Any) -> Any:
    b.publish(bundle(*objects))
    done = await b.run(adapter="stix20", name="old")
    assert (done.fault, dict(done.refused), dict(done.skipped)) == (None, {}, {})
    b.clock.advance(seconds=3600)
    return done


def test_observations_that_misp_wrote() -> None:
    made = []
    for file in shared("misp/misp-stix-golden").glob("*stix20.json"):
        objects = json.loads(file.read_bytes())["objects"]
        made += raised(*(one for one in objects if one["type"] == "observed-data"))[0]
    assert Counter(one["type"] for one in made) == {
        "observed-data": 6, "domain-name": 3, "autonomous-system": 2, "ipv4-addr": 1, "file": 1,
    }  # fmt: skip
    everybody_takes(made)
