"""The whole path by command line, against a hub and four witnesses that run as processes of their own."""

import io
import json
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from certs.authority import Authority
from certs.keys import read_certificate
from exchange.cli import __main__ as cli
from exchange.cli import setup
from exchange.cli.holders import now
from exchange.ledger.note import Checkpoint, LogKey, WitnessKey, note_text, split_note
from tests.data import VENDORED
from tests.world import TLP2, free_port

KEV = VENDORED / "kev" / "kev-2025-04-29.sample.json"


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Terminal:
    """Runs commands as `puente` does, in this process, and tells what a person would see."""

    root: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def home(self) -> Path:
        return self.root / "var"

    def __call__(self, *args: object, stdin: bytes = b"", lang: str = "C.UTF-8") -> Ran:
        words = [str(one) for one in args]
        runner = CliRunner(env={"LC_ALL": lang, "LANG": lang, "PUENTE_PROFILE": None, "PUENTE_TOKEN": None})
        with runner.isolation(input=io.BytesIO(stdin)) as (out, err, _), self.monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["puente", *words])
            patch.chdir(self.root)
            try:
                cli.main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
            return Ran(code, out.getvalue().decode(), err.getvalue().decode())

    def apart(self, *args: object) -> Ran:
        """The same in a process of its own: what a command that sets up logging needs, which is done once per process."""
        words = [sys.executable, "-m", "exchange.cli", *(str(one) for one in args)]
        done = subprocess.run(words, cwd=self.root, capture_output=True, text=True, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)

    def well(self, *args: object, **more: Any) -> Ran:
        ran = self(*args, **more)
        assert ran.code == 0, (args, ran)
        return ran


def start(root: Path, *words: str) -> subprocess.Popen[bytes]:
    with (root / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "exchange.cli", *words], cwd=root, stdout=log, stderr=log)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """After `init`, two `member add`, their tokens, and with everything running."""
    root = tmp_path_factory.mktemp("hand")
    with pytest.MonkeyPatch.context() as patch:
        puente = Terminal(root, patch)
        ports = [free_port() for _ in range(6)]
        puente.well("init", "--port", ports[0], "--mtls-port", ports[1])
        settings = puente.home / "hub" / "puente.toml"
        text = settings.read_text()
        for n, port in enumerate(ports[2:]):
            text = text.replace(f":{8451 + n}", f":{port}")
        settings.write_text(f'witness_interval_seconds = 0.3\ncheckpoint_interval_seconds = 0.1\ncrls = "crls"\n{text}')
        (puente.home / "hub" / "crls").mkdir()
        for country in ("US", "MX"):
            puente.well("cert", "crl", country, "-o", puente.home / "hub" / "crls")
        for slug in ("us-cyber", "mx-ciber", "us-customs"):
            puente.well("member", "add", slug)
            puente.well("token", "create", slug, "--save")
        running = [
            *[
                start(root, "witness", "serve", f"var/witness-{name}", "--port", str(port))
                for name, port in zip(setup.WITNESSES, ports[2:], strict=True)
            ],
            start(root, "serve"),
        ]
        try:
            deadline = time.monotonic() + 60  # five interpreters begin at once
            while puente("me", "--as", "us-cyber").code != 0:
                assert time.monotonic() < deadline, (root / "log").read_text()
                time.sleep(0.2)
            yield puente
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
            for process in running:
                process.wait()


def indicator(**more: Any) -> dict[str, Any]:
    return {
        "type": "indicator",
        "name": "señal",
        "pattern": "[domain-name:value = 'c2.example.net']",
        "pattern_type": "stix",
        "pattern_version": "2.1",
        "valid_from": "2026-01-01T00:00:00Z",
        "object_marking_refs": [TLP2["amber"]],
        **more,
    }


def test_secrets_are_their_owners_alone(terminal: Terminal) -> None:
    directory = terminal.home / "members" / "us-cyber"
    secret = {path.name for path in directory.iterdir() if stat.S_IMODE(path.stat().st_mode) == 0o600}
    assert secret == {"client.toml", "token", "signing.key", "tls.key"}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    created = terminal.well("token", "create", "us-cyber", "--json").json
    assert created["token"] not in (terminal.root / "log").read_text()


