"""Late release against a small model: whatever happens between two polls, nothing forbidden is given, nothing permitted is lost,
and nothing comes twice in a walk unless it was withdrawn in between. On both stores, past HTTP and signatures, which have tests
of their own."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exchange.release.views import FORGOTTEN_AT_ONCE, ROWS_AT_ONCE
from tests.late_scene import (
    AUTHORS,
    CONNECTING,
    DEFINED,
    DEFINING,
    DELAY_SECONDS,
    MARKS,
    OWN,
    READERS,
    SPARE,
    scene,
)
from tests.places import Place, emptied
from tests.postgres import Databases


def called(name: str, *values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, tuple[Any, ...]]]:
    return st.tuples(st.just(name), st.tuples(*values))


EVENTS = st.lists(
    st.one_of(
        called("submit", OWN, st.integers(1, 4)),
        called(
            "connect",
            st.sampled_from(AUTHORS),
            st.integers(0, 30),
            st.integers(0, 5),
            st.integers(1, 3),
            st.frozensets(st.integers(0, len(DEFINED) - 1), max_size=2),
        ),
        called("cite", OWN, st.frozensets(st.integers(0, len(DEFINED) - 1), min_size=1), st.integers(1, 2)),
        called("define", st.integers(0, len(DEFINED) - 1)),
        called("come", OWN, st.integers(0, len(SPARE) - 1)),
        called(
            "rule",
            st.sampled_from(READERS),
            st.tuples(st.sampled_from(AUTHORS), st.sampled_from([*MARKS, CONNECTING, DEFINING])),
            st.sampled_from(["open", "closed", "delayed"]),
        ),
        called("poll", st.integers(0, 2), st.integers(1, 4)),
        called("revise", st.integers(0, 30), st.sampled_from(MARKS)),
        called("poll", st.integers(0, 2), st.integers(1, 4)),
        called("delete", st.integers(0, 30)),
        called("copy", st.integers(0, 30), OWN),
        called("suspend", st.sampled_from(READERS)),
        called("consent", st.sampled_from(READERS)),
        called("suspend_author", st.just(AUTHORS[0])),
        called("audience", st.sampled_from(READERS)),
        called("wait", st.sampled_from([600, DELAY_SECONDS])),
        called("catch_up"),
        called("follow_markings"),
        called("follow_notices"),
    ),
    min_size=4,
    max_size=40,
)


BACK_AGAIN: list[tuple[str, tuple[Any, ...]]] = [
    ("rule", (READERS[0], (AUTHORS[0], MARKS[0]), "open")),
    ("connect", (AUTHORS[0], 3, 5, 1)),
    ("poll", (0, 4)),
    ("revise", (0, MARKS[1])),
    ("poll", (0, 4)),
    ("rule", (READERS[0], (AUTHORS[0], MARKS[1]), "open")),
    ("poll", (0, 4)),
]
"""What was shown, closes because of an end, under a label that was never open before; and opens."""
AGAIN_BEFORE_ITS_NOTICE: list[tuple[str, tuple[Any, ...]]] = [
    ("rule", (READERS[0], (AUTHORS[0], MARKS[0]), "open")),
    ("rule", (READERS[0], (AUTHORS[0], MARKS[1]), "open")),
    ("connect", (AUTHORS[0], 3, 4, 1)),
    ("poll", (0, 4)),
    ("poll", (0, 4)),
    ("rule", (READERS[0], (AUTHORS[0], MARKS[0]), "closed")),
    ("poll", (0, 4)),
    ("revise", (1, MARKS[2])),
]
"""What closed comes under another label before its notice is made: that names it all the same."""

TWICE_AGAIN: list[tuple[str, tuple[Any, ...]]] = [
    ("poll", (2, 3)),
    ("connect", (AUTHORS[1], 3, 0, 1)),
    ("poll", (2, 1)),
    ("revise", (0, MARKS[1])),
    ("delete", (0,)),
]
"""What was shown comes under other labels twice before its reader asks: it stays where it was."""


SECOND_COPIES: list[tuple[str, tuple[Any, ...]]] = [
    ("rule", (READERS[0], (AUTHORS[0], MARKS[0]), "open")),
    ("connect", (AUTHORS[0], 3, 5, 2)),
    ("connect", (AUTHORS[0], 4, 5, 1)),
    ("poll", (0, 4)),
    ("copy", (1, (AUTHORS[0], MARKS[0]))),
    ("poll", (0, 4)),
    ("copy", (0, (AUTHORS[0], MARKS[1]))),
    ("connect", (AUTHORS[0], 3, 6, 1)),
    ("poll", (0, 4)),
    ("rule", (READERS[0], (AUTHORS[0], MARKS[1]), "open")),
    ("copy", (0, (AUTHORS[0], MARKS[1]))),
    ("copy", (1, (AUTHORS[0], MARKS[0]))),
    ("poll", (0, 4)),
]
"""Copies of what connects come and go: what they open is news once, and what they do not stays where it was."""


CITED_AND_NOT: list[tuple[str, tuple[Any, ...]]] = [
    ("rule", (READERS[0], (AUTHORS[0], MARKS[0]), "open")),
    ("define", (0,)),
    ("poll", (0, 4)),
    ("cite", ((AUTHORS[0], MARKS[1]), {0}, 1)),
    ("cite", ((AUTHORS[1], MARKS[0]), {0}, 1)),
    ("poll", (0, 4)),
    ("cite", ((AUTHORS[0], MARKS[0]), {0}, 1)),
    ("poll", (0, 4)),
    ("cite", ((AUTHORS[0], MARKS[0]), {0}, 1)),
    ("poll", (0, 4)),
    ("revise", (-1, MARKS[1])),
    ("poll", (0, 4)),
    ("revise", (-3, MARKS[1])),
    ("poll", (0, 4)),
    ("rule", (READERS[0], (AUTHORS[0], MARKS[1]), "open")),
    ("poll", (0, 4)),
    ("delete", (-1,)),
    ("delete", (-1,)),
    ("follow_notices", ()),
    ("poll", (0, 4)),
]
"""A definition opens with what its author cites it by, whoever else cites it, and closes with the last of that."""


CITED_BY_WHAT_LEADS_TO_ONES_OWN: list[tuple[str, tuple[Any, ...]]] = [
    ("define", (0,)),
    ("poll", (2, 4)),
    ("submit", ((AUTHORS[1], MARKS[1]), 1)),
    ("connect", (AUTHORS[0], -1, 0, 1, {0})),
    ("poll", (2, 4)),
]
"""Of what cites it the ends are the reader's own, or not there for anybody else like it."""


