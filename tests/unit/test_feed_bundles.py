"""What a bundle holds, and in which order it is brought in."""

from feeds.bundles import objects_in


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
