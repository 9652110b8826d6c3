"""A version that opens much for many: whoever polls meanwhile waits for a few steps and not for all, and is given all of it once.

Nothing here is timed: what a poll waits for is counted in steps of views, which one after the other take the head.
"""

import asyncio
import uuid
from dataclasses import dataclass, replace

import orjson
import pytest

from certs.jcs import canonical
from exchange.model.page import Filter
from exchange.model.recall import RecallRow
from exchange.model.stix import StixObject
from exchange.model.view import EVER
from exchange.rules import Caller
from exchange.store.acts import Act, NewObject, Record, Turn, ViewChange
from exchange.store.contract import Outdated
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


@pytest.mark.parametrize(
    ("by", "at_once", "steps"),
    [("its own polls", 2, [1, 3, 5]), ("its own polls", 3, [1, 5]), ("the hub's round", 2, [1])],
)
async def test_a_label_is_not_done_with_while_runs_of_it_are_still_to_be_given(
    place: Place, by: str, at_once: int, steps: list[int]
) -> None:
    """One step opens it and gives its first run; from then on its state is what the rules say, nothing else changes, and a step has as
    many runs as one may have that opens nothing."""
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
        views.rows_at_once, views.runs_at_once = 2, at_once  # the label and one run of it
        await made.adopt()

        given = []
        for _ in range(runs):
            ready = await views.ready(await made.rulebook.glance(), member(slug))
            assert ready.view == await made.store.view(slug), "what it wrote is what it goes on from"
            given.append(len(await made.store.late(slug, COLLECTION.id)))
            assert ready.whole == (given[-1] == runs)
            if ready.whole or by == "the hub's round":
                break
        assert given == steps
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


@dataclass
class Closed:
    """What opened late and closed again, for two members, as their notices are to name it."""

    made: Scene
    objects: list[StixObject]

    async def rows(self, slug: str) -> tuple[int, int]:
        """What is kept of it: late runs, and labels with windows."""
        view = await self.made.store.view(slug)
        assert view is not None
        return len(await self.made.store.late(slug, COLLECTION.id)), len(view.windows)

    async def recall(self, slug: str) -> RecallRow:
        [row] = await self.made.store.recalls(slug)
        return row


async def closed(made: Scene, labels: int, forgotten_at_once: dict[str, int]) -> Closed:
    """By the polls of these members, one after the other. Under each label one was released late, and one lies where it was placed."""
    pollers = [Poller(made, slug) for slug in forgotten_at_once]
    for one in pollers:
        made.readers[one.slug] = Reader(one.slug)
        await made.act(change=member(one.slug))
        await one.poll()
    words = [replace(Label.decode(label(OF)), feed=f"feed-{number}").encode() for number in range(labels)]
    objects = [made._object(f"indicator--00000000-0000-4000-8000-{number:012}") for number in range(2 * labels)]
    for half in (objects[:labels], objects[labels:]):
        placed = zip(half, words, strict=True)
        await made.act(objects=tuple([NewObject(obj, AUTHOR, "", COLLECTION.id, text, "US") for obj, text in placed]))
        for one in pollers:
            await one.poll()
            made.readers[one.slug].ruled[OF] = "open"
        await made.adopt()
        await made.release.views.catch_up()
    for one in pollers:
        await one.poll()
        assert sorted(one.had) == sorted(obj.body for obj in objects)
        made.readers[one.slug].ruled[OF] = "closed"
    await made.adopt()
    for one in pollers:
        made.release.views.forgotten_at_once = forgotten_at_once[one.slug]
        one.place, one.had = 0, []
        await one.poll()
        assert one.had == []
    return Closed(made, objects)


