"""Decisions shared by members that no clause can tell apart are those that each would have had alone; prepared ones too."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import cast

import pytest

from certs.signature import Keyring, Revocations
from exchange.model.member import Collection, Country, Member, Status
from exchange.model.view import CLOSED, OPEN, View
from exchange.release.grants import Grants, permitted
from exchange.rules import Rules
from exchange.store.contract import Epochs, LabelRow, Registry, Store
from exchange.times import as_datetime
from policies.agreement import Agreement, load
from policies.label import Label
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

    async def labels(self) -> list[LabelRow]:
        return ROWS


def rules(agreement: Agreement) -> Rules:
    registry = Registry(1, MEMBERS, {}, (), {}, (COLLECTION,), None)
    keyring = Keyring.build([], None, Revocations.listed({}), at=as_datetime(0))
    return Rules(
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
