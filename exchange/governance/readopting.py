"""Adoptions that a restored database lost: made again from the entries that tell of them and the documents they name by digest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from exchange.errors import NotPermitted
from exchange.store.changes import AgreementRow
from policies.agreement import load as load_agreement
from policies.overlay import parse_overlay


@dataclass(frozen=True, slots=True)
class Readopting:
    """`documents`: agreements and overlays, whatever else is among them; `approvals`: by an agreement's digest, as the log has them."""

    documents: Sequence[bytes]
    approvals: Mapping[str, Sequence[bytes]]

    def rows(self, held: AgreementRow | None, leaves: Sequence[Mapping[str, Any]]) -> list[AgreementRow]:
        """The adoptions after the one that is held, in the order of the log. Raises NotPermitted (`recover-agreement`) for one whose
        document is not here."""
        rows: list[AgreementRow] = []
        for leaf in leaves:
            number = int(leaf["pol"].rpartition("@")[2])
            if held is not None and number <= held.number:
                continue
            before = held if held is not None else AgreementRow(0, "", 0, b"", b"[]", 0)
            held = replace(_STEPS[leaf["t"]](self, before, leaf), number=number, adopted_us=0)
            rows.append(held)
        return rows

    def _activate(self, before: AgreementRow, leaf: Mapping[str, Any]) -> AgreementRow:
        pub = leaf["pub"]
        document = self._document(leaf, _agreements)
        name, _, version = pub["agreement"].rpartition("/")
        approvals = orjson.dumps([orjson.Fragment(one) for one in self.approvals.get(pub["sha256"], [])])
        # What one country forbade by itself stays so under a version that both agreed.
        return AgreementRow(0, name, int(version), document, approvals, 0, pub["impact_sha256"], before.overlays)

    def _tighten(self, before: AgreementRow, leaf: Mapping[str, Any]) -> AgreementRow:
        # Its entry names who signed, and has no signatures.
        made = {"document": self._document(leaf, _overlays).decode(), "approvals": []}
        return replace(before, overlays=orjson.dumps([*orjson.loads(before.overlays), made]), cause="tighten")

    def _lift(self, before: AgreementRow, leaf: Mapping[str, Any]) -> AgreementRow:
        return replace(before, overlays=_without(before, {leaf["pub"]["sha256"]}), cause="lift")

    def _lapse(self, before: AgreementRow, leaf: Mapping[str, Any]) -> AgreementRow:
        return replace(before, overlays=_without(before, set(leaf["pub"]["overlays"].values())), cause="lapse")

    def _expire(self, before: AgreementRow, leaf: Mapping[str, Any]) -> AgreementRow:
        return replace(before, cause="expire")

    def _document(
        self, leaf: Mapping[str, Any], read: Callable[[Sequence[bytes]], Iterator[tuple[str, bytes]]]
    ) -> bytes:
        found = dict(read(self.documents)).get(leaf["pub"]["sha256"])
        if found is not None:
            return found
        what = leaf["pub"].get("overlay", leaf["pub"]["agreement"])
        raise NotPermitted(
            f"{leaf['t']} {what} came into force since the backup: give its document, or begin with a backup that has it.",
            f"{leaf['t']} {what} entró en vigor después de la copia: indique su documento, o comience con una copia que lo tenga.",
            code="recover-agreement",
        )


_STEPS: dict[str, Callable[[Readopting, AgreementRow, Mapping[str, Any]], AgreementRow]] = {
    "policy.activate": Readopting._activate,
    "policy.tighten": Readopting._tighten,
    "policy.lift": Readopting._lift,
    "policy.lapse": Readopting._lapse,
    "policy.expire": Readopting._expire,
}
ADOPTIONS = tuple(_STEPS)
"""The kinds of entries that tell of one."""


def _without(before: AgreementRow, ended: set[str]) -> bytes:
    kept = [one for one in orjson.loads(before.overlays) if parse_overlay(one["document"].encode()).sha256 not in ended]
    return orjson.dumps(kept)


def _agreements(documents: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    for document in documents:
        try:
            yield load_agreement(document).sha256, document
        except ValueError:
            continue  # something else


def _overlays(documents: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    for document in documents:
        try:
            yield parse_overlay(document).sha256, document
        except ValueError:
            continue
