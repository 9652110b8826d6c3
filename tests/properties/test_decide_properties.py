"""What must hold of every agreement, label and recipient; and a second, literal evaluator that must agree with ours."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policies.clauses import Agreement, compile_agreement
from policies.decide import Decision, decide, may_submit
from policies.document import Document
from policies.label import (
    ASSURANCE_ORDER,
    CAVEAT_MARKINGS,
    CONFIDENCE_ORDER,
    OBJECT_CLASSES,
    PAP_ORDER,
    TLP_DEFINITIONS,
    TLP_ORDER,
    Label,
    Recipient,
    resolve_markings,
)

DIRECTIONS = ["US>MX", "MX>US", "US>US", "MX>MX"]
COUNTRIES = ["US", "MX"]
ROLES = ["agency", "csirt", "operator", "observer"]
SECTORS = ["gov.cyber", "trade.port", "energy.grid"]
MEMBERS = ["a", "b", "c", "d", "e", "f"]
COLLECTIONS = ["indicators", "us-domestic"]
KNOWN = "marking-definition--11111111-1111-4111-8111-111111111111"
UNKNOWN = "marking-definition--22222222-2222-4222-8222-222222222222"
CAVEATS = ["noforn", "orcon", "proprietary", "pii-possible", "classified", f"opaque:{KNOWN}", f"opaque:{UNKNOWN}"]
BEGINS, ENDS = "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"
NOW = "2027-06-01T12:00:00Z"


# Clauses are drawn from pools made once by a seeded generator: drawing each condition by itself took most of the time.
CHANCE = Random("clauses")


def some(words: Sequence[str]) -> list[str]:
    return CHANCE.sample(list(words), CHANCE.randint(1, min(3, len(words))))


def one(words: Sequence[Any]) -> Any:
    return CHANCE.choice(words)


def few(most: int, **makers: Callable[[], Any]) -> dict[str, Any]:
    """Some of the keys, so that most clauses are short and match something."""
    return {key: makers[key]() for key in CHANCE.sample(sorted(makers), CHANCE.randint(0, most))}


SIDE: dict[str, Callable[[], Any]] = {
    "countries": lambda: some(COUNTRIES),
    "roles": lambda: some(ROLES),
    "sectors": lambda: some(SECTORS),
    "members": lambda: some(MEMBERS),
}


def parts() -> dict[str, Any]:
    to = SIDE | {
        "audience": lambda: "group",
        "sector_overlap": lambda: "required",
        "status": lambda: some(["active", "suspended", "withdrawn"]),
    }
    when: dict[str, Callable[[], Any]] = {
        "classes": lambda: some(OBJECT_CLASSES[:3]),
        "tlp": lambda: {"max": one(TLP_ORDER)},
        "pap": lambda: {"max": one(PAP_ORDER)},
        "confidence": lambda: {"floor": one(CONFIDENCE_ORDER)},
        "assurance": lambda: one([{"floor": one(ASSURANCE_ORDER)}, {"any": some(ASSURANCE_ORDER)}]),
        "sectors": lambda: {"any": some(SECTORS)},
        "caveats": lambda: {"any": some([*CAVEATS, "opaque"])},
        "rel_to": lambda: "present",
        "collections": lambda: some(COLLECTIONS),
        "feeds": lambda: ["kev"],
        "consent": lambda: one(["named", "none"]),
        "purposes": lambda: some(["x", "y"]),
    }  # fmt: skip
    return {"from": few(1, **SIDE), "to": few(1, **to), "when": few(2, **when)}


def a_permit() -> dict[str, Any]:
    then = few(
        3,
        delay=lambda: one(["1s", "30m", "4h", "1d"]),
        retain=lambda: one(["24h", "90d", "1d"]),
        onward=lambda: one(["own-country", "own-org", "with-consent", "none"]),
        blocking=lambda: one(["may", "must-not"]),
    )
    then["identity"] = one(["reveal", "reveal-with-consent", "country-only", "anonymise"])
    return parts() | {"direction": some(DIRECTIONS), "then": then}


def a_forbid() -> dict[str, Any]:
    unless = few(2, originator_consent=lambda: "valid", recipient_country_in=lambda: "rel_to")
    return parts() | {"unless": unless} | few(1, direction=lambda: some(DIRECTIONS))


def a_ceiling() -> dict[str, str]:
    return {"tlp": one(TLP_ORDER[2:]), "pap": one(PAP_ORDER[2:])}


def a_frame() -> dict[str, Any]:
    """All of a document but its rules."""
    return {
        "schema": "bilateral-sharing-agreement/1",
        "agreement_id": "any",
        "version": 1,
        "effective_from": BEGINS,
        "expires": ENDS,
        "legal_basis": {},
        "parties": {},
        "vocabulary": {"sectors": SECTORS, "roles": ROLES, "markings": [KNOWN]},
        "audiences": {"group": {"members": ["a", "b"], "owner": "US"}},
        "purposes": {"allowed": ["x", "y"]},
        "defaults": {
            "effect": "deny",
            "unmarked_as": "amber",
            "unknown_marking": one(["deny-cross-border", "deny"]),
            "dangling_endpoint": "withhold",
            "min_assurance": {"cross_border": one(ASSURANCE_ORDER[:3]), "in_country": one(ASSURANCE_ORDER[:2])},
            "own_objects": one(["read-back", "by-clause"]),
            "on_expiry": one(["in-country-continues", "stop"]),
        },
        "ceilings": {
            "cross_border": {role: a_ceiling() for role in CHANCE.sample(ROLES, CHANCE.randint(2, 4))},
            "anywhere": a_ceiling(),
        },
    }


def forms(kind: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule | {"id": f"{kind}-{n}", "text": {"en": "x", "es": "x"}} for n, rule in enumerate(rules)]


def compiled(permits: list[dict[str, Any]], forbids: list[dict[str, Any]], frame: dict[str, Any]) -> Agreement:
    form = frame | {"permit": forms("P", permits), "forbid": forms("F", forbids)}
    return compile_agreement(Document.model_validate(form), b"", "")


def tuples(words: Sequence[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """Any subset, sorted, in one draw."""
    subsets = [tuple(sorted(word for n, word in enumerate(words) if bits >> n & 1)) for bits in range(1 << len(words))]
    return st.sampled_from(sorted(subsets, key=len))


PERMIT_POOL = [a_permit() for _ in range(300)]
FORBID_POOL = [a_forbid() for _ in range(300)]
FRAME_POOL = [a_frame() for _ in range(60)]
AGREEMENT_POOL = [
    compiled(CHANCE.sample(PERMIT_POOL, CHANCE.randint(2, 8)), CHANCE.sample(FORBID_POOL, CHANCE.randint(0, 2)), frame)
    for frame in FRAME_POOL * 5
]
PERMITS = st.lists(st.sampled_from(PERMIT_POOL), min_size=1, max_size=4)
FORBID = st.sampled_from(FORBID_POOL)
FORBIDS = st.lists(FORBID, max_size=2)
FIXED = st.sampled_from(FRAME_POOL)
AGREEMENTS = st.sampled_from(AGREEMENT_POOL)
LABELS = st.builds(
    Label,
    collection=st.sampled_from(COLLECTIONS),
    originator=st.sampled_from(MEMBERS),
    country=st.sampled_from(COUNTRIES),
    roles=tuples(ROLES),
    sectors=tuples(SECTORS),
    tlp=st.sampled_from(TLP_ORDER),
    pap=st.sampled_from(PAP_ORDER),
    caveats=st.sampled_from([(), (), *((word,) for word in CAVEATS), ("noforn", "orcon")]),
    rel_to=st.sampled_from([None, None, (), ("MX",), ("US",), ("MX", "US")]),
    object_class=st.sampled_from(OBJECT_CLASSES[:3]),
    confidence=st.sampled_from(CONFIDENCE_ORDER),
    assurance=st.sampled_from(ASSURANCE_ORDER),
    consent=st.sampled_from(["named", "none"]),
    feed=st.sampled_from(["", "kev"]),
)
RECIPIENTS = st.builds(
    Recipient,
    member=st.sampled_from(MEMBERS),
    country=st.sampled_from(COUNTRIES),
    roles=tuples(ROLES),
    sectors=tuples(SECTORS),
    status=st.sampled_from(["active"] * 10 + ["suspended", "withdrawn"]),
)
TIMES = st.sampled_from(
    [
        NOW,
        NOW,
        NOW,
        NOW,
        "2026-12-31T23:59:59.9Z",
        BEGINS,
        "2027-12-31T23:59:59.999999Z",
        ENDS,
        "2028-01-01T00:00:00.000001Z",
        "soon",
    ]
)

thorough = settings(max_examples=300, deadline=None)


# --- the second evaluator ---


def literal(agreement: Agreement, label: Label, recipient: Recipient, now: str) -> bool:
    """Whether it is permitted, read off the document's plain form, clause by clause. Slow, and shares no code."""
    form = agreement.document.model_dump(by_alias=True, exclude_none=True)
    if recipient.status != "active":
        return False
    if form["defaults"]["own_objects"] == "read-back" and label.originator == recipient.member:
        return True
    try:
        moment = datetime.fromisoformat(now)
    except ValueError:
        return False
    crossing = label.country != recipient.country
    if moment < datetime.fromisoformat(form["effective_from"]):
        return False
    if moment >= datetime.fromisoformat(form["expires"]) and (crossing or form["defaults"]["on_expiry"] == "stop"):
        return False
    if "classified" in label.caveats or any(matches(rule, label, recipient) for rule in form["forbid"]):
        return False
    permits = [rule for rule in form["permit"] if matches(rule, label, recipient)]
    purposes = [set(rule["when"]["purposes"]) for rule in permits if "purposes" in rule["when"]]
    if purposes and not set.intersection(*purposes):
        return False
    return bool(permits) and within_bounds(form, label, recipient, crossing=crossing)


