"""A gateway's rights and duties at a whole hub: who is one, what it must say, how it discloses, and what it keeps."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from certs.faults import KeyFault
from certs.jcs import canonical
from certs.origin import GATEWAY_RELEASE, Origin
from certs.signature import EXT_ATT, Signer, attestation
from exchange.cli import setup
from exchange.cli.__main__ import puente as cli
from exchange.client import Client, EvidenceFault
from exchange.errors import Conflict, Malformed, NotFound, Unavailable
from exchange.gateway.book import Book
from exchange.gateway.opening import Opening
from exchange.gateway.relay import Gateway, Run
from exchange.model.member import Status
from exchange.relaying import Asked
from exchange.rules import Caller, Glance
from exchange.times import as_datetime, as_text
from policies.agreement import load
from tests.gateways import (
    HOUR,
    client_of,
    gateway_world,
    gateways_of,
    got,
    opened,
    ports,
    relay,
    standing_for,
)
from tests.world import TLP2, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with gateway_world(tmp_path_factory.mktemp("gateway"), **database) as made:
        yield made


# --- who may be a gateway, and what one must say ---


async def ask(world: World, slug: str, path: str, value: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    url = f"{world.hub.url}/api/v1/gateway/{path}"
    async with world.session.post(url, json=value, headers=world.headers(slug)) as answer:
        return answer.status, await answer.json(content_type=None)


def made_by(world: World, slug: str, covers: str, **more: Any) -> list[dict[str, Any]]:
    """A gateway's object with its attestation, by a hand that may forge either."""
    obj = world.signed(slug, **more)
    covered = {"id": obj["id"], "version": obj["modified"], "sha256": covers or _digest(obj)}
    made = attestation(
        id=f"object-attestation--{obj['id'][-36:]}",
        created_by_ref=world.members[slug].identity_id,
        created=obj["modified"],
        covers=[{**covered, "origin_commitment": "0" * 64}],
        attestation_type=GATEWAY_RELEASE,
        origin=Origin("MX", ("operator",), ("trade.port",)),
        object_marking_refs=obj["object_marking_refs"],
    )
    return [world.sign(slug, made), obj]


def _digest(obj: dict[str, Any]) -> str:
    return sha256(canonical(obj)).hexdigest()


def codes(status: dict[str, Any]) -> list[str]:
    return sorted(one["x_code"] for one in status.get("failures", []))


async def test_a_gateways_object_counts_only_beside_its_attestation(world: World) -> None:
    alone = await world.post("mx-gateway", world.signed("mx-gateway"))
    assert codes(alone) == ["attestation-missing"]
    other_bytes = await world.post("mx-gateway", *made_by(world, "mx-gateway", "0" * 64))
    assert codes(other_bytes) == ["attestation-digest"]
    good = await world.post("mx-gateway", *made_by(world, "mx-gateway", ""))
    assert codes(good) == []
    identity = {
        "type": "identity", "spec_version": "2.1", "id": world.members["mx-gateway"].identity_id,
        "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "name": "National Gateway",
    }  # fmt: skip
    assert codes(await world.post("mx-gateway", world.sign("mx-gateway", identity))) == [], "it may say who it is"


async def test_an_origin_is_the_gateways_own_country_or_none(world: World) -> None:
    for change in (
        {"origin": {"country": "US", "roles": ["operator"]}},
        {"origin": {"country": "MX"}},
        {"covers": [{"id": "x"}]},
    ):
        obj, made = world.signed("mx-gateway"), made_by(world, "mx-gateway", "")[0]
        made = {name: value for name, value in made.items() if name != "extensions"} | change
        made["extensions"] = {EXT_ATT: {"extension_type": "new-sdo"}}
        made["covers"] = change.get("covers", [made["covers"][0] | {"id": obj["id"], "sha256": _digest(obj), "version": obj["modified"]}])  # fmt: skip
        status = await world.post("mx-gateway", world.sign("mx-gateway", made), obj)
        assert codes(status) == ["attestation-form", "attestation-missing"], change


