"""A small story of both countries, for an auditor of each: every question of the ledger's design, 9, has something in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exchange.auditing.answers import Answer, unseal
from exchange.cli.ledger import read_policies
from exchange.cli.packing import HubCopy, write_pack
from exchange.cli.setup import OPERATOR
from exchange.ledger.entry import LOGS
from exchange.ledger.pack import write_copy
from exchange.times import as_text
from policies.markings import CAVEAT_MARKINGS
from tests.agreeing import enact, in_force, successor
from tests.world import TLP2, World, make_world

NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")
OWN_LOG = {"aud-us": "us", "aud-mx": "mx"}


@dataclass
class Story:
    """What happened, by the names that the questions use."""

    world: World
    crossing: dict[str, Any] = field(default_factory=dict)
    """A US object that Mexico may have, and had."""
    domestic: dict[str, Any] = field(default_factory=dict)
    """A US object marked NOFORN, in the same collection."""
    mexican: dict[str, Any] = field(default_factory=dict)
    withdrawn: dict[str, Any] = field(default_factory=dict)
    """A US object that Mexico had, and that was then deleted."""
    refused: dict[str, Any] = field(default_factory=dict)
    revoked_key: str = ""
    ended: str = ""
    """A time after everything in the story."""

    async def ask(self, auditor: str, question: str, **query: object) -> Answer:
        """An answer of the hub, its seal checked with the auditor's own policy."""
        policies = read_policies(self.world.settings.witness_policy)
        status, body = await self.raw(auditor, question, **query)
        assert status == 200, body
        return unseal(body, policies["both"].logs)

    async def raw(self, auditor: str, question: str, **query: object) -> tuple[int, bytes]:
        url = f"{self.world.hub.url}/api/v1/audit/{question}"
        words = {name: str(value) for name, value in query.items()}
        async with self.world.session.get(url, params=words, headers=self.world.headers(auditor)) as answer:
            return answer.status, await answer.read()

    async def copy(self, directory: Path, *logs: str) -> Path:
        await self.world.cosigned()
        await write_copy(
            directory,
            HubCopy(self.world.hub.services, logs or LOGS, countries=[one for one in logs or LOGS if one != "both"]),
        )
        return directory

    async def pack(self, directory: Path, whom: str) -> Path:
        """What an operator hands to the auditors of a country, or of both."""
        await self.world.cosigned()
        await write_pack(self.world.hub.services, directory, whom, None)
        return directory


@asynccontextmanager
async def told(directory: Path, **knobs: Any) -> AsyncIterator[Story]:
    """The story, with its hub still running."""
    async with make_world(directory, notices=False, witness_interval_seconds=0.2, **knobs) as world:
        story = Story(world)
        await _objects(story)
        await _recall(story)
        await _acts(story)
        await story.world.cosigned()
        story.ended = as_text(world.clock.now_us())
        yield story


async def _objects(story: Story) -> None:
    world = story.world
    story.crossing, story.withdrawn = world.signed("us-customs"), world.signed("us-customs")
    story.domestic = world.signed("us-customs", object_marking_refs=[TLP2["amber"], NOFORN])
    story.refused = world.signed("us-customs", tlp="red")
    story.mexican = world.signed("mx-marina", tlp="green")
    status = await world.post("us-customs", story.crossing, story.domestic, story.withdrawn, story.refused)
    assert (status["success_count"], status["failure_count"]) == (3, 1), status
    await world.post("mx-marina", story.mexican)
    for slug in ("mx-aduanas", "us-maritime"):
        await world.pull(slug, query="limit=2")


async def _recall(story: Story) -> None:
    world = story.world
    path = f"{world.root}collections/{world.collections['indicators']}/objects/{story.withdrawn['id']}/"
    async with world.session.delete(path, headers=world.headers("us-customs")) as answer:
        assert answer.status == 200, await answer.text()
    async with world.session.get(f"{world.hub.url}/api/v1/recalls", headers=world.headers("mx-aduanas")) as answer:
        [recall] = (await answer.json())["recalls"]
    url = f"{world.hub.url}/api/v1/recalls/{recall['id']}/acknowledgements"
    async with world.session.post(url, headers=world.headers("mx-aduanas")) as answer:
        assert answer.status == 202


async def _acts(story: Story) -> None:
    """What operators and governments did."""
    services = story.world.hub.services
    rules = await services.rulebook.current()
    story.revoked_key = next(one.thumbprint for one in rules.registry.signing if one.member == "us-customs")
    await services.governance.revoke_signing_cert(OPERATOR, story.revoked_key, reason="superseded")
    document, _ = await in_force(services)
    await enact(services, story.world.home, successor(document))
