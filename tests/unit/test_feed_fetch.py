"""Fetching from hostile places: addresses that must not be called, bodies that never end, files that unpack to a bomb."""

import asyncio
import gzip
import lzma
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import Malformed
from feeds.catalogue import packaged, parse
from feeds.faults import FeedFault
from feeds.fetch import Caps, Credential, fetch, local_path, read_local, retry_after_seconds, unpacked
from feeds.guard import Reach, check_address, check_url, private_network
from tests.fake_hub import serving

HERE = Reach(plain_http=True, loopback=True)
SMALL = Caps(size_bytes=100_000)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def code_of(address: str, *, reach: Reach = HERE, caps: Caps = SMALL) -> str:
    with pytest.raises(FeedFault) as refused:
        await fetch(address, caps=caps, reach=reach)
    assert refused.value.text.es
    return refused.value.code


# --- where ---


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "192.0.0.8", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "::1", "::", "fe80::1",
        "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
        "::ffff:7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1",
        "64:ff9b:1::1", "::127.0.0.1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    with pytest.raises(FeedFault, match="not a public address"):
        check_address(address, Reach())


def test_public_addresses_are_called() -> None:
    for address in ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"):
        check_address(address, Reach())


INSIDE = Reach(networks=(private_network("10.20.0.0/16"), private_network("fd12:3456::/32")))


def test_a_source_in_a_private_network_calls_that_network_and_nothing_else() -> None:
    for address in ("10.20.0.1", "10.20.255.255", "::ffff:10.20.3.4", "fd12:3456::1"):
        check_address(address, INSIDE)
    for address in (
        "10.21.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.169.254",
        "8.8.8.8",
        "fd12:3457::1",
        "2002:a14:1::",
    ):
        with pytest.raises(FeedFault, match="not called in"):
            check_address(address, INSIDE)


@pytest.mark.parametrize(("network", "address"), [("100.64.0.0/10", "100.100.100.200"), ("fc00::/7", "fd00:ec2::254")])
def test_metadata_of_clouds_is_not_called_whatever_the_source_names(network: str, address: str) -> None:
    with pytest.raises(FeedFault):
        check_address(address, Reach(networks=(private_network(network),)))


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "10.0.0.0/7", "10.20.3.4/16", "8.8.8.0/24", "169.254.0.0/16", "127.0.0.0/8", "::/0", "fe80::/10", "mine"]
)  # fmt: skip
def test_a_source_names_private_networks_or_none(text: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse(packaged()["kev"].model_dump() | {"networks": [text]})
    assert "kev: networks" in refused.value.text.en
    assert refused.value.text.es


async def test_a_redirect_out_of_the_named_network_is_not_followed() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://10.21.0.1/"})

    async with serving(answer) as url:
        inside = Reach(plain_http=True, loopback=True, networks=INSIDE.networks)
        assert await code_of(url, reach=inside) == "feed-address"


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=300, deadline=None)
def test_an_address_is_judged_alike_however_it_is_wrapped(number: int) -> None:
    def allowed(text: str) -> bool:
        try:
            check_address(text, Reach())
        except FeedFault:
            return False
        return True

    plain = socket.inet_ntoa(number.to_bytes(4, "big"))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    for wrapped in (f"::ffff:{plain}", f"64:ff9b::{high}:{low}", f"2002:{high}:{low}::"):
        assert allowed(plain) or not allowed(wrapped)


