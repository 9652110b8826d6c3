"""Consents and additions to audiences on a whole hub: asked for, signed, recorded, and from then on what decisions hang on."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner

from exchange.cli.__main__ import puente
from exchange.cli.setup import OPERATOR
from exchange.clock import FixedClock
from exchange.governance.statements import signed
from exchange.times import as_datetime, as_text
from policies.terms import TERMS_EXTENSION
from tests.contract.test_originators_terms import explained, marked
from tests.faults.hubs import write_settings
from tests.taxii import leaves
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = 86_400


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("consents"), clock=FixedClock(), **database) as made:
        yield made


async def api(world: World, slug: str, path: str, body: Any = None) -> tuple[int, Any]:
    headers = {**world.headers(slug), "Accept": "application/json"}
    method = "GET" if body is None else "POST"
    async with world.session.request(method, f"{world.hub.url}/api/v1/{path}", headers=headers, json=body) as answer:
        return answer.status, await answer.json(content_type=None)


def later(world: World, seconds: int) -> str:
    return as_text(world.clock.now_us() + seconds * 1_000_000)


def said(world: World, slug: str, kind: Any, *, by: str = "", **words: Any) -> dict[str, Any]:
    """A statement in the name of `slug`, signed by another if so said."""
    signer = world.home.signer(by or slug, world.members[by or slug].identity_id)
    if kind == "consent.grant":
        words = {"case": "", "members": [], "countries": [], "until": later(world, 7 * DAY), **words}
    return signed(signer, slug, kind, **{"given": later(world, 0), **words})


async def controlled(world: World, case: str) -> dict[str, Any]:
    definition, sent = marked(world, TERMS_EXTENSION, {"case": case})
    assert (await world.post("us-cyber", definition, sent))["failure_count"] == 0
    return sent


async def test_what_its_originator_controls_waits_for_its_consent_and_ends_with_it(world: World) -> None:
    """Asked for by case, granted to one, released late to that one alone, taken back, recalled."""
    case = "flood-2027"
    sent = await controlled(world, case)
    for reader in ("mx-ciber", "mx-aduanas"):
        assert sent["id"] not in await world.pull(reader)
    told = await explained(world, sent, "mx-ciber")
    assert (told["clause"], told["consent"]) == ("F-ORCON", {"originator": "us-cyber", "cases": [case]})

    status, request = await api(
        world, "mx-ciber", "consents/requests", {"originator": "us-cyber", "case": case, "reason": "We are hit too."}
    )
    assert (status, request["state"], request["due"]) == (202, "open", later(world, 3 * DAY))
    assert [one["id"] for one in (await api(world, "us-cyber", "consents"))[1]["requests"]] == [request["id"]]
    assert (await api(world, "mx-aduanas", "consents"))[1] == {"requests": [], "consents": []}, "others hear nothing"

    grant = said(world, "us-cyber", "consent.grant", about=request["id"], case=case, members=["mx-ciber"])
    after = later(world, 0)
    assert (await api(world, "us-cyber", "consents", grant))[0] == 201
    assert sent["id"] in await world.pull("mx-ciber", query=f"added_after={after}&"), "to a poller it is news"
    assert sent["id"] not in await world.pull("mx-aduanas")
    assert (await explained(world, sent, "mx-ciber"))["consent"] is None
    assert (await api(world, "mx-ciber", "consents"))[1]["requests"][0]["state"] == "granted"
    assert (await api(world, "mx-aduanas", "consents"))[1]["consents"] == []
    [entry] = [
        one for one in await leaves(world, "both", "consent.grant") if one["pub"]["id"] == grant["statement"]["id"]
    ]
    assert (entry["pub"]["jws"], entry["pub"]["case"]) == (grant["jws"], case)

    taken = said(world, "us-cyber", "consent.withdraw", about=grant["statement"]["id"])
    assert (await api(world, "us-cyber", "consents", taken))[0] == 201
    assert sent["id"] not in await world.pull("mx-ciber")
    assert (await api(world, "mx-ciber", "consents"))[1]["consents"][0]["state"] == "withdrawn"
    everybody = await world.hub.services.recalls.everybodys()
    assert {one.row.member for one in everybody if one.row.cause == "grant"} == {"mx-ciber"}


async def test_a_consent_ends_with_its_time_and_never_after_the_agreements(world: World) -> None:
    sent = await controlled(world, "short")
    grant = said(world, "us-cyber", "consent.grant", case="short", countries=["MX"], until=later(world, 300 * DAY))
    assert (await api(world, "us-cyber", "consents", grant))[0] == 201
    assert sent["id"] in await world.pull("mx-ciber")
    assert sent["id"] in await world.pull("mx-aduanas")
    named = (await api(world, "mx-ciber", "consents"))[1]["consents"]
    assert "short" not in {one["case"] for one in named}, "a consent for a whole country names nobody"
    world.clock.advance(seconds=30 * DAY)  # type: ignore[attr-defined]  # the agreement's consent_valid
    for slug in world.tokens:  # as old as that consent
        _, world.tokens[slug] = await world.hub.services.governance.create_token(OPERATOR, slug, days=30)
    assert sent["id"] not in await world.pull("mx-ciber")


async def test_silence_is_a_no(world: World) -> None:
    body = {"originator": "us-cyber", "case": "nothing-here", "reason": "?"}
    status, request = await api(world, "mx-ciber", "consents/requests", body)
    assert status == 202, "whether there is anything of that case is not told"
    world.clock.advance(seconds=3 * DAY)  # type: ignore[attr-defined]
    asked = (await api(world, "mx-ciber", "consents"))[1]["requests"]
    assert [one["state"] for one in asked if one["id"] == request["id"]] == ["lapsed"]
    refusal = said(world, "us-cyber", "consent.refuse", about=request["id"])
    assert (await api(world, "us-cyber", "consents", refusal))[0] == 201
    asked = (await api(world, "mx-ciber", "consents"))[1]["requests"]
    assert [one["state"] for one in asked if one["id"] == request["id"]] == ["refused"]


@pytest.mark.parametrize(
    ("kind", "words", "code"),
    [
        ("consent.grant", {"by": "us-customs", "countries": ["MX"]}, "statement-signer"),
        ("consent.grant", {"given": "2026-01-01T00:00:00Z", "countries": ["MX"]}, "statement-time"),
        ("consent.grant", {"until": "2026-01-01T00:00:00Z", "countries": ["MX"]}, "statement-time"),
        ("consent.grant", {"countries": []}, "statement-form"),
        ("consent.grant", {"countries": ["FR"]}, "statement-form"),
        ("consent.grant", {"countries": ["MX"], "more": 1}, "statement-form"),
        ("consent.grant", {"countries": ["MX"], "about": str(uuid.UUID(int=0, version=4))}, "no-such-statement"),
        ("consent.withdraw", {"about": str(uuid.UUID(int=0, version=4))}, "no-such-statement"),
        ("audience.add", {"audience": "port-watch", "to": "mx-puerto-pac"}, "statement-form"),
    ],
    ids=str,
)
async def test_a_statement_that_is_not_one_is_refused_and_changes_nothing(
    world: World, kind: str, words: dict[str, Any], code: str
) -> None:
    before = (await world.hub.services.rulebook.current()).basis
    status, answer = await api(world, "us-cyber", "consents", said(world, "us-cyber", kind, **words))
    assert (status >= 400, answer["error_code"]) == (True, code), answer
    assert (await world.hub.services.rulebook.current()).basis == before


async def test_nobody_speaks_for_another_nor_twice(world: World) -> None:
    grant = said(world, "us-cyber", "consent.grant", case="twice", countries=["MX"])
    assert (await api(world, "us-customs", "consents", grant))[1]["error_code"] == "statement-member"
    altered = {**grant, "statement": {**grant["statement"], "case": "other"}}
    assert (await api(world, "us-cyber", "consents", altered))[1]["error_code"] == "signature-invalid"
    for _ in range(2):  # a client whose answer was lost says it again
        assert (await api(world, "us-cyber", "consents", grant))[0] == 201
    told = await leaves(world, "both", "consent.grant")
    assert sum(one["pub"]["id"] == grant["statement"]["id"] for one in told) == 1
    unknown = {"originator": "mx-puerto-pac", "case": "x", "reason": "?"}
    assert (await api(world, "us-cyber", "consents/requests", unknown))[1]["error_code"] == "no-such-originator"
    absent = {"originator": "mx-nobody", "case": "x", "reason": "?"}
    assert (await api(world, "us-cyber", "consents/requests", absent))[1]["error_code"] == "no-such-originator"


async def test_the_owner_of_an_audience_adds_to_it_and_takes_out_again(world: World) -> None:
    definition, sent = marked(world, TERMS_EXTENSION, {"audience": "port-watch"})
    assert (await world.post("us-cyber", definition, sent))["failure_count"] == 0
    assert sent["id"] not in await world.pull("mx-aduanas")
    words = {"audience": "port-watch", "to": "mx-aduanas"}
    stranger = said(world, "us-cyber", "audience.add", **words)
    assert (await api(world, "us-cyber", "audiences", stranger))[1]["error_code"] == "statement-audience"
    assert (await api(world, "mx-ciber", "audiences", said(world, "mx-ciber", "audience.add", **words)))[0] == 201
    assert sent["id"] in await world.pull("mx-aduanas")
    assert sent["id"] not in await world.pull("mx-ciber")
    [shown] = (await api(world, "mx-aduanas", "audiences"))[1]["audiences"]
    assert shown["added"] == ["mx-aduanas"]
    assert (await api(world, "us-customs", "audiences"))[1] == {"audiences": []}
    assert (await api(world, "mx-ciber", "audiences", said(world, "mx-ciber", "audience.remove", **words)))[0] == 201
    assert sent["id"] not in await world.pull("mx-aduanas")
    assert [one["pub"]["to"] for one in await leaves(world, "both", "audience.add")] == ["mx-aduanas"]


async def test_the_commands_at_the_hub_and_at_a_member(world: World) -> None:
    write_settings(world.home, world.settings)

    async def run(*words: str, lang: str = "C.UTF-8") -> str:
        result = await asyncio.to_thread(
            CliRunner(env={"LC_ALL": lang}).invoke, puente, [*words, "--home", str(world.home.root)]
        )
        assert result.exit_code == 0, result.output
        return str(result.output)

    found = json.loads(await run("consent", "list", "--json"))
    assert {one["state"] for one in found["consents"]} >= {"withdrawn"}
    assert "retirado" in await run("consent", "list", lang="es_MX.UTF-8")
    assert "port-watch" in await run("audience", "list")


async def test_an_embargo_ends_at_its_hour(world: World) -> None:
    """Whoever polls then has it, with a fresh date, though nothing else happened."""
    soon = as_datetime(world.clock.now_us()) + timedelta(hours=2)
    definition, sent = marked(world, TERMS_EXTENSION, {"not_before": soon.strftime("%Y-%m-%dT%H:%M:%SZ")})
    assert (await world.post("us-cyber", definition, sent))["failure_count"] == 0
    assert sent["id"] not in await world.pull("mx-ciber")
    assert (await explained(world, sent, "mx-ciber"))["not_before"] is not None
    world.clock.advance(seconds=3 * 3600)  # type: ignore[attr-defined]
    assert sent["id"] in await world.pull("mx-ciber")
