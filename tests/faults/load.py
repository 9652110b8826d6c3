"""Members at work against hubs that die under them, and what each of them was told: the history that the test judges."""

import asyncio
import contextlib
import itertools
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import aiohttp

from certs.jcs import canonical
from exchange.ledger.merkle import root
from exchange.ledger.note import Checkpoint, split_note
from exchange.model.stix import item_hash
from tests.world import TAXII, Founded, settled

LIMIT = 25
LOST = (aiohttp.ClientError, TimeoutError, OSError)
"""What a client sees of a hub that dies, or is cut off."""

_TRIES = 2_000


@dataclass
class History:
    """Everything that was answered, by any hub process."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    """Object id to its creator's member, for every object in a 202's successes."""
    dates: dict[str, str] = field(default_factory=dict)
    """Object id to the only `date_added` it was ever shown with."""
    pages: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)
    """(member, objects) of each page that arrived whole."""
    walks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    roots: dict[tuple[str, int], set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """(log, size) to the roots that were shown for it."""
    notes: list[tuple[str, bytes]] = field(default_factory=list)


class Members:
    """Clients of the hubs. They are patient: a connection that breaks is tried again, with the same bytes."""

    def __init__(self, founded: Founded, session: aiohttp.ClientSession, hubs: Sequence[str] = ()) -> None:
        """`hubs`: URLs of several, which are asked in turn, so that every walk goes from one to the other."""
        self.founded = founded
        self.history = History()
        self._session = session
        self._turn = itertools.cycle(hubs or (founded.settings.public_url,))
        self.collection = f"collections/{founded.collections['indicators']}"
        self.enough = asyncio.Event()
        """Set: submitters stop when their envelope is acknowledged."""
        self.complete = asyncio.Event()
        """Set when all submitters stopped: readers stop when they have everything."""

    def only(self, hub: str) -> "Members":
        """The same ones, asking no hub but this."""
        made = Members(self.founded, self._session, [hub])
        made.history = self.history
        return made

    async def ask(self, slug: str, path: str, body: bytes | None = None) -> tuple[bytes, Any]:
        """Body and headers of the first 2xx answer. Whatever is neither that nor "come again" fails the test: 503, 429 after
        a step of the hub's clock, and 404 for a checkpoint before the first."""
        data = b"nothing"
        for _ in range(_TRIES):
            with contextlib.suppress(*LOST):
                async with self._request(slug, path, body) as answer:
                    data = await answer.read()
                    if answer.status in (200, 202):
                        return data, answer.headers
                    not_yet = answer.status in (429, 503) or b"no-such-ledger-file" in data
                    assert not_yet, (answer.status, data)
            await asyncio.sleep(0.01)
        raise AssertionError(f"no hub came back; the last one said {data[:300]!r}")

    async def lose(self, slug: str, body: bytes, *, after_seconds: float | None) -> None:
        """Send an envelope once and never know the answer: the connection ends so soon, or (None) as the answer begins."""
        with contextlib.suppress(*LOST):
            async with (
                asyncio.timeout(after_seconds),
                self._request(slug, f"{self.collection}/objects/", body) as answer,
            ):
                answer.close()

    def _request(self, slug: str, path: str, body: bytes | None) -> Any:
        place = path if path.startswith("/") else f"/taxii2/us-mx/{path}"
        headers = self.founded.headers(slug, **({"Content-Type": TAXII} if body else {}))
        if "/ledger/" in place:
            headers["Accept"] = "*/*"
        return self._session.request(
            "POST" if body else "GET", next(self._turn) + place, data=body, headers=headers, server_hostname="localhost"
        )

    async def send(self, slug: str, body: bytes) -> None:
        """Until a hub says 202, and then all of it must be in."""
        answer, _ = await self.ask(slug, f"{self.collection}/objects/", body)
        status = json.loads(answer)
        assert status["failure_count"] == 0, status
        for one in status["successes"]:
            self.history.acknowledged[one["id"]] = slug

    async def submit(self, slug: str) -> None:
        """Signed indicators, three to an envelope."""
        while not self.enough.is_set():
            await self.send(slug, envelope([self.founded.signed(slug, tlp="green") for _ in range(3)]))
            await asyncio.sleep(0.005)

    async def pull(self, slug: str) -> None:
        """One walk over the collection that goes on, by `next` while there is more and by added_after otherwise."""
        async for page in self._pages(slug, "objects"):
            self.history.pages.append((slug, page))
            self.history.walks[slug] += [one["id"] for one in page]

    async def read_manifests(self, slug: str) -> None:
        """The whole manifest again and again: no date may ever change."""
        while True:
            last = self.complete.is_set()
            async for page in self._pages(slug, "manifest", once=True):
                for one in page:
                    assert self.history.dates.setdefault(one["id"], one["date_added"]) == one["date_added"]
            if last:
                return
            await asyncio.sleep(0.2)

    async def _pages(self, slug: str, kind: str, *, once: bool = False) -> AsyncIterator[list[dict[str, Any]]]:
        base = f"{self.collection}/{kind}/?limit={LIMIT if not once else 1000}"
        query = ""
        while True:
            last = once or self.complete.is_set()
            data, headers = await self.ask(slug, base + query)
            body = json.loads(data)
            if body.get("objects"):
                yield body["objects"]
                query = f"&added_after={headers['X-TAXII-Date-Added-Last']}"
            if body.get("more"):
                query = f"&next={body['next']}"
            elif last:
                return
            else:
                await asyncio.sleep(0.02)

    async def look_at_checkpoint(self, slug: str, log: str) -> Checkpoint:
        data, _ = await self.ask(slug, f"/ledger/{log}/checkpoint")
        seen = Checkpoint.parse(split_note(data)[0])
        self.history.roots[log, seen.size].add(seen.root)
        self.history.notes.append((log, data))
        return seen


@contextlib.asynccontextmanager
async def at_work(founded: Founded, *hubs: str, patience_seconds: float = 10) -> AsyncIterator[Members]:
    """Members whose connections are closed when the block ends."""
    connector = aiohttp.TCPConnector(ssl=founded.trusting())
    timeout = aiohttp.ClientTimeout(total=patience_seconds)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Members(founded, session, hubs)
    await settled()


def envelope(objects: list[dict[str, Any]]) -> bytes:
    return json.dumps({"objects": objects}).encode()


def items_root(objects: list[dict[str, Any]]) -> str:
    """What a `release` entry must say of a page that left: computed from what arrived."""
    return root([item_hash(one["id"], one["modified"], sha256(canonical(one)).digest()) for one in objects]).hex()
