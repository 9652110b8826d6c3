"""`puente consent` and `puente audience` as people use them: at a terminal, with their own keys and nothing else, in both languages."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from click.testing import CliRunner

from exchange.cli.__main__ import main
from exchange.cli.setup import OPERATOR
from exchange.model.member import Status
from exchange.times import as_text
from policies.terms import TERMS_EXTENSION
from tests.contract.test_originators_terms import marked
from tests.taxii import leaves
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPANISH = "es_MX.UTF-8"
DAY_US = 86_400_000_000
ABSENT = "00000000-0000-4000-8000-000000000000"


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("consent-commands"), **database) as made:
        yield made


async def puente_as(world: World, slug: str, *words: str, lang: str = "C.UTF-8") -> Said:
    """Type it at that member's machine: its profile, its token, its signing key."""
    runner = CliRunner(env={"LC_ALL": lang, "PUENTE_TOKEN": world.tokens[slug]})

    def run() -> Said:
        with runner.isolation() as (out, err, _):
            try:
                main([*words, "--home", str(world.home.root), "--as", slug])
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            return Said(code, out.getvalue().decode(), err.getvalue().decode())

    return await asyncio.to_thread(run)


def until(world: World, days: int = 10) -> str:
    return as_text(world.clock.now_us() + days * DAY_US)


async def test_a_consent_is_asked_for_granted_and_taken_back(world: World) -> None:
    """Each step says what may be done next; what was signed is in the log as it was signed."""
    definition, sent = marked(world, TERMS_EXTENSION, {"case": "flood-2027"})
    assert (await world.post("us-cyber", definition, sent))["failure_count"] == 0
    question = ("consent", "request", "us-cyber", "--case", "flood-2027", "--reason", "También nos afecta.")
    asked = await puente_as(world, "mx-ciber", *question, lang=SPANISH)
    assert (asked.code, "Sin respuesta hasta 20" in asked.out) == (0, True)
    request = asked.out.partition(":")[0]

    seen = await puente_as(world, "us-cyber", "consent", "list", lang=SPANISH)
    assert "abierta" in seen.out and "También nos afecta." in seen.out
    assert "puente consent grant --answers SOLICITUD" in seen.err, "what the originator can do about it"
    assert "consent grant" not in (await puente_as(world, "mx-ciber", "consent", "list")).err, "not the asker's to do"

    told = await puente_as(world, "us-cyber", "consent", "grant", "--case", "flood-2027", "--to", "mx-ciber", "--to",
                           "mx-ciber", "--until", until(world), "--answers", request)  # fmt: skip
    assert told.code == 0, told.err
    consent = told.out.partition(":")[0]
    assert told.out == f"{consent}: granted to mx-ciber. To take it back: puente consent withdraw {consent}\n"
    assert sent["id"] in await world.pull("mx-ciber")
    assert sent["id"] not in await world.pull("mx-aduanas")
    [entry] = await leaves(world, "both", "consent.grant")
    assert (entry["pub"]["id"], entry["pub"]["members"], entry["actor"].split(":")[1]) == (
        consent,
        ["mx-ciber"],
        "us-cyber",
    )

    mine = json.loads((await puente_as(world, "us-cyber", "consent", "list", "--json")).out)
    assert [one["state"] for one in mine["requests"]] == ["granted"]
    assert [(one["state"], one["members"]) for one in mine["consents"]] == [("standing", ["mx-ciber"])]

    taken = await puente_as(world, "us-cyber", "consent", "withdraw", consent, lang=SPANISH)
    assert taken.out == f"{consent} queda retirado.\n"
    assert sent["id"] not in await world.pull("mx-ciber")
    assert "retirado" in (await puente_as(world, "us-cyber", "consent", "list", lang=SPANISH)).out


async def test_a_request_is_refused(world: World) -> None:
    asked = await puente_as(world, "mx-aduanas", "consent", "request", "us-cyber", "--reason", "?")
    request = asked.out.partition(":")[0]
    refused = await puente_as(world, "us-cyber", "consent", "refuse", request, lang=SPANISH)
    assert refused.out == f"{request} queda rechazada.\n"
    assert "refused" in (await puente_as(world, "mx-aduanas", "consent", "list")).out


