"""The witness: what it cosigns, what it refuses, and that it never forgets."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.jcs import load
from exchange.clock import FixedClock
from exchange.errors import LedgerFault
from exchange.ledger import merkle
from exchange.ledger.asking import Behind, Cosigned, Refused, Unreachable, add_checkpoint
from exchange.ledger.merkle import EMPTY_ROOT, leaf_hash
from exchange.ledger.note import Checkpoint, LogKey, NoteFault, Verifier, note_text, open_note
from exchange.ledger.remembering import Answer, Request, objection
from exchange.ledger.witness import Witness, serve

ORIGIN = "puente.hub.example/audit/both"
LOG = LogKey(ORIGIN, bytes(range(32)))
OTHER_LOG = LogKey("puente.hub.example/audit/us", bytes([7] * 32))
NAME = "witness.us.example/a"
MINE = [leaf_hash(b"%d" % n) for n in range(300)]
FORK = [*MINE[:5], *(leaf_hash(b"fork %d" % n) for n in range(295))]


def note(size: int, leaves: list[bytes] = MINE, key: LogKey = LOG) -> bytes:
    return key.sign(Checkpoint(key.name, size, merkle.root(leaves[:size])).body())


def body(old: int, new: int, leaves: list[bytes] = MINE, key: LogKey = LOG) -> bytes:
    proof = merkle.consistency_proof(old, new, merkle.reader_of(leaves)) if 0 < old <= new else []
    return Request(old, tuple(proof), note(new, leaves, key)).encode()


def signed_by(old: int, new: int, first: LogKey, second: LogKey) -> bytes:
    """The same by two keys of the log."""
    one = Request.parse(body(old, new, key=first))
    text = Checkpoint(ORIGIN, new, merkle.root(MINE[:new])).body()
    return Request(one.old, one.proof, note_text(one.note, [second.line(text)])).encode()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "witness"
    Witness.create(directory, NAME, [LOG.vkey])
    return directory


def evidence(home: Path) -> list[dict[str, object]]:
    folder = home / "refused"
    return [load(path.read_bytes(), max_bytes=100_000) for path in folder.iterdir()] if folder.exists() else []


# --- what it cosigns ---


def test_it_follows_a_growing_log(home: Path, clock: FixedClock) -> None:
    witness = Witness(home, clock)
    key = Verifier.parse(witness.vkey)
    old = 0
    for new in (0, 1, 1, 2, 7, 8, 255, 256, 257, 300):
        clock.advance(seconds=1)
        answer = witness.answer(body(old, new))
        assert answer.status == 200, answer
        opened = open_note(note_text(note(new), [answer.text]), [key])
        assert opened.signatures[0].time_seconds == clock.now_us() // 1_000_000
        old = new
    kept = witness.checkpoint(sha256(ORIGIN.encode()).hexdigest())
    assert kept is not None
    assert [one.key.name for one in open_note(kept, [LOG.verifier, key]).signatures] == [ORIGIN, NAME]
    assert evidence(home) == []


def test_it_remembers_over_a_restart(home: Path, clock: FixedClock) -> None:
    first = Witness(home, clock)
    assert first.answer(body(0, 7)).status == 200
    first.close()
    second = Witness(home, clock)
    assert second.vkey == first.vkey
    assert second.answer(body(0, 300)) == Answer(409, "7\n", "text/x.tlog.size")
    assert second.answer(body(7, 8, FORK)).status == 422
    assert second.answer(body(7, 8)).status == 200


def test_each_log_is_remembered_by_itself(home: Path, clock: FixedClock) -> None:
    witness = Witness(home, clock)
    assert witness.answer(body(0, 7)).status == 200
    assert witness.answer(body(0, 3, key=OTHER_LOG)).status == 404
    witness.add_log(OTHER_LOG.vkey)
    assert witness.answer(body(0, 3, key=OTHER_LOG)).status == 200
    assert witness.answer(body(7, 8)).status == 200


def test_a_log_may_rotate_its_key(home: Path, clock: FixedClock) -> None:
    """Both sign for a while. Once a tree was cosigned that the new key signed alone, there is no way back to the old one."""
    witness = Witness(home, clock)
    new_key = LogKey(ORIGIN, bytes([8] * 32))
    assert witness.answer(body(0, 7, key=new_key)).status == 403
    assert witness.answer(signed_by(0, 7, LOG, new_key)).status == 200  # its line is not known yet, and ignored
    witness.add_log(new_key.vkey)
    witness.add_log(new_key.vkey)
    assert witness.answer(signed_by(7, 8, LOG, new_key)).status == 200
    assert witness.answer(body(8, 8, key=new_key)).status == 200  # the same tree: a question, which replaces nothing
    assert witness.answer(body(8, 9)).status == 200
    assert witness.answer(signed_by(9, 10, new_key, LOG)).status == 200
    assert witness.answer(body(10, 11, key=new_key)).status == 200
    witness.close()

    again = Witness(home, clock)
    refused = again.answer(body(11, 12))
    assert (refused.status, refused.text) == (403, "Only a key signed the note that was replaced.\n")
    assert again.answer(body(11, 12, key=new_key)).status == 200
    with pytest.raises(NoteFault):
        again.add_log(again.vkey)


# --- what it refuses ---


def test_a_fork_is_refused_and_kept_as_evidence(home: Path, clock: FixedClock) -> None:
    witness = Witness(home, clock)
    assert witness.answer(body(0, 7)).status == 200
    forked = [body(7, 9, FORK), body(7, 7, FORK), body(0, 7, FORK)]
    assert [witness.answer(one).status for one in forked] == [422, 422, 409]
    for _ in range(3):
        witness.answer(body(7, 9, FORK))
    kept = evidence(home)
    assert len(kept) == 2  # one note for size 9, one for size 7
    for one in kept:
        request = Request.parse(str(one["request"]).encode())
        held = open_note(str(one["held"]).encode(), [LOG.verifier])
        contradiction = open_note(request.note, [LOG.verifier])
        assert held.body != contradiction.body
    assert witness.answer(body(7, 8)).status == 200


@pytest.mark.parametrize(
    ("request_body", "status"),
    [
        (b"", 400),
        (b"old 0\n", 400),
        (b"old 00\n\n" + note(1), 400),
        (b"old -1\n\n" + note(1), 400),
        (b"new 0\n\n" + note(1), 400),
        (b"old 0\r\n\r\n" + note(1), 400),
        (b"old 0\nAAAA\n\n" + note(1), 400),
        (Request(0, (bytes(32),) * 64, note(1)).encode(), 400),
        (b"old 0\n\n" + note(1)[:-1], 400),
        (b"old 0\n\n" + LOG.sign("not a checkpoint\n"), 400),
        (b"old 0\n\n" + LOG.sign(Checkpoint(ORIGIN, 1, bytes(32)).body() + "extension\n"), 400),
        (body(8, 7), 400),
        (body(0, 1, key=OTHER_LOG), 404),
        (b"old 0\n\n" + note(1).replace(b"\n1\n", b"\n2\n"), 403),
        (b"old 0\n\n" + note(1, key=LogKey(ORIGIN, bytes(32))), 403),
        (Request(0, (bytes(32),), note(1)).encode(), 422),
        (b"old 0\n\n" + LOG.sign(Checkpoint(ORIGIN, 0, bytes(32)).body()), 422),
        (body(1, 2), 409),
    ],
)
def test_what_is_wrong_has_its_status(home: Path, clock: FixedClock, request_body: bytes, status: int) -> None:
    witness = Witness(home, clock)
    before = (home / "state.json").read_bytes()
    assert witness.answer(request_body).status == status
    assert (home / "state.json").read_bytes() == before
    assert (len(evidence(home)) > 0) == (status == 422)


def test_a_witness_that_never_cosigned_says_zero(home: Path, clock: FixedClock) -> None:
    witness = Witness(home, clock)
    assert witness.answer(body(5, 7)) == Answer(409, "0\n", "text/x.tlog.size")
    assert witness.checkpoint(sha256(ORIGIN.encode()).hexdigest()) is None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.booleans(), st.booleans())
def test_nothing_but_true_growth_is_accepted(held: int, old: int, new: int, fork: bool, never: bool) -> None:
    """The decision alone: accepted exactly when the offered tree begins with the held one, and the log knows it."""
    leaves = FORK if fork else MINE
    known = None if never else Checkpoint(ORIGIN, held, merkle.root(MINE[:held]))
    size = 0 if never else held
    request = Request.parse(body(old, new, leaves))
    offered = Checkpoint(ORIGIN, new, merkle.root(leaves[:new]))
    refusal = objection(known, request, offered)
    same_beginning = not fork or size <= 5
    assert (refusal is None) == (old == size and size <= new and same_beginning)
    if refusal is not None and refusal.status == 409:
        assert refusal.text == f"{size}\n"


def test_a_clock_that_went_back_stops_it(home: Path, clock: FixedClock) -> None:
    witness = Witness(home, clock)
    assert witness.answer(body(0, 7)).status == 200
    clock.advance(seconds=-1)
    assert witness.answer(body(7, 8)).status == 503
    clock.advance(seconds=1)
    assert witness.answer(body(7, 8)).status == 200
    witness.close()
    clock.advance(seconds=-3600)
    assert Witness(home, clock).answer(body(8, 9)).status == 503


# --- its memory ---


def test_its_files_are_its_own(home: Path, clock: FixedClock) -> None:
    witness = Witness(home, clock)
    witness.answer(body(0, 7))
    witness.answer(body(7, 9, FORK))
    assert home.stat().st_mode & 0o077 == 0
    for path in home.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_key_that_others_may_read_is_not_used(home: Path, clock: FixedClock) -> None:
    (home / "witness.key").chmod(0o640)
    with pytest.raises(LedgerFault, match="witness-key"):
        Witness(home, clock)


def test_a_witness_without_its_memory_must_be_retired(home: Path, clock: FixedClock) -> None:
    (home / "state.json").unlink()
    with pytest.raises(LedgerFault, match="retired"):
        Witness(home, clock)
    with pytest.raises(LedgerFault, match="witness-exists"):
        Witness.create(home, NAME, [LOG.vkey])


def test_a_witness_without_its_key_does_not_start(home: Path, clock: FixedClock) -> None:
    (home / "witness.key").unlink()
    with pytest.raises(LedgerFault, match="witness-key"):
        Witness(home, clock)
    with pytest.raises(LedgerFault, match="witness-exists"):
        Witness.create(home, NAME, [LOG.vkey])


def test_damaged_memory_is_noticed(home: Path, clock: FixedClock) -> None:
    witness = Witness(home, clock)
    witness.answer(body(0, 7))
    witness.close()
    good = (home / "state.json").read_bytes()
    for bad in (
        b"",
        good[:-20],
        good.replace(b'"v":1', b'"v":2'),
        good.replace(b"\\n7\\n", b"\\n6\\n"),
        b"[]",
        good.replace(b"+", b"-", 1),
    ):
        (home / "state.json").write_bytes(bad)
        with pytest.raises(LedgerFault, match="witness-state"):
            Witness(home, clock)
    (home / "state.json").write_bytes(good)
    Witness(home, clock).close()


def test_two_processes_are_not_one_witness(home: Path, clock: FixedClock) -> None:
    first = Witness(home, clock)
    with pytest.raises(LedgerFault, match="witness-running"):
        Witness(home, clock)
    first.close()
    Witness(home, clock).close()


def test_what_cannot_be_remembered_is_not_cosigned(home: Path, clock: FixedClock) -> None:
    witness = Witness(home, clock)
    assert witness.answer(body(0, 7)).status == 200
    (home / "state.json.new").mkdir()  # no temporary file can be written now, not even by root
    assert witness.answer(body(7, 8)).status == 500
    (home / "state.json.new").rmdir()
    # Which state is on disk is unknown to the process: it stays silent until it is restarted.
    assert witness.answer(body(7, 8)).status == 500
    witness.close()
    assert Witness(home, clock).answer(body(7, 8)).status == 200


def test_the_state_is_on_disk_before_the_answer(home: Path, clock: FixedClock) -> None:
    witness = Witness(home, clock)
    for old, new in ((0, 3), (3, 9), (9, 9)):
        answer = witness.answer(body(old, new))
        stored = load((home / "state.json").read_bytes(), max_bytes=100_000)["logs"][ORIGIN]["note"]
        assert answer.text in stored


def test_racing_requests_cannot_roll_it_back(home: Path, clock: FixedClock) -> None:
    witness = Witness(home, clock)
    assert witness.answer(body(0, 5)).status == 200
    start = threading.Barrier(8)

    def ask(new: int) -> int:
        start.wait()
        return witness.answer(body(5, new)).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(ask, range(6, 14)))
    assert sorted(statuses) == [200] + [409] * 7
    winner = 6 + statuses.index(200)
    assert witness.answer(body(5, 299)).text == f"{winner}\n"


# --- over HTTP ---


@pytest.fixture
async def url(home: Path, clock: FixedClock) -> AsyncIterator[str]:
    witness = Witness(home, clock)
    runner = await serve(witness, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()
    witness.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def proof(old: int, new: int, leaves: list[bytes] = MINE) -> list[bytes]:
    return merkle.consistency_proof(old, new, merkle.reader_of(leaves))


async def test_a_log_asks_over_http(url: str, session: aiohttp.ClientSession) -> None:
    key = Verifier.parse((await (await session.get(url + "health")).json())["vkey"])
    answer = await add_checkpoint(session, url, 0, [], note(7), 5)
    assert isinstance(answer, Cosigned)
    assert open_note(note_text(note(7), answer.lines), [key]).signatures[0].key.name == NAME
    assert await add_checkpoint(session, url, 0, [], note(9), 5) == Behind(7)
    assert isinstance(await add_checkpoint(session, url, 7, proof(7, 9), note(9), 5), Cosigned)
    refused = await add_checkpoint(session, url, 9, proof(9, 11, FORK), note(11, FORK), 5)
    assert isinstance(refused, Refused)
    assert refused.status == 422
    unknown = await add_checkpoint(session, url, 0, [], note(1, key=OTHER_LOG), 5)
    assert isinstance(unknown, Refused)
    assert unknown.status == 404


async def test_the_newest_checkpoint_is_served_by_origin_hash(url: str, session: aiohttp.ClientSession) -> None:
    place = f"{url}{sha256(ORIGIN.encode()).hexdigest()}/checkpoint"
    async with session.get(place) as response:
        assert response.status == 404
    await add_checkpoint(session, url, 0, [], note(7), 5)
    async with session.get(place) as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        assert open_note(await response.read(), [LOG.verifier]).body.split("\n")[1] == "7"
    async with session.get(f"{url}{'0' * 64}/checkpoint") as response:
        assert response.status == 404


async def test_the_answer_to_a_log_behind_has_its_media_type_alone(url: str, session: aiohttp.ClientSession) -> None:
    async with session.post(url + "add-checkpoint", data=body(5, 7)) as response:
        assert (response.status, response.headers["Content-Type"]) == (409, "text/x.tlog.size")
        assert await response.text() == "0\n"


async def test_large_bodies_and_other_methods_are_refused(url: str, session: aiohttp.ClientSession) -> None:
    async with session.post(url + "add-checkpoint", data=b"x" * 200_000) as response:
        assert response.status == 413
    async with session.get(url + "add-checkpoint") as response:
        assert response.status == 405
    async with session.get(url + "state.json") as response:
        assert response.status == 404


async def test_health_tells_no_sizes(url: str, session: aiohttp.ClientSession) -> None:
    await add_checkpoint(session, url, 0, [], note(7), 5)
    async with session.get(url + "health") as response:
        assert set(await response.json()) == {"status", "name", "vkey"}


async def answered(
    status: int, text: str, media_type: str = "text/plain", *, delay: float = 0, patience: float = 60
) -> object:
    """What add_checkpoint makes of one answer of a witness that is not ours."""

    async def handle(_: web.Request) -> web.Response:
        await asyncio.sleep(delay)
        return web.Response(status=status, text=text, content_type=media_type, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_post("/prefix/add-checkpoint", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/prefix"
            return await add_checkpoint(session, url, 0, [], note(1), patience)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "text", "media_type", "kind"),
    [
        (200, "— a AAAAAAAA\n— b AAAAAAAA\n", "text/plain", Cosigned),
        (200, "", "text/plain", Unreachable),
        (200, "<html>", "text/html", Unreachable),
        (200, "— a " + "A" * 70_000, "text/plain", Unreachable),
        (409, "12\n", "text/x.tlog.size", Behind),
        (409, "twelve\n", "text/x.tlog.size", Unreachable),
        (409, "12\n", "text/plain", Refused),
        (302, "", "text/plain", Refused),
        (403, "no", "text/plain", Refused),
        (422, "no", "text/plain", Refused),
        (429, "later", "text/plain", Unreachable),
        (500, "broken", "text/plain", Unreachable),
        (503, "later", "text/plain", Unreachable),
    ],
)
async def test_whatever_a_witness_says_becomes_an_answer(status: int, text: str, media_type: str, kind: type) -> None:
    assert isinstance(await answered(status, text, media_type), kind)


async def test_silence_and_a_closed_port_are_unreachable(session: aiohttp.ClientSession) -> None:
    assert isinstance(await answered(200, "— a AAAAAAAA\n", delay=1, patience=0.3), Unreachable)
    assert isinstance(await add_checkpoint(session, "http://127.0.0.1:9", 0, [], note(1), 1), Unreachable)


def test_the_empty_tree_can_be_cosigned(home: Path, clock: FixedClock) -> None:
    witness = Witness(home, clock)
    assert witness.answer(body(0, 0)).status == 200
    kept = witness.checkpoint(sha256(ORIGIN.encode()).hexdigest())
    assert kept is not None
    assert Checkpoint.parse(open_note(kept, [LOG.verifier]).body).root == EMPTY_ROOT
