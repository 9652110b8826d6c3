"""Withdrawal on the recipient's own cursor: a signed notice to whoever had the object, once, and to nobody else."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner

from certs.faults import SignatureFault
from certs.keys import thumbprint
from exchange.cli.__main__ import puente
from exchange.cli.setup import OPERATOR
from exchange.client import verify_object
from exchange.clock import FixedClock
from exchange.model.member import Status
from exchange.times import as_datetime, as_text
from tests.contract.test_recall import NOFORN, acknowledge, recalls
from tests.faults.hubs import write_settings
from tests.taxii import add, call, collection, get, leaves, times, version
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

HAD, OTHER = "mx-aduanas", "mx-puerto-pac"
"""One that reads the collection, and one that does not."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("notices"), clock=FixedClock(), **database) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world: World) -> str:
    return await collection(world, ("role:agency",), ("role:agency",))


async def objects(world: World, of: str, slug: str = HAD, *, after: str = "") -> list[dict[str, Any]]:
    """All versions in a member's view, in order."""
    query = f"&added_after={after}" if after else ""
    body = await get(world, f"collections/{of}/objects/?match[version]=all{query}", slug)
    assert not body.get("more")
    found: list[dict[str, Any]] = body.get("objects", [])
    return found


async def notices(world: World, of: str, slug: str = HAD, *, after: str = "") -> list[dict[str, Any]]:
    services = world.hub.services
    await services.release.views.catch_up()
    await services.recalls.follow_markings()
    await services.recalls.follow_compromises()
    await services.notices.follow()
    return [one for one in await objects(world, of, slug, after=after) if one["type"] == "withdrawal-notice"]


async def test_a_deletion_is_told_on_the_cursor_of_who_had_it_once(world: World, fresh: str) -> None:
    [obj] = await add(world, fresh, 1, tlp="amber+strict")
    before = (await call(world, HAD, "GET", f"collections/{fresh}/objects/"))[2]["X-TAXII-Date-Added-Last"]
    await call(world, "us-cyber", "DELETE", f"collections/{fresh}/objects/{obj['id']}/")
    [notice] = await notices(world, fresh, after=before)
    assert notice["withdraws"] == [{"id": obj["id"], "versions": [obj["modified"]]}]
    assert (notice["asks"], notice["acknowledgement"], notice["class"]) == ("drop", "asked", "error")
    assert "cause" not in notice, "the agreement lets the class be told"
    assert notice["act_by"] == as_text(world.clock.now_us() + 86_400_000_000)
    assert set(notice) == {
        "type", "spec_version", "id", "created_by_ref", "created", "modified", "object_marking_refs", "recall",
        "withdraws", "asks", "acknowledgement", "act_by", "class", "extensions",
    }  # fmt: skip
    assert [one["id"] for one in await recalls(world, HAD, fresh)] == [notice["recall"]]

    own = {slug: await notices(world, fresh, slug) for slug in (HAD, "us-customs", "us-cyber")}
    assert [len(one) for one in own.values()] == [1, 1, 0], "its author knows"
    assert own[HAD][0]["id"] != own["us-customs"][0]["id"]
    for slug in ("us-customs", "us-cyber"):
        path = f"collections/{fresh}/objects/{notice['id']}/"
        assert (await call(world, slug, "GET", path))[0] == 404, "another's notice is not there"
    assert [one["id"] for one in await notices(world, fresh)] == [notice["id"]], "and never twice"
    assert (await call(world, HAD, "DELETE", f"collections/{fresh}/objects/{notice['id']}/"))[0] in (403, 404)
    assert (await acknowledge(world, HAD, notice["recall"]))[0] == 202
    [entry] = [one for one in await leaves(world, "both", "publish") if one["pub"].get("recall") == notice["recall"]]
    assert (entry["pub"]["cause"], entry["pub"]["to"]) == ("notice", HAD)


