"""Every requirement has a test or a reason: the vendored lists, the `rule` markers, the divergences and the tables agree."""

import re

import pytest

from tests.requirements import DESIGN, DOCS, PAGES, cited, divergences, document, holders, rows

both = pytest.mark.parametrize("name", PAGES)


@both
def test_each_row_has_a_test_or_a_reason(name: str) -> None:
    required, told = rows(name), divergences(name)
    assert required.keys() - holders().keys() - told.keys() == set()
    assert told.keys() <= required.keys()
    assert all(told.values()), "a divergence without its reason"


def test_no_marker_names_a_row_that_is_not_there() -> None:
    assert holders().keys() <= set().union(*map(rows, PAGES))


@both
def test_the_table_is_what_the_tests_say(name: str) -> None:
    text = (DOCS / PAGES[name].table).read_text("utf-8")
    assert text == document(name), "run ./dev rules"
    assert "|  |" not in text, "an empty cell"


@both
def test_the_lists_are_the_design_pages(name: str) -> None:
    page = DESIGN / f"{name}-requirements.md"
    if not page.exists():
        pytest.skip("no design pages beside this clone")
    listed = [f"| {' | '.join(filter(None, row))} |" for row in rows(name).values()]
    assert listed == re.findall(r"^\| [A-Z]{2,4}-\d.*$", page.read_text("utf-8"), re.MULTILINE)


def test_what_peers_do_wrong_is_all_tried_on_the_hub() -> None:
    """tests/interop/test_peers.py, and the tests elsewhere that bear the same mark."""
    assert cited("peer").keys() == rows("peers").keys()