@pytest.mark.parametrize(
    "address",
    [
        "http://feed.example/", "ftp://feed.example/", "file:///etc/passwd", "gopher://x/", "https:///nothing", "https://",
        "https://user@feed.example/", "https://user:pw@feed.example/", "https://feed.example\\@127.0.0.1/",
        "https://feed.example /", "https://feed.example/\n", "https://feed.example/\u202e", "https://0177.1/",
        "https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://1/", "https://[::1", "nonsense", "",
    ],
)  # fmt: skip
def test_urls_that_are_not_called(address: str) -> None:
    with pytest.raises(FeedFault) as refused:
        check_url(address, Reach())
    assert refused.value.code == "feed-address"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "localhost", "0177.1", "10.0.0.1"]
)
async def test_private_hosts_are_refused_before_a_byte_is_sent(host: str) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(text="secret")

    async with serving(answer) as url:
        port = url.rpartition(":")[2]
        assert await code_of(f"http://{host}:{port}/", reach=Reach(plain_http=True)) == "feed-address"
    assert not asked


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://169.254.169.254/latest/meta-data/", "feed-address"),
        ("http://[::ffff:169.254.169.254]/", "feed-address"),
        ("http://10.0.0.1/", "feed-address"),
        ("https://user:pw@feed.example/", "feed-address"),
        ("file:///etc/passwd", "feed-address"),
        ("//0177.1/", "feed-address"),
        ("\\\\169.254.169.254\\", "feed-address"),
        ("", "feed-redirect"),
        ("/again", "feed-redirect"),
    ],
)
async def test_each_redirect_is_judged_like_the_first_url(location: str, code: str) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(status=302, headers={"Location": location} if location else {})

    async with serving(answer) as url:
        assert await code_of(url + "/start") == code
    assert len(asked) == (4 if location == "/again" else 1)


async def test_an_https_source_is_not_sent_to_http() -> None:
    with pytest.raises(FeedFault):
        check_url("http://feed.example/", Reach(loopback=True))


# --- how much, how long ---


async def test_a_body_is_read_whole_and_conditionally_the_next_time() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/old":
            raise web.HTTPFound("/new")
        if request.headers.get("If-None-Match") == '"v1"' and "If-Modified-Since" in request.headers:
            return web.Response(status=304)
        assert "Authorization" not in request.headers
        assert "Cookie" not in request.headers
        response = web.json_response(
            {"a": "ñ"}, headers={"ETag": '"v1"', "Last-Modified": "Tue, 24 Nov 2026 00:00:00 GMT"}
        )
        response.set_cookie("track", "me")
        return response

    async with serving(answer) as url:
        found = await fetch(url + "/old", caps=SMALL, reach=HERE)
        assert found is not None
        assert found.url == url + "/new"
        assert (found.etag, found.last_modified) == ('"v1"', "Tue, 24 Nov 2026 00:00:00 GMT")
        again = await fetch(url, caps=SMALL, reach=HERE, etag=found.etag, last_modified=found.last_modified)
        assert again is None


async def respond(body: bytes, *, path: str = "/f", headers: dict[str, str] | None = None) -> bytes:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    async with serving(answer) as url:
        found = await fetch(url + path, caps=SMALL, reach=HERE)
    assert found is not None
    return found.body.read()


async def refusal(body: bytes, **more: object) -> str:
    with pytest.raises(FeedFault) as refused:
        await respond(body, **more)  # type: ignore[arg-type]
    return refused.value.code


async def test_compressed_bodies_and_files_are_unpacked_under_the_cap() -> None:
    text = b"x" * 90_000
    assert await respond(gzip.compress(text), headers={"Content-Encoding": "gzip"}) == text
    assert await respond(lzma.compress(text), path="/f.xz") == text
    assert await respond(gzip.compress(text), path="/f.gz") == text
    bomb = b"\0" * 50_000_000
    assert await refusal(gzip.compress(bomb), headers={"Content-Encoding": "gzip"}) == "feed-size"
    assert await refusal(gzip.compress(bomb), path="/f.gz") == "feed-size"
    assert await refusal(lzma.compress(bomb), path="/f.xz") == "feed-size"
    assert await refusal(b"x" * 100_001) == "feed-size"
    assert await refusal(gzip.compress(text)[:-9], headers={"Content-Encoding": "gzip"}) == "feed-form"
    assert await refusal(b"no gzip", headers={"Content-Encoding": "gzip"}) == "feed-form"
    assert await refusal(b"x", headers={"Content-Encoding": "br"}) == "feed-form"
    assert await refusal(lzma.compress(text)[:-20], path="/f.xz") == "feed-form"
    assert await refusal(b"no xz", path="/f.xz") == "feed-form"


def test_packed_streams_follow_each_other_and_end() -> None:
    """Parallel packers write one after another; padding is zeros. A stream that was cut is no end."""
    for pack in (gzip.compress, lzma.compress):
        coding = "gzip" if pack is gzip.compress else "xz"
        two = pack(b"a" * 700_000) + pack(b"b" * 10)
        assert unpacked([two + b"\0" * 8], coding, 10**6).read() == b"a" * 700_000 + b"b" * 10
        assert unpacked((two[n : n + 1] for n in range(len(two))), coding, 10**6).size == 700_010
        for wrong in (two[:-3], b"", two + b"x"):
            with pytest.raises(FeedFault):
                unpacked([wrong], coding, 10**6)


