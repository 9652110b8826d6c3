"""The rate limit as arithmetic: bursts pass, floods do not, and no clock locks a member out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import TooFast
from exchange.web.limits import Limits, Rate, admit

SECOND = 1_000_000_000
RATES = st.builds(Rate, per_second=st.integers(1, 5000), burst=st.integers(1, 300))


@settings(max_examples=100, deadline=None)
@given(rate=RATES, now=st.integers(0, 10**19))
def test_a_burst_passes_and_the_next_one_waits(rate: Rate, now: int) -> None:
    due = 0
    for _ in range(rate.burst):
        verdict = admit(rate, due, now)
        assert verdict.wait_ns == 0
        due = verdict.due_ns
    refused = admit(rate, due, now)
    assert 0 < refused.wait_ns <= rate.interval_ns
    assert admit(rate, refused.due_ns, now + refused.wait_ns).wait_ns == 0


@settings(max_examples=100, deadline=None)
@given(rate=RATES, gaps=st.lists(st.integers(0, SECOND), max_size=200))
def test_no_window_admits_more_than_burst_and_rate(rate: Rate, gaps: list[int]) -> None:
    now, due = 1, 0
    admitted: list[int] = []
    for gap in gaps:
        now += gap
        verdict = admit(rate, due, now)
        due = verdict.due_ns
        if not verdict.wait_ns:
            admitted.append(now)
    for i, first in enumerate(admitted):
        for j in range(i, len(admitted)):
            assert j - i + 1 <= rate.burst + (admitted[j] - first) // rate.interval_ns + 1


@settings(max_examples=100, deadline=None)
@given(rate=RATES, due=st.integers(0, 10**25), now=st.integers(0, 10**19))
def test_no_step_of_the_clock_locks_out_for_longer_than_one_interval(rate: Rate, due: int, now: int) -> None:
    assert admit(rate, due, now).wait_ns <= rate.interval_ns


def test_members_do_not_share_a_rate_and_are_told_when_to_come_back() -> None:
    limits = Limits(Rate(per_second=1, burst=2))
    for _ in range(2):
        limits.must_admit("us-cyber", 1_000_000)
    with pytest.raises(TooFast) as refusal:
        limits.must_admit("us-cyber", 1_000_000)
    assert refusal.value.retry_after_seconds == 1
    limits.must_admit("mx-ciber", 1_000_000)
    limits.must_admit("us-cyber", 2_000_000)
