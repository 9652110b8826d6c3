"""`puente cert trust-list`: the document by which both countries recognise each other, drafted, approved, adopted."""

import uuid
from datetime import timedelta
from pathlib import Path

import click
from cryptography import x509

from certs.authority import Authority
from certs.document import HUB_CERTIFICATES_AT_MOST
from certs.faults import TrustFault
from certs.keys import load_key, read_certificate, replace_file, thumbprint
from certs.path import dns_name
from certs.trust import TrustList
from exchange.cli import setup
from exchange.cli.admin import at_hub
from exchange.cli.holders import a_country, now
from exchange.cli.output import machine, say, table
from exchange.cli.words import a_file, a_folder, argument, as_json, group, in_home, new_file, option
from exchange.errors import Malformed
from exchange.model.member import Country

the_list = argument("file", type=a_file, help="The trust list.", es="La lista de confianza.")
to_file = option("--output", "-o", type=new_file, required=True, help="File to write.", es="Archivo que escribir.")
after = option(
    "--previous", type=a_file, help="The list in force, which this one follows.",
    es="La lista en vigor, a la que esta sigue.",
)  # fmt: skip


@group("trust-list", es="La lista de confianza: cuáles raíces y personas aprobadoras cuentan.")
def trust_list() -> None:
    """The trust list: whose roots and approvers count."""


@trust_list.command(
    "build", es="Redacta una lista, sin aprobar, con las autoridades y personas aprobadoras de ambos países."
)
@in_home
@option("--us", type=a_folder, help="Authority of the US. Default: pki/us.", es="Autoridad de US. Si falta: pki/us.")
@option(
    "--mx", type=a_folder, help="Authority of Mexico. Default: pki/mx.", es="Autoridad de México. Si falta: pki/mx."
)
@option(
    "--approver",
    "approvers",
    type=a_file,
    multiple=True,
    help="Approver's certificate; repeatable. Default: approvers/*.pem of both authorities.",
    es="Certificado de una persona aprobadora; puede repetirse. Si falta: approvers/*.pem de ambas autoridades.",
)
@option(
    "--threshold",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="Approvals each country needs.",
    es="Aprobaciones que cada país necesita.",
)
@option(
    "--days",
    default=365,
    show_default=True,
    type=click.IntRange(1),
    help="How long it counts.",
    es="Cuánto tiempo cuenta.",
)
@option(
    "--gateway",
    "gateways",
    multiple=True,
    help="COUNTRY=IDENTITY of a national gateway; repeatable. Default: those of --previous.",
    es="PAÍS=IDENTIDAD de una pasarela nacional; puede repetirse. Si falta: las de --previous.",
)
@after
@to_file
def build(
    home: Path, us: Path | None, mx: Path | None, approvers: tuple[Path, ...], threshold: int, days: int,
    gateways: tuple[str, ...], previous: Path | None, output: Path,
) -> None:  # fmt: skip
    """Draft a list, unapproved, over both countries' authorities and approvers."""
    pki = setup.Home(home).root / "pki"
    authorities = {
        Country.US.value: Authority.load(us or pki / "us"),
        Country.MX.value: Authority.load(mx or pki / "mx"),
    }
    paths = approvers or [
        path for one in authorities.values() for path in sorted((one.directory / "approvers").glob("*.pem"))
    ]
    people = [read_certificate(path.read_bytes()) for path in paths]
    before = TrustList.parse(previous.read_bytes()) if previous is not None else None
    made = TrustList.draft(
        authorities,
        {country: [one for one in people if f".{country.lower()}." in dns_name(one)] for country in authorities},
        version=before.version + 1 if before else 1,
        previous=before,
        issued=now(),
        expires=now() + timedelta(days=days),
        threshold=threshold,
        gateways=_gateways(gateways, before),
        hub=_hub(setup.Home(home), before),
    )
    replace_file(output, made.encode())
    say(
        f"{output}: version {made.version}, sha256 {made.sha256}. Both countries approve it now.",
        f"{output}: versión {made.version}, sha256 {made.sha256}. Ahora la aprueban ambos países.",
    )


