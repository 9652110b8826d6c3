"""Clients with one habit each, as tools in the field have them: how they ask for what comes after a page is all they differ in."""

import asyncio
import json
import random
from typing import Any

from tests.faults.load import Members

Key = tuple[str, str]
"""Id and `modified`: one version."""


class Poller:
    """Asks for every version, in pages of whatever size, and keeps what each of its walks gave."""

    largest = 40

    def __init__(self, members: Members, slug: str, seed: int) -> None:
        self.slug = slug
        self.walks: list[list[Key]] = [[]]
        self._members = members
        self._chance = random.Random(seed)
        self._query = ""

    def __str__(self) -> str:
        return f"{type(self).__name__} of {self.slug}"

    async def poll(self) -> None:
        """Until it came to the end of a walk that it began, or went on with, after all was written."""
        last = False
        while not last:
            last = self._members.complete.is_set()
            await self.walk()
            await asyncio.sleep(self._chance.uniform(0.01, 0.1))

    async def walk(self) -> None:
        """To the end of what is there now."""
        more = True
        while more:
            data, headers = await self.ask("objects", f"limit={self._chance.randint(1, self.largest)}{self._query}")
            body = json.loads(data)
            objects = body.get("objects", [])
            self._members.history.pages.append((self.slug, objects))
            page = [(one["id"], one["modified"]) for one in objects]
            self.walks[-1] += page
            more = body.get("more", False)
            self._query = await self.following(body, headers, page)

    async def following(self, body: dict[str, Any], headers: Any, page: list[Key]) -> str:
        """What it says to get what comes after this page."""
        raise NotImplementedError

    async def ask(self, kind: str, query: str) -> tuple[bytes, Any]:
        return await self._members.ask(self.slug, f"{self._members.collection}/{kind}/?match[version]=all&{query}")


class ByHeader(Poller):
    """Knows X-TAXII-Date-Added-Last and nothing else; an empty page's is as good as any."""

    async def following(self, body: dict[str, Any], headers: Any, page: list[Key]) -> str:
        return f"&added_after={headers['X-TAXII-Date-Added-Last']}"


class ByManifest(Poller):
    """Looks up when the last object it got was added."""

    async def following(self, body: dict[str, Any], headers: Any, page: list[Key]) -> str:
        if not page:
            return self._query
        data, _ = await self.ask("manifest", f"match[id]={page[-1][0]}")
        [added] = [one["date_added"] for one in json.loads(data)["objects"] if one["version"] == page[-1][1]]
        return f"&added_after={added}"


class ByNext(Poller):
    """Follows `next` while there is more, then begins anew from where it came to."""

    async def following(self, body: dict[str, Any], headers: Any, page: list[Key]) -> str:
        return f"&next={body['next']}" if body.get("more") else f"&added_after={headers['X-TAXII-Date-Added-Last']}"


class Again(Poller):
    """Fetches the whole collection by `next`, again and again."""

    largest = 400

    async def walk(self) -> None:
        self.walks.append([])
        self._query = ""
        await super().walk()

    async def following(self, body: dict[str, Any], headers: Any, page: list[Key]) -> str:
        return f"&next={body.get('next')}"


HABITS = (ByHeader, ByManifest, ByNext, Again)


async def in_order(members: Members, slug: str) -> list[Key]:
    """All versions that a reader is shown, by the date they were added, as the manifest has it; no two share one."""
    reader = Again(members, slug, 0)
    dates: dict[Key, str] = {}
    query, more = "", True
    while more:
        data, _ = await reader.ask("manifest", f"limit=1000{query}")
        body = json.loads(data)
        dates |= {(one["id"], one["version"]): one["date_added"] for one in body.get("objects", [])}
        more, query = body.get("more", False), f"&next={body.get('next')}"
    assert len(set(dates.values())) == len(dates)
    return sorted(dates, key=lambda one: dates[one])


def was_given_all(poller: Poller, order: list[Key]) -> None:
    """Each walk went along the one order, from its beginning, nothing left out and nothing twice; the last to its end."""
    for walk in poller.walks:
        assert walk == order[: len(walk)], f"{poller} was not shown every version once, in order"
    assert poller.walks[-1] == order, f"{poller} was not shown the last {len(order) - len(poller.walks[-1])} versions"