async def test_of_much_that_closes_it_is_told_at_once_and_forgotten_by_the_hubs_round(place: Place) -> None:
    """So that nobody waits for that; and its notice names the same as if it had been forgotten at once."""
    patient, quick = MEMBERS[:2]
    async with scene(place) as made:
        then = await closed(made, LABELS, {patient: LABELS - 1, quick: LABELS})
        owing = await then.recall(patient)
        assert (await then.rows(quick), await then.rows(patient)) == ((0, 0), (LABELS, LABELS))
        assert owing.owes
        assert [row.member for row in await made.store.unnoticed()] == [quick], (
            "no notice before it is known what to name"
        )
        leaves = [orjson.loads(one) for one in await made.store.leaves("both", 0, 10_000)]
        assert [one["pub"]["to"] for one in leaves if one["t"] == "withdraw"] == [patient, quick], "in the same act"
        size = (await made.store.trees())["both"].size

        await made.release.views.catch_up()
        assert await then.rows(patient) == (0, 0)
        assert (await made.store.trees())["both"].size == size, "there is nothing more to tell"
        said, other = await then.recall(patient), await then.recall(quick)
        assert not said.owes
        assert replace(said, scope=b"", owes=True) == replace(owing, scope=b"")
        assert orjson.loads(said.scope)["labels"].keys() == orjson.loads(other.scope)["labels"].keys()

        await made.follow_notices()
        for slug in (patient, quick):
            poller = Poller(made, slug)
            await poller.poll()
            named = [one["id"] for body in poller.had for one in orjson.loads(body)["withdraws"]]
            assert sorted(named) == sorted(obj.id for obj in then.objects)


@pytest.mark.parametrize("by", ["its own polls", "the hub's round"])
async def test_what_opens_again_waits_until_it_is_said_where_it_lay(place: Place, by: str) -> None:
    """It comes once, at fresh ticks, and the notice of its closing does not name those."""
    slug = MEMBERS[0]
    async with scene(place) as made:
        then = await closed(made, LABELS // 2, {slug: 0})
        before = await made.store.view(slug)
        assert before is not None
        assert before.owes
        made.readers[slug].ruled[OF] = "open"
        await made.adopt()
        registry = (await made.rulebook.glance()).rules.registry.epoch
        rash = ViewChange(slug, before.number, registry, before.states, 0, EVER,
                          (Turn(1, True, anew=True),))  # fmt: skip
        with pytest.raises(Outdated):
            await made.sequencer.append(Act(str(uuid.uuid4()), lambda _: Record(()), view=rash))

        poller = Poller(made, slug)
        poller.place = (await made.store.epochs()).last_tick
        if by == "the hub's round":
            await made.release.views.catch_up()
        while not (await made.release.views.ready(await made.rulebook.glance(), member(slug))).whole:
            await poller.poll()
        await poller.poll()
        assert sorted(poller.had) == sorted(obj.body for obj in then.objects)
        row = await then.recall(slug)
        assert not row.owes
        scope = orjson.loads(row.scope)
        assert max(until for windows in scope["labels"].values() for _, until in windows) <= scope["until"]
        await poller.poll()
        assert len(poller.had) == LABELS


async def test_two_closings_that_were_not_settled_are_told_apart(place: Place) -> None:
    """Each recall says of its own labels where they lay, by what was shown when they closed."""
    slug = MEMBERS[0]
    async with scene(place) as made:
        other = (AUTHOR, "malware")
        made.readers[slug] = Reader(slug)
        await made.act(change=member(slug))
        poller = Poller(made, slug)
        for own in (OF, other):
            await made.submit(own, 2)
            await poller.poll()
            made.readers[slug].ruled[own] = "open"
        await made.adopt()
        await poller.poll()
        assert len(poller.had) == 4
        made.release.views.forgotten_at_once = 0
        for own in (OF, other):
            made.readers[slug].ruled[own] = "closed"
            await made.adopt()
            await poller.poll()
            await made.submit(own, 1)  # behind what was shown
        assert [row.owes for row in await made.store.recalls(slug)] == [True, True]
        await made.release.views.catch_up()
        scopes = [orjson.loads(row.scope) for row in await made.store.recalls(slug)]
        assert [len(one["labels"]) for one in scopes] == [1, 1]
        assert scopes[0]["labels"].keys() != scopes[1]["labels"].keys()
        await made.follow_notices()
        poller.had.clear()
        await poller.poll()
        named = [{one["id"] for one in orjson.loads(body)["withdraws"]} for body in poller.had]
        assert named == [
            {held.obj.id for held in made.held if held.own == own and held.placed_us < last}
            for own, last in ((OF, scopes[0]["until"] + 1), (other, scopes[1]["until"] + 1))
        ]
        assert [len(one) for one in named] == [2, 2]
