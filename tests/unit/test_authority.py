"""A country's authority: keys as private files, profiles, paths bound to a country, revocation that fails closed."""

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from certs.authority import Authority, Issued, hub_authority, server_certificate
from certs.faults import KeyFault, PathFault
from certs.keys import (
    PrivateKey,
    der,
    load_key,
    load_secret,
    new_key,
    pem,
    read_certificate,
    read_pem,
    save_key,
    save_secret,
    spki_pin,
    thumbprint,
)
from certs.path import _CA, _LEAF, Revocation, Revocations, check_path, country_zone, dns_name, purposes
from certs.profiles import APPROVAL, CLIENT, GATEWAY, INTERMEDIATES, PROFILES, SERVER, SIGNING
from tests.pki import NOW


@pytest.fixture(scope="module")
def us(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("us"), "US", now=NOW)


@pytest.fixture(scope="module")
def mx(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("mx"), "MX", now=NOW)


# --- keys ---


def test_keys_are_private_files_from_the_start(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        key = new_key()
        save_key(key, tmp_path / "a.key")
        save_secret(b"secret", tmp_path / "b.key")
    finally:
        os.umask(previous)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert load_key(tmp_path / "a.key").private_numbers() == key.private_numbers()
    assert load_secret(tmp_path / "b.key") == b"secret"


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    save_key(new_key(), tmp_path / "a.key")
    before = (tmp_path / "a.key").read_bytes()
    with pytest.raises(FileExistsError):
        save_key(new_key(), tmp_path / "a.key")
    assert (tmp_path / "a.key").read_bytes() == before
    (tmp_path / "link.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        save_key(new_key(), tmp_path / "link.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o644, 0o777])
def test_keys_that_others_can_touch_are_refused(tmp_path: Path, mode: int) -> None:
    save_key(new_key(), tmp_path / "a.key")
    (tmp_path / "a.key").chmod(mode)
    for read in (load_key, load_secret):
        with pytest.raises(KeyFault, match="key-mode"):
            read(tmp_path / "a.key")


@pytest.mark.parametrize(
    "other",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["ed25519", "p384", "rsa"],
)
def test_other_kinds_of_key_are_refused(
    tmp_path: Path, other: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> None:
    save_secret(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), tmp_path / "a.key")
    with pytest.raises(KeyFault, match="key-form"):
        load_key(tmp_path / "a.key")
    save_secret(b"no key", tmp_path / "b.key")
    with pytest.raises(KeyFault, match="key-form"):
        load_key(tmp_path / "b.key")


def test_every_private_key_of_an_authority_is_private(us: Authority) -> None:
    keys = list(us.directory.glob("*.key"))
    assert len(keys) == 1 + len(INTERMEDIATES)
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}


def test_fingerprints(us: Authority) -> None:
    issued = us.issue("member-tls", "us-cyber", now=NOW)
    assert issued.key is not None
    renewed = us.renew(issued.certificate, now=NOW, public_key=issued.key.public_key())
    assert len(thumbprint(issued.certificate)) == 43
    assert thumbprint(issued.certificate) != thumbprint(renewed.certificate)
    assert spki_pin(issued.certificate) == spki_pin(renewed.certificate)


def test_certificates_read_as_pem_and_der(us: Authority, tmp_path: Path) -> None:
    issued = us.issue("member-tls", "us-cyber", now=NOW)
    path, key = issued.save(tmp_path, "tls")
    assert read_pem(path) == [issued.certificate, *issued.chain]
    assert key is not None
    assert load_key(key).public_key() == issued.certificate.public_key()
    assert read_certificate(der(issued.certificate)) == issued.certificate
    assert read_certificate(pem([issued.certificate])) == issued.certificate
    for junk in (b"", b"junk", b"-----BEGIN CERTIFICATE-----", der(issued.certificate)[:-1], "é"):
        with pytest.raises(KeyFault, match="certificate-form"):
            read_certificate(junk)