async def play(place: Place, at_once: tuple[int, int], events: list[tuple[str, tuple[Any, ...]]]) -> None:
    async with scene(place) as made:
        views = made.release.views
        views.rows_at_once, views.forgotten_at_once = at_once
        views.runs_at_once = views.rows_at_once
        for author in AUTHORS:
            for mark in MARKS:
                await made.submit((author, mark), 1)
        await made.catch_up()
        made.remember()
        for name, values in events:
            await getattr(made, name)(*values)
            made.remember()
        await made.follow_markings()
        await made.settle()


SEEN = AUTHORS[0], MARKS[0]
OPENED = [("rule", (READERS[0], SEEN, "open")), ("catch_up", ())]
PLACED = ("submit", (SEEN, 1))
CLOSED = ("rule", (READERS[0], SEEN, "closed"))
ANOTHERS = ("rule", (READERS[1], SEEN, "open"))
AWAY = ("suspend", (READERS[0],))
PLACED_UNSEEN = (
    [*OPENED, AWAY, PLACED, CLOSED],
    [*OPENED, AWAY, CLOSED, PLACED],
    [*OPENED, CLOSED, PLACED, ANOTHERS],
    [*OPENED, PLACED, ANOTHERS, ("poll", (0, 4)), PLACED, CLOSED],
    [*OPENED, ("poll", (0, 4)), CLOSED, ("poll", (0, 4)), ("revise", (0, MARKS[1]))],
)
"""What is placed while a reader may not look, or just may not any more, is not named to it; what it could read always is,
even where its originator marks it otherwise before the notice is made."""


USUAL, NEVER = (ROWS_AT_ONCE, FORGOTTEN_AT_ONCE), (ROWS_AT_ONCE, 0)
LITTLE, NEITHER = (1, FORGOTTEN_AT_ONCE), (1, 0)
"""How many rows of what opens a step writes, and of how many labels it forgets what closes: of none, and recalls owe it all."""
KNOWN = (
    *PLACED_UNSEEN, BACK_AGAIN, AGAIN_BEFORE_ITS_NOTICE, TWICE_AGAIN, SECOND_COPIES, CITED_AND_NOT,
    CITED_BY_WHAT_LEADS_TO_ONES_OWN,
)  # fmt: skip
AT_ONCE = st.sampled_from([USUAL, LITTLE, NEVER, NEITHER])


def known(test: Any) -> Any:
    for events in KNOWN:
        for at_once in (USUAL, NEVER):
            test = example(at_once=at_once, events=events)(test)
    return example(at_once=LITTLE, events=CITED_AND_NOT)(test)


@pytest.mark.timeout(600)
@known
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(at_once=AT_ONCE, events=EVENTS)
async def test_nothing_is_lost_leaked_or_given_twice(tmp_path: Path, at_once: Any, events: list[Any]) -> None:
    await play(await emptied(tmp_path / "hub.sqlite"), at_once, events)


@pytest.fixture
def database_url(databases: Databases) -> str:
    return asyncio.run(databases.fresh())


@pytest.mark.timeout(600)
@known
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(at_once=AT_ONCE, events=EVENTS)
async def test_nothing_is_lost_leaked_or_given_twice_on_postgres(
    database_url: str, at_once: Any, events: list[Any]
) -> None:
    await play(await emptied(database_url), at_once, events)
