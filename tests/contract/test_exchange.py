"""The exchange, end to end: a whole hub over TLS and members of two countries."""

import ssl
import uuid
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from certs.jcs import canonical
from certs.keys import thumbprint
from certs.signature import Signer
from exchange.cli import setup
from exchange.cli.ledger import read_policies
from exchange.cli.packing import HubCopy
from exchange.cli.setup import OPERATOR
from exchange.ledger.audit import verify_copy, write_copy
from exchange.ledger.pack import Enclosed
from exchange.ledger.receipt import Receipt
from exchange.model.member import Status
from exchange.model.stix import StixObject
from exchange.times import as_datetime, as_millis_text
from policies.markings import CAVEAT_MARKINGS
from tests.world import TLP2, World, make_world

NOFORN = next(one for one, definition in CAVEAT_MARKINGS.items() if definition["name"] == "NOFORN")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(
        tmp_path_factory.mktemp("world"), witness_interval_seconds=0.2, checkpoint_interval_seconds=0.05, **database
    ) as made:
        yield made


pytestmark = pytest.mark.asyncio(loop_scope="module")


def failure(status: dict[str, Any]) -> dict[str, Any]:
    assert status["failure_count"] == 1, status
    found: dict[str, Any] = status["failures"][0]
    return found


async def test_a_signed_indicator_crosses_the_border(world: World) -> None:
    sent = world.signed("us-cyber", tlp="amber")
    status = await world.post("us-cyber", sent)
    assert (status["status"], status["success_count"], status["total_count"]) == ("complete", 1, 1)
    assert sent["id"] in await world.pull("mx-ciber")
    assert sent["id"] in await world.pull("us-customs")


@pytest.mark.rule("AUT-09")
@pytest.mark.peer("OCT-5")
async def test_domestic_and_noforn_stay_and_explain_names_the_clause(world: World) -> None:
    home = world.signed("us-cyber")
    noforn = world.signed("us-cyber", object_marking_refs=[TLP2["amber"], NOFORN])
    await world.post("us-cyber", home, to="us-domestic")
    await world.post("us-cyber", noforn)
    assert {home["id"], noforn["id"]} & set(await world.pull("mx-ciber")) == set()
    assert home["id"] in await world.pull("us-customs", "us-domestic")
    assert noforn["id"] in await world.pull("us-customs")
    for obj, clause in ((home, "F-DOMESTIC"), (noforn, "F-NOFORN")):
        url = f"{world.hub.url}/api/v1/explain?object={obj['id']}&to=mx-ciber"
        async with world.session.get(url, headers=world.headers("us-cyber")) as answer:
            assert answer.status == 200
            assert clause in await answer.text()


async def test_the_other_country_does_not_learn_that_a_collection_exists(world: World) -> None:
    status, body, _ = await world.get("mx-ciber", "collections/")
    assert status == 200
    assert "us-domestic" not in str(body)
    status, _, _ = await world.get("mx-ciber", f"collections/{world.collections['us-domestic']}/objects/")
    assert status == 404


@pytest.mark.peer("MSP-1")
async def test_a_tampered_object_is_refused(world: World) -> None:
    tampered = world.signed("us-cyber") | {"name": "other"}
    assert failure(await world.post("us-cyber", tampered))["x_code"] == "signature-invalid"


@pytest.mark.peer("MSP-4b")
async def test_a_signature_by_another_members_key_is_refused(world: World) -> None:
    stolen = world.sign("us-customs", world.indicator("us-cyber"))
    assert failure(await world.post("us-cyber", stolen))["x_code"] == "signature-author"
    theirs = world.signed("us-customs")
    assert failure(await world.post("us-cyber", theirs))["x_code"] == "signature-submitter"


async def test_a_certificate_of_the_wrong_country_is_refused(world: World) -> None:
    member = world.members["us-customs"]
    issued = world.home.authority("MX").issue("member-signing", "us-customs", now=as_datetime(world.clock.now_us()))
    assert issued.key is not None
    await world.hub.services.governance.add_signing_cert(OPERATOR, "us-customs", issued.certificate)
    signer = Signer(issued.key, issued.certificate, member.identity_id)
    sent = signer.sign(world.indicator("us-customs"), signed_at=world.signed("us-customs")["modified"][:19] + "Z")
    assert failure(await world.post("us-customs", sent))["x_code"] == "signature-wrong-country"


@pytest.mark.peer("MSP-3b")
async def test_a_revoked_certificate_is_refused_from_the_next_request(world: World) -> None:
    sent = world.signed("us-maritime")
    key = world.home.signer("us-maritime", "").certificate
    await world.hub.services.governance.revoke_signing_cert(OPERATOR, thumbprint(key), reason="superseded")
    assert failure(await world.post("us-maritime", sent))["x_code"] == "signature-revoked"


