"""`puente cert inspect`, `list` and `export`: what certificates there are, whose, for what, until when."""

from datetime import datetime, timedelta
from pathlib import Path

import click
from cryptography import x509

from certs.authority import Authority
from certs.keys import pem, read_certificate, replace_file, spki_pin, thumbprint
from certs.path import purposes
from certs.profiles import PROFILES
from exchange.cli import setup
from exchange.cli.admin import at_hub
from exchange.cli.holders import asking, chosen, country_of, day, ended, enrolled, names, now
from exchange.cli.output import listing, machine, say, spoken, table
from exchange.cli.words import argument, as_json, command, in_home, new_folder
from exchange.errors import Text
from exchange.store.answers import Registry
from exchange.times import as_text

RENEW_WITHIN = 3
"""A certificate should be renewed in the last third of its life."""


@command(
    "inspect",
    es="Muestra un certificado, o los de un miembro: a quién nombra, para qué, hasta cuándo, si fue revocado.",
)
@in_home
@argument("what", help="A PEM file, or a member's slug.", es="Un archivo PEM, o el nombre corto de un miembro.")
@as_json
def inspect(home: Path, what: str, as_json: bool) -> None:
    """Show a certificate, or those of a member: whom it names, for what, until when, whether it was revoked."""
    # A file can be looked at anywhere; a member, and whether something was revoked, only where there is a hub.
    registry = at_hub(home, asking(lambda rules: rules.registry)) if _needs_hub(home, what) else None
    found = chosen(registry, what) if registry is not None else [read_certificate(Path(what).read_bytes())]
    told = [_facts(home, registry, one) for one in found]
    if as_json:
        machine(told)
        return
    for number, facts in enumerate(told):
        if number:
            click.echo()
        table(("what", "value"), [(spoken(_FACTS[name]), value or "-") for name, value in facts.items()])


_FACTS = {
    "subject": Text("subject", "sujeto"), "issuer": Text("issuer", "emisor"), "country": Text("country", "país"),
    "purpose": Text("purpose", "fin"), "names": Text("names", "nombres"), "not_before": Text("not before", "desde"),
    "not_after": Text("not after", "hasta"), "thumbprint": Text("thumbprint (x5t#S256)", "huella (x5t#S256)"),
    "spki_sha256": Text("key pin (SPKI SHA-256)", "clave (SPKI SHA-256)"), "revoked": Text("revoked", "revocado"),
}  # fmt: skip


def _needs_hub(home: Path, what: str) -> bool:
    return setup.Home(home).settings_file.exists() or not Path(what).is_file()


def _facts(home: Path, registry: Registry | None, one: x509.Certificate) -> dict[str, str]:
    purpose = next((name for name, kind in PROFILES.items() if purposes(one) == [kind.purpose]), "")
    return {
        "subject": one.subject.rfc4514_string(),
        "issuer": one.issuer.rfc4514_string(),
        "country": country_of(one),
        "purpose": purpose,
        "names": " ".join(names(one)),
        "not_before": one.not_valid_before_utc.isoformat(),
        "not_after": one.not_valid_after_utc.isoformat(),
        "thumbprint": thumbprint(one),
        "spki_sha256": spki_pin(one),
        "revoked": "; ".join(_revoked_by(home, registry, one)),
    }


def _revoked_by(home: Path, registry: Registry | None, one: x509.Certificate) -> list[str]:
    """Where it is known to be revoked: at the hub, and in its own country's index, as far as they are here."""
    found = []
    since = ended(registry, one) if registry is not None else None
    if since is not None:
        found.append(f"hub {as_text(since)[:19]}Z")
    directory = setup.Home(home).root / "pki" / country_of(one).lower()
    if country_of(one) and (directory / "index.json").exists():
        rows = Authority.load(directory).issued()
        found += [f"CRL {row['revoked']['at']} {row['revoked']['reason']}" for row in rows if row["thumbprint"] == thumbprint(one) and "revoked" in row]  # fmt: skip
    return found


@command("list", es="Los certificados inscritos en el centro, y cuáles conviene renovar.")
@in_home
@as_json
def list_certificates(home: Path, as_json: bool) -> None:
    """The certificates enrolled at the hub, and which of them should be renewed."""
    registry = at_hub(home, asking(lambda rules: rules.registry))
    moment, rows = now(), []
    for slug, use, one in enrolled(registry):
        state = _state(one, moment, revoked=ended(registry, one) is not None)
        rows.append((slug, use, day(one), state.en if as_json else spoken(state), thumbprint(one)))
    listing(("member", "use", "expires", "state", "thumbprint"), sorted(rows), as_json=as_json)


def _state(one: x509.Certificate, moment: datetime, *, revoked: bool) -> Text:
    left, life = one.not_valid_after_utc - moment, one.not_valid_after_utc - one.not_valid_before_utc
    if revoked:
        return Text("revoked", "revocado")
    if left <= timedelta(0):
        return Text("expired", "vencido")
    if left < life / RENEW_WITHIN:
        return Text(f"renew: {left.days} days left", f"renovar: quedan {left.days} días")
    return Text("good", "vigente")


@command(
    "export",
    es="Escribe lo público que un receptor necesita para verificar: lista de confianza y certificados de firma.",
)
@in_home
@argument("directory", type=new_folder, help="A folder.", es="Una carpeta.")
def export(home: Path, directory: Path) -> None:
    """Write what a receiver needs to verify, all of it public: the trust list, and signing certificates by identity."""
    rules = at_hub(home, asking(lambda rules: rules))
    directory.mkdir(parents=True, exist_ok=True)
    if rules.registry.trust_list is not None:
        replace_file(directory / "trust-list.json", rules.registry.trust_list.document)
    by_identity: dict[str, list[x509.Certificate]] = {}
    for row in rules.registry.signing:
        identity = rules.registry.members[row.member].identity_id
        by_identity.setdefault(identity, []).append(read_certificate(row.certificate))
    for identity, found in by_identity.items():
        replace_file(directory / f"{identity}.pem", pem(found).encode())
    say(f"{len(by_identity)} members in {directory}.", f"{len(by_identity)} miembros en {directory}.")


COMMANDS: tuple[click.Command, ...] = (inspect, list_certificates, export)
