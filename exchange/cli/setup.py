"""What `puente init` makes: two countries' development PKI, the hub's keys and settings, four witnesses, the first agreement.

A directory holds all of it:

    pki/us  pki/mx  pki/hub     authorities; in production each country keeps its own, offline
    hub/puente.toml             settings; beside it database, keys (0600), anchors, TLS, witness policies
    witness-us-a -us-b -mx-a …  what each country runs: two each, because one that is away would stop both countries' receipts
    members/<slug>/             TLS and signing keys of each member (0600), and its profile, client.toml
"""

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from secrets import token_bytes
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority, Issued, hub_authority, server_certificate
from certs.keys import PrivateKey, load_key, replace_file, save_key, save_secret
from certs.signature import Signer
from certs.trust import TrustList
from exchange.cli import profile
from exchange.clock import Clock
from exchange.errors import Conflict, NotFound
from exchange.governance.approvals import of_agreement, sign
from exchange.ledger.entry import LOGS, national
from exchange.ledger.note import LogKey, new_log_key
from exchange.ledger.publisher import Anchors
from exchange.ledger.witness import Witness
from exchange.model.member import Collection, Country, Member
from exchange.settings import Settings
from exchange.times import as_datetime
from exchange.web.services import Services

OPERATOR = "hub:puente:acct:operator"
"""The actor of what an operator does at the hub's own machine."""

GATEWAY = "gateway"
"""The kind of a member that is its country's gateway: its signing certificate is of the gateway intermediate, and the trust
list names it."""

WITNESSES = ("us-a", "us-b", "mx-a", "mx-b")

NOTICES_NAME = "notices.hub.example"
APPROVERS = 3
THRESHOLD = 2

SAMPLE_MEMBERS: tuple[tuple[str, str, str, str, str, str, str], ...] = (
    ("us-cyber", "US", "agency", "agency csirt", "gov.cyber", "Federal Cyber Center", "Centro Federal de Ciberseguridad"),
    ("us-customs", "US", "agency", "agency", "trade.customs", "Border Trade Service", "Servicio de Comercio Fronterizo"),
    ("us-maritime", "US", "agency", "agency", "trade.port", "Coastal Safety Command", "Comando de Seguridad Costera"),
    ("us-port-gulf", "US", "operator", "operator", "trade.port", "Port of Palmetto Bay", "Puerto de Bahía Palmetto"),
    ("aud-us", "US", "auditor", "auditor", "", "Inspector General (sample)", "Inspector General (muestra)"),
    ("mx-ciber", "MX", "agency", "agency csirt", "gov.cyber", "Cybersecurity Directorate", "Dirección de Ciberseguridad"),
    ("mx-aduanas", "MX", "agency", "agency", "trade.customs", "National Customs Service", "Servicio Nacional de Aduanas"),
    ("mx-marina", "MX", "agency", "agency", "trade.port", "Port Maritime Authority", "Autoridad Marítima Portuaria"),
    ("mx-puerto-pac", "MX", "operator", "operator", "trade.port", "Port of Costa Brava", "Puerto de Costa Brava"),
    ("aud-mx", "MX", "auditor", "auditor", "", "Internal Control Body (sample)", "Órgano Interno de Control (muestra)"),
)  # fmt: skip
"""Fictional names, real roles. No real agency takes part."""

SAMPLE_ADDITIONS = (
    ("us-port-pine", "US", "operator", "operator", "trade.port", "Port of Pine", "Puerto Pine"),
    ("mx-puerto-sur", "MX", "operator", "operator", "trade.port", "Port of Sur Azul", "Puerto Sur Azul"),
    ("us-gateway", "US", GATEWAY, "csirt", "gov.cyber", "National Gateway of the United States", "Pasarela Nacional de Estados Unidos"),
    ("mx-gateway", "MX", GATEWAY, "csirt", "gov.cyber", "National Gateway of Mexico", "Pasarela Nacional de México"),
)  # fmt: skip
"""Added where gateways are tried. They read their own country's originals as its response teams do, and sign what crosses in an
operator's stead; of that it may be told as much as two members share (`anonymity.crowd`), so each country has a second operator."""

