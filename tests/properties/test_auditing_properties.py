"""Whatever the logs hold: filters only narrow, pages add up, samples are drawn, and one country's log is nothing to the other."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exchange.auditing.answers import QUESTIONS
from exchange.times import as_text
from tests.unit.test_auditing import ID, OTHER, Logs, publish, release

MEMBERS = {"us": ("us-cyber", "us-customs"), "mx": ("mx-ciber", "mx-aduanas")}
KINDS = (
    "submit",
    "submit.refuse",
    "deny",
    "policy.activate",
    "key.add",
    "admin",
    "log.start",
    "audit.read",
    "recall",
    "erase",
)


@st.composite
def entries(draw: st.DrawFn, *logs: str) -> list[dict[str, Any]]:
    """Acts in some order of time, each for one of the logs."""
    found = []
    for at in range(draw(st.integers(1, 12))):
        log = draw(st.sampled_from(logs))
        country = draw(st.sampled_from(("us", "mx"))) if log == "both" else log
        member = draw(st.sampled_from(MEMBERS[country]))
        pub = {"object": draw(st.sampled_from((ID, OTHER))), "member": member, "code": "x", "country": country.upper()}
        found.append({
            "log": log, "t": draw(st.sampled_from(KINDS)), "actor": f"{country}:{member}:acct:1", "at": 1000 + 10 * at, "pub": pub,
        })  # fmt: skip
    return found


def filled(acts: list[dict[str, Any]]) -> Logs:
    logs = Logs()
    publish(logs, [10, 11], [ID, OTHER])
    release(logs, 100, [(10, 2)], [ID, OTHER])
    for act in sorted(acts, key=lambda act: act["at"]):
        logs.add(**act)
    return logs


def words(name: str) -> dict[str, str]:
    given = {"object": ID, "to": "mx-aduanas", "member": "us-cyber"}
    return {one: given[one] for one in QUESTIONS[name].takes}


questions = st.sampled_from(sorted(QUESTIONS))
filters = st.fixed_dictionaries(
    {},
    optional={
        "since": st.integers(0, 1200).map(as_text),
        "until": st.integers(0, 1200).map(as_text),
        "log": st.sampled_from(("both", "us", "mx")),
        "member": st.sampled_from(("us-cyber", "mx-aduanas")),
    },
)


@given(entries("both", "us", "mx"), questions, filters, filters)
def test_filters_never_widen(acts: list[dict[str, Any]], name: str, one: dict[str, str], more: dict[str, str]) -> None:
    logs = filled(acts)
    given = words(name)
    whole = logs.ask(name, **given)
    some = logs.ask(name, **one | given)
    fewer = logs.ask(name, **more | one | given)
    assert all(row in whole.rows for row in some.rows)
    assert all(row in some.rows for row in fewer.rows)
    assert len(fewer.rows) <= len(some.rows) <= len(whole.rows)


@given(entries("both", "us", "mx"), questions, st.integers(1, 5), st.text(min_size=1, max_size=8))
def test_a_sample_is_of_the_answer_and_comes_again(acts: list[dict[str, Any]], name: str, size: int, seed: str) -> None:
    logs = filled(acts)
    whole, drawn = logs.ask(name, **words(name)), logs.ask(name, sample=size, seed=seed, **words(name))
    assert [row for row in whole.rows if row in drawn.rows] == list(drawn.rows)
    assert len(drawn.rows) == min(size, len(whole.rows))
    assert logs.ask(name, sample=size, seed=seed, **words(name)) == drawn


@given(entries("both", "mx"), entries("us"), questions)
def test_domestic_entries_of_one_country_are_nothing_to_the_other(
    seen: list[dict[str, Any]], hidden: list[dict[str, Any]], name: str
) -> None:
    without, beside = filled(seen), filled([*seen, *hidden])
    assert (
        without.ask(name, "both", "mx", **words(name)).encode()
        == beside.ask(name, "both", "mx", **words(name)).encode()
    )
