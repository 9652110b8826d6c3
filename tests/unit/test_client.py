"""The client against a whole hub: signing, covering, pulling with a cursor file, and proof that needs no trust."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding

from certs.faults import SignatureFault
from certs.signature import KeyringEntry
from exchange.cli.ledger import read_policies
from exchange.client import Client, EvidenceFault, Provenance, keyring, verify_object, verify_page, verify_receipt
from exchange.errors import Conflict, Malformed, NotAuthenticated, NotFound, NotPermitted, Unavailable
from exchange.ledger.receipt import ReceiptFault
from exchange.times import as_datetime, as_millis_text
from tests.world import TLP2, World, make_world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with make_world(
        tmp_path_factory.mktemp("world"), witness_interval_seconds=0.2, checkpoint_interval_seconds=0.05
    ) as made:
        yield made


pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def client_of(world: World, slug: str, **more: Any) -> AsyncIterator[Client]:
    settings = {
        "clock": world.clock,
        "token": world.tokens[slug],
        "ca_file": world.home.ca_file,
        "signer": world.home.signer(slug, world.members[slug].identity_id),
    }
    async with Client(world.hub.url, **{**settings, **more}) as client:
        yield client


async def test_what_a_member_makes_is_prepared_signed_and_verified_by_the_receiver(world: World) -> None:
    async with client_of(world, "us-cyber") as sender, client_of(world, "mx-ciber") as receiver:
        draft = {
            "type": "indicator",
            "name": "beacon",
            "pattern": "[domain-name:value = 'c2.example.net']",
            "pattern_type": "stix",
            "pattern_version": "2.1",
            "valid_from": "2026-01-01T00:00:00Z",
            "object_marking_refs": [TLP2["amber"]],
        }
        made = sender.prepare(draft)
        [result] = await sender.submit([made], "indicators")
        assert [one.id for one in result.accepted] == [made["id"]], result.refused
        assert result.leaves
        [got] = [obj async for obj in receiver.pull("indicators", match={"id": made["id"]})]
        certificate = world.home.signer("us-cyber", "").certificate.public_bytes(Encoding.DER)
        rules = await world.hub.services.rulebook.current()
        assert rules.trust is not None
        now = as_datetime(world.clock.now_us())
        keys = keyring(
            rules.trust.encode(), [KeyringEntry(certificate, world.members["us-cyber"].identity_id, "US")], at=now
        )
        assert verify_object(got, keys, at=now).identity_id == world.members["us-cyber"].identity_id
        with pytest.raises(SignatureFault, match="signature-invalid"):
            verify_object(got | {"name": "other"}, keys, at=now)


def bystander(**more: Any) -> dict[str, Any]:
    """A third party's object, without markings of its own."""
    return {
        "type": "malware",
        "spec_version": "2.1",
        "id": f"malware--{uuid.uuid4()}",
        "created_by_ref": f"identity--{uuid.uuid4()}",
        "created": "2025-01-02T03:04:05.678901Z",
        "modified": "2025-01-02T03:04:05.678901Z",
        "name": "Ejemplo",
        "is_family": True,
        **more,
    }


async def test_what_others_made_is_covered_by_one_attestation_and_kept_as_it_is(world: World) -> None:
    address = {
        "type": "ipv4-addr",
        "spec_version": "2.1",
        "id": "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3350caf4",
        "value": "198.51.100.3",
    }
    malware = bystander()
    source = Provenance("demo", "https://feed.example/", as_millis_text(world.clock.now_us()), (TLP2["green"],))
    async with client_of(world, "us-cyber") as sender, client_of(world, "mx-puerto-pac") as receiver:
        [result] = await sender.submit([malware, address, world.indicator("us-cyber")], "indicators", provenance=source)
        assert not result.refused
        assert len(result.accepted) == 3
        assert [one.signed for one in result.accepted] == [False, False, True]
        got = {obj["id"]: obj async for obj in receiver.pull("indicators")}
    # TLP:GREEN was claimed for objects without markings, so the agreement's clause for public sources lets them cross.
    assert got[malware["id"]] == malware
    assert got[address["id"]] == address


async def test_the_same_envelope_twice_is_stored_once(world: World) -> None:
    async with client_of(world, "us-cyber") as client:
        envelopes = [one async for one in client.pack([world.indicator("us-cyber"), bystander()])]
        first = await client.send(envelopes[0], "indicators")
        again = await client.send(envelopes[0], "indicators")
    assert len(first.accepted) == len(again.accepted) == 2
    assert not again.refused
    assert not any(leaf.log == "both" for leaf in again.leaves)


async def test_batches_are_split_by_count_and_bytes(world: World) -> None:
    async with client_of(world, "us-cyber") as client:
        seen: list[int] = []
        results = await client.submit(
            (world.indicator("us-cyber") for _ in range(25)),
            "indicators",
            batch=10,
            on_progress=lambda result: seen.append(len(result.accepted)),
        )
    assert seen == [10, 10, 5]
    assert sum(len(one.accepted) for one in results) == 25


async def test_an_object_that_must_not_be_signed_stops_no_other(world: World) -> None:
    unstable = world.indicator("us-cyber", revoked=False)
    good = world.indicator("us-cyber")
    number = world.indicator("us-cyber", x_size=2**60)
    async with client_of(world, "us-cyber") as client:
        [result] = await client.submit([unstable, good, number], "indicators")
        assert [one.id for one in result.accepted] == [good["id"]]
        assert {one.code for one in result.refused} == {"signature-unstable", "signature-form"}
        [empty] = await client.submit([unstable], "indicators")
    assert (empty.id, empty.accepted, len(empty.refused)) == ("", (), 1)


