"""Known-good values: which are refused, which are held, which pass, under whatever spelling they come."""

import json
import time
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.intake.pattern import check_pattern
from exchange.intake.warninglists import Hit, Kind, KnownGood, Warninglists, documents_at
from tests.data import read_shared

ASSETS = {"mx-puerto": ["198.51.100.0/24", "puerto.example"], "us-customs": ["2001:db8:7::/48"]}
RFC_1918 = "List of RFC 1918 CIDR blocks"
RESOLVERS = "Public DNS resolvers, IPv4"
GOVERNMENT = "Government domains of both countries"
TOO_WIDE = "networks too wide to block"


@pytest.fixture(scope="module")
def packaged() -> Warninglists:
    return Warninglists.packaged(ASSETS)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Warninglists:
    """The packaged lists with the 124 of the real data."""
    path = tmp_path_factory.mktemp("lists") / "all.json"
    path.write_bytes(read_shared("misp-warninglists/warninglists.json.xz"))
    return Warninglists.of(documents_at(path), ASSETS)


def answer(lists: Warninglists, kind: Kind, value: str) -> tuple[str, str] | None:
    hit = lists.hits_value(kind, value)
    return None if hit is None else (hit.action, hit.list_name)


@pytest.mark.parametrize(
    ("kind", "value", "list_name"),
    [
        ("ip", "10.0.0.1", RFC_1918),
        ("ip", " 10.0.0.1 ", RFC_1918),
        ("ip", "10.1.2.0/24", RFC_1918),
        ("ip", "10.0.0.0/255.0.0.0", RFC_1918),
        ("ip", "::ffff:10.0.0.1", RFC_1918),
        ("ip", "::FFFF:0a00:0001", RFC_1918),
        ("ip", "64:ff9b::10.0.0.1", RFC_1918),
        ("ip", "0.0.0.0/0", "Special-use address blocks"),
        ("ip", "127.0.0.1", "Special-use address blocks"),
        ("ip", "::1", "Special-use address blocks"),
        ("ip", "fd00::1", "Special-use address blocks"),
        ("ip", "fe80::1%eth0", "List of IPv6 link local blocks"),
        ("ip", "100.64.1.1", "List of RFC 6598 CIDR blocks"),
        ("ip", "224.0.0.251", "List of RFC 5771 multicast CIDR blocks"),
        ("host", "10.0.0.1", RFC_1918),
        ("host", "LocalHost.", "Special-use domain names"),
        ("url", "http://10.0.0.1/x", RFC_1918),
        ("url", "http://user:p@ss@10.0.0.1:8080/x", RFC_1918),
        ("url", "HTTP:\\\\10.0.0.1\\x", RFC_1918),
        ("url", "https://[::1]/", "Special-use address blocks"),
        ("any", "10.0.0.1", RFC_1918),
        ("any", "http://10.0.0.1/x", RFC_1918),
        ("hash", "d41d8cd98f00b204e9800998ecf8427e", "hashes of empty files"),
        ("hash", "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", "hashes of empty files"),
        ("hash", "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a", "hashes of empty files"),
        ("hash", "3::", "List of known hashes for empty files"),
    ],
)
def test_private_reserved_and_empty_are_refused(packaged: Warninglists, kind: Kind, value: str, list_name: str) -> None:
    assert answer(packaged, kind, value) == ("refuse", list_name)


