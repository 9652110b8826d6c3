"""Declared sources through the runner: what changed is sent once, what vanished ends, what stays is renewed."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from certs.signature import Signer
from exchange.errors import Refusal
from exchange.times import parse_us
from feeds.adapter import Record
from feeds.catalogue import packaged
from feeds.identity import made_id
from feeds.mapped import MappedAdapter
from feeds.mapping import Mapping
from feeds.report import Run
from feeds.runner import run_once
from feeds.schedule import keep_running, run_all
from feeds.state import FeedState
from tests.fake_hub import serving
from tests.feed_bench import Bench, bench, no_pause
from tests.pki import US_PORT, make_pki

HOUR = 3600
DAY = 24 * HOUR
LIST: dict[str, Any] = {"format": "lines", "kind": "ip", "valid_days": 4, "full_state": True}
CSV: dict[str, Any] = {
    "format": "csv", "columns": ["id", "value", "seen"], "key": "id", "first_seen": "seen", "full_state": True, "malware": "family",
}  # fmt: skip


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_pki(tmp_path_factory.mktemp("pki")).signer("US", "us-port", US_PORT)


async def run(b: Bench, data: str, mapping: dict[str, Any] = LIST, **more: Any) -> Run:
    b.publish(data.encode())
    base = packaged()["openphish"].model_dump()
    fields = {**base, "name": "list", "vanished": "expire", "mapping": Mapping(**mapping), "shrink_limit": 1.0, **more}
    return await b.run(**fields | {"location": str(b.file)})


def newest(b: Bench) -> dict[str, dict[str, Any]]:
    """By name, the newest version of each indicator that the hub holds."""
    found: dict[str, dict[str, Any]] = {}
    for one in sorted(b.hub.objects, key=lambda one: str(one.get("modified", ""))):
        if one["type"] == "indicator":
            found[one["name"]] = one
    return found


async def test_what_did_not_change_is_known_by_its_row(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        first = await run(b, "192.0.2.1\n192.0.2.2\n")
        assert (first.records, first.accepted, first.unchanged) == (3, 3, 0)  # with the licence
        again = await run(b, "# another banner\n192.0.2.2\n192.0.2.1\n")
        assert (again.records, again.accepted, again.unchanged) == (3, 0, 3)
        more = await run(b, "192.0.2.1\n192.0.2.2\n192.0.2.3\n")
        assert (more.accepted, more.unchanged) == (1, 3)


async def test_what_vanished_ends_and_what_returns_begins_again(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "192.0.2.1\n192.0.2.2\n")
        b.clock.advance(seconds=HOUR)
        gone = await run(b, "192.0.2.1\n")
        assert (gone.accepted, gone.revoked) == (1, 0)
        ended = newest(b)["192.0.2.2"]
        assert parse_us(ended["valid_until"]) == b.clock.now_us() // 1000 * 1000
        assert "revoked" not in ended
        assert (await run(b, "192.0.2.1\n# still\n")).accepted == 0
        b.clock.advance(seconds=HOUR)
        back = await run(b, "192.0.2.1\n192.0.2.2\n")
        assert back.accepted == 1
        assert newest(b)["192.0.2.2"]["id"] == ended["id"]
        assert parse_us(newest(b)["192.0.2.2"]["valid_until"]) > b.clock.now_us() + 3 * DAY * 1_000_000


async def test_a_source_may_say_that_what_vanished_was_wrong_or_means_nothing(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "192.0.2.1\n192.0.2.2\n", vanished="revoke")
        assert (await run(b, "192.0.2.1\n", vanished="revoke")).revoked == 1
    async with bench(signer, tmp_path / "other") as b:
        b.directory.mkdir()
        await run(b, "192.0.2.1\n192.0.2.2\n", vanished="keep")
        assert (await run(b, "192.0.2.1\n", vanished="keep")).accepted == 0
        assert (await run(b, "192.0.2.1\n192.0.2.2\n", vanished="keep")).accepted == 0


async def test_what_stays_listed_is_renewed_at_half_time_even_if_nothing_changed(
    signer: Signer, tmp_path: Path
) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "192.0.2.1\n")
        first = newest(b)["192.0.2.1"]
        assert parse_us(first["valid_until"]) - parse_us(first["valid_from"]) == 4 * DAY * 1_000_000
        b.clock.advance(seconds=1 * DAY)
        assert (await run(b, "192.0.2.1\n")).accepted == 0
        b.clock.advance(seconds=1 * DAY)
        job = b.job(
            **{
                **packaged()["openphish"].model_dump(),
                "name": "list",
                "mapping": Mapping(**LIST),
                "location": str(b.file),
                "vanished": "expire",
                "shrink_limit": 1.0,
            }
        )  # the file is the very same
        [renewed] = await run_all([job], pause=no_pause)
        assert renewed.accepted == 1
        later = newest(b)["192.0.2.1"]
        assert (later["created"], later["valid_from"]) == (first["created"], first["valid_from"])
        assert parse_us(later["valid_until"]) - b.clock.now_us() > 3.9 * DAY * 1_000_000


async def test_a_row_that_is_there_twice_is_one_and_the_first_stands(signer: Signer, tmp_path: Path) -> None:
    rows = "1,e.example,2026-01-01\n1,f.example,2026-01-01\n1,e.example,2026-01-01\n"
    mapping = {**CSV, "malware": ""}
    async with bench(signer, tmp_path) as b:
        first = await run(b, rows, mapping)
        assert (first.accepted, set(newest(b))) == (2, {"e.example"})
        assert (await run(b, rows + "\n", mapping)).accepted == 0
        assert (await run(b, rows + "2,g.example,2026-01-01\n", mapping)).accepted == 1
        gone = await run(b, "1,f.example,2026-01-01\n", mapping)
        assert gone.accepted == 1  # 2 ended; 1 is still listed
        assert "valid_until" not in newest(b)["e.example"]


async def test_a_bad_row_hides_no_good_one_of_its_name(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        first = await run(b, "1,no host,2026-01-01\n1,e.example,2026-01-01\n", {**CSV, "malware": ""})
        assert (dict(first.skipped), first.accepted) == ({"record-value": 1}, 2)
        again = await run(b, "1,no host,2026-01-01\n1,e.example,2026-01-01\n\n", {**CSV, "malware": ""})
        assert (dict(again.skipped), again.accepted, again.unchanged) == ({"record-value": 1}, 0, 2)


async def test_a_changed_row_is_a_new_version_and_what_it_no_longer_says_has_ended(
    signer: Signer, tmp_path: Path
) -> None:
    mapping = {**CSV, "columns": ["id", "value", "seen", "family"]}
    async with bench(signer, tmp_path) as b:
        first = await run(b, "1,e.example,2026-01-01,Vidar\n", mapping, vanished="revoke")
        assert first.accepted == 4  # licence, family, indicator, what it indicates
        await run(b, "1,f.example,2026-01-01,Vidar\n", mapping, vanished="revoke")
        assert len({one["id"] for one in b.hub.objects if one["type"] == "indicator"}) == 1
        last = await run(b, "1,f.example,2026-01-01,\n", mapping, vanished="revoke")
        assert last.revoked == 1
        assert [one["type"] for one in b.hub.objects if one.get("revoked")] == ["relationship"]


async def test_rows_that_cannot_be_read_keep_nothing_from_ending_unless_nobody_knows_whose_they_are(
    signer: Signer, tmp_path: Path
) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "192.0.2.1\n192.0.2.2\n192.0.2.3\n")
        gone = await run(b, "192.0.2.1\n192.0.2.2\nnonsense\n")
        assert (dict(gone.skipped), gone.accepted) == ({"record-value": 1}, 1)
    mapping = {**CSV, "malware": ""}
    async with bench(signer, tmp_path / "csv") as b:
        b.directory.mkdir()
        await run(b, "1,e.example,2026-01-01\n2,f.example,2026-01-01\n", mapping)
        bad = await run(b, "1,e.example,2026-01-01\n2,f.example\n", mapping)
        assert (dict(bad.skipped), bad.accepted) == ({"row-cells": 1}, 0)
        bad = await run(b, "1,e.example,2026-01-01\n2,not a host,2026-01-01\n", mapping)
        assert (dict(bad.skipped), bad.accepted) == ({"record-value": 1}, 0)
        text = b.job(name="list").papers.quarantine_file.read_text()
        assert "Esto no es un valor de tipo any" in text


async def test_a_run_that_was_cut_short_goes_on_and_misses_nothing_that_went_away_meanwhile(
    signer: Signer, tmp_path: Path
) -> None:
    lines = [f"10.{n // 250}.{n % 250}.1" for n in range(1_200)]
    async with bench(signer, tmp_path) as b:
        await b.client.body_limit()
        b.hub.faults = ["", *["503"] * 20]
        cut = await run(b, "\n".join(lines))
        assert cut.fault is not None
        assert cut.accepted == 500
        b.hub.faults = []
        b.clock.advance(seconds=60)
        rest = await run(b, "\n".join(lines[1:]))
        assert (rest.fault, rest.refused, len({one["id"] for one in b.hub.objects})) == (None, {}, 1_201)
        assert "valid_until" in newest(b)[lines[0]]
        assert parse_us(newest(b)[lines[0]]["valid_until"]) <= b.clock.now_us()
        assert (await run(b, "\n".join(lines[1:]) + "\n")).accepted == 0


async def test_another_mapping_maps_everything_anew(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "192.0.2.1\n")
        changed = await run(b, "192.0.2.1\n# x\n", {**LIST, "confidence": 70})
        assert changed.accepted == 1
        assert newest(b)["192.0.2.1"]["confidence"] == 70


class Counting(MappedAdapter):
    """Counts what it is asked to map."""

    mapped = 0

    def objects(self, record: Record) -> Iterable[dict[str, Any]]:
        self.mapped += 1
        return super().objects(record)


async def test_how_a_source_is_read_changes_nothing_in_what_is_made_of_it(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "192.0.2.1\n")
        for more, mapped in (({"cadence_seconds": 60, "user_agent": "x"}, 0), ({"tlp": "green"}, 2)):
            b.publish(f"192.0.2.1\n# {mapped}\n".encode())
            job = b.job(**packaged()["openphish"].model_dump() | {"name": "list", "vanished": "expire", "mapping": Mapping(**LIST), "shrink_limit": 1.0, "location": str(b.file), **more})  # fmt: skip
            adapter = Counting(US_PORT, job.source)
            assert (await run_once(replace(job, adapter=adapter), pause=no_pause)).fault is None
            assert adapter.mapped == mapped  # the licence and one row


async def test_a_state_of_before_knows_what_is_missing(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "192.0.2.1\n192.0.2.2\n")
        with FeedState(b.job(name="list").state_file) as state:
            state._db.execute("DELETE FROM record")
            state._db.execute("PRAGMA user_version = 0")
        gone = await run(b, "192.0.2.1\n")
        assert gone.accepted == 1


async def test_reports_tell_how_a_source_has_fared(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        papers = b.job(name="list").papers
        assert papers.last() == {}
        await run(b, "192.0.2.1\n")
        good = papers.last()
        assert (good["faults"], good["last_good"], good["last_news"]) == (0, good["ended"], good["ended"])
        b.clock.advance(seconds=HOUR)
        for count in (1, 2):
            await run(b, "".join(f"<p>gone {n}</p>\n" for n in range(300)))
            assert papers.last()["faults"] == count
            assert papers.last()["fault"]["code"] == "feed-form"
            assert papers.last()["last_good"] == good["ended"]
        await run(b, "192.0.2.1\n# c\n")
        assert (papers.last()["faults"], papers.last()["last_news"]) == (0, good["ended"])


async def test_a_paused_source_is_left_alone_and_what_is_not_due_waits(signer: Signer, tmp_path: Path) -> None:
    naps: list[float] = []
    runs: list[Run] = []

    class Enough(BaseException):
        pass

    async def pause(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) > 3:
            raise Enough

    async with bench(signer, tmp_path) as b:
        await run(b, "192.0.2.1\n")
        job = b.job(name="list", location=str(b.file), mapping=Mapping(**LIST), adapter="mapped", cadence_seconds=HOUR)
        b.clock.advance(seconds=600)
        job.papers.pause_file.touch()
        with pytest.raises(BaseExceptionGroup):
            await keep_running([job], on_run=runs.append, pause=pause)
        assert (naps, runs) == ([3_000.0, 60.0, 60.0, 60.0], [])


async def test_what_a_source_asked_for_counts_after_a_restart_too(signer: Signer, tmp_path: Path) -> None:
    naps: list[float] = []

    class Enough(BaseException):
        pass

    async def pause(seconds: float) -> None:
        naps.append(seconds)
        raise Enough

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "7200"})

    async with bench(signer, tmp_path) as b, serving(answer) as url:
        busy = {"location": url, "plain_http": True, "loopback": True}
        assert (await b.run(**busy, cadence_seconds=HOUR)).fault is not None
        b.clock.advance(seconds=600)
        with pytest.raises(BaseExceptionGroup):
            await keep_running([b.job(**busy, cadence_seconds=HOUR)], on_run=lambda _: None, pause=pause)
    assert naps == [6_600.0]


async def test_what_stands_left_out_is_told_though_nothing_was_read(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        b.hub.refuse = {made_id("indicator", operator=US_PORT, feed="list", key="192.0.2.2"): "pattern-syntax"}
        await run(b, "192.0.2.1\n192.0.2.2\nnothing\n")
        papers = b.job(name="list").papers
        assert papers.last()["left"] == {"held": 0, "refused": 1, "skipped": 1}
        b.clock.advance(seconds=HOUR)
        await run(b, b.file.read_text())
        assert (papers.last()["records"], papers.last()["left"]) == (0, {"held": 0, "refused": 1, "skipped": 1})


def test_a_refusal_of_a_value_is_held_and_counted_apart() -> None:
    done = Run("list")
    done.refused.update(["warninglist-held", "warninglist-held", "stix-value"])
    assert (done.held, done.rejected) == (2, 1)
    done.fault = Refusal("a", "b", code="c")
    assert not done.ok
    assert json.dumps(dict(done.refused))
