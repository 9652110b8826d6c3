"""From the bytes of a request to its objects: an envelope, a bundle, or one object. Every limit is refused by name."""

from typing import Any

from certs.jcs import JsonError, load
from exchange.errors import Malformed, NotStix, TooLarge
from exchange.settings import Settings


def objects_in(body: bytes, settings: Settings) -> list[Any]:
    """The values under `objects`, or the one object that the body is.

    A STIX bundle is read as an envelope with properties we do not need (real clients post bundles); it is never stored.
    Raises Malformed for what is not JSON, NotStix for what is not an envelope, TooLarge for too many objects.
    """
    try:
        value = load(body, max_bytes=settings.body_limit_bytes, max_depth=settings.depth_limit)
    except JsonError as error:
        raise Malformed(error.en, error.es, code=error.code, field=error.pointer or None) from None
    if not isinstance(value, dict):
        raise NotStix("The body is not a JSON object.", "El cuerpo no es un objeto JSON.", code="envelope-form")
    if "objects" not in value and isinstance(value.get("type"), str) and value["type"] != "bundle" and "id" in value:
        return [value]
    objects = value.get("objects")
    if not isinstance(objects, list) or not objects:
        raise NotStix(
            "The envelope has no list of objects.",
            "El sobre no tiene una lista de objetos.",
            code="envelope-objects",
            field="objects",
        )
    if len(objects) > settings.envelope_limit_objects:
        raise TooLarge(
            f"The envelope holds {len(objects)} objects; at most {settings.envelope_limit_objects} are accepted at once.",
            f"El sobre contiene {len(objects)} objetos; se aceptan como máximo {settings.envelope_limit_objects} a la vez.",
            code="envelope-too-many",
            field="objects",
        )
    return objects
