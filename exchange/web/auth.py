"""Who asks: from the Authorization or X-API-Key header, or the TLS client certificate, to the member behind it."""

import contextlib
from base64 import b64decode
from binascii import Error as Base64Error

from aiohttp import hdrs, web

from exchange.errors import NotAuthenticated, NotPermitted
from exchange.governance.credentials import account_in, account_of, authenticate_certificate, authenticate_token
from exchange.model.member import Access, Country, Credential, Member, Status
from exchange.model.product import PLAIN, PRODUCTS
from exchange.rules import Caller, Rules

NOBODY = Caller(Member("", "", Country.US, "", (), (), "", "", Status.WITHDRAWN), "")
"""What handlers of open routes are handed: withdrawn, without a role, in no audience."""

TOKEN_SCHEMES = ("bearer", "token")
"""taxii2-client's TokenAuth and XSOAR say `Token` where RFC 6750 says `Bearer`."""

KEY_HEADER = "X-API-Key"
"""Carries the bare token, for clients that can only send a header of its own (XSOAR's `_header:`, OpenCTI's API key)."""


def identify(request: web.BaseRequest, rules: Rules, now_us: int) -> Caller:
    """The caller. Raises NotAuthenticated without a credential that is valid now.

    On the listener for client certificates the certificate decides; an Authorization header beside it must speak for
    the same member, else one member's proxy could act with another's token.
    """
    der = peer_certificate(request)
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    given = [*given, *(f"Token {key}" for key in request.headers.getall(KEY_HEADER, []))]
    found: tuple[Member, Credential] | None = None
    if given:
        found = authenticate_token(rules, token_in(given), now_us)
        if found is None:
            raise _refused("The credential is not valid.", "La credencial no es válida.", "credential-invalid")
    if der is not None:
        by_token, found = found, authenticate_certificate(rules, der, now_us)
        if by_token is not None and by_token[0].slug != found[0].slug:
            raise _refused(
                "The token belongs to another member than the certificate.",
                "El token pertenece a un miembro distinto del titular del certificado.",
                "credential-mismatch",
            )
    if found is None:
        raise _refused("A credential is required.", "Se requiere una credencial.", "credential-missing")
    member, credential = found
    product = PRODUCTS.get(credential.product, PLAIN)
    return Caller(member, credential.id, request.remote or "", request.headers.get(hdrs.USER_AGENT, ""), product)


def named(request: web.BaseRequest, rules: Rules) -> tuple[Member, Credential] | None:
    """Whose credential it says it is, where it is not valid: good enough for a note, and for nothing else."""
    accounts = []
    for line in request.headers.getall(hdrs.AUTHORIZATION, []):
        with contextlib.suppress(NotAuthenticated):
            accounts.append(account_in(token_in([line])))
    accounts += [account_in(key) for key in request.headers.getall(KEY_HEADER, [])]
    der = peer_certificate(request)
    if der is not None:
        accounts.append(account_of(der))
    found = [rules.registry.credentials[one] for one in accounts if one in rules.registry.credentials]
    return (rules.registry.members[found[0].member], found[0]) if found else None


def peer_certificate(request: web.BaseRequest) -> bytes | None:
    """The client certificate of the connection (DER), None on the listener that asks for none."""
    tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    der: bytes | None = tls.getpeercert(True) if tls is not None else None
    return der or None


def token_in(lines: list[str] | tuple[str, ...]) -> str:
    """The token of an Authorization header: `Bearer` and `Token` carry it, `Basic` has it as password of any user.

    Raises NotAuthenticated for everything else.
    """
    if len(lines) != 1:
        raise _malformed()
    scheme, _, rest = lines[0].strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() in TOKEN_SCHEMES and rest:
        return rest
    if scheme.lower() != "basic":
        raise _malformed()
    try:
        text = b64decode(rest, validate=True).decode("utf-8")
    except (Base64Error, ValueError):
        raise _malformed() from None
    _, colon, password = text.partition(":")
    if not colon:
        raise _malformed()
    return password


def must_be_allowed(allows: Access, member: Member, *, gateway: bool = False) -> None:
    """Raise NotPermitted unless the member is active and of the kind the route is for.

    `gateway`: whether the trust list names it as its country's gateway, whatever the registry calls it.
    """
    if member.status is not Status.ACTIVE:
        raise NotPermitted(
            "Your organisation's membership is not active.",
            "La participación de su organización no está activa.",
            code=f"member-{member.status}",
        )
    if allows is Access.AUDITOR and not member.auditor:
        raise NotPermitted("This is for auditors only.", "Esto es solo para auditores.", code="auditors-only")
    if allows is Access.GATEWAY and not gateway:
        raise NotPermitted(
            "This is for the national gateways only.",
            "Esto es solo para las pasarelas nacionales.",
            code="gateways-only",
        )


def _malformed() -> NotAuthenticated:
    return _refused(
        "The Authorization header cannot be read.",
        "El encabezado Authorization no puede leerse.",
        "credential-malformed",
    )


def _refused(en: str, es: str, code: str) -> NotAuthenticated:
    return NotAuthenticated(en, es, code=code, field="Authorization")
