"""The checks on one submitted object, in order, each with its own code; the first that fails speaks for the object.

 1 canonical form and size, so that nothing below looks at more than it must
 2 STIX 2.1 rules and pattern grammar
 3 times not ahead of the hub's clock
 4 signature by the submitter, or coverage by its signed attestation; of a national gateway, both
 5 known-good values
 6 label, and whether the agreement lets it in

Ownership, versions, gaps between them and conflicts need the store and are judged under the lock: model/versions.py.
This module reads no clock, file or database, so it can run in slices off the event loop.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

import structlog

from certs.faults import SignatureFault
from certs.jcs import JsonError, canonical
from certs.origin import GATEWAY_RELEASE, Origin, releases
from certs.signature import EXT_SIG, NOTICE, Verified, verify_object
from exchange.errors import Text
from exchange.intake.labelling import Labeller
from exchange.intake.pattern import Level, check_pattern
from exchange.intake.shapes import Budget
from exchange.intake.validate import rejections, warnings
from exchange.intake.warninglists import Hit, Warninglists
from exchange.model.instant import instant
from exchange.model.member import Collection, Member
from exchange.model.references import marking_ids, may_refer, references
from exchange.model.stix import SCO_TYPES, UNVERSIONED, StixObject
from exchange.rules import Rules
from exchange.settings import Settings
from exchange.store.acts import NewObject
from policies.label import TLP_DEFINITIONS

ATTESTATION = "object-attestation"

HELD = "warninglist-held"
"""Why an object is refused whose values are known to be good, though somebody may release them."""

_log = structlog.get_logger("puente.intake")


ID_CHARACTERS_AT_MOST = 300
"""Of what a failure repeats as its object's id; a type has 250 and a UUID 36."""
VERSION_CHARACTERS_AT_MOST = 64
NOTES_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class Note:
    """What is doubtful in an object that is taken in all the same."""

    code: str
    text: Text


