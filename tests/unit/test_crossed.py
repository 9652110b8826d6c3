"""Which pages need names: over entries made here, against a plain model of what their reader knows."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.jcs import canonical
from exchange.auditing.crossed import NAMED_AT_MOST, Crossed, CrossedLeaves
from exchange.ledger.merkle import root
from exchange.model.stix import item_hash, listed
from exchange.store.answers import Opening, Publication
from exchange.times import as_text

Entry = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Clear part, and private part."""


def name(tick: int) -> str:
    return f"indicator--{tick}"


@dataclass
class Hub:
    """Logs, with nothing hidden; `gone` are erased private parts."""

    logs: dict[str, list[Entry]] = field(default_factory=dict)
    gone: set[tuple[str, int]] = field(default_factory=set)
    asked: int = 0

    def publish(self, log: str, ticks: Sequence[int]) -> None:
        items = [listed(tick, name(tick), "v", bytes(32)) for tick in ticks]
        self._add(log, ticks[0], ticks[-1], {"items": items})

    def grant(self, *runs: tuple[int, int, int]) -> None:
        self._add("both", runs[0][0], runs[-1][0] + runs[-1][2] - 1, {"runs": list(map(list, runs)), "under": {}})

    def release(self, log: str, places: Mapping[int, int], top: str = "") -> None:
        """`places`: where each lies in the member's view, and where it was placed."""
        made = root([item_hash(name(native), "v", bytes(32)) for native in places.values()]).hex()
        self._add(log, 1, 1, {"ticks": [[tick, 1] for tick in places]}, items_root=top or made)

    def _add(self, log: str, first: int, last: int, private: Mapping[str, Any], **pub: str) -> None:
        clear = {"first": as_text(first), "last": as_text(last), **pub}
        self.logs.setdefault(log, []).append((clear, private))

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]:
        return [canonical({"pub": dict(pub)}) for pub, _ in self.logs[log][start:end]]

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        found = list(enumerate(self.logs[log]))[start:end]
        return [
            Opening(n, bytes(32), canonical(dict(private))) for n, (_, private) in found if (log, n) not in self.gone
        ]

    async def publications(self, ticks: Sequence[int]) -> list[list[Publication]]:
        self.asked += 1
        every = [
            (log, n, canonical({"pub": dict(pub)}))
            for log, entries in self.logs.items()
            for n, (pub, private) in enumerate(entries)
            if "ticks" not in private and (log, n) not in self.gone
        ]
        return [[Publication(*one) for one in every] for _ in ticks]

    def named(self, *kinds: str, logs: Sequence[str] = ("both",)) -> list[list[str] | None]:
        """The ids that each page is given with."""

        async def walk() -> list[list[str] | None]:
            crossed, found = Crossed(self, kinds), list[list[str] | None]()
            for log in logs:
                for n, (_, private) in enumerate(self.logs[log]):
                    page = await crossed.page(log, n, private) if (log, n) not in self.gone else None
                    if "ticks" in private:
                        found.append(page and [line.split(" ")[1] for line in page.objects["items"]])
            return found

        return asyncio.run(walk())


def test_a_page_of_what_is_published_there_is_not_looked_up() -> None:
    hub = Hub()
    hub.publish("both", [10, 11, 13])
    hub.grant((50, 10, 2), (52, 13, 1))
    hub.release("both", {10: 10, 11: 11})
    hub.release("both", {50: 10, 51: 11, 52: 13})
    assert (hub.named("both", "mx"), hub.asked) == ([None, None], 0)


def test_the_first_page_names_and_later_ones_need_not() -> None:
    hub = Hub()
    hub.publish("us", [10, 12])
    hub.publish("both", [11])
    hub.grant((50, 10, 1))
    hub.release("both", {11: 11})
    hub.release("both", {11: 11, 50: 10})
    hub.release("both", {10: 10, 11: 11})
    hub.release("both", {10: 10, 11: 11, 12: 12})
    assert hub.named("both", "mx") == [None, [name(11), name(10)], None, [name(10), name(11), name(12)]]
    assert hub.named("both", "us") == [None] * 4
    assert hub.named("both") == hub.named("both", "mx")


def test_each_generation_names_by_itself() -> None:
    hub = Hub()
    hub.publish("us", [10])
    hub.release("both", {10: 10})
    hub.release("both/2", {10: 10})
    assert hub.named("both", "mx", logs=("both/2", "both")) == [[name(10)], [name(10)]]


@pytest.mark.parametrize("gone", [("us", 0), ("both", 0), ("both", 1)])
def test_what_was_erased_is_not_told(gone: tuple[str, int]) -> None:
    hub = Hub()
    hub.publish("us", [10])
    hub.grant((50, 10, 1))
    hub.release("both", {50: 10})
    assert hub.named("both", "mx") == [[name(10)]]
    hub.gone.add(gone)
    assert hub.named("both", "mx") == [None]


def test_what_does_not_hash_to_its_root_is_not_told() -> None:
    hub = Hub()
    hub.publish("us", [10])
    hub.release("both", {10: 10}, top="00" * 32)
    hub.release("both", {10: 10})
    assert hub.named("both", "mx") == [None, [name(10)]]


def test_a_list_that_no_reader_would_take_is_not_made() -> None:
    hub = Hub()
    hub.publish("us", range(10, 11 + NAMED_AT_MOST))
    hub.release("both", {tick: tick for tick in range(10, 11 + NAMED_AT_MOST)})
    hub.release("both", {tick: tick for tick in range(10, 10 + NAMED_AT_MOST)})
    first, second = hub.named("both", "mx")
    assert first is None and second is not None and len(second) == NAMED_AT_MOST


def test_a_page_in_a_countrys_own_log_has_no_list() -> None:
    hub = Hub()
    hub.publish("us", [10])
    hub.release("us", {10: 10})
    source = CrossedLeaves(hub, ("both", "mx"))
    assert asyncio.run(source.openings("us", 0, 2)) == asyncio.run(hub.openings("us", 0, 2))


@given(st.data())
def test_a_reader_knows_every_name_after_each_page(data: st.DataObject) -> None:
    """Whatever was published where, released late and given; and no page names what its reader knew whole."""
    hub, known, late, natives, tick = Hub({"both": [], "us": []}), set[int](), dict[int, int](), list[int](), 10**6
    told: list[bool] = []
    for _ in range(data.draw(st.integers(1, 12))):
        what = data.draw(st.sampled_from(("publish", "grant", "release"))) if natives else "publish"
        if what == "publish":
            logs = data.draw(st.lists(st.sampled_from(("both", "us")), min_size=1, max_size=6))
            for log in set(logs):
                hub.publish(log, [tick + n for n, one in enumerate(logs) if one == log])
                known |= {tick + n for n, one in enumerate(logs) if one == log == "both"}
            natives += range(tick, tick + len(logs))
            tick += len(logs)
        elif what == "grant":
            given = data.draw(st.lists(st.sampled_from(natives), min_size=1, max_size=4, unique=True))
            hub.grant(*[(tick + n, native, 1) for n, native in enumerate(given)])
            late |= {tick + n: native for n, native in enumerate(given)}
            tick += len(given)
        else:
            places = data.draw(st.lists(st.sampled_from([*natives, *late]), min_size=1, max_size=6, unique=True))
            page = {one: late.get(one, one) for one in sorted(places)}
            hub.release("both", page)
            told.append(not known.issuperset(page.values()))
            known |= set(page.values())
    assert [one is not None for one in hub.named("both", "mx")] == told
