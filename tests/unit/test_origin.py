"""What a gateway attests: commitments that open to one original only, and origins in one form."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.origin import Origin, commitment, releases
from certs.signature import attestation
from exchange.cli.setup import sample_agreement, sample_member
from exchange.intake.labelling import label_for
from exchange.model.member import Collection
from policies.agreement import load
from policies.decide import decide
from policies.label import Recipient
from tests.world import TLP2

DIGEST = "ab" * 32
COVERED = {
    "id": "indicator--1",
    "version": "2026-11-24T12:00:00.000Z",
    "sha256": DIGEST,
    "origin_commitment": "cd" * 32,
}
ORIGIN = Origin("MX", ("operator",), ("trade.port",))
GIVEN = {"id": "object-attestation--1", "created_by_ref": "identity--1", "created": "2026-11-24T12:00:00.000Z"}


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.integers(0, 511))
def test_a_commitment_opens_to_its_own_salt_and_digest(salt: bytes, digest: bytes, bit: int) -> None:
    made = commitment(salt, digest)
    altered = bytearray(salt + digest)
    altered[bit // 8] ^= 1 << bit % 8
    assert commitment(salt, digest) == made
    assert commitment(bytes(altered[:32]), bytes(altered[32:])) != made


@pytest.mark.parametrize(("salt", "digest"), [(b"", bytes(32)), (bytes(31), bytes(32)), (bytes(32), bytes(20))])
def test_a_short_salt_hides_nothing_and_is_refused(salt: bytes, digest: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        commitment(salt, digest)


def test_a_known_commitment() -> None:
    """Whoever proves one in fifty years computes SHA-256("puente-origin-v1" 00, salt, digest)."""
    assert commitment(bytes(32), bytes(range(32))) == "c47fc809b9f996354239d232f04e718978d1d458b804fdb199dc3c524994d815"


def test_what_is_attested_is_read_again() -> None:
    made = attestation(**GIVEN, covers=[COVERED], attestation_type="gateway-release", origin=ORIGIN)
    said = releases(made)
    assert said is not None
    assert (said[0], said[1][0].commitment) == (ORIGIN, COVERED["origin_commitment"])
    assert Origin.read(Origin("US", ("operator",), ()).value()) == Origin("US", ("operator",), ())


@pytest.mark.parametrize(
    "change",
    [
        {"attestation_type": "covers"}, {"covers": []}, {"covers": [COVERED, {"id": "x"}]}, {"covers": "x"}, {"origin": None},
        {"covers": [COVERED | {"origin_commitment": "cd"}]}, {"origin": {"country": "MX", "roles": []}},
        {"origin": {"country": "MX", "roles": "operator"}}, {"origin": {"country": "MX", "roles": ["a"], "slug": "x"}},
        {"origin": {"country": 1, "roles": ["a"]}}, {"origin": {"country": "MX", "roles": ["a"], "sectors": [1]}},
    ],
)  # fmt: skip
def test_anything_else_says_nothing(change: dict[str, object]) -> None:
    made = attestation(**GIVEN, covers=[COVERED], attestation_type="gateway-release", origin=ORIGIN)
    assert releases(made | change) is None


def test_a_stand_in_is_labelled_as_its_sender_and_never_named() -> None:
    """Whatever the gateway itself is or agrees to: the object is an operator's, without consent, and anonymous as it is."""
    gateway = replace(sample_member("mx-gateway"), consents=True, roles=("agency", "csirt"))
    obj = {"type": "indicator", "confidence": 85, "object_marking_refs": [TLP2["green"]]}
    agreement = load(sample_agreement())
    at = Collection("c", "indicators", "t", "d", ("all",), ("all",))
    label = label_for(
        obj,
        owner=gateway,
        collection=at,
        assurance="gateway-signed",
        agreement=agreement,
        definitions={},
        origin=ORIGIN,
    )
    assert (label.originator, label.country, label.roles) == ("mx-gateway", "MX", ("operator",))
    assert (label.sectors, label.consent) == (("trade.port",), "none")
    port = Recipient("us-port-gulf", "US", ("operator",), ("trade.port",), "active")
    decision = decide(agreement, label, port, now="2026-11-24T12:00:00Z")
    assert (decision.effect, decision.view, decision.rules) == ("permit", "full", ("P-OPERATOR-SAME-SECTOR",))
    other = replace(port, member="us-rail", sectors=("trade.rail",))
    decision = decide(agreement, label, other, now="2026-11-24T12:00:00Z")
    assert decision.effect == "deny", "P-CONSENTING-OPERATOR asks for somebody who agreed to be named"


def test_an_attestation_says_where_from_for_a_gateways_release_and_nothing_else() -> None:
    with pytest.raises(ValueError, match="gateway-release"):
        attestation(**GIVEN, covers=[COVERED], attestation_type="gateway-release")
    with pytest.raises(ValueError, match="gateway-release"):
        attestation(**GIVEN, covers=[COVERED], origin=ORIGIN)
    with pytest.raises(ValueError, match="SHA-256"):
        attestation(
            **GIVEN, covers=[COVERED | {"origin_commitment": "x"}], attestation_type="gateway-release", origin=ORIGIN
        )
    assert "origin_commitment" not in attestation(**GIVEN, covers=[COVERED])["covers"][0]
