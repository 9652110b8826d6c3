"""The guard, over real sockets: who is let through, what every answer looks like, and what is left of a connection."""

import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from exchange.errors import LedgerFault, NotPermitted
from exchange.model.member import Access
from exchange.rules import Caller
from exchange.settings import Settings
from exchange.web.negotiate import JSON, TAXII, must_be_readable
from exchange.web.routes import Request, Route, Table, canonical_path
from tests.gate import TOKENS, Client, HubServer, as_, raw, request

LIMIT = 1000
SETTINGS = Settings(body_limit_bytes=LIMIT, rate_per_second=100, rate_burst=50)


async def whoami(request: Request, caller: Caller) -> web.Response:
    return web.json_response({"member": caller.member.slug, **request.match_info})


async def take(request: Request, caller: Caller) -> web.Response:
    must_be_readable(request)
    body = await request.body()
    return web.json_response({"size": len(body)})


async def fall(request: Request, caller: Caller) -> web.Response:
    raise RuntimeError("SELECT secret FROM /etc/passwd")


async def halt(request: Request, caller: Caller) -> web.Response:
    raise LedgerFault("fork", "the database /var/hub.sqlite is another")


async def refuse(request: Request, caller: Caller) -> web.Response:
    raise NotPermitted("Clause 4 forbids it.", "La cláusula 4 lo prohíbe.", code="clause")


ROUTES = (
    Route("GET", "/healthz", Access.ANYONE, whoami),
    Route("GET", "/taxii2/", Access.MEMBER, whoami, media=TAXII),
    Route("GET", "/taxii2/{root}/collections/{collection}/objects/", Access.MEMBER, whoami, media=TAXII),
    Route("POST", "/taxii2/{root}/collections/{collection}/objects/", Access.MEMBER, take, media=TAXII),
    Route("GET", "/ledger/{log}/tile/{path*}", Access.AUDITOR, whoami),
    Route("GET", "/api/fall", Access.MEMBER, fall),
    Route("GET", "/api/halt", Access.MEMBER, halt),
    Route("GET", "/api/refuse", Access.MEMBER, refuse),
)
OBJECTS = "/taxii2/us-mx/collections/c/objects/"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with TestClient(HubServer(SETTINGS, ROUTES)) as client:
        yield client


# --- the table ---


def test_a_route_must_say_who_may_call_it() -> None:
    with pytest.raises(TypeError):
        Route("GET", "/x", handler=whoami)  # type: ignore[call-arg]


def test_two_handlers_for_one_thing_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two routes"):
        Table([Route("GET", "/x", Access.MEMBER, whoami), Route("GET", "/x", Access.ANYONE, whoami)])


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("/", "/"),
        ("", "/"),
        ("/taxii2", "/taxii2"),
        ("//taxii2///us-mx//", "/taxii2/us-mx"),
        ("/taxii2/us%2Dmx/", "/taxii2/us-mx"),
        ("/a/../b", "/a/../b"),
        ("/a%2Fb", None),
        ("/a%00b", None),
        ("/a%FFb", None),
    ],
)
def test_paths(path: str, canonical: str | None) -> None:
    assert canonical_path(path) == canonical


@settings(max_examples=200, deadline=None)
@given(st.text("/ab%20F.{}*é", max_size=40))
def test_any_path_is_found_or_not(path: str) -> None:
    table = Table(ROUTES)
    found = table.find(path)
    assert found is None or found.resource.methods
    table.guarded(path)
    assert table.media(path) in (JSON, TAXII)


# --- who is let through ---


