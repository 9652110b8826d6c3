"""JSON bodies of the hub's own API: an object with these members and no others, each fault named."""

from collections.abc import Set
from typing import Any, Final

from certs.jcs import JsonError, load
from exchange.errors import Malformed
from exchange.web.routes import Request

BODY_BYTES_AT_MOST: Final = 500_000


async def read_object(request: Request, names: Set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    """Raises Malformed for what is no object of all `names` and at most the `optional` ones."""
    try:
        value = load(await request.body(), max_bytes=BODY_BYTES_AT_MOST)
    except JsonError as error:
        raise Malformed(error.en, error.es, code=error.code, field=error.pointer or None) from None
    listed = ", ".join(sorted(names))
    if not isinstance(value, dict):
        raise Malformed(
            f"The body is an object of these members: {listed}.",
            f"El cuerpo es un objeto con estos miembros: {listed}.",
            code="body-form",
        )
    odd = sorted(names - value.keys()) or sorted(value.keys() - names - optional)
    if odd:
        raise Malformed(
            f"The body is an object of these members: {listed}. Missing, or not one of them: {odd[0][:64]}.",
            f"El cuerpo es un objeto con estos miembros: {listed}. Falta o sobra: {odd[0][:64]}.",
            code="body-form",
            field=odd[0][:64],
        )
    return dict(value)


def text(value: dict[str, Any], name: str, *, most: int = 1_000) -> str:
    """A member that is a short text. Raises Malformed."""
    found = value[name]
    if not isinstance(found, str) or len(found) > most:
        raise wrong(name, f"a text of at most {most} characters", f"un texto de {most} caracteres como máximo")
    return found


def wrong(name: str, en: str, es: str) -> Malformed:
    return Malformed(f"{name} must be {en}.", f"{name} debe ser {es}.", code="body-form", field=name)
