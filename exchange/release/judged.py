"""Decisions under one agreement, each made once for all members that no clause can tell apart.

Nothing here waits, so that it can be filled on a thread before the agreement holds (`Judged.ahead`), by the very code that
fills it when somebody asks.
"""

import time
from collections.abc import Sequence

from exchange.model.member import Member
from exchange.rules import Rules
from policies.decide import Decision
from policies.label import Label, Recipient

Labelled = tuple[int, Label]
"""A label's id, and what it says."""


class Judged:
    """The decisions of all rules of one basis."""

    def __init__(self, basis: object) -> None:
        self.basis = basis
        self._peers: dict[Member, Recipient] = {}
        self._tables: dict[Recipient, dict[int, Decision]] = {}
        self._own: dict[tuple[int, Member], Decision] = {}

    @classmethod
    def ahead(cls, rules: Rules, labels: Sequence[Labelled]) -> "Judged":
        """Everything that any member may ask for, before anybody does."""
        made = cls(rules.basis)
        members = list({made.peer(rules, one): one for one in rules.registry.members.values()}.values())
        owners = rules.registry.members
        for number, label in labels:
            for one in members:
                made.of_peers(rules, number, label, one)
            if label.originator in owners:
                made.decide(rules, number, label, owners[label.originator])
            time.sleep(0)  # whoever waits for the interpreter goes first
        return made

    def decide(self, rules: Rules, number: int, label: Label, member: Member) -> Decision:
        """The decision for one label and member."""
        if label.originator != member.slug:
            return self.of_peers(rules, number, label, member)
        key = (number, member)  # not its name: a request may still hold the member as it was before a change
        found = self._own.get(key)
        if found is None:
            found = rules.decide(label, member)
            if found.not_before is None:
                self._own[key] = found
        return found

    def of_peers(self, rules: Rules, number: int, label: Label, member: Member) -> Decision:
        """The decision for all who are like this member, if the label is not their own."""
        peer = self.peer(rules, member)
        table = self._tables.get(peer)
        if table is None:
            table = self._tables[peer] = {}
        found = table.get(number)
        if found is None:
            found = rules.judge(label, peer)
            if found.not_before is None:  # an embargo ends at its hour, whatever else stays as it is
                table[number] = found
        return found

    def peer(self, rules: Rules, member: Member) -> Recipient:
        found = self._peers.get(member)
        if found is None:
            found = self._peers[member] = rules.peer(member)
        return found
