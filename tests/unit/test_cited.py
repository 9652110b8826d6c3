"""What opens a definition or an identity, case by case; and how much of that one originator may bring."""

from dataclasses import replace

import pytest

from exchange import citing
from exchange.citing import Citing, Counting
from policies.builtin import CITED, OWN
from policies.cited import lets_open, may_be_opened
from policies.clauses import Agreement
from policies.decide import Decision, decide
from policies.explain import clause_text
from policies.label import Label, Recipient
from policies.predicates import ASSURANCE_RANK
from tests.judging import ADUANAS, LABEL, NOW, PUERTO, agreement, forbid, permit

ID = "marking-definition--1"
DEFINITION = replace(LABEL, object_class="context", tlp="amber+strict", named=ID)
CITING = replace(LABEL, cites=(ID,))
INDICATORS = agreement(permit(when={"classes": ["indicator"]}))


def judged(*by: Label, under: Agreement = INDICATORS, of: Label = DEFINITION, to: Recipient = PUERTO) -> Decision:
    return decide(under, of, to, now=NOW, cited={(LABEL.originator, ID): by})


def test_it_is_given_to_whoever_is_given_what_cites_it() -> None:
    assert judged().clause == "defaults.effect"
    found = judged(CITING)
    assert (found.effect, found.view, found.rules) == ("permit", "full", (CITED, "P-ALL"))
    assert next(step for step in found.trace if step.rule == CITED).matched
    for language in ("en", "es"):
        assert CITED in found.reason(language)
    assert all(clause_text(INDICATORS, CITED))


def test_what_cites_it_may_block_and_it_may_not() -> None:
    lets = agreement(permit(when={"classes": ["indicator"]}, then={"identity": "reveal", "blocking": "may"}))
    assert judged(CITING, under=lets, of=replace(CITING, cites=())).may_block
    assert not judged(CITING, under=lets).may_block


def test_what_is_not_given_opens_nothing() -> None:
    assert judged(replace(CITING, tlp="amber+strict")).effect == "deny"
    assert judged(replace(CITING, ends=((),))).effect == "deny"
    assert judged(replace(CITING, object_class="report")).effect == "deny"
    assert (
        judged(CITING, under=agreement(permit(when={"classes": ["indicator"]}, then={"delay": "4h"}))).effect == "deny"
    )
    assert (
        judged(CITING, under=agreement(permit(when={"classes": ["indicator"]}, then={"identity": "anonymise"}))).effect
        == "permit"
    )
    operator = replace(CITING, roles=("operator",))
    assert (
        judged(
            operator, under=agreement(permit(then={"identity": "anonymise"}, when={"classes": ["indicator"]}))
        ).effect
        == "deny"
    )


def test_a_collection_that_the_recipient_may_not_read_opens_nothing() -> None:
    assert judged(CITING, to=replace(PUERTO, collections=("elsewhere",))).effect == "deny"
    assert judged(CITING, to=replace(PUERTO, collections=("indicators",))).effect == "permit"


def test_what_speaks_against_it_still_does() -> None:
    permitted = permit(when={"classes": ["indicator"]})
    against = agreement(permitted, forbid(when={"classes": ["context"]}))
    assert judged(CITING, under=against).clause == "F-ONE"
    assert (
        judged(CITING, of=replace(DEFINITION, assurance="imported")).effect == "deny"
    )  # beneath what may cross at all
    assert judged(CITING, of=replace(DEFINITION, caveats=("opaque:x",))).effect == "deny"
    assert judged(CITING, of=replace(DEFINITION, tlp="no such")).effect == "deny"
    assert judged(CITING, to=replace(PUERTO, status="suspended")).effect == "deny"


def test_a_level_of_its_own_is_kept() -> None:
    marked = replace(DEFINITION, marked=True)
    assert judged(CITING, of=marked).effect == "deny"
    assert judged(CITING, of=replace(marked, tlp="green")).effect == "permit"
    assert judged(replace(CITING, tlp="clear"), of=replace(marked, tlp="green")).effect == "deny"
    assert judged(CITING, of=replace(marked, tlp="green", pap="green")).effect == "deny"


def test_its_own_label_speaks_first() -> None:
    everything = agreement(permit())
    assert judged(CITING, under=everything, to=ADUANAS).rules == ("P-ALL",)
    assert judged(CITING, to=Recipient("us-cyber", "US", ("agency",), (), "active")).rules == (OWN,)


@pytest.mark.parametrize(
    "by",
    [
        replace(CITING, originator="us-customs"),
        replace(CITING, cites=()),
        replace(CITING, cites=("marking-definition--2",)),
        replace(CITING, assurance="imported"),
        replace(CITING, assurance="no such"),
    ],
)
def test_nobody_else_opens_it(by: Label) -> None:
    assert not lets_open(by, DEFINITION)
    assert judged(by).effect == "deny"


def test_more_assurance_than_its_own_is_enough() -> None:
    for one, rank in ASSURANCE_RANK.items():
        assert lets_open(replace(CITING, assurance=one), replace(DEFINITION, assurance="imported")) == (
            rank >= ASSURANCE_RANK["imported"]
        )


@pytest.mark.parametrize(
    "restricted",
    [
        {"caveats": ("noforn",)}, {"rel_to": ("US",)}, {"audiences": ("ports",)}, {"purposes": ("a",)},
        {"not_before": "2027-02-01T00:00:00Z"}, {"cases": ("flood",)}, {"terms": ("onward=none",)},
    ],
)  # fmt: skip
def test_what_is_restricted_by_a_word_is_not_opened(restricted: dict[str, object]) -> None:
    assert may_be_opened(DEFINITION)
    assert not may_be_opened(replace(DEFINITION, **restricted))  # type: ignore[arg-type]


def test_as_an_end_it_says_nothing_of_citing() -> None:
    end = DEFINITION.as_end
    assert (end.named, end.cites) == ("", ())
    relation = CITING.joined([[end]])
    assert relation.cites == CITING.cites
    assert relation.ends == ((end,),)


def test_one_originator_brings_so_much_and_no_more() -> None:
    count = Counting(Citing())
    kept = [count.within(replace(CITING, confidence=str(n))) for n in range(citing.PAIRS_AT_MOST + 1)]
    assert [curbed for _, curbed in kept] == [False] * citing.PAIRS_AT_MOST + [True]
    assert kept[-1][0].cites == ()
    assert count.within(replace(CITING, confidence=str(citing.PAIRS_AT_MOST)))[1], "however often it is tried"
    assert count.within(replace(CITING, confidence="0")) == (replace(CITING, confidence="0"), False), (
        "what it had stays"
    )
    assert count.within(replace(CITING, originator="us-customs")) == (replace(CITING, originator="us-customs"), False)
    named = [count.within(replace(DEFINITION, named=str(n))) for n in range(citing.NAMED_AT_MOST + 1)]
    assert [curbed for _, curbed in named] == [False] * citing.NAMED_AT_MOST + [True]
    assert named[-1][0].named == ""
    known = Citing(known=frozenset([CITING]), counts={"us-cyber": citing.PAIRS_AT_MOST})
    assert Counting(known).within(CITING) == (CITING, False)
