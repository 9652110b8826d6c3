"""The trust list: two countries' thresholds, a chain without rollback, one country's withdrawal, and the keyring on it."""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Issued
from certs.document import certificate_text
from certs.faults import PathFault, SignatureFault, TrustFault
from certs.jcs import canonical
from certs.jws import sign_document
from certs.keys import der, spki_pin, thumbprint
from certs.path import Revocation, Revocations
from certs.signature import Keyring, KeyringEntry, Signer, verify_object
from certs.trust import TYPE, TrustList
from tests.pki import MX_PORT, NOW, US_PORT, Pki, make_pki

US_GATEWAY = "identity--9a1f2f7e-0f3d-4a5b-8c6d-7e8f90a1b2c3"
SIGNED_AT = "2026-11-24T11:59:58Z"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def us(pki: Pki) -> Signer:
    return pki.signer("US", "us-port-gulf", US_PORT)


@pytest.fixture(scope="module")
def mx(pki: Pki) -> Signer:
    return pki.signer("MX", "mx-puerto-pac", MX_PORT)


def indicator(author: str = US_PORT) -> dict[str, Any]:
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
        "created_by_ref": author,
        "created": "2026-11-24T11:59:00.000Z",
        "modified": "2026-11-24T11:59:00.000Z",
        "name": "señal",
        "pattern": "[ipv4-addr:value = '198.51.100.7']",
        "pattern_type": "stix",
        "pattern_version": "2.1",
        "valid_from": "2026-11-24T00:00:00Z",
    }


def member(slug: str, identity: str, country: str, **more: Any) -> dict[str, Any]:
    return {
        "slug": slug,
        "identity_id": identity,
        "country": country,
        "kind": "operator",
        "roles": ["operator"],
        "sectors": ["trade.port"],
        "status": "active",
        "names": {"en": "Port", "es": "Puerto"},
        **more,
    }


@pytest.fixture(scope="module")
def listed(pki: Pki, us: Signer, mx: Signer) -> TrustList:
    """A list that names its members: one with its keys, one without."""
    members = [
        member("us-port-gulf", US_PORT, "US", signing=[certificate_text(us.certificate)], tls_pins=[]),
        member("mx-puerto-pac", MX_PORT, "MX"),
    ]
    return approved(pki, first(pki, members=members, gateways={"US": US_GATEWAY}))


def first(pki: Pki, **more: Any) -> TrustList:
    return TrustList.draft(
        {"US": pki.us, "MX": pki.mx},
        {cc: [one.certificate for one in issued] for cc, issued in pki.approvers.items()},
        version=1,
        previous=None,
        issued=NOW,
        expires=NOW + timedelta(days=365),
        threshold=2,
        **more,
    )


def approve(trust: TrustList, country: str, approvers: list[Issued]) -> TrustList:
    for one in approvers:
        assert one.key is not None
        trust = trust.approve(country, one.key, one.certificate)
    return trust


def approved(pki: Pki, trust: TrustList, us: int = 2, mx: int = 2) -> TrustList:
    return approve(approve(trust, "US", pki.approvers["US"][:us]), "MX", pki.approvers["MX"][:mx])


def refused(trust: TrustList, previous: TrustList | None = None, **more: Any) -> str:
    with pytest.raises(TrustFault) as caught:
        trust.verify(previous, now=more.pop("now", NOW), **more)
    assert caught.value.en != caught.value.es
    return caught.value.code


