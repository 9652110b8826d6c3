"""The texts that were in force, as they lie in a pack: each must be one that an entry of `both` tells of."""

import re
from collections.abc import Mapping, Set
from hashlib import sha256
from typing import Any

from certs.jcs import JsonError, load
from exchange.ledger.copied import FILE_LIMIT_BYTES, Files
from exchange.ledger.findings import Findings
from exchange.ledger.sense import said
from policies.agreement import canonical_form, parse_toml
from policies.mistakes import AgreementError

_FILE = re.compile(r"agreements/[1-9][0-9]{0,14}/(agreement\.toml|approvals\.json|overlays\.json)")


def check_papers(files: Files, findings: Findings, agreed: Mapping[str, Set[str]]) -> None:
    """Hold the agreements of a pack against what its entries told of them (`sense.Events.agreed`)."""
    for path in files.under("agreements/"):
        match = _FILE.fullmatch(path)
        data = files.read(path) if match is not None else None
        if match is None or data is None:
            continue
        try:
            if match[1] == "agreement.toml":
                if _digest(data) not in agreed["policy.activate"]:
                    findings.add("agreement-unknown", path)
            else:
                _check_list(path, match[1], load(data, max_bytes=FILE_LIMIT_BYTES), findings, agreed)
        except (JsonError, AgreementError, LookupError, TypeError, ValueError):
            findings.add("paper-malformed", path)


def _check_list(path: str, name: str, found: Any, findings: Findings, agreed: Mapping[str, Set[str]]) -> None:
    for number, one in enumerate(found, 1):
        if name == "overlays.json":
            if _digest(one["document"].encode()) not in agreed["policy.tighten"]:
                findings.add("agreement-unknown", path)
        elif said({**_without_nulls(one["approval"]), "jws": one["jws"]}) not in agreed["policy.approve"]:
            findings.add("approval-unknown", path, detail=number)


def _digest(document: bytes) -> str:
    """Of an agreement or an overlay, whatever a document must have to be sound today: it was when it came into force."""
    return sha256(canonical_form(parse_toml(document)[1])).hexdigest()


def _without_nulls(words: Mapping[str, Any]) -> dict[str, Any]:
    """As an entry has them, in which there is no null."""
    return {name: value for name, value in words.items() if value is not None}