async def test_open_routes_ask_nobody(client: Client) -> None:
    answer = await client.get("/healthz")
    assert (answer.status, (await answer.json())["member"]) == (200, "")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer puente_0000000000000000_x"},
        {"Authorization": "Basic !!"},
        {"Authorization": "Basic " + b64encode(b"user:wrong").decode()},
        {"Authorization": f"Digest {TOKENS['us-cyber']}"},
        {"Authorization": f"Bearer {TOKENS['us-cyber']}x"},
        {"Authorization": ""},
    ],
    ids=["none", "unknown", "not base64", "wrong password", "other scheme", "altered", "empty"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/taxii2/"),
        ("GET", OBJECTS),
        ("POST", OBJECTS),
        ("DELETE", OBJECTS),
        ("GET", "/taxii2/no/such/path/at/all/"),
        ("GET", "/taxii2/%ff/%2f"),
        ("GET", "/ledger/both/tile/0/000"),
    ],
)
@pytest.mark.rule("AUT-01", "AUT-02", "AUT-03", "AUT-14", "AUT-19", "COL-11", "DEL-11", "INT-3.1")
async def test_all_is_401_without_a_valid_credential(
    client: Client, method: str, path: str, headers: dict[str, str]
) -> None:
    """An unauthenticated POST of junk learns nothing, and no path tells whether it exists."""
    url = URL(str(client.make_url("/")).rstrip("/") + path, encoded=True)
    answer = await client.session.request(method, url, headers=headers, data=b"junk" if method == "POST" else None)
    assert answer.status == 401
    assert answer.headers.getall("WWW-Authenticate")[0].startswith("Basic realm=")
    assert (await answer.json(content_type=None))["error_code"].startswith("credential-")


@pytest.mark.rule("AUT-12", "AUT-18")
async def test_spellings_of_one_token(client: Client) -> None:
    user = b64encode(f"anyone:{TOKENS['us-cyber']}".encode()).decode()
    for header in (f"Token {TOKENS['us-cyber']}", f"bearer {TOKENS['us-cyber']}", f"basic {user}"):
        assert (await client.get("/taxii2/", headers={"Authorization": header})).status == 200
    assert (await client.get("/taxii2/", headers={"X-API-Key": TOKENS["us-cyber"]})).status == 200
    for key in ("", "no", f"Token {TOKENS['us-cyber']}"):
        assert (await client.get("/taxii2/", headers={"X-API-Key": key})).status == 401
    both = as_("us-cyber", **{"X-API-Key": TOKENS["us-cyber"]})
    assert (await client.get("/taxii2/", headers=both)).status == 401, "one credential, or none is believed"


@pytest.mark.parametrize(
    ("slug", "path", "code"),
    [
        ("us-gone", "/taxii2/", "member-suspended"),
        ("us-gone", "/taxii2/no/such/path/at/all/", "member-suspended"),
        ("us-cyber", "/ledger/both/tile/0/000", "auditors-only"),
        ("us-cyber", "/api/refuse", "clause"),
    ],
)
@pytest.mark.rule("AUT-15")
async def test_known_but_not_permitted_is_403(client: Client, slug: str, path: str, code: str) -> None:
    answer = await client.get(path, headers=as_(slug, **{"Accept-Language": "es"}))
    assert answer.status == 403
    body = await answer.json(content_type=None)
    assert (body["error_code"], body["http_status"]) == (code, "403")
    assert answer.headers["Content-Language"] == "es"


async def test_auditors_pass_where_they_may(client: Client) -> None:
    answer = await client.get("/ledger/both/tile/0/x001/067.p/8", headers=as_("aud-us"))
    assert (await answer.json())["path"] == "0/x001/067.p/8"


@pytest.mark.rule("ERR-06")
async def test_a_flood_is_429_with_a_time_to_come_back(client: Client) -> None:
    for _ in range(SETTINGS.rate_burst):
        assert (await client.get("/taxii2/", headers=as_("us-fast"))).status == 200
    answer = await client.get("/taxii2/", headers=as_("us-fast"))
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert (await client.get("/taxii2/", headers=as_("us-cyber"))).status == 200


# --- paths and methods ---


@pytest.mark.parametrize(
    "path", [OBJECTS, OBJECTS.rstrip("/"), OBJECTS.replace("/", "//"), "/taxii2/us%2Dmx/collections/c/objects"]
)
@pytest.mark.rule("EP-01", "EP-02")
async def test_slashes_never_redirect(client: Client, path: str) -> None:
    """And MISP's double slashes."""
    url = URL(str(client.make_url("/")).rstrip("/") + path + "?limit=1", encoded=True)
    async with client.session.get(url, headers=as_("us-cyber"), allow_redirects=False) as answer:
        assert answer.status == 200
        assert (await answer.json())["root"] == "us-mx"


