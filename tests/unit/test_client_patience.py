"""The client against a hub that is busy, breaks connections, answers halves and lies: what it repeats and what it tells."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.jcs import canonical
from certs.signature import EXT_SIG, Signer, verify_object
from exchange.client import Client, Provenance, pack, places, prepare
from exchange.clock import FixedClock
from exchange.errors import Malformed, NotStix, TooFast, Unavailable
from exchange.model.stix import UNVERSIONED
from tests.fake_hub import FakeHub, fake_hub
from tests.pki import NOW, US_PORT, Pki, make_pki

NOW_US = FixedClock().now_us()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def signer(pki: Pki) -> Signer:
    return pki.signer("US", "us-port", US_PORT)


class Naps:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@asynccontextmanager
async def spoken(signer: Signer | None = None) -> AsyncIterator[tuple[FakeHub, Client, Naps]]:
    naps = Naps()
    async with (
        fake_hub() as hub,
        Client(hub.url, clock=FixedClock(), token="secret", signer=signer, pause=naps) as client,
    ):
        yield hub, client, naps


@pytest.mark.parametrize("fault", ["503", "429", "502", "504", "cut", "half"])
async def test_what_passes_is_waited_for(fault: str) -> None:
    async with spoken() as (hub, client, naps):
        hub.faults = [fault] * (4 if fault == "cut" else 2)  # aiohttp itself tries a cut GET a second time
        assert (await client.me())["slug"] == "me"
        assert len(naps.seconds) == 2
        assert naps.seconds[0] <= 0.5
        assert naps.seconds[1] <= 1.0


async def test_retry_after_is_honoured_in_seconds_and_as_a_date() -> None:
    async with spoken() as (hub, client, naps):
        hub.faults = ["429 7", "503 Tue, 24 Nov 2026 12:00:09 GMT", "503 soon"]
        await client.me()
        assert naps.seconds[:2] == [7.0, 9.0]
        assert naps.seconds[2] <= 2.0


async def test_patience_ends() -> None:
    async with spoken() as (hub, client, naps):
        hub.faults = ["503"] * 6
        with pytest.raises(Unavailable) as refused:
            await client.me()
        assert refused.value.code == "code-503"
        assert len(naps.seconds) == 5
        hub.faults = ["429 3600"]
        with pytest.raises(TooFast) as fast:
            await client.me()
        assert fast.value.retry_after_seconds == 3600
        hub.faults = ["cut"] * 12
        with pytest.raises(Unavailable) as gone:
            await client.me()
        assert gone.value.code == "hub-unreachable"


@pytest.mark.parametrize("fault", ["400", "401", "403", "404", "409", "413", "415", "422", "500", "redirect"])
async def test_what_does_not_pass_is_asked_once(fault: str) -> None:
    async with spoken() as (hub, client, naps):
        hub.faults = [fault]
        with pytest.raises(Exception) as refused:
            await client.me()
        assert refused.value.code in (f"code-{fault}", "hub-redirect")  # type: ignore[attr-defined]
        assert len(hub.requests) == 1
        assert not naps.seconds


async def test_a_lost_answer_sends_the_same_bytes_again(signer: Signer) -> None:
    async with spoken(signer) as (hub, client, _):
        await client.body_limit()
        hub.faults = ["", "lost"]
        [result] = await client.submit([own()], "vulnerabilities")
        assert len(result.accepted) == 1
        assert not result.refused
        assert hub.bodies[0] == hub.bodies[1]


async def test_a_success_is_what_the_status_names(signer: Signer) -> None:
    async with spoken(signer) as (hub, client, _):
        bad, good = own(), own()
        hub.refuse[bad["id"]] = "agreement"
        [result] = await client.submit([bad, good], "vulnerabilities")
        assert [one.id for one in result.accepted] == [good["id"]]
        assert [(one.id, one.code) for one in result.refused] == [(bad["id"], "agreement")]
        assert result.leaves[0].index == 7


async def test_more_without_next_ends_and_a_stale_token_goes_on_by_date() -> None:
    one, two = {"id": "a--1"}, {"id": "a--2"}
    last = {"X-TAXII-Date-Added-Last": "2026-11-24T12:00:00.000001Z"}
    async with spoken() as (hub, client, _):
        hub.pages = [
            {"body": {"more": True, "next": "stale", "objects": [one]}, "headers": last},
            {"body": {"more": True, "objects": [two]}},
        ]
        got = [obj async for obj in client.pull("vulnerabilities")]
        assert got == [one, two]
        assert hub.requests[-1].query["added_after"] == last["X-TAXII-Date-Added-Last"]
        hub.pages = [{"body": {}}]
        assert [obj async for obj in client.pull("vulnerabilities")] == []
        hub.pages = [{"body": ["no envelope"]}]
        with pytest.raises(Unavailable, match="envelope"):
            [obj async for obj in client.pull("vulnerabilities")]


@pytest.mark.parametrize(
    "address",
    [
        "http://hub.example/",
        "https://user:pass@hub.example",
        "ftp://hub.example",
        "hub.example",
        "https://h.example/?a=b",
    ],
)
def test_addresses_that_would_leak_are_refused(address: str) -> None:
    with pytest.raises(Malformed):
        Client(address, clock=FixedClock())


async def test_no_second_host_ever_sees_the_token() -> None:
    async with spoken() as (hub, client, _):
        hub.faults = ["redirect"]
        with pytest.raises(Unavailable) as refused:
            await client.me()
        assert refused.value.code == "hub-redirect"
        assert hub.requests[0].headers["Authorization"] == "Bearer secret"


# --- envelopes ---

NUMBER = iter(range(10**9))


def own(**more: Any) -> dict[str, Any]:
    draft = {"type": "campaign", "name": "c", **more}
    return prepare(draft, now_us=NOW_US, identity_id=US_PORT)


def theirs(**more: Any) -> dict[str, Any]:
    return {"type": "domain-name", "id": f"domain-name--{next(NUMBER):08x}-0000-4000-8000-000000000000", "value": "e.example", **more}  # fmt: skip


def test_an_envelope_is_what_the_hub_checks(pki: Pki, signer: Signer) -> None:
    provenance = Provenance("kev", "https://e.example/", "2026-11-24T12:00:00Z", ("marking-definition--x",))
    objects = [own(), theirs(), {**theirs(), "type": "malware", "modified": "2026-01-01T00:00:00.123456Z"}]
    [envelope] = pack(objects, signer, now_us=NOW_US, provenance=provenance)
    attestation, *rest = json.loads(envelope.body)["objects"]
    keyring = pki.keyring((signer, "US"))
    for signed in (attestation, rest[0]):
        assert verify_object(signed, keyring, received=NOW).identity_id == US_PORT
    assert rest[1:] == objects[1:]
    assert attestation["attestation_type"] == "imported-from"
    assert attestation["source_name"] == "kev"
    assert attestation["object_marking_refs"] == ["marking-definition--x"]
    assert [(one["id"], one["version"]) for one in attestation["covers"]] == [
        (objects[1]["id"], UNVERSIONED),
        (objects[2]["id"], "2026-01-01T00:00:00.123456Z"),
    ]
    assert [one["sha256"] for one in attestation["covers"]] == [one.sha256 for one in envelope.contents[1:]]


def test_what_is_signed_already_is_left_alone(signer: Signer) -> None:
    signed = signer.sign(own(), signed_at="2026-11-24T11:00:00Z")
    [envelope] = pack([signed], signer, now_us=NOW_US)
    assert json.loads(envelope.body)["objects"] == [signed]
    assert not envelope.attestation
    copied = {**theirs(), "extensions": {EXT_SIG: {"signer_ref": US_PORT}}}
    [envelope] = pack([copied], signer, now_us=NOW_US)
    assert envelope.attestation


def test_a_later_version_names_the_one_before(signer: Signer) -> None:
    obj = own()
    [envelope] = pack([obj], signer, now_us=NOW_US, previous={obj["id"]: "ab" * 32})
    [sent] = json.loads(envelope.body)["objects"]
    assert sent["extensions"][EXT_SIG]["prev_sha256"] == "ab" * 32


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3_000), max_size=30),
    batch=st.integers(1, 12),
    limit=st.integers(12_000, 40_000),
    mine=st.booleans(),
)
def test_no_envelope_is_over_its_limits_and_nothing_is_lost(
    signer: Signer, sizes: list[int], batch: int, limit: int, mine: bool
) -> None:
    objects = [own(description="x" * size) if mine else theirs(x_text="x" * size) for size in sizes]
    envelopes = list(pack(objects, signer, now_us=NOW_US, batch=batch, body_limit_bytes=limit))
    assert all(len(one.body) <= limit and 1 <= len(one.contents) <= batch for one in envelopes)
    assert [one.id for envelope in envelopes for one in envelope.contents] == [one["id"] for one in objects]


def test_attestations_stay_below_the_hubs_object_limit(signer: Signer) -> None:
    envelopes = list(pack((theirs() for _ in range(8_000)), signer, now_us=NOW_US, batch=10_000))
    assert len(envelopes) > 1
    for envelope in envelopes:
        assert len(canonical(json.loads(envelope.body)["objects"][0])) <= 1_000_000


def test_prepare_adds_only_what_is_absent() -> None:
    made = prepare({"type": "indicator"}, now_us=NOW_US, identity_id=US_PORT)
    assert made["created"] == made["modified"] == "2026-11-24T12:00:00.000Z"
    assert made["created_by_ref"] == US_PORT
    marking = prepare({"type": "marking-definition"}, now_us=NOW_US)
    assert "modified" not in marking
    address = {"type": "ipv4-addr", "id": "ipv4-addr--x", "value": "192.0.2.1"}
    assert prepare(address, now_us=NOW_US) == {**address, "spec_version": "2.1"}
    full = {"type": "note", "id": "note--x", "spec_version": "2.1", "created": "a", "modified": "b"}
    assert prepare(full, now_us=NOW_US, identity_id=US_PORT) == full
    for bad in ({}, {"type": "ipv4-addr"}):
        with pytest.raises(NotStix):
            prepare(bad, now_us=NOW_US)


def test_places_of_the_evidence_header() -> None:
    [one, many] = places("puente.hub.example/audit/both/12, puente.hub.example/audit/us/5-9")
    assert (one.log, one.first, one.last) == ("both", 12, 12)
    assert (many.log, many.first, many.last) == ("us", 5, 9)
    assert places("") == places("nonsense, ,") == ()
