"""From what went wrong to an HTTP answer: the only place that knows which Refusal has which status."""

import uuid
from http import HTTPStatus

import orjson
from aiohttp import hdrs, web

from exchange.errors import (
    Conflict,
    Malformed,
    NotAcceptable,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    NotStix,
    Refusal,
    Text,
    TooFast,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from exchange.web.negotiate import TAXII, language

STATUS: dict[type[Refusal], HTTPStatus] = {
    Malformed: HTTPStatus.BAD_REQUEST,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    NotPermitted: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    NotAcceptable: HTTPStatus.NOT_ACCEPTABLE,
    Conflict: HTTPStatus.CONFLICT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    NotStix: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooFast: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

STATUS_OF_CODE = {"envelope-too-many": HTTPStatus.UNPROCESSABLE_ENTITY}
"""TAXII 2.1, 4.2.1: a body within max_content_length is never answered with 413, however many objects it holds."""

TITLES: dict[HTTPStatus, Text] = {
    HTTPStatus.BAD_REQUEST: Text("The request is malformed", "La solicitud está mal formada"),
    HTTPStatus.UNAUTHORIZED: Text("Authentication is required", "Se requiere autenticación"),
    HTTPStatus.FORBIDDEN: Text("Not permitted", "No permitido"),
    HTTPStatus.NOT_FOUND: Text("Not found", "No encontrado"),
    HTTPStatus.METHOD_NOT_ALLOWED: Text("Method not allowed", "Método no permitido"),
    HTTPStatus.NOT_ACCEPTABLE: Text("Not acceptable", "Formato no aceptable"),
    HTTPStatus.CONFLICT: Text("Conflict", "Conflicto"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Text("The body is too large", "El cuerpo es demasiado grande"),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Text("Unsupported media type", "Tipo de contenido no admitido"),
    HTTPStatus.UNPROCESSABLE_ENTITY: Text("The content cannot be processed", "El contenido no puede procesarse"),
    HTTPStatus.TOO_MANY_REQUESTS: Text("Too many requests", "Demasiadas solicitudes"),
    HTTPStatus.INTERNAL_SERVER_ERROR: Text("Internal error", "Error interno"),
    HTTPStatus.SERVICE_UNAVAILABLE: Text("Unavailable now", "No disponible en este momento"),
}

CHALLENGES = ('Basic realm="puente", charset="UTF-8"', 'Bearer realm="puente"')

FAULT = Text(
    "The hub failed to answer. Quote the error id to its operator.",
    "El sistema no pudo responder. Indique el identificador del error a su operador.",
)
NO_METHOD = Text("This resource does not offer that method.", "Este recurso no ofrece ese método.")


def status_of(refusal: Refusal) -> HTTPStatus:
    """The status of a refusal, or of the nearest kind above it that has one."""
    if refusal.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[refusal.code]
    return next((STATUS[kind] for kind in type(refusal).__mro__ if kind in STATUS), HTTPStatus.BAD_REQUEST)


def problem(
    refusal: Refusal,
    request: web.BaseRequest,
    *,
    media: str = TAXII,
    error_id: str = "",
    retry_after_seconds: int | None = None,
) -> web.Response:
    """The refusal as a TAXII error message (TAXII 2.1, 3.6.1) in the client's language."""
    status = status_of(refusal)
    response = _error(request, status, refusal.code, refusal.text, media=media, field=refusal.field, error_id=error_id)
    retry = getattr(refusal, "retry_after_seconds", retry_after_seconds)
    if retry is not None:
        response.headers[hdrs.RETRY_AFTER] = str(retry)
    if status is HTTPStatus.UNAUTHORIZED:
        for challenge in CHALLENGES:
            response.headers.add(hdrs.WWW_AUTHENTICATE, challenge)
    return response


def fault(request: web.BaseRequest, error_id: str, *, media: str = TAXII) -> web.Response:
    """A 500 that tells nothing but the id under which the log has the rest."""
    return _error(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal", FAULT, media=media, error_id=error_id)


def without_route(request: web.BaseRequest, allowed: str, *, media: str = TAXII) -> web.Response:
    """What is allowed: asked by OPTIONS (RFC 9110, 9.3.7), or told with a 405 to other methods (15.5.6)."""
    if request.method == hdrs.METH_OPTIONS:
        return web.Response(headers={hdrs.CONTENT_TYPE: media, hdrs.ALLOW: allowed})
    response = _error(request, HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", NO_METHOD, media=media)
    response.headers[hdrs.ALLOW] = allowed
    return response


def _error(
    request: web.BaseRequest,
    status: HTTPStatus,
    code: str,
    text: Text,
    *,
    media: str,
    field: str | None = None,
    error_id: str = "",
) -> web.Response:
    spoken = language(request)
    body: dict[str, object] = {
        "title": TITLES[status].in_language(spoken),
        "description": text.in_language(spoken),
        "error_id": error_id or str(uuid.uuid4()),
        "error_code": code,
        "http_status": str(int(status)),
    }
    if field is not None:
        body["details"] = {"field": field}
    headers = {hdrs.CONTENT_TYPE: media, hdrs.CONTENT_LANGUAGE: spoken}
    return web.Response(status=status, body=orjson.dumps(body), headers=headers)


__all__ = ["CHALLENGES", "STATUS", "TITLES", "fault", "language", "problem", "status_of", "without_route"]
