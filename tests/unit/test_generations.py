"""The names of a log's generations, and which policy holds for which."""

import pytest

from exchange.ledger.generations import current, following, in_order, kind, named, of_origin, separate, stem, succeeded
from exchange.ledger.note import Checkpoint, LogKey, NoteFault, Policy

KEYS = [
    LogKey(name, bytes([n] * 32))
    for n, name in enumerate(("h/audit/us", "h/audit/us", "h/audit/us/2", "h/audit/us/3"), 1)
]
"""The first one's key was rotated."""
POLICY = Policy.parse("\n".join([*(f"log {key.vkey}" for key in KEYS), "quorum none", ""]))


def test_names_are_in_the_order_of_time() -> None:
    names = ["mx", "us/10", "both/2", "us/2", "both", "us"]
    assert in_order(names) == ["both", "both/2", "us", "us/2", "us/10", "mx"]
    assert current(names) == {"both": "both/2", "us": "us/10", "mx": "mx"}
    assert [following(one) for one in ("both", "both/2", "us/9")] == ["both/2", "both/3", "us/10"]
    assert (kind("us/2"), named("us", 1), named("us", 2), stem("us/2")) == ("us", "us", "us/2", "us.2")


@pytest.mark.parametrize(
    ("origin", "log"),
    [
        ("h/audit/both", "both"), ("h/audit/us/2", "us/2"), ("us/31", "us/31"), ("example.com/log", "log"),
        ("h/audit/us/1", "1"), ("h/audit/us/02", "02"), ("h/audit/bus", "bus"), ("h/both/us/2", "us/2"),
    ],
)  # fmt: skip
def test_an_origin_ends_with_its_log(origin: str, log: str) -> None:
    assert of_origin(origin) == log


@pytest.mark.parametrize(
    ("origin", "known", "closed"),
    [
        ("h/us", ["h/us"], False), ("h/us", ["h/us", "h/us/2"], True), ("h/us/2", ["h/us", "h/us/2"], False),
        ("h/us/2", ["h/us/3"], True), ("h/us/3", ["h/us/2"], False), ("h/us", ["h/mx/2", "h/us/two", "xh/us/2"], False),
        ("h/us/9", ["h/us/10"], True),
    ],
)  # fmt: skip
def test_a_later_generation_closes_a_log(origin: str, known: list[str], closed: bool) -> None:
    assert succeeded(origin, known) is closed


def test_no_policy_takes_the_checkpoint_of_another_generation() -> None:
    found = separate({"us": POLICY})
    assert {log: len(one.logs) for log, one in found.items()} == {"us": 2, "us/2": 1, "us/3": 1}
    for key, log in zip(KEYS, ("us", "us", "us/2", "us/3"), strict=True):
        note = key.sign(Checkpoint(key.name, 3, bytes(32)).body())
        for other, policy in found.items():
            if other == log:
                assert policy.check(note).checkpoint.origin == key.name
            else:
                with pytest.raises(NoteFault):
                    policy.check(note)
