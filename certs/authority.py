"""A country's certificate authority in a directory: an offline root, an intermediate for each purpose, CRLs, an index.

For development, tests and the demo. In production the root is on a token in a safe and the intermediates in an HSM or a
step-ca (see README.md); what the hub needs of them, certificates and CRLs, is the same.
"""

import fcntl
import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID, ObjectIdentifier

from certs.faults import KeyFault
from certs.jcs import load
from certs.keys import (
    PrivateKey,
    PublicKey,
    load_key,
    new_key,
    p256,
    pem,
    read_certificate,
    replace_file,
    save_key,
    thumbprint,
)
from certs.profiles import (
    DOMAIN,
    INTERMEDIATE_DAYS,
    INTERMEDIATES,
    NOTICE,
    NOTICE_DAYS,
    PROFILES,
    ROOT_DAYS,
    SERVER,
    SERVER_DAYS,
)

ROOT: Final = "root"
HUB_ROOT: Final = "hub-root"

_REASONS: Final = {flag.value: flag for flag in x509.ReasonFlags}
_BACKDATE: Final = timedelta(minutes=5)
"""The first reader's clock may be behind the maker's."""
_INDEX_LIMIT_BYTES: Final = 50_000_000


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, the chain above it without the root, and its private key unless that was made elsewhere."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey | None = field(repr=False)

    def pem(self) -> bytes:
        """Certificate and chain, leaf first, as TLS servers and clients read them."""
        return pem((self.certificate, *self.chain)).encode()

    def save(self, directory: Path, name: str) -> tuple[Path, Path | None]:
        """Write `<name>.pem` (certificate and chain) and, when the key was made here, `<name>.key` (mode 0600)."""
        directory.mkdir(parents=True, exist_ok=True)
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key" if self.key is not None else None
        if self.key is not None and key is not None:
            save_key(self.key, key)
        replace_file(certificate, self.pem())
        return certificate, key


