"""What an object refers to, and how it is judged by that: pure, clause by clause of the rule."""

import json
from dataclasses import replace
from typing import Any

import pytest

from certs.jcs import canonical
from exchange.model.references import may_refer, references
from exchange.store.graph import End, EndsOf, Lain, Moving, Reach
from exchange.store.relabel import pieces, widens
from policies.label import Label, object_class
from policies.matrix import Audience, differences
from tests.data import read_shared
from tests.judging import ADUANAS, CUSTOMS, LABEL, NOW, SAMPLE, agreement, forbid, judge, permit

RELATION = replace(LABEL, object_class="relation")
HIDDEN = replace(LABEL, caveats=("noforn",))
NOFORN = forbid("F-NOFORN", direction=["US>MX"], when={"caveats": {"any": ["noforn"]}})
BASE = (permit(), NOFORN)
ADDRESS = "ipv4-addr--ff26c055-6336-5bc5-b98d-13d6226742dd"
MALWARE = "malware--31b940d4-6f7f-459a-80ea-9c1f17b58abc"


def defaults(**more: Any) -> dict[str, Any]:
    return {"defaults": agreement().document.defaults.model_dump(exclude_none=True) | more}


# --- judging ---


def test_all_ends_must_be_permitted() -> None:
    under = agreement(*BASE)
    assert judge(under, RELATION.joined([[LABEL], [replace(LABEL, object_class="malware")]])).effect == "permit"
    decision = judge(under, RELATION.joined([[LABEL], [HIDDEN]]))
    assert (decision.effect, decision.clause, decision.forbids) == ("deny", "ENDS", ("ENDS",))
    assert "refers to" in next(step.en for step in decision.trace if step.rule == "ENDS" and step.matched)
    assert "hace referencia" in next(step.es for step in decision.trace if step.rule == "ENDS")
    assert judge(under, RELATION.joined([[HIDDEN]]), CUSTOMS).effect == "permit"


def test_of_several_places_of_an_end_one_is_enough() -> None:
    assert judge(agreement(*BASE), RELATION.joined([[HIDDEN, LABEL]])).effect == "permit"


def test_an_end_that_is_not_as_it_is_permitted_is_not_there() -> None:
    """Under its gateway's name it is another object, with another id."""
    under = agreement(permit("P-R", when={"classes": ["relation"]}),
                      permit("P-A", when={"classes": ["indicator"]}, then={"identity": "anonymise"}))  # fmt: skip
    unnamed = replace(LABEL, roles=("operator",))
    assert judge(under, unnamed).view == "anonymised"
    assert judge(under, RELATION.joined([[unnamed]])).clause == "ENDS"
    assert judge(under, RELATION.joined([[replace(unnamed, assurance="gateway-signed")]])).effect == "permit"


def test_its_originator_has_it_whatever_it_refers_to_and_one_may_own_an_end() -> None:
    under = agreement(*BASE, **defaults(own_objects="read-back"))
    own = replace(RELATION, originator="us-customs").joined([[], [replace(HIDDEN, rel_to=())]])
    assert judge(under, own, CUSTOMS).clause == "OWN"
    theirs = replace(HIDDEN, originator="mx-aduanas", country="US")
    assert judge(under, RELATION.joined([[theirs]])).effect == "permit"
    assert judge(under, RELATION.joined([[theirs]]), replace(ADUANAS, member="mx-marina")).effect == "deny"


def test_an_end_in_a_collection_that_the_recipient_may_not_read_is_not_there() -> None:
    label = RELATION.joined([[replace(LABEL, collection="closed")]])
    assert judge(agreement(*BASE), label, replace(ADUANAS, collections=("indicators",))).clause == "ENDS"
    assert judge(agreement(*BASE), label, replace(ADUANAS, collections=("closed", "indicators"))).effect == "permit"


