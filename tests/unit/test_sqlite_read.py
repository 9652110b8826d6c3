"""SQLite knows a statement again by its text, and to prepare one costs more than most answers: questions that differ only in what
they ask about share theirs."""

import pytest

from exchange.model.page import Filter
from exchange.model.view import View
from exchange.store.runs import PageQuery
from exchange.store.sqlite_read import _conditions

ONE = ("2026-01-01T00:00:00.001",)
OTHER = ("2026-01-01T00:00:00.002",)


def conditions(match: Filter, *, view: View | None = None, after: int = 0) -> tuple[str, list[object]]:
    return _conditions(PageQuery("c", (1, 2), match, after, 10, 99, view))


@pytest.mark.parametrize("view", [None, View("mx-ciber", 1, b"", 0, 9, 0)])
@pytest.mark.parametrize("versions", [("last",), ("first", "last"), ("all",), ONE, ("last", *ONE)])
def test_the_words_of_a_question_are_no_part_of_its_text(versions: tuple[str, ...], view: View | None) -> None:
    others = tuple(OTHER[0] if word in ONE else word for word in versions)
    text, values = conditions(Filter(5, ("a",), ("indicator",), versions, ("2.1",)), view=view)
    again, other_values = conditions(Filter(7, ("b", "c"), ("malware",), others), view=view, after=8)
    assert text == again and text.count("?") == len(values)
    assert [type(value) for value in values] == [type(value) for value in other_values]
    assert values[0] == "indicator" and not {*values} & {"malware", *OTHER, 7}
    assert not {*other_values} & {"indicator", *ONE, 5}


@pytest.mark.parametrize(
    "match",
    [Filter(types=("a", "b")), Filter(versions=("first",)), Filter(versions=ONE), Filter(spec_versions=("2.0",))],
)
def test_another_kind_of_question_has_another_text(match: Filter) -> None:
    assert conditions(match)[0] != conditions(Filter())[0]


def test_another_view_has_another_text() -> None:
    assert (
        len(
            {
                conditions(Filter(), view=one)[0]
                for one in (None, View("m", 1, b"", 3, 9, 0), View("m", 1, b"", 4, 9, 0))
            }
        )
        == 3
    )
