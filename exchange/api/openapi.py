"""The OpenAPI 3.1 document of the hub, made from its routes: no route is missing, nothing else is in it."""

import re
from collections.abc import Sequence
from typing import Any

from exchange.api.schemas import SCHEMAS
from exchange.model.member import Access
from exchange.settings import Settings
from exchange.web.auth import KEY_HEADER
from exchange.web.routes import Route

_PARAMETER = re.compile(r"\{([a-z_]+)\*?\}")


def document(routes: Sequence[Route], settings: Settings) -> dict[str, Any]:
    """One operation for each route; its words are the first paragraph of its handler's docstring."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_path(route), {})[route.method.lower()] = operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": settings.title, "version": "1"},
        "servers": [{"url": settings.public_url.rstrip("/")}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Any user name; the API token is the password.",
                },
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
                "certificate": {"type": "mutualTLS"},
            },
        },
    }


def operation(route: Route) -> dict[str, Any]:
    """One route as an OpenAPI operation."""
    found: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": " ".join((route.handler.__doc__ or "").partition("\n\n")[0].split()),
        "responses": {
            str(route.success): {"description": "Done.", "content": {_media(route): {"schema": _schema(route.answer)}}},
            "default": {
                "description": "A TAXII 2.1 error message, in English or Spanish.",
                "content": {route.media: {"schema": _schema("Error")}},
            },
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]
    parameters += [
        {
            "name": one.name,
            "in": "query",
            "required": one.required,
            "description": one.about,
            "schema": {"type": "string"},
        }
        for one in route.query
    ]
    if parameters:
        found["parameters"] = parameters
    if route.takes:
        content = {"application/taxii+json;version=2.1": {"schema": _schema(route.takes)}}
        found["requestBody"] = {"required": True, "content": content}
    if route.allows is not Access.ANYONE:
        found["security"] = [{"basic": []}, {"bearer": []}, {"key": []}, {"certificate": []}]
        found["x-allows"] = route.allows.value
    return found


def _operation_id(route: Route) -> str:
    face = route.path.strip("/").partition("/")[0]
    more = "_of_generation" if "{generation}" in route.path else ""
    return f"{face}_{getattr(route.handler, '__name__', 'handler')}{more}"


def _path(route: Route) -> str:
    return _PARAMETER.sub(r"{\1}", route.path)


def _media(route: Route) -> str:
    return route.media if route.answer else "*/*"


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"} if name else {}