@pytest.mark.parametrize(("rule", "effect"), [("withhold", "deny"), ("allow", "permit")])
def test_what_the_hub_does_not_hold_is_by_the_agreements_rule(rule: str, effect: str) -> None:
    assert judge(agreement(*BASE, **defaults(dangling_endpoint=rule)), RELATION.joined([[]])).effect == effect


def test_it_is_given_no_sooner_than_its_ends() -> None:
    under = agreement(permit("P-R", when={"classes": ["relation"]}),
                      permit("P-A", when={"classes": ["indicator"]}, then={"identity": "reveal", "delay": "4h"}))  # fmt: skip
    decision = judge(under, RELATION.joined([[LABEL]]))
    assert (decision.delay_seconds, decision.obligations["delay"]) == (14_400, "14400s")


def test_versions_are_compared_with_their_ends() -> None:
    audience = Audience([RELATION.joined([[HIDDEN]]), RELATION], [ADUANAS])
    found = list(differences(agreement(*BASE), agreement(permit()), [audience], old_now=NOW, new_now=NOW))
    assert [(one.kind, one.label) for one in found] == [("gained", RELATION.joined([[HIDDEN]]))]


def test_a_label_with_ends_is_read_back_as_it_was_written() -> None:
    label = RELATION.joined([[LABEL], [], [HIDDEN, LABEL]])
    assert Label.decode(label.encode()) == label
    assert label == RELATION.joined([[LABEL, HIDDEN], [LABEL], [], [LABEL]])
    assert RELATION.joined([[RELATION, HIDDEN]]) == RELATION, "who has the one has the other"


# --- what refers to what ---


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"type": "indicator", "created_by_ref": "identity--1", "object_marking_refs": ["marking-definition--1"]}, ()),
        ({"type": "relationship", "source_ref": "a--1", "target_ref": "b--1"}, ("a--1", "b--1")),
        ({"created_by_ref": "identity--1", "sighting_of_ref": "a--1", "where_sighted_refs": ["identity--1", "identity--2"],
          "observed_data_refs": ["observed-data--1"]}, ("a--1", "identity--2", "observed-data--1")),
        ({"id": "report--1", "object_refs": ["a--1", "report--1", "marking-definition--1", "a--1"]}, ("a--1",)),
        ({"type": "file", "extensions": {"archive-ext": {"contains_refs": [ADDRESS]}}}, (ADDRESS,)),
        ({"type": "email-message", "body_multipart": [{"body_raw_ref": "artifact--1"}]}, ("artifact--1",)),
        ({"x_mitre_modified_by_ref": "identity--1", "x_seen_with_refs": [MALWARE], "x_ref": 3}, (MALWARE,)),
        ({"external_references": [{"x_ref": "a--1"}], "granular_markings": [{"marking_ref": "a--1"}]}, ()),
    ],
)  # fmt: skip
def test_references(value: dict[str, Any], found: tuple[str, ...]) -> None:
    assert references(value) == found
    assert may_refer(value, canonical(value)) or not found


def end(object_id: str, label: Label, *refs: str, instant: str = "1", holder: str = "") -> End:
    return End(object_id, holder, "c", instant, label.encode(), refs)


def labelled(refs: list[str], *held: End, own: Label = RELATION) -> Label:
    reach = Reach()
    asking = reach.find(refs)
    try:
        asked: EndsOf = next(asking)
        while True:
            wanted = set(asked.ids)
            asked = asking.send([one for one in held if one.id in wanted])
    except StopIteration:
        return Label.decode(reach.label(own.encode(), refs, "relationship--1"))


def test_a_label_is_joined_with_all_that_is_led_to() -> None:
    assert labelled(["a", "b"], end("a", LABEL), end("b", HIDDEN)) == RELATION.joined([[LABEL], [HIDDEN]])
    assert labelled(["r"], end("r", LABEL, "a", "b"), end("a", HIDDEN)) == RELATION.joined([[LABEL], [HIDDEN], []])
    twins = end("a", LABEL, holder="x"), end("a", HIDDEN, holder="y")
    assert labelled(["a"], *twins) == RELATION.joined([[LABEL, HIDDEN]])


