"""What a bundle holds, and in which order it is brought in."""

import json
from pathlib import Path
from typing import Any

from aiohttp import web

from feeds.bundles import objects_in
from tests.fake_hub import serving
from tests.feed_bench import bench
from tests.pki import US_PORT, make_pki

CISA = "identity--b3bca3c2-1f3d-4b54-b44f-dac42c3a8f01"
WHITE = "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"


def test_what_others_are_understood_by_comes_first() -> None:
    names = ["relationship", "identity", "indicator", "marking-definition", "x-odd", "extension-definition"]
    found = objects_in({"type": "bundle", "objects": [*({"type": name} for name in names), 7]})
    assert [one if one == 7 else one["type"] for one in found] == [
        "marking-definition",
        "extension-definition",
        "identity",
        "relationship",
        "indicator",
        "x-odd",
        7,
    ]


def test_lists_envelopes_and_single_objects_are_read_alike() -> None:
    one = {"type": "indicator"}
    assert objects_in([one]) == objects_in({"objects": [one]}) == objects_in(one) == [one]
    assert objects_in({}) == []


def advisory() -> dict[str, Any]:
    """In the form of CISA's: its own identity, TLP 1, observables beside indicators."""
    common: dict[str, Any] = {
        "spec_version": "2.1", "created": "2025-03-12T14:00:00.000Z", "modified": "2025-03-12T14:00:00.000Z",
        "created_by_ref": CISA, "object_marking_refs": [WHITE],
    }  # fmt: skip
    return {
        "type": "bundle", "id": "bundle--5d3c5b0e-0f8e-4c53-9a42-0a1c6f4b9d70",
        "objects": [
            {**common, "type": "indicator", "id": "indicator--3c47cb17-5a3a-4fd7-9a0e-4d6e1f3f6c11", "name": "Medusa",
             "pattern": "[file:hashes.MD5 = '44370f5c977e415981febf7dbb87a85c']", "pattern_type": "stix",
             "indicator_types": ["malicious-activity"], "valid_from": "2025-03-12T14:00:00Z"},
            {"type": "domain-name", "spec_version": "2.1", "id": "domain-name--3c10e93f-798e-5a26-a0c1-08156efab7f5", "value": "example.com",
             "object_marking_refs": [WHITE]},
            {**common, "type": "identity", "id": CISA, "name": "CISA", "identity_class": "organization"},
            {"type": "marking-definition", "spec_version": "2.1", "id": WHITE, "created": "2017-01-20T00:00:00.000Z",
             "definition_type": "tlp", "definition": {"tlp": "white"}},
        ],
    }  # fmt: skip


async def test_an_advisory_of_cisa_is_given_by_its_link_and_stays_cisas(tmp_path: Path) -> None:
    signer, said = make_pki(tmp_path / "pki").signer("US", "us-port", US_PORT), advisory()

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith(".xml"):
            return web.Response(text="<stix:STIX_Package version='1.2'/>", content_type="application/xml")
        return web.json_response(said if "2025" in request.path else {**said, "spec_version": "2.0"})

    async with bench(signer, tmp_path) as b, serving(answer) as url:
        here = {"adapter": "stix", "plain_http": True, "loopback": True}

        async def run(name: str) -> tuple[int, dict[str, int]]:
            done = await b.run(**here, name=name, location=f"{url}/{name}")
            assert done.fault is None
            return done.accepted, dict(done.skipped)

        assert await run("aa25-071a-2025") == (3, {"tlp-definition": 1})
        given = {one["id"]: one for one in b.hub.objects}
        assert all(
            given[one["id"]] == one for one in said["objects"][:3]
        )  # attested beside it, not one sign of it changed
        assert await run("aa25-071a-2025") == (0, {})
        assert await run("mar-10301706.xml") == (0, {"stix-xml": 1})
        assert await run("mar-2019") == (0, {"stix-2.0": 3, "tlp-definition": 1})
        told = json.loads((tmp_path / "state" / "mar-2019.quarantine.jsonl").read_text().splitlines()[-1])
        assert "adapter stix20" in told["en"]
