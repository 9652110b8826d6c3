"""The runner against a hub that misbehaves and a source that shrinks: nothing lost, nothing twice, nobody else stopped."""

import asyncio
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certs.signature import EXT_SIG, Signer
from exchange.errors import Malformed
from exchange.model.stix import UNVERSIONED
from feeds.adapter import Cursor, Fetched, Part, Record, Skipped
from feeds.catalogue import Source, packaged, read
from feeds.catalogue import load as load_catalogue
from feeds.faults import FeedFault
from feeds.report import Run
from feeds.runner import Job, run_once
from feeds.schedule import keep_running, run_all, wait_seconds
from feeds.state import FeedState, passing
from tests.data import VENDORED, read_shared
from tests.fake_hub import FakeHub
from tests.feed_bench import Bench, bench, no_pause
from tests.pki import US_PORT, make_pki

FIRST, SECOND = (VENDORED / "kev" / f"kev-{day}.sample.json" for day in ("2025-04-29", "2025-08-25"))


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_pki(tmp_path_factory.mktemp("pki")).signer("US", "us-port", US_PORT)


def kev(*, less: tuple[str, ...] = (), more: tuple[dict[str, Any], ...] = (), released: str = "") -> bytes:
    catalogue = json.loads(FIRST.read_bytes())
    entries = [one for one in catalogue["vulnerabilities"] if one["cveID"] not in less] + list(more)
    catalogue |= {"vulnerabilities": entries, "count": len(entries)}
    if released:
        catalogue["dateReleased"] = released
    return json.dumps(catalogue).encode()


# --- what changed is submitted, once ---


