"""How a log passes from one signing key to the next: what both keys sign, and which keys sign a log as entries tell it.

    puente-log-key-rotation/v1      no origin of a log: nobody can take this for a checkpoint, nor a checkpoint for this
    both                            the log
    puente.hub.example/audit/both+5a3c…     the key that signs now
    puente.hub.example/audit/both+91d0…     the key that signs with it from here on, and later alone

    — puente.hub.example/audit/both …       by the one
    — puente.hub.example/audit/both …       by the other, which so proves that it is there

The entry `key.rotate` holds all of it. From the entry on both sign; from the entry `key.revoke` of one of them on, the other
alone. A tree of `both` is signed by the keys of its own last entry.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from exchange.ledger.note import LOG_TYPE, LogKey, NoteFault, Verifier, note_text, open_note

HEADER: Final = "puente-log-key-rotation/v1"
PURPOSE: Final = "log"
"""Of a `key.rotate` that is about a log's own key."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """That a log is signed by another key from here on. Not to be believed before `holds` says so."""

    log: str
    old: str
    new: str
    """Both as vkeys."""
    signatures: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "\n".join([HEADER, self.log, self.old, self.new, ""])

    @property
    def note(self) -> bytes:
        return note_text(f"{self.text}\n".encode(), self.signatures)

    @classmethod
    def signed(cls, log: str, old: LogKey, new: LogKey) -> "Rotation":
        text = cls(log, old.vkey, new.vkey).text
        return cls(log, old.vkey, new.vkey, (old.line(text), new.line(text)))

    @property
    def pub(self) -> dict[str, Any]:
        """As its entry tells it."""
        return {
            "key": self.new, "purpose": PURPOSE, "after": [self.old], "log": self.log,
            "origin": self.new.partition("+")[0], "signatures": list(self.signatures),
        }  # fmt: skip

    @classmethod
    def told(cls, pub: Mapping[str, Any]) -> "Rotation":
        """Raises KeyError, ValueError, TypeError where the entry is not one about a log's key."""
        [old] = pub["after"]
        found = cls(str(pub["log"]), str(old), str(pub["key"]), tuple(map(str, pub["signatures"])))
        if found.pub != pub:
            raise ValueError("the names do not fit each other")
        return found

    @property
    def holds(self) -> bool:
        """Whether two keys of one log, one old and one new, both say so."""
        try:
            keys = [Verifier.parse(self.old), Verifier.parse(self.new)]
            note = open_note(self.note, keys)
        except NoteFault:
            return False
        alike = keys[0].name == keys[1].name and all(key.kind == LOG_TYPE for key in keys)
        return alike and note.body == self.text and len(note.signatures) == len(set(keys)) == 2


@dataclass(slots=True)
class KeyStory:
    """Which keys sign which log, by the entries of `both` read in their order."""

    signing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By log; unknown for one whose opening was not read."""
    ever: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By log, every key that entries told of rightly, oldest first."""
    doubtful: set[str] = field(default_factory=set)
    """Logs whose key may have been changed by entries that are lost for ever: the next change that it signs is taken as it is."""

    def take(self, leaf: Mapping[str, Any]) -> bool:
        """Take up an entry. False for one that changes a log's key and that the key before it does not bear out."""
        pub, on = leaf["pub"], str(leaf["on"])
        if not on.startswith("log:"):
            return bool(pub.get("purpose") != PURPOSE)
        try:
            return _TAKE[leaf["t"]](self, on.removeprefix("log:"), pub)
        except (KeyError, ValueError, TypeError, AttributeError):
            return False

    def _open(self, log: str, pub: Mapping[str, Any]) -> bool:
        self._sign(log, Verifier.parse(pub["key"]).vkey)
        return True

    def _rotate(self, log: str, pub: Mapping[str, Any]) -> bool:
        one = Rotation.told(pub)
        known = self.signing.get(log, (one.old,)) == (one.old,) or log in self.doubtful
        if one.log != log or not one.holds or not known:
            return False
        self._sign(log, one.old, one.new)
        return True

    def _revoke(self, log: str, pub: Mapping[str, Any]) -> bool:
        left = tuple(key for key in self.signing[log] if key != pub["key"])
        if not left or left == self.signing[log]:
            return False
        self._sign(log, *left)
        return True

    def _close(self, log: str, pub: Mapping[str, Any]) -> bool:
        if pub["lost"]:
            self.doubtful = self.signing.keys() - {log}
        return True

    def _sign(self, log: str, *keys: str) -> None:
        self.signing[log] = keys
        self.doubtful.discard(log)
        self.ever[log] = tuple(dict.fromkeys((*self.ever.get(log, ()), *keys)))

    def verifiers(self, log: str) -> list[Verifier]:
        return [Verifier.parse(key) for key in self.ever.get(log, ())]


_TAKE: Mapping[str, Callable[[KeyStory, str, Mapping[str, Any]], bool]] = {
    "log.open": KeyStory._open,
    "log.close": KeyStory._close,
    "key.rotate": KeyStory._rotate,
    "key.revoke": KeyStory._revoke,
}
ABOUT_KEYS: Final = frozenset(_TAKE)
"""The kinds of entries that `KeyStory` is to be given."""