@pytest.mark.rule("EP-05", "EP-10", "NEG-04")
async def test_unknown_paths_are_404_in_taxiis_form(client: Client) -> None:
    for path in ("/taxii2/a/b", f"{OBJECTS}x/y/z", f"{OBJECTS}..%2f..", "/taxii2/%ff", "/taxii2/%2e%2e/etc"):
        url = URL(str(client.make_url("/")).rstrip("/") + path, encoded=True)
        answer = await client.session.get(url, headers=as_("us-cyber"))
        assert answer.status == 404, path
        assert answer.headers["Content-Type"] == TAXII
    assert (await client.get("/favicon.ico")).status == 404


@pytest.mark.rule("TRN-12", "TRN-15")
async def test_head_and_405(client: Client) -> None:
    head = await client.head(OBJECTS, headers=as_("us-cyber"))
    assert (head.status, await head.read()) == (200, b"")
    for method, status in (("PUT", 405), ("PATCH", 405), ("DELETE", 405), ("OPTIONS", 200)):
        answer = await client.request(method, OBJECTS, headers=as_("us-cyber"))
        assert (answer.status, answer.headers["Allow"]) == (status, "GET, HEAD, OPTIONS, POST")
        assert (await client.request(method, OBJECTS)).status == 401
    assert (await client.delete("/healthz")).status == 405


@pytest.mark.rule("NEG-15", "NEG-16", "NEG-19", "NEG-21")
async def test_accept_is_looked_at_after_the_credential(client: Client) -> None:
    answer = await client.get("/taxii2/", headers=as_("us-cyber", Accept="application/taxii+json;version=2.0"))
    assert (answer.status, answer.headers["Content-Type"]) == (406, TAXII)
    assert (await client.get("/taxii2/", headers={"Accept": "text/html"})).status == 401
    assert (await client.get("/api/refuse", headers=as_("us-cyber", Accept="text/html"))).status == 403
    assert (await client.get("/taxii2/", headers=as_("us-cyber", **{"Content-Type": "text/html"}))).status == 200


# --- faults ---


@pytest.mark.parametrize(("path", "status"), [("/api/fall", 500), ("/api/halt", 503)])
@pytest.mark.rule("ERR-07", "ERR-08")
@pytest.mark.peer("OTX-2f")
async def test_a_fault_tells_nothing(client: Client, path: str, status: int) -> None:
    answer = await client.get(path, headers=as_("us-cyber"))
    text = await answer.text()
    assert answer.status == status
    for secret in ("SELECT", "passwd", "RuntimeError", "sqlite", "Traceback", TOKENS["us-cyber"]):
        assert secret not in text
    assert (await answer.json())["error_id"]


async def test_no_answer_is_cached_or_tells_what_serves_it(client: Client) -> None:
    answer = await client.get("/taxii2/", headers=as_("us-cyber"))
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] == "puente"


@pytest.mark.peer("OTX-1b")
async def test_one_event_for_each_request_and_no_credential_in_it(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    await client.get(f"{OBJECTS}?secret=1", headers=as_("us-cyber"))
    await client.get("/taxii2/", headers={"Authorization": "Bearer hunter2"})
    lines = [line for line in capfd.readouterr().err.splitlines() if "request" in line]
    assert len(lines) == 2
    assert "us-cyber" in lines[0]
    assert "collections/{collection}/objects" in lines[0]
    assert not any(secret in line for line in lines for secret in (TOKENS["us-cyber"], "hunter2", "secret"))


# --- bodies ---


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 100):
        yield b"x" * 100


@pytest.mark.parametrize(("size", "status"), [(LIMIT - 1, 200), (LIMIT, 200), (LIMIT + 1, 413), (50 * LIMIT, 413)])
@pytest.mark.rule("ROOT-08", "ROOT-09")
async def test_sizes_with_a_length(client: Client, size: int, status: int) -> None:
    answer = await client.post(OBJECTS, data=b"x" * size, headers=as_("us-cyber", **{"Content-Type": TAXII}))
    assert answer.status == status


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 100, 413), (100 * LIMIT, 413)])
@pytest.mark.rule("TRN-13", "ROOT-10")
async def test_sizes_in_chunks(client: Client, size: int, status: int) -> None:
    with contextlib.suppress(aiohttp.ClientConnectionError):
        answer = await client.post(OBJECTS, data=chunks(size), headers=as_("us-cyber", **{"Content-Type": TAXII}))
        assert answer.status == status


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "text/plain"}, {"Content-Type": TAXII, "Content-Encoding": "gzip"}]
)
@pytest.mark.rule("NEG-13", "NEG-15")
async def test_media_types(client: Client, headers: dict[str, str]) -> None:
    answer = await client.post(OBJECTS, data=b"x", headers=as_("us-cyber", **headers))
    assert (answer.status, answer.headers["Content-Type"]) == (415, TAXII)