async def test_a_notice_verifies_as_the_hubs_and_as_nothing_else(world: World, fresh: str) -> None:
    [obj] = await add(world, fresh, 1)
    await call(world, "us-cyber", "DELETE", f"collections/{fresh}/objects/{obj['id']}/")
    [notice] = await notices(world, fresh)
    rules = await world.hub.services.rulebook.current()
    at = as_datetime(world.clock.now_us())
    found = verify_object(notice, rules.keyring, at=at)
    assert rules.trust is not None
    hub = rules.trust.hub()
    assert hub is not None
    assert (found.identity_id, found.purpose) == (hub[0], "notice")

    for altered in (
        {"withdraws": []},
        {"type": "indicator"},
        {"created_by_ref": world.members["us-cyber"].identity_id},
    ):
        with pytest.raises(SignatureFault):
            verify_object({**notice, **altered}, rules.keyring, at=at)
    plain = {name: value for name, value in notice.items() if name != "extensions"}
    member = world.members["us-cyber"].identity_id
    forged = world.sign("us-cyber", {**plain, "id": f"withdrawal-notice--{obj['id'][11:]}", "created_by_ref": member})
    with pytest.raises(SignatureFault):
        verify_object(forged, rules.keyring, at=at)
    status = await world.post("us-cyber", forged, notice, to=fresh)
    assert status["failure_count"] == 2, "members submit none, not even the hub's own"


async def test_who_loses_what_the_agreement_gave_is_told_by_id_what_it_had(world: World, fresh: str) -> None:
    """All of it and nothing placed since; another, that keeps it, hears nothing. Coming back, it has fresh ticks."""
    had = await add(world, fresh, 3)
    assert {one["id"] for one in await objects(world, fresh)} >= {one["id"] for one in had}
    governance, member = world.hub.services.governance, world.members[HAD]
    try:
        await governance.put_member(OPERATOR, replace(member, roles=("feed", "operator"), sectors=("energy.grid",)))
        await world.hub.services.release.views.catch_up()
        await add(world, fresh, 1)
        await governance.put_member(OPERATOR, replace(member, roles=("agency", "operator"), sectors=("energy.grid",)))
        told = await notices(world, fresh)
        assert [[one["id"] for one in notice["withdraws"]] for notice in told] == [[one["id"] for one in had]]
        assert {"class", "cause"}.isdisjoint(told[0]), "of law the agreement lets nothing be told"
        assert told[0]["acknowledgement"] == "required"
        assert await notices(world, fresh, "mx-ciber") == []
    finally:
        await governance.put_member(OPERATOR, member)


async def test_a_stricter_marking_is_told_to_who_lost_sight(world: World, fresh: str) -> None:
    [obj] = await add(world, fresh, 1)
    await objects(world, fresh)
    marked = obj | {"object_marking_refs": [*obj["object_marking_refs"], NOFORN]}
    await world.post("us-cyber", version(world, marked, times(obj, 1)[0]), to=fresh)
    [notice] = await notices(world, fresh)
    assert notice["withdraws"] == [{"id": obj["id"]}], "all versions of it"
    assert await notices(world, fresh, "us-customs") == [], "who may have the stricter one keeps it"


async def test_a_revoked_version_is_notice_enough(world: World, fresh: str) -> None:
    [obj] = await add(world, fresh, 1)
    before = (await call(world, HAD, "GET", f"collections/{fresh}/objects/"))[2]["X-TAXII-Date-Added-Last"]
    await world.post("us-cyber", version(world, obj | {"revoked": True}, times(obj, 1)[0]), to=fresh)
    assert await notices(world, fresh) == []
    assert [one.get("revoked") for one in await objects(world, fresh, after=before)] == [True]


async def test_what_a_suspended_member_sent_is_withheld_recalled_and_comes_back(world: World, fresh: str) -> None:
    [obj] = await add(world, fresh, 1)
    assert obj["id"] in [one["id"] for one in await objects(world, fresh)]
    governance = world.hub.services.governance
    try:
        await governance.set_status(OPERATOR, "us-cyber", Status.SUSPENDED)
        assert await objects(world, fresh) == []
        [notice] = await notices(world, fresh)
        assert [one["id"] for one in notice["withdraws"]] == [obj["id"]]
        [row] = [one.row for one in await world.hub.services.recalls.everybodys() if one.row.id == notice["recall"]]
        assert (row.cause, row.term) == ("suspension", "legal")
    finally:
        await governance.set_status(OPERATOR, "us-cyber", Status.ACTIVE)
    last = (await call(world, HAD, "GET", f"collections/{fresh}/objects/?match[type]=withdrawal-notice"))[2]
    after = last["X-TAXII-Date-Added-Last"]
    assert [one["id"] for one in await objects(world, fresh, after=after)] == [obj["id"]], "to a poller it is news"


