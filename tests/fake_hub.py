"""A hub of thirty lines that takes submissions and misbehaves on request: what clients and feeds are tested against."""

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from exchange.client.envelopes import version_of


@dataclass
class FakeHub:
    """`faults` is what the next requests meet, one each; "" lets one through. `refuse` maps object ids to codes."""

    url: str = ""
    faults: list[str] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    held: dict[tuple[str, str], str] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)
    max_content_length: int = 10_000_000
    runs: list[dict[str, Any]] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "cut":
            return _cut(request)
        if fault == "half":
            return web.Response(body=b'{"slug": "half', content_type="application/json")
        if fault == "redirect":
            return web.Response(status=307, headers={"Location": "http://127.0.0.1:9/"})
        if fault:
            status, _, after = fault.partition(" ")
            headers = {"Retry-After": after} if after else {}
            message = {"title": "no", "description": f"because {status}", "error_code": f"code-{status}"}
            return web.json_response(message, status=int(status), headers=headers)
        response = await self._serve(request)
        if self.faults and self.faults[0] == "lost":
            self.faults.pop(0)
            return _cut(request)  # done, but the answer never arrives
        return response

    async def _serve(self, request: web.Request) -> web.Response:
        if request.method == "POST" and request.path.endswith("/runs"):
            return await self._record(request)
        if request.method == "POST":
            return await self._submit(request)
        if request.path.endswith("/objects/"):
            if request.query.get("next") == "stale":
                return web.json_response({"description": "token"}, status=400)
            page = self.pages.pop(0)
            return web.json_response(page["body"], headers=page.get("headers", {}))
        if request.path == "/taxii2/us-mx/":
            return web.json_response({"title": "t", "max_content_length": self.max_content_length})
        if request.path == "/api/v1/collections":
            return web.json_response({"collections": [{"id": "c1", "alias": "vulnerabilities"}]})
        return web.json_response({"slug": "me"})

    async def _record(self, request: web.Request) -> web.Response:
        told = await request.json()
        known = [one for one in self.runs if one["run"] == told["run"]]
        if known and known != [told]:
            return web.json_response({"error_code": "feed-run-conflict"}, status=409)
        if not known:
            self.runs.append(told)
        return web.json_response({"run": told["run"], "leaves": []}, status=201)

    async def _submit(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        successes, failures = [], []
        for obj in json.loads(body)["objects"]:
            named = {"id": obj["id"], "version": version_of(obj)}
            content = json.dumps(obj, sort_keys=True)
            code = self.refuse.get(obj["id"], "")
            if not code and self.held.setdefault((obj["id"], version_of(obj)), content) != content:
                code = "version-conflict"
            if code:
                failures.append({**named, "message": "no", "x_code": code})
            else:
                successes.append(named)
        status = {
            "id": str(uuid.uuid4()), "status": "complete", "total_count": len(successes) + len(failures),
            "success_count": len(successes), "failure_count": len(failures), "pending_count": 0,
            "successes": successes, "failures": failures,
            "leaves": [{"log": "both", "index": 7, "origin": "h/audit/both", "hash": "00" * 32}],
        }  # fmt: skip
        return web.json_response(status, status=202)

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What is held, less attestations."""
        found = [json.loads(content) for content in self.held.values()]
        return [one for one in found if one["type"] != "object-attestation"]


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@asynccontextmanager
async def fake_hub() -> AsyncIterator[FakeHub]:
    hub = FakeHub()
    async with serving(hub.answer) as url:
        hub.url = url
        yield hub


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    """Any handler for every path, on loopback; its address."""
    app = web.Application(client_max_size=100_000_000)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
