"""A country's certificate authority in a directory: an offline root, an intermediate for each purpose, CRLs, an index.

For development, tests and the demo. A real country keeps its root on a token in a safe; what the hub needs of it is the same.
"""

import ipaddress
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from certs.jcs import load
from certs.keys import PrivateKey, load_key, new_key, save_key
from certs.profiles import DOMAIN, INTERMEDIATE_DAYS, INTERMEDIATES, PROFILES, ROOT_DAYS, SERVER, SERVER_DAYS


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its private key, unless the key was made elsewhere."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey | None

    def pem(self) -> bytes:
        """The certificate and its chain, leaf first, without the root."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in (self.certificate, *self.chain))


class Authority:
    """One country's hierarchy: `create` it once, `load` it afterwards."""

    def __init__(self, directory: Path, country: str, domain: str) -> None:
        self.directory = directory
        self.country = country
        self.domain = domain

    @classmethod
    def create(cls, directory: Path, country: str, *, now: datetime, domain: str = DOMAIN) -> "Authority":
        """Make root and intermediates. Raises FileExistsError when the directory holds an authority already."""
        directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        authority = cls(directory, country, domain)
        key = new_key()
        root = _certificate(
            _name(country, f"{country} root"), _name(country, f"{country} root"), key.public_key(), key, now=now,
            days=ROOT_DAYS, extensions=_ca_extensions(1, []),
        )  # fmt: skip
        authority._keep("root", root, key)
        for purpose in INTERMEDIATES:
            own = new_key()
            certificate = _certificate(
                _name(country, f"{country} {purpose}"), root.subject, own.public_key(), key, now=now,
                days=INTERMEDIATE_DAYS, extensions=_ca_extensions(0, [f"{country.lower()}.{domain}"]), issuer=root,
            )  # fmt: skip
            authority._keep(purpose, certificate, own)
        _write(directory / "authority.json", {"country": country, "domain": domain, "issued": []})
        return authority

    @classmethod
    def load(cls, directory: Path) -> "Authority":
        about = _read(directory / "authority.json")
        return cls(directory, about["country"], about["domain"])

    @property
    def root(self) -> x509.Certificate:
        return self._certificate("root")

    @property
    def intermediates(self) -> dict[str, x509.Certificate]:
        return {name: self._certificate(name) for name in INTERMEDIATES}

    def issue(
        self,
        profile: str,
        name: str,
        *,
        now: datetime,
        days: int | None = None,
        public_key: ec.EllipticCurvePublicKey | None = None,
    ) -> Issued:
        """A certificate for `<name>.<zone>.<cc>.<domain>`. Without `public_key` a key is made here and returned."""
        kind = PROFILES[profile]
        issuer, issuer_key = self._certificate(kind.intermediate), self._key(kind.intermediate)
        key = None if public_key is not None else new_key()
        public = public_key if public_key is not None else key.public_key() if key else None
        if public is None:
            raise AssertionError("a key was just made")
        host = kind.host(name, self.country, self.domain)
        certificate = _certificate(
            _name(self.country, name), issuer.subject, public, issuer_key, now=now, days=days or kind.days,
            extensions=_leaf_extensions([host], kind.purpose), issuer=issuer,
        )  # fmt: skip
        self._note_issued(profile, name, certificate)
        return Issued(certificate, (issuer,), key)

    def revoke(self, certificate: x509.Certificate, *, now: datetime, reason: str = "unspecified") -> None:
        """Mark a certificate revoked; the next CRL says so. Raises KeyError when it was not issued here."""
        about = _read(self.directory / "authority.json")
        row = next((one for one in about["issued"] if int(one["serial"], 16) == certificate.serial_number), None)
        if row is None:
            raise KeyError("this certificate was not issued here")
        row.setdefault("revoked", {"at": now.isoformat(), "reason": reason})
        _write(self.directory / "authority.json", about)

    def crl(self, intermediate: str, *, now: datetime, hours: int = 24) -> x509.CertificateRevocationList:
        """A fresh CRL of one intermediate, valid for `hours`."""
        issuer = self._certificate(intermediate)
        builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
        builder = builder.last_update(now).next_update(now + timedelta(hours=hours))
        for row in self.issued():
            if row["intermediate"] == intermediate and "revoked" in row:
                revoked = x509.RevokedCertificateBuilder().serial_number(int(row["serial"], 16))
                revoked = revoked.revocation_date(datetime.fromisoformat(row["revoked"]["at"]))
                flag = x509.CRLReason(x509.ReasonFlags(_REASONS.get(row["revoked"]["reason"], "unspecified")))
                builder = builder.add_revoked_certificate(revoked.add_extension(flag, critical=False).build())
        return builder.sign(self._key(intermediate), hashes.SHA256())

    def issued(self) -> list[dict[str, Any]]:
        """The index: profile, name, serial, dates, and revocation if any."""
        rows: list[dict[str, Any]] = _read(self.directory / "authority.json")["issued"]
        return rows

    def _note_issued(self, profile: str, name: str, certificate: x509.Certificate) -> None:
        about = _read(self.directory / "authority.json")
        about["issued"].append(
            {
                "profile": profile,
                "intermediate": PROFILES[profile].intermediate,
                "name": name,
                "serial": f"{certificate.serial_number:x}",
                "not_after": certificate.not_valid_after_utc.isoformat(),
            }
        )
        _write(self.directory / "authority.json", about)

    def _certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.directory / f"{name}.pem").read_bytes())

    def _key(self, name: str) -> PrivateKey:
        return load_key(self.directory / f"{name}.key")

    def _keep(self, name: str, certificate: x509.Certificate, key: PrivateKey) -> None:
        save_key(key, self.directory / f"{name}.key")
        (self.directory / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


_REASONS = {
    "unspecified": "unspecified",
    "key-compromise": "keyCompromise",
    "superseded": "superseded",
    "cessation": "cessationOfOperation",
}


def server_certificate(
    directory: Path, hosts: Sequence[str], *, now: datetime, days: int = SERVER_DAYS
) -> tuple[x509.Certificate, Issued]:
    """The hub's own root (made once in `directory`) and a certificate for its server names and addresses.

    The hub belongs to both countries, so neither country's root vouches for it.
    """
    directory.mkdir(parents=True, mode=0o700, exist_ok=True)
    key_path, root_path = directory / "hub-root.key", directory / "hub-root.pem"
    if not key_path.exists():
        key = new_key()
        name = _name(None, "Puente hub root")
        root = _certificate(
            name, name, key.public_key(), key, now=now, days=ROOT_DAYS, extensions=_ca_extensions(0, [])
        )
        save_key(key, key_path)
        root_path.write_bytes(root.public_bytes(Encoding.PEM))
    root = x509.load_pem_x509_certificate(root_path.read_bytes())
    own = new_key()
    certificate = _certificate(
        _name(None, hosts[0]), root.subject, own.public_key(), load_key(key_path), now=now, days=days,
        extensions=_leaf_extensions(hosts, SERVER), issuer=root,
    )  # fmt: skip
    return root, Issued(certificate, (), own)


# --- building certificates ---

_Extensions = list[tuple[x509.ExtensionType, bool]]


def _name(country: str | None, common: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COUNTRY_NAME, country)] if country else []
    parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Puente"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    return x509.Name(parts)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=ca, crl_sign=ca, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _ca_extensions(path_length: int, permitted: Sequence[str]) -> _Extensions:
    extensions: _Extensions = [(x509.BasicConstraints(ca=True, path_length=path_length), True), (_usage(ca=True), True)]
    if permitted:
        # Binds the country to the root in every TLS library, whatever the hub's registry says.
        names = [x509.DNSName(zone) for zone in permitted]
        extensions.append((x509.NameConstraints(permitted_subtrees=names, excluded_subtrees=None), True))
    return extensions


def _leaf_extensions(hosts: Sequence[str], purpose: ObjectIdentifier) -> _Extensions:
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(ca=False), True),
        (x509.ExtendedKeyUsage([purpose]), False),
        (x509.SubjectAlternativeName([_general_name(host) for host in hosts]), False),
    ]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _certificate(
    subject: x509.Name,
    issuer_name: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer_key: PrivateKey,
    *,
    now: datetime,
    days: int,
    extensions: _Extensions,
    issuer: x509.Certificate | None = None,
) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        issuer_name=issuer_name,
        subject_name=subject,
        public_key=public_key,
        serial_number=x509.random_serial_number(),
        # five minutes back: the first reader's clock may be behind the maker's
        not_valid_before=now - timedelta(minutes=5),
        not_valid_after=now + timedelta(days=days),
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    signer = issuer.public_key() if issuer else public_key
    if not isinstance(signer, ec.EllipticCurvePublicKey):
        raise TypeError("an issuer has a P-256 key")
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _read(path: Path) -> Any:
    return load(path.read_bytes(), max_bytes=50_000_000)


def _write(path: Path, value: Any) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(value, indent=1))
    os.replace(temporary, path)
