"""What the certificate commands share: whose certificate it is, which are enrolled, and where its authority lies."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority
from certs.keys import read_certificate, thumbprint
from exchange.cli import setup
from exchange.cli.words import a_folder, option
from exchange.clock import SystemClock
from exchange.errors import Malformed, NotFound
from exchange.model.member import Country
from exchange.rules import Rules
from exchange.store.answers import Registry
from exchange.times import as_datetime
from exchange.web.services import Services

T = TypeVar("T")

a_country = click.Choice([one.value for one in Country])
in_authority = option(
    "--authority", "where", type=a_folder, help="The country's authority. Default: pki/COUNTRY of the home.",
    es="La autoridad del país. Si falta: pki/PAÍS del directorio.",
)  # fmt: skip


def now() -> datetime:
    return as_datetime(SystemClock().now_us())


def asking(question: Callable[[Rules], T]) -> Callable[[Services], Awaitable[T]]:
    """Work for `at_hub` that only looks at the rules in force."""

    async def ask(services: Services) -> T:
        return question(await services.rulebook.current())

    return ask


def names(certificate: x509.Certificate) -> list[str]:
    """Its alternative names."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(one.value) for one in found]


def country_of(certificate: x509.Certificate) -> str:
    """The country it names its holder in, "" when it names none of ours."""
    return next((one.value for one in Country for name in names(certificate) if f".{one.value.lower()}." in name), "")


def day(certificate: x509.Certificate) -> str:
    """When it ends."""
    return certificate.not_valid_after_utc.strftime("%Y-%m-%d %H:%MZ")


def authority(home: Path, country: str, directory: Path | None) -> Authority:
    """A country's authority on this machine. Raises NotFound."""
    where = directory or setup.Home(home).root / "pki" / country.lower()
    if not (where / "index.json").exists():
        raise NotFound(
            f"{where} holds no authority of {country or 'a country of ours'}.",
            f"{where} no contiene una autoridad de {country or 'un país nuestro'}.",
            code="no-authority",
            field="--authority",
        )
    return Authority.load(where)


def enrolled(registry: Registry) -> Iterator[tuple[str, str, x509.Certificate]]:
    """Member, use and certificate of everything that is enrolled."""
    for row in registry.signing:
        yield row.member, "signing", read_certificate(row.certificate)
    for credential in registry.credentials.values():
        if credential.kind == "certificate":
            yield credential.member, "tls", read_certificate(credential.certificate)


def ended(registry: Registry, certificate: x509.Certificate) -> int | None:
    """Since when the hub refuses it, in microseconds."""
    revoked = registry.revoked.get(thumbprint(certificate))
    if revoked is not None:
        return revoked.revoked_us
    der = certificate.public_bytes(Encoding.DER)
    return next((one.ended_us for one in registry.credentials.values() if one.certificate == der), None)


def chosen(registry: Registry, what: str) -> list[x509.Certificate]:
    """The certificate in a file, or a member's that are neither revoked nor over. Raises NotFound."""
    if Path(what).is_file():
        return [read_certificate(Path(what).read_bytes())]
    if what not in registry.members:
        raise NotFound(
            f"{what} is neither a file nor a member.", f"{what} no es un archivo ni un miembro.", field="what"
        )
    moment = now()
    return [
        one
        for slug, _, one in enrolled(registry)
        if slug == what and ended(registry, one) is None and moment < one.not_valid_after_utc
    ]


def sensible(made: Callable[[], T]) -> T:
    """What an authority makes, or its refusal of a name, a lifetime or a profile in words."""
    try:
        return made()
    except ValueError as error:
        raise Malformed(str(error), f"La autoridad no lo emite: {error}", code="certificate-request") from None