def changed(trust: TrustList, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The top-level members of a list after a change to a copy of it."""
    value = json.loads(canonical(dict(trust.value)))
    change(value)
    return {name: value[name] for name in ("expires", "algorithms", "countries", "members")}


# --- approvals ---


@pytest.mark.trap(16)
def test_a_list_needs_both_countries_thresholds(pki: Pki) -> None:
    """Trap 16: one country's signature is not enough, nor one approver's twice, nor an approver of the other country."""
    draft = first(pki)
    approved(pki, draft).verify(None, now=NOW)
    for us, mx in ((2, 0), (0, 2), (2, 1), (1, 2), (0, 0)):
        assert refused(approved(pki, draft, us, mx)) == "approval-missing"
    one = pki.approvers["MX"][0]
    assert refused(approve(approved(pki, draft, 2, 0), "MX", [one, one])) == "approval-missing"
    assert refused(approve(approved(pki, draft, 2, 0), "MX", pki.approvers["US"])) == "approval-missing"


def test_two_certificates_of_one_person_are_one_approval(pki: Pki) -> None:
    one = pki.approvers["MX"][0]
    renewed = pki.mx.renew(one.certificate, now=NOW)
    assert one.key is not None
    same_key = pki.mx.issue("approver", "appr-9", now=NOW, public_key=one.key.public_key())
    for twin in (renewed, replace(same_key, key=one.key)):
        draft = TrustList.draft(
            {"US": pki.us, "MX": pki.mx},
            {"US": [x.certificate for x in pki.approvers["US"]], "MX": [one.certificate, twin.certificate]},
            version=1, previous=None, issued=NOW, expires=NOW + timedelta(days=1), threshold=2,
        )  # fmt: skip
        assert refused(approve(approved(pki, draft, 2, 0), "MX", [one, twin])) == "approval-missing"


def test_an_approval_is_of_one_list_and_one_kind(pki: Pki) -> None:
    good = approved(pki, first(pki))
    other = replace(first(pki, gateways={"US": US_GATEWAY}), approvals=good.approvals)
    assert refused(other) == "approval-missing"
    one = pki.approvers["US"][0]
    assert one.key is not None
    wrong_kind = sign_document(dict(good.value), typ="stix-object+jws", key=one.key, certificate=one.certificate)
    mixed = replace(good, approvals={**good.approvals, "US": [wrong_kind, good.approvals["US"][1]]})
    assert refused(mixed) == "approval-missing"
    garbage = replace(good, approvals={**good.approvals, "US": ["x", "", *good.approvals["US"]]})
    garbage.verify(None, now=NOW)  # what is no approval neither counts nor hurts


def test_approver_certificates_must_be_in_date_and_for_approving(pki: Pki) -> None:
    good = approved(pki, first(pki))
    assert refused(good, now=NOW + timedelta(days=366)) == "trust-expired"
    late = approved(pki, first(pki).successor(issued=NOW, expires="2029-01-01T00:00:00Z"))
    assert refused(late, good, now=NOW + timedelta(days=366)) == "approval-missing"
    signers = [pki.us.issue("member-signing", f"s-{number}", now=NOW) for number in range(2)]
    with_signers = TrustList.draft(
        {"US": pki.us, "MX": pki.mx},
        {"US": [one.certificate for one in signers], "MX": [one.certificate for one in pki.approvers["MX"]]},
        version=1, previous=None, issued=NOW, expires=NOW + timedelta(days=1), threshold=2,
    )  # fmt: skip
    assert refused(approve(approved(pki, with_signers, 0, 2), "US", signers)) == "trust-form"


def test_approvals_of_other_documents(pki: Pki) -> None:
    payload, typ = {"agreement_id": "us-mx", "decision": "approve"}, "sharing-policy-approval+jws"
    approvals = {
        country: [
            sign_document(payload, typ=typ, key=one.key, certificate=one.certificate)
            for one in issued[:2]
            if one.key is not None
        ]
        for country, issued in pki.approvers.items()
    }
    found = pki.trust.check_approvals(payload, approvals, typ=typ, at=NOW)
    assert found == {cc: [thumbprint(one.certificate) for one in issued[:2]] for cc, issued in pki.approvers.items()}
    assert pki.trust.check_approvals(payload, approvals, typ=typ) == found
    for wrong in (
        {"payload": {**payload, "decision": "reject"}},
        {"typ": TYPE},
        {"approvals": {"US": approvals["US"]}},
    ):
        with pytest.raises(TrustFault, match="approval-missing"):
            pki.trust.check_approvals(**{"payload": payload, "approvals": approvals, "typ": typ, "at": NOW, **wrong})
    with pytest.raises(TrustFault, match="MX has not approved: 0 of 2"):
        pki.trust.check_approvals(payload, {"US": approvals["US"]}, typ=typ, at=NOW)
    with pytest.raises(TrustFault, match="approval-missing"):
        pki.trust.check_approvals(payload, approvals, typ=typ, at=NOW + timedelta(days=400))


# --- the chain ---


@pytest.mark.trap(16)
def test_versions_follow_each_other(pki: Pki) -> None:
    one = approved(pki, first(pki))
    two = approved(pki, one.successor(issued=NOW))
    three = approved(pki, two.successor(issued=NOW))
    two.verify(one, now=NOW)
    three.verify(two, now=NOW)
    assert refused(two) == "trust-order"  # a first list is version 1, or pinned
    two.verify(None, now=NOW, pinned_sha256=two.sha256)
    assert refused(two, None, pinned_sha256=one.sha256) == "trust-order"
    assert refused(one, one) == "trust-order"
    assert refused(one, two) == "trust-order"  # trap 16: an older list replayed
    assert refused(three, one) == "trust-order"
    other = approved(pki, first(pki, gateways={"US": US_GATEWAY}))
    assert refused(two, other) == "trust-order"


@pytest.mark.parametrize(
    ("offset", "good"),
    [(timedelta(minutes=-5), True), (timedelta(minutes=-5, seconds=-1), False), (timedelta(days=365), False)],
    ids=["skew", "early", "expired"],
)
def test_dates(pki: Pki, offset: timedelta, good: bool) -> None:
    trust = approved(pki, first(pki))
    if good:
        trust.verify(None, now=NOW + offset)
    else:
        assert refused(trust, now=NOW + offset) == "trust-expired"


@pytest.mark.trap(16)
def test_new_approvers_need_the_old_ones(pki: Pki) -> None:
    """Trap 16: an approver removed, or a threshold lowered, by the word of those whom it makes."""
    one = approved(pki, first(pki))
    friends = [pki.us.issue("approver", f"friend-{number}", now=NOW) for number in range(2)]

    def take_over(value: dict[str, Any]) -> None:
        value["countries"]["US"]["approvers"]["certificates"] = [certificate_text(x.certificate) for x in friends]

    taken = one.successor(issued=NOW, **changed(one, take_over))
    by_new = approve(approve(taken, "US", friends), "MX", pki.approvers["MX"][:2])
    assert refused(by_new, one) == "approval-missing"
    by_old = approved(pki, taken)
    assert refused(by_old, one) == "approval-missing"
    approve(by_new, "US", pki.approvers["US"][1:]).verify(one, now=NOW)

    lower = one.successor(issued=NOW, **changed(one, lambda v: v["countries"]["MX"]["approvers"].update(threshold=1)))
    assert refused(approved(pki, lower, 2, 1), one) == "approval-missing"
    approved(pki, lower).verify(one, now=NOW)


# --- withdrawal by one country alone ---


def own(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = value["members"][0]
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda v: own(v).update(status="suspended"),
        lambda v: own(v).update(status="withdrawn"),
        lambda v: own(v).update(signing=[]),
        lambda v: v["members"].pop(0),
        lambda v: v["countries"]["US"].update(gateway=None),
        lambda v: v["countries"]["US"]["intermediates"].pop("gateway"),
        lambda v: v,
    ],
    ids=["suspended", "withdrawn", "key", "member", "gateway", "intermediate", "nothing"],
)
def test_a_country_withdraws_its_own_alone(
    pki: Pki, listed: TrustList, change: Callable[[dict[str, Any]], object]
) -> None:
    listed.verify(None, now=NOW)
    less = listed.successor(issued=NOW, **changed(listed, change))
    approved(pki, less, 2, 0).verify(listed, now=NOW)
    assert refused(approved(pki, less, 1, 0), listed) == "approval-missing"
    if less.value["members"] != listed.value["members"] or less.value["countries"] != listed.value["countries"]:
        assert refused(approved(pki, less, 0, 2), listed) == "approval-missing"


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["members"][1].update(status="suspended"),
        lambda v: v["members"].pop(1),
        lambda v: v["members"].append(member("us-new", "identity--00000000-0000-4000-8000-000000000001", "US")),
        lambda v: own(v).update(signing=None),
        lambda v: own(v).update(tls_pins=["ab" * 32]),
        lambda v: own(v).update(roles=["agency"]),
        lambda v: own(v).update(slug="us-other", signing=None),
        lambda v: own(v).update(status="suspended", names={"en": "x", "es": "y"}),
        lambda v: v.update(members=None),
        lambda v: v.update(expires="2030-01-01T00:00:00Z"),
        lambda v: v.update(expires="2026-11-25T00:00:00Z"),
        lambda v: v["countries"]["US"]["approvers"].update(threshold=1),
        lambda v: v["countries"]["US"]["approvers"]["certificates"].pop(),
        lambda v: v["countries"]["US"].update(crls=["https://elsewhere.example"]),
        lambda v: v["countries"]["US"].update(gateway="identity--00000000-0000-4000-8000-000000000002"),
        lambda v: v["countries"]["MX"]["intermediates"].pop("gateway"),
        lambda v: v["countries"]["US"]["intermediates"].pop("approvers"),
    ],
    ids=[
        "suspends-the-other", "removes-the-other", "adds", "any-key", "adds-a-pin", "role", "renames", "edits-names",
        "registry", "longer", "shorter", "threshold", "approver", "crls", "new-gateway", "their-intermediate", "own-approvers",
    ],
)  # fmt: skip
def test_a_country_alone_changes_nothing_else(
    pki: Pki, listed: TrustList, change: Callable[[dict[str, Any]], object]
) -> None:
    more = listed.successor(issued=NOW, **changed(listed, change))
    assert refused(approved(pki, more, 2, 0), listed) in ("approval-missing", "trust-form")
    if "approvers" in more.value["countries"]["US"]["intermediates"]:
        approved(pki, more).verify(listed, now=NOW)


def test_what_one_country_withdrew_takes_both_to_restore(pki: Pki, listed: TrustList) -> None:
    less = approved(
        pki, listed.successor(issued=NOW, **changed(listed, lambda v: own(v).update(status="suspended"))), 2, 0
    )
    less.verify(listed, now=NOW)
    again = less.successor(issued=NOW, **changed(less, lambda v: own(v).update(status="active")))
    assert refused(approved(pki, again, 2, 0), less) == "approval-missing"
    approved(pki, again).verify(less, now=NOW)


# --- the form ---


def test_a_list_is_kept_as_it_was_given(pki: Pki, listed: TrustList) -> None:
    data = listed.encode()
    again = TrustList.parse(data)
    assert again.encode() == data == canonical(json.loads(data))
    assert (again.sha256, again.version) == (listed.sha256, 1)
    spaced = json.dumps(json.loads(data), indent=1).encode()
    TrustList.parse(spaced).verify(None, now=NOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(schema="puente-trust-list/2"),
        lambda v: v.update(more=1),
        lambda v: v.pop("approvals"),
        lambda v: v.update(approvals={"FR": []}),
        lambda v: v.update(approvals={"US": "x"}),
        lambda v: v.update(version=0),
        lambda v: v.update(version=1.5),
        lambda v: v.update(version="1"),
        lambda v: v.update(prev_sha256="x"),
        lambda v: v.update(issued="yesterday"),
        lambda v: v.update(issued="2026-13-24T12:00:00Z"),
        lambda v: v.update(expires=v["issued"]),
        lambda v: v.update(algorithms=[]),
        lambda v: v["countries"].pop("MX"),
        lambda v: v["countries"].update(FR=v["countries"]["MX"]),
        lambda v: v["countries"]["US"].update(root="x"),
        lambda v: v["countries"]["US"].update(root=b64encode(b"x").decode()),
        lambda v: v["countries"]["US"]["approvers"].update(threshold=0),
        lambda v: v["countries"]["US"]["approvers"].update(threshold=4),
        lambda v: v["countries"]["US"]["approvers"].update(threshold=True),
        lambda v: v["countries"]["US"]["approvers"].update(certificates=[]),
        lambda v: v["members"].append(v["members"][0]),
        lambda v: v["members"][0].update(status="fine"),
        lambda v: v["members"][0].update(identity_id="identity--x"),
        lambda v: v["members"][0].update(identity_id=US_GATEWAY),
        lambda v: v["members"][0].update(slug="A B"),
        lambda v: v["members"][0].update(country="FR"),
        lambda v: v["members"][0].pop("names"),
    ],
    ids=[f"form-{number}" for number in range(28)],
)
def test_a_list_of_another_form_is_refused(listed: TrustList, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(listed.encode())
    change(value)
    with pytest.raises(TrustFault, match="trust-form"):
        TrustList.parse(canonical(value))


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"null", b'"x"', b'{"approvals":{}}', b'{"a":1,"a":1}', b"\xff"])
def test_what_is_no_list_at_all(data: bytes) -> None:
    with pytest.raises(TrustFault, match="trust-form"):
        TrustList.parse(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["countries"]["US"].update(root=v["countries"]["MX"]["root"]),
        lambda v: v["countries"]["US"].update(root=v["countries"]["US"]["intermediates"]["gateway"]),
        lambda v: v["countries"]["US"]["intermediates"].update(
            gateway=v["countries"]["MX"]["intermediates"]["gateway"]
        ),
        lambda v: v["countries"]["US"]["intermediates"].update(
            gateway=v["countries"]["US"]["intermediates"]["approvers"]
        ),
        lambda v: v["countries"]["US"]["intermediates"].update(other=v["countries"]["US"]["intermediates"]["gateway"]),
        lambda v: v["countries"]["US"].update(approvers=v["countries"]["MX"]["approvers"]),
        lambda v: v["countries"].update(US=v["countries"]["MX"], MX=v["countries"]["US"]),
        lambda v: v["members"][1].update(signing=v["members"][0]["signing"]),
        lambda v: v["members"][0].update(slug="us-someone"),
    ],
    ids=["root", "no-root", "their-intermediate", "other-purpose", "unknown", "approvers", "swapped", "key", "name"],
)
def test_certificates_must_hang_together(
    pki: Pki, listed: TrustList, change: Callable[[dict[str, Any]], object]
) -> None:
    """Even if both countries approved it, by mistake."""
    wrong = listed.successor(issued=NOW, **changed(listed, change))
    assert refused(approved(pki, wrong), listed) == "trust-form"


# --- what the list decides ---


def test_tls_certificates(pki: Pki, listed: TrustList) -> None:
    own, other = (authority.issue("member-tls", "us-port-gulf", now=NOW) for authority in (pki.us, pki.mx))
    listed.check_tls(own.certificate, "US", at=NOW)
    for certificate, country, code in (
        (own.certificate, "MX", "wrong-country"),
        (other.certificate, "US", "wrong-country"),
        (other.certificate, "FR", "untrusted"),
        (pki.us.issue("member-signing", "us-port-gulf", now=NOW).certificate, "US", "purpose"),
        (pki.us.issue("member-tls", "us-port-gulf", now=NOW - timedelta(days=8)).certificate, "US", "expired"),
    ):
        with pytest.raises(PathFault) as caught:
            listed.check_tls(certificate, country, at=NOW)
        assert caught.value.code == code
    with pytest.raises(PathFault, match="withdrawn"):
        listed.check_tls(own.certificate, "US", at=NOW, identity_id=US_PORT)  # tls_pins is an empty list
    pinned = changed(listed, lambda v: v["members"][0].update(tls_pins=[spki_pin(own.certificate)]))
    listed.successor(issued=NOW, **pinned).check_tls(own.certificate, "US", at=NOW, identity_id=US_PORT)
    revoked = Revocations.listed({thumbprint(own.certificate): Revocation(NOW)})
    with pytest.raises(PathFault, match="revoked"):
        listed.check_tls(own.certificate, "US", at=NOW, revocations=revoked)
    listed.check_tls(own.certificate, "US", at=NOW - timedelta(seconds=1), revocations=revoked)


def test_tls_anchors_are_the_roots_and_the_tls_intermediates(pki: Pki) -> None:
    text = "".join(pki.trust.tls_anchors_pem())
    assert text.count("BEGIN CERTIFICATE") == 4
    for authority in (pki.us, pki.mx):
        for one in (authority.root, authority.intermediates["members-tls"]):
            assert one.public_bytes(Encoding.PEM).decode() in text


def judged(trust: TrustList | None, signer: Signer, country: str, **more: Any) -> str:
    """The outcome of one object of this signer under a keyring of its own."""
    rows = [KeyringEntry(der(signer.certificate), signer.identity_id, country)]
    keyring = Keyring.build(rows, trust, more.get("revocations", {}), at=more.get("at", NOW))
    try:
        signed = signer.sign(indicator(signer.identity_id), signed_at=SIGNED_AT)
        return verify_object(signed, keyring, received=NOW).purpose
    except SignatureFault as fault:
        assert fault.en != fault.es
        return fault.code


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (lambda v: v, "signing"),
        (lambda v: v.update(members=None), "signing"),
        (lambda v: own(v).update(signing=None), "signing"),
        (lambda v: own(v).update(status="suspended"), "signature-suspended"),
        (lambda v: own(v).update(status="withdrawn"), "signature-suspended"),
        (lambda v: own(v).update(signing=[]), "signature-withdrawn"),
        (lambda v: own(v).update(slug="us-else", signing=None), "signature-name"),
        (lambda v: own(v).update(country="MX", signing=None), "signature-wrong-country"),
        (lambda v: v["members"].pop(0), "signature-not-a-member"),
        (lambda v: v["countries"]["US"]["intermediates"].pop("members-signing"), "signature-untrusted"),
        (lambda v: v.update(algorithms=["ML-DSA-65"]), "signature-algorithm"),
    ],
    ids=[
        "listed",
        "registry",
        "any-key",
        "suspended",
        "withdrawn",
        "no-key",
        "name",
        "country",
        "gone",
        "issuer",
        "alg",
    ],
)
def test_the_list_decides_whose_signature_counts(
    listed: TrustList, us: Signer, change: Callable[[dict[str, Any]], object], outcome: str
) -> None:
    assert judged(listed.successor(issued=NOW, **changed(listed, change)), us, "US") == outcome


def test_a_gateway_signs_as_the_gateway_only(pki: Pki, listed: TrustList, us: Signer) -> None:
    issued = pki.us.issue("gateway", "gateway", now=NOW)
    assert issued.key is not None
    gateway = Signer(issued.key, issued.certificate, US_GATEWAY)
    assert judged(listed, gateway, "US") == "gateway"
    assert judged(listed, replace(gateway, identity_id=US_PORT), "US") == "signature-purpose"
    assert judged(listed, replace(us, identity_id=US_GATEWAY), "US") == "signature-purpose"
    assert judged(listed, gateway, "MX") == "signature-purpose"


# --- the keyring ---


def entry(signer: Signer, country: str) -> KeyringEntry:
    return KeyringEntry(der(signer.certificate), signer.identity_id, country)


def test_without_a_trust_list_nobody_is_trusted(us: Signer) -> None:
    keyring = Keyring.build([entry(us, "US")], None, {}, at=NOW)
    with pytest.raises(SignatureFault, match="signature-untrusted"):
        keyring.find(thumbprint(us.certificate))
    with pytest.raises(SignatureFault, match="signature-algorithm"):
        verify_object(us.sign(indicator(), signed_at=SIGNED_AT), keyring, received=NOW)


def test_a_keyring_hands_out_new_faults(pki: Pki, us: Signer) -> None:
    """A shared exception would collect the tracebacks of every request."""
    keyring = pki.keyring((us, "MX"))
    faults = []
    for _ in range(2):
        with pytest.raises(SignatureFault) as caught:
            keyring.find(thumbprint(us.certificate))
        faults.append(caught.value)
    assert faults[0] is not faults[1]
    assert isinstance(keyring[thumbprint(us.certificate)], SignatureFault)
    assert (len(keyring), list(keyring)) == (1, [thumbprint(us.certificate)])


def test_a_certificate_enrolled_for_two_speaks_for_neither(pki: Pki, us: Signer) -> None:
    other = replace(us, identity_id="identity--00000000-0000-4000-8000-000000000000")
    for order in ((us, other), (other, us)):
        keyring = Keyring.build([entry(one, "US") for one in order], pki.trust, {}, at=NOW)
        with pytest.raises(SignatureFault, match="signature-signer"):
            verify_object(us.sign(indicator(), signed_at=SIGNED_AT), keyring, received=NOW)


def test_crls_decide_and_their_absence_or_age_refuses(pki: Pki, us: Signer) -> None:
    signer = pki.signer("US", "us-crl", US_PORT)
    signed = signer.sign(indicator(), signed_at=SIGNED_AT)
    issuers = pki.us.intermediates.values()

    def outcome(revocations: Revocations) -> str:
        keyring = Keyring.build([entry(signer, "US")], pki.trust, revocations, at=NOW)
        try:
            verify_object(signed, keyring, received=NOW)
        except SignatureFault as fault:
            return fault.code
        return "good"

    assert outcome(Revocations.from_crls(pki.us.crls(now=NOW), issuers, at=NOW)) == "good"
    assert outcome(Revocations.from_crls([], issuers, at=NOW)) == "signature-crl-missing"
    others = [pki.us.crl("members-tls", now=NOW)]
    assert outcome(Revocations.from_crls(others, issuers, at=NOW)) == "signature-crl-missing"
    old = pki.us.crls(now=NOW - timedelta(hours=25))
    assert outcome(Revocations.from_crls(old, issuers, at=NOW)) == "signature-crl-stale"
    early = pki.us.crls(now=NOW + timedelta(hours=1))
    assert outcome(Revocations.from_crls(early, issuers, at=NOW)) == "signature-crl-stale"
    pki.us.revoke(signer.certificate, now=NOW - timedelta(minutes=1), reason="superseded")
    assert outcome(Revocations.from_crls([*old, *pki.us.crls(now=NOW)], issuers, at=NOW)) == "signature-revoked"
    with pytest.raises(PathFault, match="crl-form"):
        Revocations.from_crls(pki.mx.crls(now=NOW), issuers, at=NOW)