# --- profiles ---


@pytest.mark.parametrize(
    ("profile", "purpose", "host", "days"),
    [
        ("member-tls", CLIENT, "x-1.members.us.hub.example", 7),
        ("member-signing", SIGNING, "x-1.members.us.hub.example", 90),
        ("gateway", GATEWAY, "x-1.us.hub.example", 90),
        ("approver", APPROVAL, "x-1.approvers.us.hub.example", 365),
    ],
)
def test_profiles(us: Authority, profile: str, purpose: x509.ObjectIdentifier, host: str, days: int) -> None:
    issued = us.issue(profile, "x-1", now=NOW)
    one = issued.certificate
    assert (purposes(one), dns_name(one)) == ([purpose], host)
    assert one.not_valid_after_utc - NOW == timedelta(days=days)
    issuer = check_path(one, list(us.intermediates.values()), us.root, purpose=purpose, at=NOW)
    assert issuer == us.intermediates[PROFILES[profile].intermediate] == issued.chain[0]
    for other in {CLIENT, SIGNING, GATEWAY, APPROVAL} - {purpose}:
        with pytest.raises(PathFault, match="purpose"):
            check_path(one, list(us.intermediates.values()), us.root, purpose=other, at=NOW)


def test_our_own_purposes_are_apart_and_under_a_uuid_arc() -> None:
    own = {SIGNING.dotted_string, GATEWAY.dotted_string, APPROVAL.dotted_string}
    assert len(own) == 3
    assert all(text.startswith("2.25.") for text in own)


def test_every_authority_certificate_is_bound_to_its_country(us: Authority, mx: Authority) -> None:
    for authority, zone in ((us, "us.hub.example"), (mx, "mx.hub.example")):
        for one in (authority.root, *authority.intermediates.values()):
            assert country_zone(one) == zone
            assert one.extensions.get_extension_for_class(x509.NameConstraints).critical
    for name, purpose in INTERMEDIATES.items():
        assert purposes(us.intermediates[name]) == [purpose]


@pytest.mark.parametrize("name", ["", "Upper", "a.b", "-a", "a-", "é", "a b", "x" * 64, "*"])
def test_names_that_are_no_label(us: Authority, name: str) -> None:
    with pytest.raises(ValueError, match="label"):
        us.issue("member-tls", name, now=NOW)


def test_lifetimes_have_a_limit(us: Authority) -> None:
    assert us.issue("member-tls", "a", now=NOW, days=366)
    for days in (0, -1, 367):
        with pytest.raises(ValueError, match="live"):
            us.issue("member-tls", "a", now=NOW, days=days)
    with pytest.raises(ValueError, match="no such profile"):
        us.issue("server", "a", now=NOW)


def test_a_certificate_does_not_outlive_its_issuer(us: Authority) -> None:
    late = NOW + timedelta(days=1000)
    one = us.issue("approver", "a", now=late).certificate
    assert one.not_valid_after_utc == us.intermediates["approvers"].not_valid_after_utc < late + timedelta(days=365)


def test_a_key_made_elsewhere_stays_there(us: Authority) -> None:
    key = new_key()
    issued = us.issue("member-signing", "a", now=NOW, public_key=key.public_key())
    assert issued.key is None
    assert issued.certificate.public_key() == key.public_key()


def test_an_authority_is_made_once_and_loaded_again(us: Authority, tmp_path: Path) -> None:
    again = Authority.load(us.directory)
    assert (again.country, again.domain, again.root) == ("US", "hub.example", us.root)
    with pytest.raises(FileExistsError):
        Authority.create(us.directory, "US", now=NOW)
    with pytest.raises(FileNotFoundError):
        Authority.load(tmp_path)
    assert Authority.load(us.directory).root == us.root


# --- the path ---