def test_a_token_for_a_product_says_what_to_paste(terminal: Terminal) -> None:
    told = terminal.well("token", "create", "mx-ciber", "--for", "elastic", "--json").json
    url = next(one["value"] for one in told["fields"] if one["name"] == "URL")
    assert url.endswith("/objects/") and told["token"] in {one["value"] for one in told["fields"]}
    assert {one["product"] for one in terminal.well("token", "list", "--json").json} == {"", "elastic"}
    spoken = terminal.well(
        "token", "create", "mx-ciber", "--for", "fortigate", "--collection", "mx-domestic", lang="es_MX.UTF-8"
    )
    assert "/edl/v1/mx-domestic/ipv4.txt" in spoken.out
    assert "Contraseña:" in spoken.out
    saved = terminal.well("token", "create", "mx-ciber", "--for", "misp", "--save").out
    kept = (terminal.home / "members/mx-ciber/token-misp").read_text().strip()
    assert kept.startswith("puente_") and kept not in saved
    assert (
        "[--collection]" in terminal("token", "create", "mx-ciber", "--for", "misp", "--collection", "us-domestic").err
    )


def test_what_lists_would_hold_and_letting_one_fall(terminal: Terminal) -> None:
    drafts = [indicator(pattern=f"[ipv4-addr:value = '198.51.100.{number}']", confidence=90) for number in range(1, 13)]
    drafts.append(
        indicator(pattern="[ipv4-addr:value = '198.51.100.99' AND ipv4-addr:resolves_to_refs[0].value = 'x']")
    )
    (terminal.root / "many.json").write_text(json.dumps({"objects": drafts}))
    terminal.well("sign", "--as", "us-cyber", "many.json", "-o", "many.signed.json")
    terminal.well("submit", "--as", "us-cyber", "many.signed.json", "--to", "indicators")
    shown = terminal.well("edl", "show", "indicators", "--as", "mx-ciber", "--json").json
    assert {f"198.51.100.{number}" for number in range(1, 13)} <= {one["value"] for one in shown["entries"]}
    assert (shown["left_out"], shown["held"]) == ({"pattern-compound": 1}, {})
    table = terminal.well("edl", "show", "indicators", "--as", "mx-ciber", lang="es_MX.UTF-8").out
    assert "confianza" in table and "su patrón dice más" in table
    none = terminal("edl", "release", "indicators", "--as", "mx-ciber")
    assert (none.code, "nothing-held" in none.err) == (1, True)
    assert "[--as]" in terminal("edl", "show", "indicators", "--as", "nobody").err

    # A device takes the list; then its originator withdraws all of it.
    hub = json.loads((terminal.home / "members/mx-ciber/client.toml").read_text().splitlines()[0].partition("=")[2])
    token = (terminal.home / "members/mx-ciber/token").read_text().strip()
    trusted = ssl.create_default_context(cafile=str(terminal.home / "pki/hub/hub-root.pem"))

    def device() -> list[str]:
        url = urllib.request.Request(f"{hub}/edl/v1/indicators/ipv4.txt", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(url, context=trusted) as answer:
            return answer.read().decode().splitlines()

    full = device()
    assert len(full) >= 12
    signed = json.loads((terminal.root / "many.signed.json").read_bytes())["objects"]
    time.sleep(0.01)
    later = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:23] + "Z"
    gone = [
        {key: value for key, value in one.items() if key != "extensions"} | {"revoked": True, "modified": later}
        for one in signed
    ]
    (terminal.root / "gone.json").write_text(json.dumps({"objects": gone}))
    terminal.well("sign", "--as", "us-cyber", "gone.json", "-o", "gone.signed.json")
    terminal.well("submit", "--as", "us-cyber", "gone.signed.json", "--to", "indicators")
    assert device() == full, "held"
    assert "is held for devices" in terminal.well("edl", "show", "indicators", "--as", "mx-ciber").out
    assert "Released for mx-ciber: ipv4 " in terminal.well("edl", "release", "indicators").out
    assert len(device()) == len(full) - 12
    assert not terminal.well("edl", "show", "indicators", "--as", "mx-ciber", "--json").json["held"]