@pytest.mark.peer("MED-5c")
@pytest.mark.rule("ADD-13")
async def test_ids_belong_to_their_originator_and_versions_do_not_change(world: World) -> None:
    first = world.indicator("us-cyber")
    await world.post("us-cyber", world.sign("us-cyber", first))
    foreign = first | {"created_by_ref": world.members["mx-ciber"].identity_id}
    assert failure(await world.post("mx-ciber", world.sign("mx-ciber", foreign)))["x_code"] == "id-owned-by-another"
    other = world.sign("us-cyber", first | {"name": "other"})
    refused = failure(await world.post("us-cyber", other, **{"Accept-Language": "es-MX,es;q=0.9"}))
    assert refused["x_code"] == "version-conflict"
    assert "versión" in refused["message"]


async def test_unsigned_objects_are_refused_and_one_failure_stops_no_other(world: World) -> None:
    good = world.signed("us-cyber")
    status = await world.post("us-cyber", world.indicator("us-cyber"), good, {"type": "nonsense"})
    assert (status["success_count"], status["failure_count"]) == (1, 2)
    assert good["id"] in await world.pull("us-customs")


async def test_private_addresses_do_not_become_indicators(world: World) -> None:
    sent = world.signed("us-cyber", pattern="[ipv4-addr:value = '10.0.0.1']")
    refused = failure(await world.post("us-cyber", sent))
    assert refused["x_code"] == "warninglist"
    assert "It never becomes an indicator" in refused["message"]


async def test_a_value_that_should_be_held_is_refused_and_told_what_to_do(world: World) -> None:
    sent = world.signed("us-cyber", pattern="[ipv4-addr:value = '8.8.8.8']")
    refused = failure(await world.post("us-cyber", sent, **{"Accept-Language": "es"}))
    assert (refused["x_code"], refused["x_field"]) == ("warninglist-held", "pattern")
    assert "pida que lo libere el operador" in refused["message"]
    assert sent["id"] not in await world.pull("us-cyber")


@pytest.mark.rule("TIM-14")
async def test_a_time_ahead_of_the_hubs_clock_is_refused(world: World) -> None:
    """A client that keeps the greatest `modified` it saw would be silenced by one object dated 2099."""
    for minutes, taken in ((4, 1), (6, 0)):
        ahead = as_millis_text(world.clock.now_us() + minutes * 60_000_000)
        status = await world.post("us-cyber", world.signed("us-cyber", modified=ahead))
        assert status["success_count"] == taken, status
    assert (failure(status)["x_code"], failure(status)["x_field"]) == ("timestamp-future", "modified")


@pytest.mark.trap(10)
async def test_a_version_that_was_withheld_on_the_way_leaves_a_trace(world: World) -> None:
    signer = world.home.signer("us-cyber", world.members["us-cyber"].identity_id)
    first = world.signed("us-cyber")
    await world.post("us-cyber", first)
    plain = {key: value for key, value in first.items() if key != "extensions"}
    for name, previous, notes in (("second", first, None), ("third", first, ["signature-gap"])):
        now = world.clock.now_us()
        changed = plain | {"name": name, "modified": as_millis_text(now)}
        signed_at = as_datetime(now).strftime("%Y-%m-%dT%H:%M:%SZ")
        sent = signer.sign(changed, signed_at=signed_at, prev_sha256=sha256(canonical(previous)).hexdigest())
        status = await world.post("us-cyber", sent)
        assert status["successes"][0].get("x_notes") == notes
    assert "withheld" in status["successes"][0]["message"]
    size = (await world.hub.services.store.trees())["us"].size
    leaves = await world.hub.services.store.leaves("us", size - 6, size)
    [gap] = [leaf for leaf in leaves if b'"gap":true' in leaf]
    assert first["id"].encode() in gap


@pytest.mark.rule("IDN-11", "PAT-07", "COM-12")
async def test_what_the_standard_leaves_open_is_taken_as_it_is(world: World) -> None:
    """References to what the hub does not hold, patterns of other languages, words of one's own in open vocabularies."""
    now = as_millis_text(world.clock.now_us())
    author = world.members["us-cyber"].identity_id
    relationship = {
        "type": "relationship", "spec_version": "2.1", "id": f"relationship--{uuid.uuid4()}", "created": now,
        "modified": now, "created_by_ref": author, "relationship_type": "own-word", "source_ref": f"malware--{uuid.uuid4()}",
        "target_ref": f"x-port--{uuid.uuid4()}", "object_marking_refs": [TLP2["green"]],
    }  # fmt: skip
    sigma = world.indicator(
        "us-cyber", pattern="title: [[[ no STIX", pattern_type="sigma", indicator_types=["Own Word"]
    )
    status = await world.post("us-cyber", world.sign("us-cyber", relationship), world.sign("us-cyber", sigma))
    assert status["success_count"] == 2, status
    assert {relationship["id"], sigma["id"]} <= set(await world.pull("us-cyber"))
    assert sigma["id"] in await world.pull("us-customs")


@pytest.mark.rule("MRK-09", "CNF-03")
async def test_one_marked_property_holds_the_whole_object_back(world: World) -> None:
    """3.5: cutting the field out would need a new id; an object goes out whole, or not at all."""
    marks = [{"selectors": ["name"], "marking_ref": NOFORN}]
    sent = world.signed("us-cyber", tlp="green", granular_markings=marks)
    await world.post("us-cyber", sent)
    assert sent["id"] not in await world.pull("mx-ciber")
    assert sent["id"] in await world.pull("us-customs")


