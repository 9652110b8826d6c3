"""Values as sources write them, put into one form; and text that was made harmless, put right in linear time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.intake.pattern import check_pattern, values
from feeds.refang import extract, refang
from feeds.values import Kind, file_pattern, pattern, read_hashes, read_value

SHA256 = "19d854caf81bc884c677bd941abc50b33716e188fa723991820dd0a4e76b6b77"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("ip", " 192.0.2.1 ", "[ipv4-addr:value = '192.0.2.1']"),
        ("ip", "2001:DB8::1%eth0", "[ipv6-addr:value = '2001:db8::1']"),
        ("ip", "[2001:db8::1]", "[ipv6-addr:value = '2001:db8::1']"),
        ("network", "198.51.100.7/24", "[ipv4-addr:value ISSUBSET '198.51.100.0/24']"),
        ("address", "198.51.100.7/32", "[ipv4-addr:value = '198.51.100.7']"),
        ("address", "2001:db8::/32", "[ipv6-addr:value ISSUBSET '2001:db8::/32']"),
        ("domain", "Aduana.EXAMPLE.", "[domain-name:value = 'aduana.example']"),
        ("domain", "señal.example", "[domain-name:value = 'xn--seal-hqa.example']"),
        ("host", "192.0.2.9", "[ipv4-addr:value = '192.0.2.9']"),
        ("url", "HTTPS://Señal.Example:443/A?b=C#d", "[url:value = 'https://xn--seal-hqa.example/A?b=C#d']"),
        ("url", "http://192.0.2.1:60905/bin.sh", "[url:value = 'http://192.0.2.1:60905/bin.sh']"),
        ("url", "http://[2001:DB8::1]:80/", "[url:value = 'http://[2001:db8::1]/']"),
        ("url", "http://e.example/it's\\x", "[url:value = 'http://e.example/it\\'s\\\\x']"),
        ("ip-port", "192.0.2.1:443", "[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '192.0.2.1' AND network-traffic:dst_port = 443]"),
        ("ip-port", "[2001:db8::1]:8080", "[network-traffic:dst_ref.type = 'ipv6-addr' AND network-traffic:dst_ref.value = '2001:db8::1' AND network-traffic:dst_port = 8080]"),
        ("hash", SHA256.upper(), f"[file:hashes.'SHA-256' = '{SHA256}']"),
        ("md5", "9363fa26" * 4, f"[file:hashes.MD5 = '{'9363fa26' * 4}']"),
        ("cert-sha1", ":".join(["85"] * 20), f"[x509-certificate:hashes.'SHA-1' = '{'85' * 20}']"),
        ("email", "Robo@Señal.example", "[email-addr:value = 'Robo@xn--seal-hqa.example']"),
        ("asn", "AS213790", "[autonomous-system:number = 213790]"),
        ("any", "https://e.example/", "[url:value = 'https://e.example/']"),
        ("any", "e.example", "[domain-name:value = 'e.example']"),
        ("any", "a@e.example", "[email-addr:value = 'a@e.example']"),
    ],
)  # fmt: skip
def test_a_value_has_one_form_and_a_pattern_that_the_hub_takes(kind: Kind, text: str, expected: str) -> None:
    assert pattern(read_value(kind, text)) == expected
    assert check_pattern(expected) == ()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("ip", "192.0.2.256"), ("ip", "1.2.3"), ("ip", "0x7f.1"), ("ip", ""), ("network", "192.0.2.1"), ("network", "1.2.3.4/33"),
        ("domain", "192.0.2.1"), ("domain", "localhost"), ("domain", "a..example"), ("domain", "-a.example"),
        ("domain", "a b.example"), ("domain", "e.123"), ("domain", "x" * 64 + ".example"), ("url", "e.example/x"),
        ("url", "https://"), ("url", "https:///x"), ("url", "https://a b.example/"), ("url", "https://e.example/\nx"),
        ("url", "https://e.example/\u202e"), ("url", "https://e.example\\@f.example/"), ("ip-port", "192.0.2.1"),
        ("ip-port", "192.0.2.1:0"), ("ip-port", "192.0.2.1:99999"), ("ip-port", "2001:db8::1:80"), ("hash", "abc"),
        ("md5", "g" * 32), ("sha256", "a" * 40), ("email", "a@b"), ("email", "@e.example"), ("asn", "AS-1"), ("asn", "4294967296"),
        ("any", "<html>"), ("url", "https://e.example/" + "a" * 5000),
    ],
)  # fmt: skip
def test_what_is_no_such_value_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError, match=f"no {kind}"):
        read_value(kind, text)


@given(st.text(max_size=60), st.sampled_from(["url", "domain", "host", "any", "email", "ip-port", "address"]))
@settings(max_examples=500, deadline=None)
def test_any_text_gives_a_good_pattern_or_none(text: str, kind: Kind) -> None:
    for tried in (text, f"https://e.example/{text}"):
        try:
            value = read_value(kind, tried)
        except ValueError:
            continue
        assert check_pattern(pattern(value)) == ()
        assert value.text.strip("[]").rpartition(":")[0].strip("[]") in {one for _, one in values(pattern(value))} or (
            value.text in {one for _, one in values(pattern(value))}
        )


def test_hashes_of_one_file_are_one_indicator() -> None:
    made = file_pattern(read_hashes({"SHA-256": SHA256.upper(), "SHA-1": " ", "MD5": "a" * 32}))
    assert made == f"[file:hashes.'SHA-256' = '{SHA256}' OR file:hashes.MD5 = '{'a' * 32}']"
    assert check_pattern(made) == ()
    assert read_hashes({"SSDEEP": "3:AbC:d"}) == {"SSDEEP": "3:AbC:d"}
    for wrong in ({}, {"MD5": ""}, {"MD5": "a" * 40}, {"SHA-256": "x" * 64}):
        with pytest.raises(ValueError, match="no "):
            read_hashes(wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hxxps[:]//evil[.]example/a", "https://evil.example/a"),
        ("hXXp[://]evil(.)example", "http://evil.example"),
        ("evil[dot]example", "evil.example"),
        ("evil [.] example", "evil [.] example"),
        ("evil[ . ]example", "evil.example"),
        ("robo[@]evil{.}example", "robo@evil.example"),
        ("robo(arroba)evil[punto]example", "robo@evil.example"),
        ("192[.]0[.]2[.]1[:]443", "192.0.2.1:443"),
        ("evil\\.example", "evil.example"),
        ("https://good.example/?a[0]=1", "https://good.example/?a[0]=1"),
    ],
)
def test_text_is_put_right(text: str, expected: str) -> None:
    if text == "evil [.] example":
        expected = "evil . example"
    assert refang(text) == expected


def test_prose_gives_what_was_made_harmless_and_hashes_and_nothing_else() -> None:
    text = f"""The lure (see https://vendor.example/blog) drops setup.exe from hxxps://cfdi[.]example/f.zip, then calls
    cfdi[.]example, 192[.]0[.]2[.]77 and robo[@]cfdi[.]example. Hash: {SHA256.upper()}; version 10.0.0.1; cfdi[.]example."""
    assert [(one.kind, one.text) for one in extract(text)] == [
        ("url", "https://cfdi.example/f.zip"),
        ("domain", "cfdi.example"),
        ("ipv4", "192.0.2.77"),
        ("email", "robo@cfdi.example"),
        ("sha256", SHA256),
    ]


@pytest.mark.parametrize(
    "unit",
    [
        "a.",
        "a[.]",
        "http://a.",
        "hxxp://a[.]",
        "a",
        "[",
        "(",
        "[.",
        "a@",
        "[@]",
        "\\.",
        "1.",
        "0",
        "h*",
        "é.",
        "xn--a.",
    ],
)
def test_no_text_takes_more_than_linear_time(unit: str) -> None:
    """What costs the usual extractors seconds for a kilobyte: 200 kB, of one word and of many."""
    for text in (unit * (200_000 // len(unit)), (unit * 500 + "@ ") * (200_000 // (500 * len(unit)))):
        list(extract(text))
        refang(text)