@pytest.mark.parametrize(
    ("kind", "value", "list_name"),
    [
        ("ip", "8.8.8.8", RESOLVERS),
        ("ip", "8.8.8.8/32", RESOLVERS),
        ("ip", "8.8.8.0/24", RESOLVERS),
        ("ip", "2606:4700:4700::1111", "List of known IPv6 public DNS resolvers"),
        ("ip", "9.0.0.0/15", TOO_WIDE),
        ("ip", "2400::/31", TOO_WIDE),
        ("ip", "010.0.0.1", "addresses that cannot be read"),
        ("ip", "8.8.8.8:53", "addresses that cannot be read"),
        ("host", "gob.mx", GOVERNMENT),
        ("host", "WWW.Algo.GOB.MX.", GOVERNMENT),
        ("host", "*.cbp.gov", GOVERNMENT),
        ("host", "army.mil", GOVERNMENT),
        ("host", "com", "TLDs as known by IANA"),
        ("host", "ｇｏｏｇｌｅ。com", "List of known google domains"),
        ("host", "8.8.4.4", RESOLVERS),
        ("host", "www.banxico.org.mx", "Critical sites"),
        ("host", "www.bbva.mx", "Banks of Mexico"),
        ("host", "www.53.com", "List of known bank domains"),
        ("url", "https://google.com", "List of known google domains"),
        ("url", "https://GOOGLE.com:443/?#x", "List of known google domains"),
        ("url", "http://8.8.8.8/", RESOLVERS),
        ("any", "google.com", "List of known google domains"),
        ("hash", "44d88612fea8a8f36de82e1278abb02f", "List of hashes for EICAR test virus"),
    ],
)
def test_known_good_values_are_held(packaged: Warninglists, kind: Kind, value: str, list_name: str) -> None:
    assert answer(packaged, kind, value) == ("hold", list_name)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("ip", "203.0.113.7"),
        ("ip", "192.0.2.0/24"),
        ("ip", "2001:db8::1"),
        ("ip", "9.9.0.0/24"),
        ("ip", "11.0.0.1"),
        ("host", "evil.example"),
        ("host", "example.com"),
        ("host", "evil-google.com"),
        ("host", "google.com.evil.example"),
        ("host", "notgob.mx"),
        ("host", ""),
        ("host", "…"),
        ("url", "https://docs.google.com/forms/d/evil"),
        ("url", "https://google.com/?q=evil"),
        ("url", "https://google.com@evil.example/"),
        ("url", "https://evil.example/https://google.com/"),
        ("url", "http://8.8.8.8/x.exe"),
        ("url", "not a url"),
        ("email", "phisher@gmail.com"),
        ("email", "gmail.com"),
        ("hash", "a" * 64),
        ("any", ""),
    ],
)
def test_others_pass(packaged: Warninglists, kind: Kind, value: str) -> None:
    assert answer(packaged, kind, value) is None


@pytest.mark.parametrize(
    ("kind", "value", "member"),
    [
        ("ip", "198.51.100.9", "mx-puerto"),
        ("ip", "198.51.0.0/16", "mx-puerto"),
        ("ip", "2001:db8:7:1::5", "us-customs"),
        ("host", "vpn.PUERTO.example", "mx-puerto"),
        ("url", "https://puerto.example/citas/login", "mx-puerto"),
        ("email", "aviso@puerto.example", "mx-puerto"),
    ],
)
def test_assets_of_members_are_held_and_the_member_is_named_apart(
    packaged: Warninglists, kind: Kind, value: str, member: str
) -> None:
    hit = packaged.hits_value(kind, value)
    assert hit == Hit(value, "assets of members", "", "hold", member)
    assert member not in hit.list_name


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "", ".", "a b", "300.1.1.1", "http://puerto.example/"])
def test_an_asset_that_is_neither_network_nor_domain_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match="neither a network nor a domain"):
        Warninglists.packaged({"mx-puerto": [entry]})


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("[ipv4-addr:value = '8.8.8.8']", [("hold", "8.8.8.8")]),
        ("[ipv4-addr : 'value' LIKE '8.8.8.8']", [("hold", "8.8.8.8")]),
        ("[ipv4-addr:value ISSUBSET '8.8.0.0/16']", [("hold", "8.8.0.0/16")]),
        ("[ipv4-addr:value IN ('8.8.8.8', '203.0.113.1', '10.0.0.1')]", [("refuse", "10.0.0.1"), ("hold", "8.8.8.8")]),
        ("[network-traffic:dst_ref.value = 'www.sat.gob.mx']", [("hold", "www.sat.gob.mx")]),
        ("[domain-name:resolves_to_refs[*].value = '10.0.0.1']", [("refuse", "10.0.0.1")]),
        ("[email-message:from_ref.value = 'a@puerto.example']", [("hold", "a@puerto.example")]),
        ("[file:hashes.MD5 = 'D41D8CD98F00B204E9800998ECF8427E']", [("refuse", "D41D8CD98F00B204E9800998ECF8427E")]),
        ("[url:value = 'https://www.google.com/url?q=x']", []),
        ("[ipv4-addr:value != '8.8.8.8']", []),
        ("[domain-name:value = 'evil.example' AND domain-name:x_note = '8.8.8.8']", []),
    ],
)
def test_patterns_are_judged_by_the_values_they_name(
    packaged: Warninglists, pattern: str, found: list[tuple[str, str]]
) -> None:
    assert check_pattern(pattern) == ()
    assert [(hit.action, hit.value) for hit in packaged.hits(pattern)] == found


