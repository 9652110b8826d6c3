"""The TAXII adapter against OASIS's own server, and against servers that do what real ones were seen to do."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from certs.signature import Signer
from exchange.cli.upstream import OBJECTS_AT_MOST, run_medallion
from exchange.client import Client
from exchange.clock import FixedClock
from feeds.catalogue import Source
from feeds.faults import FeedFault
from feeds.runner import Job, Run, run_once
from feeds.taxii import TaxiiAdapter
from tests.fake_hub import FakeHub, fake_hub, serving
from tests.pki import US_PORT, make_pki


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_pki(tmp_path_factory.mktemp("pki")).signer("US", "us-port", US_PORT)


async def no_pause(_: float) -> None:
    return


def source(url: str, **more: Any) -> Source:
    return Source.model_validate(
        {
            "name": "peer",
            "adapter": "taxii",
            "location": url,
            "publisher": "A peer",
            "licence": "none",
            "tlp": "green",
            "collection": "indicators",
            "cadence_seconds": 600,
            "good_for_en": "tests",
            "good_for_es": "pruebas",
            "plain_http": True,
            "loopback": True,
            **more,
        }
    )


def malware(number: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "malware",
        "spec_version": "2.1",
        "id": f"malware--{uuid.UUID(int=number, version=4)}",
        "created": "2025-01-01T00:00:00.000Z",
        "modified": f"2025-01-01T00:00:00.{number:06d}Z",
        "name": f"número {number}",
        "is_family": True,
        **more,
    }


@asynccontextmanager
async def importing(signer: Signer, directory: Path) -> AsyncIterator[tuple[FakeHub, Callable[[Source], Any]]]:
    async with (
        fake_hub() as hub,
        Client(hub.url, clock=FixedClock(), token="t", signer=signer, pause=no_pause) as client,
    ):

        async def run(one: Source) -> Run:
            return await run_once(Job.of(one, client, directory / "state", FixedClock()), pause=no_pause)

        yield hub, run


def password_file(directory: Path, text: str) -> str:
    path = directory / "password"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)


async def test_everything_medallion_holds_comes_over_once(signer: Signer, tmp_path: Path) -> None:
    objects = [malware(number) for number in range(120)]
    objects.append(
        {"type": "ipv4-addr", "spec_version": "2.1", "id": f"ipv4-addr--{uuid.uuid4()}", "value": "192.0.2.9"}
    )
    with run_medallion(objects) as upstream:
        peer = source(upstream.url, user=upstream.user, password_file=password_file(tmp_path, upstream.password))
        async with importing(signer, tmp_path) as (hub, run):
            first = await run(peer)
            assert first.fault is None
            assert (first.accepted, dict(first.skipped), dict(first.refused)) == (121, {}, {})
            assert {one["id"]: one for one in hub.objects} == {one["id"]: one for one in objects}
            again = await run(peer)
            assert (again.fault, again.accepted) == (None, 0)
            assert again.records <= 121
        wrong = peer.model_copy(update={"password_file": password_file(tmp_path, "wrong")})
        with pytest.raises(FeedFault, match="401"):
            await TaxiiAdapter(US_PORT, wrong).fetch(wrong, {})


def test_medallion_can_be_started_again_and_is_kept_small() -> None:
    for _ in range(2):
        with run_medallion([malware(1)], port=0) as upstream:
            assert "127.0.0.1" in upstream.url
            assert upstream.password not in repr(upstream)
    with pytest.raises(ValueError, match="150"), run_medallion([malware(1)] * (OBJECTS_AT_MOST + 1)):
        pass


# --- servers as they are ---


class Server:
    """Objects with dates, served in one of the ways in which servers differ."""

    def __init__(self, count: int, **habits: Any) -> None:
        self.rows = [(f"2026-01-01T00:00:{n // 10:02d}.{n % 10}00000Z", malware(n)) for n in range(count)]
        self.habits = habits
        self.asked: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        self.asked.append(query)
        after, limit = query.get("added_after", ""), int(query["limit"])
        start = int(query["next"]) if "next" in query else 0
        if query.get("next") in self.habits.get("forgets", ()):
            return web.json_response({"title": "unknown next"}, status=400)
        inclusive = self.habits.get("inclusive", False)
        rows = [row for row in self.rows if not after or row[0] > after or (inclusive and row[0] == after)]
        page = rows[start : start + min(limit, self.habits.get("most", limit))]
        body: dict[str, Any] = {"objects": [row[1] for row in page]} if page else {}
        if start + len(page) < len(rows):
            body["more"] = True
            if not self.habits.get("no_next"):
                body["next"] = str(start + len(page))
        headers = {}
        if page and not self.habits.get("no_dates"):
            headers["X-TAXII-Date-Added-First"] = page[0][0]
            if not self.habits.get("first_only"):
                headers["X-TAXII-Date-Added-Last"] = page[-1][0]
        kind = self.habits.get("kind", "application/taxii+json;version=2.1")
        return web.Response(body=json.dumps(body).encode(), headers={**headers, "Content-Type": kind})


@pytest.mark.parametrize(
    "habits",
    [
        {},
        {"most": 7},
        {"most": 50, "no_next": True},
        {"most": 50, "no_next": True, "inclusive": True},
        {"inclusive": True},
        {"no_dates": True, "most": 40},
        {"first_only": True},
        {"kind": "application/json"},
        {"kind": "application/taxii+json"},
        {"kind": "application/taxii+json; version=2.1; charset=utf-8"},
        {"most": 60, "forgets": ("120",)},
    ],
)
async def test_every_object_comes_over_whatever_the_servers_habits(
    signer: Signer, tmp_path: Path, habits: dict[str, Any]
) -> None:
    server = Server(300, **habits)
    async with serving(server.answer) as url, importing(signer, tmp_path) as (hub, run):
        peer = source(url + "/api/collections/472c94ae/")
        first = await run(peer)
        assert (first.fault, first.accepted) == (None, 300), habits
        assert len(hub.objects) == 300
        asked = len(server.asked)
        quiet = await run(peer)
        assert (quiet.fault, quiet.accepted) == (None, 0)
        assert len(server.asked) - asked <= asked
        # One more arrives with the date of the last: lost to all who trust that dates are unique.
        server.rows.append((server.rows[-1][0], malware(999)))
        assert (await run(peer)).accepted == 1


async def test_more_objects_in_one_instant_than_a_page_holds(signer: Signer, tmp_path: Path) -> None:
    server = Server(700, no_next=True, inclusive=True)
    server.rows = [("2026-01-01T00:00:00.000000Z", row[1]) for row in server.rows]
    async with serving(server.answer) as url, importing(signer, tmp_path) as (_, run):
        assert (await run(source(url + "/c/"))).accepted == 700


async def test_a_server_that_gives_no_way_on_is_a_fault_and_no_loop(signer: Signer, tmp_path: Path) -> None:
    server = Server(300, no_next=True, no_dates=True, most=50)
    async with serving(server.answer) as url, importing(signer, tmp_path) as (_, run):
        result = await run(source(url + "/c/"))
        assert result.fault is not None
        assert result.fault.code == "feed-form"
        assert len(server.asked) < 5


async def test_a_server_that_repeats_a_page_for_ever_is_a_fault(signer: Signer, tmp_path: Path) -> None:
    asked = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        body = {"more": True, "next": "same", "objects": [malware(1)]}
        return web.json_response(body, content_type="application/taxii+json")

    async with serving(answer) as url, importing(signer, tmp_path) as (_, run):
        result = await run(source(url + "/c/"))
        assert result.fault is not None
        assert (result.fault.code, result.accepted, asked) == ("feed-form", 1, 2)


async def test_a_walk_that_was_cut_goes_on_and_loses_nothing(signer: Signer, tmp_path: Path) -> None:
    server = Server(300, most=100)
    async with serving(server.answer) as url, importing(signer, tmp_path) as (hub, run):
        hub.faults = ["", "", *["503"] * 6]
        assert (await run(source(url + "/c/"))).fault is not None
        assert 0 < len(hub.objects) < 300
        hub.faults = []
        assert (await run(source(url + "/c/"))).fault is None
        assert len(hub.objects) == 300


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ({"body": b'{"objects": [', "content_type": "application/taxii+json"}, "feed-form"),
        ({"body": b"[]", "content_type": "application/json"}, "feed-form"),
        ({"body": b"<html>", "content_type": "text/html"}, "feed-form"),
        ({"body": b"x" * 2_000_000, "content_type": "application/json"}, "feed-size"),
        ({"status": 500}, "feed-http"),
        ({"status": 302, "headers": {"Location": "http://169.254.169.254/"}}, "feed-address"),
        ({"status": 302, "headers": {"Location": "https://user:pw@feed.example/"}}, "feed-address"),
        ({"status": 302, "headers": {"Location": "/c/"}}, "feed-unreachable"),
    ],
)
async def test_what_is_not_taxii_is_a_fault(response: dict[str, Any], code: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(**response)

    async with serving(answer) as url:
        peer = source(url + "/c/", size_limit_bytes=1_000_000)
        with pytest.raises(FeedFault) as refused:
            await TaxiiAdapter(US_PORT, peer).fetch(peer, {})
        assert refused.value.code == code


async def test_retry_after_is_told_to_the_runner() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "17"})

    async with serving(answer) as url:
        peer = source(url + "/c/")
        with pytest.raises(FeedFault) as refused:
            await TaxiiAdapter(US_PORT, peer).fetch(peer, {})
        assert refused.value.retry_after_seconds == 17


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254"])
async def test_upstreams_on_private_addresses_are_not_called(host: str) -> None:
    server = Server(1)
    async with serving(server.answer) as url:
        peer = source(f"http://{host}:{url.rpartition(':')[2]}/c/", loopback=False, deadline_seconds=2.0)
        with pytest.raises(FeedFault):
            await TaxiiAdapter(US_PORT, peer).fetch(peer, {})
    assert not server.asked


async def test_a_password_follows_no_redirect_to_another_host(tmp_path: Path) -> None:
    seen: dict[str, str | None] = {}

    async def second(request: web.Request) -> web.Response:
        seen["second"] = request.headers.get("Authorization")
        return web.json_response({})

    async with serving(second) as elsewhere:

        async def first(request: web.Request) -> web.Response:
            seen["first"] = request.headers.get("Authorization")
            return web.Response(status=307, headers={"Location": elsewhere + "/c/objects/"})

        async with serving(first) as url:
            peer = source(url + "/c/", user="me", password_file=password_file(tmp_path, "secret"))
            assert await TaxiiAdapter(US_PORT, peer).fetch(peer, {}) is not None
    assert (seen["first"] or "").startswith("Basic ")
    assert seen["second"] is None


async def test_a_password_others_can_read_is_not_used(tmp_path: Path) -> None:
    peer = source("http://127.0.0.1:9/c/", user="me", password_file=password_file(tmp_path, "secret"))
    Path(peer.password_file).chmod(0o644)
    with pytest.raises(FeedFault) as refused:
        await TaxiiAdapter(US_PORT, peer).fetch(peer, {})
    assert refused.value.code == "feed-password"


async def test_a_slow_upstream_ends_at_the_deadline() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            for _ in range(60):
                await response.write(b" " * 70_000)
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        return response

    async with serving(drip) as url:
        peer = source(url + "/c/", deadline_seconds=0.4)
        with pytest.raises(FeedFault) as refused:
            await TaxiiAdapter(US_PORT, peer).fetch(peer, {})
        assert refused.value.code == "feed-slow"


async def test_nothing_listens() -> None:
    peer = source("http://127.0.0.1:9/c/")
    with pytest.raises(FeedFault) as refused:
        await TaxiiAdapter(US_PORT, peer).fetch(peer, {})
    assert refused.value.code == "feed-unreachable"
