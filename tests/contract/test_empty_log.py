"""A log without an entry is a log: it is signed, cosigned, copied and verified like any other."""

import asyncio
from pathlib import Path

from exchange.cli.ledger import read_policies
from exchange.cli.packing import HubCopy
from exchange.ledger.audit import verify_copy, write_copy
from exchange.ledger.entry import LOGS
from tests.world import make_world


async def test_a_hub_in_which_nothing_national_has_happened_yet_is_copied_whole(tmp_path: Path) -> None:
    async with make_world(tmp_path / "world", witness_interval_seconds=0.1, checkpoint_interval_seconds=0.05) as world:
        publisher = world.hub.services.publisher
        while not all([await publisher.newest_cosigned(log) for log in LOGS]):
            await asyncio.sleep(0.05)
        await write_copy(tmp_path / "copy", HubCopy(world.hub.services, LOGS))
        policies = read_policies(world.home.root / "hub" / "witness-policy")
        report = verify_copy(tmp_path / "copy", policies)
    assert report.ok, report.findings
    sizes = {log.name: log.size for log in report.logs}
    assert sizes["both"] > 0
    assert (sizes["us"], sizes["mx"]) == (0, 0)
    (tmp_path / "copy" / "us" / "checkpoint").unlink()
    assert not verify_copy(tmp_path / "copy", policies).ok
