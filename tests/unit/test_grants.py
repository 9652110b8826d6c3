"""Decisions shared by members that no clause can tell apart are those that each would have had alone; prepared ones too."""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.resources import files
from typing import cast

import pytest

from certs.signature import Keyring, Revocations
from exchange.model.member import Collection, Country, Member, Status
from exchange.model.view import CLOSED, OPEN, View
from exchange.release.grants import Allowed, Grants
from exchange.release.judged import permitted
from exchange.rules import Rules
from exchange.store.answers import Epochs, LabelRow, Registry
from exchange.store.contract import Store
from exchange.times import as_datetime
from policies.agreement import Agreement, load
from policies.decide import Decision
from policies.label import Label, Recipient
from tests.agreeing import amended

SAMPLE = files("policies").joinpath("agreements/us-mx-trade-cyber.toml").read_bytes()
COLLECTION = Collection("c", "indicators", "t", "", ("all",), ("all",))


def member(slug: str, role: str, *sectors: str, status: Status = Status.ACTIVE) -> Member:
    return Member(slug, f"identity--{slug}", Country(slug[:2].upper()), role, (role,), sectors, slug, slug, status)


NEW = View("", 1, b"", 0, 0, 0)
"""A view in which all lies as it was placed."""

MEMBERS = {
    one.slug: one
    for one in (
        member("us-a", "agency"), member("us-b", "agency"), member("us-c", "operator", "trade.port"),
        member("mx-a", "agency"), member("mx-b", "agency"), member("mx-c", "operator", "trade.port"),
        member("mx-d", "operator", "trade.port"), member("mx-e", "operator", "trade.rail"),
        member("mx-f", "agency", status=Status.SUSPENDED),
    )
}  # fmt: skip


def row(number: int, originator: str, tlp: str, confidence: str, caveats: tuple[str, ...]) -> LabelRow:
    sender = MEMBERS[originator]
    label = Label(
        collection="indicators", originator=originator, country=sender.country.value, roles=sender.roles,
        sectors=sender.sectors, tlp=tlp, pap="clear", caveats=caveats, rel_to=None, object_class="indicator",
        confidence=confidence, assurance="originator-signed", consent="none", feed="",
    )  # fmt: skip
    return LabelRow(number, "c", label.encode(), label.country, 1, number)


ROWS = [
    row(number, *facets)
    for number, facets in enumerate(
        itertools.product(MEMBERS, ("clear", "amber", "amber+strict"), ("low", "high"), ((), ("noforn",))), 1
    )
]


class Labels:
    """As much of a store as grants ask: the labels."""

    async def epochs(self) -> Epochs:
        return Epochs("open", 1, 1, 1, 0, 0, 0)

    def __init__(self, rows: Sequence[LabelRow] = ROWS) -> None:
        self.rows = list(rows)
        self.read: list[int] = []
        """How many rows each question was answered with."""

    async def labels(self, since: int = -1) -> list[LabelRow]:
        found = [row for row in self.rows if row.last_tick > since]
        self.read.append(len(found))
        return found


class Watched(Rules):
    """Rules that know which threads judged by them."""

    @cached_property
    def judges(self) -> list[int]:
        return []

    def judge(self, label: Label, recipient: Recipient) -> Decision:
        self.judges.append(threading.get_ident())
        return super().judge(label, recipient)


def rules(agreement: Agreement) -> Watched:
    registry = Registry(1, MEMBERS, {}, (), {}, (COLLECTION,), None)
    keyring = Keyring.build([], None, Revocations.listed({}), at=as_datetime(0))
    return Watched(
        1,
        agreement,
        agreement,
        (),
        registry,
        None,
        keyring,
        Revocations.listed({}),
        None,
        "2026-11-24T12:00:00.000000Z",
    )


def plain() -> Agreement:
    return load(SAMPLE)


def naming() -> Agreement:
    """One clause tells one of the peers from the others."""
    return load(amended(SAMPLE, "F-NOFORN", "\nwhen", '\nto.members = ["mx-b", "mx-d"]\nwhen'))


def by_clause() -> Agreement:
    return load(SAMPLE.partition(b"[[test]]")[0].replace(b'own_objects = "read-back"', b'own_objects = "by-clause"'))


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("made", [plain, naming, by_clause])
async def test_what_is_shared_is_what_each_would_have_alone(made: Callable[[], Agreement], prepared: bool) -> None:
    now, grants, epochs = rules(made()), Grants(cast(Store, Labels())), Epochs("open", 1, 1, 1, 0, 0, 0)
    if prepared:
        await grants.prepare(now)
    for one in MEMBERS.values():
        allowed = await grants.allowed(now, epochs, one, COLLECTION, NEW)
        alone = {row.id: now.decide(Label.decode(row.facets), one) for row in ROWS}
        shown = {number: decision for number, decision in alone.items() if permitted(decision)}
        assert allowed.labels == tuple(shown)
        states = bytes(OPEN if row.id in shown else CLOSED for row in ROWS)
        assert (await grants.standing(now, epochs, one)).states == states
        assert allowed.blocking == {n: one.expires_after_seconds for n, one in shown.items() if one.may_block}


