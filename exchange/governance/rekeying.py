"""Which keys sign the logs, after a recovery: as the leaves that were lost tell it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from exchange.ledger.generations import kind
from exchange.ledger.rotation import ABOUT_KEYS, KeyStory
from exchange.store.changes import KeyTurn


@dataclass(slots=True)
class Rekeying:
    """Reads the leaves in their order, those of `both` first."""

    _keys: KeyStory = field(default_factory=KeyStory)
    _turns: list[tuple[str, KeyTurn]] = field(default_factory=list)
    """With the request that each was an act of."""
    _anchors: dict[tuple[str, str], int] = field(default_factory=dict)
    """By kind of log and request: such an act anchors the log that it is about."""

    def read(self, leaf: Mapping[str, Any], index: int, *, lost: bool) -> None:
        if leaf["log"] != "both":
            if leaf["t"] == "anchor":
                self._anchors[leaf["log"], leaf["req"]] = index
        elif leaf["t"] in ABOUT_KEYS:
            log = leaf["on"].removeprefix("log:")
            was = self._keys.signing.get(log, ())
            if self._keys.take(leaf) and lost and self._keys.signing.get(log, ()) != was != ():
                now = self._keys.signing[log]
                self._turns.append((leaf["req"], KeyTurn(log, was, now, index + 1 if kind(log) == "both" else 0)))

    def turns(self, closed: Mapping[str, int]) -> list[KeyTurn]:
        """Those that are to be done again. Where the log's own anchor was never cosigned, it turns at its next entry; if the log is
        one of those that are closed now, with so many entries, it turns where that would be."""
        return [
            turn
            if turn.since
            else replace(turn, since=self._anchors.get((kind(turn.log), req), closed.get(turn.log, -1)) + 1)
            for req, turn in self._turns
        ]