async def test_a_member_that_signs_as_a_gateway_is_refused(world: World) -> None:
    """By its own key, or by a certificate of the gateway intermediate that no trust list names."""
    status = await world.post("mx-puerto-pac", *made_by(world, "mx-puerto-pac", ""))
    assert codes(status) == ["attestation-gateway"], "its own object is still its own"
    issued = world.home.authority("MX").issue("gateway", "mx-puerto-pac", now=as_datetime(world.clock.now_us()))
    await world.hub.services.governance.add_signing_cert(setup.OPERATOR, "mx-puerto-pac", issued.certificate)
    assert issued.key is not None
    signer = Signer(issued.key, issued.certificate, world.members["mx-puerto-pac"].identity_id)
    sent = signer.sign(world.indicator("mx-puerto-pac"), signed_at=as_text(world.clock.now_us())[:19] + "Z")
    assert codes(await world.post("mx-puerto-pac", sent)) == ["signature-purpose"]
    borrowed = world.sign("mx-gateway", world.indicator("mx-puerto-pac"))  # created_by_ref is the port's
    assert codes(await world.post("mx-puerto-pac", borrowed)) == ["signature-author"]


async def test_only_a_countrys_own_gateway_is_answered_and_of_its_own_originals_only(world: World) -> None:
    original = await ports(world)
    question = {"objects": [{"collection": "indicators", "id": original["id"], "version": original["modified"]}]}
    for slug in ("us-cyber", "mx-ciber", "mx-puerto-pac", "aud-mx"):
        status, body = await ask(world, slug, "judgements", question)
        assert (status, body["error_code"]) == (403, "gateways-only"), slug
    status, body = await ask(world, "us-gateway", "judgements", question)
    assert (status, body["judgements"]) == (200, [{"code": "absent"}]), "another country's is as if it were not there"
    status, body = await ask(world, "mx-gateway", "judgements", question)
    (told,) = body["judgements"]
    assert (status, told["code"], body["period_seconds"]) == (200, "relay", HOUR)
    assert told["origin"] == {"country": "MX", "roles": ["operator"], "sectors": ["trade.port"]}
    run = await relay(world, "us-gateway")
    assert run.sent == 0


@pytest.mark.parametrize(
    "value",
    [{}, {"objects": {}}, {"objects": [{"id": "x"}]}, {"objects": [{"collection": 1, "id": "x", "version": "y"}]},
     {"objects": [{"collection": "indicators", "id": "x", "version": "y"}] * 501}],
)  # fmt: skip
async def test_a_question_out_of_its_form_is_refused_by_name(world: World, value: dict[str, Any]) -> None:
    status, body = await ask(world, "mx-gateway", "judgements", value)
    assert (status, body["error_code"]) == (400, "body-form")


async def test_what_is_not_to_be_relayed_says_why(world: World) -> None:
    """Authorities go themselves; doubtful, domestic and specially marked things stay; few alike are too easily told apart."""
    named = world.signed("mx-ciber")
    await world.post("mx-ciber", named)
    doubtful = await ports(world, confidence=10)
    home = world.signed("mx-puerto-pac")
    await world.post("mx-puerto-pac", home, to="mx-domestic")
    statement = {
        "type": "marking-definition", "spec_version": "2.1", "id": "marking-definition--7d7e4e0c-6f0e-4a0e-9b0e-8a54bd8ba5d1",
        "created_by_ref": world.members["mx-puerto-pac"].identity_id, "created": "2026-01-01T00:00:00.000Z",
        "definition_type": "statement", "definition": {"statement": "© Puerto de Costa Brava"},
    }  # fmt: skip
    await world.post("mx-puerto-pac", world.sign("mx-puerto-pac", statement))
    stated = await ports(world, object_marking_refs=[TLP2["amber"], statement["id"]])
    unmarked = world.indicator("mx-puerto-pac")
    del unmarked["object_marking_refs"]
    unmarked = world.sign("mx-puerto-pac", unmarked)
    await world.post("mx-puerto-pac", unmarked)
    asked = [("indicators", one) for one in (named, doubtful, stated, unmarked)] + [("mx-domestic", home)]
    question = [{"collection": at, "id": one["id"], "version": one["modified"]} for at, one in asked]
    _, body = await ask(world, "mx-gateway", "judgements", {"objects": question})
    told = body["judgements"]
    assert [one["code"] for one in told] == ["named", "denied", "relay", "relay", "denied"]
    assert told[2]["object_marking_refs"] == [TLP2["amber"]], "a statement says nothing, and may name its author"
    assert told[3]["object_marking_refs"] == [TLP2["amber+strict"]], "what the agreement says for unmarked objects"
    governance, second = world.hub.services.governance, world.members["mx-puerto-sur"]
    await governance.put_member(setup.OPERATOR, replace(second, sectors=("trade.rail",)))
    try:
        _, body = await ask(world, "mx-gateway", "judgements", {"objects": question[2:3]})
        assert body["judgements"][0]["origin"] == {"country": "MX", "roles": ["operator"]}, "its sector has nobody else"
        await governance.set_status(setup.OPERATOR, "mx-puerto-sur", Status.SUSPENDED)
        _, body = await ask(world, "mx-gateway", "judgements", {"objects": question[2:3]})
        assert body["judgements"] == [{"code": "crowd"}]
    finally:
        await governance.set_status(setup.OPERATOR, "mx-puerto-sur", Status.ACTIVE)
        await governance.put_member(setup.OPERATOR, second)