def test_a_hit_names_the_list_and_its_version(packaged: Warninglists) -> None:
    assert packaged.hits("[ipv4-addr:value = '10.0.0.1']") == (Hit("10.0.0.1", RFC_1918, "5", "refuse"),)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("ip", "52.95.110.1", ("hold", "List of known Amazon AWS IP address ranges")),
        ("ip", "13.107.6.152", ("hold", "List of known Office 365 IP address ranges")),
        ("ip", "203.0.113.7", ("refuse", "List of RFC 5735 CIDR blocks")),
        ("ip", "8.8.8.8", ("hold", RESOLVERS)),
        ("ip", "52.168.52.134", ("hold", "List of known Office 365 Attack Simulator used for phishing awareness campaigns")),
        ("host", "x.virustotal.com", ("hold", "List of known domains used by automated malware analysis services & security vendors")),
        ("host", "sat.gob.mx", ("hold", "Top 1000 website from Alexa")),
    ],
)  # fmt: skip
def test_the_full_lists(full: Warninglists, kind: Kind, value: str, expected: tuple[str, str]) -> None:
    assert answer(full, kind, value) == expected


def test_what_is_not_used_is_said(full: Warninglists, packaged: Warninglists) -> None:
    assert dict(packaged.skipped) == {}
    assert dict(full.skipped) == {
        "common-contact-emails": "regular expressions",
        "phone_numbers": "regular expressions",
        "microsoft-azure-appid": "for no kind of value that is judged",
        "covid": "1 entries that cannot be read",
    }


def document(**changes: object) -> dict[str, object]:
    return {
        "name": "Ours",
        "version": 7,
        "type": "hostname",
        "matching_attributes": ["domain", "ip-dst"],
        "list": ["ours.example"],
    } | changes


def test_a_checkout_of_misp_is_read_and_replaces_the_packaged_list_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "list.json").write_text(json.dumps(document()))
    (tmp_path / "tlds.json").write_text(json.dumps(document(name="Few TLDs", type="string", list=["zz"])))
    lists = Warninglists.of(documents_at(tmp_path))
    assert lists.hits_value("host", "a.ours.example") == Hit("a.ours.example", "Ours", "7", "hold")
    assert answer(lists, "host", "zz") == ("hold", "Few TLDs")
    assert answer(lists, "host", "com") is None
    assert answer(lists, "ip", "10.0.0.1") == ("refuse", RFC_1918)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"list": []}',
        '{"x": 5}',
        json.dumps(document(type="fuzzy")),
        json.dumps(document(list="ours.example")),
        '{"list": [], "list": []}',
    ],
)
def test_what_is_no_list_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError):
        Warninglists.of(documents_at(path))


def test_string_lists_are_exact_and_hostname_lists_are_not() -> None:
    lists = Warninglists(
        KnownGood(
            {
                "exact": document(type="string", list=["one.example", ".two.example"]),
                "below": document(list=["three.example", "192.0.2.4"]),
            }
        )
    )
    assert [
        host
        for host in ("one.example", "a.one.example", "two.example", "a.two.example", "a.three.example", "192.0.2.4")
        if lists.hits_value("host", host)
    ] == ["one.example", "two.example", "a.two.example", "a.three.example", "192.0.2.4"]


def test_a_host_of_thousands_of_labels_costs_no_more() -> None:
    lists = Warninglists.packaged()
    took = []
    for _ in range(3):
        begun = time.process_time()
        assert lists.hits_value("host", "a." * 4000 + "gob.mx") is not None
        lists.hits_value("host", "ñ." * 2000)
        lists.hits_value("host", "ñ" * 4000)
        lists.hits_value("url", "http://" + "a@" * 4000)
        lists.hits_value("url", "http:" + "/" * 8000)
        took.append(time.process_time() - begun)
    assert min(took) < 0.5


@pytest.mark.parametrize(
    ("kind", "value"),
    [("ip", "203.0.113.7"), ("ip", "2001:db8::1"), ("host", "www.a.evil.example"), ("url", "https://a.example/x")],
)
def test_a_value_costs_microseconds(packaged: Warninglists, kind: Kind, value: str) -> None:
    """2 to 7 µs each on the machine it was written on; the bound allows for a busy one."""
    best = float("inf")
    for _ in range(20):
        begun = time.process_time()
        for _ in range(200):
            packaged.hits_value(kind, value)
        best = min(best, (time.process_time() - begun) / 200)
    assert best < 60e-6


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["ip", "host", "url", "email", "hash", "any"]), st.text(max_size=40))
def test_no_value_raises(kind: Kind, value: str) -> None:
    Warninglists.packaged(ASSETS).hits_value(kind, value)


@settings(max_examples=300, deadline=None)
@given(st.ip_addresses(v=4, network="198.51.96.0/20"), st.integers(16, 32))
def test_a_network_is_held_exactly_when_it_overlaps_an_asset(address: object, length: int) -> None:
    network = ip_network(f"{address}/{length}", strict=False)
    hit = Warninglists.packaged(ASSETS).hits_value("ip", str(network))
    assert (hit is not None) is network.overlaps(ip_network("198.51.100.0/24"))
