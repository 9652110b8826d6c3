"""A tearline: what an originator tells more widely of an object that few may have, as an object of its own."""

import uuid
from collections.abc import Mapping
from typing import Any

from certs.jcs import canonical
from certs.signature import EXT_SIG
from exchange.client.envelopes import prepare
from exchange.errors import NotStix


def pair(
    full: Mapping[str, Any], tearline: Mapping[str, Any], *, now_us: int, identity_id: str
) -> list[dict[str, Any]]:
    """The full object, its tearline, and the relationship `derived-from` between them: completed, to be signed each.

    The relationship bears the full object's markings, so that who may have the tearline alone does not learn that there is
    more. Raises NotStix for a tearline of another type or author, without markings of its own, or that names the full
    object.
    """
    whole = prepare(full, now_us=now_us, identity_id=identity_id)
    told = prepare(tearline, now_us=now_us, identity_id=identity_id)
    _must_stand_alone(whole, told)
    marks = [
        *whole.get("object_marking_refs", ()),
        *(one.get("marking_ref") for one in whole.get("granular_markings", ())),
    ]
    link: dict[str, Any] = {
        "type": "relationship",
        "id": f"relationship--{uuid.uuid4()}",
        "created_by_ref": identity_id,
        "relationship_type": "derived-from",
        "source_ref": told["id"],
        "target_ref": whole["id"],
        **({"object_marking_refs": list(dict.fromkeys(mark for mark in marks if mark))} if any(marks) else {}),
    }
    return [whole, told, prepare(link, now_us=now_us)]


def _must_stand_alone(whole: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    if told["type"] != whole["type"]:
        raise _wrong("type", "is of another type than the full object", "es de otro tipo que el objeto completo")
    if told.get("created_by_ref") != whole.get("created_by_ref"):
        raise _wrong("created_by_ref", "is by another author", "es de otro autor")
    if not told.get("object_marking_refs"):
        raise _wrong("object_marking_refs", "has no markings of its own", "no tiene marcados propios")
    if EXT_SIG in told.get("extensions", {}):
        raise _wrong("extensions", "is signed already", "ya está firmado")
    if str(whole["id"])[-36:].encode() in canonical(dict(told)):
        raise _wrong("id", "names the full object", "nombra el objeto completo")


def _wrong(field: str, en: str, es: str) -> NotStix:
    return NotStix(f"The tearline {en}.", f"La versión divulgable {es}.", code="tearline", field=field)
