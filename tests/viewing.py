"""A member that asks for all it may ask, and keeps every byte that it is answered."""

import re
from typing import Any

from tests.taxii import UNKNOWN
from tests.world import World

BY_LOT = re.compile(rb'(?<="error_id":")[0-9a-f-]{36}')
FILES = ("ipv4.txt", "ipv4.csv", "all.ndjson", "all.intel")

Answer = tuple[str, int, tuple[tuple[str, str], ...], bytes]


class Viewer:
    """A member that asks for everything there is to ask, and keeps the answers."""

    def __init__(self, world: World, slug: str, *, indices: bool = True, domestic: str = "us-domestic") -> None:
        self.world = world
        self.slug = slug
        self.domestic = domestic
        self.unlike = {"date", *([] if indices else ["x-audit-leaf"])}
        self.heard: list[Answer] = []
        self.place = ""

    async def ask(self, path: str, **headers: str) -> tuple[bytes, Any]:
        async with self.world.session.get(
            f"{self.world.hub.url}{path}", headers=self.world.headers(self.slug, **headers)
        ) as answer:
            body = BY_LOT.sub(b"*", await answer.read())
            kept = sorted((name, value) for name, value in answer.headers.items() if name.lower() not in self.unlike)
            self.heard.append((path, answer.status, tuple(kept), body))
            return body, answer

    async def look(self, ids: list[str]) -> None:
        """Once around."""
        for alias in ("indicators", "vulnerabilities", self.domestic):
            base = f"/taxii2/us-mx/collections/{self.world.collections[alias]}/"
            await self.ask(base)
            for query in (
                "",
                "?limit=2",
                "?match[version]=all",
                "?match[version]=first&limit=3",
                "?match[type]=indicator",
            ):
                await self._walk(f"{base}objects/{query}", query)
                await self._walk(f"{base}manifest/{query}", query)
            await self.ask(f"{base}objects/?match[id]={','.join(ids)}")
            for one in ids:
                await self.ask(f"{base}objects/{one}/")
                await self.ask(f"{base}objects/{one}/versions/")
                await self.ask(f"{base}objects/{one}/?match[version]=all")
                await self.ask(f"/api/v1/explain?object={one}&to={self.slug}", Accept="application/json")
            for file in FILES:
                await self.ask(f"/edl/v1/{alias}/{file}")
        _, answer = await self.ask(f"/taxii2/us-mx/collections/indicators/objects/?limit=5000{self.place}")
        last = answer.headers.get("X-TAXII-Date-Added-Last", "")
        self.place = f"&added_after={last}" if last else self.place
        for path in (
            "/taxii2/",
            "/taxii2/us-mx/",
            "/taxii2/us-mx/collections/",
            f"/taxii2/us-mx/status/{UNKNOWN[11:]}/",
        ):
            await self.ask(path)
        for path in ("/api/v1/me", "/api/v1/members", "/api/v1/collections"):
            await self.ask(path, Accept="application/json")

    async def _walk(self, path: str, query: str) -> None:
        following = ""
        while True:
            body, _ = await self.ask(path + following)
            token = re.search(rb'"next":"([^"]+)"', body)
            if token is None:
                return
            following = ("&" if query else "?") + "next=" + token[1].decode()
