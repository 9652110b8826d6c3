"""What is erased is gone from the database's own files; the tree verifies as before, and says when it went and why."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import orjson
import pytest
import pytest_asyncio

from exchange.cli.erasing import privacy
from exchange.cli.packing import HubCopy
from exchange.errors import Conflict, NotFound, NotPermitted
from exchange.governance.privacy import ERASURE_TYPE, Privacy
from exchange.hub import witness_policies, working
from exchange.ledger.audit import verify_copy, write_copy
from exchange.ledger.entry import LOGS
from exchange.rules import Caller
from exchange.store.answers import Opening
from exchange.web.services import Services
from tests.faults.test_recover import approvals, cosign, submit, told_in
from tests.fscking import fsck
from tests.postgres import Cluster
from tests.world import Founded, found

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def founded(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[Founded]:
    async with found(tmp_path_factory.mktemp("erase"), **database) as made:
        yield made


async def some_opening(services: Services, log: str) -> Opening:
    openings = await services.store.openings(log, 0, 100_000)
    return openings[len(openings) // 2]


async def act(founded: Founded, desk: Privacy, step: Any, log: str, index: int, countries: str) -> None:
    statement = await desk.statement(step, log, index, "LGPDPPSO-24")
    await desk.do(step, log, index, "LGPDPPSO-24", approvals(founded, statement, countries, ERASURE_TYPE))


async def files_with(founded: Founded, needle: bytes, server: Cluster | None) -> list[str]:
    """The files of the database that hold these bytes."""
    if server is None:
        files = list(founded.settings.database.parent.glob(f"{founded.settings.database.name}*"))
    else:
        url = founded.settings.database_url
        db = await asyncpg.connect(url)
        await db.execute("VACUUM FULL leaf_private")
        await db.execute("CHECKPOINT")
        number = await db.fetchval("SELECT oid FROM pg_database WHERE datname = $1", urlsplit(url).path[1:])
        await db.close()
        files = list((server.data / "base" / str(number)).iterdir())
    return [one.name for one in files if one.is_file() and needle in one.read_bytes()]


async def test_a_private_part_is_blocked_then_erased(
    founded: Founded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue("server") if founded.settings.database_url else None
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        desk = privacy(services)
        for _ in range(40):
            await submit(services, founded, "us-cyber", 3)
            await submit(services, founded, "mx-ciber", 2)
        one = await some_opening(services, "us")
        index = one.index
        assert server is not None or await files_with(founded, one.salt, server)
        with pytest.raises(Conflict, match="must be blocked"):
            await desk.statement("erase", "us", index, "LGPDPPSO-24")
        statement = await desk.statement("block", "us", index, "LGPDPPSO-24")
        for given, code in (
            ([], "approval-missing"),
            (approvals(founded, statement, "mx", ERASURE_TYPE), "approval-missing"),
            (approvals(founded, {**statement, "index": index + 1}, "us", ERASURE_TYPE), "approval-replayed"),
            (approvals(founded, {**statement, "act": "erase"}, "us", ERASURE_TYPE), "approval-replayed"),
        ):
            with pytest.raises(NotPermitted) as refusal:
                await desk.do("block", "us", index, "LGPDPPSO-24", given)
            assert refusal.value.code == code

        # Blocked: in no export, and read for a case of liability only.
        await act(founded, desk, "block", "us", index, "us")
        assert index not in [other.index for other in await services.store.openings("us", 0, 100_000)]
        with pytest.raises(NotPermitted, match="blocked"):
            await desk.read("us", index)
        size = (await services.store.trees())["us"].size
        assert (await desk.read("us", index, liability="case 7/2026")).salt == one.salt
        [told] = await services.store.leaves("us", size, size + 1)
        assert orjson.loads(told)["pub"]["reason"] == "case 7/2026"

        # Erased: gone, and the log says when and why.
        await act(founded, desk, "erase", "us", index, "us")
        with pytest.raises(NotFound, match=r"erased on 20.* for LGPDPPSO-24, as entry us/\d+ says") as gone:
            await desk.read("us", index, liability="case 7/2026")
        assert gone.value.code == "erased"
        assert await files_with(founded, one.salt, server) == []
        await cosign(services)
        await write_copy(tmp_path / "copy", HubCopy(services, LOGS, countries=("us", "mx")))
        report = verify_copy(tmp_path / "copy", witness_policies(founded.settings))
        assert report.ok, report.findings
        assert not (tmp_path / f"copy/us/open/{index}.json").exists()
        shared = await services.store.openings("us", 0, 100_000)
        assert shared, "the others are still there"
    policies = witness_policies(founded.settings)
    checked = await fsck(founded.settings.database_url or founded.settings.database, policies, founded.settings.anchors)
    assert checked.ok, checked.wrong


async def test_what_both_countries_have_takes_both_countries(founded: Founded) -> None:
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        desk = privacy(services)
        await submit(services, founded, "us-cyber", 2)
        collection = (await services.rulebook.current()).collection("indicators")
        assert collection is not None
        [deleted] = await submit(services, founded, "us-cyber", 1)
        caller = Caller(founded.members["us-cyber"], "acct", address="192.0.2.7")
        await services.intake.remove(caller, collection, deleted)
        [*_, one] = await services.store.openings("both", 0, 100_000)
        for step in ("block", "erase"):
            for alone in ("us", "mx"):
                with pytest.raises(NotPermitted, match="has not approved"):
                    await act(founded, desk, step, "both", one.index, alone)
            await act(founded, desk, step, "both", one.index, "us mx")
        with pytest.raises(NotFound, match="erased on"):
            await desk.read("both", one.index)
        with pytest.raises(NotFound, match="There is no entry"):
            await desk.read("both", 10**6)


async def test_what_holds_personal_data_is_erased_and_asked_back_from_who_had_it(
    founded: Founded, request: pytest.FixtureRequest
) -> None:
    """By the agreement's withdrawal.privacy: within four hours, acknowledged, and nothing told but the id."""
    server = request.getfixturevalue("server") if founded.settings.database_url else None
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        desk = privacy(services)
        [gone] = await submit(services, founded, "us-cyber", 1)
        [other] = await submit(services, founded, "us-cyber", 1)
        [held] = await services.store.held(gone)
        assert server is not None or await files_with(founded, held.body, server)
        index = (await told_in(services, "us", gone)).index
        with pytest.raises(Conflict, match="must be blocked"):
            await desk.statement("erase", "us", index, "LGPDPPSO-24", [gone])
        await act(founded, desk, "block", "us", index, "us")
        with pytest.raises(NotFound, match="does not tell of") as unknown:
            await desk.statement("erase", "us", index, "LGPDPPSO-24", [other])
        assert (unknown.value.code, unknown.value.field) == ("no-such-object", "object")

        statement = await desk.statement("erase", "us", index, "LGPDPPSO-24", [gone])
        lying = await services.release.delivered(gone)
        assert {"mx-ciber", "mx-aduanas", "us-customs"} <= {slug for one in lying for slug in one.holders}
        without = {name: value for name, value in statement.items() if name != "objects"}
        for signed, countries in ((statement, "us"), (without, "us mx")):
            with pytest.raises(NotPermitted, match=r"has not approved|is about"):
                given = approvals(founded, signed, countries, ERASURE_TYPE)
                await desk.do("erase", "us", index, "LGPDPPSO-24", given, [gone], lying)
        given = approvals(founded, statement, "us mx", ERASURE_TYPE)
        done = await desk.do("erase", "us", index, "LGPDPPSO-24", given, [gone], lying)

        assert await services.store.held(gone) == []
        assert await services.store.held(other) != []
        assert await services.release.delivered(gone) == []
        made = [one for one in await services.recalls.everybodys() if one.row.cause == "erasure"]
        assert {one.row.member for one in made} == {slug for one in lying for slug in one.holders}
        abroad = {one.row.member for one in made if one.row.member.startswith("mx-")}
        for one in made:
            assert one.row.due_us == done.stamp.time_us + 4 * 3_600_000_000
            assert one.told["what"] == {"objects": [{"id": gone, "versions": [held.version]}]}
            assert (one.row.term, one.told["acknowledgement"]) == ("privacy", "required")
            assert not {"class", "cause"} & one.told.keys(), "of whose data it was nothing is told"
        told = [orjson.loads(one) for one in await services.store.leaves("both", 0, 100_000)]
        [entry] = [one for one in told if one["t"] == "withdraw" and one["pub"].get("object") == gone]
        assert (entry["pub"]["cause"], entry["pub"]["owner"]) == ("erasure", "us-cyber")
        assert sum(one["t"] == "recall" and one["pub"]["cause"] == "erasure" for one in told) == len(abroad)
        if server is None:
            assert await files_with(founded, held.body, server) == []
        await cosign(services)
    policies = witness_policies(founded.settings)
    checked = await fsck(founded.settings.database_url or founded.settings.database, policies, founded.settings.anchors)
    assert checked.ok, checked.wrong
