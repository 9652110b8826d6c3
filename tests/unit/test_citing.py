"""What is judged of definitions, kept and renewed, is what each would have alone; who cites what is read once."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import cast

from exchange.citing import CitingBook
from exchange.model.view import CLOSED, OPEN
from exchange.release.grants import Grants
from exchange.release.judged import permitted
from exchange.rules import Rules
from exchange.store.answers import CitingRow, Epochs, LabelRow
from exchange.store.contract import Store
from policies.agreement import load
from policies.decide import decide
from policies.label import Label
from policies.matrix import Audience, differences, permits
from tests.agreeing import amended
from tests.unit.test_grants import COLLECTION, MEMBERS, NEW, SAMPLE, Labels, row, rules

ID = "marking-definition--1"
UNSPOKEN = load(amended(SAMPLE, "P-RELATIONS", '"relation", "context"', '"relation"'))
"""The sample, in which no clause speaks of definitions across the border."""


def under(number: int, label: Label) -> LabelRow:
    return LabelRow(number, "c", label.encode(), label.country, 1, number)


INDICATOR = Label.decode(row(1, "us-a", "amber", "high", ()).facets)
DEFINITION = under(1, replace(INDICATOR, object_class="context", tlp="amber+strict", named=ID))
HIDDEN = under(2, replace(INDICATOR, caveats=("noforn",), cites=(ID,)))
OTHERS = under(3, replace(INDICATOR, originator="us-b", cites=(ID,)))
CITING = under(5, replace(INDICATOR, cites=(ID,)))
ENDING = Label.decode(row(1, "mx-a", "red", "high", ()).facets)
RELATION = under(4, replace(INDICATOR, object_class="relation", cites=(ID,), ends=((ENDING,),)))
"""To whom its end belongs alone it is given."""
EMBARGOED = under(6, replace(INDICATOR, not_before="2026-11-24T13:00:00Z", cites=(ID,)))


NARROW_NOW = "2026-12-24T12:00:00Z"


class Held(Labels):
    """As much of a store as is asked of labels and of what they cite."""

    def __init__(self, *rows: LabelRow) -> None:
        super().__init__(rows)
        self.epoch = 1
        self.dead: set[int] = set()
        self.told: list[int] = []

    def turn(self, *rows: LabelRow, dead: Sequence[LabelRow] = ()) -> None:
        self.rows += rows
        self.dead |= {one.id for one in dead}
        self.epoch += 1

    async def citing(self, known: int = 0) -> tuple[int, list[CitingRow]]:
        found = [CitingRow(one.id, one.id not in self.dead, one.facets if one.id > known else "") for one in self.rows
                 if one.id > known or one.id in self.dead]  # fmt: skip
        self.told.append(sum(bool(one.facets) for one in found))
        return self.epoch, found


async def shown(store: Held, book: CitingBook, grants: Grants, now: Rules) -> dict[str, str]:
    """Who is shown the definition: by what is kept, which is what each would have alone."""
    now = replace(now, citing=await book.current(store.epoch))
    epochs = Epochs("open", max(one.id for one in store.rows), 1, 1, 0, 0, 0, store.epoch)
    found = {}
    for slug, one in MEMBERS.items():
        allowed = await grants.allowed(now, epochs, one, COLLECTION, NEW)
        alone = {row.id: permitted(now.decide(Label.decode(row.facets), one)) for row in store.rows}
        assert allowed.labels == tuple(number for number, given in alone.items() if given), slug
        states = bytes(OPEN if alone.get(number) else CLOSED for number in range(1, store.rows[-1].id + 1))
        assert (await grants.standing(now, epochs, one)).states == states
        if alone[1]:
            found[slug] = now.decide(Label.decode(DEFINITION.facets), one).clause
    return {slug: clause for slug, clause in found.items() if slug.startswith("mx")}


async def test_what_is_kept_follows_who_cites() -> None:
    store = Held(DEFINITION, HIDDEN, OTHERS)
    book, grants, now = CitingBook(cast(Store, store)), Grants(cast(Store, store)), rules(UNSPOKEN)
    assert await shown(store, book, grants, now) == {}
    store.turn(RELATION)
    assert await shown(store, book, grants, now) == {"mx-a": "CITED"}, "to whose end it leads"
    store.turn(CITING)
    agencies_and_operators = {"mx-a", "mx-b", "mx-c", "mx-d", "mx-e"}
    assert (await shown(store, book, grants, now)).keys() == agencies_and_operators
    store.turn(dead=[CITING])
    assert await shown(store, book, grants, now) == {"mx-a": "CITED"}
    store.turn(dead=[RELATION])
    assert await shown(store, book, grants, now) == {}
    assert store.told == [3, 1, 1, 0, 0], "of labels that were there it is not told again"


def test_what_agreements_decide_differently_is_told_of_what_is_cited_too() -> None:
    """Narrower by the indicators, and so by the definition; to whom an end is its own, each alone."""
    labels = [Label.decode(one.facets) for one in (DEFINITION, RELATION, CITING)]
    recipients = [replace(rules(UNSPOKEN).recipient(one), collections=None) for one in MEMBERS.values()]
    cited = {("us-a", ID): labels[1:]}
    way = '"US>MX", "MX>US"'
    document = amended(SAMPLE, "P-RELATIONS", '"relation", "context"', '"relation"')
    narrow = load(amended(document, "P-AUTHORITY-TO-AUTHORITY", way, '"MX>US"'))
    now = NARROW_NOW
    told = {
        (change.label, one.member): change.kind
        for change in differences(
            UNSPOKEN, narrow, [Audience(labels, recipients)], old_now=now, new_now=now, cited=cited
        )
        for one in change.recipients
    }
    for label, one in product(labels, recipients):
        before, after = (decide(under, label, one, now=now, cited=cited) for under in (UNSPOKEN, narrow))
        kind = {(True, False): "lost", (False, True): "gained"}.get((permits(before), permits(after)))
        assert told.get((label, one.member)) in (kind, "changed"), (label.object_class, one.member)
    assert told[labels[0], "mx-b"] == "lost"
    assert told.get((labels[0], "mx-a")) != "lost", "which has the relation"


async def test_prepared_too_and_when_an_hour_has_come() -> None:
    store = Held(DEFINITION, EMBARGOED)
    book, grants, now = CitingBook(cast(Store, store)), Grants(cast(Store, store)), rules(UNSPOKEN)
    await grants.prepare(replace(now, citing=await book.current(1)))
    assert await shown(store, book, grants, now) == {}
    later = replace(now, now="2026-11-24T13:00:00.000000Z")
    assert len(await shown(store, book, grants, later)) == 5