async def test_an_endless_body_ends_at_the_cap() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65_536)
        except ConnectionError:
            return response

    async with serving(endless) as url:
        assert await code_of(url) == "feed-size"


async def test_a_slow_drip_ends_at_the_deadline() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x")
            await asyncio.sleep(0.05)
        return response

    async with serving(drip) as url:
        assert await code_of(url, caps=Caps(deadline_seconds=0.3)) == "feed-slow"


async def test_a_cut_body_is_no_body() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async with serving(cut) as url:
        assert await code_of(url) == "feed-unreachable"
    assert await code_of(url) == "feed-unreachable"  # nobody listens any more


@pytest.mark.parametrize(
    "credential", [Credential(header="Auth-Key", secret="s3"), Credential(query="auth-key", secret="s3")]
)
async def test_a_key_is_for_its_own_host_and_is_not_told(credential: Credential) -> None:
    told: dict[str, list[str]] = {"home": [], "away": []}

    def answering(name: str, to: list[str]) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            told[name].append(request.query.get("auth-key", request.headers.get("Auth-Key", "")))
            if request.path == "/first":
                return web.Response(status=302, headers={"Location": "/second"})
            return web.Response(status=302, headers={"Location": to[0]}) if to else web.Response(text="data")

        return answer

    async with serving(answering("away", [])) as away, serving(answering("home", [away + "/data"])) as home:
        found = await fetch(home + "/first", caps=SMALL, reach=HERE, credential=credential)
    assert found is not None
    assert told == {"home": ["s3", "s3"], "away": [""]}
    assert "s3" not in found.url
    assert "s3" not in repr(credential)
    async with serving(answering("home", [])) as home:
        found = await fetch(home + "/data?a=1", caps=SMALL, reach=HERE, credential=credential)
    assert found is not None
    assert found.url == home + "/data?a=1"


async def test_errors_of_the_source() -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=503 if request.path == "/busy" else 403, headers={"Retry-After": "30"})

    async with serving(busy) as url:
        for path, seconds in (("/busy", 30), ("/", 0)):
            with pytest.raises(FeedFault) as refused:
                await fetch(url + path, caps=SMALL, reach=HERE)
            assert (refused.value.code, refused.value.retry_after_seconds) == ("feed-http", seconds)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": " 120"}, 120), ({"Retry-After": "99999999"}, 999_999), ({"Retry-After": "-5"}, 0), ({}, 0),
        ({"Retry-After": "Wed, 03 Jun 2026 00:05:00 GMT", "Date": "Wed, 03 Jun 2026 00:00:00 GMT"}, 300),
        ({"Retry-After": "Tue, 02 Jun 2026 00:00:00 GMT", "Date": "Wed, 03 Jun 2026 00:00:00 GMT"}, 0),
        ({"Retry-After": "Wed, 03 Jun 2026 00:05:00 GMT"}, 0), ({"Retry-After": "soon", "Date": "soon"}, 0),
    ],
)  # fmt: skip
def test_patience_is_asked_for_in_seconds_or_until_a_date(headers: dict[str, str], seconds: int) -> None:
    assert retry_after_seconds(headers) == seconds


def test_local_files(tmp_path: Path) -> None:
    file = tmp_path / "a.json.xz"
    file.write_bytes(lzma.compress(b"{}"))
    assert read_local(file, 1_000) == b"{}"
    with pytest.raises(FeedFault, match="larger"):
        read_local(file, 5)
    with pytest.raises(FeedFault, match="cannot be read"):
        read_local(tmp_path / "none", 5)
    assert local_path("file:///a/b") == Path("/a/b")
    assert local_path("a/b") == Path("a/b")
    assert local_path("https://a/b") is None


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_unpacking_anything_gives_bytes_or_a_fault(data: bytes) -> None:
    for coding in ("xz", "gzip", "deflate", ""):
        try:
            assert unpacked([data[:7], data[7:]], coding, 1_000).size <= 1_000
        except FeedFault as fault:
            assert fault.code in ("feed-form", "feed-size")
