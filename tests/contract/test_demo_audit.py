"""The fifteen questions over the demo's data, typed by an auditor of each country: their answers differ only as routing and visibility demand."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from exchange.auditing.answers import QUESTIONS, answer
from exchange.auditing.copies import open_copy
from exchange.auditing.facts import Fact, walk
from exchange.auditing.rows import Asked
from exchange.cli.__main__ import puente
from exchange.cli.ledger import read_policies
from exchange.cli.packing import HubCopy
from exchange.cli.setup import Home
from exchange.client import Client
from exchange.clock import SystemClock
from exchange.governance.statements import signed
from exchange.hub import working
from exchange.ledger.entry import LOGS
from exchange.ledger.note import Checkpoint, split_note
from exchange.ledger.pack import write_copy
from exchange.times import as_text
from policies.terms import TERMS_EXTENSION
from tests.world import TLP2

ROOT = Path(__file__).resolve().parents[2]
BORDER = {"us": "mx-aduanas", "mx": "us-maritime"}
"""Who pulled in the other country."""
Rows = list[dict[str, Any]]


@dataclass
class Audited:
    """The demo's home, what each auditor took home, and what to ask about."""

    home: Path
    packs: Mapping[str, Path]
    objects: Mapping[str, list[str]]
    """By whom they were submitted, in order."""

    @property
    def policy(self) -> Path:
        return self.home / "hub" / "witness-policy"

    def asked(self, whose: str, question: str, *words: str) -> dict[str, Any]:
        """An auditor's answer, from the pack of that country."""
        place = ["--copy", str(self.packs[whose]), "--policy", str(self.policy), "--json"]
        ran = CliRunner().invoke(puente, ["audit", question, *words, *place])
        assert ran.exit_code == 0, ran.output
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

    def all_told(self, question: str, *words: str) -> Rows:
        """What the three logs say together, every private part open."""
        source, marks = open_copy(self.home / "copy", read_policies(self.policy))
        given = dict(zip(QUESTIONS[question].takes, words, strict=True))
        return [dict(row) for row in asyncio.run(answer(Asked(question, **given), source, marks)).rows]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    home = tmp_path_factory.mktemp("demo") / "home"
    demo = subprocess.Popen(
        [sys.executable, "-m", "exchange.cli", "demo", "--small", "--stay", "--home", str(home)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        env={**os.environ, "LC_ALL": "C.UTF-8", "REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt"},
    )  # fmt: skip
    try:
        assert demo.stdout is not None
        told = ""
        while not told.startswith("Still running"):
            told = demo.stdout.readline()
            assert told and not told.startswith("\N{BALLOT X}"), told
        asyncio.run(_cross_later(home))
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    asyncio.run(_copy(home))
    packs = {whose: home.parent / whose for whose in BORDER}
    for whose, pack in packs.items():
        made = CliRunner().invoke(puente, ["ledger", "pack", "--home", str(home), "--for", whose, str(pack)])
        assert made.exit_code == 0, made.output
    yield Audited(home, packs, asyncio.run(_submitted(home)))


async def _cross_later(home: Path) -> None:
    """US Cyber gives its consent to what it published for nobody: to one that has asked before, and to a newcomer."""
    card = json.loads((home.parent / "demo.json").read_text())
    clock, place = SystemClock(), Home(home)

    def client(slug: str) -> Client:
        member = card["members"][slug]
        signer = place.signer(slug, member["identity_id"])
        return Client(card["base_url"], clock=clock, token=member["token"], ca_file=card["ca_file"], signer=signer)

    async with client("us-cyber") as author:
        terms = {"extension_type": "property-extension", "case": "drill-2026"}
        definition = author.sign(author.prepare({
            "type": "marking-definition", "name": "terms", "extensions": {TERMS_EXTENSION: terms},
        }))  # fmt: skip
        kept = [
            author.sign(author.prepare({
                "type": "indicator", "name": f"kept {n}", "pattern": f"[ipv4-addr:value = '198.51.100.{n}']",
                "pattern_type": "stix", "pattern_version": "2.1", "valid_from": "2026-11-01T00:00:00Z",
                "object_marking_refs": [TLP2["green"], definition["id"]],
            }))
            for n in range(3)
        ]  # fmt: skip
        [result] = await author.submit([definition, *kept], "indicators")
        assert len(result.accepted) == 4, result
        for n, reader in enumerate((BORDER["us"], "mx-marina")):
            words = {"case": "drill-2026", "members": [reader], "countries": []}
            times = {one: as_text(clock.now_us() + days * 86_400_000_000) for one, days in (("given", 0), ("until", 7))}
            await author.state(signed(author.signer, "us-cyber", "consent.grant", **times, **words))  # type: ignore[arg-type]
            async with client(reader) as there:
                asked = [one["id"] for one in kept[: 2 - n]]
                pages = there.pages("indicators", match={"id": ",".join(asked)})
                assert sorted([one["id"] async for page in pages for one in page.objects]) == sorted(asked)
    async with working(place.settings(), clock) as services:
        for log, tree in (await services.store.trees()).items():
            while (cosigned := await services.publisher.newest_cosigned(log)) is None or _size(cosigned) < tree.size:
                await asyncio.sleep(0.1)  # the hub beside it asks the witnesses


def _size(note: bytes) -> int:
    return Checkpoint.parse(split_note(note)[0]).size


async def _copy(home: Path) -> None:
    """All three logs, as both countries cosigned them last."""
    shutil.rmtree(home / "copy")
    async with working(Home(home).settings(), SystemClock()) as services:
        await write_copy(home / "copy", HubCopy(services, LOGS, countries=("us", "mx")))


async def _facts(home: Path) -> AsyncIterator[Fact]:
    """What the three logs say together, in order."""
    source, marks = open_copy(home / "copy", read_policies(home / "hub" / "witness-policy"))
    async for fact in walk(source, {one.log: one.size for one in marks}, private=True):
        yield fact


async def _submitted(home: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    async for fact in _facts(home):
        if fact.t == "submit":
            found.setdefault(fact.member, []).append(fact.text("object"))
    return found


@dataclass
class Placed:
    """Objects by the log that first named them, and which of them left for the other country."""

    named: dict[str, dict[int, str]] = field(default_factory=lambda: {"both": {}, "us": {}, "mx": {}})
    gone: set[int] = field(default_factory=set)

    def crossed_later(self, log: str) -> set[str]:
        return {one for tick, one in self.named[log].items() if tick in self.gone} - self.told

    def stayed(self, log: str) -> set[str]:
        return set(self.named[log].values()) - self.told - self.crossed_later(log)

    @property
    def told(self) -> set[str]:
        return set(self.named["both"].values())


async def _placed(home: Path) -> Placed:
    found, late = Placed(), dict[int, int]()
    async for fact in _facts(home):
        private = fact.private or {}
        if fact.t == "publish":
            lines = [line.split(" ") for line in private.get("items", ())]
            found.named[fact.kind].update((int(tick), name) for tick, name, *_ in lines)
            late |= {tick + n: native + n for tick, native, size in private.get("runs", ()) for n in range(size)}
        if fact.t == "release" and fact.kind == "both":
            ticks = [tick for first, size in private["ticks"] for tick in range(first, first + size)]
            found.gone.update(late.get(tick, tick) for tick in ticks)
    return found


def visible(question: str, rows: Rows, whose: str) -> Rows:
    """What of the whole answer an auditor is to be told. Rows are the same, word for word, but for what would say how much
    the other country does at home."""
    seen = [row for row in rows if row["log"] in ("both", whose)]
    if question == "timeliness":  # what was published in the other's log alone
        seen = [row for row in seen if row["published"].split()[0] in ("both", whose)]
    if question == "keys":  # submissions are in their own country's log
        seen = [{**row, "accepted": "" if _abroad(row["member"], whose) else row["accepted"]} for row in seen]
    return seen


def _abroad(member: str, whose: str) -> bool:
    return member.removeprefix("aud-").partition("-")[0] not in (whose, "hub")


@pytest.mark.parametrize("question", [name for name, one in QUESTIONS.items() if not one.takes])
def test_what_is_asked_of_all_is_told_to_each_as_its_logs_have_it(audited: Audited, question: str) -> None:
    whole = audited.all_told(question)
    for whose in BORDER:
        assert audited.asked(whose, question)["rows"] == visible(question, whole, whose)


def test_every_run_of_a_feed_is_its_members(audited: Audited) -> None:
    members = {whose: {row["feed"]: row["member"] for row in audited.asked(whose, "feeds")["rows"]} for whose in BORDER}
    assert members["us"].keys().isdisjoint(members["mx"])
    assert set(members["us"].values()) == {"us-cyber"}
    assert set(members["mx"].values()) == {"mx-ciber"}
    assert len(members["us"]) == len(members["mx"]) == 3


def test_of_an_object_each_is_told_what_its_logs_have(audited: Audited) -> None:
    amber, domestic, noforn = audited.objects["us-customs"]
    [green] = audited.objects["mx-puerto-pac"]
    silent = {"us": ["own-country-only", "never-released"], "mx": ["not-in-these-logs"]}
    for subject, remarks in (
        (amber, {"us": [], "mx": []}),
        (green, {"us": ["never-released"], "mx": []}),  # by Mexico to Mexico: in the log of `mx`
        (domestic, silent),
        (noforn, silent),
    ):
        for whose, to in BORDER.items():
            for question, words in (("submitted", [subject]), ("who-saw", [subject]), ("why", [subject, to])):
                found = audited.asked(whose, question, *words)
                assert found["rows"] == visible(question, audited.all_told(question, *words), whose), (question, words)
        for whose, codes in remarks.items():
            told = audited.asked(whose, "why", subject, "mx-aduanas")
            assert [one["code"] for one in told["end"]["remarks"]] == codes
    [decided] = [
        row["detail"] for row in audited.asked("us", "why", noforn, "mx-aduanas")["rows"] if row["event"] == "decide"
    ]
    assert decided == "effect=deny; clauses=F-NOFORN"
    saw = {whose: {row["member"] for row in audited.asked(whose, "who-saw", amber)["rows"]} for whose in BORDER}
    assert saw == {"us": {"mx-aduanas", "us-maritime"}, "mx": {"mx-aduanas"}}


@pytest.mark.parametrize(("own", "whose"), [("us", "mx"), ("mx", "us")])
def test_what_crossed_later_is_found_by_its_id_and_what_stayed_is_not(audited: Audited, own: str, whose: str) -> None:
    """Published in one country's log, and given to the other afterwards: that one's auditors are told of it by the pages that gave it."""
    placed = asyncio.run(_placed(audited.home))
    later, stayed = sorted(placed.crossed_later(own)), sorted(placed.stayed(own))
    assert stayed and (own == "mx" or later)
    for subject in [*later[:3], *later[-1:], *stayed[:3]]:
        for question, words in (("who-saw", [subject]), ("why", [subject, BORDER[own]]), ("recalls", [])):
            found = audited.asked(whose, question, *words)
            due = visible(question, audited.all_told(question, *words), whose)
            if question != "recalls":
                # Of what nobody fetched yet it is in no log of theirs which object it was that became available.
                due = due if subject in later else []
                assert bool(due) == (subject in later), (question, words)
            assert found["rows"] == due, (question, words)
        codes = [one["code"] for one in audited.asked(whose, "submitted", subject)["end"]["remarks"]]
        assert codes == ["crossed-later" if subject in later else "not-in-these-logs"]
    pack = b"".join(one.read_bytes() for one in audited.packs[whose].rglob("*") if one.is_file())
    assert all(one.encode() in pack for one in later)
    assert not any(one.encode() in pack for one in stayed)


def test_of_a_member_each_is_told_what_its_logs_have(audited: Audited) -> None:
    for member in ("us-cyber", "mx-ciber", "us-customs", "mx-aduanas"):
        whole = audited.all_told("what-did", member)
        for whose in BORDER:
            assert audited.asked(whose, "what-did", member)["rows"] == visible("what-did", whole, whose)


def test_both_have_the_same_shared_log(audited: Audited) -> None:
    ran = CliRunner().invoke(
        puente, ["audit", "compare", *map(str, audited.packs.values()), "--policy", str(audited.policy), "--json"]
    )
    assert ran.exit_code == 0, ran.output
    assert [(one["log"], one["verdict"]) for one in json.loads(ran.stdout)] == [("both", "same")]