async def test_what_came_since_a_key_was_compromised_is_taken_out_and_recalled(world: World, fresh: str) -> None:
    [good] = await add(world, fresh, 1)
    world.clock.advance(seconds=60)  # type: ignore[attr-defined]
    since_us = world.clock.now_us()
    bad = [world.signed("us-customs") for _ in range(2)]
    mine = [world.signed("us-customs") for _ in range(1)]
    await world.post("us-customs", *bad, to=fresh)
    world.clock.advance(seconds=60)  # type: ignore[attr-defined]
    held = {one["id"] for one in await objects(world, fresh)}
    assert held == {good["id"], *(one["id"] for one in bad)}
    certificate = world.home.signer("us-customs", world.members["us-customs"].identity_id).certificate
    await world.hub.services.governance.revoke_signing_cert(
        OPERATOR, thumbprint(certificate), reason="keyCompromise", compromised_since_us=since_us
    )
    told = await notices(world, fresh)
    assert {one["id"] for notice in told for one in notice["withdraws"]} == {one["id"] for one in bad}
    assert {(one["class"], one["cause"], one["acknowledgement"]) for one in told} == {
        ("compromise", "compromise", "required")
    }, "the agreement lets the reason be told"
    left = [one["id"] for one in await objects(world, fresh) if one["type"] == "indicator"]
    assert left == [good["id"]]
    assert (await world.post("us-customs", *mine, to=fresh))["failure_count"] == 1
    assert len(await notices(world, fresh)) == len(told)
    assert len([one for one in await leaves(world, "both", "withdraw") if one["pub"]["cause"] == "compromise"]) == 2


async def test_who_never_had_it_is_told_nothing(world: World, fresh: str) -> None:
    [obj] = await add(world, fresh, 1, object_marking_refs=[NOFORN])
    await call(world, "us-cyber", "DELETE", f"collections/{fresh}/objects/{obj['id']}/")
    assert await notices(world, fresh) == []
    assert len(await notices(world, fresh, "us-maritime")) == 1
    assert (await call(world, OTHER, "GET", f"collections/{fresh}/objects/"))[0] in (403, 404)


async def test_a_member_sees_verifies_and_acknowledges_with_its_own_commands(
    world: World, fresh: str, tmp_path: Path
) -> None:
    """`pull`, `verify`, `recall list` and `recall acknowledge`, with nothing but its profile."""
    write_settings(world.home, world.settings)
    [obj] = await add(world, fresh, 1)
    await call(world, "us-cyber", "DELETE", f"collections/{fresh}/objects/{obj['id']}/")
    [notice] = await notices(world, fresh)

    async def run(*words: object, status: int = 0, lang: str = "C.UTF-8") -> str:
        environment = {"LC_ALL": lang, "PUENTE_TOKEN": world.tokens[HAD]}
        result = await asyncio.to_thread(CliRunner(env=environment).invoke, puente, [str(one) for one in words])
        assert result.exit_code == status, (result.output, result.exception)
        return str(result.output)

    me = ("--home", world.home.root, "--as", HAD)
    assert "1 of them are the hub's notices" in await run("pull", *me, fresh, "-o", tmp_path / "got")
    await run("cert", "export", "--home", world.home.root, tmp_path / "public")
    judge = ("--trust-list", tmp_path / "public" / "trust-list.json", "--certs", tmp_path / "public")
    at = ("--at", as_text(world.clock.now_us()), "--json")
    [verdict] = json.loads(await run("verify", tmp_path / "got", *judge, *at))
    assert (verdict["object"], verdict["verdict"], verdict["signer"]) == (
        notice["id"],
        "valid",
        notice["created_by_ref"],
    )
    unsigned = {**notice, "extensions": {}}
    (tmp_path / "unsigned.json").write_text(json.dumps(unsigned))
    assert "signature-missing" in await run("verify", tmp_path / "unsigned.json", *judge, *at, status=1)

    assert obj["id"] in await run("recall", "list", *me, "--open")
    assert "confirmado" in await run("recall", "acknowledge", *me, notice["recall"], lang="es_MX.UTF-8")
    assert notice["recall"] not in await run("recall", "list", *me, "--open", "--json")
    assert obj["id"] in await run("recall", "list", *me), "what is acknowledged stays on the list"
