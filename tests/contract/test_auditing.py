"""The fifteen questions, asked of one story by an auditor of each country: at the hub, of a copy, and in every form."""

import asyncio
import csv
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from click.testing import CliRunner

from exchange.auditing.answers import QUESTIONS, SEAL_TITLE, Answer, answer, unseal
from exchange.auditing.copies import Unverified, compare, open_copy
from exchange.auditing.rows import Asked
from exchange.cli.__main__ import puente
from exchange.cli.ledger import read_policies
from exchange.ledger.note import NoteFault
from tests.auditors import OWN_LOG, Story, told
from tests.unit.test_audit import flip

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).resolve().parents[2]
US, MX = "aud-us", "aud-mx"
OF_THE_ASKING = {"reads", "gaps"}
"""Answers that change with every question put to the hub."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[Story]:
    async with told(tmp_path_factory.mktemp("story"), rate_burst=10_000, **database) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def copy(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return await story.copy(tmp_path_factory.mktemp("home") / "copy")


def words(story: Story, question: str) -> dict[str, str]:
    """What each question is asked about in the story."""
    given = {
        "submitted": {"object": story.crossing["id"]},
        "who-saw": {"object": story.crossing["id"]},
        "why": {"object": story.domestic["id"], "to": "mx-aduanas"},
        "recalls": {"object": story.withdrawn["id"]},
        "what-did": {"member": "us-customs"},
    }
    return given.get(question, {})


def brief(found: Answer, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in found.rows]


# --- each question, and what the two auditors see differently ---


async def test_1_who_submitted_it_is_in_its_own_countrys_log(story: Story) -> None:
    us, mx = [await story.ask(one, "submitted", object=story.crossing["id"]) for one in (US, MX)]
    assert brief(us, "log", "event", "member", "assurance") == [
        ("both", "publish", "us-customs", ""), ("us", "submit", "us-customs", "originator-signed"),
    ]  # fmt: skip
    assert brief(mx, "log", "event", "member", "assurance") == [("both", "publish", "us-customs", "")]
    assert {row["sha256"] for row in (*us.rows, *mx.rows)} == {us.rows[0]["sha256"]}
    assert us.rows[1]["signer"] == story.revoked_key


async def test_2_who_saw_it(story: Story) -> None:
    us, mx = [await story.ask(one, "who-saw", object=story.crossing["id"]) for one in (US, MX)]
    crossed = [("both", "mx-aduanas", "objects", "proved")]
    assert brief(mx, "log", "member", "kind", "evidence") == crossed
    assert brief(us, "log", "member", "kind", "evidence") == [*crossed, ("us", "us-maritime", "objects", "proved")]
    assert us.rows[0]["agreement"] == "us-mx-trade-cyber/1@1"
    assert us.end["totals"] == [
        {"member": "mx-aduanas", "evidence": "proved", "times": 1},
        {"member": "us-maritime", "evidence": "proved", "times": 1},
    ]


async def test_3_why_not(story: Story) -> None:
    us, mx = [await story.ask(one, "why", object=story.domestic["id"], to="mx-aduanas") for one in (US, MX)]
    assert brief(us, "log", "event") == [("us", "publish"), ("us", "submit"), ("us", "decide")]
    assert us.rows[2]["detail"] == "effect=deny; clauses=F-NOFORN"  # as it was decided then
    assert [one["code"] for one in us.end["remarks"]] == ["own-country-only", "never-released"]
    [placed] = us.end["judgement"]["placements"]
    assert (placed["effect"], placed["visible"]) == ("deny", False)
    # The other country's auditor learns what it would of an object that never was.
    never = await story.ask(MX, "why", object="indicator--9b8f3c4e-2f3a-4f33-9d80-3c7a5f5f0a11", to="mx-aduanas")
    assert (list(mx.rows), mx.end) == (list(never.rows), never.end)
    assert (mx.rows, mx.end["judgement"]) == ([], None)


async def test_4_who_was_refused(story: Story) -> None:
    us, mx = [await story.ask(one, "refused") for one in (US, MX)]
    assert ("us", "submit.refuse", "us-customs", story.refused["id"]) in brief(us, "log", "event", "member", "object")
    assert all(row["log"] == "us" for row in us.rows)
    assert all(row["member"].startswith("mx-") for row in mx.rows)
    assert us.end["totals"][0]["member"] == "us-customs"


@pytest.mark.parametrize("question", ["agreements", "superseded"])
async def test_5_6_what_both_agreed_both_see_alike(story: Story, question: str) -> None:
    us, mx = [await story.ask(one, question) for one in (US, MX)]
    assert [row for row in us.rows if row["log"] == "both"] == list(mx.rows)
    if question == "agreements":
        approved = {
            (row["agreement"], row["country"], row["approver"]) for row in mx.rows if row["event"] == "policy.approve"
        }
        assert {
            (f"us-mx-trade-cyber/{n}", c, f"{c.lower()}-appr-{m}") for n in (1, 2) for c in ("US", "MX") for m in (1, 2)
        } == approved
    else:
        assert not mx.rows
        counts = [int(re.findall(r"\d+", one.end["remarks"][0]["en"])[0]) for one in (us, mx)]
        assert counts == [4, 3]  # two in `both`; of the others, two are in the US log and one in the Mexican one


async def test_7_how_long_it_took(story: Story) -> None:
    us, mx = [await story.ask(one, "timeliness") for one in (US, MX)]
    assert {(row["log"], row["member"]) for row in mx.rows} == {
        ("both", "mx-aduanas"),
        ("mx", "mx-aduanas"),
        ("both", "us-maritime"),
    }
    assert {(row["log"], row["member"]) for row in us.rows} == {
        ("both", "mx-aduanas"),
        ("us", "us-maritime"),
        ("both", "us-maritime"),
    }
    assert all(0 <= float(row["seconds"]) < 60 for row in (*us.rows, *mx.rows))
    # What crossed and what did not were placed by one act, the one between the others: no Mexican page held that.
    assert {row["published"].split()[0] for row in us.rows if row["member"] == "mx-aduanas"} == {"both"}


async def test_8_keys_and_what_was_accepted_under_them(story: Story) -> None:
    us, mx = [await story.ask(one, "keys", member="us-customs") for one in (US, MX)]
    assert brief(us, "event", "key", "accepted") == [
        ("key.add", story.revoked_key, "3"),
        ("key.revoke", story.revoked_key, "3"),
    ]
    assert brief(mx, "event", "key", "accepted") == [
        ("key.add", story.revoked_key, ""),
        ("key.revoke", story.revoked_key, ""),
    ]


async def test_9_privileged_acts_are_alike(story: Story) -> None:
    us, mx = [await story.ask(one, "admin") for one in (US, MX)]
    assert [row for row in us.rows if row["log"] == "both"] == [row for row in mx.rows if row["log"] == "both"]
    assert {"acct.enrol", "acct.add", "admin"} <= {row["event"] for row in us.rows}


async def test_11_recalls_and_who_had_it(story: Story) -> None:
    us, mx = [await story.ask(one, "recalls", object=story.withdrawn["id"]) for one in (US, MX)]
    states = {row["member"]: (row["state"], bool(row["had"])) for row in us.rows}
    assert states["mx-aduanas"] == ("acknowledged", True)
    assert states["us-maritime"] == ("open", True)
    assert states["mx-marina"] == ("open", False)
    assert {row["member"] for row in mx.rows} == {name for name in states if name.startswith("mx-")}


@pytest.mark.parametrize(("question", "codes"), [("feeds", ["no-feed-runs"]), ("erased", [])])
async def test_10_12_nothing_is_an_answer(story: Story, question: str, codes: list[str]) -> None:
    for one in (US, MX):
        found = await story.ask(one, question)
        assert (list(found.rows), [remark["code"] for remark in found.end["remarks"]]) == ([], codes)


async def test_13_gaps(story: Story) -> None:
    us, mx = [await story.ask(one, "gaps") for one in (US, MX)]
    assert ("log.start", "") in brief(us, "event", "finding")
    assert brief(us, "time", "log", "entry", "event") == brief(mx, "time", "log", "entry", "event")


async def test_14_reading_the_audit_is_in_the_audit_of_the_readers_country(story: Story) -> None:
    before = await story.ask(MX, "who-saw", object=story.mexican["id"], sample=1, seed="lot-7")
    await story.world.cosigned()
    us, mx = [await story.ask(one, "reads") for one in (US, MX)]
    assert {row["log"] for row in us.rows} == {"us"}
    assert {row["log"] for row in mx.rows} == {"mx"}
    [told] = [row["detail"] for row in mx.rows if "lot-7" in row["detail"]]
    assert "question=who-saw" in told and f"rows={len(before.rows)}" in told and "seed=lot-7" in told
    assert story.mexican["id"] not in told  # what was asked about whom is in the private part


async def test_every_row_is_of_a_log_that_the_auditor_may_see(story: Story) -> None:
    for auditor, own in OWN_LOG.items():
        for question in QUESTIONS:
            found = await story.ask(auditor, question, **words(story, question))
            assert {log["log"] for log in found.head["logs"]} == {"both", own}
            assert {row["log"] for row in found.rows} <= {"both", own}
            assert {
                row["log"] for row in (await story.ask(auditor, question, log=own, **words(story, question))).rows
            } <= {own}
        other = next(log for name, log in OWN_LOG.items() if name != auditor)
        status, body = await story.raw(auditor, "refused", log=other)
        assert (status, orjson.loads(body)["error_code"] if status == 404 else body) == (404, "no-such-log")


async def test_no_answer_holds_what_an_indicator_says(story: Story) -> None:
    for auditor in OWN_LOG:
        for question in QUESTIONS:
            _, body = await story.raw(auditor, question, **words(story, question))
            assert b"198.51.100.7" not in body and b"127.0.0.1" not in body and b"aiohttp" not in body


# --- the other country's traffic ---


async def test_domestic_traffic_of_one_country_changes_no_byte_for_the_other(story: Story) -> None:
    # One that is refused is an entry itself, in `refused`: told at once, or counted with others of its minute.
    names = [
        name
        for name in sorted(QUESTIONS.keys() - OF_THE_ASKING)
        if (await story.raw(MX, name, **words(story, name)))[0] == 200
    ]
    assert len(names) > 10

    async def asked() -> dict[str, list[bytes]]:
        # Rows and ends; the head names the logs' sizes, which grow by the asking itself.
        return {name: (await story.raw(MX, name, **words(story, name)))[1].splitlines()[1:-1] for name in names}

    await story.world.cosigned()  # what was asked before is told of once it is signed
    before = await asked()
    world = story.world
    await world.post("us-cyber", *[world.signed("us-cyber") for _ in range(5)], to="us-domestic")
    await world.post("us-cyber", world.signed("us-cyber", tlp="red"), to="us-domestic")
    await world.pull("us-maritime", "us-domestic")
    await story.world.cosigned()
    assert await asked() == before


# --- pages, filters, samples, seals ---


async def test_pages_of_one_answer_are_of_the_same_logs_and_add_up(story: Story) -> None:
    whole = await story.ask(US, "what-did", member="us-customs")
    rows: list[Any] = []
    following: dict[str, str] = {}
    while True:
        page = await story.ask(US, "what-did", member="us-customs", limit=4, **following)
        rows += page.rows
        await story.world.post("us-customs", story.world.signed("us-customs", tlp="red"))  # meanwhile more is logged
        await story.world.cosigned()
        if page.end["next"] is None:
            break
        following = {"next": page.end["next"]}
    assert rows == list(whole.rows)


async def test_a_sample_is_drawn_by_its_seed_alone(story: Story) -> None:
    whole = await story.ask(MX, "admin")
    one, again, other = [await story.ask(MX, "admin", sample=5, seed=seed) for seed in ("a", "a", "b")]
    assert one.rows == again.rows != other.rows
    assert len(one.rows) == 5 and one.end["matched"] == len(whole.rows)
    assert [row for row in whole.rows if row in one.rows] == list(one.rows)
    assert one.head["asked"] == {"sample": 5, "seed": "a"}


async def test_the_seal_breaks_with_any_byte(story: Story) -> None:
    keys = read_policies(story.world.settings.witness_policy)["both"].logs
    _, body = await story.raw(MX, "agreements")
    assert SEAL_TITLE in body.decode()
    for place in range(0, len(body) - 1, 97):
        with pytest.raises(NoteFault):
            unseal(body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :], keys)


@pytest.mark.parametrize(
    ("question", "query", "field"),
    [
        ("who-saw", {}, "object"),
        ("why", {"object": "x"}, "to"),
        ("refused", {"since": "yesterday"}, "since"),
        ("refused", {"object": "x"}, "object"),
        ("refused", {"sample": 3}, "seed"),
        ("refused", {"limit": 0}, "limit"),
        ("refused", {"next": "us.3"}, "next"),
        ("refused", {"next": "both.3-us.1-0"}, "next"),
        ("refused", {"colour": "red"}, "colour"),
    ],
)
async def test_what_cannot_be_asked_is_named(story: Story, question: str, query: dict[str, Any], field: str) -> None:
    status, body = await story.raw(US, question, **query)
    assert (status, orjson.loads(body)["details"]["field"]) == (400, field)


async def test_only_auditors_ask(story: Story) -> None:
    assert (await story.raw("us-cyber", "refused"))[0] == 403
    assert (await story.raw(US, "everything"))[0] == 404


# --- at home ---


async def test_a_copy_answers_as_the_hub_does(story: Story, copy: Path) -> None:
    policies = read_policies(story.world.settings.witness_policy)
    source, marks = open_copy(copy, policies)
    for auditor, own in OWN_LOG.items():
        mine = [mark for mark in marks if mark.log in ("both", own)]
        for question in QUESTIONS.keys() - OF_THE_ASKING:
            given = words(story, question)
            here = await answer(Asked(question, until=story.ended, **given), source, mine)
            there = await story.ask(auditor, question, until=story.ended, **given)
            assert list(there.rows) == here.rows, question


@pytest.mark.parametrize("auditor", OWN_LOG)
async def test_a_countrys_pack_answers_as_the_hub_does(story: Story, tmp_path: Path, auditor: str) -> None:
    """It opens only what its own organisations did; of the other's pages it lists the objects, which is enough to prove them."""
    policies = read_policies(story.world.settings.witness_policy)
    source, marks = open_copy(await story.pack(tmp_path / "pack", OWN_LOG[auditor]), policies)
    assert [mark.log for mark in marks] == ["both", OWN_LOG[auditor]]
    subjects = [
        words(story, "who-saw"),
        *({"object": one["id"]} for one in (story.mexican, story.domestic, story.withdrawn)),
    ]
    asked = [(question, words(story, question)) for question in QUESTIONS.keys() - OF_THE_ASKING]
    for question, given in [*asked, *(("who-saw", one) for one in subjects)]:
        here = await answer(Asked(question, until=story.ended, **given), source, marks)
        there = await story.ask(auditor, question, until=story.ended, **given)
        assert list(there.rows) == here.rows, (question, given)