@pytest.mark.parametrize(
    ("clauses", "code"),
    [
        ("", "relay"),
        ('[[forbid]]\nid = "F-ONE"\nfrom = { members = ["mx-puerto-pac"] }\nto = { members = ["us-customs"] }', "wider"),
        ('[[forbid]]\nid = "F-ONE"\nfrom = { members = ["mx-puerto-pac"] }\nto = { members = ["mx-aduanas"] }', "wider"),
        ('[[forbid]]\nid = "F-ONE"\nfrom = { roles = ["operator"] }\nto = { members = ["us-customs"] }', "relay"),
        ('[[forbid]]\nid = "F-ONE"\nwhen = { assurance.any = ["gateway-signed"], classes = ["indicator"] }', "denied"),
    ],
)  # fmt: skip
async def test_a_stand_in_must_not_reach_who_was_denied_the_original(world: World, clauses: str, code: str) -> None:
    """A clause that names the sender cannot match what does not name it."""
    original = await ports(world)
    services = world.hub.services
    rules, epochs = await services.rulebook.glance()
    texts = '\ntext = { en = "No.", es = "No." }' if clauses else ""
    head = "[originator_control]"
    document = setup.sample_agreement().decode().replace(head, f"{clauses}{texts}\n\n{head}", 1)
    other = replace(rules, agreement=load(document.encode()))
    asked = [Asked("indicators", original["id"], original["modified"])]
    caller = Caller(world.members["mx-gateway"], "acct")
    told = await services.relaying.judge(caller, Glance(other, epochs), asked)
    assert [one["code"] for one in told["judgements"]] == [code]


async def test_without_anonymity_in_the_agreement_nothing_is_relayed(world: World) -> None:
    original = await ports(world)
    rules, epochs = await world.hub.services.rulebook.glance()
    table = '[anonymity]\nperiod = "1h"\norigin = "sector"\ncrowd = 2\n'
    document = setup.sample_agreement().decode()
    assert table in document
    other = replace(rules, agreement=load(document.replace(table, "").encode()))
    asked = [Asked("indicators", original["id"], original["modified"])]
    caller = Caller(world.members["mx-gateway"], "acct")
    told = await world.hub.services.relaying.judge(caller, Glance(other, epochs), asked)
    assert (told["judgements"], told["period_seconds"]) == ([{"code": "denied"}], None)


# --- disclosure ---


