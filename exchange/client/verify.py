"""A reader's own verification, without trusting the hub: receipts, whole pages, and the signatures of other members."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from certs.faults import Fault
from certs.jcs import JsonError, canonical, load
from certs.signature import EXT_SIG, NOTICE, Keyring, KeyringEntry, Revocation, Revocations, Verified
from certs.signature import verify_object as verify_signature
from certs.trust import TYPE as TRUST_TYPE
from certs.trust import TrustList
from exchange.client.envelopes import version_of
from exchange.ledger.entry import LEAF_LIMIT_BYTES
from exchange.ledger.merkle import root
from exchange.ledger.note import Policy
from exchange.ledger.receipt import Proven, Receipt
from exchange.model.stix import item_hash


class EvidenceFault(Fault, ValueError):
    """A page that is not what the log says was released. `code` is stable, the texts say why."""


def read_policy(path: Path) -> Policy:
    """The reader's own witness policy (C2SP): which log it asks about, and whose cosignatures it wants.

    Raises exchange.ledger.note.PolicyFault naming the line.
    """
    return Policy.parse(path.read_text())


def verify_receipt(receipt: bytes, leaf: bytes, policy: Policy) -> Proven:
    """Check that the leaf is in the log under a checkpoint that the policy's quorum cosigned.

    Raises exchange.ledger.receipt.ReceiptFault.
    """
    return Receipt.parse(receipt).verify(leaf, policy)


def verify_page(objects: Sequence[Mapping[str, Any]], leaf: bytes) -> None:
    """Check that a `release` or `publish` entry speaks of exactly these objects in this order. Raises EvidenceFault.

    The leaf itself is proved by its receipt. A page that mixes the reader's own country's objects with the other's has
    two entries: give each the objects it speaks of.
    """
    try:
        entry = load(leaf, max_bytes=LEAF_LIMIT_BYTES)
        expected, count = bytes.fromhex(entry["pub"]["items_root"]), entry["pub"]["count"]
    except (JsonError, KeyError, TypeError, ValueError):
        raise EvidenceFault(
            "evidence-no-items", "The entry speaks of no objects.", "La entrada no se refiere a ningún objeto."
        ) from None
    if count != len(objects):
        raise EvidenceFault(
            "evidence-count",
            f"The entry speaks of {count} objects; these are {len(objects)}.",
            f"La entrada se refiere a {count} objetos; estos son {len(objects)}.",
        )
    items = [item_hash(str(one.get("id")), version_of(one), sha256(canonical(dict(one))).digest()) for one in objects]
    if root(items) != expected:
        raise EvidenceFault(
            "evidence-root",
            "These are not the objects, or not the order, that the entry speaks of.",
            "Estos no son los objetos, o no es el orden, a los que se refiere la entrada.",
        )


CREATORS_AT_MOST = 12
"""In a page of two entries: every way to share so many creators out is tried."""


def divide(objects: Sequence[Mapping[str, Any]], leaves: Sequence[bytes]) -> list[list[Mapping[str, Any]]]:
    """The objects that each entry of one page speaks of, verified. Raises EvidenceFault.

    A page that mixes the reader's own country's objects with the other's has an entry in each log. Neither says which are
    its own, but one creator's objects lie in one of them, as long as not both countries imported the same source.
    """
    if len(leaves) == 1:
        verify_page(objects, leaves[0])
        return [list(objects)]
    makers = list(dict.fromkeys(_maker(one) for one in objects))
    if len(leaves) == 2 and len(makers) <= CREATORS_AT_MOST:
        for choice in range(2 ** len(makers)):
            first = {maker for n, maker in enumerate(makers) if choice >> n & 1}
            parts = [[one for one in objects if (_maker(one) in first) == mine] for mine in (True, False)]
            try:
                for part, leaf in zip(parts, leaves, strict=True):
                    verify_page(part, leaf)
            except EvidenceFault:
                continue
            return parts
    raise EvidenceFault(
        "evidence-mixed",
        "The page has entries in several logs, and its objects cannot be matched with them. Ask for smaller pages.",
        "La página tiene asientos en varios registros, y sus objetos no pueden asociarse con ellos. Pida páginas menores.",
    )


def _maker(obj: Mapping[str, Any]) -> str:
    signature = obj.get("extensions", {}).get(EXT_SIG, {})
    if obj.get("type") == NOTICE:
        return str(obj.get("id"))  # the hub speaks of either country's
    return str(signature.get("signer_ref") or obj.get("created_by_ref"))


def keyring(
    trust_list: TrustList | bytes,
    members: Iterable[KeyringEntry],
    *,
    at: datetime,
    revoked: Revocations | Mapping[str, Revocation] | None = None,
) -> Keyring:
    """The keys a receiver accepts: members' signing certificates, judged under a list that both countries approved.

    `revoked` maps certificate thumbprints to when, as the reader knows it, or is made of revocation lists. Raises certs.faults.TrustFault for a list
    that lacks a country's approvals.
    """
    trust = trust_list if isinstance(trust_list, TrustList) else TrustList.parse(trust_list)
    trust.check_approvals(trust.value, trust.approvals, typ=TRUST_TYPE, at=at)
    return Keyring.build(members, trust, revoked or {}, at=at)


def verify_object(obj: Mapping[str, Any], keys: Keyring, *, at: datetime) -> Verified:
    """Check the originator's signature inside an object received at a time. Raises certs.faults.SignatureFault."""
    return verify_signature(obj, keys, received=at)
