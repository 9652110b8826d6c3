"""Every requirement has a test or a reason: the vendored lists, the `rule` markers, and the page of divergences agree."""

import re

import pytest

from tests.requirements import DESIGN, TESTS, cited, rows, rows_of_page

LISTS = {"taxii21": "taxii21-requirements.md"}
"""Vendored list and the design page it was taken from."""

DIVERGENCES = TESTS.parent / "docs" / "taxii-divergences.md"


def divergences() -> dict[str, str]:
    """Id and reason of each row of the page's tables that names ids in its first cell."""
    found = {}
    for line in DIVERGENCES.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for one in re.findall(r"[A-Z]{2,4}-\d[0-9.]*", cells[0]):
            found[one] = cells[-1]
    return found


def test_each_row_of_taxii_has_a_test_or_a_reason() -> None:
    required, tested, told = rows("taxii21"), cited(), divergences()
    assert {one for one in required if one not in tested and one not in told} == set()
    assert told.keys() <= required.keys()
    assert all(told.values()), "a divergence without its reason"


def test_no_marker_names_a_row_that_is_not_there() -> None:
    known = set().union(*(rows(name) for name in LISTS))
    families = {one.partition("-")[0] for one in known}
    assert {one for one in cited() if one.partition("-")[0] in families} <= known


@pytest.mark.parametrize(("name", "page"), LISTS.items())
def test_the_lists_are_the_design_pages(name: str, page: str) -> None:
    if not (DESIGN / page).exists():
        pytest.skip("no design pages beside this clone")
    assert rows(name) == rows_of_page(DESIGN / page)
