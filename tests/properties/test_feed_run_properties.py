"""A run of a feed is told to the hub exactly once, wherever its process dies and whichever answer is lost: with its own words, and
with counts that add up to what the hub took."""

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.signature import Signer
from exchange.client import Client, Envelope, SubmitResult
from exchange.clock import FixedClock
from feeds.catalogue import packaged
from feeds.mapping import Mapping as Rows
from feeds.runner import Job, run_once
from tests.fake_hub import FakeHub, fake_hub
from tests.feed_bench import no_pause
from tests.pki import US_PORT, make_pki

CALLS = 4
"""That a run makes to the hub at most, of which any may be its last."""

Ending = tuple[int, bool]
"""At which call the process dies, and whether the hub had served it by then."""


class Killed(BaseException):
    """The process is no more."""


class Mortal(Client):
    """A client whose process dies at a call: the state's files are then what they were at that moment."""

    directory: Path
    left: int
    served: bool

    def _die(self) -> None:
        shutil.copytree(self.directory / "state", self.directory / "grave")
        raise Killed

    async def send(self, envelope: Envelope, collection: str) -> SubmitResult:
        self.left -= 1
        if self.left == 0 and not self.served:
            self._die()
        result = await super().send(envelope, collection)
        if self.left == 0:
            self._die()
        return result

    async def report_run(self, feed: str, run: Mapping[str, Any]) -> dict[str, Any]:
        self.left -= 1
        if self.left == 0 and not self.served:
            self._die()
        answer = await super().report_run(feed, run)
        if self.left == 0:
            self._die()
        return answer


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_pki(tmp_path_factory.mktemp("pki")).signer("US", "us-port", US_PORT)


async def play(signer: Signer, directory: Path, endings: list[Ending]) -> tuple[FakeHub, int]:
    clock = FixedClock()
    rows = Rows(format="lines", value="value", kind="domain", valid_days=30)
    source = packaged()["kev"].model_copy(
        update={"name": "list", "adapter": "mapped", "location": str(directory / "list"), "mapping": rows}
    )
    async with (
        fake_hub() as hub,
        Mortal(hub.url, clock=clock, token="t", signer=signer, pause=no_pause) as client,
    ):
        client.directory = directory
        for number, (call, served) in enumerate([*endings, (0, False), (0, False)]):
            clock.advance(seconds=60)
            (directory / "list").write_text("".join(f"h{n}.example\n" for n in range(2 + 2 * number)))
            client.left, client.served = call, served
            try:
                await run_once(Job.of(source, client, directory / "state", clock), pause=no_pause)
            except Killed:
                shutil.rmtree(directory / "state")
                (directory / "grave").rename(directory / "state")
        return hub, len(endings) + 2


@settings(max_examples=60, deadline=None)
@given(endings=st.lists(st.tuples(st.integers(1, CALLS), st.booleans()), max_size=5))
def test_every_run_is_told_once_and_no_object_is_counted_twice(signer: Signer, endings: list[Ending]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        hub, runs = asyncio.run(play(signer, Path(directory), endings))
    assert len(hub.runs) == runs
    assert len({one["run"] for one in hub.runs}) == runs
    assert all(one["complete"] is (one.get("code") != "interrupted") for one in hub.runs)
    assert [one["to"] for one in hub.runs] == sorted(one["to"] for one in hub.runs)
    assert sum(one["accepted"] for one in hub.runs) == len(hub.objects)