async def test_a_disclosure_is_recorded_proved_and_bound_to_one_original(world: World) -> None:
    original, other = await ports(world), await ports(world)
    await relay(world)
    stand = await standing_for(world, original["id"])
    opening = opened(world, stand["id"])
    (attested,) = [one for one in await got(world, "us-cyber", "attestations") if one["id"] == opening.attestation]
    assert opening.prove(attested, original) == Origin("MX", ("operator",), ("trade.port",))
    assert Opening.read(opening.encode()) == opening
    with pytest.raises(EvidenceFault, match="disclosure-original"):
        opening.prove(attested, other)
    with pytest.raises(EvidenceFault, match="disclosure-attestation"):
        opening.model_copy(update={"object": other["id"]}).prove(attested)
    for tampered in ({"salt": "0" * 64}, {"original_sha256": _digest(other)}):
        with pytest.raises(EvidenceFault, match="disclosure-mismatch"):
            opening.model_copy(update=tampered).prove(attested)
    said = {
        "attestation": opening.attestation, "object": opening.object, "version": opening.object_version,
        "salt": opening.salt, "sha256": opening.original_sha256, "reason": "request 7 of the joint committee",
    }  # fmt: skip
    assert (await ask(world, "mx-gateway", "disclosures", said | {"salt": "0" * 64}))[1][
        "error_code"
    ] == "disclosure-mismatch"
    assert (await ask(world, "us-gateway", "disclosures", said))[1]["error_code"] == "no-such-object"
    assert (await ask(world, "mx-ciber", "disclosures", said))[1]["error_code"] == "gateways-only"
    assert (await ask(world, "mx-gateway", "disclosures", said | {"reason": " "}))[1]["error_code"] == "body-form"
    async with client_of(world, "mx-gateway") as client:
        told = (await client.disclose(said))["leaves"]
    assert [one["log"] for one in told] == ["both"]
    (leaf,) = await world.hub.services.store.leaves("both", told[0]["index"], told[0]["index"] + 1)
    entry = json.loads(leaf)
    assert (entry["t"], entry["pub"]["object"], entry["pub"]["reason"]) == (
        "gateway.disclose",
        stand["id"],
        said["reason"],
    )
    port = world.members["mx-puerto-pac"]
    assert not any(one.encode() in leaf for one in (original["id"], opening.original_sha256, opening.salt, port.slug))


# --- the book ---


async def test_after_a_crash_the_same_bytes_are_sent_again(world: World, tmp_path: Path) -> None:
    original = await ports(world)
    world.clock.advance(seconds=HOUR)  # type: ignore[attr-defined]
    directory = world.home.root / "mx-gateway-book"

    class Cut(Client):
        async def send(self, envelope: Any, collection: str) -> Any:
            await super().send(envelope, collection)
            raise Unavailable("cut", "cortado")

    signer = world.home.signer("mx-gateway", world.members["mx-gateway"].identity_id)
    token = world.tokens["mx-gateway"]
    async with Cut(world.hub.url, clock=world.clock, token=token, ca_file=world.home.ca_file, signer=signer) as client:
        run = await Gateway(client, directory, world.clock).run()
        assert run.fault is not None and run.sent == 0
    before = len(await gateways_of(world, "us-maritime"))
    run = await relay(world, wait=False)
    assert run.sent >= 1
    assert len(await gateways_of(world, "us-maritime")) == before
    assert (await standing_for(world, original["id"]))["pattern"] == original["pattern"]


async def test_the_book_is_its_owners_alone_and_one_gateways(world: World, tmp_path: Path) -> None:
    run = await relay(world)
    directory = world.home.root / "mx-gateway-book"
    assert run.fault is None
    assert [path.stat().st_mode & 0o077 for path in directory.glob("book.sqlite*")] == [0] * len(
        list(directory.glob("book.sqlite*"))
    )
    assert directory.stat().st_mode & 0o077 == 0
    with Book(directory, world.members["mx-gateway"].identity_id) as book, book.alone():
        async with client_of(world, "mx-gateway") as client:
            with pytest.raises(Conflict, match="running"):
                await Gateway(client, directory, world.clock).run()
    with pytest.raises(Conflict, match="another gateway"):
        Book(directory, "identity--00000000-0000-4000-8000-000000000009")
    (directory / "book.sqlite").chmod(0o640)
    with pytest.raises(KeyFault):
        Book(directory, world.members["mx-gateway"].identity_id)
    (directory / "book.sqlite").chmod(0o600)


async def test_two_gateways_of_one_country_there_are_not(world: World) -> None:
    third = replace(setup.sample_member("mx-gateway"), slug="mx-otra")
    with pytest.raises(Conflict) as refusal:
        await setup.add_member(world.hub.services, world.home, third)
    assert refusal.value.code == "gateway-exists"
    assert "mx-otra" not in (await world.hub.services.rulebook.current()).registry.members


