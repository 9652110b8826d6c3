"""The log of both countries is closed with one of its own; and whatever statement a closing breaks at, done again it ends the same."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from click.testing import CliRunner

from exchange.cli.__main__ import puente
from exchange.cli.ledger import read_policies
from exchange.cli.packing import HubCopy, write_pack
from exchange.errors import LedgerFault, NotPermitted
from exchange.governance.abandoning import Loss
from exchange.governance.recovery import Gap
from exchange.hub import open_store, witness_policies, working
from exchange.ledger.audit import verify_copy, write_copy
from exchange.ledger.entry import LOGS
from exchange.ledger.generations import in_order
from exchange.ledger.publisher import Anchor, Anchors
from exchange.store.contract import Store
from tests.faults.hubs import write_settings
from tests.faults.test_abandon import first_entry, offline_findings, recovery, signed, trust
from tests.faults.test_recover import back_up, cosign, overlays, replace_database, submit
from tests.faults.test_statements import broken, fused
from tests.fscking import asked, fsck, hand
from tests.places import Place
from tests.world import Founded, found, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lost(
    tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]
) -> AsyncIterator[tuple[Founded, Any, Path]]:
    """A hub that lost a day of all logs, its backup, and a copy without the entries of `both` and `mx`."""
    root = tmp_path_factory.mktemp("lost")
    async with found(root, witness_interval_seconds=0.2, checkpoint_interval_seconds=0.05, **database) as founded:
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            await submit(services, founded, "us-cyber", 2)
            await submit(services, founded, "mx-ciber", 2)
            await cosign(services)
        backup = await back_up(founded)
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            await submit(services, founded, "us-cyber", 5)
            await overlays(services, founded)
            await submit(services, founded, "mx-ciber", 5)
            await cosign(services)
            await write_copy(root / "copy", HubCopy(services, LOGS, countries=("us", "mx")))
        for log in ("both", "mx"):
            shutil.rmtree(root / "copy" / log / "tile" / "entries")
        yield founded, backup, root / "copy"


def place_of(founded: Founded) -> Place:
    return founded.settings.database_url or founded.settings.database


async def closed_once(store: Store) -> None:
    """Closed, begun, and told of once, all together."""
    trees = await store.trees()
    assert {log for log, tree in trees.items() if tree.closed} == {"both", "mx"}
    for log in ("both/2", "mx/2"):
        leaves = [orjson.loads(data)["t"] for data in await store.leaves(log, 0, trees[log].size)]
        assert leaves[0] == "log.close" and leaves.count("log.close") == 1


@pytest.mark.parametrize("done", [False, True], ids=["failed", "failed, but done"])
async def test_whatever_statement_it_breaks_at(lost: tuple[Founded, Any, Path], *, done: bool) -> None:
    """One statement further each time, on what the time before left."""
    founded, backup, copy = lost
    await replace_database(founded, backup)
    fuse = broken(place_of(founded), done=done)
    at, struck, given = 0, set(), None
    while True:
        at += 1
        store = await fused(place_of(founded), fuse, founded.clock)  # type: ignore[arg-type]
        closing = recovery(founded, store, copy, "both", "mx")
        given = given or signed(founded, await closing.plan())
        fuse.arm(at)
        try:
            await closing.run(given)
        except Exception as error:  # noqa: BLE001  # whatever it was, what is on disk counts
            assert fuse.blown, error
        fuse.armed = False
        struck.add(fuse.blown.split(" ", 1)[0])
        trees, state = await store.trees(), (await store.epochs()).state
        await store.close()
        if any(tree.closed for tree in trees.values()):
            break
        assert state == "open" or state.startswith("recovering")
        assert set(trees) == set(LOGS), "all of it, or nothing"
    again = await open_store(founded.settings, founded.clock)
    await closed_once(again)
    await again.close()
    assert at > 15 and {"UPDATE", "INSERT"} <= {word.upper() for word in struck}, struck
    checked = await fsck(place_of(founded), witness_policies(founded.settings), founded.settings.anchors)
    assert checked.ok, checked.wrong


async def test_the_log_of_both_goes_on_under_numbers_that_nobody_had(
    lost: tuple[Founded, Any, Path], tmp_path: Path
) -> None:
    founded, backup, copy = lost
    await replace_database(founded, backup)
    store = await open_store(founded.settings, founded.clock)
    held = await store.agreement()
    assert held is not None
    closing = recovery(founded, store, copy, "both", "mx")
    plan = await closing.plan()
    both, us, mx = plan
    assert isinstance(both, Loss) and isinstance(us, Gap) and isinstance(mx, Loss)
    for countries in ("us", "mx"):
        with pytest.raises(NotPermitted) as refusal:
            await closing.run(signed(founded, plan, countries))
        assert refusal.value.code == "approval-missing"
    await closing.run(signed(founded, plan))
    again = await store.agreement()
    assert again is not None
    assert (again.cause, again.document, again.overlays) == ("abandon", held.document, held.overlays)
    assert again.number == held.number + both.lost + 1, "of the three that were lost, no number comes again"
    told = await first_entry(store, "both/2")
    assert told["pol"] == f"{held.name}@{again.number}" and "seq" not in told
    assert {one.split(" ")[0] for one in told["pub"]["approvals"]} == {"US", "MX"}
    assert {one.split(" ")[0] for one in (await first_entry(store, "mx/2"))["pub"]["approvals"]} == {"MX"}
    await store.close()

    # Until its witnesses are told of it, nothing crosses the border; then all goes on.
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        assert (await services.store.epochs()).state == "degraded"
    for one in (both, mx):
        trust(founded, one)
    async with opened(founded) as world:
        [new] = await submit(world.hub.services, founded, "us-cyber", 1)
        await cosign(world.hub.services)
        assert (await world.hub.services.store.epochs()).state == "open"
        assert new in await world.pull("mx-ciber")
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        await cosign(services)
        await write_pack(services, tmp_path / "pack", "us", None)
    mine = {log: one for log, one in read_policies(founded.settings.witness_policy).items() if not log.startswith("mx")}
    kept = {"both": (copy / "both/checkpoint").read_bytes()}
    report = verify_copy(tmp_path / "pack", mine, kept)
    assert report.ok, report.findings
    assert offline_findings(tmp_path / "pack", founded.settings.witness_policy, kept) == []
    checked = await fsck(place_of(founded), witness_policies(founded.settings), founded.settings.anchors)
    assert checked.ok, checked.wrong


async def test_what_is_altered_of_a_closed_log_is_named(lost: tuple[Founded, Any, Path]) -> None:
    """After the test before this."""
    founded, _, _ = lost
    last = "(SELECT max(idx) FROM leaf WHERE log = 'mx')"
    for edit, code, key in (
        ("UPDATE tree SET closed = NOT closed WHERE log = 'mx'", "tree-row", "mx"),
        ("UPDATE tree SET before = before - 1 WHERE log = 'mx/2'", "tree-row", "mx/2"),
        (f"DELETE FROM leaf WHERE log = 'mx' AND idx = {last}", "leaf-missing", None),
        ("UPDATE tree SET log = 'mx/7' WHERE log = 'mx/2'", "tree-strange", "mx/7"),
    ):
        async with hand(place_of(founded)) as other:
            await other.do(edit, [])
            checked = await asked(other.scan, witness_policies(founded.settings), founded.settings.anchors)
        assert any(one.code == code and key in (None, one.key) for one in checked.wrong), (edit, checked.wrong)


async def test_no_hub_starts_with_the_policies_of_another_generation(lost: tuple[Founded, Any, Path]) -> None:
    founded, _, _ = lost
    file = founded.settings.witness_policy / "both"
    text = file.read_text()
    file.write_text("\n".join(line for line in text.split("\n") if "/both/2+" not in line))
    with pytest.raises(LedgerFault) as fault:
        async with working(founded.settings, founded.clock):
            raise AssertionError("it must not start")
    assert fault.value.code == "log-generation"
    file.write_text(text)


async def test_by_command_in_both_languages(lost: tuple[Founded, Any, Path], tmp_path: Path) -> None:
    """The third `mx`, as its operator and its country's approvers make it."""
    founded, _, _ = lost
    write_settings(founded.home, founded.settings)
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        await submit(services, founded, "mx-ciber", 1)
        await cosign(services)
        trees = await services.store.trees()
        await write_copy(tmp_path / "copy", HubCopy(services, in_order(trees), countries=("us", "mx")))
        Anchors(founded.settings.anchors).write("mx/2", Anchor(trees["mx/2"].size + 3, bytes(32)))
        await services.store.halt("rollback")

    async def run(*words: object, code: int = 0, lang: str = "C.UTF-8") -> str:
        runner = CliRunner(env={"LC_ALL": lang, "LANG": lang})
        result = await asyncio.to_thread(runner.invoke, puente, [str(word) for word in words])
        assert result.exit_code == code, (result.output, result.exception)
        return result.output + (str(result.exception) if code else "")

    recover = ("ledger", "recover", "--home", founded.home.root, "--from", tmp_path / "copy")
    assert "--abandon mx" in await run(*recover, code=1)
    assert "without --abandon" in await run(*recover, "--abandon", "both", "--abandon", "mx", code=1)
    told = await run(*recover, "--abandon", "mx", "--statements", tmp_path / "to-sign")
    assert "mx/3" in told and "/audit/mx/3+" in told
    assert {path.name for path in (tmp_path / "to-sign").iterdir()} == {"recover-both.2.json", "abandon-mx.2.json"}
    given: list[object] = []
    for name, countries in (("recover-both.2", ("us", "mx")), ("abandon-mx.2", ("mx",))):
        for country in countries:
            for number in (1, 2):
                approver = founded.home.root / "pki" / country / "approvers" / f"appr-{number}"
                approval = tmp_path / f"{name}-{country}-{number}.json"
                key = ("--key", approver.with_suffix(".key"), "--cert", approver.with_suffix(".pem"), "-o", approval)
                await run("ledger", "approve", tmp_path / "to-sign" / f"{name}.json", *key)
                given += ["--approval", approval]
    said = await run(*recover, "--abandon", "mx", *given, lang="es_MX.UTF-8")
    assert "mx/2 queda cerrado para siempre" in said and "se perdieron 3" in said
    assert "ANTES de poner en marcha" in said

    checked = await run("ledger", "fsck", "--home", founded.home.root)
    assert "Every row" in checked
    key = next(
        line.split()[1] for line in (founded.settings.witness_policy / "mx").read_text().split("\n") if "/mx/3+" in line
    )
    for name in ("mx-a", "mx-b"):
        founded.witnesses[name].add_log(key)
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        await cosign(services)
    packed = await run(
        "ledger", "pack", "--home", founded.home.root, tmp_path / "pack", "--for", "mx", "--receipt", "mx/3/0"
    )
    assert "mx/3" in packed
    verified = await run("ledger", "verify", "--policy", founded.settings.witness_policy, tmp_path / "pack", code=1)
    assert "us/checkpoint: file-missing" in verified, "of the other country's log this auditor has no policy"
    (tmp_path / "mine").mkdir()
    for log in ("both", "mx"):
        shutil.copy(founded.settings.witness_policy / log, tmp_path / "mine" / log)
    verified = await run("ledger", "verify", "--policy", tmp_path / "mine", tmp_path / "pack")
    assert "mx/2 is closed for ever" in verified and "3 are lost" in verified
    asked_of = ("--copy", tmp_path / "pack", "--policy", tmp_path / "mine", "--log", "mx")
    gaps = await run("audit", "gaps", *asked_of)
    assert gaps.count("log.close") == 2 and "mx/2 was closed for ever" in gaps