def test_who_am_i(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert terminal.well("me", "--as", "us-cyber", "--json").json[0]["member"] == "us-cyber"
    found = {one["alias"]: one for one in terminal.well("collections", "--as", "mx-ciber", "--json").json}
    assert found["mx-domestic"]["write"] is True
    assert "us-domestic" not in found
    assert "miembro" in terminal.well("me", "--as", "us-cyber", lang="es_MX.UTF-8").out
    strange = terminal("me", "--as", "nobody")
    assert (strange.code, "no-profile [--as]" in strange.err) == (1, True)


def test_sign_submit_pull_verify_explain(terminal: Terminal) -> None:
    drafts = terminal.root / "drafts.json"
    drafts.write_text(json.dumps({"objects": [indicator(), indicator(name="otra")]}))
    terminal.well("sign", "--as", "us-cyber", drafts, "-o", "signed.json")
    signed = json.loads((terminal.root / "signed.json").read_bytes())
    sent = terminal.well(
        "submit", "--as", "us-cyber", "signed.json", "--to", "indicators", "--receipts", "mine", "--json"
    ).json
    assert [one["id"] for one in sent["accepted"]] == [one["id"] for one in signed["objects"]]
    assert sent["receipts"] and not sent["refused"]
    # The same file again is the same submission: nothing is stored twice, nothing refused.
    again = terminal.well("submit", "--as", "us-cyber", "signed.json", "--to", "indicators").out
    assert "2 accepted, 0 refused." in again

    lines = terminal.well("pull", "--as", "mx-ciber", "indicators").out.splitlines()
    assert {json.loads(line)["id"] for line in lines} >= {one["id"] for one in signed["objects"]}
    first = terminal.well("pull", "--as", "mx-ciber", "indicators", "-o", "got", "--receipts", "theirs", "--json").json
    assert (first["objects"], first["receipts"]) == (len(lines), first["pages"])
    assert terminal.well("pull", "--as", "mx-ciber", "indicators", "-o", "got", "--json").json["objects"] == 0
    for proof in sorted((terminal.root / "theirs").glob("*.tlog-proof")):
        leaf = proof.with_suffix(".leaf")
        assert "Proved" in terminal.well("ledger", "receipt", "--policy", "var/hub/witness-policy", proof, leaf).out

    terminal.well("cert", "export", "public")
    judge = ("--trust-list", "public/trust-list.json", "--certs", "public")
    verdicts = terminal.well("verify", "got", *judge, "--json").json
    assert {one["verdict"] for one in verdicts} == {"valid"}
    terminal.well("verify", "got", *judge, "--crls", terminal.home / "hub" / "crls")
    (terminal.root / "no-crls").mkdir()
    without = terminal("verify", "got", *judge, "--crls", "no-crls", "--json").json
    assert {one["reason"].split(":")[0] for one in without} == {"signature-crl-missing"}
    before = terminal("verify", "got", *judge, "--at", "2020-01-01T00:00:00Z")
    assert (before.code, "approval-missing" in before.err) == (1, True)  # no approver's certificate is that old
    assert "[--at]" in terminal("verify", "got", *judge, "--at", "yesterday").err
    assert "[--match]" in terminal("pull", "--as", "mx-ciber", "indicators", "--match", "type").err
    none = terminal.well("pull", "--as", "mx-ciber", "indicators", "--match", "type=malware").out
    assert none == ""
    changed = json.dumps(signed["objects"][0] | {"name": "changed"}).encode()
    refused = terminal("verify", "-", *judge, "--json", stdin=changed)
    assert (refused.code, refused.json[0]["reason"].split(":")[0]) == (1, "signature-invalid")

    name = signed["objects"][0]["id"]
    own = terminal.well("explain", "--as", "us-cyber", "--object", name, "--to", "mx-ciber", "--json").json
    hubs = terminal.well("explain", "--object", name, "--to", "mx-ciber", "--json").json
    assert own == hubs
    assert hubs["placements"][0]["clause"].startswith("P-")
    assert "P-" in terminal.well("explain", "--object", name, "--to", "mx-ciber").out


def test_a_hub_that_shows_another_history_ends_with_status_four_and_evidence(terminal: Terminal) -> None:
    """Here both countries' witnesses once vouched for another: no hub can explain that away."""
    place = terminal.home / "members/mx-aduanas"
    terminal.well("member", "add", "mx-aduanas")
    terminal.well("token", "create", "mx-aduanas", "--save")
    terminal.well("pull", "--as", "mx-aduanas", "indicators")
    kept = place / "seen/both/checkpoint"
    seen = Checkpoint.parse(split_note(kept.read_bytes())[0])
    other = Checkpoint(seen.origin, seen.size, bytes(32)).body()
    keys = [(terminal.home / f"witness-{name}/witness.key").read_text().strip() for name in ("us-a", "mx-b")]
    signed = LogKey.decode((terminal.home / "hub/keys/log-both.key").read_text().strip()).sign(other)
    kept.write_bytes(note_text(signed, [WitnessKey.decode(key).cosign(other, 1) for key in keys]))
    for lang, word in (("en_US.UTF-8", "tell both countries"), ("es_MX.UTF-8", "avise a ambos países")):
        ran = terminal("pull", "--as", "mx-aduanas", "indicators", lang=lang)
        assert (ran.code, ran.out, "history-other" in ran.err, word in ran.err) == (4, "", True, True)
    (evidence,) = (place / "seen/alarms").iterdir()
    assert evidence.stat().st_mode & 0o077 == 0
    assert json.loads(evidence.read_bytes())["seen"] == kept.read_text()


def test_a_page_of_both_countries_objects_is_proved_in_both_logs(terminal: Terminal) -> None:
    for slug in ("us-cyber", "mx-ciber"):
        data = json.dumps([indicator(name=f"of {slug}") for _ in range(2)]).encode()
        terminal.well("submit", "--as", slug, "-", "--to", "indicators", stdin=data)
    got = terminal.well("pull", "--as", "us-customs", "indicators", "-o", "mixed", "--receipts", "both", "--json").json
    assert (got["pages"], got["receipts"]) == (1, 2)
    assert {path.name.partition("-")[0] for path in (terminal.root / "both").iterdir()} == {"both", "us"}


def test_what_is_refused_is_told_and_is_the_exit_status(terminal: Terminal) -> None:
    bad = [indicator(), indicator(pattern="[nonsense"), indicator(object_marking_refs=[TLP2["red"]]), "no object", {}]
    data = json.dumps(bad).encode()
    ran = terminal("submit", "--as", "us-cyber", "-", "--to", "indicators", "--json", stdin=data)
    assert ran.code == 1
    assert len(ran.json["accepted"]) == 1
    told = {one["code"]: one for one in ran.json["refused"]}
    assert {"agreement", "not-stix", "object-incomplete"} < told.keys()
    assert all(one["reason"] for one in told.values())
    spanish = terminal("submit", "--as", "us-cyber", "-", "--to", "indicators", stdin=data, lang="es_MX.UTF-8").out
    assert "1 aceptados, 4 rechazados." in spanish
    (terminal.root / "mixed-up").mkdir()
    (terminal.root / "mixed-up" / "bad.json").write_text('{"type": "indicator", "type": "malware"}')
    ran = terminal("submit", "--as", "us-cyber", "mixed-up", "--to", "indicators")
    assert (ran.code, "mixed-up/bad.json" in ran.err) == (1, True)
    unstable = json.dumps(indicator(revoked=False)).encode()
    ran = terminal("sign", "--as", "us-cyber", "-", stdin=unstable)
    assert (ran.code, ran.out) == (1, "")
    assert "signature-unstable" in ran.err and "revoked" in ran.err


def test_what_others_made_is_covered_by_an_attestation_beside_it(terminal: Terminal) -> None:
    stranger = f"identity--{uuid.uuid4()}"
    malware = {
        "type": "malware", "spec_version": "2.1", "id": f"malware--{uuid.uuid4()}", "created_by_ref": stranger,
        "created": "2025-01-02T03:04:05.678Z", "modified": "2025-01-02T03:04:05.678Z", "name": "Ejemplo",
        "is_family": True, "object_marking_refs": [TLP2["clear"]],
    }  # fmt: skip
    data = json.dumps(malware).encode()
    terminal.well("submit", "--as", "us-cyber", "-", "--to", "indicators", stdin=data)
    terminal.well("pull", "--as", "us-cyber", "attestations", "-o", "beside")
    terminal.well("cert", "export", "public")
    judge = ("--trust-list", "public/trust-list.json", "--certs", "public", "--json")
    alone = terminal("verify", "-", *judge, stdin=data)
    assert (alone.code, alone.json[0]["verdict"]) == (1, "refused")
    (terminal.root / "beside" / "malware.json").write_bytes(data)
    verdicts = {one["object"]: one for one in terminal("verify", "beside", *judge).json}
    assert verdicts[malware["id"]]["verdict"] == "covered"
    assert verdicts[malware["id"]]["signer"].startswith("identity--")
    (terminal.root / "beside" / "malware.json").write_text(json.dumps(malware | {"name": "Otro"}))
    changed = {one["object"]: one for one in terminal("verify", "beside", *judge).json}
    assert changed[malware["id"]]["verdict"] == "refused"


def test_a_new_version_names_the_one_before(terminal: Terminal) -> None:
    first = json.loads(terminal.well("sign", "--as", "us-cyber", "-", stdin=json.dumps(indicator()).encode()).out)
    (terminal.root / "first.json").write_text(json.dumps(first))
    later = (datetime.fromisoformat(first["modified"]) + timedelta(milliseconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%f")[
        :23
    ] + "Z"
    newer = {name: value for name, value in first.items() if name not in ("modified", "extensions")}
    newer |= {"name": "second", "modified": later}
    data = json.dumps(newer).encode()
    second = json.loads(terminal.well("sign", "--as", "us-cyber", "-", "--previous", "first.json", stdin=data).out)
    [block] = second["extensions"].values()
    assert len(block["prev_sha256"]) == 64


def test_a_tearline_goes_further_than_what_it_is_told_of(terminal: Terminal) -> None:
    noforn = "marking-definition--18444816-7f8e-46a7-8378-e4186dd55f87"
    full, told = indicator(description="on our cranes"), indicator()
    full |= {"object_marking_refs": [TLP2["amber+strict"], noforn]}
    (terminal.root / "full.json").write_text(json.dumps(full))
    (terminal.root / "told.json").write_text(json.dumps(told))
    pair = ("--as", "us-cyber", "full.json", "--tearline", "told.json")
    terminal.well("sign", *pair, "-o", "pair.json")
    whole, tearline, link = json.loads((terminal.root / "pair.json").read_bytes())["objects"]
    assert link["object_marking_refs"] == whole["object_marking_refs"]
    assert "3 accepted" in terminal.well("submit", "--as", "us-cyber", "pair.json", "--to", "indicators").out
    ids = {json.loads(line)["id"] for line in terminal.well("pull", "--as", "mx-ciber", "indicators").out.splitlines()}
    assert ids & {whole["id"], tearline["id"], link["id"]} == {tearline["id"]}
    both = {
        json.loads(line)["id"] for line in terminal.well("pull", "--as", "us-customs", "indicators").out.splitlines()
    }
    assert both >= {whole["id"], tearline["id"], link["id"]}
    (terminal.root / "told.json").write_text(json.dumps({"objects": [told, told]}))
    assert "[--tearline]" in terminal("sign", *pair).err


def test_a_gateway_is_enrolled_named_and_run(terminal: Terminal) -> None:
    """A certificate of the gateway's own intermediate, a trust list with both countries' approvals, a first run."""
    state = terminal.root / "gateway"
    terminal.well("member", "add", "us-gateway")
    certificate = terminal.home / "members" / "us-gateway" / "signing.pem"
    assert terminal.well("cert", "inspect", certificate, "--json").json[0]["purpose"] == "gateway"
    assert "gateway-exists" in terminal("member", "add", "us-other", "--country", "US", "--kind", "gateway").err
    mine = ("--as", "us-gateway", "--state", state)
    [ran] = terminal.apart("gateway", "run", *mine, "--json").json
    assert (ran["sent"], ran["fault"]) == (0, "-")
    assert terminal.well("gateway", "status", *mine, "--json").json[0]["standing"] == 0
    assert terminal.well("gateway", "held", *mine).out.split() == ["collection", "object", "version", "code", "reason"]
    assert stat.S_IMODE((state / "book.sqlite").stat().st_mode) == 0o600
    terminal.well("cert", "renew", "us-gateway", "--only", "signing")
    assert terminal.well("cert", "inspect", certificate, "--json").json[0]["purpose"] == "gateway"
    refused = terminal.apart("gateway", "run", "--as", "us-cyber", "--state", terminal.root / "none")
    assert (refused.code, "gateways" in refused.err) == (1, True)
    terminal.well("cert", "export", "before")
    build = ("cert", "trust-list", "build", "--previous", "before/trust-list.json", "-o", "next.json")
    assert "[--gateway]" in terminal(*build, "--gateway", "FR=x").err
    terminal.well(*build)
    named = [json.loads((terminal.root / name).read_bytes())["countries"]["US"]["gateway"] for name in ("before/trust-list.json", "next.json")]  # fmt: skip
    assert named[0] == named[1] is not None, "a list that is built anew keeps the gateways of the one before"


def test_feeds_are_tried_run_and_remembered(terminal: Terminal) -> None:
    catalogue = terminal.root / "catalogue.toml"
    catalogue.write_text(
        f'[[source]]\nname = "kev"\nadapter = "kev"\nlocation = "{KEV}"\npublisher = "CISA"\nlicence = "CC0-1.0"\n'
        'tlp = "clear"\ncollection = "vulnerabilities"\ncadence_seconds = 21600\n'
        'good_for_en = "what to patch"\ngood_for_es = "qué corregir"\n'
    )
    of = ("--catalogue", catalogue)
    tried = terminal.well("feed", "test", "kev", *of, "--json").json
    assert (tried["looked_at"], len(tried["first"]), tried["refused"]) == (126, 10, [])
    [run] = terminal.apart("feed", "run", "--as", "us-cyber", "kev", *of, "--json").json
    assert (run["accepted"], run["refused"], run["fault"]) == (126, 0, "-")
    [again] = terminal.apart("feed", "run", "--as", "us-cyber", "--all", *of, "--json").json
    assert again["accepted"] == 0
    [fares] = terminal.well("feed", "status", "--json").json
    assert (fares["source"], fares["status"], fares["accepted"], fares["held"]) == ("kev", "ok", 0, 0)
    assert fares["lag"] < 600
    assert terminal.well("feed", "errors", "--json").json == []
    terminal.well("feed", "list", *of)
    assert terminal.well("feed", "list", *of, "--json").json[0]["last_run"].startswith("20")
    [forbidden] = terminal.apart("feed", "run", "--as", "us-customs", "kev", *of, "--state", "other", "--json").json
    assert forbidden["fault"] == "collection-read-only"
    unknown = terminal("feed", "test", "kevv", *of, lang="es_MX.UTF-8")
    assert (unknown.code, "No existe la fuente kevv" in unknown.err) == (1, True)
    by_address = terminal("feed", "test", "https://127.0.0.1/hosts.txt", "--format", "lines", "--kind", "host")
    assert (by_address.code, "127.0.0.1" in by_address.err) == (1, True), "nothing on this machine is called"
    # A source of one's own, without code: tried before it is added, added, tried by name, paused and resumed.
    (terminal.root / "mine.csv").write_text(
        "id,host,seen\n1,8.8.8.8,2026-01-01\n2,cfdi.example,2026-01-01\n3,no host,x\n"
    )
    form = ("--location", "mine.csv", "--format", "csv", "--value", "host", "--kind", "host")
    tried = terminal("feed", "test", *form, "--json")
    assert tried.code == 1
    assert (tried.json["looked_at"], tried.json["held"]) == (3, 1)
    assert [one["code"] for one in tried.json["refused"]] == ["warninglist-held", "record-value"]
    terminal.well("feed", "add", "mine", *form, *of, "--collection", "vulnerabilities", "--tlp", "clear")
    assert [one["name"] for one in terminal.well("feed", "list", *of, "--json").json] == ["kev", "mine"]
    twice = terminal("feed", "add", "mine", *form, *of, lang="es_MX.UTF-8")
    assert (twice.code, "Ya existe una fuente mine" in twice.err) == (1, True)
    terminal.well("feed", "add", "drop", "--from", "spamhaus-drop", *of)
    assert terminal.well("feed", "list", *of, "--json").json[-1]["licence"].startswith("Free with attribution")
    inside = ("--from", "circl-osint", "--location", "https://misp.example", "--network", "10.20.0.0/16")
    terminal.well("feed", "add", "inside", *inside, *of)
    assert [one["calls"] for one in terminal.well("feed", "list", *of, "--json").json] == [
        "-",
        "-",
        "public",
        "10.20.0.0/16",
    ]
    wide = terminal("feed", "add", "wide", *inside[:-1], "0.0.0.0/0", *of)
    assert (wide.code, "wide: networks: 0.0.0.0/0" in wide.err) == (1, True)
    terminal.well("feed", "pause", "mine")
    resting = terminal("feed", "run", "--as", "us-cyber", "mine", *of)
    assert (resting.code, "feed resume mine" in resting.err) == (1, True)
    terminal.well("feed", "resume", "mine")
    ran = terminal.apart("feed", "run", "--as", "us-cyber", "mine", *of, "--json")
    [run] = ran.json
    assert (ran.code, run["accepted"], run["held"], run["skipped"]) == (1, 2, 1, 1)
    assert {one["code"] for one in terminal.well("feed", "errors", "mine", "--json").json} == {
        "warninglist-held",
        "record-value",
    }
    # What the feed brought reaches the other country by hand, too, and a mixed page is proved in both logs.
    terminal.well("pull", "--as", "us-customs", "vulnerabilities", "-o", "kev", "--receipts", "kev-proofs")


def test_a_pack_is_written_and_verified(terminal: Terminal) -> None:
    taken = terminal.well(
        "ledger", "pack", "copy", "--for", "us", "--since", "30d", "--receipt", "both/0", "--json"
    ).json
    assert (taken["for"], [log["log"] for log in taken["logs"]]) == ("us", ["both", "us"])
    policy = terminal.root / "us-policy"
    policy.mkdir()
    for log in ("both", "us"):
        shutil.copy(terminal.home / "hub/witness-policy" / log, policy / log)
    report = terminal.well("ledger", "verify", "--policy", "us-policy", "copy", "--json").json
    assert report["ok"]
    assert {log["log"]: log["root"] for log in report["logs"]} == {log["log"]: log["root"] for log in taken["logs"]}
    assert (terminal.root / "copy/receipts/both-0.tlog-proof").exists()


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("not-empty", "--for", "us"), "directory"),
        (("new", "--for", "us", "--since", "yesterday"), "--since"),
        (("new", "--for", "us", "--receipt", "mx/1"), "--receipt"),
        (("new", "--for", "us", "--receipt", "both/1000000"), "--receipt"),
    ],
)
def test_a_pack_that_cannot_be_is_refused_by_field(terminal: Terminal, words: tuple[str, ...], field: str) -> None:
    (terminal.root / "not-empty").mkdir(exist_ok=True)
    (terminal.root / "not-empty" / "file").write_text("")
    ran = terminal("ledger", "pack", *words)
    assert (ran.code, field in ran.err) == (1, True), ran
    assert not (terminal.root / "new").exists()


