"""The hub's API for national gateways: what may be relayed without its sender's name, and disclosures."""

import re
from typing import Final

import orjson
from aiohttp import hdrs, web

from certs.origin import SALT_BYTES
from exchange.api.bodies import read_object, text, wrong
from exchange.model.member import Access
from exchange.relaying import ASKED_AT_MOST, Asked
from exchange.rules import Caller
from exchange.web.evidence import AUDIT_LEAF, audit_leaf
from exchange.web.negotiate import JSON
from exchange.web.routes import Request, Route

REASON_CHARACTERS_AT_MOST: Final = 300
"""An entry is short, and its reason is for both countries to read."""

_HEX: Final = re.compile(r"[0-9a-f]{64}").fullmatch


async def post_judgements(request: Request, caller: Caller) -> web.Response:
    """Of each original named: whether it crosses only without its sender's name, and what may be told of the sender."""
    value = await read_object(request, {"objects"})
    asked = value["objects"]
    if not isinstance(asked, list) or len(asked) > ASKED_AT_MOST:
        raise wrong("objects", f"a list of at most {ASKED_AT_MOST}", f"una lista de {ASKED_AT_MOST} como máximo")
    answer = await request.services.relaying.judge(caller, request.glance, [_asked(one) for one in asked])
    return web.Response(body=orjson.dumps(answer), headers={hdrs.CONTENT_TYPE: JSON})


async def post_disclosure(request: Request, caller: Caller) -> web.Response:
    """Record the disclosure of an original by its own country's gateway, checked against what it attested."""
    names = ("attestation", "object", "version", "salt", "sha256", "reason")
    value = await read_object(request, set(names))
    texts = {name: text(value, name) for name in names}
    for name in ("salt", "sha256"):
        if not _HEX(texts[name]):
            raise wrong(name, f"{SALT_BYTES} bytes in hex", f"{SALT_BYTES} bytes en hexadecimal")
    reason = " ".join(texts["reason"].split())
    if not 0 < len(reason) <= REASON_CHARACTERS_AT_MOST:
        raise wrong(
            "reason",
            f"a sentence of at most {REASON_CHARACTERS_AT_MOST} characters",
            f"una frase de {REASON_CHARACTERS_AT_MOST} caracteres como máximo",
        )
    services = request.services
    leaves = await services.relaying.disclose(
        caller,
        request.glance.rules,
        texts["attestation"],
        texts["object"],
        texts["version"],
        salt=bytes.fromhex(texts["salt"]),
        digest=bytes.fromhex(texts["sha256"]),
        reason=reason,
    )
    origins = services.publisher.origins
    told = [{"log": one.log, "index": one.index, "origin": origins[one.log], "hash": one.hash.hex()} for one in leaves]
    headers = {hdrs.CONTENT_TYPE: JSON, AUDIT_LEAF: audit_leaf(leaves, origins)}
    return web.Response(status=201, body=orjson.dumps({"leaves": told}), headers=headers)


def _asked(value: object) -> Asked:
    if not isinstance(value, dict) or value.keys() != set(Asked._fields):
        raise wrong("objects", "objects of collection, id and version", "objetos con collection, id y version")
    return Asked(**{name: text(value, name) for name in Asked._fields})


ROUTES: tuple[Route, ...] = (
    Route(
        "POST", "/api/v1/gateway/judgements", Access.GATEWAY, post_judgements, answer="Judgements", takes="Judging"
    ),
    Route(
        "POST",
        "/api/v1/gateway/disclosures",
        Access.GATEWAY,
        post_disclosure,
        answer="Disclosed",
        success=201,
        takes="Disclosure",
    ),
)  # fmt: skip
