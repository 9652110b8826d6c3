"""The question of every request: it is answered by what had been committed when the request was sent, on each engine, however
many ask at once."""

import asyncio
import uuid

import pytest

from exchange.ledger.entry import Entry
from exchange.model.member import Country, Member
from exchange.store.acts import Act, Record
from tests.places import Place, open_at

ROUNDS = 60


def enrolment(number: int) -> Act:
    member = Member(f"us-{number}", f"identity--{number}", Country.US, "agency", ("agency",), (), "A", "B")
    entry = Entry("us", "admin", "us:us-cyber:acct:1", "coll", {"command": member.slug})
    return Act(str(uuid.uuid4()), lambda _: Record((entry,)), changes=(member,))


@pytest.mark.parametrize("writer", [0, 1], ids=["this process", "another process"])
async def test_whoever_asks_after_a_commit_sees_it_while_others_ask_in_every_round(place: Place, writer: int) -> None:
    stores = [await open_at(place) for _ in range(2)]
    ended = False

    async def ask() -> None:
        while not ended:
            await stores[0].epochs()
            await asyncio.sleep(0)

    askers = [asyncio.create_task(ask()) for _ in range(3)]
    for number in range(1, ROUNDS):
        await stores[writer].extend([enrolment(number)])
        assert (await stores[0].epochs()).registry == number
    ended = True
    await asyncio.gather(*askers)
    for store in stores:
        await store.close()
