"""A witness that is not ours cosigns our checkpoints, as a process of its own over HTTP: aics-witness from PyPI, under C2SP.

It needs a Python of at least 3.12; `./dev witness` looks for one and installs what requirements/witness.txt pins. Where there
is none these tests are skipped, but never in continuous integration.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from exchange.clock import SystemClock
from exchange.hub import running
from exchange.ledger import merkle
from exchange.ledger.asking import Behind, Cosigned, Refused, add_checkpoint
from exchange.ledger.merkle import leaf_hash
from exchange.ledger.note import Checkpoint, LogKey, Policy, cosigned_by
from tests.world import found, free_port

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / ".venv-witness" / "bin" / "aics-witness"
START_SECONDS = 20
LEAVES = [leaf_hash(b"%d" % n) for n in range(40)]
OTHERS = [*LEAVES[:5], leaf_hash(b"other"), *LEAVES[6:]]


@pytest.fixture(scope="session")
def program() -> Path:
    with (Path(tempfile.gettempdir()) / "puente-witness.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers of this test run wait for the one that installs it
        done = subprocess.run([ROOT / "dev", "witness"], capture_output=True, text=True, timeout=110)
    if done.returncode:
        reason = f"THE FOREIGN WITNESS IS NOT TRIED: {done.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return PROGRAM


@dataclass(frozen=True)
class Foreign:
    """It runs, and answers at this address."""

    url: str
    vkey: str


@contextlib.contextmanager
def serving(program: Path, folder: Path, logs: dict[str, str]) -> Iterator[Foreign]:
    folder.mkdir()
    config, port = folder / "witness.json", free_port()

    def run(word: str, *words: str) -> str:
        command = [str(program), word, "--config", str(config), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()

    vkey = run("init", "--name", "foreign.witness.example", "--listen", f"127.0.0.1:{port}").splitlines()[-1]
    for origin, key in logs.items():
        run("add-log", "--origin", origin, "--vkey", key)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", "--config", config], stdout=log, stderr=log)
    try:
        _answers(process, port, folder / "log")
        yield Foreign(f"http://127.0.0.1:{port}", vkey)
    finally:
        process.terminate()
        process.wait(10)


def _answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(START_SECONDS * 20):
        assert process.poll() is None, log.read_text()
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1),
        ):
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@dataclass(frozen=True)
class Tree:
    """A log as far as a witness sees it."""

    key: LogKey
    leaves: list[bytes]

    def note(self, size: int) -> bytes:
        return self.key.sign(Checkpoint(self.key.name, size, merkle.root(self.leaves[:size])).body())

    def proof(self, old: int, size: int) -> list[bytes]:
        return merkle.consistency_proof(old, size, merkle.reader_of(self.leaves)) if old else []


HONEST = Tree(LogKey("puente.hub.example/audit/both", bytes([7] * 32)), LEAVES)
FORKED = Tree(HONEST.key, OTHERS)
STRANGER = Tree(LogKey("puente.other.example/audit/both", bytes([8] * 32)), LEAVES)
IMPOSTOR = Tree(LogKey(HONEST.key.name, bytes([9] * 32)), LEAVES)


async def test_it_cosigns_what_grows_and_refuses_what_does_not(program: Path, tmp_path: Path) -> None:
    logs = {HONEST.key.name: HONEST.key.vkey}
    with serving(program, tmp_path / "foreign", logs) as foreign:
        policy = Policy.parse(f"log {HONEST.key.vkey}\nwitness foreign {foreign.vkey}\nquorum foreign\n")
        async with aiohttp.ClientSession() as session:

            async def ask(
                tree: Tree, old: int, size: int, *, note: bytes | None = None, proof: list[bytes] | None = None
            ) -> object:
                sent = tree.note(size) if note is None else note
                path = tree.proof(old, size) if proof is None else proof
                return await add_checkpoint(session, foreign.url, old, path, sent, 5)

            async def cosigned(old: int, size: int) -> None:
                answer = await ask(HONEST, old, size)
                assert isinstance(answer, Cosigned), answer
                line = cosigned_by(policy, "foreign", HONEST.note(size), answer.lines)
                assert line is not None
                checked = policy.check(HONEST.note(size) + f"{line}\n".encode())
                assert (checked.checkpoint.size, set(checked.cosigned)) == (size, {"foreign"})

            await cosigned(0, 7)
            await cosigned(7, 20)
            await cosigned(20, 20)  # unchanged, with a fresh time
            tampered = HONEST.note(30)[:-4] + b"AA==\n"
            wrong = [bytes(32), *HONEST.proof(20, 30)[1:]]
            answers = {
                "a bad signature": await ask(HONEST, 20, 30, note=HONEST.note(30).replace(b"\n30\n", b"\n31\n")),
                "a broken line": await ask(HONEST, 20, 30, note=tampered),
                "another key of the same name": await ask(IMPOSTOR, 20, 30),
                "another root at the same size": await ask(FORKED, 20, 20),
                "another history": await ask(FORKED, 20, 30),
                "a wrong proof": await ask(HONEST, 20, 30, proof=wrong),
                "no proof": await ask(HONEST, 20, 30, proof=[]),
                "an unknown origin": await ask(STRANGER, 0, 30),
                "a smaller size": await ask(HONEST, 20, 9, proof=[]),
            }
            refused = {name: one.status for name, one in answers.items() if isinstance(one, Refused)}
            assert refused == {
                "a bad signature": 403, "a broken line": refused["a broken line"], "another key of the same name": 403,
                "another root at the same size": 422, "another history": 422, "a wrong proof": 422, "no proof": 422,
                "an unknown origin": 404, "a smaller size": 400,
            }  # fmt: skip
            assert refused["a broken line"] in (400, 403)
            # What it has seen is not forgotten: who says that it saw less is told so.
            assert await ask(HONEST, 7, 9) == Behind(20)
            await cosigned(20, 40)


async def test_a_hub_is_cosigned_by_it_in_the_place_of_ours(program: Path, tmp_path: Path) -> None:
    """The hub's own publisher asks it, and takes its cosignature for Mexico's."""
    async with found(tmp_path / "world", witness_interval_seconds=0.1, checkpoint_interval_seconds=0.1) as world:
        policies = {log: Policy.parse((world.settings.witness_policy / log).read_text()) for log in ("both", "mx")}
        logs = {policy.logs[0].name: policy.logs[0].vkey for policy in policies.values()}
        with serving(program, tmp_path / "foreign", logs) as foreign:
            for log, policy in policies.items():
                text = (world.settings.witness_policy / log).read_text()
                (world.settings.witness_policy / log).write_text(
                    text.replace(policy.witnesses["mx-a"].vkey, foreign.vkey)
                )
            witnesses = {**world.settings.witnesses, "mx-a": foreign.url}
            settings = world.settings.model_copy(update={"witnesses": witnesses})
            async with running(settings, SystemClock()) as hub:
                for log, tree in (await hub.services.store.trees()).items():
                    if log == "both":
                        assert await hub.services.publisher.receipt(log, tree.size - 1, wait_seconds=20) is not None
                note = await hub.services.publisher.newest_cosigned("both")
            assert note is not None
            checked = Policy.parse((settings.witness_policy / "both").read_text()).check(note)
            assert {"us-a", "mx-a"} <= set(checked.cosigned)
            assert b"foreign.witness.example" in note
            config = json.loads((tmp_path / "foreign" / "witness.json").read_text())
            assert {one["origin"] for one in config["logs"]} == set(logs)
