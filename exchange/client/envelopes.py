"""From a member's objects to the envelopes it posts: what it made is signed, all else is covered by one attestation.

An envelope is made once and then only sent: its bytes can be kept and sent again after a crash, and the hub will know
them for what it already has. Signing the same object anew would be another content under the same version: an alarm.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from certs.jcs import JsonError, canonical
from certs.signature import EXT_SIG, SignatureFault, Signer, attestation
from exchange.errors import NotStix, Text
from exchange.model.stix import SCO_TYPES, UNVERSIONED
from exchange.times import as_millis_text

BATCH_OBJECTS = 1_000
BODY_LIMIT_BYTES = 10_000_000
"""TAXII's max_content_length where the hub does not say another."""

OBJECT_LIMIT_BYTES = 1_000_000
"""The hub's own limit for one object, and so for an attestation."""

_FRAME_BYTES = 4_096
"""The envelope's own brackets, and an attestation without the list of what it covers."""

UNVERSIONED_TYPES = SCO_TYPES | {"marking-definition"}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where third-party objects come from, and the markings the importer claims for those that carry none."""

    source_name: str
    source_url: str
    retrieved_at: str
    object_marking_refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Packed:
    """One object as it lies in an envelope. `sha256` is the hex digest of the canonical form that was packed."""

    id: str
    version: str
    sha256: str
    signed: bool
    """False: it is covered by the envelope's attestation."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an object did not get in: refused by the hub, or not even sent."""

    id: str
    version: str
    code: str
    text: Text
    field: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Bytes to post, what is in them, and what could not be packed."""

    body: bytes = field(repr=False)
    contents: tuple[Packed, ...]
    refused: tuple[Refused, ...] = ()
    attestation: str = ""
    """Its id, "" when every object is signed in itself."""


def version_of(obj: Mapping[str, Any]) -> str:
    """The version by which statuses and attestations name an object (TAXII 2.1, 4.3.1)."""
    version = obj.get("modified") or obj.get("created")
    return version if isinstance(version, str) else UNVERSIONED


def claims(obj: Mapping[str, Any], identity_id: str) -> bool:
    """Whether the member is the creator of the object and so has to sign it itself."""
    kind = obj.get("type")
    if kind in SCO_TYPES:
        return False
    return obj.get("created_by_ref") == identity_id or (kind == "identity" and obj.get("id") == identity_id)


def prepare(obj: Mapping[str, Any], *, now_us: int, identity_id: str = "") -> dict[str, Any]:
    """A copy with what an author may leave out: spec_version, id, created and modified; the creator for what is new.

    Raises NotStix for an object without a type, and for an observable without an id, which is computed of its content.
    """
    kind = obj.get("type")
    if not isinstance(kind, str) or (kind in SCO_TYPES and "id" not in obj):
        raise NotStix(
            "An object needs a type, and an observable its id.",
            "Un objeto necesita un tipo, y un observable su identificador.",
            code="object-incomplete",
            field="type" if not isinstance(kind, str) else "id",
        )
    made = {"spec_version": "2.1", **obj}
    if kind in SCO_TYPES:
        return made
    if "id" not in made:
        made["id"] = f"{kind}--{uuid.uuid4()}"
        if identity_id and kind != "identity":
            made.setdefault("created_by_ref", identity_id)
    made.setdefault("created", as_millis_text(now_us))
    if kind not in UNVERSIONED_TYPES:
        made.setdefault("modified", made["created"])
    return made


def pack(
    objects: Iterable[Mapping[str, Any]],
    signer: Signer | None,
    *,
    now_us: int,
    batch: int = BATCH_OBJECTS,
    body_limit_bytes: int = BODY_LIMIT_BYTES,
    provenance: Provenance | None = None,
    previous: Mapping[str, str] | None = None,
) -> Iterator[Envelope]:
    """Split objects into envelopes of at most `batch` objects and `body_limit_bytes`, made one at a time.

    `previous` names, by object id, the digest of the signed version before (`prev_sha256`). Without a signer nothing is
    signed or covered. An object that must not or cannot be signed is told in its envelope's `refused` and left out.
    """
    desk = _Desk(signer, now_us, provenance, previous or {})
    draft = _Draft()
    for obj in objects:
        try:
            item = desk.item(obj)
        except SignatureFault as fault:
            draft.refused.append(Refused(_id(obj), version_of(obj), fault.code, Text(fault.en, fault.es)))
            continue
        except JsonError as error:
            draft.refused.append(Refused(_id(obj), version_of(obj), error.code, Text(error.en, error.es)))
            continue
        if len(draft.items) >= batch or draft.too_large_with(item, body_limit_bytes):
            yield desk.seal(draft)
            draft = _Draft()
        draft.add(item)
    if draft.items or draft.refused:
        yield desk.seal(draft)


@dataclass(frozen=True, slots=True)
class _Item:
    packed: Packed
    body: bytes
    covered_bytes: int


@dataclass(slots=True)
class _Draft:
    items: list[_Item] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    size: int = _FRAME_BYTES
    covered: int = _FRAME_BYTES

    def too_large_with(self, item: _Item, limit: int) -> bool:
        grown = self.size + len(item.body) + item.covered_bytes + 1
        return bool(self.items) and (grown > limit or self.covered + item.covered_bytes > OBJECT_LIMIT_BYTES)

    def add(self, item: _Item) -> None:
        self.items.append(item)
        self.size += len(item.body) + item.covered_bytes + 1
        self.covered += item.covered_bytes


@dataclass(frozen=True, slots=True)
class _Desk:
    signer: Signer | None
    now_us: int
    provenance: Provenance | None
    previous: Mapping[str, str]

    def item(self, obj: Mapping[str, Any]) -> _Item:
        """Raises SignatureFault or JsonError."""
        value = self._signed(obj)
        signed = self.signer is None or claims(value, self.signer.identity_id)
        body = canonical(dict(value))
        packed = Packed(_id(value), version_of(value), sha256(body).hexdigest(), signed)
        covered = 0 if signed else len(canonical(_cover(packed))) + 1
        return _Item(packed, body, covered)

    def _signed(self, obj: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.signer is None or not claims(obj, self.signer.identity_id):
            return obj
        extensions = obj.get("extensions")
        block = extensions.get(EXT_SIG) if isinstance(extensions, Mapping) else None
        if isinstance(block, Mapping) and block.get("signer_ref") == self.signer.identity_id:
            return obj  # signed before: to sign again would be another content under the same version
        return self.signer.sign(obj, signed_at=_whole_second(self.now_us), prev_sha256=self.previous.get(_id(obj)))

    def seal(self, draft: _Draft) -> Envelope:
        covers = [_cover(item.packed) for item in draft.items if not item.packed.signed]
        parts = [item.body for item in draft.items]
        name = ""
        if covers and self.signer is not None:
            name = f"object-attestation--{uuid.uuid4()}"
            # First: whoever reads the envelope in order knows of each object who answers for it.
            parts.insert(0, canonical(self._attested(self.signer, name, covers)))
        body = b'{"objects":[' + b",".join(parts) + b"]}" if parts else b""
        return Envelope(body, tuple(item.packed for item in draft.items), tuple(draft.refused), name)

    def _attested(self, signer: Signer, name: str, covers: list[dict[str, str]]) -> dict[str, Any]:
        source = self.provenance
        made = attestation(
            id=name,
            created_by_ref=signer.identity_id,
            created=as_millis_text(self.now_us),
            covers=covers,
            attestation_type="covers" if source is None else "imported-from",
            source=None
            if source is None
            else {
                "source_name": source.source_name,
                "source_url": source.source_url,
                "retrieved_at": source.retrieved_at,
            },
            object_marking_refs=() if source is None else source.object_marking_refs,
        )
        return signer.sign(made, signed_at=_whole_second(self.now_us))


def _cover(packed: Packed) -> dict[str, str]:
    return {"id": packed.id, "version": packed.version, "sha256": packed.sha256}


def _id(obj: Mapping[str, Any]) -> str:
    identifier = obj.get("id")
    return identifier if isinstance(identifier, str) else "unknown"


def _whole_second(now_us: int) -> str:
    return as_millis_text(now_us)[:19] + "Z"