# --- by hand ---


async def test_status_held_disclose_and_check_by_hand(world: World, tmp_path: Path) -> None:
    original = await ports(world)
    held = await ports(world, pattern="[x-port:name = 'a']")
    await relay(world)
    stand = await standing_for(world, original["id"])
    state = str(world.home.root / "mx-gateway-book")

    def puente(*words: str, lang: str = "C.UTF-8") -> Result:
        env = {"LC_ALL": lang, "LANG": lang, "PUENTE_TOKEN": world.tokens["mx-gateway"], "PUENTE_PROFILE": None}
        return CliRunner(env=env).invoke(cli, ["gateway", *words])

    async def by_hand(*words: str, lang: str = "C.UTF-8") -> Result:
        me = ["--as", str(world.home.member("mx-gateway")), "--state", state] if words[0] != "check" else []
        return await asyncio.to_thread(puente, words[0], *me, *words[1:], lang=lang)

    told = json.loads((await by_hand("status", "--json")).output)[0]
    assert (told["agreement"], told["held"] > 0, told["standing"] > 0) == ("us-mx-trade-cyber/1", True, True)
    row = next(one for one in json.loads((await by_hand("held", "--json")).output) if one["object"] == held["id"])
    assert (row["code"], row["reason"]) == ("pattern-path", "The pattern names the property x-port:name.")
    assert "El patrón nombra la propiedad x-port:name." in (await by_hand("held", lang="es_MX.UTF-8")).output
    file, attested, whole = tmp_path / "opening.json", tmp_path / "attestation.json", tmp_path / "original.json"
    named = await by_hand("disclose", stand["id"], "--reason", f"it is {original['id']}", "-o", str(file))
    assert isinstance(named.exception, Malformed) and not file.exists(), (
        "the log is for good, and both countries read it"
    )
    done = await by_hand("disclose", stand["id"], "--reason", "request 8", "-o", str(file))
    assert done.exit_code == 0, done
    assert "recorded as both/" in done.output
    assert file.stat().st_mode & 0o077 == 0
    again = await by_hand("disclose", stand["id"], "--reason", "request 8", "-o", str(file))
    assert isinstance(again.exception, Conflict), "nothing is recorded for a file that cannot be written"
    unknown = await by_hand("disclose", original["id"], "--reason", "request 8", "-o", str(tmp_path / "other"))
    assert isinstance(unknown.exception, NotFound)
    attestations = await got(world, "us-cyber", "attestations")
    attested.write_bytes(b"".join(canonical(one) + b"\n" for one in attestations))
    whole.write_bytes(canonical(original))
    proved = await by_hand(
        "check", str(file), str(attested.rename(tmp_path / "attestations.ndjson")), "--original", str(whole)
    )
    assert proved.exit_code == 0, proved
    assert proved.output == f"{stand['id']} stands for {original['id']} of MX.\n"
    whole.write_bytes(canonical(held))
    wrong = await by_hand("check", str(file), str(tmp_path / "attestations.ndjson"), "--original", str(whole))
    assert isinstance(wrong.exception, EvidenceFault)
    other = await asyncio.to_thread(puente, "status", "--as", str(world.home.member("us-gateway")), "--state", state)
    assert isinstance(other.exception, Conflict)


async def test_it_waits_for_the_end_of_the_period_and_a_minute_after_a_fault(world: World) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            raise asyncio.CancelledError

    faults = iter([None, Unavailable("gone", "no está")])

    class Flaky(Gateway):
        async def run(self, *, again: bool = False) -> Run:
            done = await super().run(again=again)
            return replace(done, fault=next(faults))

    async with client_of(world, "us-gateway") as client:
        mine = Flaky(client, world.home.root / "us-gateway-book", world.clock)
        with pytest.raises(asyncio.CancelledError):
            await mine.keep_running(on_run=lambda _: None, pause=nap)
    rest = HOUR - world.clock.now_us() // 1_000_000 % HOUR
    assert rest < naps[0] <= rest + 1 + HOUR / 20
    assert naps[1] == 60