class Authority:
    """One country's hierarchy: `create` it once, `load` it afterwards. Every time is given by the caller."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        index = self._read()
        self.country: str = index["country"]
        self.domain: str = index["domain"]

    @classmethod
    def create(cls, directory: Path, country: str, *, now: datetime, domain: str = DOMAIN) -> "Authority":
        """Make a root and its intermediates. Raises FileExistsError when the directory holds an authority already.

        Every authority certificate may certify names below `<cc>.<domain>` only (a critical name constraint), and every
        intermediate one purpose only, whatever the hub's registry says of it later.
        """
        directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        zone = f"{country.lower()}.{domain}"
        key = new_key()
        root = _Draft(_name(country, f"{country} root"), now, ROOT_DAYS, _ca_extensions(1, zone)).signed(key)
        _keep(directory, ROOT, root, key)
        for name, purpose in INTERMEDIATES.items():
            own = new_key()
            extensions = [*_ca_extensions(0, zone), (x509.ExtendedKeyUsage([purpose]), False)]
            draft = _Draft(_name(country, f"{country} {name}"), now, INTERMEDIATE_DAYS, extensions)
            _keep(directory, name, draft.signed(key, own.public_key(), root), own)
        empty = {"country": country, "domain": domain, "crl_numbers": {}, "issued": []}
        replace_file(directory / "index.json", orjson.dumps(empty, option=orjson.OPT_INDENT_2))
        return cls(directory)

    @classmethod
    def load(cls, directory: Path) -> "Authority":
        """Raises FileNotFoundError when there is none."""
        return cls(directory)

    @property
    def root(self) -> x509.Certificate:
        return _certificate(self.directory, ROOT)

    @property
    def intermediates(self) -> dict[str, x509.Certificate]:
        """By name: members-tls, members-signing, gateway, approvers."""
        return {name: _certificate(self.directory, name) for name in INTERMEDIATES}

    # --- issuing ---

    def issue(
        self,
        profile: str,
        name: str,
        *,
        now: datetime,
        days: int | None = None,
        public_key: PublicKey | None = None,
    ) -> Issued:
        """A certificate for the holder `name`, e.g. `us-cyber.members.us.hub.example`.

        Without `public_key` a key is made here and returned. Raises ValueError for an unknown profile, a name that is
        no DNS label, or more days than the profile allows.
        """
        kind = PROFILES.get(profile)
        if kind is None:
            raise ValueError(f"no such profile: {profile}; there are {', '.join(PROFILES)}")
        lifetime = kind.days if days is None else days
        if not 0 < lifetime <= kind.max_days:
            raise ValueError(f"{profile} certificates live 1 to {kind.max_days} days")
        if not _is_label(name):
            raise ValueError(f"{name!r} is not a DNS label in lower case")
        issuer = _certificate(self.directory, kind.intermediate)
        host = kind.host(name, self.country, self.domain)
        draft = _Draft(_name(self.country, name), now, lifetime, _leaf_extensions([host], kind.purpose))
        key = new_key() if public_key is None else None
        certificate = draft.signed(
            load_key(self.directory / f"{kind.intermediate}.key"), _public(key, public_key), issuer
        )
        with self._changing() as index:
            index["issued"].append(
                {
                    "serial": f"{certificate.serial_number:x}",
                    "profile": profile,
                    "intermediate": kind.intermediate,
                    "name": name,
                    "thumbprint": thumbprint(certificate),
                    "not_before": _text(certificate.not_valid_before_utc),
                    "not_after": _text(certificate.not_valid_after_utc),
                }
            )
        return Issued(certificate, (issuer,), key)

    def renew(
        self,
        certificate: x509.Certificate | int,
        *,
        now: datetime,
        days: int | None = None,
        public_key: PublicKey | None = None,
    ) -> Issued:
        """A new certificate for the same holder and profile. Raises KeyFault for one unknown here or revoked."""
        row = _row(self._read(), certificate)
        if "revoked" in row:
            raise KeyFault(
                "certificate-revoked",
                "A revoked certificate is not renewed; issue a new one.",
                "Un certificado revocado no se renueva; emita uno nuevo.",
            )
        return self.issue(row["profile"], row["name"], now=now, days=days, public_key=public_key)

    def issued(self) -> list[dict[str, Any]]:
        """The index, oldest first: serial (hex), profile, intermediate, name, thumbprint, dates, perhaps `revoked`."""
        rows: list[dict[str, Any]] = self._read()["issued"]
        return rows

    # --- revoking ---

    def revoke(
        self,
        certificate: x509.Certificate | int,
        *,
        now: datetime,
        reason: str = "unspecified",
        compromised_since: datetime | None = None,
    ) -> None:
        """Mark a certificate (or serial number) revoked; CRLs made from now on say so. The first revocation stands.

        `reason` is an RFC 5280 word (`keyCompromise`, `superseded`, `cessationOfOperation` …). `compromised_since`
        becomes the invalidity date: nothing received since then counts. Raises KeyFault for a certificate unknown here.
        """
        if reason not in _REASONS or reason == "removeFromCRL":
            raise ValueError(f"no such reason: {reason}; there are {', '.join(_REASONS)}")
        with self._changing() as index:
            revoked = {"at": _text(now), "reason": reason}
            if compromised_since is not None:
                revoked["compromised_since"] = _text(compromised_since)
            _row(index, certificate).setdefault("revoked", revoked)

    def crl(self, intermediate: str, *, now: datetime, hours: int = 24) -> x509.CertificateRevocationList:
        """A fresh, numbered CRL of one intermediate, valid for `hours`; readers should accept no more than a day."""
        issuer = _certificate(self.directory, intermediate)
        with self._changing() as index:
            number = index["crl_numbers"][intermediate] = index["crl_numbers"].get(intermediate, 0) + 1
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(now)
            .next_update(now + timedelta(hours=hours))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(_authority_key(p256(issuer)), critical=False)
        )
        for row in index["issued"]:
            if row["intermediate"] == intermediate and "revoked" in row:
                builder = builder.add_revoked_certificate(_revoked(row))
        return builder.sign(load_key(self.directory / f"{intermediate}.key"), SHA256())

    def crls(self, *, now: datetime, hours: int = 24) -> list[x509.CertificateRevocationList]:
        """A fresh CRL of every intermediate."""
        return [self.crl(name, now=now, hours=hours) for name in INTERMEDIATES]

    # --- the index ---

    def _read(self) -> Any:
        return load((self.directory / "index.json").read_bytes(), max_bytes=_INDEX_LIMIT_BYTES)

    @contextmanager
    def _changing(self) -> Iterator[Any]:
        # Two commands at once must not lose each other's revocation. A crash before the last line changes nothing.
        with (self.directory / "index.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            index = self._read()
            yield index
            replace_file(self.directory / "index.json", orjson.dumps(index, option=orjson.OPT_INDENT_2))


class HubAuthority:
    """The hub's own root: it vouches for server names of the hub and the witnesses, and for no member."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = _certificate(directory, HUB_ROOT)

    def issue(
        self, hosts: Sequence[str], *, now: datetime, days: int = SERVER_DAYS, public_key: PublicKey | None = None
    ) -> Issued:
        """A server certificate for DNS names and IP addresses, the most important first; at most 90 days."""
        if not hosts or not 0 < days <= SERVER_DAYS:
            raise ValueError(f"a server certificate needs a name and lives 1 to {SERVER_DAYS} days")
        return self._issue(hosts, SERVER, now, days, public_key)

    def issue_notices(self, name: str, *, now: datetime) -> Issued:
        """A certificate by which the hub signs its notices. It counts where the trust list names it."""
        return self._issue([name], NOTICE, now, NOTICE_DAYS, None)

    def _issue(
        self,
        hosts: Sequence[str],
        purpose: x509.ObjectIdentifier,
        now: datetime,
        days: int,
        public_key: PublicKey | None,
    ) -> Issued:
        draft = _Draft(_name(None, hosts[0]), now, days, _leaf_extensions(hosts, purpose))
        key = new_key() if public_key is None else None
        signed = draft.signed(load_key(self.directory / f"{HUB_ROOT}.key"), _public(key, public_key), self.root)
        return Issued(signed, (), key)


