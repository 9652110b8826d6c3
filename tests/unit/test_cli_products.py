"""What is printed for a product is what docs/clients.md shows, in both languages, and it leads to where the hub is."""

from dataclasses import replace
from pathlib import Path

import pytest

from exchange.cli.products import GUIDES, Place, fields, notes, told
from exchange.model.product import PRODUCTS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {"en": DOCS / "clients.md", "es": DOCS / "clients.es.md"}
AT = Place(
    public_url="https://puente.example:8443",
    api_root="us-mx",
    collection_id="6b4e5f2a-5d0b-4b7e-9a35-0c6f6d1b7a11",
    collection_alias="indicators",
    collection_title="Border indicators",
    token="puente_0011223344556677_TOKEN",
    ca_file="hub-root.pem",
)


@pytest.mark.parametrize("language", PAGES)
@pytest.mark.parametrize("name", PRODUCTS)
def test_the_page_shows_what_is_printed(name: str, language: str) -> None:
    page = PAGES[language].read_text()
    assert f"`--for {name}`" in page
    assert f"```text\n{told(name, AT, language)}\n```" in page


def test_every_product_has_a_guide_and_a_language_of_its_own() -> None:
    assert set(GUIDES) == set(PRODUCTS)
    for name in PRODUCTS:
        for english, spanish in zip(notes(name, "en"), notes(name, "es"), strict=True):
            assert english != spanish
        assert len(fields(name, AT, "en")) == len(fields(name, AT, "es"))


def test_both_pages_are_alike() -> None:
    """The same sections with the same marks, and the same habits in bold."""
    shapes = []
    for page in PAGES.values():
        text = page.read_text()
        shapes.append((text.count("\n## "), text.count(" †\n"), text.count("**"), text.count("```text")))
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_token_is_in_it_unless_it_was_saved(name: str) -> None:
    saved = replace(AT, token="<members/mx-ciber/token>")
    assert AT.token in told(name, AT, "en") or AT.basic in told(name, AT, "en")
    assert "TOKEN" not in told(name, saved, "en")
