"""The demo as a newcomer meets it: it runs twice, everything it names can be reached, and it ends well when it fails."""

import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from certs.keys import load_key
from exchange.cli.demo import Plan, play
from exchange.ledger.note import Policy, split_note
from exchange.web.negotiate import TAXII

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 100


@dataclass
class Stays:
    """A demo that was told to stay, on a terminal, in Spanish."""

    process: subprocess.Popen[bytes]
    home: Path
    terminal: bytearray = field(default_factory=bytearray)

    @property
    def output(self) -> str:
        return self.terminal.decode(errors="replace").replace("\r\n", "\n")

    @property
    def card(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.home.parent / "demo.json").read_bytes())
        return value

    def read(self, master: int) -> None:
        try:
            while piece := os.read(master, 4096):
                self.terminal += piece
        except OSError:  # the other side of the terminal is closed
            os.close(master)


def environment(**more: str) -> dict[str, str]:
    # A CA bundle of the environment must not win over the demo's.
    return {**os.environ, "REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt", "PYTHONUNBUFFERED": "1", **more}


def witnesses_of(home: Path) -> list[int]:
    """Ids of running processes whose command line names the demo's directory."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{home}/witness-".encode() in line.read_bytes():
                found.append(int(line.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def stays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stays]:
    home = tmp_path_factory.mktemp("demo") / "home"
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "exchange.cli", "demo", "--small", "--stay", "--home", str(home)],
        stdout=slave, stderr=slave, cwd=ROOT, env=environment(LC_ALL="es_MX.UTF-8", TERM="xterm", COLUMNS="120"),
    )  # fmt: skip
    os.close(slave)
    demo = Stays(process, home)
    reader = threading.Thread(target=demo.read, args=(master,))
    reader.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "print(collection.title)" not in demo.output and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        yield demo
    finally:
        process.kill()
        process.wait()
        reader.join()


def get(url: str, card: dict[str, Any], slug: str, **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update({"Authorization": f"Bearer {card['members'][slug]['token']}", **headers})
        answer = session.get(url, verify=card["ca_file"], timeout=PATIENCE_SECONDS)
        answer.content  # noqa: B018  # read before the session closes
        return answer


def test_it_tells_what_it_did_in_the_readers_language(stays: Stays) -> None:
    text = stays.output
    assert "print(collection.title)" in text, text
    assert "✗" not in text
    rows = dict(re.findall(r"^(kev|reports|advisories|events|addresses|upstream) +([\d,]+)\b", text, re.MULTILINE))
    assert int(rows["kev"]) >= 54
    assert int(rows["reports"]) >= 250
    assert (int(rows["advisories"]), int(rows["events"]), int(rows["addresses"])) == (38, 67, 24)
    assert rows["upstream"] == "100"
    assert len(re.findall(r"^[a-z]+ +bien +\d{4}-\d\d-\d\d \d\d:\d\d ", text, re.MULTILINE)) == 6
    assert "La copia del registro se verifica sin conexión" in text
    for place in ("both", "us", "mx"):
        row = rf"^{place} +[\d,]+ +[0-9a-f]{{16}} +(mx-[ab], )*(us-[ab], )?(us|mx)-[ab]$"
        assert re.search(row, text, re.MULTILINE), place


def test_refusals_name_their_clause_in_both_languages(stays: Stays) -> None:
    for clause in ("F-DOMESTIC", "F-NOFORN"):
        assert f"not shared: clause {clause}: " in stays.output
        assert f"no compartido: cláusula {clause}: " in stays.output
    assert "not accepted: clause ceilings.anywhere: " in stays.output
    assert "no aceptado: cláusula ceilings.anywhere: " in stays.output


def test_who_may_not_be_named_is_not_named_abroad(stays: Stays) -> None:
    """Both objects are shown: the original's maker and name, and what us-maritime has in its stead."""
    original = r"^original, se queda +indicator--[0-9a-f-]{36} +Puerto Sur Azul +Crane controller at Sur Azul "
    stand_in = r"^sustituto +(indicator--[0-9a-f-]{36}) +Pasarela Nacional de México +- "
    assert re.search(original, stays.output, re.MULTILINE), stays.output
    found = re.search(stand_in, stays.output, re.MULTILINE)
    assert found is not None, stays.output
    card = stays.card
    path = f"{card['api_root']}collections/{card['collections'][0]['id']}/objects/"
    abroad = get(path, card, "us-maritime", Accept=TAXII).text
    assert found[1] in abroad
    assert card["members"]["mx-puerto-sur"]["identity_id"] in get(path, card, "mx-ciber", Accept=TAXII).text
    assert card["members"]["mx-puerto-sur"]["identity_id"] not in abroad


def test_feeds_show_their_progress_on_a_terminal(stays: Stays) -> None:
    assert re.search(r"kev, CISA \(public catalogue\) +\[#+-*\]", stays.output)
    assert stays.output.count("100%") == 6


def test_the_card_for_programs_is_private_and_true(stays: Stays) -> None:
    card = stays.card
    assert stat.S_IMODE((stays.home.parent / "demo.json").stat().st_mode) == 0o600
    assert get(card["base_url"] + "/taxii2/", card, "us-cyber", Accept=TAXII).json()["default"] == card["api_root"]
    for slug, member in card["members"].items():
        me = get(card["base_url"] + "/api/v1/me", card, slug).json()
        assert (me["slug"], me["country"]) == (slug, member["country"]), me
        key = Path(member["signing_key"])
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        load_key(key)
        assert Path(member["signing_certificate"]).exists()