def hub_authority(directory: Path, *, now: datetime) -> HubAuthority:
    """The hub's authority in a directory, made on first use."""
    if not (directory / f"{HUB_ROOT}.pem").exists():
        directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        key = new_key()
        draft = _Draft(_name(None, "Puente hub root"), now, ROOT_DAYS, _ca_extensions(0, None))
        _keep(directory, HUB_ROOT, draft.signed(key), key)
    return HubAuthority(directory)


def server_certificate(
    directory: Path, hosts: Sequence[str], *, now: datetime, days: int = SERVER_DAYS
) -> tuple[x509.Certificate, Issued]:
    """The hub's root and a fresh server certificate by it, in one go."""
    authority = hub_authority(directory, now=now)
    return authority.root, authority.issue(hosts, now=now, days=days)


# --- building certificates ---

_Extensions = list[tuple[x509.ExtensionType, bool]]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A certificate before anybody signs it; extensions come with whether they are critical."""

    subject: x509.Name
    now: datetime
    days: int
    extensions: _Extensions

    def signed(
        self, key: PrivateKey, public_key: PublicKey | None = None, issuer: x509.Certificate | None = None
    ) -> x509.Certificate:
        """Signed by `issuer`'s key, or by its own. Its dates never leave the issuer's."""
        public = key.public_key() if public_key is None else public_key
        begin, end = self.now - _BACKDATE, self.now + timedelta(days=self.days)
        if issuer is not None:
            begin, end = max(begin, issuer.not_valid_before_utc), min(end, issuer.not_valid_after_utc)
        builder = x509.CertificateBuilder(
            issuer_name=self.subject if issuer is None else issuer.subject,
            subject_name=self.subject,
            public_key=public,
            serial_number=x509.random_serial_number(),
            not_valid_before=begin,
            not_valid_after=end,
        )
        above = public if issuer is None else p256(issuer)
        for extension, critical in (
            *self.extensions,
            (x509.SubjectKeyIdentifier.from_public_key(public), False),
            (_authority_key(above), False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(key, SHA256())


def _ca_extensions(path_length: int, zone: str | None) -> _Extensions:
    extensions: _Extensions = [(x509.BasicConstraints(ca=True, path_length=path_length), True), (_usage(ca=True), True)]
    if zone is not None:
        constraints = x509.NameConstraints(permitted_subtrees=[x509.DNSName(zone)], excluded_subtrees=None)
        extensions.append((constraints, True))
    return extensions


def _leaf_extensions(hosts: Sequence[str], purpose: ObjectIdentifier) -> _Extensions:
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(ca=False), True),
        (x509.ExtendedKeyUsage([purpose]), False),
        (x509.SubjectAlternativeName([_general_name(host) for host in hosts]), False),
    ]


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key(key: PublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _revoked(row: dict[str, Any]) -> x509.RevokedCertificate:
    about = row["revoked"]
    builder = x509.RevokedCertificateBuilder().serial_number(int(row["serial"], 16)).revocation_date(_time(about["at"]))
    if about["reason"] != "unspecified":  # RFC 5280, 5.3.1: that one is said by leaving it out
        builder = builder.add_extension(x509.CRLReason(_REASONS[about["reason"]]), critical=False)
    if "compromised_since" in about:
        builder = builder.add_extension(x509.InvalidityDate(_time(about["compromised_since"])), critical=False)
    return builder.build()


def _row(index: Any, certificate: x509.Certificate | int) -> dict[str, Any]:
    serial = certificate if isinstance(certificate, int) else certificate.serial_number
    for row in index["issued"]:
        if int(row["serial"], 16) == serial:
            found: dict[str, Any] = row
            return found
    raise KeyFault(
        "certificate-unknown", "This certificate was not issued here.", "Este certificado no fue emitido aquí."
    )


def _name(country: str | None, common: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COUNTRY_NAME, country)] if country else []
    parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Puente"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    return x509.Name(parts)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _is_label(name: str) -> bool:
    return (
        0 < len(name) <= 63
        and name.isascii()
        and name.replace("-", "").isalnum()
        and name == name.lower()
        and not name.startswith("-")
        and not name.endswith("-")
    )


def _public(key: PrivateKey | None, given: PublicKey | None) -> PublicKey:
    if given is not None:
        return given
    if key is None:
        raise ValueError("a certificate needs a key")
    return key.public_key()


def _certificate(directory: Path, name: str) -> x509.Certificate:
    return read_certificate((directory / f"{name}.pem").read_bytes())


def _keep(directory: Path, name: str, certificate: x509.Certificate, key: PrivateKey) -> None:
    save_key(key, directory / f"{name}.key")  # first: it raises when there is one already
    replace_file(directory / f"{name}.pem", pem([certificate]).encode())


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
