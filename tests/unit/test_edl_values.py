"""Which values a pattern gives to a block list, each in its one form, and which texts a cell or a line may hold."""

import pytest

from exchange.edl.text import cell
from exchange.edl.values import Value, values_of
from exchange.intake.pattern import alternatives, check_pattern
from exchange.intake.warninglists import Warninglists

KNOWN = Warninglists.packaged({"us-port-gulf": ["203.0.113.0/28", "puerto.example.org"]})


def told(pattern: str) -> tuple[list[str], list[str]]:
    assert check_pattern(pattern) == (), pattern
    values, left = values_of({"pattern_type": "stix", "pattern": pattern}, KNOWN)
    return [f"{one.kind} {one.text}" for one in values], list(left)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[ipv4-addr:value = '198.51.100.7/32']", "ipv4 198.51.100.7"),
        ("[ipv4-addr:value = '198.51.100.0/24']", "ipv4 198.51.100.0/24"),
        ("[ipv4-addr:value ISSUBSET '198.51.100.0/24']", "ipv4 198.51.100.0/24"),
        ("[ipv6-addr:value = '2001:DB8::0:1']", "ipv6 2001:db8::1"),
        ("[domain-name:value = 'EVIL.Example.']", "domains evil.example"),
        ("[domain-name:value = '_dmarc.evil.example']", "domains _dmarc.evil.example"),
        ("[domain-name:value = 'niño.example']", "domains xn--nio-8ma.example"),
        ("[url:value = 'HTTPS://Evil.example:8443/A%20b?q=ñ#f']", "urls https://evil.example:8443/A%20b?q=%C3%B1"),
        ("[url:value = 'http://[2001:DB8::0:1]/x']", "urls http://[2001:db8::1]/x"),
        ("[url:value = 'http://198.51.100.7/x']", "urls http://198.51.100.7/x"),
        (f"[file:hashes.'SHA-256' = '{'AB' * 32}']", f"sha256 {'ab' * 32}"),
        (f"[file:hashes.SHA1 = '{'AB' * 20}']", f"sha1 {'ab' * 20}"),
        (f"[file:hashes.'MD5' = '{'AB' * 16}']", f"md5 {'ab' * 16}"),
        ("[ipv4-addr:value == '198.51.100.7'] /* a note */", "ipv4 198.51.100.7"),
    ],
)
def test_one_form(pattern: str, expected: str) -> None:
    assert told(pattern) == ([expected], [])


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[ipv4-addr:value = '198.51.100.7/24']", "unreadable"),  # the host or the network?
        ("[ipv4-addr:value = '2001:db8::1']", "unreadable"),
        ("[ipv4-addr:value = '198.51.100.07']", "unreadable"),
        ("[domain-name:value = 'intranet']", "unreadable"),
        ("[domain-name:value = '*.evil.example']", "unreadable"),
        ("[domain-name:value = 'evil.example, good.example']", "unreadable"),
        ("[domain-name:value = '=evil.example']", "unreadable"),
        ("[domain-name:value = '-evil.example']", "unreadable"),
        ("[url:value = 'javascript:alert(1)']", "unreadable"),
        ("[url:value = 'http://good.example@evil.example/']", "unreadable"),
        ("[url:value = 'http://evil.example/a\nhttp://good.example/']", "unreadable"),
        ("[url:value = 'http://evil.example:x/']", "unreadable"),
        ("[url:value = '/only/a/path']", "unreadable"),
        ("[file:name = 'x.exe']", "property"),
        ("[network-traffic:dst_ref.value = '198.51.100.7']", "property"),
        ("[ipv4-addr:value = '10.0.0.1']", "known-good"),
        ("[ipv4-addr:value = '8.8.8.8']", "known-good"),
        ("[ipv4-addr:value = '198.0.0.0/8']", "known-good"),
        ("[ipv4-addr:value = '203.0.113.5']", "known-good"),
        ("[ipv4-addr:value = '203.0.113.0/24']", "known-good"),
        ("[ipv6-addr:value = '::ffff:10.0.0.1']", "known-good"),
        ("[domain-name:value = 'vpn.puerto.example.org']", "known-good"),
        ("[domain-name:value = 'example.org']", "known-good"),  # above it
        ("[domain-name:value = 'www.google.com']", "known-good"),
        ("[url:value = 'http://10.0.0.1/x']", "known-good"),
        ("[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']", "known-good"),
    ],
)
def test_left_out(pattern: str, reason: str) -> None:
    values, left = values_of({"pattern_type": "stix", "pattern": pattern}, KNOWN)
    assert (values, left) == ((), (reason,))


@pytest.mark.parametrize(
    "pattern",
    [
        "[ipv4-addr:value = '198.51.100.1' AND ipv4-addr:value = '198.51.100.2']",
        "[ipv4-addr:value = '198.51.100.1' OR (ipv4-addr:value = '198.51.100.2' AND ipv4-addr:value != 'x')]",
        "[ipv4-addr:value NOT IN ('198.51.100.1')]",
        "[ipv4-addr:value != '198.51.100.1']",
        "[NOT EXISTS ipv4-addr:value OR ipv4-addr:value = '198.51.100.1']",
        "[ipv4-addr:value NOT ISSUBSET '198.51.100.0/24']",
        "[ipv4-addr:value ISSUPERSET '198.51.100.0/24']",
        "[ipv4-addr:value LIKE '198.51.100.1']",
        "[ipv4-addr:value MATCHES '198.51.100.1']",
        "[ipv4-addr:value > '198.51.100.1']",
        "[ipv4-addr:value = '198.51.100.1'] AND [domain-name:value = 'a.example']",
        "[ipv4-addr:value = '198.51.100.1'] FOLLOWEDBY [ipv4-addr:value = '198.51.100.2']",
        "[ipv4-addr:value = '198.51.100.1'] REPEATS 5 TIMES",
        "[ipv4-addr:value = '198.51.100.1'] WITHIN 5 SECONDS",
        "[ipv4-addr:value = '198.51.100.1'] START t'2026-01-01T00:00:00Z' STOP t'2026-01-02T00:00:00Z'",
        "[network-traffic:dst_port = 443 OR ipv4-addr:value = '198.51.100.1']",
    ],
)
def test_nothing_of_what_says_more_than_equal_or_equal(pattern: str) -> None:
    assert alternatives(pattern) == ()


def test_other_languages_are_not_read() -> None:
    sigma = {"pattern_type": "sigma", "pattern": "[ipv4-addr:value = '198.51.100.1']"}
    assert values_of(sigma, KNOWN) == ((), ("pattern-type",))


def test_alternatives_in_one_pattern_each_count() -> None:
    values, left = told("[ipv4-addr:value IN ('198.51.100.1', '8.8.8.8', '198.51.100.1')] OR [file:name = 'x']")
    assert (values, left) == (["ipv4 198.51.100.1"], ["known-good", "property"])
    assert Value("ipv4", "198.51.100.1") == ("ipv4", "198.51.100.1")


@pytest.mark.parametrize(
    "sign", ["=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\xa0="]
)
def test_no_cell_is_a_formula(sign: str) -> None:
    assert cell(f"{sign}1+1").startswith("'")
    assert cell(f"1{sign}1")[0] == "1"
    assert "\n" not in cell(f"a{sign}\nb")