def issue_by(
    key: PrivateKey, issuer: x509.Certificate, sans: list[x509.GeneralName], purpose: x509.ObjectIdentifier
) -> x509.Certificate:
    """What an authority's key could sign if its holder wanted to."""
    public = new_key().public_key()
    builder = x509.CertificateBuilder(
        issuer_name=issuer.subject,
        subject_name=x509.Name([]),
        public_key=public,
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW,
        not_valid_after=NOW + timedelta(days=1),
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    own = issuer.public_key()
    assert isinstance(own, ec.EllipticCurvePublicKey)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own), critical=False)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=True)
    return builder.sign(key, SHA256())


US_NAME = "us-cyber.members.us.hub.example"


def fault(leaf: x509.Certificate, authority: Authority, purpose: x509.ObjectIdentifier, at: datetime = NOW) -> str:
    with pytest.raises(PathFault) as caught:
        check_path(leaf, list(authority.intermediates.values()), authority.root, purpose=purpose, at=at)
    return caught.value.code


def test_a_country_cannot_certify_names_of_the_other(us: Authority, mx: Authority) -> None:
    """Trap 12: signed by Mexico's own intermediate, naming a US member. Neither root's path holds."""
    key = load_key(mx.directory / "members-signing.key")
    rogue = issue_by(key, mx.intermediates["members-signing"], [x509.DNSName(US_NAME)], SIGNING)
    assert fault(rogue, mx, SIGNING) == "wrong-country"
    assert fault(rogue, us, SIGNING) == "untrusted"


@pytest.mark.parametrize(
    "sans",
    [
        [],
        [x509.UniformResourceIdentifier(f"https://{US_NAME}/")],
        [x509.RFC822Name(f"a@{US_NAME}")],
        [x509.DNSName("x.members.mx.hub.example"), x509.DNSName(US_NAME)],
        [x509.DNSName("x.members.mx.hub.example"), x509.UniformResourceIdentifier("https://x")],
        [x509.DNSName("mx.hub.example")],
        [x509.DNSName("x.notmx.hub.example")],
        [x509.DNSName("x.mx.hub.example.evil")],
    ],
    ids=["none", "uri", "mail", "two", "mixed", "zone-itself", "suffix", "longer"],
)
def test_a_name_that_a_constraint_cannot_bite_on_is_refused(mx: Authority, sans: list[x509.GeneralName]) -> None:
    """Name constraints bind only the kinds of name they list, so there must be exactly one, and of that kind."""
    key = load_key(mx.directory / "members-signing.key")
    assert fault(issue_by(key, mx.intermediates["members-signing"], sans, SIGNING), mx, SIGNING) == "wrong-country"


def test_the_librarys_name_constraints_hold_without_our_own_check(mx: Authority) -> None:
    key = load_key(mx.directory / "members-signing.key")
    good, bad = (
        issue_by(key, mx.intermediates["members-signing"], [x509.DNSName(name)], SIGNING)
        for name in ("x.members.mx.hub.example", US_NAME)
    )
    builder = PolicyBuilder().store(Store([mx.root])).time(NOW)
    verifier = builder.extension_policies(ca_policy=_CA, ee_policy=_LEAF).build_client_verifier()
    assert verifier.verify(good, [mx.intermediates["members-signing"]])
    with pytest.raises(VerificationError):
        verifier.verify(bad, [mx.intermediates["members-signing"]])


def test_dates_are_judged_at_the_second(us: Authority) -> None:
    one = us.issue("member-signing", "a", now=NOW).certificate
    begin, end = one.not_valid_before_utc, one.not_valid_after_utc
    for at in (begin, end):
        assert check_path(one, list(us.intermediates.values()), us.root, purpose=SIGNING, at=at)
    for at in (begin - timedelta(seconds=1), end + timedelta(seconds=1)):
        assert fault(one, us, SIGNING, at) == "expired"


