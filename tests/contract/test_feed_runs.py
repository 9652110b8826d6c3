"""What the hub is told of feeds, on a whole hub of either store: each run once, with its entry, and for its own country's eyes."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from exchange.client import Client
from exchange.clock import FixedClock
from exchange.errors import Conflict
from exchange.governance.feeds import FEEDS_AT_MOST
from exchange.ledger.entry import Entry, commitment
from exchange.store.acts import Act, Done, Record
from exchange.store.contract import Outdated
from exchange.store.feed_rows import RUNS_KEPT, FeedRunRow
from exchange.times import as_text
from feeds.catalogue import packaged
from feeds.runner import Job, run_once
from tests.data import VENDORED
from tests.places import Place, open_at
from tests.taxii import leaves
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEV = VENDORED / "kev" / "kev-2025-04-29.sample.json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("feeds"), clock=FixedClock(), **database) as made:
        yield made


def words(world: World, **more: Any) -> dict[str, Any]:
    return {
        "run": str(uuid.uuid4()), "to": as_text(world.clock.now_us()), "fetched": 9, "accepted": 5, "held": 2, "refused": 1,
        "skipped": 1, "complete": True, **more,
    }  # fmt: skip


async def tell(world: World, slug: str, feed: str, body: Any) -> tuple[int, dict[str, Any]]:
    url = f"{world.hub.url}/api/v1/feeds/{feed}/runs"
    async with world.session.post(url, json=body, headers=world.headers(slug)) as answer:
        return answer.status, await answer.json(content_type=None)


async def shown(world: World, slug: str, feed: str = "") -> tuple[int, list[dict[str, Any]]]:
    url = f"{world.hub.url}/api/v1/feeds" + (f"/{feed}" if feed else "")
    async with world.session.get(url, headers=world.headers(slug)) as answer:
        return answer.status, (await answer.json(content_type=None)).get("feeds", [])


# --- recorded ---


async def test_a_run_is_an_entry_of_its_own_country_with_its_private_part(world: World) -> None:
    fault = {"en": "No connection.", "es": "Sin conexión."}
    told = words(world, complete=False, code="feed-unreachable", source="https://feed.example/list", fault=fault,
                 cursor="page 3", sha256="ab" * 32, cadence_seconds=600, **{"from": "2026-11-24T00:00:00Z"})  # fmt: skip
    status, answer = await tell(world, "mx-ciber", "lists", told)
    assert status == 201
    [leaf] = [one for one in await leaves(world, "mx", "feed.run") if one["pub"]["run"] == told["run"]]
    assert leaf["actor"].startswith("mx:mx-ciber:acct:")
    assert leaf["pub"] == {
        "feed": "lists", "run": told["run"], "from": "2026-11-24T00:00:00.000000Z", "to": told["to"], "fetched": 9, "accepted": 5,
        "held": 2, "refused": 1, "skipped": 1, "complete": False, "cursor": "page 3", "sha256": "ab" * 32,
        "code": "feed-unreachable",
    }  # fmt: skip
    [place] = answer["leaves"]
    assert place["log"] == "mx"
    [opening] = await world.hub.services.store.openings("mx", place["index"], place["index"] + 1)
    private = orjson.loads(opening.payload)
    assert (private["source"], private["fault"]) == ("https://feed.example/list", "No connection.")
    assert private["address"]
    assert commitment(opening.salt, opening.payload)
    for log in ("us", "both"):
        assert not [one for one in await leaves(world, log, "feed.run") if one["pub"]["run"] == told["run"]]


async def test_a_run_told_again_is_recorded_once_and_told_otherwise_is_refused(world: World) -> None:
    told = words(world)
    answers = await asyncio.gather(*(tell(world, "us-cyber", "twice", told) for _ in range(5)))
    assert [status for status, _ in answers] == [201] * 5
    assert sorted(len(answer["leaves"]) for _, answer in answers) == [0, 0, 0, 0, 1]
    assert [one["pub"]["run"] for one in await leaves(world, "us", "feed.run")].count(told["run"]) == 1
    status, answer = await tell(world, "us-cyber", "twice", {**told, "accepted": 6})
    assert (status, answer["error_code"], answer["details"]) == (409, "feed-run-conflict", {"field": "run"})
    assert (await tell(world, "us-customs", "twice", told))[0] == 201, "another member's run is another run"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"run": "x"}, "run"), ({"run": 7}, "run"), ({"to": "yesterday"}, "to"), ({"to": "2031-01-01T00:00:00Z"}, "to"),
        ({"fetched": -1}, "fetched"), ({"accepted": True}, "accepted"), ({"refused": "1"}, "refused"),
        ({"skipped": None}, "skipped"), ({"complete": 1}, "complete"), ({"complete": False}, "code"), ({"code": "x"}, "code"),
        ({"complete": False, "code": "a b"}, "code"), ({"sha256": "AB"}, "sha256"), ({"cursor": "x" * 201}, "cursor"),
        ({"source": "x" * 1001}, "source"), ({"fault": "x"}, "fault"), ({"fault": {"en": "x", "es": 1}}, "fault.es"),
        ({"from": 1}, "from"), ({"cadence_seconds": -1}, "cadence_seconds"), ({"more": 1}, "more"),
    ],
)  # fmt: skip
async def test_what_is_wrong_in_a_report_is_named(world: World, change: dict[str, Any], field: str) -> None:
    size = (await world.hub.services.store.trees())["us"].size
    status, answer = await tell(world, "us-cyber", "wrong", {**words(world), **change})
    assert (status, answer["details"]) == (400, {"field": field})
    assert (await world.hub.services.store.trees())["us"].size == size
    assert (await shown(world, "us-cyber", "wrong"))[0] == 404


async def test_a_report_that_lacks_something_or_names_no_feed_is_refused(world: World) -> None:
    lacking = words(world)
    del lacking["held"]
    assert (await tell(world, "us-cyber", "wrong", lacking))[1]["details"] == {"field": "held"}
    assert (await tell(world, "us-cyber", "wrong", []))[0] == 400
    assert (await tell(world, "us-cyber", "A%20Feed", words(world)))[1]["details"] == {"field": "feed"}


async def test_a_member_has_a_bounded_number_of_feeds(world: World) -> None:
    for number in range(FEEDS_AT_MOST):
        assert (await tell(world, "us-maritime", f"feed-{number}", words(world)))[0] == 201
    status, answer = await tell(world, "us-maritime", "one-more", words(world))
    assert (status, answer["error_code"]) == (409, "feeds-too-many")
    assert (await tell(world, "us-maritime", "feed-0", words(world)))[0] == 201


# --- shown ---


async def test_feeds_are_shown_to_their_member_and_to_who_answers_for_its_country(world: World) -> None:
    mine, theirs = words(world), words(world)
    await tell(world, "us-customs", "common", mine)
    await tell(world, "mx-aduanas", "common", theirs)
    for slug, runs in (
        ("us-customs", [mine["run"]]), ("aud-us", [mine["run"]]), ("mx-aduanas", [theirs["run"]]), ("aud-mx", [theirs["run"]]),
        ("us-port-gulf", []), ("mx-puerto-pac", []),
    ):  # fmt: skip
        status, found = await shown(world, slug, "common")
        assert (status, [one["run"] for feed in found for one in feed["runs"]]) == (200 if runs else 404, runs), slug
        every = (await shown(world, slug))[1]
        assert [one["last"]["run"] for one in every if one["feed"] == "common"] == runs, slug
        country = {"u": "us", "m": "mx", "a": slug[-2:]}[slug[0]]
        assert all(one["member"].startswith(country) for one in every), slug


async def test_what_another_country_runs_changes_nothing_in_what_one_is_answered(world: World) -> None:
    before = [await shown(world, slug, feed) for slug in ("mx-ciber", "aud-mx") for feed in ("", "secret")]
    await tell(world, "us-cyber", "secret", words(world))
    assert [await shown(world, slug, feed) for slug in ("mx-ciber", "aud-mx") for feed in ("", "secret")] == before


async def test_freshness_is_told_as_time_passes(world: World) -> None:
    clock = world.clock
    assert isinstance(clock, FixedClock)
    await tell(world, "mx-marina", "fresh", words(world, cadence_seconds=600))
    [one] = (await shown(world, "mx-marina"))[1]
    assert (one["status"], one["lag_seconds"], one["cadence_seconds"]) == ("ok", 0, 600)
    good = one["last_good"]
    clock.advance(seconds=60)
    fault = {"en": "Not found.", "es": "No existe."}
    await tell(
        world, "mx-marina", "fresh", words(world, complete=False, code="feed-http", fault=fault, cadence_seconds=600)
    )
    [one] = (await shown(world, "mx-marina"))[1]
    assert (one["status"], one["lag_seconds"], one["last_good"], one["last"]["fault"]) == ("failed", 60, good, fault)
    clock.advance(seconds=1)
    await tell(world, "mx-marina", "fresh", words(world, cadence_seconds=600))
    clock.advance(seconds=1201)
    [one] = (await shown(world, "mx-marina", "fresh"))[1]
    assert (one["status"], one["lag_seconds"], len(one["runs"])) == ("late", 1201, 3)


async def test_a_runner_tells_a_whole_hub_of_its_runs(world: World, tmp_path: Path) -> None:
    source = packaged()["kev"].model_copy(update={"location": str(KEV)})
    signer = world.home.signer("us-cyber", world.members["us-cyber"].identity_id)
    async with Client(
        world.hub.url, clock=world.clock, token=world.tokens["us-cyber"], ca_file=world.home.ca_file, signer=signer
    ) as client:
        first = await run_once(Job.of(source, client, tmp_path, world.clock))
        await run_once(Job.of(source, client, tmp_path, world.clock))
        with pytest.raises(Conflict):
            await client.report_run(
                "kev", {**(await shown(world, "us-cyber", "kev"))[1][0]["runs"][0], "fetched": 10**6}
            )
    assert (first.accepted, first.fault) == (126, None)
    [feed] = (await shown(world, "us-cyber", "kev"))[1]
    counts = [(one["fetched"], one["accepted"], one["complete"]) for one in feed["runs"]]
    assert sorted(counts) == [(0, 0, True), (42, 126, True)]
    assert sum("from" in one for one in feed["runs"]) == 1, "the second follows the first"


# --- both stores, past HTTP ---


async def test_old_runs_are_forgotten_and_never_recorded_again(place: Place) -> None:
    store = await open_at(place)

    def act(run: FeedRunRow) -> Act:
        pub = {"feed": run.feed, "run": run.run, "to": as_text(run.ended_us), "fetched": 0, "accepted": 0, "held": 0,
               "refused": 0, "skipped": 0, "complete": True}  # fmt: skip
        entry = Entry("us", "feed.run", "us:us-cyber:acct:1", "member:us-cyber", pub)
        return Act(run.run, lambda _: Record((entry,)), runs=(run,))

    def row(number: int, **more: Any) -> FeedRunRow:
        made = FeedRunRow("us-cyber", "kev", f"r{number:03}", 1_000 + number, 0, b"d" * 32, b"{}")
        return replace(made, **more)

    rows = [row(number, good_us=1_000 + number if number == 3 else 0) for number in range(RUNS_KEPT + 5)]
    results = await store.extend([act(one) for one in [*rows, rows[-1]]])
    assert [type(one) for one in results] == [Done] * len(rows) + [Outdated]
    kept = await store.feed_runs("us-cyber", "kev")
    assert [one.run for one in kept] == [one.run for one in reversed(rows[5:])]
    assert {one.good_us for one in kept[:-1]} == {1_003}, "known after the good run itself is forgotten"
    for old in (rows[0], rows[4], row(4, run="r003-late")):
        [result] = await store.extend([act(old)])
        assert isinstance(result, Outdated), old.run
    assert (await store.trees())["us"].size == len(rows)
    [missed] = await store.extend([act(row(30, run="r030-late"))])
    assert isinstance(missed, Done), "one that comes late, but not too late, is recorded"
    await store.extend([act(row(1, member="mx-ciber")), act(row(1, feed="another"))])
    assert [(one.member, one.feed, one.run) for one in await store.feeds(["us-cyber", "nobody"])] == [
        ("us-cyber", "another", "r001"), ("us-cyber", "kev", rows[-1].run),
    ]  # fmt: skip
    await store.close()