def test_the_card_tells_who_may_read_and_write(stays: Stays) -> None:
    card = stays.card
    told = {one["id"]: one for one in card["collections"]}
    assert told[next(iter(told))]["writers"], "the sample's first collection takes submissions"
    found: dict[str, set[str]] = {identity: set() for identity in told}
    for slug in card["members"]:
        answer = get(card["api_root"] + "collections/", card, slug, Accept=TAXII).json()
        for one in answer.get("collections", ()):
            if one["can_read"]:
                found[one["id"]].add(slug)
    by_alias = {told[identity]["alias"]: slugs for identity, slugs in found.items()}
    assert told.keys() == found.keys()
    assert {slug[:2] for slug in by_alias["us-domestic"]} == {"us"}
    assert {slug[:2] for slug in by_alias["mx-domestic"]} == {"mx"}
    assert {"us-customs", "mx-aduanas", "us-port-gulf", "mx-puerto-pac"} <= by_alias["indicators"]


def test_the_ledger_and_the_witnesses_answer(stays: Stays) -> None:
    card = stays.card
    for log, auditor in (("both", "aud-us"), ("both", "aud-mx"), ("us", "aud-us"), ("mx", "aud-mx")):
        note = get(f"{card['ledger_url']}{log}/checkpoint", card, auditor).content
        policy = Policy.parse((Path(card["witness_policy"]) / log).read_text())
        assert policy.logs[0].name == split_note(note)[0].split("\n")[0]
    for url in card["witnesses"].values():
        assert requests.get(f"{url}/health", timeout=PATIENCE_SECONDS).json()["status"] == "ok"


def test_client_certificates_work_where_the_card_says(stays: Stays) -> None:
    card = stays.card
    member = card["members"]["mx-marina"]
    with requests.Session() as session:
        session.trust_env = False
        session.cert = (member["tls_certificate"], member["tls_key"])
        answer = session.get(f"{card['mtls_url']}/api/v1/me", verify=card["ca_file"], timeout=PATIENCE_SECONDS)
        assert answer.json()["slug"] == "mx-marina"


def test_the_printed_snippet_works_in_a_fresh_python(stays: Stays) -> None:
    lines = stays.output.split("import json, os\n", 1)[1].split("print(collection.title)", 1)[0]
    snippet = f"import json, os\n{lines}print(collection.title)\n"
    ran = subprocess.run(
        [sys.executable, "-c", snippet],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        cwd="/",
        env=environment(),
    )
    assert ran.returncode == 0, ran.stderr
    assert {"Border indicators", "Public feeds", "MX nacional"} <= set(ran.stdout.splitlines())


def test_ctrl_c_ends_it_and_everything_it_started(stays: Stays) -> None:
    """Last of those that need it."""
    assert len(witnesses_of(stays.home)) == 4
    stays.process.send_signal(signal.SIGINT)
    assert stays.process.wait(PATIENCE_SECONDS) == 0
    assert witnesses_of(stays.home) == []


def test_a_second_run_begins_anew_and_sigterm_ends_it_midway(stays: Stays) -> None:
    card = stays.home.parent / "demo.json"
    card.unlink()
    process = subprocess.Popen(
        [sys.executable, "-m", "exchange.cli", "demo", "--home", str(stays.home)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT, env=environment(),
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not card.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # among the feeds
    process.terminate()
    try:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert b"Traceback" not in errors
    assert witnesses_of(stays.home) == []


def failing(part: str, home: Path) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.faults.broken_demo", part, str(home)],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd=ROOT, env=environment(),
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Next: " in ran.stderr
    assert "Ahora: " in ran.stderr
    assert witnesses_of(home) == []
    return ran


def test_a_witness_that_does_not_come_up_is_named(tmp_path: Path) -> None:
    ran = failing("witness", tmp_path / "home")
    assert "✗ starting the hub and its witnesses: Witness mx-b did not come up" in ran.stderr
    assert "✗ al arrancar el centro y sus testigos: El testigo mx-b no arrancó" in ran.stderr


def test_feeds_that_fail_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A source that is not there, and a partner's server that refuses us."""
    ran = failing("feeds", tmp_path / "home")
    faults = [line for line in ran.stderr.splitlines() if line.startswith("✗")]
    assert len(faults) == 4, ran.stderr
    assert "kev: " in faults[0]
    assert "upstream: " in faults[2]
    assert "The copy of the ledger verifies offline" in ran.stdout


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert play(Plan(tmp_path / "file" / "home")) == 1
    told = capsys.readouterr().err
    assert str(tmp_path / "file") in told
    assert "✗ before anything ran: " in told
    assert "✗ antes de empezar: " in told


def test_it_clears_nobody_elses_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("dear")
    assert play(Plan(tmp_path)) == 1
    told = capsys.readouterr().err
    assert "is not a demo's directory" in told
    assert "no es el directorio de una demostración" in told
    assert (tmp_path / "mine").read_text() == "dear"