async def test_a_pull_goes_on_where_it_stopped(world: World, tmp_path: Path) -> None:
    state = tmp_path / "cursor.json"
    async with client_of(world, "us-cyber") as sender, client_of(world, "us-customs") as reader:
        await sender.submit((world.indicator("us-cyber") for _ in range(7)), "indicators")
        seen: list[str] = []
        async for page in reader.pages("indicators", limit=3, state=state):
            seen += [obj["id"] for obj in page.objects]
            if len(seen) >= 3:
                break  # a crash while the page is in hand: it comes again
        assert not state.exists()
        again = [obj["id"] async for obj in reader.pull("indicators", limit=3, state=state)]
        assert set(seen) <= set(again)
        assert len(again) == len(set(again))
        assert [obj async for obj in reader.pull("indicators", state=state)] == []
        [late] = [world.indicator("us-cyber")]
        await sender.submit([late], "indicators")
        assert [obj["id"] async for obj in reader.pull("indicators", state=state)] == [late["id"]]
        with pytest.raises(Conflict):
            [obj async for obj in reader.pull("us-domestic", state=state)]
        state.write_bytes(b"{")
        with pytest.raises(Malformed):
            [obj async for obj in reader.pull("indicators", state=state)]


async def test_following_sees_what_comes_later(world: World) -> None:
    naps = 0

    async def pause(_: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 1:
            await sender.submit([late], "indicators")

    late = world.indicator("us-cyber")
    async with client_of(world, "us-cyber") as sender, client_of(world, "us-customs", pause=pause) as reader:
        async for obj in reader.pull("indicators", follow=True):
            if obj["id"] == late["id"]:
                break
    assert naps == 1


async def test_a_release_is_proved_page_and_receipt(world: World) -> None:
    policies = read_policies(world.home.root / "hub" / "witness-policy")
    async with client_of(world, "us-cyber") as sender, client_of(world, "mx-ciber") as reader:
        await sender.submit((world.indicator("us-cyber") for _ in range(5)), "indicators")
        page = [page async for page in reader.pages("indicators", limit=500)][0]
        [place] = page.leaves
        assert (place.log, place.first) == ("both", place.last)
        leaf = await reader.leaf(place.log, place.first)
        verify_page(page.objects, leaf)
        for wrong in (page.objects[1:], page.objects[::-1], (*page.objects[1:], page.objects[0] | {"name": "other"})):
            with pytest.raises(EvidenceFault):
                verify_page(wrong, leaf)
        await world.cosigned()
        receipt = await reader.receipt(place.log, place.first, wait_seconds=10)
        assert receipt is not None
        proven = verify_receipt(receipt, leaf, policies["both"])
        assert {name[:2] for name in proven.cosigned} == {"us", "mx"}
        with pytest.raises(ReceiptFault):
            verify_receipt(receipt, leaf + b" ", policies["both"])
        with pytest.raises(NotFound):
            await reader.receipt("us", 0)
    with pytest.raises(EvidenceFault, match="evidence-no-items"):
        verify_page(page.objects, b"{}")


async def test_asking(world: World) -> None:
    async with client_of(world, "us-cyber") as client:
        assert (await client.me())["slug"] == "us-cyber"
        assert {"indicators", "us-domestic"} <= {one["alias"] for one in await client.collections()}
        [result] = await client.submit([world.indicator("us-cyber")], "indicators")
        assert (await client.status(result.id))["success_count"] == 1
        told = await client.explain(result.accepted[0].id, "mx-ciber")
        assert told["placements"][0]["clause"].startswith("P-")
        with pytest.raises(NotFound):
            await client.status(str(uuid.uuid4()))
        with pytest.raises(NotFound):
            [obj async for obj in client.pull("mx-domestic")]


async def test_refusals_come_in_the_hubs_own_words(world: World) -> None:
    async with client_of(world, "us-cyber", token="puente_nobody_nothing") as stranger:
        with pytest.raises(NotAuthenticated) as refused:
            await stranger.me()
        assert refused.value.code == "credential-invalid"
    async with client_of(world, "us-customs", language="es") as customs:
        with pytest.raises(NotPermitted) as forbidden:
            await customs.submit([world.indicator("us-customs")], "vulnerabilities")
        assert forbidden.value.code == "collection-read-only"
        assert "colección" in forbidden.value.text.en


async def test_a_client_certificate_is_enough(world: World) -> None:
    directory = world.home.member("mx-marina")
    url = f"https://localhost:{world.hub.mtls_port}"
    pair = (directory / "tls.pem", directory / "tls.key")
    async with Client(url, clock=world.clock, ca_file=world.home.ca_file, client_cert=pair) as client:
        assert (await client.me())["slug"] == "mx-marina"


async def test_a_hub_with_another_certificate_is_not_spoken_to(world: World) -> None:
    async def pause(_: float) -> None:
        await asyncio.sleep(0)

    async with Client(world.hub.url, clock=world.clock, token="secret", pause=pause) as client:
        with pytest.raises(Unavailable, match="not to be trusted"):
            await client.me()