async def test_what_was_prepared_for_other_rules_is_not_used() -> None:
    now, grants, epochs = rules(plain()), Grants(cast(Store, Labels())), Epochs("open", 1, 1, 1, 0, 0, 0)
    before = (await grants.allowed(now, epochs, MEMBERS["mx-a"], COLLECTION, NEW)).labels
    await grants.prepare(rules(load(amended(SAMPLE, "P-AUTHORITY-TO-AUTHORITY", '"US>MX", "MX>US"', '"MX>US"'))))
    again = replace(now, number=2)
    assert before and (await grants.allowed(again, epochs, MEMBERS["mx-a"], COLLECTION, NEW)).labels == before


async def test_rules_that_were_prepared_for_leave_nothing_to_be_judged_by_those_who_ask() -> None:
    now, grants, epochs = rules(plain()), Grants(cast(Store, Labels())), Epochs("open", len(ROWS), 1, 1, 0, 0, 0)
    await grants.prepare(now)
    assert now.judges and threading.get_ident() not in now.judges, "beside the event loop"
    before = len(now.judges)
    for one in MEMBERS.values():
        await grants.standing(now, epochs, one)
        await grants.allowed(now, epochs, one, COLLECTION, NEW)
    assert len(now.judges) == before


async def test_what_is_placed_costs_what_is_new_and_not_all_there_is() -> None:
    """One object under a label that was there, then one under a new one, seen by everybody who asks."""
    store = Labels(ROWS[:-1])
    now, grants, tick = rules(plain()), Grants(cast(Store, store)), len(ROWS)

    async def ask() -> dict[str, Allowed]:
        epochs = Epochs("open", tick, 1, 1, 0, 0, 0)
        return {slug: await grants.allowed(now, epochs, one, COLLECTION, NEW) for slug, one in MEMBERS.items()}

    first = await ask()
    which = next(number for number in range(len(ROWS)) if number + 1 in first["mx-a"].labels)
    judged, tick = len(now.judges), tick + 1
    store.rows[which] = replace(store.rows[which], last_tick=tick, placements=2)
    second = await ask()
    assert (len(now.judges), store.read[-1]) == (judged, 1)
    for slug, allowed in second.items():
        assert allowed.labels is first[slug].labels
        assert (allowed.last_tick == tick) == (which + 1 in allowed.labels), slug
    tick += 1
    store.rows.append(replace(ROWS[-1], last_tick=tick))
    third = await ask()
    assert store.read[-1] == 1
    assert len(now.judges) - judged <= len(MEMBERS)
    for slug, one in MEMBERS.items():
        alone = [row.id for row in ROWS if permitted(now.decide(Label.decode(row.facets), one))]
        assert third[slug].labels == tuple(alone)


async def test_what_a_member_was_answered_is_answered_again_until_something_is_another() -> None:
    """Neither judged nor looked up anew; but for other rules, another view or another member of that name it is."""
    now, grants, epochs = rules(plain()), Grants(cast(Store, Labels())), Epochs("open", 1, 1, 1, 0, 0, 0)
    one = MEMBERS["mx-a"]
    first = await grants.allowed(now, epochs, one, COLLECTION, NEW)
    assert first.labels and await grants.allowed(now, epochs, one, COLLECTION, NEW) is first
    closed = replace(NEW, number=2, states=bytes([CLOSED]) * len(ROWS))
    assert (await grants.allowed(now, epochs, one, COLLECTION, closed)).labels == ()
    assert (await grants.allowed(now, epochs, replace(one, status=Status.SUSPENDED), COLLECTION, NEW)).labels == ()
    assert (await grants.allowed(now, epochs, one, COLLECTION, NEW)).labels == first.labels
    other = rules(load(amended(SAMPLE, "P-AUTHORITY-TO-AUTHORITY", '"US>MX", "MX>US"', '"MX>US"')))
    assert len((await grants.allowed(other, epochs, one, COLLECTION, NEW)).labels) < len(first.labels)
    assert (await grants.allowed(now, epochs, one, COLLECTION, NEW)).labels == first.labels
