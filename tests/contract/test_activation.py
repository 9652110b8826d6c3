"""A version that opens much for many: whoever polls meanwhile waits for a few steps and not for all, and is given all of it once.

Nothing here is timed: what a poll waits for is counted in steps of views, which one after the other take the head.
"""

import asyncio
from dataclasses import replace

import orjson
import pytest

from certs.jcs import canonical
from exchange.model.page import Filter
from exchange.rules import Caller
from exchange.store.acts import NewObject
from exchange.taxii.resources import OBJECTS
from policies.label import Label
from tests.late_scene import COLLECTION, Reader, Scene, label, member, scene
from tests.places import Place

AUTHOR = "us-one"
OF = (AUTHOR, "indicator")
LABELS = 60
MEMBERS = [f"mx-reader-{number}" for number in range(6)]
AT_ONCE = 5
STEPS = len(MEMBERS) * LABELS // AT_ONCE


class Poller:
    """A member that asks what is new, and counts the steps that were taken while it waited."""

    def __init__(self, scene: Scene, slug: str) -> None:
        self.scene = scene
        self.slug = slug
        self.place = 0
        self.had: list[bytes] = []
        self.steps: list[int] = []

    async def poll(self) -> None:
        before = (await self.scene.store.epochs()).views
        glance = await self.scene.rulebook.glance()
        caller = Caller(glance.rules.registry.members[self.slug], "acct")
        released = await self.scene.release.page(caller, glance, COLLECTION, Filter(), self.place, 100, OBJECTS)
        self.had += map(canonical, orjson.loads(b"[%b]" % released.sheet.content))
        self.place = max(self.place, released.sheet.last_us)
        self.steps.append((await self.scene.store.epochs()).views - before)


async def test_a_poll_waits_for_few_steps_of_many_and_nobody_misses_anything(place: Place) -> None:
    async with scene(place) as made:
        for slug in MEMBERS:
            made.readers[slug] = Reader(slug)
            await made.act(change=member(slug))
        words = [replace(Label.decode(label(OF)), feed=f"feed-{number}").encode() for number in range(LABELS)]
        objects = [made._object(f"indicator--00000000-0000-4000-8000-{number:012}") for number in range(LABELS)]
        await made.act(
            objects=tuple(
                NewObject(obj, AUTHOR, "", COLLECTION.id, text, "US") for obj, text in zip(objects, words, strict=True)
            )
        )
        pollers = [Poller(made, slug) for slug in MEMBERS]
        for one in pollers:
            await one.poll()
            assert not one.had
            one.steps.clear()
            made.readers[one.slug].ruled[OF] = "open"
        views = made.release.views
        views.rows_at_once = 4 * AT_ONCE  # a quarter of them labels, the rest for their runs
        await made.adopt()
        began = (await made.store.epochs()).views

        opening = asyncio.create_task(views.catch_up())
        while not opening.done():
            await asyncio.gather(*(one.poll() for one in pollers))
        await opening
        # The last of each member's is of twice as many, for then that is all.
        assert (await made.store.epochs()).views - began >= STEPS - len(MEMBERS), "each step opens so many and no more"
        for one in pollers:
            # Its own that says by what rules it is answered, and one that opens; as many of each of the others, that come with it.
            assert max(one.steps) <= 2 * len(MEMBERS) + 2 < STEPS // 2, one.steps
            await one.poll()
            assert sorted(one.had) == sorted(obj.body for obj in objects)
        leaves = [orjson.loads(one) for one in await made.store.leaves("both", 0, 10_000)]
        assert {one["pub"]["count"] for one in leaves if one["t"] == "publish"} == {AT_ONCE, 2 * AT_ONCE}


@pytest.mark.parametrize("by", ["its own polls", "the hub's round"])
async def test_a_label_is_not_done_with_while_runs_of_it_are_still_to_be_given(place: Place, by: str) -> None:
    """One step opens it and gives its first run; from then on its state is what the rules say, and nothing else changes."""
    runs = 5
    async with scene(place) as made:
        slug = MEMBERS[0]
        made.readers[slug] = Reader(slug)
        await made.act(change=member(slug))
        objects = [made._object(f"indicator--00000000-0000-4000-8000-{number:012}") for number in range(runs)]
        for obj in objects:  # each of an act, and so of a run, of its own
            await made.act(objects=(NewObject(obj, AUTHOR, "", COLLECTION.id, label(OF), "US"),))
        poller = Poller(made, slug)
        await poller.poll()
        made.readers[slug].ruled[OF] = "open"
        views = made.release.views
        views.rows_at_once = 2  # the label, and one run of it
        await made.adopt()

        given = []
        for _ in range(runs):
            ready = await views.ready(await made.rulebook.glance(), member(slug))
            assert ready.view == await made.store.view(slug), "what it wrote is what it goes on from"
            given.append(len(await made.store.late(slug, COLLECTION.id)))
            assert ready.whole == (given[-1] == runs)
            if ready.whole or by == "the hub's round":
                break
        assert given == ([1, 3, 5] if by == "its own polls" else [1])
        await views.catch_up()
        await poller.poll()
        assert poller.had == [obj.body for obj in objects]
        assert (await views.ready(await made.rulebook.glance(), member(slug))).whole


async def test_what_closed_is_gone_and_recalled_before_anybody_is_answered(place: Place) -> None:
    """However much else is being written: to close is never put off."""
    async with scene(place) as made:
        for slug in MEMBERS:
            made.readers[slug] = Reader(slug, {OF: "open"})
            await made.act(change=member(slug))
        await made.adopt()
        await made.submit(OF, 3)
        pollers = [Poller(made, slug) for slug in MEMBERS]
        await asyncio.gather(*(one.poll() for one in pollers))
        assert all(len(one.had) == 3 for one in pollers)
        made.release.views.rows_at_once = 1
        for slug in MEMBERS:
            made.readers[slug].ruled[OF] = "closed"
        await made.adopt()
        for one in pollers:
            one.place, one.had = 0, []
        await asyncio.gather(*(one.poll() for one in pollers))
        assert not any(one.had for one in pollers)
        assert {row.member for row in await made.store.recalls()} == set(MEMBERS)
