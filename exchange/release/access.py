"""What a member may see now, and by which clause: the decisions that release enforces, gathered over the labels there are."""

from typing import Any

from exchange.release.page import Release
from exchange.rules import Caller, Glance
from policies.decide import Decision
from policies.explain import clause_text

_FACETS = ("country", "tlp", "pap", "object_class", "confidence", "assurance")


async def access(release: Release, glance: Glance, caller: Caller, language: str) -> dict[str, Any]:
    """By collection and clause: what kinds of the objects that are held this caller may read, and with which duties.

    Made of what it may see and nothing else: a hidden object changes nothing here.
    """
    rules, epochs = glance
    agreement = rules.in_force
    rows = await release.grants.rows(epochs)
    collections = []
    for collection in rules.registry.collections:
        if not collection.can_read(caller.member):
            continue
        found: dict[tuple[str, str, bool], dict[str, Any]] = {}
        allowed, _ = await release.allowed(glance, caller.member, collection)
        for number in allowed.labels:
            label = release.grants.label(rows[number])
            decision = rules.decide(label, caller.member)
            key = (decision.clause, str(sorted(decision.obligations.items())), decision.may_block)
            one = found.setdefault(key, _told(decision, clause_text(agreement, decision.clause)[language == "es"]))
            for name in _FACETS:
                one[name].add(getattr(label, name))
        told = [{**one, **{name: sorted(one[name]) for name in _FACETS}} for _, one in sorted(found.items())]
        collections.append({"collection": collection.alias, "clauses": told})
    return {
        "member": caller.member.slug,
        "agreement": f"{agreement.agreement_id}/{agreement.version}",
        "number": rules.number,
        "expires": agreement.expires,
        "collections": collections,
    }


def _told(decision: Decision, text: str) -> dict[str, Any]:
    return {
        "clause": decision.clause,
        "text": text,
        "obligations": dict(decision.obligations),
        "may_block": decision.may_block,
        **{name: set[str]() for name in _FACETS},
    }
