"""Who takes part, whom to trust, what is agreed, and what is to be dropped: the rows, held against the entries that brought them.

Titles, names and notes stand in no entry, nor do the views and list sizes that the hub computes for itself: of those rows
only that they are there, and the columns that entries tell of, can be checked.
"""

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from exchange.fsck.findings import Findings, Progress, PutBack
from exchange.fsck.logs import as_bytes
from exchange.ledger.rotation import PURPOSE
from exchange.model.statement import Statement
from exchange.store.scan import Scan
from exchange.store.scope import is_owed
from exchange.times import as_text
from policies.agreement import load as load_agreement

_Row = dict[str, Any]

_CAUSES = {
    "policy.activate": "activate",
    "policy.tighten": "tighten",
    "policy.lift": "lift",
    "policy.lapse": "lapse",
    "policy.expire": "expire",
}

_ASKED = ("originator", "case", "due")


@dataclass(slots=True)
class RegistryCheck:
    scan: Scan
    findings: Findings
    progress: Progress
    _want: dict[str, dict[str, _Row]] = field(default_factory=dict)
    """By table and key: the columns that entries tell of, and under "" which leaf told it last."""

    # --- what entries bring ---

    async def take(self, log: str, index: int, leaf: Mapping[str, Any], _: Any) -> None:
        handler = _HANDLERS.get(leaf["t"])
        if handler is None:
            return
        try:
            handler(self, leaf, leaf["pub"], f"{log}/{index}")
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            self.findings.add("leaf-form", "leaf", f"{log}/{index}", "pub")

    def _put(self, table: str, key: object, leaf: str, **columns: Any) -> None:
        self._want.setdefault(table, {}).setdefault(str(key), {}).update(columns, **{"": leaf})

    def _member(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        self._put("member", pub["member"], name, country=pub["country"], kind=pub["kind"], roles=" ".join(pub["roles"]),
                  sectors=" ".join(pub["sectors"]), status=pub["status"])  # fmt: skip

    def _status(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        self._put("member", pub["member"], name, status=pub["to"])

    def _credential(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        digest = {"digest": pub["sha256"]} if "sha256" in pub else {}
        product = {"product": pub["product"]} if "product" in pub else {}
        self._put(
            "credential", pub["account"], name, member=pub["member"], kind=pub["kind"], ended=False, **digest, **product
        )

    def _end(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        self._put("credential", pub["account"], name, ended=True)

    def _key(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        if pub.get("purpose") == "signing":
            member = leaf["on"].removeprefix("member:")
            self._put("signing_cert", pub["key"], name, thumbprint=pub["key"], member=member, revoked=False)
        elif pub.get("purpose") == PURPOSE:
            [old], log = pub["after"], pub["log"]
            if f"{log} {old}" not in self._want.get("log_key", {}):
                self._put("log_key", f"{log} {old}", name, since=0, ended=False)
            self._put("log_key", f"{log} {pub['key']}", name, ended=False, **_from("since", log, name))

    def _revoke(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        if leaf["on"].startswith("member:"):
            self._put("signing_cert", pub["key"], name, revoked=True, reason=pub["reason"])
        elif leaf["on"].startswith("log:"):
            log = leaf["on"].removeprefix("log:")
            self._put("log_key", f"{log} {pub['key']}", name, ended=True, **_from("until", log, name))

    def _collection(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        if "alias" in pub:
            self._put("collection", leaf["on"].removeprefix("coll:"), name, alias=pub["alias"], readers=" ".join(pub["readers"]),
                      writers=" ".join(pub["writers"]))  # fmt: skip

    def _trust(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        self._put("trust_list", pub["version"], name, sha256=pub["sha256"])

    def _propose(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        key = f"{pub['sha256']}/{pub['impact_sha256']}"
        self._put("draft", key, name, agreement=pub["agreement"], document=pub["sha256"], impact=pub["impact_sha256"])

    def _approve(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        key = "/".join((pub["policy_sha256"], pub["impact_sha256"], pub["country"], pub["approver"], pub["decision"]))
        self._put("approval", key, name, jws=pub["jws"])

    def _schedule(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        self._put("schedule", f"{pub['sha256']}/{pub['impact_sha256']}", name)

    def _adopt(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        number = int(leaf["pol"].rpartition("@")[2])
        of_document = (
            {"document": pub["sha256"], "impact": pub["impact_sha256"]} if leaf["t"] == "policy.activate" else {}
        )
        self._put("agreement", number, name, name=pub["agreement"], cause=_CAUSES[leaf["t"]], pol=leaf["pol"],
                  **of_document)  # fmt: skip

    def _readopt(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        """What was in force when `both` was closed is so again, by another number."""
        if leaf["log"] == "both" and leaf["pol"]:
            agreement, _, number = leaf["pol"].rpartition("@")
            self._put("agreement", int(number), name, name=agreement, cause="abandon", pol=leaf["pol"])

    def _recall(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        self._put("recall", pub["recall"], name, member=pub["to"], cause=pub["cause"],
                  collection=leaf["on"].removeprefix("coll:"), acknowledged=False, **{"owes as scope": True})  # fmt: skip

    def _withdraw(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        if "to" in pub:  # what the rules took from one member; what its originator took out is told by `recall`
            self._recall(leaf, pub, name)

    def _acknowledge(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        self._put("recall", leaf["on"].removeprefix("recall:"), name, acknowledged=True)

    def _say(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        said = Statement.logged(leaf["t"], pub)
        self._put(
            "statement",
            said.id,
            name,
            kind=said.kind,
            member=said.member,
            about=said.about,
            words=said.words,
            jws=said.jws,
        )

    def _ask(self, leaf: Mapping[str, Any], pub: Mapping[str, Any], name: str) -> None:
        asked = {key: pub[key] for key in _ASKED}
        self._put("statement", pub["statement"], name, kind=leaf["t"], member=leaf["actor"].split(":")[1], about="", asked=asked,
                  jws="")  # fmt: skip

    # --- what is there ---

    async def run(self, put_back: PutBack) -> None:
        """After the leaves were read."""
        for table, found in _TABLES.items():
            want = self._want.get(table, {})
            seen: set[str] = set()
            async for key, has in found(self.scan):
                seen.add(key)
                expected = want.get(key)
                if expected is None:
                    self.findings.add("row-unlogged", table, key)
                    continue
                wrong = [name for name, value in expected.items() if name in has and has[name] != value]
                wrong += [
                    name for name, value in has.items() if name not in expected and name.startswith("own ") and value
                ]
                if wrong:
                    self.findings.add("row-differs", table, key, wrong[0].removeprefix("own "))
            for key, expected in want.items():
                log, _, index = expected[""].rpartition("/")
                if key not in seen and not put_back(log, int(index)):
                    self.findings.add("row-missing", table, key, expected[""])
            self.progress(table, len(seen))
        await self._statuses()

    async def _statuses(self) -> None:
        async for status_id, created, body in self.scan.rows("SELECT id, created_us, body FROM status ORDER BY id"):
            try:
                value = orjson.loads(as_bytes(body))
                wrong = (
                    "id"
                    if value["id"] != status_id
                    else "created_us"
                    if value["request_timestamp"] != as_text(created)
                    else ""
                )
            except (ValueError, KeyError, TypeError):
                wrong = "body"
            if wrong:
                self.findings.add("row-differs", "status", status_id, wrong)

    def newest_agreement(self) -> tuple[int, str]:
        """The number and the name in force, by the log."""
        want = self._want.get("agreement", {})
        number = max(map(int, want), default=0)
        return number, want[str(number)]["pol"] if number else ""


def _from(name: str, log: str, leaf: str) -> dict[str, int]:
    """From its own entry on, in a log of both; how large a country's log was then, none of its entries says."""
    where, _, index = leaf.rpartition("/")
    return {name: int(index) + 1} if where == log else {}


_Handler = Callable[[RegistryCheck, Mapping[str, Any], Mapping[str, Any], str], None]
_HANDLERS: dict[str, _Handler] = {
    "acct.enrol": RegistryCheck._member,
    "role.change": RegistryCheck._member,
    "acct.status": RegistryCheck._status,
    "acct.add": RegistryCheck._credential,
    "acct.end": RegistryCheck._end,
    "key.add": RegistryCheck._key,
    "key.rotate": RegistryCheck._key,
    "key.revoke": RegistryCheck._revoke,
    "key.trust": RegistryCheck._trust,
    "admin": RegistryCheck._collection,
    "policy.propose": RegistryCheck._propose,
    "policy.approve": RegistryCheck._approve,
    "policy.schedule": RegistryCheck._schedule,
    **dict.fromkeys(_CAUSES, RegistryCheck._adopt),
    "log.close": RegistryCheck._readopt,
    "consent.request": RegistryCheck._ask,
    **dict.fromkeys(
        ("consent.grant", "consent.refuse", "consent.withdraw", "audience.add", "audience.remove"), RegistryCheck._say
    ),
    "recall": RegistryCheck._recall,
    "withdraw": RegistryCheck._withdraw,
    "recall.ack": RegistryCheck._acknowledge,
}


async def _members(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    async for row in scan.rows("SELECT slug, country, kind, roles, sectors, status FROM member ORDER BY slug"):
        yield row[0], dict(zip(("country", "kind", "roles", "sectors", "status"), row[1:], strict=True))


async def _credentials(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    sql = "SELECT id, member, kind, digest, ended_us, product, certificate FROM credential ORDER BY id"
    async for id_, member, kind, digest, ended, product, certificate in scan.rows(sql):
        given = as_bytes(certificate)
        yield id_, {
            "member": member, "kind": kind, "digest": as_bytes(digest).hex(), "ended": ended is not None, "product": product,
            "own certificate": given and sha256(given).digest() != as_bytes(digest),
        }  # fmt: skip


async def _signing(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    sql = "SELECT thumbprint, member, certificate, revoked_us, reason FROM signing_cert ORDER BY thumbprint"
    async for key, member, certificate, revoked, reason in scan.rows(sql):
        has = {"thumbprint": _thumbprint(as_bytes(certificate)), "member": member, "revoked": revoked is not None}
        yield key, has | ({"reason": reason} if revoked is not None else {})


def _thumbprint(certificate: bytes) -> str:
    """RFC 7515, 4.1.8, of a certificate that may not be one any more."""
    return urlsafe_b64encode(sha256(certificate).digest()).rstrip(b"=").decode()


def _document(document: bytes) -> str:
    """The digest of what an agreement says: the file may be written otherwise."""
    try:
        return load_agreement(document).sha256
    except ValueError:
        return ""


async def _collections(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    async for row in scan.rows("SELECT id, alias, readers, writers FROM collection ORDER BY id"):
        yield row[0], dict(zip(("alias", "readers", "writers"), row[1:], strict=True))


async def _trust_lists(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    async for version, document in scan.rows("SELECT version, document FROM trust_list ORDER BY version"):
        yield str(version), {"sha256": sha256(as_bytes(document)).hexdigest()}


async def _log_keys(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    async for log, key, since, until in scan.rows("SELECT log, vkey, since, until FROM log_key ORDER BY log, vkey"):
        yield f"{log} {key}", {"since": since, "ended": until is not None, "until": until}


async def _drafts(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    sql = "SELECT sha256, impact_sha256, agreement_id, version, document, impact FROM draft ORDER BY sha256, impact_sha256"
    async for digest, impact_digest, agreement, version, document, impact in scan.rows(sql):
        yield (
            f"{digest}/{impact_digest}",
            {
                "agreement": f"{agreement}/{version}",
                "document": _document(as_bytes(document)),
                "impact": sha256(as_bytes(impact)).hexdigest(),
            },
        )


async def _approvals(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    sql = "SELECT sha256, impact_sha256, country, approver, decision, approval FROM approval ORDER BY 1, 2, 3, 4, 5"
    async for *key, approval in scan.rows(sql):
        try:
            jws = orjson.loads(as_bytes(approval))["jws"]
        except (ValueError, KeyError, TypeError):
            jws = None
        yield "/".join(map(str, key)), {"jws": jws}


async def _schedules(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    async for row in scan.rows("SELECT sha256, impact_sha256 FROM schedule ORDER BY 1, 2"):
        yield "/".join(row), {}


async def _agreements(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    sql = "SELECT number, agreement_id, version, document, impact_sha256, cause FROM agreement ORDER BY number"
    async for number, id_, version, document, impact, cause in scan.rows(sql):
        yield str(number), {
            "name": f"{id_}/{version}", "document": _document(as_bytes(document)),
            "impact": impact, "cause": cause,
        }  # fmt: skip


async def _statements(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    async for id_, kind, member, about, words, jws in scan.rows(
        "SELECT id, kind, member, about, words, jws FROM statement ORDER BY id"
    ):
        kept = as_bytes(words)
        has = {"kind": kind, "member": member, "about": about, "words": kept, "jws": jws}
        yield id_, has | ({"asked": _asked(kept)} if kind == "consent.request" else {})


def _asked(words: bytes) -> _Row:
    """What a request says that its entry tells; the reason is in the private part alone."""
    try:
        return {key: orjson.loads(words)[key] for key in _ASKED}
    except (ValueError, KeyError, TypeError):
        return {}


async def _recalls(scan: Scan) -> AsyncIterator[tuple[str, _Row]]:
    sql = "SELECT id, member, collection, cause, acknowledged_us, owes, scope FROM recall ORDER BY id"
    async for id_, member, collection, cause, acknowledged, owes, scope in scan.rows(sql):
        yield id_, {
            "member": member, "collection": collection, "cause": cause, "acknowledged": acknowledged is not None,
            "owes as scope": bool(owes) == is_owed(as_bytes(scope)),
        }  # fmt: skip


_TABLES: dict[str, Callable[[Scan], AsyncIterator[tuple[str, _Row]]]] = {
    "member": _members,
    "credential": _credentials,
    "signing_cert": _signing,
    "collection": _collections,
    "trust_list": _trust_lists,
    "log_key": _log_keys,
    "agreement": _agreements,
    "draft": _drafts,
    "approval": _approvals,
    "schedule": _schedules,
    "statement": _statements,
    "recall": _recalls,
}
