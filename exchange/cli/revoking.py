"""`puente cert revoke` and `crl`: first the hub's registry, where it counts from the next request on; then the country's
own list, where everybody else learns of it."""

from collections.abc import Sequence
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority
from certs.faults import KeyFault
from certs.keys import replace_file, thumbprint
from certs.profiles import INTERMEDIATES
from exchange.cli import setup
from exchange.cli.admin import at_hub
from exchange.cli.holders import a_country, authority, chosen, country_of, enrolled, in_authority, now
from exchange.cli.output import say
from exchange.cli.words import argument, command, in_home, new_folder, option
from exchange.crls import SUFFIX
from exchange.errors import Malformed, NotFound
from exchange.times import as_datetime, parse_us
from exchange.web.services import Services

CRLS = "crls"
"""Where a country keeps its own lists, below its authority's directory."""


@command(
    "revoke",
    es="Revoca un certificado, o todos los de un miembro: en el centro desde la próxima solicitud, y en la CRL.",
)
@in_home
@argument(
    "what",
    help="A PEM file, or a member's slug for all that are live.",
    es="Un archivo PEM, o el nombre corto de un miembro para todos los vigentes.",
)
@option(
    "--reason",
    default="unspecified",
    show_default=True,
    help="RFC 5280 word, e.g. keyCompromise.",
    es="Palabra de RFC 5280, p. ej. keyCompromise.",
)
@option(
    "--compromised-since",
    help="RFC 3339 time: nothing signed that was received since then counts.",
    es="Momento RFC 3339: nada firmado que se recibiera desde entonces cuenta.",
)
@in_authority
def revoke(home: Path, what: str, reason: str, compromised_since: str | None, where: Path | None) -> None:
    """Revoke a certificate, or all of a member: at the hub from its next request on, and in the country's CRL."""
    if reason not in _REASONS:
        raise Malformed(
            f"There is no reason {reason}; there are {', '.join(_REASONS)}.",
            f"No existe el motivo {reason}; existen {', '.join(_REASONS)}.",
            field="--reason",
        )
    since = _moment_us(compromised_since)
    found = at_hub(home, lambda services: _end_all(services, what, reason, since))
    for one in found:
        say(
            f"{thumbprint(one)} is refused from the next request on.",
            f"{thumbprint(one)} se rechaza desde la próxima solicitud.",
        )
    for issuer, intermediates in _indexes(home, found, where, reason, since):
        _write_crls(issuer, issuer.directory / CRLS, sorted(intermediates), hours=24)


_REASONS = [flag.value for flag in x509.ReasonFlags if flag is not x509.ReasonFlags.remove_from_crl]


async def _end_all(services: Services, what: str, reason: str, since: int | None) -> list[x509.Certificate]:
    registry = (await services.rulebook.current()).registry
    found = chosen(registry, what)
    uses = {thumbprint(one): use for _, use, one in enrolled(registry)}
    unknown = [thumbprint(one) for one in found if thumbprint(one) not in uses]
    if unknown:
        raise NotFound(
            f"{unknown[0]} is not enrolled at this hub.",
            f"{unknown[0]} no está inscrito en este centro.",
            code="certificate-unknown",
        )
    for one in found:
        if uses[thumbprint(one)] == "signing":
            await services.governance.revoke_signing_cert(
                setup.OPERATOR, thumbprint(one), reason=reason, compromised_since_us=since
            )
        else:
            account = next(
                c.id for c in registry.credentials.values() if c.certificate == one.public_bytes(Encoding.DER)
            )
            await services.governance.end_credential(setup.OPERATOR, account)
    return found


def _indexes(
    home: Path, found: Sequence[x509.Certificate], where: Path | None, reason: str, since: int | None
) -> list[tuple[Authority, set[str]]]:
    """Mark certificates revoked at their authorities, as far as these are here: the intermediates whose lists are due."""
    due: dict[Path, tuple[Authority, set[str]]] = {}
    compromised = as_datetime(since) if since is not None else None
    for one in found:
        try:
            issuer = authority(home, country_of(one), where)
            issuer.revoke(one, now=now(), reason=reason, compromised_since=compromised)
        except (NotFound, KeyFault) as error:
            text = error.text if isinstance(error, NotFound) else error
            say(
                f"{text.en} Its own country's CRL still has to say so.",
                f"{text.es} Falta que lo diga la CRL de su propio país.",
                err=True,
            )
            continue
        row = next(row for row in issuer.issued() if row["thumbprint"] == thumbprint(one))
        due.setdefault(issuer.directory, (issuer, set()))[1].add(row["intermediate"])
    return list(due.values())


@command("crl", es="Emite de nuevo las listas de revocación de un país. Repítalo antes de que venzan.")
@in_home
@argument("country", type=a_country, help="US or MX.", es="US o MX.")
@in_authority
@option(
    "--output",
    "-o",
    type=new_folder,
    help="Default: crls/ of the authority. The hub's `crls` folder will do.",
    es="Si falta: crls/ de la autoridad. Sirve la carpeta `crls` del centro.",
)
@option(
    "--hours",
    default=24,
    show_default=True,
    type=click.IntRange(1, 24),
    help="How long they count.",
    es="Cuánto tiempo cuentan.",
)
def crl(home: Path, country: str, where: Path | None, output: Path | None, hours: int) -> None:
    """Issue a country's revocation lists anew. Do it again before they run out."""
    found = authority(home, country, where)
    _write_crls(found, output or found.directory / CRLS, list(INTERMEDIATES), hours=hours)


def _write_crls(issuer: Authority, directory: Path, intermediates: Sequence[str], *, hours: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in intermediates:
        made = issuer.crl(name, now=now(), hours=hours)
        path = directory / f"{issuer.country.lower()}-{name}{SUFFIX}"
        replace_file(path, made.public_bytes(Encoding.PEM))
        say(f"{path}: {len(made)} revoked.", f"{path}: {len(made)} revocados.")


def _moment_us(text: str | None) -> int | None:
    try:
        return None if text is None else parse_us(text)
    except ValueError:
        raise Malformed(
            f"{text!r} is not an RFC 3339 time in UTC, such as 2026-11-24T12:00:00Z.",
            f"{text!r} no es una hora RFC 3339 en UTC, como 2026-11-24T12:00:00Z.",
            field="--compromised-since",
        ) from None


COMMANDS: tuple[click.Command, ...] = (revoke, crl)
