"""What one snapshot of the rules makes of labels: where their objects are published, and who may have them, as an entry."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from exchange.intake.labelling import Labeller
from exchange.ledger.entry import HUB, Entry, label_name, national
from exchange.ledger.merkle import root_of_lines
from exchange.model.member import Member
from exchange.rules import Rules
from policies.cited import lets_open
from policies.decide import Decision, given, lacks_only_a_permit
from policies.label import Label

FACETS_LOGGED = 2_000
"""Bytes of a label that its `decide` entry has in clear; a longer one, that nobody has seen, is known by its name alone."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the rules make of one label."""

    label: Label
    given: frozenset[str]
    """Who is given it, at once and as it is, of those who may read its collection."""
    lacking: frozenset[str]
    """Members of the other country to whom it is given as soon as something that cites it is."""
    log: str
    """In which log its objects are published, and withdrawn: see `Rules.log_by`."""
    entry: Entry
    """Who may have its objects, for the owner's country."""


class Judgements:
    """What one snapshot of the rules makes of labels: kept between envelopes, dropped with the snapshot. What was recorded of
    them is handed on: what changes at home in one country makes rules anew, and no entry in the other's log may tell of it."""

    def __init__(self, rules: Rules, before: "Judgements | None" = None) -> None:
        self.rules = rules
        self.labeller = Labeller(rules)
        self._judged: dict[tuple[str, str], _Judged] = {}
        self._recorded: dict[tuple[str, str], object] = before._recorded if before is not None else {}
        """What the last `decide` entry said, by label and its country."""

    def log(self, encoded: str, country: str) -> str:
        return self._of(encoded, country).log

    def log_beside(self, encoded: str, country: str, beside: Iterable[str]) -> str:
        """The same of what is placed with objects under these labels: some of them may open it."""
        judged = self._of(encoded, country)
        if judged.lacking:
            others = (self._of(one, country) for one in beside)
            if any(lets_open(one.label, judged.label) and judged.lacking & one.given for one in others):
                return "both"
        return judged.log

    def decision(self, encoded: str, country: str) -> Entry:
        return self._of(encoded, country).entry

    def unrecorded(self, labels: Iterable[tuple[str, str]]) -> list[Entry]:
        """The `decide` entries that say something new."""
        found = {key: self.decision(*key) for key in sorted(labels)}
        return [entry for key, entry in found.items() if self._recorded.get(key) != _said(entry)]

    def record(self, labels: Iterable[tuple[str, str]]) -> None:
        """Their entries are in the log."""
        self._recorded |= {key: _said(self.decision(*key)) for key in labels}

    def _of(self, encoded: str, country: str) -> _Judged:
        key = encoded, country
        if key not in self._judged:
            label, members = Label.decode(encoded), self.rules.registry.members.values()
            found = [(member, self.rules.decide(label, member)) for member in members]
            entry = _decision(encoded, country, self.rules.in_force.sha256, label, found)
            collection = self.rules.collection(label.collection)
            readers = [
                one.slug for one, decision in found if given(decision) and collection and collection.can_read(one)
            ]
            lacking = [one.slug for one, decision in found if one.country != country and lacks_only_a_permit(decision)]
            log = self.rules.log_by(country, found)
            self._judged[key] = _Judged(label, frozenset(readers), frozenset(lacking), log, entry)
        return self._judged[key]


def _said(entry: Entry) -> tuple[str, str]:
    return entry.pub["policy"], entry.pub["root"]


def _decision(encoded: str, country: str, policy: str, label: Label, found: Sequence[tuple[Member, Decision]]) -> Entry:
    verdicts = sorted(
        [member.slug, one.effect, one.view, str(one.delay_seconds), *one.rules, *one.forbids] for member, one in found
    )
    permitted = sum(one.effect == "permit" for _, one in found)
    pub: dict[str, Any] = {
        "label": label_name(encoded),
        "policy": policy,
        "permitted": permitted,
        "forbidden": len(found) - permitted,
        "root": root_of_lines([" ".join(words) for words in verdicts]).hex(),
    }
    if len(encoded) <= FACETS_LOGGED:
        pub["facets"] = encoded
    private = {"verdicts": verdicts}
    return Entry(national(country), "decide", HUB, f"coll:{label.collection}", pub, private=private)
