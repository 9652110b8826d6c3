"""A value that another source of the operator has said already is counted with a sighting, as long as that indicator holds."""

from pathlib import Path
from typing import Any

import pytest

from certs.signature import Signer
from feeds.catalogue import packaged
from feeds.identity import made_id
from feeds.mapping import Mapping
from feeds.report import Run
from tests.feed_bench import Bench, bench
from tests.feed_objects import everybody_takes
from tests.pki import US_PORT, make_pki

DAY = 24 * 3600
LIST: dict[str, Any] = {"format": "lines", "kind": "ip", "valid_days": 4, "full_state": True}
CSV: dict[str, Any] = {
    "format": "csv", "columns": ["value", "seen", "family"], "kind": "ip", "last_seen": "seen", "full_state": True,
    "malware": "family", "confidence": 60,
}  # fmt: skip
ROW = "192.0.2.1,2026-05-01 10:00:00,Vidar\n"


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_pki(tmp_path_factory.mktemp("pki")).signer("US", "us-port", US_PORT)


async def run(b: Bench, name: str, data: str, mapping: dict[str, Any] = LIST, refused: Any = None, **more: Any) -> Run:
    file = b.directory / name
    file.write_text(data)
    base = {**packaged()["openphish"].model_dump(), "vanished": "expire", "shrink_limit": 1.0}
    done = await b.run(**{**base, "name": name, "location": str(file), "mapping": Mapping(**mapping), **more})
    assert (done.fault, dict(done.refused), dict(done.skipped)) == (None, refused or {}, {})
    return done


def held(b: Bench, kind: str, feed: str = "") -> list[dict[str, Any]]:
    """The newest versions of what the hub holds of a type, of one source."""
    newest = {one["id"]: one for one in sorted(b.hub.objects, key=lambda one: str(one.get("modified", "")))}
    return [
        one
        for one in newest.values()
        if one["type"] == kind and (not feed or one["external_references"][0]["source_name"] == feed)
    ]


async def test_a_value_said_again_is_a_sighting_and_what_is_known_of_it_points_at_the_first(
    signer: Signer, tmp_path: Path
) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "first", "192.0.2.1\n192.0.2.2\n")
        assert (await run(b, "second", ROW, CSV)).accepted == 4  # licence, family, sighting, relationship
        [indicator] = [one for one in held(b, "indicator") if one["name"] == "192.0.2.1"]
        [sighting] = held(b, "sighting")
        assert sighting["sighting_of_ref"] == indicator["id"]
        assert (sighting["count"], sighting["confidence"], sighting["last_seen"]) == (1, 60, "2026-05-01T10:00:00Z")
        [relationship] = held(b, "relationship")
        assert relationship["source_ref"] == indicator["id"]
        everybody_takes({key: value for key, value in one.items() if key != "extensions"} for one in b.hub.objects)
        b.clock.advance(seconds=60)
        assert (await run(b, "second", ROW + "\n", CSV)).accepted == 0


async def test_it_counts_how_often_the_source_says_so_anew(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "first", "192.0.2.1\n", {**LIST, "valid_days": 0})
        await run(b, "second", ROW, CSV)
        await run(b, "third", "192.0.2.1\n")
        b.clock.advance(seconds=DAY)
        await run(b, "second", ROW.replace("05-01", "05-02"), CSV)
        assert (await run(b, "third", "192.0.2.1\n# a day later\n")).accepted == 0
        b.clock.advance(seconds=DAY)
        await run(b, "third", "192.0.2.1\n# a day later\n")  # half of its four days, and still listed
        for name in ("second", "third"):
            [sighting] = held(b, "sighting", name)
            assert sighting["count"] == 2
            assert sighting["first_seen"] < sighting["last_seen"] or name == "second"
        assert len(held(b, "indicator")) == 1


@pytest.mark.parametrize(("vanished", "epochs"), [("expire", 1), ("revoke", 2)])
async def test_when_the_first_has_ended_the_next_makes_its_own_though_its_source_did_not_change(
    signer: Signer, tmp_path: Path, vanished: str, epochs: int
) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "first", "192.0.2.1\n192.0.2.2\n", vanished=vanished)
        await run(b, "second", ROW, CSV, vanished=vanished)
        b.clock.advance(seconds=60)
        await run(b, "first", "192.0.2.2\n", vanished=vanished)
        assert held(b, "indicator", "second") == []
        await run(b, "second", ROW, CSV, vanished=vanished)
        [own] = held(b, "indicator", "second")
        [relationship] = held(b, "relationship")
        assert relationship["source_ref"] == own["id"]
        [sighting] = held(b, "sighting")
        assert "revoked" not in sighting  # it was seen
        b.clock.advance(seconds=60)
        await run(b, "first", "192.0.2.1\n192.0.2.2\n", vanished=vanished)
        # What only expired goes on as it was; what was revoked cannot, and is counted for the other now.
        assert len([one for one in held(b, "sighting") if one["sighting_of_ref"] == own["id"]]) == epochs - 1
        assert (await run(b, "second", ROW + "\n", CSV, vanished=vanished)).accepted == 0


async def test_one_that_ends_by_itself_is_followed_too(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "first", "192.0.2.1\n")
        await run(b, "second", ROW, CSV)
        b.clock.advance(seconds=5 * DAY)  # nobody reads the first any more
        await run(b, "second", ROW, CSV)
        assert len(held(b, "indicator", "second")) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [({"tlp": "amber"}, {}), ({"collection": "others"}, {}), ({}, {"mapping": {**CSV, "repeats": "indicator"}})],
    ids=["fewer may read the first", "it is elsewhere", "the source says so"],
)
async def test_who_may_not_know_the_first_gets_an_indicator(
    signer: Signer, tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "first", "192.0.2.1\n", **first)
        await run(b, "second", ROW, **{"mapping": CSV, **second})
        assert len(held(b, "indicator")) == 2


async def test_what_fewer_may_read_counts_what_more_may_read(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        await run(b, "first", "192.0.2.1\n")
        await run(b, "second", ROW, CSV, tlp="amber")
        [sighting] = held(b, "sighting")
        assert sighting["object_marking_refs"][0] == packaged()["openphish"].model_copy(update={"tlp": "amber"}).marking


async def test_only_what_the_hub_took_stands_for_others(signer: Signer, tmp_path: Path) -> None:
    async with bench(signer, tmp_path) as b:
        b.hub.refuse[made_id("indicator", operator=US_PORT, feed="first", key="192.0.2.1")] = "warninglist-held"
        await run(b, "first", "192.0.2.1\n", refused={"warninglist-held": 1})
        await run(b, "second", ROW, CSV)
        assert len(held(b, "indicator", "second")) == 1
        assert held(b, "sighting") == []
