"""What docs/feeds.md says is there, and what is there is said."""

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from feeds.adapter import GROUP
from feeds.catalogue import Source, packaged, parse, read, written
from feeds.mapping import Mapping

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "feeds.md").read_text()


NAMES = {*packaged(), *(point.name for point in entry_points(group=GROUP)), *Source.model_fields, *Mapping.model_fields}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_source_adapter_and_key_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_the_catalogue_on_the_page_is_one() -> None:
    [text] = re.findall(r"```toml\n(\[\[source\]\].*?)```", PAGE, re.DOTALL)
    [source] = read(text).values()
    assert source.mapping is not None
    assert source.mapping.when[1].skip


@pytest.mark.parametrize("name", packaged())
def test_a_source_is_written_as_it_is_read(name: str) -> None:
    source = packaged()[name]
    assert read(written(source))[name] == source
    odd = parse({**source.model_dump(exclude_defaults=True), "publisher": 'Ñ "x" \\ \x7f\n\t'})
    assert parse(tomllib.loads(written(odd))["source"][0]) == odd
