"""What docs/feeds.md says is there, and what is there is said; in Spanish, too."""

import re
import tomllib
from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from feeds.adapter import GROUP
from feeds.catalogue import Source, packaged, parse, read, written
from feeds.mapping import Mapping
from feeds.runner import Job, run_once
from tests.feed_bench import bench, no_pause
from tests.feed_objects import everybody_takes
from tests.pki import US_PORT, make_pki

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text() for name in ("feeds.md", "feeds.es.md")}


NAMES = {*packaged(), *(point.name for point in entry_points(group=GROUP)), *Source.model_fields, *Mapping.model_fields}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_source_adapter_and_key_is_on_the_page(name: str, page: str) -> None:
    assert f"`{name}`" in PAGES[page]


@pytest.mark.parametrize("page", PAGES)
def test_the_catalogue_on_the_page_is_one(page: str) -> None:
    [text] = re.findall(r"```toml\n(\[\[source\]\].*?)```", PAGES[page], re.DOTALL)
    [source] = read(text).values()
    assert source.mapping is not None
    assert source.mapping.when[1].skip


@pytest.mark.parametrize("page", PAGES)
async def test_the_walk_on_the_page_gives_what_it_says(page: str, tmp_path: Path) -> None:
    signer = make_pki(tmp_path / "pki").signer("US", "us-port", US_PORT)
    [rows] = re.findall(r"cat > hosts.csv <<'END'\n(.*?)END\n", PAGES[page], re.DOTALL)
    [text] = re.findall(r"```toml\n(\[\[source\]\].*?)```", PAGES[page], re.DOTALL)
    file = tmp_path / "hosts.csv"
    file.write_text(rows)
    [source] = read(text).values()
    async with bench(signer, tmp_path) as b:
        job = Job.of(source.model_copy(update={"location": str(file)}), b.client, tmp_path / "state", b.clock)
        done = await run_once(job, pause=no_pause)
    assert (done.fault, dict(done.skipped)) == (None, {"record-value": 1})
    made = Counter(one["type"] for one in b.hub.objects)
    assert made == {"marking-definition": 1, "malware": 2, "indicator": 3, "relationship": 1}  # the hub holds 8.8.8.8
    first = next(one for one in b.hub.objects if one["type"] == "indicator")
    assert (first["valid_from"], first["confidence"]) == ("2026-11-20T20:05:00Z", 85)
    assert "dst_port = 443" in first["pattern"]


@pytest.mark.parametrize("page", PAGES)
async def test_the_adapter_on_the_page_is_found_once_its_package_is_installed(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip leaves it: the module, and beside it the metadata with the entry point, which the page has as TOML."""
    [code] = re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)
    [text] = re.findall(r"```toml\n(\[project.entry-points.*?)```", PAGES[page], re.DOTALL)
    [(group, points)] = tomllib.loads(text)["project"]["entry-points"].items()
    site, package = tmp_path / "site", f"our_feeds_{Path(page).stem.replace('.', '_')}"  # one process, two pages
    for name, written_there in (
        (f"{package}/lines.py", code),
        ("our_feeds-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: our-feeds\nVersion: 1.0\n"),
        (
            "our_feeds-1.0.dist-info/entry_points.txt",
            f"[{group}]\n"
            + "".join(f"{name} = {where.replace('our_feeds', package)}\n" for name, where in points.items()),
        ),
    ):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(written_there)
    monkeypatch.syspath_prepend(site)
    file = tmp_path / "hosts.txt"
    file.write_text("b\u00fccher.example\n\n2001:db8::1%eth0\nnot a host\n")
    signer = make_pki(tmp_path / "pki").signer("US", "us-port", US_PORT)
    source = packaged()["kev"].model_copy(update={"name": "ours", "adapter": "lines", "location": str(file)})
    async with bench(signer, tmp_path) as b:
        done = [await run_once(Job.of(source, b.client, tmp_path / "state", b.clock), pause=no_pause) for _ in "12"]
    assert [(one.fault, one.accepted, dict(one.skipped)) for one in done] == [
        (None, 2, {"record-value": 1}),
        (None, 0, {}),
    ]
    assert {one["name"] for one in b.hub.objects} == {"xn--bcher-kva.example", "2001:db8::1"}
    everybody_takes({key: value for key, value in one.items() if key != "extensions"} for one in b.hub.objects)


@pytest.mark.parametrize("name", packaged())
def test_a_source_is_written_as_it_is_read(name: str) -> None:
    source = packaged()[name]
    assert read(written(source))[name] == source
    odd = parse({**source.model_dump(exclude_defaults=True), "publisher": 'Ñ "x" \\ \x7f\n\t'})
    assert parse(tomllib.loads(written(odd))["source"][0]) == odd
