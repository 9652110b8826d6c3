"""Entries: one encoding, salted commitments, and a routing rule that keeps a country's domestic events its own."""

import pytest

from exchange.clock import FixedClock
from exchange.ledger.entry import LEAF_LIMIT_BYTES, Entry, commitment, encode, route


def test_the_hub_wide_number_never_reaches_the_shared_log() -> None:
    """Ledger design, 2.2: in `both` it would leak how much domestic traffic there is."""
    now = FixedClock().now_us()
    shared = encode(Entry("both", "recall.ack", "us:a:acct:1", "coll"), time_us=now, req="r", pol="p", seq=7)
    own = encode(Entry("us", "recall.ack", "us:a:acct:1", "coll"), time_us=now, req="r", pol="p", seq=7)
    assert b'"seq"' not in shared
    assert b'"seq":7' in own


@pytest.mark.parametrize(
    ("actor", "touched", "log"),
    [
        ("US", ["US"], "us"),
        ("MX", ["MX"], "mx"),
        ("US", ["MX"], "both"),
        ("MX", ["MX", "US"], "both"),
        ("US", [], "us"),
    ],
)
def test_routing(actor: str, touched: list[str], log: str) -> None:
    assert route(actor, touched) == log


def test_a_commitment_needs_its_salt() -> None:
    assert commitment(b"a" * 32, b"x") != commitment(b"b" * 32, b"x")
    with pytest.raises(ValueError, match="salt"):
        commitment(b"short", b"x")


def test_a_leaf_has_a_limit() -> None:
    with pytest.raises(ValueError, match="over"):
        encode(Entry("us", "admin", "a", "b", {"command": "x" * LEAF_LIMIT_BYTES}), time_us=0, req="r", pol="p")
