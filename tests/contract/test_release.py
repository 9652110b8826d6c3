"""The one way out against a whole hub: what is judged by rules that are no longer in force does not leave."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from exchange.errors import Unavailable
from exchange.model.page import Filter
from exchange.release.page import Released
from exchange.rules import Caller, Glance
from exchange.taxii.resources import OBJECTS
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("release")) as made:
        await made.post("us-cyber", made.signed("us-cyber"))
        yield made


async def page(world: World, glance: Glance) -> Released:
    caller = Caller(glance.rules.registry.members["us-cyber"], "acct")
    collection = glance.rules.collection("indicators")
    assert collection is not None
    return await world.hub.services.release.page(caller, glance, collection, Filter(), 0, 10, OBJECTS)


async def test_a_page_judged_by_an_agreement_no_longer_in_force_is_judged_again(world: World) -> None:
    rules, epochs = await world.hub.services.rulebook.glance()
    earlier = Glance(replace(rules, number=rules.number - 1), epochs)
    released = await page(world, earlier)
    assert released.sheet.count == 1 and released.leaves
    assert (await page(world, Glance(rules, epochs))).sheet is released.sheet


async def test_the_second_judgement_is_by_the_rules_of_now(world: World) -> None:
    """Without an agreement in force nothing leaves, whatever was in force when the request came."""
    services = world.hub.services
    rules, epochs = await services.rulebook.glance()
    earlier = Glance(replace(rules, number=rules.number - 1), epochs)
    services.rulebook._current = replace(rules, agreement=None)
    try:
        with pytest.raises(Unavailable) as refusal:
            await page(world, earlier)
    finally:
        services.rulebook._current = rules
    assert refusal.value.code == "no-agreement"
