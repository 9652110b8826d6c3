"""An originator's own terms, from its marking through a whole hub: what they keep back stays back, and explain says why."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from exchange.times import as_datetime
from policies.terms import IEP_EXTENSION, TERMS_EXTENSION
from tests.world import TLP2, World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("terms"), **database) as made:
        yield made


def marked(world: World, extension: str, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A marking of US Cyber, and an indicator that bears it."""
    definition = world.sign("us-cyber", {
        "type": "marking-definition", "spec_version": "2.1", "id": f"marking-definition--{uuid.uuid4()}",
        "created_by_ref": world.members["us-cyber"].identity_id, "created": "2026-01-01T00:00:00.000Z", "name": "terms",
        "extensions": {extension: {"extension_type": "property-extension", **body}},
    })  # fmt: skip
    return definition, world.signed("us-cyber", object_marking_refs=[TLP2["green"], definition["id"]])


async def explained(world: World, obj: dict[str, Any], to: str) -> dict[str, Any]:
    url = f"{world.hub.url}/api/v1/explain?object={obj['id']}&to={to}"
    async with world.session.get(url, headers=world.headers("us-cyber")) as answer:
        assert answer.status == 200, await answer.text()
        placed: dict[str, Any] = (await answer.json(content_type=None))["placements"][0]
        return placed


@pytest.mark.parametrize(
    ("body", "clause"),
    [
        ({"release_to": ["US"]}, "F-REL-TO"),
        ({"audience": "port-watch"}, "AUDIENCE"),
        ({"case": "flood-2027"}, "F-ORCON"),
        ({"surprise": 1}, "F-OPAQUE"),
    ],
)
async def test_what_terms_keep_back_stays_back(world: World, body: dict[str, Any], clause: str) -> None:
    definition, sent = marked(world, TERMS_EXTENSION, body)
    assert (await world.post("us-cyber", definition, sent))["failure_count"] == 0
    assert sent["id"] not in await world.pull("mx-ciber")
    assert sent["id"] in await world.pull("us-cyber"), "its originator reads it back"
    assert (await explained(world, sent, "mx-ciber"))["clause"] == clause


async def test_an_embargo_holds_until_its_hour(world: World) -> None:
    soon = as_datetime(world.clock.now_us()) + timedelta(hours=2)
    definition, sent = marked(world, TERMS_EXTENSION, {"not_before": soon.strftime("%Y-%m-%dT%H:%M:%SZ")})
    assert (await world.post("us-cyber", definition, sent))["failure_count"] == 0
    assert sent["id"] not in [*await world.pull("mx-ciber"), *await world.pull("us-customs")]
    assert (await explained(world, sent, "us-customs"))["clause"] == "EMBARGO"


@pytest.mark.parametrize(
    ("body", "clause"), [({"audience": "nobody-knows"}, "AUDIENCE"), ({"purposes": ["tax"]}, "purposes")]
)
async def test_terms_that_the_agreement_cannot_keep_are_refused(
    world: World, body: dict[str, Any], clause: str
) -> None:
    definition, sent = marked(world, TERMS_EXTENSION, body)
    status = await world.post("us-cyber", definition, sent)
    (failure,) = status["failures"]
    assert failure["id"] == sent["id"]
    assert clause in str(failure)


async def test_what_a_marking_asks_of_the_recipient_is_handed_over(world: World) -> None:
    named = {"iep_id": str(uuid.uuid4()), "iep_version": 2, "description": "x", "start_date": "2026-01-01T00:00:00Z"}
    definition, sent = marked(world, IEP_EXTENSION, {**named, "unmodified_resale": "must-not", "tlp": "amber"})
    assert (await world.post("us-cyber", definition, sent))["failure_count"] == 0
    assert sent["id"] in await world.pull("mx-ciber")
    obligations = (await explained(world, sent, "mx-ciber"))["obligations"]
    assert (obligations["resale"], obligations["retain"]) == ("must-not", "365d")
    assert "immigration" in obligations["excluded_purposes"]
