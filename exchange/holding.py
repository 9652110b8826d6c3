"""Values that the hub held back because they are known to be good, and their release by a person with the role.

A held value is refused on the way in, and noted here for its submitter and the hub's operator. Released, it is accepted from one
member, or from all of one country, for some days; then it is held again. Each release is an `admin` entry in that country's log,
with the value in its private part: the other country learns nothing of it. What lists *refuse* nobody releases, and what is released
is exchanged, but still never put on a block list.
"""

import uuid
from dataclasses import dataclass
from typing import Final

from exchange.clock import Clock
from exchange.errors import Conflict, Malformed, NotFound, NotPermitted
from exchange.intake.warninglists import Hit, Warninglists
from exchange.ledger.entry import Entry, national
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Member, in_audience
from exchange.rules import RuleBook, Rules
from exchange.store.acts import Act, Record
from exchange.store.contract import Store
from exchange.store.feed_rows import HeldRow, ReleaseRow
from exchange.times import as_text

DAYS_AT_MOST: Final = 90
RELEASES_AT_MOST: Final = 2_000
"""In force at once: each envelope is judged by all of them."""
REASON_CHARACTERS_AT_MOST: Final = 300
DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Held:
    """A value that was held, and until when it is released for its submitter; 0: it is not."""

    row: HeldRow
    until_us: int


class Holding:
    """What is held, and letting it in."""

    def __init__(
        self, store: Store, sequencer: Sequencer, rulebook: RuleBook, clock: Clock, known: Warninglists
    ) -> None:
        self._store = store
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._clock = clock
        self._known = known

    async def held(self, rules: Rules, members: list[str]) -> list[Held]:
        """What was held of these members, the last first."""
        now_us = self._clock.now_us()
        until = {
            slug: rules.released(member, now_us) for slug, member in rules.registry.members.items() if slug in members
        }
        rows = await self._store.held_values(members)
        return [Held(row, until[row.member].get(row.value, 0)) for row in rows if row.member in until]

    async def release(self, actor: str, value: str, audience: str, *, reason: str, days: int) -> ReleaseRow:
        """Accept a held value from an audience (`member:SLUG` or `country:US`) for so many days; 0 ends a release.

        Raises NotFound for a value that is not held, NotPermitted for one that is refused or an asset of the other country's,
        Malformed naming what is wrong, Conflict when too many are released.
        """
        rules, now_us = await self._rulebook.current(), self._clock.now_us()
        members = [one for one in rules.registry.members.values() if in_audience((audience,), one)]
        if not members:
            raise NotFound(f"Nobody is {audience}.", f"Nadie es {audience}.", code="no-such-member", field="audience")
        reason = " ".join(reason.split())
        if not 0 < len(reason) <= REASON_CHARACTERS_AT_MOST:
            raise _malformed("reason", f"a sentence of at most {REASON_CHARACTERS_AT_MOST} characters", f"una frase de {REASON_CHARACTERS_AT_MOST} caracteres como máximo")  # fmt: skip
        if not 0 <= days <= DAYS_AT_MOST:
            raise _malformed("days", f"at most {DAYS_AT_MOST}", f"{DAYS_AT_MOST} como máximo")
        if days:
            self._must_be_held(value, members, rules)
        if days and sum(one.until_us > now_us for one in rules.registry.releases) >= RELEASES_AT_MOST:
            raise Conflict(
                f"{RELEASES_AT_MOST} values are released already; end some first.",
                f"Ya hay {RELEASES_AT_MOST} valores liberados; termine antes algunos.",
                code="releases-too-many",
            )
        row = ReleaseRow(audience, value, now_us + days * DAY_US)
        command = "value.release" if days else "value.hold"
        pub = {"command": command, "for": audience, "until": as_text(row.until_us), "reason": reason}
        entry = Entry(national(members[0].country), "admin", actor, "warninglists", pub, private={"value": value})
        await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record((entry,)), changes=(row,)))
        return row

    def _must_be_held(self, value: str, members: list[Member], rules: Rules) -> None:
        hits = [hit for kind in ("any", "hash") if (hit := self._known.hits_value(kind, value)) is not None]
        if not hits:
            raise NotFound(
                f"{value[:200]} is on no list: it is not held.",
                f"{value[:200]} no está en ninguna lista: no se retiene.",
                code="value-not-held",
                field="value",
            )
        refusing = next((hit for hit in hits if hit.action == "refuse"), None)
        if refusing is not None:
            raise NotPermitted(
                f"{value[:200]} is on “{refusing.list_name}”: it never becomes an indicator.",
                f"{value[:200]} está en «{refusing.list_name}»: nunca se convierte en indicador.",
                code="value-refused",
                field="value",
            )
        if any(_foreign(hit, members[0], rules) for hit in hits):
            raise NotPermitted(
                f"{value[:200]} belongs to a member of the other country.",
                f"{value[:200]} pertenece a un miembro del otro país.",
                code="value-foreign",
                field="value",
            )


def _foreign(hit: Hit, member: Member, rules: Rules) -> bool:
    """Whether it is an asset of somebody of the other country, or of nobody known: those who release answer for their own."""
    owner = rules.registry.members.get(hit.member)
    return bool(hit.member) and (owner is None or owner.country != member.country)


def _malformed(field: str, en: str, es: str) -> Malformed:
    return Malformed(f"{field} must be {en}.", f"{field} debe ser {es}.", field=field)
