"""The checks on one submitted object, in order, each with its own code; the first that fails speaks for the object.

 1 STIX 2.1 rules and pattern grammar
 2 canonical form and size
 3 times not ahead of the hub's clock
 4 signature by the submitter, or coverage by its signed attestation
 5 known-good values
 6 label, and whether the agreement lets it in

Steps 7 (ownership and versions) and 8 (conflict) need the store and are judged under the lock: model/versions.py.
This module reads no clock, file or database, so it can run in slices off the event loop.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from certs.faults import SignatureFault
from certs.jcs import JsonError, canonical
from certs.signature import EXT_SIG, Verified, verify_object
from exchange.errors import Text
from exchange.intake.labelling import Labeller, marking_ids
from exchange.intake.pattern import check_pattern
from exchange.intake.validate import rejections
from exchange.intake.warninglists import Warninglists
from exchange.model.instant import instant
from exchange.model.member import Collection, Member
from exchange.model.stix import SCO_TYPES, UNVERSIONED, StixObject
from exchange.rules import Rules
from exchange.settings import Settings
from exchange.store.contract import NewObject
from policies.label import TLP_DEFINITIONS

ATTESTATION = "object-attestation"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one object was refused."""

    id: str
    version: str
    code: str
    text: Text
    field: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Examined:
    """An object that may be placed, with what its ledger entry will say of it. `builtin` ones are known to everybody."""

    new: NewObject | None
    id: str
    version: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the examiner knows while it looks at one envelope."""

    settings: Settings
    rules: Rules
    member: Member
    collection: Collection
    attestations: Collection
    labeller: Labeller
    received: datetime
    latest: str
    """The instant beyond which `created` and `modified` lie too far ahead of the hub's clock."""
    warninglists: Warninglists
    definitions: Mapping[str, dict[str, Any]]
    covered: Mapping[tuple[str, str], "Coverage"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the submitter's attestation in the same envelope says of an object that carries no signature of its own."""

    sha256: str
    attestation: str
    kind: str
    markings: tuple[str, ...]
    thumbprint: str
    feed: str


def coverage(objects: list[Any], rules: Rules, member: Member, received: datetime) -> dict[tuple[str, str], Coverage]:
    """What the envelope's own attestations cover, by (id, version). One that does not verify covers nothing; it is
    refused as an object in its turn, and its reason told there."""
    found: dict[tuple[str, str], Coverage] = {}
    for value in objects:
        if not isinstance(value, dict) or value.get("type") != ATTESTATION:
            continue
        try:
            verified = verify_object(value, rules.keyring, received=received)
        except SignatureFault:
            continue
        if verified.identity_id != member.identity_id:
            continue
        for item in _covers(value):
            found[item["id"], item["version"]] = Coverage(
                sha256=item["sha256"],
                attestation=str(value.get("id")),
                kind=str(value.get("attestation_type")),
                markings=tuple(ref for ref in value.get("object_marking_refs", ()) if isinstance(ref, str)),
                thumbprint=verified.thumbprint,
                feed=str(value.get("source_name", ""))[:64],
            )
    return found


def _covers(value: dict[str, Any]) -> list[dict[str, str]]:
    items = value.get("covers")
    if not isinstance(items, list):
        return []
    names = ("id", "version", "sha256")
    return [item for item in items if isinstance(item, dict) and all(isinstance(item.get(name), str) for name in names)]


def examine(value: Any, desk: Desk) -> Examined | Failure:
    """Judge one object by everything that does not need the store. Never raises on any JSON value."""
    identifier = value.get("id") if isinstance(value, dict) else None
    object_id = identifier if isinstance(identifier, str) else "unknown"
    # 1
    for finding in rejections(value):
        if finding.level == "reject":
            return Failure(object_id, _version(value), finding.code, Text(finding.en, finding.es), finding.field)
    version = _version(value)
    if value["type"] == "indicator" and value.get("pattern_type") == "stix":
        for fault in check_pattern(value["pattern"]):
            if fault.level == "reject":
                return Failure(object_id, version, fault.code, Text(fault.en, fault.es), "pattern")
    if object_id in TLP_DEFINITIONS:
        return Examined(None, object_id, version)  # everybody has them; never stored or sent as new instances
    # 2
    try:
        body = canonical(value)
    except JsonError as error:
        return Failure(object_id, version, error.code, Text(error.en, error.es), error.pointer)
    obj = StixObject.of(value, body)
    # 3 to 6
    return _size(obj, desk) or _future(value, obj, desk) or _signature_and_label(value, obj, desk)


def _version(value: Any) -> str:
    if not isinstance(value, dict):
        return UNVERSIONED
    version = value.get("modified") or value.get("created")
    return version if isinstance(version, str) else UNVERSIONED


def _refused(obj: StixObject, code: str, text: Text, field: str = "") -> Failure:
    return Failure(obj.id, obj.version, code, text, field, obj.sha256.hex())


def _size(obj: StixObject, desk: Desk) -> Failure | None:
    size, limit = len(obj.body), desk.settings.object_limit_bytes
    if size <= limit:
        return None
    text = Text(f"The object has {size} bytes; at most {limit} are accepted.", f"El objeto tiene {size} bytes; se aceptan como máximo {limit}.")  # fmt: skip
    return _refused(obj, "object-too-large", text)


def _future(value: dict[str, Any], obj: StixObject, desk: Desk) -> Failure | None:
    # A client whose cursor is the greatest `modified` it saw would be silenced by one object dated 2099.
    for name in ("created", "modified"):
        if name in value and instant(value[name]) > desk.latest:
            text = Text(
                f"{name} lies more than {desk.settings.future_limit_seconds} seconds ahead of the hub's clock.",
                f"{name} está más de {desk.settings.future_limit_seconds} segundos por delante del reloj del centro.",
            )
            return _refused(obj, "timestamp-future", text, name)
    return None


def _signature_and_label(value: dict[str, Any], obj: StixObject, desk: Desk) -> Examined | Failure:
    # 4
    try:
        proof = _proof(value, obj, desk)
    except SignatureFault as fault:
        return _refused(obj, fault.code, Text(fault.en, fault.es), "extensions")
    # 5
    if value["type"] == "indicator" and value.get("pattern_type") == "stix":
        hits = desk.warninglists.hits(value["pattern"])
        if hits:
            hit = hits[0]
            text = Text(
                f"{hit.value} is on the list of known good values “{hit.list_name}”.",
                f"{hit.value} está en la lista de valores legítimos conocidos «{hit.list_name}».",
            )
            return _refused(obj, "warninglist", text, "pattern")
    # 6
    collection = desk.attestations if value["type"] == ATTESTATION else desk.collection
    judged = desk.labeller.judge(
        value,
        owner=desk.member,
        collection=collection,
        assurance=proof.assurance,
        definitions=desk.definitions,
        claimed=proof.markings,
        feed=proof.feed,
    )
    decision = judged.decision
    if decision.effect != "permit":
        text = Text(decision.reason("en"), decision.reason("es"))
        return _refused(obj, "agreement", text, decision.clause)
    new = NewObject(
        object=obj,
        owner=desk.member.slug,
        holder="" if proof.assurance == "originator-signed" and obj.type not in SCO_TYPES else desk.member.slug,
        collection=collection.id,
        label=judged.text,
        country=desk.member.country,
    )
    facts = {
        "signer": proof.thumbprint,
        "assurance": proof.assurance,
        "tlp": judged.label.tlp,
        "markings": list(marking_ids(value))[:8],
    }
    if proof.attestation:
        facts["attestation"] = proof.attestation
    if proof.prev_sha256:
        facts["prev"] = proof.prev_sha256
    return Examined(new, obj.id, obj.version, facts)


@dataclass(frozen=True, slots=True)
class _Proof:
    assurance: str
    thumbprint: str
    markings: tuple[str, ...] = ()
    attestation: str = ""
    feed: str = ""
    prev_sha256: str = ""


def _proof(value: dict[str, Any], obj: StixObject, desk: Desk) -> _Proof:
    """Who answers for the object. Raises SignatureFault."""
    extensions = value.get("extensions")
    if isinstance(extensions, dict) and EXT_SIG in extensions and _is_own(value, desk):
        verified: Verified = verify_object(value, desk.rules.keyring, received=desk.received, body=obj.body)
        if verified.identity_id != desk.member.identity_id:
            raise SignatureFault(
                "signature-submitter",
                "The signature is by another member than the one that submits.",
                "La firma es de un miembro distinto del que envía.",
            )
        return _Proof("originator-signed", verified.thumbprint, prev_sha256=verified.prev_sha256 or "")
    cover = desk.covered.get((obj.id, obj.version))
    if cover is None or (_creator(value) in desk.rules.by_identity and obj.type not in SCO_TYPES):
        raise SignatureFault(
            "signature-missing",
            "The object is neither signed by its creator nor covered by a signed attestation in the same envelope.",
            "El objeto no está firmado por su creador ni cubierto por una atestación firmada en el mismo sobre.",
        )
    if cover.sha256 != obj.sha256.hex():
        raise SignatureFault(
            "attestation-digest",
            "The attestation in this envelope names other bytes for this object.",
            "La atestación de este sobre nombra otros bytes para este objeto.",
        )
    own = obj.type in SCO_TYPES and cover.kind == "covers"
    assurance = "originator-signed" if own else "imported"
    return _Proof(assurance, cover.thumbprint, cover.markings, cover.attestation, cover.feed)


def _creator(value: dict[str, Any]) -> str:
    return str(value.get("created_by_ref", "")) or (value["id"] if value["type"] == "identity" else "")


def _is_own(value: dict[str, Any], desk: Desk) -> bool:
    # A third party's object that was signed for another hub comes in as an import, its extension left alone.
    block = value["extensions"][EXT_SIG]
    signer = block.get("signer_ref") if isinstance(block, dict) else None
    return signer in desk.rules.by_identity or _creator(value) in desk.rules.by_identity or not desk.covered
