"""`puente cert new`, `issue` and `renew`: a country's authority at work. What it makes and why: certs/README.md."""

import functools
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from certs.authority import Authority, Issued, hub_authority
from certs.keys import read_certificate, thumbprint
from certs.profiles import PROFILES
from exchange.cli import setup
from exchange.cli.admin import at_hub
from exchange.cli.holders import a_country, asking, authority, country_of, day, in_authority, now, sensible
from exchange.cli.output import say
from exchange.cli.words import argument, command, in_home, new_folder, of_member, option
from exchange.errors import Conflict, Malformed, NotFound
from exchange.rules import Rules

USES = {"member-signing": "signing", "gateway": "signing", "member-tls": "tls"}
"""The profiles of certificates that are enrolled at a hub, and the name of their files."""

for_days = option(
    "--days", type=click.IntRange(1), help="Default: as its kind of certificate says.",
    es="Si falta: lo que diga su clase de certificado.",
)  # fmt: skip


@command("new", es="Crea la raíz y los intermedios de un país. Se niega si ya los hay.")
@in_home
@argument("country", type=a_country, help="US or MX.", es="US o MX.")
@option(
    "--authority",
    "where",
    type=new_folder,
    help="Where. Default: pki/COUNTRY of the home.",
    es="Dónde. Si falta: pki/PAÍS del directorio.",
)
def create(home: Path, country: str, where: Path | None) -> None:
    """Make a country's root and intermediates. Refuses where there are some already."""
    directory = where or setup.Home(home).root / "pki" / country.lower()
    if (directory / "root.key").exists() or (directory / "root.pem").exists():
        raise Conflict(
            f"{directory} holds an authority already.", f"{directory} ya contiene una autoridad.", code="exists"
        )
    made = Authority.create(directory, country, now=now())
    print_ = made.root.fingerprint(SHA256()).hex(":")
    say(f"{directory}: root, SHA-256 {print_}", f"{directory}: raíz, SHA-256 {print_}")


@command(
    "issue", es="Emite un certificado con clave nueva; con --enrol cuenta en el centro desde la próxima solicitud."
)
@in_home
@argument("profile", type=click.Choice(list(PROFILES)), help="Its kind.", es="Su clase.")
@argument(
    "name",
    help="The holder: a member's slug, an approver.",
    es="El titular: nombre corto de un miembro, persona aprobadora.",
)
@option("--country", type=a_country, help="Needed unless NAME is a member.", es="Necesario si NAME no es un miembro.")
@in_authority
@for_days
@option(
    "--output",
    "-o",
    type=new_folder,
    help="Default: the current directory, or members/NAME with --enrol.",
    es="Si falta: el directorio actual, o members/NAME con --enrol.",
)
@option(
    "--enrol",
    is_flag=True,
    help="Enrol it at the hub for the member NAME.",
    es="Lo inscribe en el centro para el miembro NAME.",
)
def issue(
    home: Path, profile: str, name: str, country: str | None, where: Path | None, days: int | None, output: Path | None,
    enrol: bool,
) -> None:  # fmt: skip
    """Issue a certificate with a fresh key; with --enrol it counts at the hub from the next request on."""
    if enrol and profile not in USES:
        raise Malformed(
            "Only members' certificates are enrolled.", "Solo se inscriben certificados de miembros.", field="--enrol"
        )
    if country is None:
        country = at_hub(home, asking(lambda rules: _country(rules, name)))
    issuer = authority(home, country, where)
    made = sensible(lambda: issuer.issue(profile, name, now=now(), days=days))
    stem = USES[profile] if enrol else name
    directory = output or (setup.Home(home).member(name) if enrol else Path())
    if enrol:
        at_hub(home, lambda services: setup.enrol(services, name, profile, made.certificate))
        _set_aside(directory, stem)
    saved, _ = made.save(directory, stem)
    say(f"{saved}: until {day(made.certificate)}.", f"{saved}: hasta {day(made.certificate)}.")


@command(
    "renew", es="Renueva los certificados de un miembro: claves nuevas, inscritas; los anteriores valen hasta vencer."
)
@in_home
@of_member
@in_authority
@for_days
@option("--only", type=click.Choice(sorted(set(USES.values()))), help="Default: both.", es="Si falta: ambos.")
def renew(home: Path, slug: str, where: Path | None, days: int | None, only: str | None) -> None:
    """Renew a member's certificates: new keys, enrolled at the hub; the old ones count until they expire."""
    directory = setup.Home(home).member(slug)
    for kind, stem in (
        ("member-signing", "signing"),
        ("member-tls", "tls"),
    ):  # an authority keeps to the old one's profile
        if only not in (None, stem):
            continue
        old = read_certificate((directory / f"{stem}.pem").read_bytes())
        made = _renewed(authority(home, country_of(old), where), old, days)
        at_hub(home, functools.partial(setup.enrol, slug=slug, kind=kind, certificate=made.certificate))
        _set_aside(directory, stem)
        saved, _ = made.save(directory, stem)
        say(f"{saved}: until {day(made.certificate)}.", f"{saved}: hasta {day(made.certificate)}.")


@command(
    "notices", es="Da al centro una clave nueva para sus avisos; esperan hasta que una lista de confianza la nombre."
)
@in_home
def notices(home: Path) -> None:
    """Give the hub a new key for its notices; they wait until a trust list names it (`trust-list build`) and the hub is restarted."""
    keys = setup.Home(home).notice_file.parent
    made = hub_authority(setup.Home(home).root / "pki" / "hub", now=now()).issue_notices(setup.NOTICES_NAME, now=now())
    _set_aside(keys, "notice")
    saved, _ = made.save(keys, "notice")
    say(f"{saved}: until {day(made.certificate)}.", f"{saved}: hasta {day(made.certificate)}.")


def _renewed(issuer: Authority, old: x509.Certificate, days: int | None) -> Issued:
    return sensible(lambda: issuer.renew(old, now=now(), days=days))


def _set_aside(directory: Path, stem: str) -> None:
    """Keep the files that a new pair takes the place of, under the old certificate's thumbprint."""
    certificate = directory / f"{stem}.pem"
    if certificate.exists():
        name = thumbprint(read_certificate(certificate.read_bytes()))[:8]
        for path in (directory / f"{stem}.key", certificate):
            path.rename(directory / f"{stem}-{name}{path.suffix}")


def _country(rules: Rules, slug: str) -> str:
    member = rules.registry.members.get(slug)
    if member is None:
        raise NotFound(
            f"{slug} is no member; say its --country.",
            f"{slug} no es un miembro; indique su --country.",
            field="--country",
        )
    return member.country.value


COMMANDS: tuple[click.Command, ...] = (create, issue, renew, notices)
