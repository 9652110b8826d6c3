"""What labels are under one agreement, each judged once for all members that no clause can tell apart.

A decision is not kept, only what release does by it: some bytes for each label and kind of member. Nothing here waits, so
that it can be filled on a thread before the agreement holds (`Judged.ahead`), by the very code that fills it when somebody asks.
"""

import time
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from exchange.model.member import Member
from exchange.model.view import CLOSED, DELAYED, OPEN
from exchange.rules import Rules
from policies.decide import Decision
from policies.label import Label, Recipient

Labelled = tuple[int, Label]
"""A label's id, and what it says."""

AT_ONCE = 400
PAUSE_SECONDS = 0.002
"""A thread that judges rests so long after so many decisions, some three milliseconds. To give way without a rest
(`sleep(0)`) does not do: on a busy machine it has the interpreter again before whoever waits for it is awake. After a quarter of
this rest a poll had often done but one of its steps from thread to thread: the longest waited 63 to 93 ms, now 24, and to judge it all takes a
sixth longer."""
HOUR = len("2026-11-24T12")


def hour(rules: Rules) -> str:
    """In which decisions were made: embargoes end on the hour."""
    return rules.now[:HOUR]


def _embargoed(rules: Rules, label: Label) -> str:
    """The next hour at which an embargo ends, of the label, of what it refers to or of what cites it; "" when none is to come."""
    hours = label.embargoes.union(*(one.embargoes for one in rules.citing.of(label)))
    return min([one[:HOUR] for one in hours if one[:HOUR] > hour(rules)], default="")


class Terms(NamedTuple):
    """What release does by a decision."""

    state: int
    delay_seconds: int
    may_block: bool
    expires_after_seconds: int | None

    @classmethod
    def of(cls, decision: Decision) -> "Terms":
        if not permitted(decision):
            return NOTHING
        delay = decision.delay_seconds
        return cls(DELAYED if delay else OPEN, delay, decision.may_block, decision.expires_after_seconds)


NOTHING = Terms(CLOSED, 0, False, None)


def permitted(decision: Decision) -> bool:
    """Permitted, now or later, and the object itself is the form that is permitted.

    A permit for an anonymised view gives nothing here: redaction makes a new object with a new id, and nothing is
    ever edited on its way out. Under a permit with a delay objects are released late, each in its time.
    """
    return decision.effect == "permit" and decision.view == "full"


class Table:
    """What the labels are to those who are alike, where they are not their own."""

    def __init__(self) -> None:
        self.known = 0
        """How many labels were judged: the first of them."""
        self.states = bytearray()
        """By label id, from 1 on."""
        self.kinds = array("H")
        """By the same, which of `Judged.terms`."""
        self.delays: dict[int, int] = {}
        self.embargoed: dict[int, tuple[str, Label]] = {}
        """To be judged again when an hour has come, whatever else stays as it is."""
        self.named: dict[int, tuple[Label, Sequence[Label]]] = {}
        """To be judged again when it is cited by other labels than these."""
        self.citing = 0
        """As of which `Citing` that is so."""

    def put(self, number: int, kind: int, terms: Terms) -> None:
        missing = number - len(self.states)
        self.states.extend([CLOSED] * missing)
        self.kinds.extend([0] * missing)
        self.states[number - 1], self.kinds[number - 1] = terms.state, kind
        self.delays.pop(number, None)
        if terms.state == DELAYED:
            self.delays[number] = terms.delay_seconds


class Judged:
    """What follows from all rules of one basis."""

    def __init__(self, basis: object) -> None:
        self.basis = basis
        self.terms = [NOTHING]
        self._kinds = {NOTHING: 0}
        self._peers: dict[Member, Recipient] = {}
        self._tables: dict[Recipient, Table] = {}
        self._own: dict[tuple[int, Member], int] = {}

    @classmethod
    def ahead(cls, rules: Rules, labels: Sequence[Labelled]) -> "Judged":
        """Everything that any member may ask for, before anybody does."""
        made = cls(rules.basis)
        members = list({made.peer(rules, one): one for one in rules.registry.members.values()}.values())
        owners = rules.registry.members
        # Label after label: the clauses look at each once, and forget what they found only when there are too many.
        at_once = max(1, AT_ONCE // max(1, len(members)))
        for start in range(0, len(labels), at_once):
            part = labels[start : start + at_once]
            for one in members:
                made.judge(rules, part, one)
            for number, label in part:
                for owner in label.originators & owners.keys():
                    made.own(rules, number, label, owners[owner])
            time.sleep(PAUSE_SECONDS)
        return made

    def table(self, rules: Rules, member: Member) -> Table:
        peer = self.peer(rules, member)
        found = self._tables.get(peer)
        if found is None:
            found = self._tables[peer] = Table()
        return found

    def judge(self, rules: Rules, labels: Sequence[Labelled], member: Member) -> None:
        """The next labels, for all who are like this member, where neither they nor their ends are its own."""
        self._put(rules, labels, member)
        self.table(rules, member).known += len(labels)

    def renew(self, rules: Rules, member: Member) -> None:
        """Judge again what was embargoed when it was judged, and is not any more, and what is cited otherwise."""
        table = self.table(rules, member)
        embargoed = table.embargoed
        over = [(number, label) for number, (until, label) in embargoed.items() if until <= hour(rules)]
        for number, _ in over:
            del embargoed[number]
        if table.citing != rules.citing.epoch:
            table.citing = rules.citing.epoch
            over += [(number, label) for number, (label, by) in table.named.items() if rules.citing.of(label) is not by]
        self._put(rules, over, member)

    def _put(self, rules: Rules, labels: Sequence[Labelled], member: Member) -> None:
        table, peer = self.table(rules, member), self.peer(rules, member)
        for number, label in labels:
            kind = self._kind(rules.judge(label, peer))
            table.put(number, kind, self.terms[kind])
            if label.named:
                table.named[number] = label, rules.citing.of(label)
            if until := _embargoed(rules, label):
                table.embargoed[number] = until, label

    def own(self, rules: Rules, number: int, label: Label, member: Member) -> int:
        """What a label that is its own, or has an end of its own, is to a member: which of `terms`."""
        key = (number, member)  # not its name: a request may still hold the member as it was before a change
        found = self._own.get(key)
        if found is None:
            found = self._kind(rules.decide(label, member))
            if not (label.named or _embargoed(rules, label)):
                self._own[key] = found
        return found

    def peer(self, rules: Rules, member: Member) -> Recipient:
        found = self._peers.get(member)
        if found is None:
            found = self._peers[member] = rules.peer(member)
        return found

    def _kind(self, decision: Decision) -> int:
        terms = Terms.of(decision)
        found = self._kinds.get(terms)
        if found is None:
            found = self._kinds[terms] = len(self.terms)
            self.terms.append(terms)
        return found
