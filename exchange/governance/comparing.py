"""Two agreements side by side over what the hub holds: who would gain what, and who would lose it. For those who may know.

An asker is told nothing that it could not see today: an originator of its own objects, a recipient of what it has, an
auditor and a country's authority of what is their country's or reaches it. Nobody learns of what is hidden from them that
it would open. The operator at the hub's own files is told everything.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exchange.errors import Malformed, NotFound
from exchange.governance.drafts import drafts_of, name_of
from exchange.governance.impact import Line, Matrix
from exchange.model.member import Member
from exchange.rules import Rules, agreement_of, overlays_of
from exchange.store.answers import LabelRow, Sample
from exchange.store.contract import Store
from policies.agreement import run_tests
from policies.clauses import Agreement
from policies.label import Label, Recipient
from policies.matrix import Change, Coverage, coverage
from policies.overlay import overlaid

EXAMPLES = 3
IN_FORCE = "in-force"


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, and from when on objects count."""

    asker: Member | None
    """None for the operator at the hub's own files."""
    since_us: int = 0


async def compare(store: Store, rules: Rules, old: Agreement, new: Agreement, asked: Asked) -> dict[str, Any]:
    """What each recipient would gain, lose or have otherwise, by clause, with counts of objects and some examples."""
    rows = await store.labels()
    samples = {one.label: one for one in await store.samples(asked.since_us)}
    lines = await asyncio.to_thread(_lines, rules, rows, samples, (old, new), asked)
    pairs = {kind: sum(one.labels for one in lines if one.kind == kind) for kind in ("gained", "lost", "changed")}
    objects = {kind: sum(one.objects for one in lines if one.kind == kind) for kind in ("gained", "lost", "changed")}
    return {
        "old": name_of(old),
        "new": name_of(new),
        "pairs": pairs,
        "objects": objects,
        "lines": [one.told() | {"examples": one.examples} for one in lines],
    }


def _lines(
    rules: Rules,
    rows: Sequence[LabelRow],
    samples: Mapping[int, Sample],
    agreements: tuple[Agreement, Agreement],
    asked: Asked,
) -> list[Line]:
    matrix = Matrix(rules, [row for row in rows if row.id in samples])
    found: dict[tuple[str, str, str, str], Line] = {}
    only = asked.asker.slug if asked.asker is not None and not oversees(rules, asked.asker) else None
    for change in matrix.differences(*agreements, rules.now, only=only):
        sample = samples[matrix.rows[change.label].id]
        for recipient in _told(rules, change, asked.asker):
            key = (f"{change.label.country}>{recipient.country}", recipient.member, change.kind, change.clause)
            line = found.setdefault(key, Line(*key))
            line.count(change.label)
            line.objects += sample.count
            if len(line.examples) < EXAMPLES and sample.example not in line.examples:
                line.examples.append(sample.example)
    return [found[key] for key in sorted(found)]


def _told(rules: Rules, change: Change, asker: Member | None) -> Iterator[Recipient]:
    for recipient in change.recipients:
        if asker is None or may_know(rules, change.label, recipient, asker):
            yield recipient


def may_know(rules: Rules, label: Label, recipient: Recipient, asker: Member) -> bool:
    """Whether the asker may be told about this label for this recipient: by what it may see today."""
    if oversees(rules, asker):
        if label.country == asker.country:
            return True
        return recipient.country == asker.country and _has(rules, label, recipient)
    if label.originator == asker.slug:
        return True
    return recipient.member == asker.slug and _has(rules, label, recipient)


def oversees(rules: Rules, member: Member) -> bool:
    """Whether the member answers for its whole country: its auditors, and the authority that the agreement names."""
    if member.auditor:
        return True
    return rules.agreed is not None and rules.agreed.document.parties[member.country.value].authority == member.slug


def _has(rules: Rules, label: Label, recipient: Recipient) -> bool:
    decision = rules.judge(label, recipient)
    return decision.effect == "permit" and decision.view == "full" and decision.delay_seconds == 0


async def tried(store: Store, rules: Rules, agreement: Agreement) -> list[Coverage]:
    """How often each clause applied: in the document's own tests, and to live labels. For the operator."""
    rows = await store.labels()

    def count() -> list[Coverage]:
        now = max(rules.now, agreement.effective_from)
        return coverage(agreement, run_tests(agreement), Matrix(rules, rows).audiences(), now=now)

    return await asyncio.to_thread(count)


async def held_agreement(store: Store, rules: Rules, ref: str) -> Agreement:
    """An agreement that the hub holds, by what it is called: `in-force`, a version, `id/version`, or its digest. A version that was adopted
    comes with the tightenings of its newest adoption. Raises NotFound, or Malformed for a name of another form."""
    if ref == IN_FORCE:
        return rules.in_force
    if not ref or len(ref) > 200:
        raise Malformed(
            "Name an agreement: in-force, a version, id/version or a digest.",
            "Nombre un acuerdo: in-force, una versión, id/versión o una huella.",
            code="query-malformed",
        )
    for row in reversed(await store.agreements()):
        one = agreement_of(row.document)
        if ref in (str(row.version), row.name, one.sha256):
            return overlaid(one, overlays_of(row))
    for draft in reversed(drafts_of(await store.proposals(), rules)):
        if ref in (str(draft.row.version), draft.name, draft.row.sha256):
            return draft.agreement
    raise NotFound("There is no such agreement here.", "No existe ese acuerdo aquí.", code="no-such-agreement")
