"""What every answer gets last: headers for caches, an entity tag where the answer may be asked for again, compression on demand."""

from hashlib import sha256

from aiohttp import hdrs, web

from exchange.release.packing import packed
from exchange.web.body import close_if_unread
from exchange.web.negotiate import packing
from exchange.web.pieces import Pieces

NO_STORE = "no-store"
REVALIDATE = "private, no-cache"
"""May be kept by who asked, and shown again only after asking whether it still holds."""

_TAG_HEX = 32


def finished(request: web.BaseRequest, response: web.StreamResponse, cache: str) -> web.StreamResponse:
    """The answer as it is sent. `cache` is the Cache-Control of the route; "" for answers without a tag."""
    close_if_unread(request, response)
    if request.version.major != 1:
        response.force_close()
    if isinstance(response, web.Response) and hdrs.ACCEPT_ENCODING in request.headers:
        _pack_on_demand(request, response)
    headers = response.headers
    if cache and response.status == 200:
        headers.setdefault(hdrs.CACHE_CONTROL, cache)
        headers[hdrs.ETAG] = tag = f'"{_digest(response)}"'
        if _is_known(request, tag):
            response = _not_modified(response)
            headers = response.headers
    headers.setdefault(hdrs.CACHE_CONTROL, NO_STORE)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault(hdrs.VARY, hdrs.ACCEPT_ENCODING)
    headers.setdefault(hdrs.SERVER, "puente")
    return response


def _pack_on_demand(request: web.BaseRequest, response: web.Response) -> None:
    """Small answers are sent as they are, unless the client says that it cannot read that."""
    if isinstance(response.body, bytes) and response.body:
        wish = packing(request)
        if wish is not None and wish.demanded:
            response.body = packed(wish.coding, response.body)
            response.headers[hdrs.CONTENT_ENCODING] = wish.coding.value


def _digest(response: web.StreamResponse) -> str:
    digest = sha256()
    for piece in response.pieces if isinstance(response, Pieces) else (_body(response),):
        digest.update(piece)
    return digest.hexdigest()[:_TAG_HEX]


def _body(response: web.StreamResponse) -> bytes:
    body = response.body if isinstance(response, web.Response) else None
    return body if isinstance(body, bytes) else b""


def _is_known(request: web.BaseRequest, tag: str) -> bool:
    """RFC 9110, 13.1.2: the client names the tag, or any; a weak spelling of it counts."""
    return any(f'"{known.value}"' == tag or known.value == "*" for known in request.if_none_match or ())


def _not_modified(response: web.StreamResponse) -> web.Response:
    """RFC 9110, 15.4.5: the same headers, but for what describes the body that is not sent."""
    about_the_body = {hdrs.CONTENT_TYPE, hdrs.CONTENT_LENGTH, hdrs.CONTENT_ENCODING, hdrs.CONTENT_LANGUAGE}
    kept = [(name, value) for name, value in response.headers.items() if name not in about_the_body]
    return web.Response(status=304, headers=kept)