@pytest.mark.parametrize(
    ("words", "english", "spanish"),
    [
        (("grant", "--to", "mx-ciber", "--until", "10 de diciembre"), "statement-form [until]: until must be a time in UTC",
         "until debe ser una hora en UTC como 2027-01-15T06:00:00Z."),
        (("grant", "--to", "mx-ciber", "--until", "2026-01-01T00:00:00Z"), "statement-time [until]: It ends before it begins.",
         "Termina antes de comenzar."),
        (("grant", "--to", "mx-cibr", "--until", "UNTIL"), "no-such-member [members]: There is no member mx-cibr,",
         "No existe el miembro mx-cibr, o ninguno que usted pueda conocer."),
        (("grant", "--to", "mx-puerto-sur", "--until", "UNTIL"), "no-such-member [members]", "No existe el miembro mx-puerto-sur,"),
        (("grant", "--until", "UNTIL"), "statement-form [members]: members must be short names", "nombres cortos de miembros"),
        (("grant", "--country", "FR", "--until", "UNTIL"), "'FR' is not one of 'US', 'MX'", "'FR'"),
        (("grant", "--case", "Flood 2027", "--to", "mx-ciber", "--until", "UNTIL"), "statement-form [case]: case must be a short name",
         "case debe ser un nombre corto"),
        (("grant", "--to", "mx-ciber"), "Missing option '--until'", "--until"),
        (("grant", "--to", "mx-ciber", "--until", "UNTIL", "--answers", ABSENT), "no-such-statement [about]", "No existe esa declaración."),
        (("refuse", "nonsense"), "statement-form [about]: about must be the id of a statement", "about debe ser el id de una declaración"),
        (("withdraw", ABSENT), "no-such-statement [about]: There is no such statement.", "No existe esa declaración."),
        (("request", "us-nobody", "--reason", "?"), "no-such-originator [originator]", "No existe ese remitente"),
        (("request", "mx-ciber", "--reason", ""), "statement-form [reason]: reason must be a text of 1 to 1000", "un texto de 1 a 1000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
async def test_bad_input_is_told_by_its_field_and_says_nothing_in_the_members_name(
    world: World, words: tuple[str, ...], english: str, spanish: str
) -> None:
    before = [await world.hub.services.store.statements(), (await world.hub.services.store.trees())["both"].size]
    typed = [until(world) if word == "UNTIL" else word for word in words]
    for lang, wanted in (("C.UTF-8", english), (SPANISH, spanish)):
        told = await puente_as(world, "us-cyber", "consent", *typed, lang=lang)
        assert told.code in (1, 2), told
        assert wanted in told.err, told.err
    assert [
        await world.hub.services.store.statements(),
        (await world.hub.services.store.trees())["both"].size,
    ] == before


async def test_only_ones_own_key_speaks(world: World) -> None:
    """Another member's key, a key that others can read, none at all."""
    keys = world.home.member("us-customs")
    grant = ("consent", "grant", "--to", "mx-ciber", "--until", until(world))
    mine = (keys / "signing.key").read_bytes(), (keys / "signing.pem").read_bytes()
    other = world.home.member("us-maritime")
    try:
        (keys / "signing.key").write_bytes((other / "signing.key").read_bytes())
        told = await puente_as(world, "us-customs", *grant)
        assert (told.code, "settings [signing_certificate]" in told.err) == (1, True), told.err
        (keys / "signing.pem").write_bytes((other / "signing.pem").read_bytes())
        told = await puente_as(world, "us-customs", *grant, lang=SPANISH)
        assert (told.code, "statement-signer [jws]: Lo firmó otro miembro." in told.err) == (1, True), told.err
        (keys / "signing.key").write_bytes(mine[0])
        (keys / "signing.pem").write_bytes(mine[1])
        (keys / "signing.key").chmod(0o644)
        told = await puente_as(world, "us-customs", *grant)
        assert (told.code, "signing.key" in told.err) == (1, True), told.err
        (keys / "signing.key").unlink()
        told = await puente_as(world, "us-customs", *grant, lang=SPANISH)
        assert (told.code, "signing_key" in told.err) == (1, True), told.err
    finally:
        (keys / "signing.key").write_bytes(mine[0])
        (keys / "signing.key").chmod(0o600)
        (keys / "signing.pem").write_bytes(mine[1])
    assert (await puente_as(world, "us-customs", *grant)).code == 0


async def test_whom_one_may_not_know_may_be_answered(world: World) -> None:
    """An operator of the other country that is not named here is known by its own request, and by that alone."""
    grant = ("consent", "grant", "--case", "pier-9", "--to", "mx-puerto-pac", "--until", until(world))
    assert "no-such-member" in (await puente_as(world, "us-cyber", *grant)).err
    asked = await puente_as(
        world, "mx-puerto-pac", "consent", "request", "us-cyber", "--case", "pier-9", "--reason", "!"
    )
    assert asked.code == 0, asked.err
    assert (await puente_as(world, "us-cyber", *grant)).code == 0
    [standing] = json.loads((await puente_as(world, "mx-puerto-pac", "consent", "list", "--json")).out)["consents"]
    assert standing["members"] == ["mx-puerto-pac"]


async def test_a_suspended_member_says_nothing(world: World) -> None:
    governance = world.hub.services.governance
    await governance.set_status(OPERATOR, "us-maritime", Status.SUSPENDED)
    try:
        told = await puente_as(world, "us-maritime", "consent", "grant", "--country", "MX", "--until", until(world))
        assert told.code != 0 and told.err
    finally:
        await governance.set_status(OPERATOR, "us-maritime", Status.ACTIVE)


async def test_an_audience_is_extended_by_the_authority_of_its_owner(world: World) -> None:
    added = await puente_as(world, "mx-ciber", "audience", "add", "port-watch", "mx-aduanas", lang=SPANISH)
    assert added.out == "mx-aduanas queda agregado a port-watch.\n"
    assert "mx-aduanas" in (await puente_as(world, "mx-aduanas", "audience", "list")).out
    for slug, words, wanted in (
        ("us-cyber", ("add", "port-watch", "mx-marina"), "statement-audience [audience]"),
        ("mx-ciber", ("add", "port-wach", "mx-marina"), "statement-audience [audience]"),
        ("mx-ciber", ("add", "port-watch", "mx-nobody"), "no-such-member [to]"),
        ("mx-ciber", ("add", "port-watch", "MX Marina"), "statement-form [to]: to must be a short name"),
        ("mx-ciber", ("remove", "port-watch", "mx-marina"), "There is no such member, or it was not added."),
    ):
        told = await puente_as(world, slug, "audience", *words)
        assert (told.code, wanted in told.err) == (1, True), told.err
    out = await puente_as(world, "mx-ciber", "audience", "remove", "port-watch", "mx-aduanas")
    assert out.out == "mx-aduanas is out of port-watch.\n"