def within_bounds(form: dict[str, Any], label: Label, recipient: Recipient, *, crossing: bool) -> bool:
    tops = [form["ceilings"]["anywhere"]]
    if crossing:
        own = [top for role, top in form["ceilings"]["cross_border"].items() if role in recipient.roles]
        if not own:
            return False
        tops += own
    unknown = f"opaque:{UNKNOWN}" in label.caveats
    if unknown and (crossing or form["defaults"]["unknown_marking"] == "deny"):
        return False
    least = form["defaults"]["min_assurance"]["cross_border" if crossing else "in_country"]
    return ASSURANCE_ORDER.index(label.assurance) >= ASSURANCE_ORDER.index(least) and all(
        TLP_ORDER.index(label.tlp) <= TLP_ORDER.index(top["tlp"])
        and PAP_ORDER.index(label.pap) <= PAP_ORDER.index(top["pap"])
        for top in tops
    )


def matches(rule: dict[str, Any], label: Label, recipient: Recipient) -> bool:
    if "direction" in rule and f"{label.country}>{recipient.country}" not in rule["direction"]:
        return False
    side_from, side_to = rule["from"], rule["to"]
    sides = (
        (side_from, label.country, label.roles, label.sectors, label.originator),
        (side_to, recipient.country, recipient.roles, recipient.sectors, recipient.member),
    )
    for side, country, roles, sectors, member in sides:
        ok = (
            country in side.get("countries", COUNTRIES)
            and ("roles" not in side or set(side["roles"]) & set(roles))
            and ("sectors" not in side or set(side["sectors"]) & set(sectors))
            and member in side.get("members", MEMBERS)
        )
        if not ok:
            return False
    if "audience" in side_to and recipient.member not in ("a", "b"):
        return False
    if "sector_overlap" in side_to and not set(label.sectors) & set(recipient.sectors):
        return False
    if recipient.status not in side_to.get("status", [recipient.status]):
        return False
    return matches_when(rule["when"], label) and not lifted(rule.get("unless", {}), label, recipient)