async def test_a_suspended_member_is_refused_on_its_next_request(world: World) -> None:
    governance = world.hub.services.governance
    await governance.set_status(OPERATOR, "us-customs", Status.SUSPENDED)
    status, body, _ = await world.get("us-customs", "collections/")
    assert status == 403, body
    await governance.set_status(OPERATOR, "us-customs", Status.ACTIVE)
    status, _, _ = await world.get("us-customs", "collections/")
    assert status == 200


@pytest.mark.peer("FRE-2")
async def test_no_credential_no_answer(world: World) -> None:
    async with world.session.get(f"{world.hub.url}/taxii2/") as answer:
        assert answer.status == 401
        assert "Basic" in answer.headers["WWW-Authenticate"]


# --- certificates instead of tokens ---


async def _with_certificate(world: World, context: ssl.SSLContext) -> int:
    url = f"https://localhost:{world.hub.mtls_port}/taxii2/us-mx/collections/"
    headers = {"Accept": "application/taxii+json;version=2.1"}
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url, headers=headers) as answer:
        return answer.status


@pytest.mark.rule("TRN-06")
async def test_a_certificate_of_another_authority_opens_nothing(world: World, tmp_path: Path) -> None:
    """Of a second exchange, whose root has the same name as ours: it fails in the handshake. Without one it does too."""
    other = setup.create(tmp_path / "other", world.clock).authority("MX")
    issued = other.issue("member-tls", "mx-marina", now=as_datetime(world.clock.now_us()))
    for certificate in (issued.save(tmp_path, "tls"), None):
        context = ssl.create_default_context(cafile=str(world.home.ca_file))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        with pytest.raises((aiohttp.ClientError, OSError)):
            await _with_certificate(world, context)


@pytest.mark.rule("AUT-07", "TRN-06")
@pytest.mark.rule("TRN-07")
async def test_a_client_certificate_is_a_credential_until_it_is_revoked(world: World) -> None:
    context = ssl.create_default_context(cafile=str(world.home.ca_file))
    directory = world.home.member("mx-marina")
    context.load_cert_chain(directory / "tls.pem", directory / "tls.key")
    assert await _with_certificate(world, context) == 200
    rules = await world.hub.services.rulebook.current()
    [mine] = [c for c in rules.registry.credentials.values() if c.member == "mx-marina" and c.kind == "certificate"]
    await world.hub.services.governance.end_credential(OPERATOR, mine.id)
    assert await _with_certificate(world, context) == 401


# --- what auditors see ---


@pytest.mark.peer("MSP-4b")
async def test_submission_and_release_can_be_proved_without_the_hub(world: World, tmp_path: Path) -> None:
    sent = world.signed("us-cyber", name="proved")
    url = f"{world.hub.url}/api/v1/submissions?collection=indicators"
    async with world.session.post(url, json={"objects": [sent]}, headers=world.headers("us-cyber")) as answer:
        assert answer.status in (200, 201, 202), await answer.text()
        leaves = (await answer.json(content_type=None))["leaves"]
    _, _, headers = await world.get("mx-ciber", f"collections/{world.collections['indicators']}/objects/")
    released = headers["X-Audit-Leaf"].split(",")[0].strip()
    publisher = world.hub.services.publisher
    policies = read_policies(world.home.root / "hub" / "witness-policy")
    places = [(leaves[0]["log"], int(leaves[0]["index"]))]
    places.append(("both", int(released.rpartition("/")[2])))
    receipts = {}
    for number, (log, index) in enumerate(places):
        proof = await publisher.receipt(log, index, wait_seconds=10)
        assert proof is not None
        [leaf] = await world.hub.services.store.leaves(log, index, index + 1)
        proven = Receipt.parse(proof).verify(leaf, policies[log])
        assert {name[:2] for name in proven.cosigned} == ({"us", "mx"} if log == "both" else {log})
        receipts[f"r{number}"] = (proof, leaf)
    assert StixObject.of(sent, b"").id.encode() in receipts["r0"][1]
    await world.cosigned()
    await write_copy(
        tmp_path / "copy", HubCopy(world.hub.services, ("both", "us", "mx"), countries=("us", "mx")), Enclosed(receipts)
    )
    report = verify_copy(tmp_path / "copy", policies)
    assert report.ok, report.findings
    files = sorted(one for one in (tmp_path / "copy").rglob("*") if one.is_file())
    for file in files:
        original = file.read_bytes()
        if not original:
            continue
        place = len(original) // 2
        file.write_bytes(original[:place] + bytes([original[place] ^ 1]) + original[place + 1 :])
        broken = verify_copy(tmp_path / "copy", policies)
        name = str(file.relative_to(tmp_path / "copy"))
        assert not broken.ok, name
        assert any(finding.file == name for finding in broken.findings), name
        file.write_bytes(original)