def test_a_further_purpose_is_another_purpose(us: Authority) -> None:
    key = load_key(us.directory / "members-signing.key")
    public = new_key().public_key()
    builder = x509.CertificateBuilder(
        us.intermediates["members-signing"].subject, x509.Name([]), public, 1, NOW, NOW + timedelta(days=1)
    ).add_extension(x509.ExtendedKeyUsage([SIGNING, CLIENT]), critical=False)
    assert fault(builder.sign(key, SHA256()), us, SIGNING) == "purpose"


def test_an_intermediate_made_by_a_leaf_is_refused(us: Authority) -> None:
    """A member's certificate is no authority, whatever it signs."""
    member = us.issue("member-signing", "a", now=NOW)
    assert member.key is not None
    forged = issue_by(member.key, member.certificate, [x509.DNSName(US_NAME)], SIGNING)
    with pytest.raises(PathFault, match="untrusted"):
        check_path(forged, [member.certificate, *us.intermediates.values()], us.root, purpose=SIGNING, at=NOW)


def test_other_curves_are_refused(us: Authority) -> None:
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    assert fault(us.issue("member-signing", "a", now=NOW, public_key=other).certificate, us, SIGNING) == "algorithm"


# --- revocation ---


def test_revocations_by_crl(us: Authority) -> None:
    issuers = us.intermediates.values()
    plain, lost, fine = (us.issue("member-signing", name, now=NOW).certificate for name in ("plain", "lost", "fine"))
    us.revoke(plain, now=NOW, reason="superseded")
    us.revoke(lost.serial_number, now=NOW, reason="keyCompromise", compromised_since=NOW - timedelta(days=2))
    us.revoke(plain, now=NOW + timedelta(days=1), reason="keyCompromise")  # the first word stands
    known = Revocations.from_crls([us.crl("members-signing", now=NOW)], issuers, at=NOW)
    issuer = us.intermediates["members-signing"]
    assert known.of(plain, issuer) == Revocation(NOW, None, "superseded")
    assert known.of(lost, issuer) == Revocation(NOW, NOW - timedelta(days=2), "keyCompromise")
    assert known.revoked_at(fine.serial_number, issuer) is None
    listed = {thumbprint(fine): Revocation(NOW, NOW - timedelta(days=1))}
    both = Revocations.from_crls([us.crl("members-signing", now=NOW)], issuers, at=NOW, listed=listed)
    assert both.of(fine, issuer) == listed[thumbprint(fine)]
    assert Revocations.listed(listed).of(plain, issuer) is None  # the registry alone asks for no CRL


def test_missing_stale_and_foreign_crls_fail_closed(us: Authority, mx: Authority) -> None:
    issuer = us.intermediates["members-tls"]
    one = us.issue("member-tls", "a", now=NOW).certificate
    with pytest.raises(PathFault, match="crl-missing"):
        Revocations.from_crls([], us.intermediates.values(), at=NOW).of(one, issuer)
    crl = us.crl("members-tls", now=NOW).public_bytes(Encoding.DER)
    for hours in (0, 24):
        at = NOW + timedelta(hours=hours)
        assert Revocations.from_crls([crl], us.intermediates.values(), at=at).of(one, issuer) is None
    for at in (NOW + timedelta(hours=24, seconds=1), NOW - timedelta(seconds=1)):
        with pytest.raises(PathFault, match="crl-stale"):
            Revocations.from_crls([crl], us.intermediates.values(), at=at).of(one, issuer)
    for bad in (b"junk", b"-----junk", mx.crl("members-tls", now=NOW), crl[:-1] + bytes([crl[-1] ^ 1])):
        with pytest.raises(PathFault, match="crl-form"):
            Revocations.from_crls([bad], us.intermediates.values(), at=NOW)


def test_the_newest_crl_counts_and_is_numbered(us: Authority) -> None:
    one = us.issue("member-tls", "newest", now=NOW).certificate
    before = us.crl("members-tls", now=NOW - timedelta(hours=2))
    us.revoke(one, now=NOW - timedelta(hours=1))
    after = us.crl("members-tls", now=NOW)
    for order in ([before, after], [after, before]):
        known = Revocations.from_crls(order, us.intermediates.values(), at=NOW)
        assert known.of(one, us.intermediates["members-tls"])
    numbers = [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in (before, after)]
    assert numbers[1] == numbers[0] + 1