def lifted(unless: dict[str, Any], label: Label, recipient: Recipient) -> bool:
    return unless == {"recipient_country_in": "rel_to"} and recipient.country in (label.rel_to or ())


def matches_when(when: dict[str, Any], label: Label) -> bool:
    assurance = when.get("assurance", {})
    confidence = when.get("confidence", {"floor": "none"})["floor"]
    wanted = set(when.get("caveats", {}).get("any", ()))
    borne = set(label.caveats) | ({"opaque"} if f"opaque:{UNKNOWN}" in label.caveats else set())
    return all(
        (
            label.object_class in when.get("classes", OBJECT_CLASSES),
            label.tlp in TLP_ORDER[: TLP_ORDER.index(when.get("tlp", {"max": "red"})["max"]) + 1],
            label.pap in PAP_ORDER[: PAP_ORDER.index(when.get("pap", {"max": "red"})["max"]) + 1],
            label.confidence in CONFIDENCE_ORDER[CONFIDENCE_ORDER.index(confidence) :],
            label.assurance in ASSURANCE_ORDER[ASSURANCE_ORDER.index(assurance.get("floor", "unsigned")) :],
            label.assurance in assurance.get("any", ASSURANCE_ORDER),
            "sectors" not in when or set(when["sectors"]["any"]) & set(label.sectors),
            "caveats" not in when or wanted & borne,
            "rel_to" not in when or label.rel_to is not None,
            label.collection in when.get("collections", COLLECTIONS),
            label.feed in when.get("feeds", ["", "kev"]),
            label.consent in when.get("consent", ("named", "none")),
        )
    )  # fmt: skip


