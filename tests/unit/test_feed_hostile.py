"""A source that misbehaves in every way we know of: its run fails alone, says why, keeps its place, and catches up later."""

import asyncio
import datetime
import gzip
import io
import ssl
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certs.signature import Signer
from feeds.catalogue import packaged
from feeds.mapping import Mapping
from feeds.runner import Job
from feeds.schedule import run_all
from feeds.state import FeedState
from tests.fake_hub import serving
from tests.feed_bench import Bench, bench, no_pause
from tests.pki import US_PORT, make_pki

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

GOOD = '[{"value":"192.0.2.1"},{"value":"192.0.2.2"}]'
BETTER = '[{"value":"192.0.2.1"},{"value":"192.0.2.2"},{"value":"192.0.2.3"}]'


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_pki(tmp_path_factory.mktemp("pki")).signer("US", "us-port", US_PORT)


def says(text: str | bytes, **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        body = text if isinstance(text, bytes) else text.encode()
        return web.Response(body=body, headers={"Last-Modified": "Tue, 02 Jun 2026 00:00:00 GMT", **headers})

    return answer


async def endless(request: web.Request) -> web.StreamResponse:
    """Ten gigabytes, if anybody takes them."""
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        for _ in range(160_000):
            await response.write(b"[" + b" " * 65_535)
    except ConnectionError:
        pass
    return response


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for sign in GOOD:
        await response.write(sign.encode())
        await asyncio.sleep(1)
    return response


async def halved(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(GOOD.encode()[:30])
    assert request.transport is not None
    request.transport.close()
    return response


async def to_metadata(request: web.Request) -> web.Response:
    raise web.HTTPFound("http://169.254.169.254/latest/meta-data/iam/")


async def unwilling(request: web.Request) -> web.Response:
    return web.Response(status=503, headers={"Retry-After": "7200"})


def bombed() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("list.json", b" " * 60_000_000)
    return packed.getvalue()


MISDEEDS: list[tuple[str, Answer, str]] = [
    ("ten gigabytes", endless, "feed-size"),
    ("a bomb", says(gzip.compress(b" " * 60_000_000), **{"Content-Encoding": "gzip"}), "feed-size"),
    ("a bomb in an archive", says(bombed()), "feed-archive"),
    ("one byte a second", dripping, "feed-slow"),
    ("a web page", says("<html>403</html>", **{"Content-Type": "text/html"}), "feed-form"),
    ("a web page that says it is JSON", says("\n<!DOCTYPE html><p>no", **{"Content-Type": "application/json"}), "feed-form"),
    ("the metadata service", to_metadata, "feed-address"),
    ("yesterday's data", says('[{"value":"192.0.2.9"}]', **{"Last-Modified": "Mon, 01 Jun 2026 00:00:00 GMT"}), "feed-stale"),
    ("half a JSON", says('[{"value":"192.0.2.1"},{"val'), "feed-form"),
    ("half a body", halved, "feed-unreachable"),
    ("nothing", says(""), "feed-form"),
    ("too many requests", unwilling, "feed-http"),
    ("an empty list", says("[]"), "feed-incomplete"),
]  # fmt: skip


def job(b: Bench, url: str, name: str = "hostile", **more: Any) -> Job:
    mapping = Mapping(format="json", kind="ip", full_state=True, valid_days=7)
    limits = {"size_limit_bytes": 1_000_000, "plain_http": True, "loopback": True}
    fields = {
        **packaged()["openphish"].model_dump(),
        "name": name,
        "mapping": mapping,
        "vanished": "expire",
        **limits,
        **more,
    }
    return b.job(**fields | {"location": url})


def active(b: Bench) -> set[str]:
    """Values that the hub holds as valid."""
    last: dict[str, dict[str, Any]] = {}
    for one in sorted(b.hub.objects, key=lambda one: str(one.get("modified", ""))):
        if one["type"] == "indicator":
            last[one["name"]] = one
    now = b.clock.now_us()
    return {
        name
        for name, one in last.items()
        if datetime.datetime.fromisoformat(one["valid_until"]).timestamp() * 1e6 > now
    }


@pytest.mark.parametrize(("misdeed", "code"), [one[1:] for one in MISDEEDS], ids=[one[0] for one in MISDEEDS])
async def test_the_run_fails_alone_says_why_and_the_next_good_one_catches_up(
    signer: Signer, tmp_path: Path, misdeed: Answer, code: str
) -> None:
    handler = says(GOOD)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (handler if request.path == "/hostile" else says(GOOD))(request)

    async with bench(signer, tmp_path) as b, serving(answer) as url:
        hostile, honest = job(b, url + "/hostile"), job(b, url + "/honest", "honest")
        assert [one.accepted for one in await run_all([hostile, honest], pause=no_pause)] == [3, 3]
        with FeedState(hostile.state_file) as state:
            place = state.cursor
        handler = misdeed
        b.clock.advance(seconds=60)
        if misdeed is dripping:
            hostile = job(b, url + "/hostile", deadline_seconds=2.0)
        bad, other = await run_all([hostile, honest], pause=no_pause)
        assert bad.fault is not None
        assert (bad.fault.code, bad.accepted) == (code, 0)
        assert bad.fault.text.en != bad.fault.text.es
        assert other.ok
        with FeedState(hostile.state_file) as state:
            assert state.cursor == place
        assert active(b) == {"192.0.2.1", "192.0.2.2"}
        handler = says(BETTER, **{"Last-Modified": "Wed, 03 Jun 2026 00:00:00 GMT"})
        b.clock.advance(seconds=60)
        [good] = await run_all([job(b, url + "/hostile")], pause=no_pause)
        assert (good.fault, good.accepted) == (None, 1)
        assert active(b) == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}


async def test_news_of_a_document_that_breaks_off_are_kept_and_nothing_counts_as_gone(
    signer: Signer, tmp_path: Path
) -> None:
    handler = says(GOOD)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    async with bench(signer, tmp_path) as b, serving(answer) as url:
        await run_all([job(b, url)], pause=no_pause)
        handler = says('[{"value":"192.0.2.3"},{"val', **{"Last-Modified": "Wed, 03 Jun 2026 00:00:00 GMT"})
        [bad] = await run_all([job(b, url)], pause=no_pause)
        assert bad.fault is not None
        assert bad.fault.code == "feed-form"
        assert (bad.accepted, active(b)) == (1, {"192.0.2.1", "192.0.2.2", "192.0.2.3"})


async def test_a_server_that_nobody_vouches_for_is_told_nothing(signer: Signer, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    key.chmod(0o600)
    asked: list[web.Request] = []
    said = GOOD

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(text=said)

    async with bench(signer, tmp_path) as b, over_tls(answer, tmp_path) as (url, ca_file), serving(says(GOOD)) as plain:
        told = {"secret_in": "header:Auth-Key", "password_file": str(key)}
        [good] = await run_all([job(b, url, **told, ca_file=ca_file)], pause=no_pause)
        assert good.accepted == 3
        with FeedState(job(b, url).state_file) as state:
            place = state.cursor
        b.clock.advance(seconds=60)
        bad, other = await run_all([job(b, url, **told), job(b, plain, "honest")], pause=no_pause)
        assert bad.fault is not None
        assert (bad.fault.code, len(asked), other.accepted) == ("feed-certificate", 1, 3)
        with FeedState(job(b, url).state_file) as state:
            assert state.cursor == place
        said = BETTER
        [better] = await run_all([job(b, url, **told, ca_file=ca_file)], pause=no_pause)
        assert (better.accepted, better.fault) == (1, None)
        assert {one.headers["Auth-Key"] for one in asked} == {"secret"}
        assert "secret" not in "".join(path.read_text("latin-1") for path in (tmp_path / "state").iterdir())
        key.chmod(0o644)
        [open_key] = await run_all([job(b, url, **told, ca_file=ca_file)], pause=no_pause)
        assert open_key.fault is not None
        assert open_key.fault.code == "feed-password"


@asynccontextmanager
async def over_tls(handler: Answer, directory: Path) -> AsyncIterator[tuple[str, str]]:
    """A server with a certificate that it made itself, and the file that would vouch for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1)).not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = directory / "server.pem"
    certificate = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(secret + certificate)
    (directory / "ca.pem").write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}/", str(directory / "ca.pem")
    finally:
        await runner.cleanup()
