"""A process that writes to a database of either engine: `load` appends until it is killed or its count is reached, `freeze`
stops itself (SIGSTOP) while it holds the head.

Each line it prints was acknowledged before it was printed.
"""

import asyncio
import os
import signal
import sys
import time
import uuid
from pathlib import Path

from exchange.clock import SystemClock
from exchange.ledger.entry import Entry
from exchange.store.acts import Act, Done, Record, Stamp
from tests.contract.test_store import act, made, new
from tests.places import open_at


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def load(place: str, begin: int, count: int) -> None:
    """Objects `begin` to `begin + count`, one, two or three an act; "id tick" for each that is durable."""
    store = await open_at(Path(place) if place.startswith("/") else place, SystemClock())
    done = 0
    while done < count:
        objects = [new(made(begin + done + n), label="abc"[n]) for n in range(1 + done % 3)]
        [result] = await store.extend([act(*objects)])
        assert isinstance(result, Done)
        for one, placed in zip(objects, result.stamp.placed, strict=True):
            say(one.object.id, placed.tick)
        done += len(objects)
    await store.close()


async def freeze(place: str) -> None:
    """Freezes under the lock; woken, says how it went."""
    store = await open_at(place, SystemClock())

    def frozen(stamp: Stamp) -> Record:
        say("holding")
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.5)  # other threads stop a moment later: here, and not in what comes next
        return Record((Entry("us", "admin", "hub:puente:acct:test", "x", {"command": "test"}),))

    try:
        await store.extend([Act(str(uuid.uuid4()), frozen)])
    except Exception as error:  # noqa: BLE001
        say("refused", type(error).__name__)
    else:
        say("written")


if __name__ == "__main__":
    if sys.argv[1] == "load":
        asyncio.run(load(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    else:
        asyncio.run(freeze(sys.argv[2]))