@settings(max_examples=1_000, deadline=None)
@given(AGREEMENTS, LABELS, RECIPIENTS, TIMES)
def test_the_evaluator_agrees_with_the_literal_reading(
    agreement: Agreement, label: Label, recipient: Recipient, now: str
) -> None:
    decision = decide(agreement, label, recipient, now=now)
    assert (decision.effect == "permit") == literal(agreement, label, recipient, now), decision.trace


# --- properties ---


@thorough
@given(FORBIDS, FIXED, LABELS, RECIPIENTS)
def test_without_a_permit_all_is_denied(
    forbids: list[dict[str, Any]], fixed: dict[str, Any], label: Label, recipient: Recipient
) -> None:
    assume(label.originator != recipient.member)
    decision = decide(compiled([], forbids, fixed), label, recipient, now=NOW)
    assert (decision.effect, decision.view, decision.rules) == ("deny", "anonymised", ())
    assert dict(decision.obligations) == {}


@thorough
@given(PERMITS, FORBIDS, FORBID, FIXED, LABELS, RECIPIENTS, TIMES)
def test_one_more_forbid_never_widens(
    permits: list[dict[str, Any]],
    forbids: list[dict[str, Any]],
    extra: dict[str, Any],
    fixed: dict[str, Any],
    label: Label,
    recipient: Recipient,
    now: str,
) -> None:
    before = decide(compiled(permits, forbids, fixed), label, recipient, now=now)
    after = decide(compiled(permits, [*forbids, extra], fixed), label, recipient, now=now)
    # One's own is read back whatever is forbidden, but not blocked by.
    assert after.effect == "deny" or after.verdict in (before.verdict, replace(before.verdict, may_block=False))
    assert before.may_block or not after.may_block


@thorough
@given(PERMITS, FORBIDS, FIXED, LABELS, RECIPIENTS)
def test_no_permit_exceeds_a_ceiling(
    permits: list[dict[str, Any]],
    forbids: list[dict[str, Any]],
    fixed: dict[str, Any],
    label: Label,
    recipient: Recipient,
) -> None:
    everything = {"from": {}, "to": {}, "when": {}, "direction": DIRECTIONS, "then": {"identity": "reveal"}}
    decision = decide(compiled([*permits, everything], forbids, fixed), label, recipient, now=NOW)
    if decision.effect == "permit" and decision.rules != ("OWN",):
        assert within_bounds(fixed, label, recipient, crossing=label.country != recipient.country)


@thorough
@given(st.data(), PERMITS, FORBIDS, FIXED, LABELS, RECIPIENTS)
def test_the_order_of_the_clauses_does_not_matter(
    data: st.DataObject,
    permits: list[dict[str, Any]],
    forbids: list[dict[str, Any]],
    fixed: dict[str, Any],
    label: Label,
    recipient: Recipient,
) -> None:
    form = fixed | {"permit": forms("P", permits), "forbid": forms("F", forbids)}
    shuffled = form | {
        "permit": data.draw(st.permutations(form["permit"])),
        "forbid": data.draw(st.permutations(form["forbid"])),
    }

    def judged(one: dict[str, Any]) -> tuple[Any, ...]:
        agreement = compile_agreement(Document.model_validate(one), b"", "")
        decision = decide(agreement, label, recipient, now=NOW)
        return (
            decision.effect,
            decision.view,
            set(decision.rules),
            set(decision.forbids),
            decision.ceilings,
            # Equal lengths may be written in two ways ("24h", "1d"): what counts is how long they are.
            {k: v for k, v in decision.obligations.items() if k != "retain"},
            decision.delay_seconds,
        )

    assert judged(shuffled) == judged(form)


def told(decision: Decision) -> str:
    """The effect, told from nothing but the trace."""
    steps = decision.trace
    applied = {step.rule for step in steps if step.kind == "builtin" and step.matched}
    if "SUSPENDED" in applied:
        return "deny"
    if "OWN" in applied:
        return "permit"
    refused = applied or any(step.matched for step in steps if step.kind == "forbid")
    broken = decision.errors or any(step.failed == "evaluation-error" for step in steps)
    held = all(step.matched for step in steps if step.kind == "ceiling")
    permitted = any(step.matched for step in steps if step.kind == "permit")
    return "permit" if permitted and held and not refused and not broken else "deny"


