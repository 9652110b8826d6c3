"""An agreement as Cedar policies, and cases as Cedar requests: our rules read by somebody else's engine.

Every clause, ceiling and built-in rule becomes one policy that bears its id, so that reasons can be compared and not effects
alone. Cedar has no order of words, so TLP and its like are given as ranks; it cannot look through a set of consents, so
whether one stands is told in the request (`consents_stand` below reads them as plainly as can be). For reviewers who know
Cedar: `python -m tests.cedar FILE` prints an agreement.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cedarpy import Entities, PolicySet, is_authorized_batch

from policies.agreement import load
from policies.clauses import Agreement
from policies.consent import Consent
from policies.document import Document, Permit, Rule, When
from policies.label import ASSURANCE_ORDER, CONFIDENCE_ORDER, PAP_ORDER, TLP_ORDER, Label, Recipient

CROSSING = "resource.country != principal.country"
OWN = 'principal.status == "active" && principal.member == resource.originator && principal.member != ""'
NEVER = "1 == 2"


def policies(document: Document) -> str:
    """All the policies of an agreement."""
    own = OWN if document.defaults.own_objects == "read-back" else NEVER
    texts = [f'@id("OWN") permit(principal, action, resource) when {{ {own} }};']
    texts.append('@id("SUSPENDED") forbid(principal, action, resource) when { principal.status != "active" };')
    texts += [
        f'@id("{rule.id}") permit(principal, action, resource) when {{ {conditions(rule, document)} }};'
        for rule in document.permit
    ]
    for name, condition in [*_forbids(document), *_bounds(document), *_terms(document), *_originator(document)]:
        texts.append(f'@id("{name}") forbid(principal, action, resource) when {{ {condition} }} unless {{ {own} }};')
    return "\n".join(texts)


def conditions(rule: Rule, document: Document) -> str:
    found = [*_direction(rule), *_from(rule), *_to(rule, document), *_when(rule, document)]
    return " && ".join(f"({one})" for one in found) or "true"


def _direction(rule: Rule) -> Iterator[str]:
    if rule.direction is not None:
        ways = [f'(resource.country == "{way[:2]}" && principal.country == "{way[3:]}")' for way in rule.direction]
        yield " || ".join(ways) or NEVER


def _from(rule: Rule) -> Iterator[str]:
    side = rule.from_
    if side.countries is not None:
        yield f"{_set(side.countries)}.contains(resource.country)"
    if side.roles is not None:
        yield f"resource.roles.containsAny({_set(side.roles)})"
    if side.sectors is not None:
        yield f"resource.sectors.containsAny({_set(side.sectors)})"
    if side.members is not None:
        yield f"{_set(side.members)}.contains(resource.originator)"


def _to(rule: Rule, document: Document) -> Iterator[str]:
    side = rule.to
    if side.countries is not None:
        yield f"{_set(side.countries)}.contains(principal.country)"
    if side.roles is not None:
        yield f"principal.roles.containsAny({_set(side.roles)})"
    if side.sectors is not None:
        yield f"principal.sectors.containsAny({_set(side.sectors)})"
    if side.members is not None:
        yield f"{_set(side.members)}.contains(principal.member)"
    if side.audience is not None:
        yield _belongs(side.audience, document)
    if side.sector_overlap is not None:
        yield "principal.sectors.containsAny(resource.sectors)"
    if side.status is not None:
        yield f"{_set(side.status)}.contains(principal.status)"


def _belongs(name: str, document: Document) -> str:
    audience = document.audiences[name]
    added = f' || principal.audiences.contains("{name}")' if audience.may_extend else ""
    return f"{_set(audience.members)}.contains(principal.member){added}"


def _when(rule: Rule, document: Document) -> Iterator[str]:
    when = rule.when
    if when.classes is not None:
        yield f"{_set(when.classes)}.contains(resource.object_class)"
    if when.tlp is not None:
        yield f"resource.tlp <= {TLP_ORDER.index(when.tlp.max)}"
    if when.pap is not None:
        yield f"resource.pap <= {PAP_ORDER.index(when.pap.max)}"
    if when.confidence is not None:
        yield f"resource.confidence >= {CONFIDENCE_ORDER.index(when.confidence.floor)}"
    if when.assurance is not None and when.assurance.floor is not None:
        yield f"resource.assurance >= {ASSURANCE_ORDER.index(when.assurance.floor)}"
    if when.assurance is not None and when.assurance.any is not None:
        yield f"{_set(when.assurance.any)}.contains(resource.assurance_word)"
    yield from _what(when, document)


def _what(when: When, document: Document) -> Iterator[str]:
    if when.sectors is not None:
        yield f"resource.sectors.containsAny({_set(when.sectors.any)})"
    if when.caveats is not None:
        strange = f" || !({_known(document)}.containsAll(resource.opaque))" if "opaque" in when.caveats.any else ""
        yield f"resource.caveats.containsAny({_set(when.caveats.any)}){strange}"
    if when.rel_to is not None:
        yield "resource has rel_to"
    if when.collections is not None:
        yield f"{_set(when.collections)}.contains(resource.collection)"
    if when.feeds is not None:
        yield f"{_set(when.feeds)}.contains(resource.feed)"
    if when.consent is not None:
        yield f'resource.consent == "{when.consent}"'


def _forbids(document: Document) -> Iterator[tuple[str, str]]:
    for rule in document.forbid:
        lifts = []
        if rule.unless.originator_consent:
            lifts.append("context.consented")
        if rule.unless.recipient_country_in:
            lifts.append("(resource has rel_to && resource.rel_to.contains(principal.country))")
        lifted = " && ".join(lifts) or "false"
        yield rule.id, f"({conditions(rule, document)}) && !({lifted})"


def _bounds(document: Document) -> Iterator[tuple[str, str]]:
    ceilings, defaults = document.ceilings, document.defaults
    yield "ceilings.anywhere", _above(ceilings.anywhere.tlp, ceilings.anywhere.pap)
    yield "ceilings.cross_border", f"{CROSSING} && !(principal.roles.containsAny({_set(ceilings.cross_border)}))"
    for role, top in ceilings.cross_border.items():
        having = f'principal.roles.contains("{role}")'
        yield f"ceilings.cross_border.{role}", f"{CROSSING} && {having} && ({_above(top.tlp, top.pap)})"
    for way, tops in ceilings.direction.items():
        for role, top in tops.items():
            going = f'resource.country == "{way[:2]}" && principal.country == "{way[3:]}"'
            having = f'principal.roles.contains("{role}")'
            yield f"ceilings.direction.{way}.{role}", f"{going} && {having} && ({_above(top.tlp, top.pap)})"
    abroad = ASSURANCE_ORDER.index(defaults.min_assurance.cross_border)
    at_home = ASSURANCE_ORDER.index(defaults.min_assurance.in_country)
    yield "defaults.min_assurance", f"resource.assurance < (if {CROSSING} then {abroad} else {at_home})"
    everywhere = "true" if defaults.unknown_marking == "deny" else CROSSING
    yield "defaults.unknown_marking", f"({everywhere}) && !({_known(document)}.containsAll(resource.opaque))"
    yield "purposes", _purposeless(document)


def _purposeless(document: Document) -> str:
    """Somebody limits the purposes, and for each purpose somebody leaves it out."""
    matching = [(rule, f"({conditions(rule, document)})") for rule in document.permit if rule.when.purposes is not None]
    limited = " || ".join(["resource has purposes", *(text for _, text in matching)])
    without = [
        " || ".join(
            [f'(resource has purposes && !resource.purposes.contains("{purpose}"))', *_lacking(matching, purpose)]
        )
        for purpose in document.purposes.allowed
    ]
    return f"({limited}) && " + " && ".join(f"({one})" for one in without)


def _lacking(matching: Sequence[tuple[Permit, str]], purpose: str) -> list[str]:
    return [text for rule, text in matching if purpose not in (rule.when.purposes or ())]


def _terms(document: Document) -> Iterator[tuple[str, str]]:
    stops = "true" if document.defaults.on_expiry == "stop" else CROSSING
    yield "effective_from", f"context.now < {micros(document.effective_from)}"
    yield "expires", f"context.now >= {micros(document.expires)} && ({stops})"
    yield "classification", 'resource.caveats.contains("classified")'


def _originator(document: Document) -> Iterator[tuple[str, str]]:
    kept = [f"!({_set(document.audiences)}.containsAll(resource.audiences))"]
    kept += [f'(resource.audiences.contains("{name}") && !({_belongs(name, document)}))' for name in document.audiences]
    yield "AUDIENCE", " || ".join(kept)
    yield "EMBARGO", "context.now < resource.not_before"


def _above(tlp: str, pap: str) -> str:
    return f"resource.tlp > {TLP_ORDER.index(tlp)} || resource.pap > {PAP_ORDER.index(pap)}"


def _known(document: Document) -> str:
    return _set(f"opaque:{marking}" for marking in document.vocabulary.markings)


def _set(words: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def micros(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1_000_000)


# --- cases ---


def _rank(key: str, order: Sequence[str], word: str) -> dict[str, int]:
    """Nothing for a word of no rank, so that whoever looks at it errs."""
    return {key: order.index(word)} if word in order else {}


def resource(label: Label) -> dict[str, Any]:
    return {
        "collection": label.collection,
        "originator": label.originator,
        "country": label.country,
        "roles": list(label.roles),
        "sectors": list(label.sectors),
        **_rank("tlp", TLP_ORDER, label.tlp),
        **_rank("pap", PAP_ORDER, label.pap),
        **_rank("confidence", CONFIDENCE_ORDER, label.confidence),
        **_rank("assurance", ASSURANCE_ORDER, label.assurance),
        "assurance_word": label.assurance,
        "caveats": list(label.caveats),
        "opaque": [caveat for caveat in label.caveats if caveat.startswith("opaque:")],
        "object_class": label.object_class,
        "consent": label.consent,
        "feed": label.feed,
        "audiences": list(label.audiences),
        "not_before": micros(label.not_before) if label.not_before else 0,
        **({} if label.rel_to is None else {"rel_to": list(label.rel_to)}),
        **({} if label.purposes is None else {"purposes": list(label.purposes)}),
    }


def principal(recipient: Recipient) -> dict[str, Any]:
    return {
        "member": recipient.member,
        "country": recipient.country,
        "roles": list(recipient.roles),
        "sectors": list(recipient.sectors),
        "status": recipient.status,
        "audiences": list(recipient.audiences),
    }


def entities(labels: Sequence[Label], recipients: Sequence[Recipient]) -> Entities:
    """Labels and recipients by their numbers."""
    rows = [_entity("Label", n, resource(one)) for n, one in enumerate(labels)]
    rows += [_entity("Recipient", n, principal(one)) for n, one in enumerate(recipients)]
    return Entities.from_json_str(json.dumps(rows))


def _entity(kind: str, number: int, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"uid": {"type": kind, "id": str(number)}, "attrs": attributes, "parents": []}


def judge(
    document: Document, held: Entities, cases: Sequence[tuple[int, int, bool]], now: str
) -> list[tuple[bool, set[str]]]:
    """For each (label, recipient, consented): whether Cedar allows it, and the ids of the policies that decided."""
    requests = [
        {
            "principal": {"type": "Recipient", "id": str(recipient)},
            "action": {"type": "Action", "id": "receive"},
            "resource": {"type": "Label", "id": str(label)},
            "context": {"now": micros(now), "consented": consented},
        }
        for label, recipient, consented in cases
    ]
    parsed = PolicySet.from_str(policies(document))
    return [
        (answer.allowed, set(answer.diagnostics.id_annotations_by_reason.values()))
        for answer in is_authorized_batch(requests, parsed, held)
    ]


def consents_stand(agreement: Agreement, label: Label, recipient: Recipient, consents: list[Consent], now: str) -> bool:
    if agreement.document.originator_control is None:
        return False
    moment, longest = (
        datetime.fromisoformat(now),
        timedelta(days=int(agreement.document.originator_control.consent_valid[:-1])),
    )
    wanted = set(label.cases) if label.cases else {""}
    for one in consents:
        begins, ends = datetime.fromisoformat(one.given), datetime.fromisoformat(one.until)
        spoken_of = recipient.member in one.members or recipient.country in one.countries
        if one.originator == label.originator and spoken_of and begins <= moment < ends and moment - begins < longest:
            wanted.discard(one.case)
    return not wanted


if __name__ == "__main__":
    print(policies(load(Path(sys.argv[1]).read_bytes()).document))