def test_the_newest_version_speaks_and_rings_come_to_an_end() -> None:
    assert labelled(["a"], end("a", LABEL), end("a", HIDDEN, instant="2")) == RELATION.joined([[HIDDEN]])
    assert labelled(["a"], end("a", LABEL, "b"), end("b", HIDDEN, "a", "relationship--1")) == RELATION.joined(
        [[LABEL], [HIDDEN]]
    )


def test_the_id_of_an_observable_is_its_value() -> None:
    """It can be found out from the id, so where the observable is not held the id is the relationship's own content."""
    label = labelled([ADDRESS])
    assert label == RELATION.joined([[], [replace(RELATION, object_class="observed")]])
    no_observables = permit(when={"classes": ["relation", "malware"]})
    under = agreement(no_observables, **defaults(dangling_endpoint="allow"))
    assert judge(under, label).clause == "ENDS"
    assert judge(under, labelled([MALWARE])).effect == "permit"


def test_attacks_relationships_all_travel_under_a_handful_of_labels() -> None:
    """Real data: no end is missing or hidden, so none is lost, and labels stay as few as an agreement can tell apart."""
    objects = json.loads(read_shared("mitre-attack/ics-attack-18.1.json.xz"))["objects"]
    labels = {
        one["id"]: replace(LABEL, object_class=object_class(one["type"]), assurance="imported") for one in objects
    }
    held = {one["id"]: end(one["id"], labels[one["id"]], *references(one)) for one in objects}
    made = {}
    for one in objects:
        if refs := references(one):
            made[one["id"]] = labelled(list(refs), *held.values(), own=labels[one["id"]])
    assert len(made) == 1527
    assert len(set(made.values())) == 5
    assert all(judge(SAMPLE, label, replace(ADUANAS, roles=("agency", "csirt")), "2027-03-01T00:00:00Z").effect == "permit"
               for label in set(made.values()))  # fmt: skip


def text(*ends: list[Label]) -> str:
    return RELATION.joined(ends).encode()


MALWARE_LABEL = replace(LABEL, object_class="malware")


@pytest.mark.parametrize(
    ("before", "after", "wider"),
    [
        (text([LABEL]), text([LABEL, HIDDEN]), True),
        (text([LABEL, HIDDEN]), text([LABEL]), False),
        (text([LABEL], [MALWARE_LABEL]), text([LABEL, HIDDEN], [MALWARE_LABEL]), True),
        (text([LABEL], [MALWARE_LABEL]), text([LABEL, HIDDEN]), True),
        (text([LABEL]), text([LABEL], [LABEL, HIDDEN]), True),
        (text([LABEL]), text([LABEL, HIDDEN], [HIDDEN]), False),
        (text([]), text([LABEL]), False),
        (text([LABEL], []), text([LABEL, HIDDEN], []), True),
        (text([LABEL]), text(), True),
    ],
)
def test_what_only_gains_alternatives_is_taken_from_nobody(before: str, after: str, wider: bool) -> None:
    """An end that the hub does not hold may be nobody's bar, and its coming everybody's."""
    assert widens(before, after) is wider


def moving(tick: int, facets: str) -> Moving:
    return Moving(Lain(0, "", "", b"", b"", "c", tick, 1, "", "US", 0, 100, ()), facets)


def test_a_run_is_cut_where_what_comes_under_another_label_begins_and_ends() -> None:
    rows = [moving(101, "a"), moving(102, "a"), moving(103, "b"), moving(105, "b")]
    found = [(one.start, one.stop, [two.facets for two in one.moving]) for one in pieces(7, rows, 100)]
    assert found == [(0, 1, []), (1, 3, ["a", "a"]), (3, 4, ["b"]), (4, 5, []), (5, 6, ["b"]), (6, 7, [])]
    assert [one[:2] for one in pieces(2, [moving(100, "a"), moving(101, "a")], 100)] == [(0, 2)]