@thorough
@given(AGREEMENTS, LABELS, RECIPIENTS, TIMES)
def test_explaining_is_enforcing(agreement: Agreement, label: Label, recipient: Recipient, now: str) -> None:
    decision = decide(agreement, label, recipient, now=now)
    steps = decision.trace
    assert told(decision) == decision.effect
    clauses = [step.rule for step in steps if step.kind in ("forbid", "permit")]
    assert clauses == [clause.id for clause in (*agreement.forbids, *agreement.permits)]
    assert all(step.matched is (step.failed is None) for step in steps if step.kind != "builtin")
    if decision.effect == "permit" and decision.rules != ("OWN",):
        assert decision.rules == tuple(step.rule for step in steps if step.kind == "permit" and step.matched)
    for language in ("en", "es"):
        assert decision.clause in decision.reason(language)


@thorough
@given(AGREEMENTS, LABELS, RECIPIENTS, st.sampled_from([ENDS, "2028-01-01T00:00:00.000001Z", "2040-01-01T00:00:00Z"]))
def test_after_the_end_nothing_crosses(agreement: Agreement, label: Label, recipient: Recipient, now: str) -> None:
    other = {"US": "MX", "MX": "US"}[label.country]
    decision = decide(agreement, label, replace(recipient, country=other, member="z"), now=now)
    assert decision.effect == "deny"
    assert "expires" in decision.forbids


@thorough
@given(AGREEMENTS, LABELS, RECIPIENTS, TIMES, st.sampled_from(["suspended", "withdrawn", "", "ACTIVE", "new"]))
def test_who_is_not_active_gets_nothing(
    agreement: Agreement, label: Label, recipient: Recipient, now: str, status: str
) -> None:
    assert decide(agreement, label, replace(recipient, status=status), now=now).effect == "deny"


@thorough
@given(AGREEMENTS, LABELS, RECIPIENTS, RECIPIENTS)
def test_equal_classes_get_equal_decisions(
    agreement: Agreement, label: Label, recipient: Recipient, other: Recipient
) -> None:
    twin = replace(recipient, member=other.member)
    if recipient.klass(agreement) == twin.klass(agreement):
        assert decide(agreement, label, recipient, now=NOW) == decide(agreement, label, twin, now=NOW)


@thorough
@given(
    AGREEMENTS, LABELS, RECIPIENTS, st.text(max_size=8), st.sampled_from(["tlp", "pap", "assurance", "country", "now"])
)
def test_it_never_raises_and_never_permits_what_it_does_not_know(
    agreement: Agreement, label: Label, recipient: Recipient, word: str, place: str
) -> None:
    assume(word not in (*TLP_ORDER, *ASSURANCE_ORDER, *COUNTRIES) and label.originator != recipient.member)
    strange = label if place == "now" else replace(label, **{place: word})  # type: ignore[arg-type]
    decision = decide(agreement, strange, recipient, now=word if place == "now" else NOW)
    assert decision.effect == "deny"
    assert decision.reason("es")
    if place not in ("country", "now"):
        assert may_submit(agreement, strange, now=NOW).effect == (
            "deny" if place != "country" else may_submit(agreement, label, now=NOW).effect
        )


@thorough
@given(LABELS)
def test_labels_survive_their_text(label: Label) -> None:
    assert Label.decode(label.encode()) == label
    assert Label.decode(label.encode()).encode() == label.encode()


MARKINGS = st.lists(st.sampled_from([*TLP_DEFINITIONS, *CAVEAT_MARKINGS, KNOWN, UNKNOWN]), max_size=6)


@thorough
@given(MARKINGS, MARKINGS)
def test_another_marking_never_loosens(one: list[str], other: list[str]) -> None:
    first, both = resolve_markings(one, {}), resolve_markings([*one, *other], {})
    if first.tlp is not None:
        assert both.tlp is not None
        assert TLP_ORDER.index(both.tlp) >= TLP_ORDER.index(first.tlp)
    assert set(first.caveats) <= set(both.caveats)
    given_tlp = [TLP_DEFINITIONS[id_] for id_ in one if id_ in TLP_DEFINITIONS]
    assert first.tlp == (max(given_tlp, key=TLP_ORDER.index) if given_tlp else None)
    assert resolve_markings(reversed(one), {}) == first
