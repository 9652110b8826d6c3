"""TAXII's ground on real sockets: TLS as the hub speaks it, and what HTTP asks of every answer."""

import asyncio
import contextlib
import ssl
import subprocess
import warnings
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
import pytest_asyncio

from exchange.hub import server_context
from exchange.times import as_datetime
from tests.taxii import UNKNOWN
from tests.world import TAXII, World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("transport")) as made:
        yield made


def client_context(world: World, lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that would accept anything, so that only the hub can refuse."""
    context = ssl.create_default_context(cafile=str(world.home.ca_file))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = lowest, highest
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    return context


async def shaken(world: World, context: ssl.SSLContext) -> str:
    """The protocol of one handshake, after one answer came back over it."""
    reader, writer = await asyncio.open_connection("localhost", world.hub.port, ssl=context)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        return str(writer.get_extra_info("ssl_object").version())
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


# --- TLS ---


@pytest.mark.rule("TRN-01", "TRN-02", "TRN-03")
@pytest.mark.parametrize(
    ("version", "name"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
async def test_tls_1_2_and_1_3(world: World, version: ssl.TLSVersion, name: str) -> None:
    assert (await shaken(world, client_context(world, version, version))) == name


def refusal(world: World, client: ssl.SSLContext) -> str:
    """Why the hub's side of a handshake gave up: both sides in memory, since a socket tells only that it was reset."""
    server = server_context(world.hub.services.settings)
    to_hub, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_hub, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        asking.do_handshake()
    try:
        server.wrap_bio(to_hub, to_client, server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        return ""
    except ssl.SSLError as error:
        return error.reason
    return ""


@pytest.mark.rule("TRN-09")
async def test_older_tls_is_refused(world: World) -> None:
    for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        assert refusal(world, client_context(world, old, old)) == "UNSUPPORTED_PROTOCOL"


@pytest.mark.rule("TRN-05")
async def test_no_suite_of_http_2s_block_list(world: World) -> None:
    """RFC 7540, Appendix A: only forward-secret AEAD suites are left for TLS 1.2."""
    context = server_context(world.hub.services.settings)
    old = [one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"]
    assert old
    assert all(name.startswith("ECDHE-") and ("GCM" in name or "CHACHA20" in name) for name in old)
    client = client_context(world, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    assert refusal(world, client) == ""
    for suite in ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA"):
        client.set_ciphers(f"{suite}:@SECLEVEL=0")
        assert refusal(world, client) == "NO_SHARED_CIPHER"


@pytest.mark.rule("TRN-04")
async def test_tickets_allow_no_early_data(world: World) -> None:
    """Python's TLS has no word for 0-RTT; OpenSSL's own client says what the hub's tickets allow."""
    command = ["openssl", "s_client", "-connect", f"localhost:{world.hub.port}", "-tls1_3", "-CAfile"]

    def ask() -> str:
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        done = subprocess.run(
            [*command, str(world.home.ca_file), "-ign_eof"], input=request, capture_output=True, timeout=20, check=False
        )
        return done.stdout.decode(errors="replace")

    try:
        said = await asyncio.to_thread(ask)
    except FileNotFoundError:
        pytest.skip("no openssl command here")
    assert "HTTP/1.1 200" in said
    assert "Max Early Data: 0" in said


@pytest.mark.rule("TRN-08")
async def test_plain_http_on_the_tls_port_gets_nothing(world: World) -> None:
    reader, writer = await asyncio.open_connection("localhost", world.hub.port)
    token = world.tokens["us-cyber"]
    writer.write(f"GET /taxii2/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    got = b""
    with contextlib.suppress(ConnectionError):
        got = await reader.read()
    writer.close()
    assert b"HTTP/" not in got and b"taxii" not in got


# --- HTTP ---


@pytest.mark.rule("TRN-10", "TRN-14", "TRN-11", "SER-12")
async def test_every_answer_is_dated_and_no_user_agent_is_needed(world: World) -> None:
    """Also refusals, and resources beyond the Standard's. A client finds its clock's skew by the Date (3.4)."""
    for path, status in (("/taxii2/", 200), ("/taxii2/us-mx/none/", 404), ("/api/v1/me", 200), ("/healthz", 200)):
        headers = world.headers("us-cyber")
        url = f"{world.hub.url}{path}"
        async with world.session.get(url, headers=headers, skip_auto_headers=["User-Agent"]) as answer:
            assert answer.status == status
            skew = parsedate_to_datetime(answer.headers["Date"]) - as_datetime(world.clock.now_us())
            assert abs(skew.total_seconds()) < 5
            assert (await answer.read())[:1] == b"{"


@pytest.mark.rule("TRN-12", "TRN-15", "EP-01", "EP-02", "SRT-02")
async def test_methods_and_slashes_of_every_endpoint(world: World) -> None:
    """Never a redirect: OPTIONS tells what there is, HEAD is GET without its body, the rest is 405 with Allow."""
    objects = f"/taxii2/us-mx/collections/{world.collections['indicators']}/objects/"
    await world.post("us-cyber", world.signed("us-cyber"))
    resources = {
        "/taxii2/": "GET, HEAD, OPTIONS",
        "/taxii2/us-mx/": "GET, HEAD, OPTIONS",
        "/taxii2/us-mx/collections/": "GET, HEAD, OPTIONS",
        objects.replace("objects/", ""): "GET, HEAD, OPTIONS",
        objects.replace("objects", "manifest"): "GET, HEAD, OPTIONS",
        objects: "GET, HEAD, OPTIONS, POST",
        f"{objects}{UNKNOWN}/": "DELETE, GET, HEAD, OPTIONS",
        f"{objects}{UNKNOWN}/versions/": "GET, HEAD, OPTIONS",
    }
    for path, allowed in resources.items():
        for spelled in (
            path,
            path.rstrip("/"),
            path.replace("/", "//"),
            f"{path}?limit=1",
            f"{path.rstrip('/')}?limit=1",
        ):
            url = f"{world.hub.url}{spelled}"
            options = {"headers": world.headers("us-cyber"), "allow_redirects": False}
            async with world.session.options(url, **options) as answer:
                assert (answer.status, answer.headers["Allow"], await answer.read()) == (200, allowed, b"")
            async with world.session.put(url, **options) as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, allowed)
            async with world.session.get(url, **options) as got, world.session.head(url, **options) as head:
                assert got.status == head.status == (404 if UNKNOWN in path else 200)
                assert await head.read() == b""
                same = ("Content-Type", "Content-Length", "X-TAXII-Date-Added-First", "X-TAXII-Date-Added-Last")
                assert [got.headers.get(name) for name in same if got.status == 200] == [
                    head.headers.get(name) for name in same if got.status == 200
                ]


@pytest.mark.rule("AUT-01", "AUT-14", "ROOT-07", "COL-11", "INT-3.1")
@pytest.mark.peer("FRE-2")
async def test_strangers_learn_nothing_of_what_there_is(world: World) -> None:
    known = f"/taxii2/us-mx/collections/{world.collections['indicators']}/objects/"
    for path in ("/taxii2/", "/taxii2/us-mx/", "/taxii2/other/", known, known.replace("-", "0")):
        for headers in ({"Accept": TAXII}, {"Accept": TAXII, "Authorization": "Basic bm86bm8="}):
            for method in ("GET", "POST", "DELETE", "OPTIONS", "PUT"):
                async with world.session.request(method, f"{world.hub.url}{path}", headers=headers) as answer:
                    assert answer.status == 401
                    assert "Basic realm=" in answer.headers["WWW-Authenticate"]


@pytest.mark.rule("TRN-13")
async def test_a_chunked_post_is_like_any_other(world: World) -> None:
    obj = world.signed("us-cyber")
    body = aiohttp.payload.JsonPayload({"objects": [obj]}).decode().encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 200):
            yield body[start : start + 200]

    url = f"{world.root}collections/{world.collections['indicators']}/objects/"
    headers = world.headers("us-cyber", **{"Content-Type": TAXII})
    async with world.session.post(url, data=pieces(), headers=headers) as answer:
        assert answer.status == 202
        assert (await answer.json(content_type=None))["success_count"] == 1
