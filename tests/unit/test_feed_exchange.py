"""Feeds into a whole hub: what a csirt imports is signed or covered, judged like anybody's, and crosses as agreed."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from exchange.cli.upstream import run_medallion
from exchange.client import Client
from feeds.catalogue import packaged
from feeds.mapping import Mapping
from feeds.runner import Job, run_once
from feeds.schedule import run_all
from tests.data import VENDORED, read_shared
from tests.world import World, make_world

KEV = VENDORED / "kev"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with make_world(tmp_path_factory.mktemp("world")) as made:
        yield made


pytestmark = pytest.mark.asyncio(loop_scope="module")


def client_of(world: World, slug: str) -> Client:
    signer = world.home.signer(slug, world.members[slug].identity_id)
    return Client(world.hub.url, clock=world.clock, token=world.tokens[slug], ca_file=world.home.ca_file, signer=signer)


async def pulled(world: World, slug: str, collection: str) -> dict[str, dict[str, object]]:
    async with client_of(world, slug) as client:
        return {obj["id"]: obj async for obj in client.pull(collection)}


async def test_kev_in_two_editions_reaches_both_countries(world: World, tmp_path: Path) -> None:
    file = tmp_path / "kev.json"
    source = packaged()["kev"].model_copy(update={"location": str(file)})
    async with client_of(world, "us-cyber") as client:
        job = Job.of(source, client, tmp_path / "state", world.clock)
        file.write_bytes((KEV / "kev-2025-04-29.sample.json").read_bytes())
        first = await run_once(job)
        assert (first.fault, first.accepted, dict(first.refused)) == (None, 126, {})
        file.write_bytes((KEV / "kev-2025-08-25.sample.json").read_bytes())
        second = await run_once(job)
        assert (second.fault, dict(second.refused)) == (None, {})
        assert second.accepted > 36
        catalogue = json.loads(file.read_bytes())
        gone = catalogue["vulnerabilities"].pop()["cveID"]
        catalogue["count"] -= 1
        file.write_text(json.dumps(catalogue))
        third = await run_once(job)
        assert (third.fault, third.revoked, dict(third.refused)) == (None, 3, {})
    for slug in ("mx-ciber", "mx-puerto-pac", "us-customs"):
        got = await pulled(world, slug, "vulnerabilities")
        assert len(got) == 3 * 54, slug
        assert {one["name"] for one in got.values() if one.get("revoked") and "name" in one} == {
            gone,
            f"Required action for {gone}",
        }


async def test_another_countrys_csirt_imports_the_same_feed_under_ids_of_its_own(world: World, tmp_path: Path) -> None:
    source = packaged()["kev"].model_copy(update={"location": str(KEV / "kev-2025-04-29.sample.json")})
    async with client_of(world, "mx-ciber") as client:
        run = await run_once(Job.of(source, client, tmp_path, world.clock))
    assert (run.fault, run.accepted, dict(run.refused)) == (None, 126, {})


async def test_a_taxii_upstream_and_real_bundles_cross_as_public_material(world: World, tmp_path: Path) -> None:
    bundle = json.loads(read_shared("vendor-stix/amnesty/novispy.stix2.json"))["objects"]
    await world.hub.services.release.flush_sums()
    with run_medallion(bundle[:100]) as upstream:
        password = tmp_path / "password"
        password.write_text(upstream.password)
        password.chmod(0o600)
        common = {"publisher": "A peer", "licence": "none", "collection": "vulnerabilities", "cadence_seconds": 600}
        base = packaged()["kev"].model_copy(update=common)
        peer = base.model_copy(
            update={
                "name": "peer", "adapter": "taxii", "location": upstream.url, "user": upstream.user,
                "password_file": str(password), "plain_http": True, "loopback": True,
            }
        )  # fmt: skip
        examples = base.model_copy(
            update={
                "name": "examples",
                "adapter": "stix",
                "location": str(tmp_path / "examples.json"),
            }
        )
        (tmp_path / "examples.json").write_text(json.dumps({"type": "bundle", "id": "bundle--1", "objects": bundle}))
        async with client_of(world, "us-cyber") as client:
            jobs = [Job.of(one, client, tmp_path, world.clock) for one in (peer, examples)]
            runs = await run_all(jobs)
    assert [(run.fault, dict(run.refused)) for run in runs] == [(None, {}), (None, {})], runs
    got = await pulled(world, "mx-puerto-pac", "vulnerabilities")
    for obj in bundle:
        assert got[obj["id"]] == obj


async def test_a_member_that_may_not_write_is_told_once_and_nothing_is_kept_back(world: World, tmp_path: Path) -> None:
    source = packaged()["kev"].model_copy(update={"location": str(KEV / "kev-2025-04-29.sample.json")})
    async with client_of(world, "us-customs") as client:
        run = await run_once(Job.of(source, client, tmp_path, world.clock))
    assert run.fault is not None
    assert (run.fault.code, run.accepted) == ("collection-read-only", 0)


async def test_lists_events_and_advisories_reach_both_countries_and_a_second_run_submits_nothing(
    world: World, tmp_path: Path
) -> None:
    file, samples = tmp_path / "list.txt", VENDORED / "feeds"
    file.write_text((samples / "ipsum-level8.txt").read_text() + "8.8.8.8\n10.0.0.1\nnonsense\n")
    base = packaged()["kev"]
    mapping = Mapping(format="lines", kind="ip", valid_days=3, full_state=True)
    fields: list[dict[str, Any]] = [
        {"name": "ipsum", "adapter": "mapped", "location": str(file), "mapping": mapping, "vanished": "expire"},
        {"name": "events", "adapter": "misp", "location": str(samples / "misp")},
        {"name": "ics", "adapter": "csaf", "location": str(samples / "csaf")},
    ]
    await world.hub.services.release.flush_sums()
    async with client_of(world, "us-cyber") as client:
        jobs = [Job.of(base.model_copy(update=one), client, tmp_path / "state", world.clock) for one in fields]
        runs = await run_all(jobs)
        assert [one.fault for one in runs] == [None] * 3
        assert [(one.accepted, one.held, one.rejected) for one in runs] == [(24, 1, 1), (67, 0, 0), (38, 0, 0)]
        assert [dict(one.skipped) for one in runs] == [{"record-value": 1}, {"misp-context": 1}, {}]
        file.write_text(file.read_text() + "# the same\n")
        again = await run_all(jobs)
        assert [(one.accepted, one.refused.total()) for one in again] == [(0, 0)] * 3
    # To operators abroad the agreement gives what is sure only; authorities get it all, with its licence.
    got = await pulled(world, "mx-ciber", "vulnerabilities")
    markings = {ref for one in got.values() for ref in one.get("object_marking_refs", ())}  # type: ignore[attr-defined]
    assert any("ipsum" in str(one.get("name")) for one in got.values() if one["id"] in markings)
    assert sum(str(one.get("pattern")).startswith("[ipv4-addr:value = ") for one in got.values()) >= 23


async def test_what_was_observed_reaches_the_other_country_covered_by_its_importer(
    world: World, tmp_path: Path
) -> None:
    seen = {
        "0": {"type": "ipv4-addr", "value": "198.51.100.3"},
        "1": {"type": "domain-name", "value": "evil.example", "resolves_to_refs": ["0"]},
    }
    dates = {"created": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z"}
    observed = {
        "type": "observed-data", "id": "observed-data--1", **dates, "first_observed": "2026-01-01T00:00:00Z",
        "last_observed": "2026-01-01T00:00:00Z", "number_observed": 1, "objects": seen,
    }  # fmt: skip
    again = {**observed, "id": "observed-data--2", "objects": {"0": seen["0"]}}
    file = tmp_path / "old.json"
    base = packaged()["kev"].model_copy(update={"adapter": "stix20", "location": str(file)})
    accepted = []
    async with client_of(world, "us-cyber") as client:
        # The second source says less of a name that the hub has of the first: what was said first stands, without an alarm.
        for name, objects in (("one", [observed]), ("other", [observed, again])):
            file.write_text(
                json.dumps({"type": "bundle", "id": "bundle--1", "spec_version": "2.0", "objects": objects})
            )
            run = await run_once(Job.of(base.model_copy(update={"name": name}), client, tmp_path, world.clock))
            assert (run.fault, dict(run.refused), dict(run.skipped)) == (None, {}, {})
            accepted.append(run.accepted)
            seen["1"] = {"type": "domain-name", "value": "evil.example"}
    assert accepted == [3, 4]
    got = await pulled(world, "mx-ciber", "vulnerabilities")
    data = [one for one in got.values() if one["type"] == "observed-data"]
    assert len(data) == 3
    refs = {ref for one in data for ref in one["object_refs"]}  # type: ignore[attr-defined]
    assert {got[one]["value"] for one in refs} == {"198.51.100.3", "evil.example"}
    [name] = [one for one in got.values() if one["type"] == "domain-name"]
    assert "resolves_to_refs" in name