def _hub(home: setup.Home, before: TrustList | None) -> tuple[str, list[x509.Certificate]] | None:
    """The hub as it was, and its newest certificate for notices: the older ones still say whose the older notices are."""
    identity, known = (before.hub() if before is not None else None) or (f"identity--{uuid.uuid4()}", [])
    newest = [home.notice_certificate] if home.notice_file.exists() else []
    certificates = [*known, *(one for one in newest if one not in known)]
    return (identity, certificates[-HUB_CERTIFICATES_AT_MOST:]) if certificates else None


def _gateways(given: tuple[str, ...], before: TrustList | None) -> dict[str, str]:
    found = {one.value: named for one in Country if before is not None and (named := before.gateway(one.value))}
    for text in given:
        country, _, identity = text.partition("=")
        if country not in set(Country):
            raise Malformed(
                f"{text} is not COUNTRY=IDENTITY, such as US=identity--….",
                f"{text} no es PAÍS=IDENTIDAD, como US=identity--….",
                field="--gateway",
            )
        found[country] = identity
    return found


@trust_list.command("sign", es="Añade la aprobación de una persona, sobre la lista entera.")
@the_list
@option("--country", type=a_country, required=True, help="Whose approver signs.", es="De qué país es quien aprueba.")
@option("--key", type=a_file, required=True, help="The approver's key.", es="La clave de quien aprueba.")
@option("--cert", type=a_file, required=True, help="Its certificate.", es="Su certificado.")
def sign(file: Path, country: str, key: Path, cert: Path) -> None:
    """Add one person's approval, over the whole of the list."""
    trust = TrustList.parse(file.read_bytes())
    certificate = read_certificate(cert.read_bytes())
    if certificate not in trust.approvers(country):
        raise TrustFault(
            "approval-unknown",
            f"The list names no such approver of {country}.",
            f"La lista no nombra a esa persona aprobadora de {country}.",
        )
    replace_file(file, trust.approve(country, load_key(key), certificate).encode())
    say(f"Approved sha256 {trust.sha256}.", f"Aprobada sha256 {trust.sha256}.")


@trust_list.command(
    "verify", es="Dice si una lista puede entrar en vigor: orden, fechas, jerarquías y aprobaciones de ambos países."
)
@the_list
@after
@option(
    "--sha256",
    "pinned",
    help="Digest compared by voice, for a later list without its predecessor.",
    es="Huella cotejada de viva voz, para una lista posterior sin su predecesora.",
)
def verify(file: Path, previous: Path | None, pinned: str | None) -> None:
    """Whether a list may come into force: order, dates, hierarchies, and both countries' approvals."""
    trust = TrustList.parse(file.read_bytes())
    before = TrustList.parse(previous.read_bytes()) if previous is not None else None
    trust.verify(before, now=now(), pinned_sha256=pinned)
    say(
        f"Version {trust.version} is good until {trust.document.expires}. sha256 {trust.sha256}",
        f"La versión {trust.version} vale hasta {trust.document.expires}. sha256 {trust.sha256}",
    )


@trust_list.command("show", es="Muestra lo que dice una lista y quiénes la aprobaron.")
@the_list
@as_json
def show(file: Path, as_json: bool) -> None:
    """Show what a list says, and who approved it."""
    trust = TrustList.parse(file.read_bytes())
    approved = {cc.value: trust.approved_by(cc.value) for cc in Country}
    facts = {
        "version": trust.version,
        "sha256": trust.sha256,
        "issued": trust.document.issued,
        "expires": trust.document.expires,
    }
    rows = [
        (cc, thumbprint(one), dns_name(one), "approved" if thumbprint(one) in approved[cc] else "")
        for cc in approved
        for one in trust.approvers(cc)
    ]
    if as_json:
        machine(
            {
                **facts,
                "approvers": [dict(zip(("country", "thumbprint", "name", "state"), row, strict=True)) for row in rows],
            }
        )
        return
    table(("what", "value"), facts.items())
    table(("country", "thumbprint", "name", "state"), rows)


@trust_list.command("adopt", es="Pone en vigor en el centro una lista aprobada por ambos países.")
@in_home
@the_list
def adopt(home: Path, file: Path) -> None:
    """Take a list that both countries approved into force at the hub."""
    trust = at_hub(home, lambda services: services.governance.adopt_trust_list(setup.OPERATOR, file.read_bytes()))
    say(f"Version {trust.version} is in force.", f"La versión {trust.version} está en vigor.")


COMMANDS: tuple[click.Command, ...] = (trust_list,)