async def test_catalogues_in_order_give_new_versions_only(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        b.publish(FIRST)
        first = await b.run()
        assert (first.records, first.objects, first.accepted, first.unchanged) == (42, 126, 126, 0)
        assert (await b.run()).records == 0  # the file is the same: not even read
        b.publish(SECOND)
        second = await b.run()
        assert (second.records, second.objects, second.revoked, dict(second.refused)) == (54, 162, 0, {})
        assert second.accepted == 3 * 12 + len(edited(b.hub))
        assert second.unchanged == second.objects - second.accepted
        for versions in edited(b.hub).values():
            before, after = sorted(versions, key=lambda one: str(one["modified"]))
            assert before["created"] == after["created"] == before["modified"] < after["modified"]
            assert EXT_SIG in after["extensions"]
            assert len(after["extensions"][EXT_SIG]["prev_sha256"]) == 64


def edited(hub: FakeHub) -> dict[str, list[dict[str, Any]]]:
    by_id: dict[str, list[dict[str, Any]]] = {}
    for obj in hub.objects:
        by_id.setdefault(obj["id"], []).append(obj)
    return {name: versions for name, versions in by_id.items() if len(versions) > 1}


async def test_a_withdrawal_revokes_and_a_return_is_another_object(signer: Signer, tmp_path: Path) -> None:
    """CVE-2025-4664 was listed in May 2025 and taken out again; no snapshot we have holds it, so its record is made."""
    entry = json.loads(FIRST.read_bytes())["vulnerabilities"][0] | {"cveID": "CVE-2025-4664"}
    async with bench(signer, tmp_path) as b:
        b.publish(kev(more=(entry,), released="2025-05-22T00:00:00.0000Z"))
        assert (await b.run()).accepted == 129
        b.publish(SECOND)
        gone = await b.run()
        assert gone.revoked == 3
        ended = [one for one in b.hub.objects if one.get("revoked")]
        assert {one["type"] for one in ended} == {"vulnerability", "course-of-action", "relationship"}
        assert [one["name"] for one in ended if one["type"] == "vulnerability"] == ["CVE-2025-4664"]
        b.clock.advance(seconds=60)
        b.publish(kev(more=(entry,), released="2025-09-01T00:00:00.0000Z"))
        assert (await b.run(shrink_limit=1.0)).fault is None
        listed = {one["id"] for one in b.hub.objects if one.get("name") == "CVE-2025-4664"}
        assert len(listed) == 2
        assert not edited_after_revocation(b.hub)


def edited_after_revocation(hub: FakeHub) -> list[str]:
    last = {name: max(versions, key=lambda one: str(one["modified"])) for name, versions in edited(hub).items()}
    return [
        name
        for name, versions in edited(hub).items()
        if any(one.get("revoked") for one in versions) and not last[name].get("revoked")
    ]


async def test_a_run_that_is_cancelled_ends_when_its_thread_does(signer: Signer, tmp_path: Path) -> None:
    """Closing the state under the thread that reads it has crashed the process, and has kept it from ending."""
    reading, ended = threading.Event(), threading.Event()

    class Slow:
        converts = False
        full_state = False
        edition = 1

        async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
            return Fetched(source.location, (), {}, False)

        def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
            reading.set()
            time.sleep(0.2)
            ended.set()
            return iter(())

        def objects(self, record: Record) -> Iterable[dict[str, Any]]:
            return ()

    async with bench(signer, tmp_path) as b:
        (tmp_path / "state").mkdir(exist_ok=True)
        job = Job(b.source(), Slow(), b.client, tmp_path / "state", b.clock)
        task = asyncio.get_running_loop().create_task(run_once(job))
        while not reading.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()


async def test_a_feed_that_shrinks_too_far_revokes_nothing(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        b.publish(FIRST)
        await b.run()
        most = tuple(one["cveID"] for one in json.loads(FIRST.read_bytes())["vulnerabilities"][5:])
        b.publish(kev(less=most))
        shrunk = await b.run()
        assert shrunk.fault is not None
        assert shrunk.fault.code == "feed-incomplete"
        assert shrunk.accepted == 0
        assert (await b.run(shrink_limit=1.0)).revoked == 3 * 37


async def test_what_cannot_be_read_is_no_withdrawal(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        b.publish(FIRST)
        await b.run()
        catalogue = json.loads(FIRST.read_bytes())
        del catalogue["vulnerabilities"][0]["requiredAction"]
        b.publish(json.dumps(catalogue).encode())
        run = await b.run()
        assert run.skipped == {"record-form": 1}
        assert run.revoked == 0
        assert "record-form" in b.job().papers.quarantine_file.read_text()


# --- a hub that misbehaves ---


async def test_a_hub_that_is_busy_gets_everything_in_the_end(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        b.publish(FIRST)
        b.hub.faults = ["429 1", "503", "half", "cut"]
        assert (await b.run()).accepted == 126
        assert len(b.hub.objects) == 126


@pytest.mark.parametrize("lost", [False, True])
async def test_after_a_crash_the_same_bytes_are_sent_again(signer: Signer, tmp_path: Path, lost: bool) -> None:
    """Whether the hub had stored them or not: signed anew, they would contradict the version the hub may hold."""
    async with bench(signer, tmp_path) as b:
        b.publish(FIRST)
        await b.client.body_limit()
        b.hub.faults = ["", *["lost" if lost else "503"] * 20] if lost else ["503"] * 6
        failed = await b.run()
        assert failed.fault is not None
        assert failed.accepted == 0
        b.hub.faults = []
        b.clock.advance(seconds=3600)
        again = await b.run()
        assert (again.accepted, dict(again.refused), again.fault) == (126, {}, None)
        assert len(set(b.hub.bodies)) == 1
        assert len(b.hub.objects) == 126


async def test_a_crash_between_two_envelopes_repeats_only_what_is_not_settled(signer: Signer, tmp_path: Path) -> None:
    class Crash(BaseException):
        pass

    def crash(_: Run) -> None:
        raise Crash

    async with bench(signer, tmp_path) as b:
        b.publish(FIRST)
        with pytest.raises(Crash):
            await run_once(b.job(), on_progress=crash)
        # Settled before the crash, but the cursor had not moved: the source is read again and all of it is known.
        run = await b.run()
        assert (run.accepted, run.unchanged) == (0, 126)


async def test_an_envelope_refused_as_a_whole_is_not_kept(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        b.publish(FIRST)
        await b.client.body_limit()
        b.hub.faults = ["403"]
        run = await b.run()
        assert run.fault is not None
        assert run.fault.code == "code-403"
        with FeedState(b.job().state_file) as state:
            assert state.under_way() == []
        assert (await b.run()).accepted == 126


async def test_refused_objects_are_told_kept_apart_and_not_sent_again(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        b.publish(FIRST)
        names = [one["id"] for one in await dry(b)]
        b.hub.refuse = {names[0]: "stix-value", names[1]: "agreement"}
        run = await b.run()
        assert (run.accepted, dict(run.refused)) == (124, {"stix-value": 1, "agreement": 1})
        lines = [json.loads(line) for line in b.job().papers.quarantine_file.read_text().splitlines()]
        assert {(one["id"], one["code"]) for one in lines} == {(names[0], "stix-value"), (names[1], "agreement")}
        assert lines[0]["object"]["id"] in names
        # What the agreement refused is tried at each run, though the source did not change; once, even if it did.
        assert dict((await b.run()).refused) == {"agreement": 1}
        b.publish(FIRST)
        assert dict((await b.run()).refused) == {"agreement": 1}
        b.hub.refuse = {}
        again = await b.run()
        assert (again.accepted, again.records) == (1, 0)
        b.publish(SECOND)  # names[0] was edited there
        await b.run()
        assert not b.job().papers.quarantine_file.exists()


async def dry(b: Bench) -> list[dict[str, Any]]:
    adapter = b.job().adapter
    found = await adapter.fetch(b.source(), {})
    assert found is not None
    return [obj for one in adapter.records(found) if isinstance(one, Record) for obj in adapter.objects(one)]


async def test_objects_too_large_for_one_body_go_in_several(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        b.hub.max_content_length = 50_000
        b.publish(FIRST)
        assert (await b.run()).accepted == 126
        assert len(b.hub.bodies) > 2
        assert max(map(len, b.hub.bodies)) <= 50_000


# --- others' adapters ---


class Broken:
    converts = False
    full_state = False
    edition = 1

    def __init__(self, operator: str, source: Source) -> None:
        pass

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        raise RuntimeError("somebody else's bug")

    def records(self, fetched: Fetched) -> Iterator[Record | Skipped]:
        return iter(())

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        return ()


class Flaky(Broken):
    def __init__(self, faults: list[FeedFault]) -> None:
        self.faults = faults

    async def fetch(self, source: Source, cursor: Cursor) -> Fetched | None:
        if self.faults:
            raise self.faults.pop(0)
        return Fetched("https://e.example/", (Part.of("p", b""),), {"done": "yes"})


async def test_one_feed_that_fails_stops_no_other(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        b.publish(FIRST)
        good = b.job()
        broken = Job(b.source(name="broken"), Broken("", b.source()), b.client, good.directory, b.clock)
        gone = b.job(name="gone", location=str(tmp_path / "none.json"))
        runs = await run_all([broken, good, gone], pause=no_pause)
        assert [one.source for one in runs] == ["broken", "kev", "gone"]
        assert [one.fault.code if one.fault else "" for one in runs] == ["feed-adapter-fault", "", "feed-unreachable"]
        assert runs[1].accepted == 126


async def test_a_source_is_asked_again_while_that_makes_sense(signer: Signer, tmp_path: Path) -> None:
    naps: list[float] = []

    async def pause(seconds: float) -> None:
        naps.append(seconds)

    def fault(code: str, seconds: int = 0) -> FeedFault:
        return FeedFault(code, "x", "x", retry_after_seconds=seconds)

    async with bench(signer, tmp_path) as b:
        for faults, asked in (
            ([fault("feed-unreachable"), fault("feed-http", 30)], [2.0, 30.0]),
            ([fault("feed-unreachable")] * 3, [2.0, 4.0]),
            ([fault("feed-unreachable")], []),  # it failed the last time: one question, and then a longer wait
            ([], []),
            ([fault("feed-http")], []),
            ([fault("feed-http", 3600)], []),
            ([fault("feed-form")], []),
        ):
            naps.clear()
            job = Job(b.source(name="flaky"), Flaky(list(faults)), b.client, tmp_path, b.clock)
            run = await run_once(job, pause=pause)
            assert naps == asked
            assert run.ok == (len(asked) == len(faults))


async def test_the_schedule_runs_each_at_its_cadence(signer: Signer, tmp_path: Path) -> None:
    runs: list[Run] = []
    naps: list[float] = []

    async def pause(seconds: float) -> None:
        naps.append(seconds)
        await asyncio.sleep(0.01)

    def on_run(run: Run) -> None:
        runs.append(run)
        if {one.source for one in runs if one.ok} == {"kev"} and len(runs) > 5:
            running.cancel()

    async with bench(signer, tmp_path) as b:
        b.publish(FIRST)
        jobs = [b.job(), b.job(name="gone", location="none.json")]
        running = asyncio.get_running_loop().create_task(keep_running(jobs, on_run=on_run, pause=pause))
        with pytest.raises(asyncio.CancelledError):
            await running
    assert {one.source for one in runs} == {"kev", "gone"}
    assert any(21_600 <= seconds <= 23_760 for seconds in naps)
    assert any(60 <= seconds <= 66 for seconds in naps)


def test_waiting_grows_with_faults_up_to_the_cadence() -> None:
    assert wait_seconds(3600, 0, 0.0) == 3600
    assert wait_seconds(3600, 0, 1.0) == pytest.approx(3960)
    assert [wait_seconds(3600, n, 0.0) for n in (1, 2, 3, 9)] == [60, 120, 240, 3600]
    assert wait_seconds(3600, 10_000, 0.0) == 3600


# --- memory ---


async def test_the_state_of_a_third_party_object_is_its_version(signer: Signer, tmp_path: Path) -> None:
    address = {"type": "ipv4-addr", "spec_version": "2.1", "id": "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3350caf4", "value": "198.51.100.3"}  # fmt: skip
    malware = {
        "type": "malware", "spec_version": "2.1", "id": "malware--0c7b5b88-8ff7-4a4d-aa9d-feb398cd0061", "name": "m",
        "created": "2025-01-01T00:00:00.000Z", "modified": "2025-01-01T00:00:00.000Z", "is_family": True,
    }  # fmt: skip
    async with bench(signer, tmp_path) as b:
        stix = {"name": "peer", "adapter": "stix"}
        b.publish(json.dumps({"type": "bundle", "id": "bundle--1", "objects": [address, malware]}).encode())
        assert (await b.run(**stix)).accepted == 2
        sent = json.loads(b.hub.bodies[0])["objects"]
        assert sent[1:] == [address, malware]
        assert sent[0]["source_name"] == "peer"
        assert sent[0]["covers"][0]["version"] == UNVERSIONED
        b.publish(json.dumps([malware | {"modified": "2025-01-02T00:00:00.000Z"}, malware, address]).encode())
        later = await b.run(**stix)
        assert (later.accepted, later.unchanged) == (1, 2)
        b.publish(json.dumps([malware | {"name": "other"}]).encode())
        told = await b.run(**stix)
        assert dict(told.refused) == {"version-conflict": 1}
        b.publish(json.dumps([malware | {"name": "other"}, address]).encode())
        assert (await b.run(**stix)).unchanged == 2


async def test_a_source_that_contradicts_itself_raises_no_alarm_at_the_hub(signer: Signer, tmp_path: Path) -> None:
    one = {
        "type": "malware", "spec_version": "2.1", "id": "malware--0c7b5b88-8ff7-4a4d-aa9d-feb398cd0061", "name": "m",
        "created": "2025-01-01T00:00:00.000Z", "modified": "2025-01-01T00:00:00.000Z", "is_family": True,
    }  # fmt: skip
    async with bench(signer, tmp_path) as b:
        b.publish(json.dumps([one, one, {**one, "name": "other"}]).encode())
        run = await b.run(name="peer", adapter="stix")
        assert (run.objects, run.accepted, run.unchanged) == (3, 1, 1)
        assert run.skipped == {"source-contradiction": 1}
        assert [obj["name"] for obj in b.hub.objects] == ["m"]


async def test_real_bundles_are_told_and_taken(signer: Signer, tmp_path: Path) -> None:
    folder = tmp_path / "bundles"
    (folder / "deep").mkdir(parents=True)
    (folder / "amnesty.stix2.json").write_bytes(read_shared("vendor-stix/amnesty/novispy.stix2.json"))
    (folder / "old.json").write_bytes(read_shared("vendor-stix/talos-stix20/2025_06_pathwiper.json"))
    (folder / "deep" / "broken.json").write_bytes(b'{"objects": [')
    (folder / "deep" / "twice.json").write_bytes(b'{"objects": [{"id": "a--1", "id": "a--2"}]}')
    (folder / "lines.jsonl").write_bytes(b'{"type":"url","id":"url--1","value":"https://e.example/"}\n\n{"type":"x"}\n')
    (folder / "notes.txt").write_text("not read")
    async with bench(signer, tmp_path) as b:
        run = await b.run(name="peer", adapter="stix", location=str(folder))
        assert run.fault is None
        assert run.skipped["json-syntax"] == 1
        assert run.skipped["json-duplicate-key"] == 1
        assert run.skipped["stix-2.0"] > 1
        assert run.skipped["not-stix"] == 1
        real = json.loads((folder / "amnesty.stix2.json").read_bytes())["objects"]
        by_id = {one["id"]: one for one in b.hub.objects}
        for obj in real:
            assert by_id[obj["id"]] == obj
        text = (tmp_path / "state" / "peer.quarantine.jsonl").read_text()
        assert "broken.json" in text
        assert (await b.run(name="peer", adapter="stix", location=str(folder))).records == 0


def test_refusals_that_may_pass() -> None:
    assert passing("agreement")
    assert passing("signature-expired")
    assert not passing("signature-unstable")
    assert not passing("stix-value")
    assert not passing("version-conflict")


def test_the_state_survives_and_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "s" / "kev.sqlite"
    with FeedState(path) as state:
        state.move({"a": "1", "b": "2"})
        state.move({"a": "3"})
    copy = tmp_path / "copy.sqlite"
    shutil.copy(path, copy)
    with FeedState(copy) as state:
        assert state.cursor == {"a": "3"}
        assert state.epoch("nobody") == 0
        with pytest.raises(sqlite3.IntegrityError):
            state.move({"a": None})  # type: ignore[dict-item]
        assert state.cursor == {"a": "3"}


# --- the catalogue ---


def test_the_packaged_catalogue_is_whole() -> None:
    for source in packaged().values():
        assert source.location.startswith("https://")
        assert source.marking.startswith("marking-definition--")
        assert source.good_for("es") != source.good_for("en")
        assert not source.reach.loopback
        assert not source.reach.plain_http


@pytest.mark.parametrize(
    "change",
    [
        ('name = "kev"', 'name = "Kev Feed"'), ('name = "kev"', 'name = "kev\\n"'), ("21600", "1"), ('"clear"', '"red"'),
        ("tlp =", "tlpp ="), ("[[source]]", "[[sauce]]"), ('name = "kev"', "name = 5"), ("[[source]]", "[[source"),
    ],
)  # fmt: skip
def test_a_wrong_catalogue_is_refused(change: tuple[str, str], tmp_path: Path) -> None:
    text = """
[[source]]
name = "kev"
adapter = "kev"
location = "kev.json"
publisher = "CISA"
licence = "CC0-1.0"
tlp = "clear"
collection = "vulnerabilities"
cadence_seconds = 21600
good_for_en = "a"
good_for_es = "b"
"""
    assert read(text)["kev"].cadence_seconds == 21600
    path = tmp_path / "feeds.toml"
    path.write_text(text.replace(*change))
    with pytest.raises(Malformed, match="catalogue"):
        load_catalogue(path)
    with pytest.raises(Malformed, match="twice"):
        read(text + text)
