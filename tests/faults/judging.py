"""The verdict over everything that hubs left behind and everything they told: one history, and nothing outside of it."""

import asyncio
import contextlib
from pathlib import Path

from certs.jcs import load
from exchange.cli.ledger import read_policies
from exchange.cli.packing import HubCopy
from exchange.hub import working
from exchange.ledger.audit import verify_copy, write_copy
from exchange.ledger.entry import LOGS, national, route
from exchange.ledger.merkle import Frontier, leaf_hash
from tests.faults.load import History, Members, items_root
from tests.world import Founded

SEES = {"both": "aud-us", "us": "aud-us", "mx": "aud-mx"}
"""Who may read each log's checkpoints."""


async def everything_cosigned(members: Members) -> None:
    """Until each log's newest checkpoint bears all the cosignatures that its policy asks for."""
    policies = read_policies(members.founded.settings.witness_policy)
    for log, slug in SEES.items():
        while True:
            await members.look_at_checkpoint(slug, log)
            with contextlib.suppress(ValueError):
                policies[log].check(members.history.notes[-1][1])
                break
            await asyncio.sleep(0.1)


async def judge(founded: Founded, members: Members, copy: Path) -> None:
    """The logs as they are, and every checkpoint and page that anybody was given, are one history that an auditor accepts."""
    assert not list(founded.home.root.glob("witness-*/refused/*")), "a witness was shown two histories"
    async with working(founded.settings, founded.clock) as services:
        await write_copy(copy, HubCopy(services, LOGS))
        trees = await services.store.trees()
        leaves = {log: await services.store.leaves(log, 0, tree.size) for log, tree in trees.items()}
    history = members.history
    _what_left_was_logged(history, founded, leaves)
    _one_root_a_size(history, leaves)
    kept = dict(reversed(history.notes))  # the first that was seen of each log
    report = await asyncio.to_thread(verify_copy, copy, read_policies(founded.settings.witness_policy), kept)
    assert report.findings == (), report.findings[:3]
    cosigned = {log.name: {name.partition("-")[0] for name in log.cosigned} for log in report.logs}
    assert cosigned == {"both": {"us", "mx"}, "us": {"us"}, "mx": {"mx"}}
    for log in report.logs:
        assert log.size >= len(leaves[log.name]) - 10  # the hubs' last words came after the last cosignature


def _what_left_was_logged(history: History, founded: Founded, leaves: dict[str, list[bytes]]) -> None:
    logged = set()
    for log in LOGS:
        for leaf in leaves[log]:
            entry = load(leaf, max_bytes=70_000)
            if entry["t"] == "release":
                logged.add((log, entry["actor"].split(":")[1], entry["pub"]["count"], entry["pub"]["items_root"]))
    country = {member.identity_id: member.country for member in founded.members.values()}
    for slug, page in history.pages:
        reader = founded.members[slug].country
        for log in ("both", national(reader)):
            part = [one for one in page if route(reader, (country[one["created_by_ref"]],)) == log]
            assert not part or (log, slug, len(part), items_root(part)) in logged


def _one_root_a_size(history: History, leaves: dict[str, list[bytes]]) -> None:
    """Of all checkpoints that any hub ever showed, each is the root of the log as it is now."""
    assert len(history.roots) > 10
    roots = {}
    for log in LOGS:
        frontier = Frontier(0, ())
        roots[log, 0] = frontier.root()
        for leaf in leaves[log]:
            frontier = frontier.push(leaf_hash(leaf))
            roots[log, frontier.size] = frontier.root()
    for place, seen in history.roots.items():
        assert seen == {roots[place]}
