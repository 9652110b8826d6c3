"""A process that appends and publishes until it is killed; each line it prints was acknowledged before it was printed."""

import asyncio
import sys
import uuid
from pathlib import Path

from exchange.clock import SystemClock
from exchange.ledger.entry import LOGS, Entry
from exchange.ledger.note import LogKey, Policy
from exchange.ledger.publisher import Anchors, Publisher, Publishing
from exchange.ledger.sequencer import Sequencer
from exchange.store.contract import Act, Record
from exchange.store.sqlite import SqliteStore


def publisher_of(directory: Path, store: SqliteStore, committed: asyncio.Event) -> Publisher:
    keys = {log: LogKey.decode((directory / f"{log}.key").read_text().strip()) for log in LOGS}
    policies = {log: Policy.parse(f"log {key.vkey}\nquorum none\n") for log, key in keys.items()}
    publishing = Publishing(keys, policies, Anchors(directory / "anchors"), {}, interval_seconds=0.005)
    return Publisher(store, SystemClock(), publishing, committed)


async def main(directory: Path) -> None:
    store = SqliteStore(directory / "hub.sqlite", SystemClock())
    sequencer = Sequencer(store)
    publisher = publisher_of(directory, store, sequencer.committed)
    await publisher.start()

    async def append(log: str) -> None:
        while True:
            req = str(uuid.uuid4())
            entry = Entry(log, "admin", "hub:puente:acct:test", "x", {"req": req})
            done = await sequencer.append(Act(req, lambda _: Record((entry,))))
            sys.stdout.write(f"{log} {done.leaves[0].index} {req}\n")
            sys.stdout.flush()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sequencer.run())
        tasks.create_task(publisher.run())
        for log in (*LOGS, *LOGS):
            tasks.create_task(append(log))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