SAMPLE_COLLECTIONS: tuple[tuple[str, str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("indicators", "Border indicators", "Signed indicators of both countries' members", ("all",), ("role:agency", "role:csirt", "role:operator")),
    ("vulnerabilities", "Public feeds", "Public material imported with its publisher's name", ("all",), ("role:csirt",)),
    ("us-domestic", "US domestic", "Stays among US members", ("country:US",), ("country:US",)),
    ("mx-domestic", "MX nacional", "Permanece entre miembros mexicanos", ("country:MX",), ("country:MX",)),
    ("attestations", "Attestations", "Who answers for objects that bear no signature", ("role:csirt",), ()),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Home:
    """The directory that `puente init` made."""

    root: Path

    @property
    def settings_file(self) -> Path:
        return self.root / "hub" / "puente.toml"

    @property
    def ca_file(self) -> Path:
        return self.root / "pki" / "hub" / "hub-root.pem"

    @property
    def notice_file(self) -> Path:
        return self.root / "hub" / "keys" / "notice.pem"

    @property
    def notice_certificate(self) -> x509.Certificate:
        """By which the hub signs its notices."""
        return x509.load_pem_x509_certificate(self.notice_file.read_bytes())

    def ca_from(self, directory: Path) -> str:
        """The CA file as a profile in that directory names it."""
        return os.path.relpath(self.ca_file, directory)

    def authority(self, country: str) -> Authority:
        return Authority.load(self.root / "pki" / country.lower())

    def witness(self, name: str) -> Path:
        return self.root / f"witness-{name}"

    def member(self, slug: str) -> Path:
        return self.root / "members" / slug

    def settings(self) -> Settings:
        return Settings.load(self.settings_file)

    def signer(self, slug: str, identity_id: str) -> Signer:
        """A member's signing key, as `add_member` kept it."""
        directory = self.member(slug)
        certificate = x509.load_pem_x509_certificate((directory / "signing.pem").read_bytes())
        return Signer(load_key(directory / "signing.key"), certificate, identity_id)


def create(
    root: Path,
    clock: Clock,
    *,
    ports: tuple[int, int] = (8443, 8444),
    witness_urls: Mapping[str, str] | None = None,
    database: Mapping[str, object] | None = None,
) -> Home:
    """Make everything that must exist before a hub can start. Raises Conflict when it is there already.

    `database` is what the settings shall say of it; nothing for a SQLite file.
    """
    home = Home(root)
    if home.settings_file.exists():
        raise Conflict(f"{root} holds a hub already.", f"{root} ya contiene un centro.", code="exists")
    now = as_datetime(clock.now_us())
    hub = root / "hub"
    for directory in (hub / "keys", hub / "anchors", hub / "tls", hub / "witness-policy"):
        directory.mkdir(parents=True, mode=0o700)
    for country in Country:
        Authority.create(root / "pki" / country.lower(), country, now=now)
    _, issued = server_certificate(
        root / "pki" / "hub", ["localhost", "puente.hub.example", "127.0.0.1", "::1"], now=now
    )
    (hub / "tls" / "server.pem").write_bytes(issued.certificate.public_bytes(Encoding.PEM))
    if issued.key is not None:
        save_key(issued.key, hub / "keys" / "server.key")
    save_secret(token_bytes(32), hub / "keys" / "cursor.key")
    notices = hub_authority(root / "pki" / "hub", now=now).issue_notices(NOTICES_NAME, now=now)
    notices.save(hub / "keys", "notice")
    _make_logs(home)
    lines = [
        f"port = {ports[0]}",
        f"mtls_port = {ports[1]}",
        f'public_url = "https://localhost:{ports[0]}"',
        *(f"{name} = {json.dumps(str(value))}" for name, value in (database or {}).items()),
        "",
        "[witnesses]",
    ]
    witness_urls = witness_urls or {name: f"http://127.0.0.1:{8451 + n}" for n, name in enumerate(WITNESSES)}
    lines += [f'{witness} = "{url}"' for witness, url in witness_urls.items()]
    home.settings_file.write_text("\n".join([*lines, ""]))
    return home


def _make_logs(home: Home) -> None:
    hub = home.root / "hub"
    name = Settings().name
    keys: dict[str, LogKey] = {}
    for log in LOGS:
        keys[log] = new_log_key(f"{name}/audit/{log}")
        save_secret(keys[log].encode().encode() + b"\n", hub / "keys" / f"log-{log}.key")
        Anchors(hub / "anchors").create(log)
    vkeys = {
        name: Witness.create(
            home.witness(name), f"{name}.witness.example", [keys[log].vkey for log in ("both", name[:2])], mirror=True
        )
        for name in WITNESSES
    }
    for log in LOGS:
        (hub / "witness-policy" / log).write_text(witness_policy(log, keys[log].vkey, vkeys))


def witness_policy(log: str, vkey: str, witnesses: Mapping[str, str]) -> str:
    """The C2SP policy of one log: one witness of each country for `both`, one of its own for a country's log."""
    mine = {country: [name for name in witnesses if name.startswith(country.lower())] for country in ("US", "MX")}
    if log != "both":
        mine = {log.upper(): mine[log.upper()]}
    lines = [f"log {vkey}", *(f"witness {name} {witnesses[name]}" for names in mine.values() for name in names)]
    lines += [f"group {country} any {' '.join(names)}" for country, names in mine.items()]
    if log == "both":
        lines.append("group BOTH all US MX")
    return "\n".join([*lines, f"quorum {'BOTH' if log == 'both' else log.upper()}", ""])


def fail_open(policies: Path) -> None:
    """Have release go on without any witness: a choice that is both countries' to make (ledger design, 2.6)."""
    for file in policies.iterdir():
        lines = [line for line in file.read_text().splitlines() if not line.startswith("quorum ")]
        file.write_text("\n".join([*lines, "quorum none", ""]))


async def establish(services: Services, home: Home, agreement: bytes | None = None) -> None:
    """Put the trust list, an agreement (by default the sample) and the sample collections into force, approved by both countries."""
    policies = {log: (services.settings.witness_policy / log).read_bytes() for log in LOGS}
    await services.records.opened(
        OPERATOR,
        {log: (origin, services.publisher.vkeys[log], sha256(policies[log]).hexdigest())
         for log, origin in services.publisher.origins.items()},
    )  # fmt: skip
    now = as_datetime(services.clock.now_us())
    approvers = {country.value: _approvers(home, country.value, now) for country in Country}
    trust = TrustList.draft(
        {country.value: home.authority(country.value) for country in Country},
        {country: [one.certificate for one in issued] for country, issued in approvers.items()},
        version=1, previous=None, issued=now, expires=now + timedelta(days=365), threshold=THRESHOLD,
        hub=(f"identity--{uuid.uuid4()}", [home.notice_certificate]),
    )  # fmt: skip
    for country, issued in approvers.items():
        for one in issued[:THRESHOLD]:
            if one.key is not None:
                trust = trust.approve(country, one.key, one.certificate)
    await services.governance.adopt_trust_list(OPERATOR, trust.encode())
    await adopt(services, agreement or sample_agreement(), approvers)
    for alias, title, description, readers, writers in SAMPLE_COLLECTIONS:
        collection = Collection(str(uuid.uuid4()), alias, title, description, readers, writers)
        await services.governance.put_collection(OPERATOR, collection)


def sample_agreement() -> bytes:
    """The sample agreement of the ten fictional members."""
    return files("policies").joinpath("agreements/us-mx-trade-cyber.toml").read_bytes()


async def adopt(services: Services, document: bytes, approvers: Mapping[str, Sequence[Issued]]) -> None:
    """Put an agreement as a draft and have approvers of both countries sign it."""
    draft = await services.agreements.propose(OPERATOR, document)
    about = of_agreement(draft.agreement, draft.row.impact_sha256)
    approvals = [
        sign(about, decision="approve", key=one.key, certificate=one.certificate).encode()
        for issued in approvers.values()
        for one in issued[:THRESHOLD]
        if one.key is not None
    ]
    await services.agreements.approve(OPERATOR, draft.row.sha256, approvals)


def _approvers(home: Home, country: str, now: datetime) -> list[Issued]:
    authority = home.authority(country)
    issued = [authority.issue("approver", f"appr-{number}", now=now) for number in range(1, APPROVERS + 1)]
    directory = home.root / "pki" / country.lower() / "approvers"
    directory.mkdir(mode=0o700, exist_ok=True)
    for number, one in enumerate(issued, start=1):
        if one.key is not None:
            save_key(one.key, directory / f"appr-{number}.key")
        (directory / f"appr-{number}.pem").write_bytes(one.certificate.public_bytes(Encoding.PEM))
    return issued


def sample_member(slug: str) -> Member:
    """One of the sample members or gateways, with a fresh identity id."""
    for row in (*SAMPLE_MEMBERS, *SAMPLE_ADDITIONS):
        if row[0] == slug:
            _, country, kind, roles, sectors, en, es = row
            identity = f"identity--{uuid.uuid4()}"
            return Member(slug, identity, Country(country), kind, tuple(roles.split()), tuple(sectors.split()), en, es)
    raise NotFound(f"{slug} is no sample member.", f"{slug} no es un miembro de muestra.")


async def add_member(services: Services, home: Home, member: Member, *, tls_days: int = 7) -> None:
    """Enrol a member: its place in the registry, a TLS and a signing certificate of its own country, keys and a profile.

    A gateway comes into the trust list first, by both countries' approvers: their keys must be in the home.
    """
    now = as_datetime(services.clock.now_us())
    if member.kind == GATEWAY:
        await name_gateway(services, home, member)
    await services.governance.put_member(OPERATOR, member)
    directory = home.member(member.slug)
    directory.mkdir(parents=True, mode=0o700, exist_ok=True)
    authority = home.authority(member.country)
    signing = "gateway" if member.kind == GATEWAY else "member-signing"
    for kind, name, days in ((signing, "signing", None), ("member-tls", "tls", tls_days)):
        issued = authority.issue(kind, member.slug, now=now, days=days)
        issued.save(directory, name)
        await enrol(services, member.slug, kind, issued.certificate)
    _hand_policies(services.settings.witness_policy, directory / "policy", member.country)
    public, mtls_port = services.settings.public_url, services.settings.mtls_port
    profile.write(
        directory,
        hub=public,
        mtls_hub=f"https://{urlsplit(public).hostname}:{mtls_port}" if mtls_port else "",
        api_root=services.settings.api_root,
        identity=member.identity_id,
        ca_file=home.ca_from(directory),
    )


def _hand_policies(source: Path, to: Path, country: str) -> None:
    """In production both countries hand these to the member, and the hub has no part in it."""
    to.mkdir(mode=0o700, exist_ok=True)
    for log in ("both", national(country)):
        replace_file(to / log, (source / log).read_bytes())


async def enrol(services: Services, slug: str, kind: str, certificate: x509.Certificate) -> None:
    """Let a member's new certificate count at the hub, for signing or for TLS."""
    if kind == "member-tls":
        await services.governance.enrol_certificate(OPERATOR, slug, certificate)
    else:
        await services.governance.add_signing_cert(OPERATOR, slug, certificate)


async def name_gateway(services: Services, home: Home, member: Member) -> None:
    """Adopt a trust list that names the member as its country's gateway, approved with the keys that `establish` made.

    Raises Conflict when the country has another gateway, NotFound where the approvers keep their keys elsewhere.
    """
    trust = (await services.rulebook.current()).trust
    if trust is None:
        raise NotFound("There is no trust list yet.", "Todavía no hay lista de confianza.", code="no-trust-list")
    named = trust.gateway(member.country)
    if named == member.identity_id:
        return
    if named is not None:
        raise Conflict(
            f"{member.country} has a gateway already: {named}.",
            f"{member.country} ya tiene una pasarela: {named}.",
            code="gateway-exists",
            field="kind",
        )
    countries = {**trust.value["countries"]}
    countries[member.country.value] = {**countries[member.country.value], "gateway": member.identity_id}
    draft = trust.successor(issued=as_datetime(services.clock.now_us()), countries=countries)
    for country in Country:
        for key, certificate in _approver_keys(home, country.value):
            draft = draft.approve(country.value, key, certificate)
    await services.governance.adopt_trust_list(OPERATOR, draft.encode())


def _approver_keys(home: Home, country: str) -> list[tuple[PrivateKey, x509.Certificate]]:
    directory = home.root / "pki" / country.lower() / "approvers"
    found = [
        (load_key(path), x509.load_pem_x509_certificate(path.with_suffix(".pem").read_bytes()))
        for path in sorted(directory.glob("*.key"))[:THRESHOLD]
    ]
    if len(found) < THRESHOLD:
        raise NotFound(
            f"{directory} does not hold the approvers' keys; have them approve a trust list that names the gateway"
            " (puente cert trust-list build --gateway), and adopt it first.",
            f"{directory} no contiene las claves de las personas aprobadoras; pídales aprobar una lista de confianza que"
            " nombre la pasarela (puente cert trust-list build --gateway) y adóptela antes.",
            code="no-approvers",
        )
    return found
