"""Logs' keys are replaced before `both` is closed for ever, in what is lost of it, and after: one story, by whoever reads it."""

import asyncio
import shutil
from pathlib import Path

import orjson
from click.testing import CliRunner

from exchange.cli.packing import HubCopy, write_pack
from exchange.cli.rotating import rotate_key
from exchange.cli.setup import OPERATOR, WITNESSES
from exchange.governance.abandoning import Loss
from exchange.hub import open_store, witness_policies, working
from exchange.ledger.audit import write_copy
from exchange.ledger.entry import LOGS
from exchange.ledger.note import LogKey
from exchange.ledger.publisher import Anchor, Anchors
from exchange.ledger.signing import KeyFiles
from exchange.store.answers import LogKeyRow
from exchange.web.services import Services
from tests.contract.test_log_keys import cosigned, judged, knowing, signers
from tests.faults.hubs import write_settings
from tests.faults.test_abandon import recovery, signed
from tests.faults.test_abandon import trust as trust_next
from tests.faults.test_recover import back_up, replace_database, submit
from tests.fscking import fsck
from tests.places import Place, knobs_of
from tests.rotating import desk, new_key, trust
from tests.world import Founded, found


async def at_terminal(founded: Founded, *words: str) -> str:
    done = await asyncio.to_thread(CliRunner().invoke, rotate_key, [*words, "--home", str(founded.home.root)])
    assert done.exit_code == 0, done.output
    return done.stdout


async def rotate(services: Services, log: str, key: LogKey) -> None:
    await desk(services).begin(OPERATOR, log, key.vkey)
    await cosigned(services)
    await desk(services).finish(OPERATOR, log)


def trusted(founded: Founded) -> list[LogKey]:
    """A new key of each log, which its witnesses know."""
    keys = [new_key(founded, log) for log in LOGS]
    for log, key in zip(LOGS, keys, strict=True):
        trust(founded, key, [name for name in WITNESSES if log in ("both", name[:2])])
    return keys


async def test_keys_are_replaced_in_every_generation(tmp_path: Path, place: Place) -> None:
    async with found(tmp_path / "home", **knobs_of(place)) as founded:
        files = KeyFiles(founded.settings.keys)
        _, us, mx = (files.main(log) for log in LOGS)
        second, new_us, new_mx = trusted(founded)
        last = new_key(founded, "both")
        trust(founded, last, WITNESSES)
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            await cosigned(services)
            await rotate(services, "both", second)
            await desk(services).begin(OPERATOR, "us", new_us.vkey)
            await cosigned(services)
        backup = await back_up(founded)

        # What is lost ends the rotation of `us`, and does the whole of that of `mx`, and of another of `both`.
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            await desk(services).finish(OPERATOR, "us")
            await rotate(services, "mx", new_mx)
            await rotate(services, "both", last)
            await submit(services, founded, "us-cyber", 2)
            for log, key in (("us", new_us), ("mx", new_mx)):
                assert signers(await cosigned(services, log), us, new_us, mx, new_mx) == [key]
            await write_copy(tmp_path / "copy", HubCopy(services, LOGS, countries=("us", "mx")))
        shutil.rmtree(tmp_path / "copy" / "both" / "tile" / "entries")
        files.path("mx", new_mx).replace(files.place("mx"))
        await replace_database(founded, backup)
        store = await open_store(founded.settings, founded.clock)
        closing = recovery(founded, store, tmp_path / "copy", "both")
        plan = await closing.plan()
        both = plan[0]
        assert isinstance(both, Loss) and both.lost
        await closing.run(signed(founded, plan))
        await store.close()
        trust_next(founded, both)

        # The next log has a key of its own, which is replaced as any other; and so are those of the logs that went on.
        third, fourth, last_mx = files.main("both/2"), new_key(founded, "both"), new_key(founded, "mx")
        assert (third.vkey, third.name) == (both.next, fourth.name)
        trust(founded, fourth, WITNESSES)
        trust(founded, last_mx, ["mx-a", "mx-b"])
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            assert signers(await cosigned(services, "both/2"), second, third, fourth) == [third]
            assert signers(await cosigned(services, "us"), us, new_us) == [us, new_us], "its ending is lost"
            audited_us = services.clock.now_us()
            await rotate(services, "both/2", fourth)
            await desk(services).finish(OPERATOR, "us")
            assert signers(await cosigned(services, "mx"), mx, new_mx) == [new_mx]
            await rotate(services, "mx", last_mx)
            assert signers(await cosigned(services, "both/2"), second, third, fourth) == [fourth]
            assert signers(await cosigned(services, "us"), us, new_us) == [new_us]
            assert signers(await cosigned(services, "mx"), mx, new_mx, last_mx) == [last_mx]
            assert (await services.store.log_keys("both"))[0].until is not None
            assert [row.key for row in await services.store.log_keys("both/2")] == [third.vkey, fourth.vkey]
            assert await services.store.log_keys("mx") == [
                LogKeyRow("mx", new_mx.vkey, 0, (await services.store.log_keys("mx"))[0].until),
                LogKeyRow("mx", last_mx.vkey, (await services.store.log_keys("mx"))[1].since),
            ]
            assert (await services.store.epochs()).state == "open"
            checked = await fsck(
                place if isinstance(place, str) else founded.settings.database,
                known := witness_policies(founded.settings),
                founded.settings.anchors,
            )
            assert checked.ok, checked.wrong
            for whom in ("us", "mx"):
                await write_pack(services, tmp_path / whom, whom, audited_us, [("both/2", 0)])
        assert signers((tmp_path / "us/both/2/checkpoint.old").read_bytes(), third, fourth) == [third]

        # Both verifiers are content, also with policies that have no old key; and name what the old ones do not tell.
        newest = {"both": last, "both/2": fourth, "us": new_us, "mx": last_mx}
        for whom in ("us", "mx"):
            mine = {log: policy for log, policy in known.items() if log[:2] in (whom, "bo")}
            assert judged(tmp_path / whom, mine) == set()
            assert judged(tmp_path / whom, {log: knowing(one, newest[log]) for log, one in mine.items()}) == set()
            blind = mine | {"both/2": knowing(mine["both/2"], third)}
            assert "both/2/checkpoint" in judged(tmp_path / whom, blind)

        # At a terminal, a log is what goes on of its kind.
        write_settings(founded.home, founded.settings)
        again = new_key(founded, "both")
        await at_terminal(founded, "begin", "both", again.vkey)
        told = orjson.loads(await at_terminal(founded, "show", "--json"))
        assert [one["key"] for one in told if one["log"] == "both/2" and one["until"] is None] == [
            fourth.vkey,
            again.vkey,
        ]
        assert {one["log"] for one in told} == {"both/2", "us", "mx"}
        await at_terminal(founded, "abort", "both")


