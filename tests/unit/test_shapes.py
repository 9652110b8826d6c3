"""What unseen pattern shapes may cost: exact in terms, bounded in memory, and filled up by the clock that is passed in."""

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.intake.pattern import _SHAPES, TOKENS_AT_MOST, check_pattern
from exchange.intake.shapes import SECOND_US, Allowances, Shapes
from exchange.settings import Settings


def allowances(envelope: int = 100, burst: int = 250, per_second: int = 10) -> Allowances:
    return Allowances(envelope=envelope, burst=burst, per_second=per_second)


def test_an_unseen_shape_costs_its_terms_and_a_seen_one_nothing() -> None:
    _SHAPES.clear()
    budget = allowances().envelope("us", 0)
    assert check_pattern("[url:value = 'a']", budget) == ()
    assert budget.spent == len(["[", "url", ":", "value", "=", "'a'", "]"])
    assert check_pattern("[url:value = 'b']", budget) == ()
    assert budget.spent == 7


def test_what_is_over_a_limit_anyhow_costs_nothing() -> None:
    budget = allowances().envelope("us", 0)
    assert check_pattern("[" * 8000, budget)[0].code == "pattern-too-deep"
    assert check_pattern("[a:b = 'c", budget)[0].code == "pattern-syntax"
    assert budget.spent == 0


def test_a_shape_that_the_grammar_refuses_is_paid_for_once() -> None:
    _SHAPES.clear()
    budget = allowances().envelope("us", 0)
    for _ in range(2):
        assert check_pattern("[a:b = 1] x", budget)[0].code == "pattern-syntax"
    assert budget.spent == 8


def test_beyond_the_budget_a_pattern_is_refused_unjudged_and_told_when_to_come_again() -> None:
    _SHAPES.clear()
    budget = allowances(envelope=10).envelope("us", 0)
    assert check_pattern("[a:b = 1]", budget) == ()
    (fault,) = check_pattern("[a:b = 1 OR a:c = 1]", budget)
    assert (fault.rule, fault.code, fault.level) == ("PAT-06", "pattern-budget", "reject")
    assert "in 1 seconds" in fault.en
    assert "en 1 segundos" in fault.es
    assert check_pattern("[a:b = 2]", budget) == (), "a shape that is known is free"
    assert check_pattern("[a:b = 1 OR a:c = 1]") == (), "refused for its price, not for what it says"
    assert check_pattern("[a:b = 1 OR a:c = 1]", budget) == ()


def test_a_members_envelopes_share_one_allowance_and_members_do_not() -> None:
    several = allowances()
    first, second, third = (several.envelope("us", 0) for _ in range(3))
    assert first.spend(100) and second.spend(100)
    assert not first.spend(1)
    assert not third.spend(51) and third.spend(50)
    assert third.wait_seconds == 10  # a whole envelope's worth at ten a second
    assert several.envelope("mx", 0).spend(100)


def test_an_allowance_fills_up_with_time_and_no_further_than_the_burst() -> None:
    several = allowances()
    for terms in (100, 100, 50):
        assert several.envelope("us", 0).spend(terms)
    assert not several.envelope("us", 0).spend(1)
    assert not several.envelope("us", SECOND_US // 20).spend(1), "half a term is none"
    assert several.envelope("us", SECOND_US // 10).spend(1), "and is not forgotten"
    spent = 0
    while several.envelope("us", 10_000 * SECOND_US).spend(10):
        spent += 10
    assert spent == 250


def test_a_clock_that_steps_back_gives_nothing_and_takes_nothing() -> None:
    several = allowances()
    several.envelope("us", 100 * SECOND_US).spend(100)
    several.envelope("us", 100 * SECOND_US).spend(100)
    assert not several.envelope("us", 0).spend(51)
    assert several.envelope("us", 0).spend(50)
    assert several.envelope("us", SECOND_US).spend(10)


def test_the_defaults_let_the_largest_pattern_and_all_real_data_through() -> None:
    settings = Settings()
    assert settings.pattern_burst_terms >= settings.pattern_envelope_terms >= 2 * TOKENS_AT_MOST


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.text("abc", max_size=4), st.booleans())))
def test_the_memory_is_bounded_and_keeps_what_was_asked_for_last(acts: list[tuple[str, bool]]) -> None:
    shapes: Shapes[str] = Shapes(9)
    model: list[str] = []  # the least recently used first
    for shape, put in acts:
        if put:
            shapes.put(shape, "verdict of " + shape)
            if shape not in model:
                model.append(shape)
            while sum(map(len, model)) > 9:
                model.pop(0)
        else:
            assert shapes.get(shape) == ("verdict of " + shape if shape in model else None)
            if shape in model:
                model.append(model.pop(model.index(shape)))
        assert len(shapes) == len(model)


def test_slices_in_several_threads_share_the_memory() -> None:
    shapes: Shapes[int] = Shapes(500)

    def use(seed: int) -> None:
        for number in range(2000):
            name = str((number * seed) % 300)
            shapes.put(name, number)
            assert shapes.get(name) is None or isinstance(shapes.get(name), int | None)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(1, 5)))
    assert sum(len(str(n)) for n in range(300) if shapes.get(str(n)) is not None) <= 500