async def test_the_joint_pack_proves_who_saw_what_crossed_and_opens_nothing(story: Story, tmp_path: Path) -> None:
    pack = await story.pack(tmp_path / "pack", "both")
    source, marks = open_copy(pack, read_policies(story.world.settings.witness_policy))
    found = await answer(Asked("who-saw", **words(story, "who-saw")), source, marks)
    assert brief(found, "log", "member", "evidence") == [("both", "mx-aduanas", "proved")]
    assert not list(pack.rglob("open"))
    text = b"".join(one.read_bytes() for one in (pack / "both" / "pages").rglob("*.jsonl"))
    assert b"ticks" in text and b"items" in text
    assert all(personal not in text for personal in (b"127.0.0.1", b"Python", b"salt"))


async def test_a_copy_that_fails_answers_nothing(story: Story, tmp_path: Path) -> None:
    copy = await story.copy(tmp_path / "copy")
    file = next((copy / "us" / "tile" / "entries").iterdir())
    file = file if file.is_file() else next(file.iterdir())
    flip(file, file.stat().st_size // 2)
    with pytest.raises(Unverified):
        open_copy(copy, read_policies(story.world.settings.witness_policy))
    ran = CliRunner().invoke(puente, ["audit", "refused", "--copy", str(copy), "--policy", str(story.world.settings.witness_policy)])  # fmt: skip
    assert ran.exit_code == 1
    assert "Nothing is answered from it" in ran.output and not ran.stdout


async def test_15_whether_two_copies_are_of_one_history(story: Story, copy: Path, tmp_path: Path) -> None:
    policies = read_policies(story.world.settings.witness_policy)
    mexican = await story.copy(tmp_path / "mx", "both", "mx")
    assert {one.log: one.verdict for one in compare(mexican, mexican, policies)} == {"both": "same", "mx": "same"}
    await story.world.post("mx-marina", story.world.signed("mx-marina", tlp="green"))
    later = await story.copy(tmp_path / "later", "both", "us")
    [both] = compare(later, mexican, policies)
    assert (both.log, both.verdict) == ("both", "earlier")
    [both] = compare(mexican, later, policies)
    assert both.verdict == "later"
    ran = CliRunner().invoke(puente, ["audit", "compare", str(later), str(copy), "--policy", str(story.world.settings.witness_policy), "--json"])  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert {one["log"]: one["verdict"] for one in printed(ran.stdout)} == {"both": "earlier", "us": "earlier"}


# --- the forms ---


def printed(text: str) -> Any:
    """The one line of JSON among those that the hub in this process logs."""
    return next(json.loads(line) for line in text.splitlines() if line.startswith(("{", "[{")))


def at_home(story: Story, copy: Path, *given: str, language: str = "en") -> str:
    place = ["--copy", str(copy), "--policy", str(story.world.settings.witness_policy)]
    ran = CliRunner().invoke(puente, ["audit", *given, *place], env={"LC_ALL": language})
    assert ran.exit_code == 0, ran.output
    return ran.stdout


async def test_every_question_has_a_command_in_both_languages(story: Story, copy: Path) -> None:
    ran = CliRunner().invoke(puente, ["audit", "--help"])
    numbers = {int(number) for number in re.findall(r"\((\d+)\)", ran.output)}
    assert numbers == set(range(1, 16))
    for question in QUESTIONS.values():
        given = words(story, question.name)
        subject = [given[name] for name in question.takes]
        for language in ("en", "es"):
            told = await asyncio.to_thread(at_home, story, copy, question.name, *subject, language=language)
            assert "puente.hub.example/audit/both" in told  # the checkpoints it rests on


@pytest.mark.parametrize("page", ["auditing.md", "auditing.es.md"])
async def test_the_manual_has_a_command_for_each_question(page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    assert all(
        re.search(rf"\| {question.number or '–'} \|.*`puente audit {name}\b", text)
        for name, question in QUESTIONS.items()
    )
    assert "`puente audit compare" in text


async def test_csv_is_guarded_html_is_whole_and_jsonl_is_the_answer(story: Story, copy: Path) -> None:
    table = await asyncio.to_thread(at_home, story, copy, "refused", "--format", "csv")
    rows = list(csv.reader(io.StringIO(table)))
    assert rows[0][:3] == ["time", "log", "entry"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    page = await asyncio.to_thread(at_home, story, copy, "keys", "--format", "html", language="es")
    assert '<html lang="es">' in page and story.revoked_key in page
    assert not re.search(r"(src|href)=|https?://|<script", page)
    lines = await asyncio.to_thread(at_home, story, copy, "keys", "--format", "jsonl", "--sample", "2", "--seed", "s")
    head, *answers, end = [json.loads(line) for line in lines.splitlines()]
    assert (head["asked"]["seed"], len(answers), end["rows"]) == ("s", 2, 2)


async def test_the_commands_ask_the_hub_as_an_auditor_and_at_its_own_files(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUENTE_TOKEN", story.world.tokens[MX])
    home, policy = str(story.world.home.root), str(story.world.settings.witness_policy)
    asked = ["audit", "who-saw", story.crossing["id"], "--home", home, "--json"]
    profile = story.world.home.member(MX) / "client.toml"
    here = re.sub(r"^hub = .*$", f'hub = "{story.world.hub.url}"', profile.read_text(), flags=re.MULTILINE)
    profile.write_text(here)
    ran = await asyncio.to_thread(CliRunner().invoke, puente, [*asked, "--as", MX, "--policy", policy])
    assert ran.exit_code == 0, ran.output
    found = printed(ran.stdout)
    assert [row["member"] for row in found["rows"]] == ["mx-aduanas"]
    assert found["seals"][0] == SEAL_TITLE
    if story.world.settings.database_url:
        return  # the home's own settings name no PostgreSQL
    ran = await asyncio.to_thread(CliRunner().invoke, puente, asked)
    assert ran.exit_code == 0, ran.output
    assert [row["member"] for row in printed(ran.stdout)["rows"]] == ["mx-aduanas", "us-maritime"]
