"""What a log's entries say, read in their order: the facts behind the hashes (ledger design, 9)."""

import re
from collections import Counter
from functools import lru_cache
from hashlib import sha256
from operator import itemgetter
from typing import Any

from certs.jcs import JsonError, canonical, load_canonical
from exchange.ledger.entry import LEAF_LIMIT_BYTES
from exchange.ledger.findings import Findings
from exchange.ledger.rotation import ABOUT_KEYS, KeyStory
from exchange.model.instant import instant

_FIELDS = ("log", "t", "time", "req", "actor", "on", "out", "pol")
_texts = itemgetter(*_FIELDS)
_ADOPTIONS = frozenset({"policy.activate", "policy.tighten", "policy.lift", "policy.lapse", "policy.expire"})
"""Each gives what is judged by a new number."""
_POL = re.compile(r"(?:.+@([0-9]{1,15}))?", re.DOTALL)


class Events:
    """Reads the entries of one log and checks what they say."""

    def __init__(self, log: str, findings: Findings) -> None:
        self._log = log
        self._findings = findings
        self.counts: Counter[str] = Counter()
        self.first_time = self.last_time = ""
        self._seq = self._pol = self._activated = 0
        self._about_keys: list[tuple[str, int, dict[str, Any]]] = []
        self.agreed: dict[str, set[str]] = {"policy.activate": set(), "policy.tighten": set(), "policy.approve": set()}
        """What the texts of agreements are held against: digests of what came into force, and of approvals' signatures."""

    def tell(self, keys: KeyStory) -> None:
        """Which keys sign which log, by what was read."""
        for file, index, leaf in self._about_keys:
            if not keys.take(leaf):
                self._findings.add("key-change", file, index)

    def read(self, file: str, index: int, data: bytes) -> dict[str, Any] | None:
        """Take up the next entry; answers it, if it is one."""
        leaf = self._parse(file, index, data)
        if leaf is None:
            return None
        kind = leaf["t"]
        self.counts[kind] += 1
        self._order(file, index, leaf)
        self._agreement(file, index, leaf)
        if kind in ABOUT_KEYS and self._log == "both":
            self._about_keys.append((file, index, leaf))
        if kind in self.agreed:
            self.agreed[kind].add(said(leaf["pub"]) if kind == "policy.approve" else str(leaf["pub"].get("sha256")))
        return leaf

    def _parse(self, file: str, index: int, data: bytes) -> dict[str, Any] | None:
        try:
            leaf, as_written = load_canonical(data, max_bytes=LEAF_LIMIT_BYTES)
        except JsonError as error:
            self._findings.add("leaf-malformed", file, index, error.code)
            return None
        if not isinstance(leaf, dict):
            self._findings.add("leaf-malformed", file, index, "object")
            return None
        if not as_written:
            self._findings.add("leaf-not-canonical", file, index)
        wrong = self._wrong_field(leaf)
        if wrong is not None:
            self._findings.add("leaf-fields", file, index, wrong)
            return None
        return leaf

    def _wrong_field(self, leaf: dict[str, Any]) -> str | None:
        try:
            "".join(_texts(leaf))  # all there, and all texts: the quickest way to know
        except (KeyError, TypeError):
            return next(name for name in _FIELDS if not isinstance(leaf.get(name), str))
        if leaf.get("v") != 1:
            return "v"
        if leaf["log"] != self._log:
            return "log"
        if type(leaf.get("pub")) is not dict:
            return "pub"
        if _number(leaf["pol"]) is None:
            return "pol"
        return None if _is_time(leaf["time"]) else "time"

    def _order(self, file: str, index: int, leaf: dict[str, Any]) -> None:
        time = leaf["time"]
        if time < self.last_time:
            self._findings.add("time-order", file, index)
        self.first_time = self.first_time or time
        self.last_time = max(self.last_time, time)
        # In `both` the hub-wide number would tell one country how busy the other is.
        seq = leaf.get("seq")
        if self._log == "both":
            wrong = seq is not None
        else:
            wrong = not isinstance(seq, int) or seq <= self._seq
            self._seq = self._seq if wrong else leaf["seq"]
        if wrong:
            self._findings.add("seq-order", file, index)

    def _agreement(self, file: str, index: int, leaf: dict[str, Any]) -> None:
        number = _number(leaf["pol"]) or 0
        if leaf["t"] == "log.close":
            self._activated = number  # what was in force goes on, in `both` by another number
        elif leaf["t"] in _ADOPTIONS:
            if number <= self._activated:
                self._findings.add("policy-order", file, index)
            self._activated = max(self._activated, number)
        elif leaf["t"] == "release" and number < self._activated:
            self._findings.add("release-superseded", file, index)
        elif leaf["t"] == "release" and number > self._activated and self._log == "both":
            self._findings.add("release-early", file, index)  # a country's own log has no adoptions to compare with
        elif number < self._pol:
            self._findings.add("policy-order", file, index)
        self._pol = max(self._pol, number)


def _is_time(text: str) -> bool:
    """`2026-11-23T17:31:53.000123Z`: always with six digits, so that texts compare as times do."""
    fraction = text[20:26]
    return (
        len(text) == 27
        and text[19] == "."
        and fraction.isascii()
        and fraction.isdigit()
        and _is_second(text[:19] + text[26])
    )


@lru_cache(maxsize=256)
def _is_second(text: str) -> bool:
    try:
        instant(text)
    except ValueError:
        return False
    return len(text) == 20


@lru_cache(maxsize=256)
def _number(pol: str) -> int | None:
    """The adoption that a `pol` names, 0 when it names none; None when it is no `pol`."""
    match = _POL.fullmatch(pol)
    return int(match[1] or 0) if match is not None else None


def said(approval: dict[str, Any]) -> str:
    """Tells approvals apart: a digest of the words and of the signature, as their entry has them."""
    return sha256(canonical(approval)).hexdigest()