TOKEN = f"Authorization: Bearer {TOKENS['us-cyber']}"
PING = request("GET", "/healthz")
LAST = request("GET", "/healthz", "Connection: close")


@pytest.mark.parametrize("lines", [["Content-Type: text/plain"], [f"Content-Type: {TAXII}", "Content-Encoding: gzip"]])
@pytest.mark.parametrize("token", [TOKEN, "Authorization: Bearer no"], ids=["known", "unknown"])
@pytest.mark.rule("TRN-17")
async def test_an_unread_small_body_leaves_the_connection_in_step(client: Client, lines: list[str], token: str) -> None:
    """The body, which looks like a request, is not taken for one."""
    smuggled = request("DELETE", "/healthz")
    post = request("POST", OBJECTS, token, *lines, f"Content-Length: {len(smuggled)}")
    got = await raw(client.server.port, post + smuggled + LAST)
    assert got.count(b"HTTP/1.1 ") == 2
    assert got.startswith((b"HTTP/1.1 415", b"HTTP/1.1 401"))
    assert b"HTTP/1.1 200" in got
    assert b"HTTP/1.1 405" not in got


@pytest.mark.parametrize("length", ["Content-Length: 5000000", "Transfer-Encoding: chunked"])
@pytest.mark.rule("TRN-17")
async def test_an_unread_large_body_closes_the_connection(client: Client, length: str) -> None:
    got = await raw(client.server.port, request("POST", OBJECTS, "Authorization: Bearer no", length), PING, pause=0.1)
    assert got.startswith(b"HTTP/1.1 401")
    assert b"Connection: close" in got
    assert got.count(b"HTTP/1.1 ") == 1


@pytest.mark.rule("AUT-19")
async def test_leave_to_send_a_body_is_given_only_to_who_may(client: Client) -> None:
    """For clients that ask first (curl does, above a megabyte)."""
    expect = ("Expect: 100-continue", "Content-Length: 3")
    refused = await raw(client.server.port, request("POST", OBJECTS, "Authorization: Bearer no", *expect))
    assert refused.startswith(b"HTTP/1.1 401")
    media = await raw(client.server.port, request("POST", OBJECTS, TOKEN, "Content-Type: text/plain", *expect))
    assert media.startswith(b"HTTP/1.1 415")
    good = request("POST", OBJECTS, TOKEN, f"Content-Type: {TAXII}", "Connection: close", *expect)
    invited = await raw(client.server.port, good, b"abc")
    assert invited.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    assert b'{"size": 3}' in invited


async def test_a_body_that_does_not_come_is_given_up() -> None:
    post = request("POST", OBJECTS, TOKEN, f"Content-Type: {TAXII}", "Content-Length: 10", "Connection: close")
    async with TestClient(HubServer(SETTINGS.model_copy(update={"body_timeout_seconds": 1}), ROUTES)) as client:
        got = await raw(client.server.port, post, b"abc")
    assert got.startswith(b"HTTP/1.1 400")
    assert b"body-timeout" in got


@pytest.mark.rule("ERR-05")
async def test_broken_chunks_are_no_fault(client: Client) -> None:
    post = request("POST", OBJECTS, TOKEN, f"Content-Type: {TAXII}", "Transfer-Encoding: chunked")
    got = await raw(client.server.port, post, b"zz\r\nabc\r\n0\r\n\r\n")
    assert b"HTTP/1.1 5" not in got


async def test_methods_nobody_knows(client: Client) -> None:
    got: Any = await raw(client.server.port, request("BREW", OBJECTS, TOKEN))
    assert got.startswith((b"HTTP/1.1 405", b"HTTP/1.0 400"))
