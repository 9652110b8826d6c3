"""Values held back and let in, on a whole hub of either store: by whom, for whom, for how long, and for whose eyes."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from exchange.cli.__main__ import puente
from exchange.cli.setup import OPERATOR
from exchange.client import Client
from exchange.clock import FixedClock, SystemClock
from exchange.errors import Malformed, NotFound, NotPermitted, Refusal
from exchange.store.acts import Act, Record
from exchange.store.feed_rows import HELD_KEPT, HeldRow, ReleaseRow
from exchange.times import as_text
from feeds.catalogue import packaged
from feeds.mapping import Mapping
from feeds.runner import Job, run_once
from tests.faults.hubs import write_settings
from tests.places import Place, ask, open_at
from tests.postgres import Databases
from tests.taxii import leaves
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY_SECONDS = 86_400


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    assets = {"us-port-gulf": ["203.0.113.64/26"]}
    async with make_world(tmp_path_factory.mktemp("held"), clock=FixedClock(), assets=assets, **database) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def today(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]
) -> AsyncIterator[World]:
    """Commands have the machine's clock, and end what they release now: the hub's must not be behind it."""
    made: Databases | None = request.getfixturevalue("databases") if database else None
    another = {"database_url": await made.fresh()} if made is not None else {}
    clock = FixedClock(as_text(SystemClock().now_us()))
    async with make_world(tmp_path_factory.mktemp("today"), clock=clock, **another) as world:
        clock.advance(seconds=3_600)
        yield world


async def send(world: World, slug: str, *values: str) -> str:
    """The code under which an indicator of these addresses is refused; "" when it is accepted."""
    pattern = " OR ".join(f"ipv4-addr:value = '{value}'" for value in values)
    status = await world.post(slug, world.signed(slug, pattern=f"[{pattern}]"))
    return str(status["failures"][0]["x_code"]) if status["failure_count"] else ""


async def release(world: World, value: str, audience: str, days: int = 30, reason: str = "Seen in an attack.") -> None:
    await world.hub.services.holding.release(OPERATOR, value, audience, reason=reason, days=days)


async def held(world: World, slug: str, query: str = "") -> list[dict[str, Any]]:
    async with world.session.get(f"{world.hub.url}/api/v1/held{query}", headers=world.headers(slug)) as answer:
        assert answer.status == 200
        found: list[dict[str, Any]] = (await answer.json(content_type=None))["held"]
        return found


async def test_a_held_value_is_accepted_from_whom_it_was_released_for_until_then(world: World) -> None:
    clock = world.clock
    assert isinstance(clock, FixedClock)
    assert await send(world, "us-cyber", "8.8.8.8") == "warninglist-held"
    [one] = await held(world, "us-cyber")
    assert (one["value"], one["released_until"]) == ("8.8.8.8", None)
    assert await held(world, "us-cyber", "?released=1") == []
    await release(world, "8.8.8.8", "member:us-cyber", days=2)
    assert await send(world, "us-cyber", "8.8.8.8") == ""
    assert await send(world, "us-cyber", "8.8.8.8", "8.8.4.4") == "warninglist-held", "each value is to be released"
    assert await send(world, "us-customs", "8.8.8.8") == "warninglist-held"
    assert await send(world, "mx-ciber", "8.8.8.8") == "warninglist-held"
    assert [one["value"] for one in await held(world, "us-cyber", "?released=1")] == ["8.8.8.8"]
    assert await held(world, "us-customs", "?released=1") == []
    clock.advance(seconds=2 * DAY_SECONDS - 1)
    assert await send(world, "us-cyber", "8.8.8.8") == ""
    clock.advance(seconds=1)
    assert await send(world, "us-cyber", "8.8.8.8") == "warninglist-held"


async def test_a_release_for_a_country_ends_when_it_is_ended(world: World) -> None:
    await release(world, "1.1.1.1", "country:MX")
    assert [await send(world, slug, "1.1.1.1") for slug in ("mx-ciber", "mx-marina")] == ["", ""]
    assert await send(world, "us-cyber", "1.1.1.1") == "warninglist-held"
    await release(world, "1.1.1.1", "country:MX", days=0)
    assert await send(world, "mx-ciber", "1.1.1.1") == "warninglist-held"


async def test_a_release_is_told_in_its_own_countrys_log_with_the_value_in_private(world: World) -> None:
    async def entries(log: str) -> list[dict[str, Any]]:
        return [one for one in await leaves(world, log, "admin") if one["pub"]["command"].startswith("value.")]

    before = {log: await entries(log) for log in ("us", "mx", "both")}
    await release(world, "9.9.9.9", "member:mx-aduanas", reason="  Seen in\n an attack. ")
    await release(world, "9.9.9.9", "member:mx-aduanas", days=0)
    released, ended = (await entries("mx"))[len(before["mx"]) :]
    assert (released["actor"], released["pub"]["for"]) == (OPERATOR, "member:mx-aduanas")
    assert (released["pub"]["command"], ended["pub"]["command"]) == ("value.release", "value.hold")
    assert released["pub"]["reason"] == "Seen in an attack."
    assert "9.9.9.9" not in json.dumps([released, ended])
    assert await entries("us") == before["us"]
    assert await entries("both") == before["both"]
    size = (await world.hub.services.store.trees())["mx"].size
    values = [orjson.loads(one.payload).get("value") for one in await world.hub.services.store.openings("mx", 0, size)]
    assert values.count("9.9.9.9") == 2


async def test_another_country_learns_neither_of_holds_nor_of_releases(world: World) -> None:
    before = await held(world, "mx-marina")
    await send(world, "us-cyber", "149.112.112.112")
    await release(world, "149.112.112.112", "country:US")
    assert await held(world, "mx-marina") == before
    assert await held(world, "mx-marina", "?released=1") == []
    assert await held(world, "aud-us") == [], "what is held is its submitter's to know"


@pytest.mark.parametrize(
    ("change", "refusal", "code", "field"),
    [
        ({"value": "10.0.0.1"}, NotPermitted, "value-refused", "value"),
        ({"value": "10.0.0.0/8"}, NotPermitted, "value-refused", "value"),
        ({"value": "d41d8cd98f00b204e9800998ecf8427e"}, NotPermitted, "value-refused", "value"),
        ({"value": "45.67.89.10"}, NotFound, "value-not-held", "value"),
        ({"value": "203.0.113.70", "audience": "country:MX"}, NotPermitted, "value-foreign", "value"),
        ({"audience": "member:nobody"}, NotFound, "no-such-member", "audience"),
        ({"audience": "all the world"}, NotFound, "no-such-member", "audience"),
        ({"reason": " "}, Malformed, "malformed", "reason"),
        ({"reason": "x" * 301}, Malformed, "malformed", "reason"),
        ({"days": 91}, Malformed, "malformed", "days"),
    ],
)
async def test_what_nobody_may_release_is_refused(
    world: World, change: dict[str, Any], refusal: type[Refusal], code: str, field: str
) -> None:
    asked: dict[str, Any] = {"value": "8.8.8.8", "audience": "country:US", "days": 30, "reason": "x", **change}
    epoch = (await world.hub.services.store.epochs()).registry
    with pytest.raises(refusal) as caught:
        await release(world, **asked)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.text.en != caught.value.text.es
    assert (await world.hub.services.store.epochs()).registry == epoch


async def test_what_a_feed_held_goes_in_with_its_next_run_though_its_source_did_not_change(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("149.112.112.9\n8.8.4.4\n")
    rows = Mapping(format="lines", value="value", kind="ip", valid_days=30)
    source = packaged()["kev"].model_copy(
        update={"name": "list", "adapter": "mapped", "location": str(tmp_path / "list"), "mapping": rows}
    )
    signer = world.home.signer("us-cyber", world.members["us-cyber"].identity_id)
    async with Client(
        world.hub.url, clock=world.clock, token=world.tokens["us-cyber"], ca_file=world.home.ca_file, signer=signer
    ) as client:

        async def run() -> tuple[int, int, dict[str, int]]:
            done = await run_once(Job.of(source, client, tmp_path / "state", world.clock))
            assert done.fault is None
            return done.accepted, done.held, dict(done.refused)

        accepted, waiting, _ = await run()
        assert (accepted, waiting) == (2, 1), "an indicator and the marking for its licence"
        [kept] = map(json.loads, (tmp_path / "state" / "list.quarantine.jsonl").read_text().splitlines())
        assert ("8.8.4.4 is on" in kept["en"], "8.8.4.4 está en" in kept["es"]) == (True, True), (
            "whoever reads it later"
        )
        assert await run() == (0, 0, {}), "nothing was released: nothing is sent again"
        await release(world, "8.8.4.4", "member:us-customs")
        assert await run() == (0, 0, {}), "released for another"
        await release(world, "8.8.4.4", "member:us-cyber")
        assert await run() == (1, 0, {})
        assert await run() == (0, 0, {})


async def test_operators_list_release_and_end_beside_the_running_hub(today: World) -> None:
    write_settings(today.home, today.settings)
    await send(today, "us-maritime", "208.67.222.222")

    async def tell(*words: str, lang: str = "C.UTF-8") -> Result:
        args = ["feed", "held", words[0], "--home", str(today.home.root), *words[1:]]
        return await asyncio.to_thread(CliRunner(env={"LC_ALL": lang}).invoke, puente, args)

    [row] = json.loads((await tell("list", "--as", "us-maritime", "--json")).output)
    assert (row["value"], row["member"], row["released_until"]) == ("208.67.222.222", "us-maritime", "-")
    for wrong in (("--as", "us-maritime", "--country", "US"), ()):
        assert (await tell("release", row["value"], "--reason", "x", *wrong)).exit_code == 1
    done = await tell("release", row["value"], "--as", "us-maritime", "--reason", "Confirmado.", lang="es_MX.UTF-8")
    assert (done.exit_code, "se acepta de member:us-maritime" in done.output) == (0, True)
    assert await send(today, "us-maritime", row["value"]) == ""
    assert json.loads((await tell("list", "--json")).output)[0]["released_until"] != ""
    assert (await tell("end", row["value"], "--as", "us-maritime", "--reason", "x")).exit_code == 0
    assert await send(today, "us-maritime", row["value"]) == "warninglist-held"
    assert isinstance((await tell("release", "10.0.0.1", "--country", "US", "--reason", "x")).exception, NotPermitted)


# --- both stores, past HTTP ---


async def test_only_the_last_values_held_are_kept_and_lapsed_releases_are_not(place: Place) -> None:
    clock = FixedClock()
    store = await open_at(place, clock)

    def act(*rows: HeldRow) -> Act:
        return Act("r", lambda _: Record(()), held=rows)

    row = HeldRow("us-cyber", "v", "a list", "us-port-gulf", "indicator--1")
    many = [replace(row, value=f"v{number}") for number in range(HELD_KEPT)]
    await store.extend([act(*many), act(replace(row, member="mx-ciber"))])
    clock.advance(seconds=1)
    await store.extend([act(replace(row, value="v7", object_id="indicator--2"))])
    assert await ask(place, "SELECT count(*) FROM held_value") == HELD_KEPT + 1
    clock.advance(seconds=1)
    await store.extend([act(replace(row, value="new"))])
    kept = await store.held_values(["us-cyber"])
    assert [one.value for one in kept] == ["new", "v7"], "the oldest go together"
    assert (kept[1].object_id, kept[1].asset) == ("indicator--2", "us-port-gulf")
    assert len(await store.held_values(["us-cyber", "mx-ciber"])) == 3

    now_us = clock.now_us()
    first, second = ReleaseRow("country:US", "a", now_us + 1), ReleaseRow("country:US", "b", now_us + 10**9)
    before = await store.epochs()
    await store.extend([Act("r", lambda _: Record(()), changes=(first, replace(first, until_us=now_us + 2), second))])
    assert (await store.registry()).releases == (replace(first, until_us=now_us + 2), second)
    assert (await store.epochs()).registry > before.registry
    clock.advance(seconds=1)
    await store.extend([Act("r", lambda _: Record(()))])
    await store.extend([Act("r", lambda _: Record(()), changes=(second,))])
    assert (await store.registry()).releases == (second,)
    await store.close()