CURBED = Note(
    "citing-limit",
    Text(
        "You have more definitions and identities here, or cite them in more ways, than are looked at. Who is given this object is not"
        " given by it what it cites, nor it by what cites it.",
        "Usted tiene aquí más definiciones e identidades, o las cita de más maneras, que las que se consideran. A quien se le dé este"
        " objeto no se le da por él lo que cita, ni se da este por lo que lo cita.",
    ),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one object was refused."""

    id: str
    version: str
    code: str
    text: Text
    field: str = ""
    sha256: str = ""
    held: tuple[Hit, ...] = ()
    """The values for which it is held, all of which may be released."""


class Examined(NamedTuple):
    """An object that may be placed, with what its ledger entry will say of it. `builtin` ones are known to everybody."""

    new: NewObject | None
    id: str
    version: str
    facts: Mapping[str, Any] = MappingProxyType({})
    notes: tuple[Note, ...] = ()
    named: bool = False
    """Whether it may be opened by what cites it."""


class Desk(NamedTuple):
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
    budget: Budget
    """For pattern shapes not seen lately: the one thing here that is used up, envelope by envelope."""
    released: Mapping[str, int] = MappingProxyType({})
    """Held values that are accepted from the member now."""

    def lets_in(self, hit: Hit) -> bool:
        return hit.action == "hold" and hit.value in self.released


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the submitter's attestation in the same envelope says of an object that carries no signature of its own."""

    sha256: str
    attestation: str
    kind: str
    markings: tuple[str, ...]
    thumbprint: str
    feed: str
    origin: Origin | None = None
    """Of what a gateway released in an operator's stead."""


def coverage(objects: list[Any], rules: Rules, member: Member, received: datetime) -> dict[tuple[str, str], Coverage]:
    """What the envelope's own attestations cover, by (id, version). One that does not verify covers nothing; it is
    refused as an object in its turn, and its reason told there."""
    found: dict[tuple[str, str], Coverage] = {}
    for value in objects:
        if not attests(value) or not _well_formed(value):
            continue
        try:
            verified = verify_object(value, rules.keyring, received=received)
        except SignatureFault:
            continue
        if verified.identity_id != member.identity_id:
            continue
        origin = None
        if value.get("attestation_type") == GATEWAY_RELEASE:
            origin = _origin(value, verified, member)
            if origin is None:
                continue
        for item in _covers(value):
            found[item["id"], item["version"]] = Coverage(
                sha256=item["sha256"],
                attestation=str(value.get("id")),
                kind=str(value.get("attestation_type")),
                markings=tuple(ref for ref in value.get("object_marking_refs", ()) if isinstance(ref, str)),
                thumbprint=verified.thumbprint,
                feed=str(value.get("source_name", ""))[:64],
                origin=origin,
            )
    return found


def attests(value: Any) -> bool:
    """Whether it is an attestation, good or bad."""
    return isinstance(value, dict) and value.get("type") == ATTESTATION


def _origin(value: dict[str, Any], verified: Verified, member: Member) -> Origin | None:
    """What a gateway says of where its objects come from: its own country, by the key of its country's gateway."""
    found = releases(value)
    if found is None or verified.purpose != "gateway" or found[0].country != member.country:
        return None
    return found[0]


def _well_formed(value: dict[str, Any]) -> bool:
    return next(rejections(value), None) is None


def _covers(value: dict[str, Any]) -> list[dict[str, str]]:
    items = value.get("covers")
    if not isinstance(items, list):
        return []
    names = ("id", "version", "sha256")
    return [item for item in items if isinstance(item, dict) and all(isinstance(item.get(name), str) for name in names)]


def judge(objects: Sequence[tuple[Any, Desk]]) -> list[Examined | Failure]:
    """Judge objects, each laid on a desk, by everything that does not need the store. Never raises on any JSON values.

    One check is made of all of them before the next: what it needs stays in the processor's caches, and an object is judged
    in an eighth less time than alone. A fault of the examiner's own is the failure of one object: it must not keep the
    rest of an envelope out, nor bring a client that repeats it to a stop.
    """
    outcomes: dict[int, Examined | Failure] = {}
    going = [(place, _checks(value, desk)) for place, (value, desk) in enumerate(objects)]
    while going:
        undecided = []
        for one in going:
            place, checks = one
            try:
                outcome = next(checks)
            except Exception as fault:  # noqa: BLE001  # whatever it is, this object does not come in
                outcome = _examiner_fault(*objects[place], fault)
            if outcome is None:
                undecided.append(one)
            else:
                outcomes[place] = outcome
        going = undecided
    return [outcomes[place] for place in range(len(objects))]


def _examiner_fault(value: Any, desk: Desk, fault: Exception) -> Failure:
    _log.error("the examiner failed", member=desk.member.slug, exc_info=fault)
    text = Text(
        "The hub failed to judge this object, and its operators were told. It was not taken in.",
        "El centro no pudo evaluar este objeto y se avisó a sus operadores. No se aceptó.",
    )
    return Failure(*_named(value), "examiner-fault", text)


def _checks(value: Any, desk: Desk) -> Iterator[Examined | Failure | None]:
    """The checks on one object: None after each that it passed, and at last what comes of it."""
    object_id, version = _named(value)
    # 1
    try:
        body = canonical(value)
    except JsonError as error:
        yield Failure(object_id, version, error.code, Text(error.en, error.es), error.pointer)
        return
    if len(body) > desk.settings.object_limit_bytes:
        yield _too_large(object_id, version, body, desk)
        return
    yield None
    # 2
    notes: list[Note] = []
    for level, code, text, place in _findings(value, desk):
        if level == "reject":
            yield Failure(object_id, version, code, text, place, sha256(body).hexdigest())
            return
        notes.append(Note(code, text))
    if object_id in TLP_DEFINITIONS:
        yield Examined(None, object_id, version)  # everybody has them; never stored or sent as new instances
        return
    yield None
    # 3
    obj = StixObject.of(value, body)
    ahead = _future(value, obj, desk)
    if ahead is not None:
        yield ahead
        return
    yield None
    # 4
    try:
        proof = _proof(value, obj, desk)
    except SignatureFault as fault:
        yield _refused(obj, fault.code, Text(fault.en, fault.es), "extensions")
        return
    yield None
    # 5
    hits = _hits(value, desk)
    if hits:
        yield _known_good(obj, hits)
        return
    yield None
    # 6
    yield _labelled(value, obj, proof, tuple(notes[:NOTES_AT_MOST]), desk)


def _named(value: Any) -> tuple[str, str]:
    """What a failure calls the object by, whatever it is."""
    if not isinstance(value, dict):
        return "unknown", UNVERSIONED
    identifier, version = value.get("id"), value.get("modified") or value.get("created")
    return (
        identifier[:ID_CHARACTERS_AT_MOST] if isinstance(identifier, str) else "unknown",
        version[:VERSION_CHARACTERS_AT_MOST] if isinstance(version, str) else UNVERSIONED,
    )


def _findings(value: Any, desk: Desk) -> Iterator[tuple[Level, str, Text, str]]:
    """Level, code, text and field of each; to be asked no further after the first that rejects."""
    for finding in rejections(value):
        yield finding.level, finding.code, Text(finding.en, finding.es), finding.field
    if value["type"] == "indicator" and value["pattern_type"] == "stix":
        for fault in check_pattern(value["pattern"], desk.budget):
            yield fault.level, fault.code, Text(fault.en, fault.es), "pattern"
    for finding in islice(warnings(value), NOTES_AT_MOST):
        yield finding.level, finding.code, Text(finding.en, finding.es), finding.field


def _too_large(object_id: str, version: str, body: bytes, desk: Desk) -> Failure:
    size, limit = len(body), desk.settings.object_limit_bytes
    text = Text(f"The object has {size} bytes; at most {limit} are accepted.", f"El objeto tiene {size} bytes; se aceptan como máximo {limit}.")  # fmt: skip
    return Failure(object_id, version, "object-too-large", text, sha256=sha256(body).hexdigest())


def _refused(obj: StixObject, code: str, text: Text, field: str = "") -> Failure:
    return Failure(obj.id, obj.version, code, text, field, obj.sha256.hex())


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


def _hits(value: dict[str, Any], desk: Desk) -> list[Hit]:
    if value["type"] != "indicator" or value.get("pattern_type") != "stix":
        return []
    return [hit for hit in desk.warninglists.hits(value["pattern"]) if not desk.lets_in(hit)]


def _labelled(
    value: dict[str, Any], obj: StixObject, proof: "_Proof", notes: tuple[Note, ...], desk: Desk
) -> Examined | Failure:
    collection = desk.attestations if value["type"] == ATTESTATION else desk.collection
    judged = desk.labeller.judge(
        value,
        owner=desk.member,
        collection=collection,
        assurance=proof.assurance,
        definitions=desk.definitions,
        claimed=proof.markings,
        feed=proof.feed,
        origin=proof.origin,
    )
    decision = judged.decision
    if decision.effect != "permit":
        text = Text(decision.reason("en"), decision.reason("es"))
        return _refused(obj, "agreement", text, decision.clause)
    new = NewObject(
        object=obj,
        owner=desk.member.slug,
        holder="" if proof.assurance in _BY_ITS_CREATOR and obj.type not in SCO_TYPES else desk.member.slug,
        collection=collection.id,
        label=judged.text,
        country=desk.member.country,
        previous=bytes.fromhex(proof.prev_sha256),
        refs=references(value) if may_refer(value, obj.body) else (),
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
    notes = (CURBED, *notes) if judged.curbed else notes
    return Examined(new, obj.id, obj.version, facts, notes, bool(judged.label.named))


def _known_good(obj: StixObject, hits: list[Hit]) -> Failure:
    held = () if hits[0].action == "refuse" else tuple(hits)
    failure = _refused(obj, HELD if held else "warninglist", _about(hits[0]), "pattern")
    return replace(failure, held=held)


def _about(hit: Hit) -> Text:
    value = hit.value[:200]
    en = f"{value} is on the list of known good values “{hit.list_name}”."
    es = f"{value} está en la lista de valores legítimos conocidos «{hit.list_name}»."
    if hit.action == "hold":
        # A hold is a refusal until somebody releases the value: what is not kept cannot be forgotten either.
        return Text(
            f"{en} Submit the indicator without it. If it must be exchanged all the same, have the hub's operator release"
            " it; until then it is not accepted.",
            f"{es} Envíe el indicador sin él. Si aun así debe intercambiarse, pida que lo libere el operador del centro;"
            " mientras tanto no se acepta.",
        )
    return Text(
        f"{en} It never becomes an indicator: submit the indicator without it.",
        f"{es} Nunca se convierte en indicador: envíe el indicador sin él.",
    )


_BY_ITS_CREATOR = ("originator-signed", "gateway-signed")


class _Proof(NamedTuple):
    assurance: str
    thumbprint: str
    markings: tuple[str, ...] = ()
    attestation: str = ""
    feed: str = ""
    prev_sha256: str = ""
    origin: Origin | None = None


def _proof(value: dict[str, Any], obj: StixObject, desk: Desk) -> _Proof:
    """Who answers for the object. Raises SignatureFault."""
    if value["type"] == NOTICE:
        raise SignatureFault(
            "notice-of-hub",
            "Withdrawal notices are the hub's own; members do not submit them.",
            "Los avisos de retiro son del propio centro; los miembros no los envían.",
        )
    extensions = value.get("extensions")
    if isinstance(extensions, dict) and EXT_SIG in extensions and _is_own(value, desk):
        verified: Verified = verify_object(value, desk.rules.keyring, received=desk.received, body=obj.body)
        if verified.identity_id != desk.member.identity_id:
            raise SignatureFault(
                "signature-submitter",
                "The signature is by another member than the one that submits.",
                "La firma es de un miembro distinto del que envía.",
            )
        if verified.purpose == "gateway":
            return _gateway_proof(value, obj, desk, verified)
        if value["type"] == ATTESTATION and value.get("attestation_type") == GATEWAY_RELEASE:
            raise SignatureFault(
                "attestation-gateway",
                "Only the gateway that the trust list names for its country attests a gateway-release.",
                "Solo la pasarela que la lista de confianza nombra para su país atestigua un gateway-release.",
            )
        return _Proof("originator-signed", verified.thumbprint, prev_sha256=verified.prev_sha256 or "")
    cover = desk.covered.get((obj.id, obj.version))
    foreign = _creator(value) not in desk.rules.by_identity or obj.type in SCO_TYPES
    if cover is None or cover.origin is not None or not foreign:
        raise SignatureFault(
            "signature-missing",
            "The object is neither signed by its creator nor covered by a signed attestation in the same envelope.",
            "El objeto no está firmado por su creador ni cubierto por una atestación firmada en el mismo sobre.",
        )
    _must_name(cover, obj)
    own = obj.type in SCO_TYPES and cover.kind == "covers"
    assurance = "originator-signed" if own else "imported"
    return _Proof(assurance, cover.thumbprint, cover.markings, cover.attestation, cover.feed)


def _gateway_proof(value: dict[str, Any], obj: StixObject, desk: Desk, verified: Verified) -> _Proof:
    """What a national gateway signs stands for somebody: nothing of it counts without saying for whom, as far as agreed.
    Only its own identity and its attestations speak for the gateway itself. Raises SignatureFault."""
    proof = _Proof("gateway-signed", verified.thumbprint, prev_sha256=verified.prev_sha256 or "")
    if value["type"] == ATTESTATION:
        if value.get("attestation_type") == GATEWAY_RELEASE and _origin(value, verified, desk.member) is None:
            raise SignatureFault(
                "attestation-form",
                "The gateway's attestation does not say, in its form, where its objects come from: origin of its own"
                " country, and an origin_commitment for each object.",
                "La atestación de la pasarela no dice en la forma debida de dónde vienen sus objetos: origin de su propio"
                " país y un origin_commitment por objeto.",
            )
        return proof
    if value["id"] == desk.member.identity_id:
        return proof
    cover = desk.covered.get((obj.id, obj.version))
    if cover is None or cover.origin is None:
        raise SignatureFault(
            "attestation-missing",
            "What a national gateway signs must be covered by its gateway-release attestation in the same envelope.",
            "Lo que firma una pasarela nacional debe estar cubierto por su atestación gateway-release en el mismo sobre.",
        )
    _must_name(cover, obj)
    return proof._replace(attestation=cover.attestation, origin=cover.origin)


def _must_name(cover: Coverage, obj: StixObject) -> None:
    if cover.sha256 != obj.sha256.hex():
        raise SignatureFault(
            "attestation-digest",
            "The attestation in this envelope names other bytes for this object.",
            "La atestación de este sobre nombra otros bytes para este objeto.",
        )


def _creator(value: dict[str, Any]) -> str:
    return str(value.get("created_by_ref", "")) or (value["id"] if value["type"] == "identity" else "")


def _is_own(value: dict[str, Any], desk: Desk) -> bool:
    # A third party's object that was signed for another hub comes in as an import, its extension left alone.
    block = value["extensions"][EXT_SIG]
    signer = block.get("signer_ref") if isinstance(block, dict) else None
    return signer in desk.rules.by_identity or _creator(value) in desk.rules.by_identity or not desk.covered
