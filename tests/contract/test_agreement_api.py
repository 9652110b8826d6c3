"""Agreements over HTTP on a whole hub: what members, authorities and auditors learn, and what nobody learns of another's."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from exchange.cli.setup import OPERATOR
from exchange.clock import FixedClock
from exchange.governance.impact import commitment_of
from exchange.times import as_text
from policies.agreement import load
from policies.markings import CAVEAT_MARKINGS
from tests.agreeing import amended, approvals, enact, in_force, overlay, successor, tightening
from tests.world import TLP2, World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(
        tmp_path_factory.mktemp("agreements"), clock=FixedClock(), agreement_notice_seconds=0, **database
    ) as made:
        await made.post(
            "us-cyber", made.signed("us-cyber"), made.signed("us-cyber", object_marking_refs=[TLP2["amber"], NOFORN])
        )
        await made.post("mx-ciber", made.signed("mx-ciber"))
        yield made


async def raw(world: World, slug: str | None, path: str, **headers: str) -> tuple[int, bytes]:
    sent = world.headers(slug, **headers) if slug else headers
    async with world.session.get(world.hub.url + path, headers=sent) as answer:
        return answer.status, await answer.read()


async def get(world: World, slug: str, path: str, **headers: str) -> Any:
    status, body = await raw(world, slug, path, **headers)
    assert status == 200, body
    return orjson.loads(body)


async def error(world: World, slug: str | None, path: str) -> tuple[int, str]:
    status, body = await raw(world, slug, path)
    return status, orjson.loads(body)["error_code"]


# --- what there is ---


async def test_every_adoption_is_listed_with_its_text_and_approvals(world: World) -> None:
    listed = (await get(world, "mx-puerto-pac", "/api/v1/agreements"))["agreements"]
    assert [(one["number"], one["state"], one["cause"]) for one in listed][-1][0] == 1
    assert [one["state"] for one in listed].count("active") == 1
    one = await get(world, "mx-puerto-pac", "/api/v1/agreements/in-force")
    document, agreement = await in_force(world.hub.services)
    assert (one["document"].encode(), one["sha256"]) == (document, agreement.sha256)
    assert {said["approval"]["country"] for said in one["approvals"]} == {"US", "MX"}
    assert one == await get(world, "us-cyber", f"/api/v1/agreements/{one['number']}")
    for absent in ("0", "99", "x", "-1", "1e3", "9" * 20):
        assert await error(world, "us-cyber", f"/api/v1/agreements/{absent}") == (404, "no-such-agreement")
    for path in ("", "/in-force", "/pending", "/diff?new=1"):
        assert (await error(world, None, f"/api/v1/agreements{path}"))[0] == 401
    assert (await error(world, None, "/api/v1/access"))[0] == 401


async def test_access_tells_what_one_may_see_and_by_which_clause(world: World) -> None:
    body = await get(world, "mx-ciber", "/api/v1/access")
    clauses = {one["clause"]: one for shown in body["collections"] for one in shown["clauses"]}
    assert set(clauses) == {"OWN", "P-AUTHORITY-TO-AUTHORITY"}
    assert clauses["P-AUTHORITY-TO-AUTHORITY"]["country"] == ["US"]
    assert "us-domestic" not in [one["collection"] for one in body["collections"]]
    spanish = await get(world, "mx-ciber", "/api/v1/access", **{"Accept-Language": "es"})
    texts = {one["text"] for shown in spanish["collections"] for one in shown["clauses"]}
    assert texts.isdisjoint(one["text"] for one in clauses.values())
    before = await raw(world, "mx-ciber", "/api/v1/access")
    await world.post(
        "us-cyber", world.signed("us-cyber", tlp="green", confidence=10, object_marking_refs=[TLP2["green"], NOFORN])
    )
    await world.post("us-cyber", world.signed("us-cyber"), to="us-domestic")
    assert await raw(world, "mx-ciber", "/api/v1/access") == before, "what is hidden changes no byte"


# --- what is to come ---


async def test_a_draft_is_for_those_who_answer_for_their_country(world: World) -> None:
    services = world.hub.services
    document, _ = await in_force(services)
    later = as_text(world.clock.now_us() + 60_000_000)[:19] + "Z"
    draft = await services.agreements.propose(OPERATOR, successor(document, effective_from=later))
    for slug in ("us-customs", "mx-puerto-pac"):
        assert (await get(world, slug, "/api/v1/agreements/pending"))["pending"] == []
        for ref in (str(draft.row.version), draft.row.sha256):
            assert await error(world, slug, f"/api/v1/agreements/diff?new={ref}") == (404, "no-such-agreement")
    for slug, country in (("us-cyber", "US"), ("aud-us", "US"), ("mx-ciber", "MX"), ("aud-mx", "MX")):
        [told] = (await get(world, slug, "/api/v1/agreements/pending"))["pending"]
        assert (told["state"], told["impact_sha256"]) == ("draft", draft.row.impact_sha256)
        assert list(told["opening"]) == [country], "the other country's affairs stay closed"
        assert commitment_of(told["opening"][country]) == told["impact"]["domestic"][country]
    await services.agreements.approve(OPERATOR, draft.row.sha256, approvals(world.home, draft))
    [told] = (await get(world, "us-customs", "/api/v1/agreements/pending"))["pending"]
    assert (told["state"], "impact" in told, told["document"].encode()) == ("scheduled", False, draft.row.document)

    # Its time comes, nobody asks anything, and the running hub activates it.
    number = (await services.rulebook.current()).number
    world.clock.advance(seconds=60)
    while (row := await services.store.agreement()) is None or row.number == number:
        await asyncio.sleep(0.05)
    assert (row.number, row.version) == (number + 1, draft.row.version)
    assert (await get(world, "us-customs", "/api/v1/agreements/pending"))["pending"] == []


async def test_a_comparison_tells_nobody_what_is_hidden_from_them(world: World) -> None:
    services = world.hub.services
    document, _ = await in_force(services)
    lifted = amended(document, "F-NOFORN", '"US>MX", "MX>US"', '"MX>US"')
    draft = await services.agreements.propose(OPERATOR, lifted)
    path = f"/api/v1/agreements/diff?new={draft.row.sha256}"
    for slug in ("us-cyber", "aud-us"):
        told = await get(world, slug, path)
        assert told["pairs"]["gained"] and told["objects"]["gained"] and not told["pairs"]["lost"]
        assert {(line["direction"], line["kind"]) for line in told["lines"]} == {("US>MX", "gained")}
        assert all(line["examples"] for line in told["lines"])
    for slug in ("mx-ciber", "aud-mx"):
        told = await get(world, slug, path)
        assert told["lines"] == [], "that there is something to open is hidden until it is open"
        assert told["objects"] == {"gained": 0, "lost": 0, "changed": 0}
    assert (await get(world, "aud-us", f"{path}&since=2090-01-01T00:00:00Z"))["lines"] == []
    assert await error(world, "aud-us", f"{path}&since=June") == (400, "query-malformed")
    assert await error(world, "aud-us", "/api/v1/agreements/diff") == (400, "query-malformed")


async def test_a_member_learns_what_it_would_lose_and_who_would_lose_its_own(world: World) -> None:
    services = world.hub.services
    document, _ = await in_force(services)
    narrowed = amended(document, "P-AUTHORITY-TO-AUTHORITY", '"US>MX", "MX>US"', '"MX>US"')
    await enact(services, world.home, narrowed)
    back = f"/api/v1/agreements/diff?new=1&old={load(narrowed).sha256}"
    assert (await get(world, "mx-aduanas", back))["lines"] == [], "what was lost is hidden now"
    lost = f"/api/v1/agreements/diff?old=1&new={load(narrowed).sha256}"
    own = (await get(world, "us-cyber", lost))["lines"]
    assert {line["recipient"] for line in own if line["kind"] == "lost"} == {"mx-ciber", "mx-aduanas", "mx-marina"}
    await enact(services, world.home, amended(narrowed, "P-AUTHORITY-TO-AUTHORITY", '"MX>US"', '"US>MX", "MX>US"'))
    [line] = (await get(world, "mx-aduanas", lost))["lines"]
    assert (line["kind"], line["recipient"], line["direction"]) == ("lost", "mx-aduanas", "US>MX")
    assert set(line["examples"]) <= set(await world.pull("mx-aduanas"))


async def test_a_tightening_is_shown_to_both_countries(world: World) -> None:
    services = world.hub.services
    _, agreement = await in_force(services)
    stopped = overlay(agreement, world.clock.now_us())
    number = (await services.rulebook.current()).number
    await services.agreements.tighten(OPERATOR, stopped, tightening(world.home, stopped, ["US-1", "US-2"]))
    for slug in ("us-customs", "mx-ciber"):
        active = (await get(world, slug, "/api/v1/agreements"))["agreements"][0]
        assert (active["number"], active["cause"], active["state"]) == (number + 1, "tighten", "active")
        assert [one["overlay"] for one in active["overlays"]] == ["us-ports"]
        [shown] = (await get(world, slug, "/api/v1/agreements/in-force"))["tightenings"]
        assert (shown["document"].encode(), len(shown["approvals"])) == (stopped, 2)
    assert (await get(world, "mx-ciber", "/api/v1/access"))["collections"][0]["clauses"][0]["clause"] == "OWN"