def test_the_clock_is_told_and_confirmed(terminal: Terminal) -> None:
    assert "The last entry is of 20" in terminal.well("ledger", "clock").out
    assert "Confirmed" in terminal.well("ledger", "clock", "--confirm").out


def test_renewed_certificates_count_beside_the_old_ones(terminal: Terminal) -> None:
    old = json.loads(terminal.well("cert", "inspect", "us-customs", "--json").out)
    terminal.well("cert", "renew", "us-customs")
    directory = terminal.home / "members" / "us-customs"
    now = {one["thumbprint"] for one in terminal.well("cert", "inspect", "us-customs", "--json").json}
    assert {one["thumbprint"] for one in old} < now
    assert len(now) == 4
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in directory.glob("*.key"))
    assert len(list(directory.glob("*.key"))) == 4
    data = json.dumps(indicator()).encode()
    terminal.well("submit", "--as", "us-customs", "-", "--to", "indicators", stdin=data)
    states = {one["state"] for one in terminal.well("cert", "list", "--json").json}
    assert states == {"good"}


def test_a_revoked_member_is_refused_on_its_next_request(terminal: Terminal) -> None:
    member = terminal.home / "members" / "us-customs"
    (member / "token").rename(member / "token-kept")  # now the client certificate speaks
    assert terminal.well("me", "--as", "us-customs", "--json").json[0]["member"] == "us-customs"
    terminal.well("cert", "revoke", "us-customs", "--reason", "keyCompromise")
    refused = terminal("me", "--as", "us-customs")
    assert (refused.code, refused.err.split(":")[0].split()[0]) == (1, "certificate-revoked")
    (member / "token-kept").rename(member / "token")
    data = json.dumps(indicator()).encode()
    ran = terminal("submit", "--as", "us-customs", "-", "--to", "indicators", "--json", stdin=data)
    assert [one["code"] for one in ran.json["refused"]] == ["signature-revoked"]
    told = terminal.well("cert", "inspect", member / "tls.pem", "--json").json[0]["revoked"]
    assert "hub" in told and "keyCompromise" in told
    # A revoked certificate is not renewed; a fresh one lets the member in again.
    assert terminal("cert", "renew", "us-customs").code == 1
    terminal.well("cert", "issue", "member-signing", "us-customs", "--enrol")
    terminal.well("submit", "--as", "us-customs", "-", "--to", "indicators", stdin=data)


