"""Which labels a recipient may see under the agreement in force: judged once per label and recipient, never per object."""

from exchange.model.member import Collection, Member
from exchange.rules import Rules
from exchange.store.contract import Epochs, LabelRow, Store
from policies.decide import Decision
from policies.label import Label


class Grants:
    """Decisions of one snapshot of the rules, filled as they are asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: list[LabelRow] = []
        self._rows_tick = -1
        self._rules: Rules | None = None
        self._decisions: dict[tuple[int, str], Decision] = {}
        self._labels: dict[int, Label] = {}

    async def allowed(self, rules: Rules, epochs: Epochs, member: Member, collection: Collection) -> list[LabelRow]:
        """The labels of the collection whose objects this member may have, in full, now."""
        rows = await self._fresh(epochs)
        return [
            row
            for row in rows
            if row.collection == collection.id and visible(self._decide(rules, row, member), row, member)
        ]

    async def decision(self, rules: Rules, epochs: Epochs, member: Member, label_id: int) -> Decision | None:
        """The decision for one interned label, with its reasons."""
        row = next((row for row in await self._fresh(epochs) if row.id == label_id), None)
        return self._decide(rules, row, member) if row else None

    def label(self, row: LabelRow) -> Label:
        known = self._labels.get(row.id)
        if known is None:
            known = self._labels[row.id] = Label.decode(row.facets)
        return known

    async def _fresh(self, epochs: Epochs) -> list[LabelRow]:
        # No placement, no new label: the last tick says whether the list could have grown.
        if epochs.last_tick != self._rows_tick:
            self._rows = await self._store.labels()
            self._rows_tick = epochs.last_tick
        return self._rows

    def _decide(self, rules: Rules, row: LabelRow, member: Member) -> Decision:
        if rules is not self._rules:
            self._rules, self._decisions = rules, {}
        key = (row.id, member.slug)
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