async def test_what_is_put_back_of_a_log_before_it_is_closed_tells_of_its_keys(tmp_path: Path, place: Place) -> None:
    """Everything comes back that was cosigned; and then both logs are closed, for what was signed behind it."""
    async with found(tmp_path / "home", **knobs_of(place)) as founded:
        backup = await back_up(founded)
        both, us, mx = trusted(founded)
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            await rotate(services, "both", both)
            await desk(services).begin(OPERATOR, "us", us.vkey)
            await rotate(services, "mx", mx)
            await cosigned(services)
            rows = {log: await services.store.log_keys(log) for log in LOGS}
            await write_copy(tmp_path / "copy", HubCopy(services, LOGS, countries=("us", "mx")))
            trees = await services.store.trees()
        for log in ("both", "us"):
            Anchors(founded.settings.anchors).write(log, Anchor(trees[log].size + 5, bytes(32)))
        await replace_database(founded, backup)
        store = await open_store(founded.settings, founded.clock)
        closing = recovery(founded, store, tmp_path / "copy", "both", "us")
        plan = await closing.plan()
        await closing.run(signed(founded, plan))
        assert {log: await store.log_keys(log) for log in LOGS} == rows
        assert [await store.log_keys(log) for log in ("both/2", "us/2")] == [[], []]
        await store.close()
        for one in plan:
            if isinstance(one, Loss):
                trust_next(founded, one)
        new = new_key(founded, "us")
        trust(founded, new, ["us-a", "us-b"])
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            assert signers(await cosigned(services, "mx"), mx) == [mx]
            await rotate(services, "us/2", new)
            assert signers(await cosigned(services, "us/2"), new) == [new]
            await write_pack(services, tmp_path / "us", "us", None, [("us/2", 0)])
        known = witness_policies(founded.settings)
        at = place if isinstance(place, str) else founded.settings.database
        checked = await fsck(at, known, founded.settings.anchors)
        assert checked.ok, checked.wrong
        assert judged(tmp_path / "us", {log: one for log, one in known.items() if log != "mx"}) == set()