def test_a_countrys_own_list_is_heard_by_the_running_hub(terminal: Terminal) -> None:
    """The hub's registry says nothing: only the CRL in its folder does."""
    member, folder = terminal.home / "members" / "mx-ciber", terminal.home / "hub" / "crls"
    kept = member / "token"
    kept.rename(member / "token-kept")
    assert terminal.well("me", "--as", "mx-ciber", "--json").json[0]["member"] == "mx-ciber"
    authority = Authority.load(terminal.home / "pki" / "mx")
    for name in ("tls", "signing"):
        authority.revoke(read_certificate((member / f"{name}.pem").read_bytes()), now=now())
    assert terminal("me", "--as", "mx-ciber").code == 0  # nobody has published it yet
    terminal.well("cert", "crl", "MX", "-o", folder)
    assert terminal("me", "--as", "mx-ciber").err.startswith("certificate-revoked")
    (member / "token-kept").rename(kept)
    data = json.dumps(indicator()).encode()
    ran = terminal("submit", "--as", "mx-ciber", "-", "--to", "indicators", "--json", stdin=data)
    assert [one["code"] for one in ran.json["refused"]] == ["signature-revoked"]
    # A list that is missing refuses, too; the other country does not notice.
    (folder / "us-members-signing.crl").unlink()
    ran = terminal("submit", "--as", "us-cyber", "-", "--to", "indicators", "--json", stdin=data)
    assert [one["code"] for one in ran.json["refused"]] == ["signature-crl-missing"]
    terminal.well("cert", "crl", "US", "-o", folder)
    terminal.well("submit", "--as", "us-cyber", "-", "--to", "indicators", stdin=data)
