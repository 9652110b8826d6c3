"""What leaves tell of that must be so again after a recovery: what took something from somebody, and what is in force."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from exchange.governance.approvals import Approval
from exchange.governance.readopting import ADOPTIONS
from exchange.governance.rekeying import Rekeying
from exchange.model.instant import instant
from exchange.model.statement import Statement
from exchange.store.acts import Removal
from exchange.store.changes import EndCredential, RevokeSigningCert
from exchange.store.contract import Floor
from exchange.times import parse_us


@dataclass(slots=True)
class Told:
    """What the leaves that were lost tell of, as far as it must be so again."""

    floor: Floor = field(default_factory=Floor)
    trust: str = ""
    adoptions: list[Mapping[str, Any]] = field(default_factory=list)
    approvals: dict[str, list[bytes]] = field(default_factory=dict)
    ended: list[EndCredential] = field(default_factory=list)
    revoked: list[RevokeSigningCert] = field(default_factory=list)
    members: list[Mapping[str, Any]] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    """Consents and audiences' members, as they were signed."""
    private: dict[tuple[str, int], str] = field(default_factory=dict)
    """What was done to private parts: "block", or "erase" at last."""
    submitted: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """By kind of log: ids and versions."""
    rekeying: Rekeying = field(default_factory=Rekeying)

    def read(self, data: bytes, index: int, *, lost: bool) -> None:
        leaf = orjson.loads(data)
        pub = leaf["pub"]
        self.rekeying.read(leaf, index, lost=lost)
        if leaf["t"] == "key.trust":
            self.trust = pub["sha256"]
        elif leaf["t"] == "policy.approve":
            words = {name: value for name, value in pub.items() if name != "jws"}
            self.approvals.setdefault(pub["policy_sha256"], []).append(Approval(words, pub["jws"]).encode())
        if lost:
            at = parse_us(leaf["time"])
            tick = parse_us(pub["last"]) if leaf["t"] == "publish" else 0
            was = self.floor
            self.floor = Floor(max(was.last_tick, tick), max(was.last_time, at), max(was.seq, leaf.get("seq", 0)))
            if (learn := _READ.get(leaf["t"])) is not None:
                learn(self, leaf, pub)

    def _end(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.ended.append(EndCredential(pub["account"]))

    def _revoke(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        if leaf["on"].startswith("member:"):
            self.revoked.append(RevokeSigningCert(pub["key"], parse_us(leaf["time"]), None, pub["reason"]))

    def _member(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.members.append(pub)

    def _remove(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        if "object" in pub:
            versions = tuple(map(instant, pub["versions"])) if len(pub["versions"]) == pub["count"] else ("all",)
            owner = pub.get("owner", leaf["actor"].split(":")[1])
            self.removals.append(Removal(leaf["on"].removeprefix("coll:"), pub["object"], owner, versions))

    def _state(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.statements.append(Statement.logged(leaf["t"], pub))

    def _adopt(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.adoptions.append(leaf)

    def _hide(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.private[pub["log"], pub["index"]] = leaf["t"]

    def _submit(self, leaf: Mapping[str, Any], pub: Mapping[str, Any]) -> None:
        self.submitted.setdefault(leaf["log"], []).append((pub["object"], pub["version"]))


_READ: dict[str, Callable[[Told, Mapping[str, Any], Mapping[str, Any]], None]] = {
    "acct.end": Told._end,
    "key.revoke": Told._revoke,
    "acct.status": Told._member,
    "role.change": Told._member,
    "withdraw": Told._remove,
    "submit": Told._submit,
    **dict.fromkeys(
        ("consent.grant", "consent.refuse", "consent.withdraw", "audience.add", "audience.remove"), Told._state
    ),
    "block": Told._hide,
    "erase": Told._hide,
    **dict.fromkeys(ADOPTIONS, Told._adopt),
}