def test_a_revoked_certificate_is_not_renewed(us: Authority, mx: Authority) -> None:
    one = us.issue("gateway", "gw", now=NOW)
    renewed = us.renew(one.certificate, now=NOW + timedelta(days=30))
    assert dns_name(renewed.certificate) == "gw.us.hub.example"
    assert renewed.certificate.not_valid_after_utc == NOW + timedelta(days=120)
    us.revoke(one.certificate, now=NOW)
    with pytest.raises(KeyFault, match="certificate-revoked"):
        us.renew(one.certificate, now=NOW)
    with pytest.raises(KeyFault, match="certificate-unknown"):
        mx.renew(one.certificate, now=NOW)
    with pytest.raises(KeyFault, match="certificate-unknown"):
        mx.revoke(one.certificate, now=NOW)
    with pytest.raises(ValueError, match="no such reason"):
        us.revoke(renewed.certificate, now=NOW, reason="because")


def test_the_index_lists_what_was_issued(us: Authority) -> None:
    one = us.issue("approver", "index", now=NOW).certificate
    us.revoke(one, now=NOW, reason="superseded")
    row = us.issued()[-1]
    assert row == {
        "serial": f"{one.serial_number:x}",
        "profile": "approver",
        "intermediate": "approvers",
        "name": "index",
        "thumbprint": thumbprint(one),
        "not_before": "2026-11-24T11:55:00Z",  # five minutes back
        "not_after": "2027-11-24T12:00:00Z",
        "revoked": {"at": "2026-11-24T12:00:00Z", "reason": "superseded"},
    }
    assert not list(us.directory.glob(".*"))


# --- OpenSSL, as TLS will ask it ---


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """A TLS handshake in memory: "good", or the server's reason."""
    wires = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(wires[0], wires[1], server_hostname="puente.hub.example"),
        server.wrap_bio(wires[1], wires[0], server_side=True),
    )
    done = [False, False]
    for _ in range(10):
        for number, end in enumerate(ends):
            if done[number]:
                continue
            try:
                end.do_handshake()
                done[number] = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                assert number == 1, error
                return (
                    str(error.verify_message) if isinstance(error, ssl.SSLCertVerificationError) else str(error.reason)
                )
        if all(done):
            return "good"
    return "stuck"


class Tls:
    """A hub's listener that knows both countries, and clients that call it; at the machine's own time."""

    def __init__(self, directory: Path, now: datetime) -> None:
        self.now = now
        self.directory = directory
        self.us = Authority.create(directory / "us", "US", now=now - timedelta(days=30))
        self.mx = Authority.create(directory / "mx", "MX", now=now - timedelta(days=30))
        self.hub_root, self.hub = server_certificate(directory / "hub", ["puente.hub.example", "127.0.0.1"], now=now)
        self.hub.save(directory, "server")

    def listener(self, *crls: x509.CertificateRevocationList) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "server.pem", self.directory / "server.key")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=pem([self.us.root, self.mx.root]))
        if crls:
            path = self.directory / "crls.pem"
            path.write_bytes(b"".join(crl.public_bytes(Encoding.PEM) for crl in crls))
            context.load_verify_locations(path)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        return context

    def call(self, listener: ssl.SSLContext, issued: Issued | None) -> str:
        client = ssl.create_default_context(cadata=pem([self.hub_root]))
        if issued is not None:
            for old in self.directory.glob("client.*"):
                old.unlink()
            issued.save(self.directory, "client")
            client.load_cert_chain(self.directory / "client.pem", self.directory / "client.key")
        return handshake(listener, client)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"), datetime.now(UTC).replace(microsecond=0))


