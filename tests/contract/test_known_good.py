"""Warninglists of a hub's own: newer editions are taken by command, from a folder or over HTTP, and count from the next start."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from exchange.cli.__main__ import puente
from exchange.cli.known_good import from_url, renew
from exchange.clock import FixedClock
from exchange.errors import Malformed
from exchange.hub import known_good
from exchange.intake.editions import kept, refreshable, why_not
from exchange.intake.warninglists import documents_of, packaged_documents
from exchange.settings import Settings
from feeds.guard import Reach
from tests.data import read_shared
from tests.fake_hub import serving
from tests.faults.hubs import write_settings
from tests.world import World, make_world


def edition(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": "CDN", "version": 5, "type": "cidr", "matching_attributes": ["ip-dst"],
        "list": ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"],
    }  # fmt: skip
    return found | changes


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("cdn", {"version": 6}, None),
        ("cdn", {"version": 5, "list": ["192.0.2.0/24", "203.0.113.0/24"]}, None),
        ("cdn", {"version": 4}, "it is older: 4"),
        ("cdn", {"version": 6, "list": ["192.0.2.0/24"]}, "it has 1 entries instead of 3"),
        ("cdn", {"version": 6, "list": [*edition()["list"], "0.0.0.0/1"]}, "it would hold all of 0.0.0.0/1"),
        ("cdn", {"version": 6, "list": [*edition()["list"], "::/0"]}, "it would hold all of ::/0"),
        ("cdn", {"version": 6, "type": "fuzzy"}, "it is no list (warninglist cdn: unknown type 'fuzzy')"),
        ("cdn", {"version": 6, "type": "regex"}, "it is not used: regular expressions"),
        ("rfc1918", {"version": 9}, "it changes with a release only"),
        ("puente-government", {"version": 9}, "it changes with a release only"),
    ],
)
def test_an_edition_that_would_open_or_shut_the_hub_is_not_taken(
    name: str, change: dict[str, Any], said: str | None
) -> None:
    why = why_not(name, edition(**change), edition())
    assert (why and why.en) == said
    assert why is None or why.en != why.es


def test_what_is_new_needs_an_entry() -> None:
    assert why_not("cdn", edition(), None) is None
    assert why_not("cdn", edition(list=[]), None) is not None
    assert why_not("cdn", None, None) is not None


def test_every_real_list_could_be_taken() -> None:
    real = documents_of("all", read_shared("misp-warninglists/warninglists.json.xz"))
    used = packaged_documents()
    left = {name for name, one in real.items() if refreshable(name) and why_not(name, one, used.get(name)) is not None}
    assert left == {"common-contact-emails", "phone_numbers", "microsoft-azure-appid"}


def test_a_folder_that_cannot_be_read_stops_the_start_and_is_named(tmp_path: Path) -> None:
    assert kept(tmp_path / "none") == {}
    (tmp_path / "cdn.json").write_text("<html>")
    with pytest.raises(Malformed, match=r"warninglists: warninglist cdn: .*mend or remove") as raised:
        known_good(Settings.of({"warninglists": tmp_path}))
    assert raised.value.field == "warninglists"


async def test_lists_are_renewed_over_http_one_by_one(tmp_path: Path) -> None:
    asked: list[str] = []
    given = {
        "cloudflare": {**packaged_documents()["cloudflare"], "version": 30_000_101},
        "ours": edition(),
        "fastly": "<html>",
    }

    async def answer(request: web.Request) -> web.Response:
        name = request.path.split("/")[2]
        asked.append(name)
        if name not in given:
            raise web.HTTPNotFound
        return web.Response(text=given[name] if isinstance(given[name], str) else json.dumps(given[name]))

    async with serving(answer) as url:
        read = from_url(f"{url}/lists/", Reach(plain_http=True, loopback=True))
        rows, good = await renew(tmp_path / "lists", read, ("ours",))
    told = {str(name): (version, str(outcome)) for name, version, _, outcome in rows}
    assert not good
    assert told["cloudflare"] == (30_000_101, "taken")
    assert told["ours"] == (5, "taken")
    assert told["fastly"][1].startswith("not taken: warninglist fastly: ")
    assert told["bunny-net"] == (20260811, "not taken: The source answered 404.")
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == ["cloudflare.json", "ours.json"]
    assert not [name for name in asked if not refreshable(name)]


async def test_what_was_taken_counts_in_a_hub_that_starts(tmp_path: Path) -> None:
    home, checkout = tmp_path / "home", tmp_path / "checkout"
    (checkout / "cdn").mkdir(parents=True)
    (checkout / "cdn" / "list.json").write_text(json.dumps(edition()))
    async with make_world(home, clock=FixedClock()) as world:
        write_settings(world.home, world.settings)
        assert await send(world) == []

        async def tell(*words: str, lang: str = "C.UTF-8") -> Result:
            args = ["feed", "warninglists", words[0], "--home", str(world.home.root), *words[1:]]
            return await asyncio.to_thread(CliRunner(env={"LC_ALL": lang}).invoke, puente, args)

        done = await tell("refresh", str(checkout), "--also", "cdn", lang="es_MX.UTF-8")
        assert done.exit_code == 1  # the checkout lacks the others
        assert ("cdn" in done.output, "tomada" in done.output, "Reinicie" in done.output) == (True, True, True)
        rows = {one["name"]: one for one in json.loads((await tell("list", "--json")).output)}
        assert (rows["cdn"]["file"], rows["cdn"]["effect"], rows["rfc1918"]["effect"]) == (
            "cdn.json",
            "holds",
            "refuses",
        )
        assert rows["cloudflare"]["file"] == "-"
        taken = Settings.load(world.home.settings_file).warninglists
        [hit] = known_good(Settings.of({"warninglists": taken})).hits("[ipv4-addr:value = '198.51.100.7']")
        assert (hit.list_name, hit.list_version, hit.action) == ("CDN", "5", "hold")
    async with make_world(home / "again", clock=FixedClock(), warninglists=taken) as world:
        assert await send(world) == ["warninglist-held"]


async def send(world: World) -> list[str]:
    status = await world.post("us-cyber", world.signed("us-cyber", pattern="[ipv4-addr:value = '198.51.100.7']"))
    return [one["x_code"] for one in status.get("failures", ())]
