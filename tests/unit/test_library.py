"""The agreements that come with the hub: sound, tested by their own examples, clause by clause, and what their names say."""

import re

import pytest

from policies.agreement import Agreement, load, run_tests
from policies.decide import matrix
from policies.words import instant
from tests.generated import Maker
from tests.judging import LIBRARY, SAMPLE

STRICT = load((LIBRARY / "us-mx-trade-cyber-strict.toml").read_bytes())
OPEN = load((LIBRARY / "us-mx-trade-cyber-open.toml").read_bytes())
EVERY = pytest.mark.parametrize("agreement", [SAMPLE, STRICT, OPEN], ids=["sample", "strict", "open"])


def test_nothing_in_the_library_goes_untested() -> None:
    assert {load(path.read_bytes()) for path in LIBRARY.glob("*.toml")} == {SAMPLE, STRICT, OPEN}
    assert len(SAMPLE.clauses) >= 20
    assert len(SAMPLE.document.test) >= 40


@EVERY
def test_every_example_passes(agreement: Agreement) -> None:
    results = run_tests(agreement)
    assert len(results) >= 20
    assert [(one.name, one.unmet) for one in results if not one.passed] == []


@EVERY
def test_the_examples_exercise_every_clause(agreement: Agreement) -> None:
    decisive = {rule for one in run_tests(agreement) for rule in (*one.decision.rules, *one.decision.forbids)}
    assert {clause.id for clause in agreement.clauses} - decisive == set()


@EVERY
def test_every_clause_has_two_texts_that_end_as_sentences(agreement: Agreement) -> None:
    for clause in agreement.clauses:
        assert clause.en.endswith(".")
        assert clause.es.endswith(".")
        assert not re.search(r"\b(the|shall|of)\b", clause.es), "English in the Spanish text"


@EVERY
def test_its_rules_name_roles_and_a_group_not_members(agreement: Agreement) -> None:
    assert all(not rule.to.members and not rule.from_.members for _, _, rule in agreement.document.rules())
    assert agreement.named_members == set(agreement.document.audiences["port-watch"].members)


def test_the_drafts_are_second_versions_of_the_sample() -> None:
    # After a change of the sample, write its new digest into both drafts.
    assert [one.prev_sha256 for one in (STRICT, OPEN)] == [SAMPLE.sha256] * 2
    assert {(one.agreement_id, one.version) for one in (STRICT, OPEN)} == {(SAMPLE.agreement_id, 2)}


def test_no_clause_of_the_sample_delays() -> None:
    assert all(clause.obligations and clause.obligations.delay_seconds == 0 for clause in SAMPLE.permits)


def test_the_stricter_draft_takes_away_and_the_looser_one_adds() -> None:
    make, now = Maker("library"), STRICT.effective_from
    # The pools' own names are the sample's too, but for sectors and audiences.
    labels, recipients = [make.label() for _ in range(1_500)], [make.recipient() for _ in range(60)]
    found = [
        {
            (row, column)
            for row, decisions in enumerate(matrix(agreement, labels, recipients, now=now))
            for column, decision in enumerate(decisions)
            if decision.effect == "permit"
        }
        for agreement in (STRICT, SAMPLE, OPEN)
    ]
    assert found[0] < found[1] < found[2]
    assert instant(now) < instant(SAMPLE.expires)