def rogue(tls: Tls, sans: list[x509.GeneralName], purpose: x509.ObjectIdentifier) -> Issued:
    """By Mexico's TLS intermediate, for whatever its holder pleases."""
    key, issuer = new_key(), tls.mx.intermediates["members-tls"]
    builder = x509.CertificateBuilder(
        issuer.subject, x509.Name([]), key.public_key(), 7, tls.now - timedelta(days=1), tls.now + timedelta(days=1)
    )
    for extension in (x509.ExtendedKeyUsage([purpose]), x509.SubjectAlternativeName(sans)):
        builder = builder.add_extension(extension, critical=True)
    signed = builder.sign(load_key(tls.mx.directory / "members-tls.key"), SHA256())
    return Issued(signed, (issuer,), key)


def test_openssl_accepts_members_of_both_countries(tls: Tls) -> None:
    for authority in (tls.us, tls.mx):
        assert tls.call(tls.listener(), authority.issue("member-tls", "a", now=tls.now)) == "good"
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in tls.call(tls.listener(), None)


def test_openssl_refuses_a_name_of_the_other_country(tls: Tls) -> None:
    """Both roots are trusted by the one listener; only the name constraint keeps the countries apart."""
    good = rogue(tls, [x509.DNSName("x.members.mx.hub.example")], CLIENT)
    assert tls.call(tls.listener(), good) == "good"
    assert tls.call(tls.listener(), rogue(tls, [x509.DNSName(US_NAME)], CLIENT)) == "permitted subtree violation"


@pytest.mark.parametrize("profile", ["member-signing", "gateway", "approver"])
def test_openssl_refuses_certificates_for_other_purposes(tls: Tls, profile: str) -> None:
    assert "purpose" in tls.call(tls.listener(), tls.us.issue(profile, "a", now=tls.now))
    assert "purpose" in tls.call(tls.listener(), rogue(tls, [x509.DNSName("x.members.mx.hub.example")], SIGNING))


def test_openssl_refuses_expired_and_revoked(tls: Tls) -> None:
    expired = tls.us.issue("member-tls", "late", now=tls.now - timedelta(days=8))
    assert tls.call(tls.listener(), expired) == "certificate has expired"
    revoked = tls.us.issue("member-tls", "gone", now=tls.now)
    tls.us.revoke(revoked.certificate, now=tls.now)
    assert tls.call(tls.listener(), revoked) == "good"  # without CRLs nobody notices: hence check_tls on each request
    crls = [*tls.us.crls(now=tls.now), *tls.mx.crls(now=tls.now)]
    assert tls.call(tls.listener(*crls), revoked) == "certificate revoked"
    assert tls.call(tls.listener(*crls), tls.us.issue("member-tls", "fine", now=tls.now)) == "good"


def test_openssl_refuses_everyone_of_an_issuer_without_a_crl(tls: Tls) -> None:
    listener = tls.listener(*tls.us.crls(now=tls.now))
    assert tls.call(listener, tls.us.issue("member-tls", "b", now=tls.now)) == "good"
    assert tls.call(listener, tls.mx.issue("member-tls", "b", now=tls.now)) == "unable to get certificate CRL"


# --- the hub's own ---


def test_server_certificates(tmp_path: Path) -> None:
    authority = hub_authority(tmp_path / "hub", now=NOW)
    issued = authority.issue(["puente.hub.example", "127.0.0.1", "::1"], now=NOW)
    names = issued.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["puente.hub.example"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert purposes(issued.certificate) == [SERVER]
    issued.certificate.verify_directly_issued_by(authority.root)
    assert hub_authority(tmp_path / "hub", now=NOW + timedelta(days=1)).root == authority.root
    for days in (0, 91):
        with pytest.raises(ValueError, match="90"):
            authority.issue(["a"], now=NOW, days=days)
    with pytest.raises(ValueError, match="name"):
        authority.issue([], now=NOW)
