"""What another agreement would change for the objects and members there are: for those who are asked to approve it.

    {"schema": "agreement-impact/1", "agreement": "us-mx/8", "policy_sha256": …, "against": "us-mx/7@12", "at": …,
     "cross_border": [{"direction": "US>MX", "recipient": "mx-aduanas", "kind": "gained", "clause": "P-…",
                       "labels": 3, "objects": 214}],
     "domestic": {"US": commitment, "MX": commitment}}

Both countries approve the same bytes, and yet neither learns what stays in the other: its lines are here as a salted
commitment, which that country alone is given the opening of. No line names an originator.
"""

import asyncio
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_bytes

import orjson

from certs.jcs import canonical
from exchange.ledger.entry import commitment
from exchange.model.member import Country
from exchange.rules import Rules
from exchange.store.answers import LabelRow
from policies.clauses import Agreement
from policies.label import Label
from policies.matrix import Audience, Change, differences


@dataclass(frozen=True, slots=True)
class Impact:
    """The document to be approved, its digest, and what its commitments open to."""

    document: bytes
    sha256: str
    openings: bytes


@dataclass(slots=True)
class Line:
    """What changes for one recipient by one clause, and how much of it there is."""

    direction: str
    recipient: str
    kind: str
    clause: str
    labels: int = 0
    objects: int = 0
    examples: list[str] = field(default_factory=list)
    counted: set[Label] = field(default_factory=set)

    def count(self, label: Label) -> None:
        """Labels by what they say of the objects themselves: how many more there are by what these refer to, and who holds that, may
        be the other country's affair."""
        self.counted.add(label.alone)
        self.labels = len(self.counted)

    def told(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in ("direction", "recipient", "kind", "clause", "labels", "objects")}


Key = tuple[str, str, str, str]


class Matrix:
    """The labels there are, and who could read their collections at all."""

    def __init__(self, rules: Rules, rows: Sequence[LabelRow]) -> None:
        self.rows: dict[Label, LabelRow] = {Label.decode(row.facets): row for row in rows}
        self._rules = rules

    def audiences(self, only: str | None = None) -> list[Audience]:
        """By collection. With `only` a member: what it would receive, and who would receive what is its own."""
        found = []
        for collection in self._rules.registry.collections:
            labels = [label for label, row in self.rows.items() if row.collection == collection.id]
            members = [one for one in self._rules.registry.members.values() if collection.can_read(one)]
            readers = [self._rules.recipient(one) for one in members]
            if only is not None:
                own = [label for label in labels if label.originator == only]
                found.append(Audience(_one_by_one(own), readers))
                labels = [label for label in labels if label.originator != only]
                readers = [one for one in readers if one.member == only]
            found.append(Audience(_one_by_one(labels), readers))
        return found

    def everybody(self) -> list[Audience]:
        """All labels and all members, whoever the collections' readers are."""
        members = self._rules.registry.members.values()
        return [Audience(_one_by_one(self.rows), [self._rules.recipient(one) for one in members])]

    def differences(
        self, old: Agreement | None, new: Agreement, now: str, *, only: str | None = None
    ) -> Iterator[Change]:
        """Both agreements judged at `now`, one that has not begun by then at its beginning."""
        old_now = max(now, old.effective_from) if old is not None else now
        return differences(old, new, self.audiences(only), old_now=old_now, new_now=max(now, new.effective_from),
                           consents=self._rules.consents, cited=self._rules.citing.pairs)  # fmt: skip


def _one_by_one(labels: Iterable[Label]) -> Iterator[Label]:
    """Judging is a thread's work: after each label, whoever waits for the interpreter goes first."""
    for label in labels:
        yield label
        time.sleep(0)


def tally(changes: Iterable[Change], rows: Mapping[Label, LabelRow]) -> list[Line]:
    """The changes by direction, recipient, kind and clause."""
    lines: dict[Key, Line] = {}
    for change in changes:
        for recipient in change.recipients:
            key = (f"{change.label.country}>{recipient.country}", recipient.member, change.kind, change.clause)
            line = lines.setdefault(key, Line(*key))
            line.count(change.label)
            line.objects += rows[change.label].placements
    return [lines[key] for key in sorted(lines)]


async def impact_of(rules: Rules, rows: Sequence[LabelRow], new: Agreement) -> Impact:
    """The impact of a version against what is in force, over all that is held."""
    return await asyncio.to_thread(_impact, rules, rows, new)


def _impact(rules: Rules, rows: Sequence[LabelRow], new: Agreement) -> Impact:
    matrix = Matrix(rules, rows)
    lines = tally(matrix.differences(rules.agreement, new, rules.now), matrix.rows)
    crossing: list[dict[str, object]] = []
    staying: dict[str, list[dict[str, object]]] = {country.value: [] for country in Country}
    for line in lines:
        said = line.told()
        origin, _, destination = line.direction.partition(">")
        (staying[origin] if origin == destination else crossing).append(said)
    openings = {
        country: {"salt": b64encode(token_bytes(32)).decode(), "lines": said} for country, said in staying.items()
    }
    agreed = rules.agreed
    document = canonical(
        {
            "schema": "agreement-impact/1",
            "agreement": f"{new.agreement_id}/{new.version}",
            "policy_sha256": new.sha256,
            "against": f"{agreed.agreement_id}/{agreed.version}@{rules.number}" if agreed else "",
            "at": rules.now,
            "cross_border": crossing,
            "domestic": {country: commitment_of(one) for country, one in openings.items()},
        }
    )
    return Impact(document, sha256(document).hexdigest(), orjson.dumps(openings))


def commitment_of(opening: Mapping[str, object]) -> str:
    """The commitment in the impact that an opening belongs to."""
    return commitment(b64decode(str(opening["salt"])), canonical(opening["lines"])).hex()
