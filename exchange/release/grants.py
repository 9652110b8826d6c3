"""Which labels a recipient may see under the agreement in force: judged once per label and recipient, never per object."""

from dataclasses import dataclass

from exchange.model.member import Collection, Member
from exchange.rules import Rules
from exchange.store.contract import Epochs, LabelRow, Store
from policies.decide import Decision
from policies.label import Label


@dataclass(frozen=True, slots=True)
class Allowed:
    """The labels of one collection that a member may see. Equal ones are equal questions to the store."""

    collection: str
    labels: tuple[int, ...]
    last_tick: int
    """Of the newest placement under any of them; 0 when there is none."""
    countries: dict[int, str]
    """The originators' countries, by label."""
    blocking: dict[int, int | None]
    """The labels that devices may block by, and for how many seconds after an object was added; None without end."""


class Grants:
    """Decisions of one snapshot of the rules, filled as they are asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: list[LabelRow] = []
        self._rows_tick = -1
        self._rules: Rules | None = None
        self._decisions: dict[tuple[int, Member], Decision] = {}
        self._allowed: dict[tuple[Member, str], Allowed] = {}
        self._labels: dict[int, Label] = {}

    async def allowed(self, rules: Rules, epochs: Epochs, member: Member, collection: Collection) -> Allowed:
        """The labels of the collection whose objects this member may have, in full, now."""
        rows = await self.rows(epochs)
        self._under(rules)
        found = self._allowed.get((member, collection.id))
        if found is None:
            decided = [(row, self._decide(rules, row, member)) for row in rows if row.collection == collection.id]
            shown = [row for row, decision in decided if visible(decision, row, member)]
            found = self._allowed[member, collection.id] = Allowed(
                collection.id,
                tuple([row.id for row in shown]),
                max([row.last_tick for row in shown], default=0),
                {row.id: row.country for row in shown},
                {
                    row.id: decision.expires_after_seconds
                    for row, decision in decided
                    if decision.may_block and visible(decision, row, member)
                },
            )
        return found

    async def decision(self, rules: Rules, epochs: Epochs, member: Member, label_id: int) -> Decision | None:
        """The decision for one interned label, with its reasons."""
        row = next((row for row in await self.rows(epochs) if row.id == label_id), None)
        return self._decide(rules, row, member) if row else None

    def label(self, row: LabelRow) -> Label:
        known = self._labels.get(row.id)
        if known is None:
            known = self._labels[row.id] = Label.decode(row.facets)
        return known

    async def rows(self, epochs: Epochs) -> list[LabelRow]:
        """Every label there is."""
        # No placement, no new label: the last tick says whether the list could have grown.
        if epochs.last_tick != self._rows_tick:
            self._rows = await self._store.labels()
            self._rows_tick = epochs.last_tick
            self._allowed.clear()
        return self._rows

    def _under(self, rules: Rules) -> None:
        if rules is not self._rules:
            self._rules, self._decisions, self._allowed = rules, {}, {}

    def _decide(self, rules: Rules, row: LabelRow, member: Member) -> Decision:
        self._under(rules)
        key = (row.id, member)  # not its name: a request may still hold the member as it was before a change
        found = self._decisions.get(key)
        if found is None:
            found = self._decisions[key] = rules.decide(self.label(row), member)
        return found


def visible(decision: Decision, row: LabelRow, member: Member) -> bool:
    """Permitted, and the object itself is the form that is permitted.

    A permit for an anonymised view gives nothing here: redaction makes a new object with a new id, and nothing is
    ever edited on its way out. A permit with a delay gives nothing before a late release does.
    """
    return decision.effect == "permit" and decision.view == "full" and decision.delay_seconds == 0
