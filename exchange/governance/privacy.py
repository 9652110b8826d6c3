"""Blocking and erasing what a leaf only commits to. The leaf stays, the tree stays, and an entry says what went and why.

Two steps, as the Mexican law has it (bloqueo before supresión): a blocked part is in no export and is read only to determine
liability; an erased one is gone, salt and all, so that nobody can even try out guesses. What lies in `both` takes approvals of
both countries, what lies in a country's own log takes that country's.

With an entry that tells of objects, the objects themselves may be erased in the same act, where they hold what is to go: they are
taken out of every collection, content and all, and whoever may have seen them is asked to drop them, under the agreement's
`withdrawal.privacy`. That takes the approvals of every country that is bereft of one.
"""

import re
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

import orjson

from certs.trust import COUNTRIES
from exchange.clock import Clock
from exchange.errors import Conflict, Malformed, NotFound, NotPermitted
from exchange.governance.approvals import Approval, heard, must_be_enough
from exchange.ledger.entry import Entry, route
from exchange.ledger.generations import in_order, kind
from exchange.ledger.merkle import leaf_hash
from exchange.ledger.sequencer import Outdated, Sequencer
from exchange.model.recall import Delivered, RecallRow
from exchange.rules import RuleBook, Rules
from exchange.store.acts import Act, Done, Record, Removal, Stamp, Withdrawn
from exchange.store.answers import Opening
from exchange.store.changes import BlockPrivate, ErasePrivate
from exchange.store.contract import Store
from exchange.times import as_datetime

ERASURE_TYPE: Final = "log-erasure-approval+jws"
OPERATOR: Final = "hub:puente:acct:operator"
VERSIONS_LOGGED: Final = 64
"""Versions that one `withdraw` entry names; all of them are counted."""
_BASIS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}", re.ASCII)
_LEAVES = 512

Step = Literal["block", "erase"]


class Privacy:
    def __init__(self, store: Store, sequencer: Sequencer, rulebook: RuleBook, clock: Clock) -> None:
        self._store = store
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._clock = clock

    async def statement(
        self, step: Step, log: str, index: int, basis: str, objects: Sequence[str] = ()
    ) -> dict[str, Any]:
        """What approvers sign: this step, for this leaf and no other, on this legal basis, with these objects.

        Raises NotFound when the leaf has no private part here (`erased`: there was one) or does not tell of an object, Conflict
        when the step is not due.
        """
        if _BASIS.fullmatch(basis) is None:
            raise Malformed(
                "The legal basis is a code of letters, digits and . _ : / -, at most 64.",
                "El fundamento legal es un código de letras, dígitos y . _ : / -, de 64 como máximo.",
                code="basis",
                field="basis",
            )
        opening = await self._opening(log, index)
        if opening.blocked != (step == "erase"):
            raise Conflict(
                "It is blocked already." if opening.blocked else "It must be blocked before it is erased.",
                "Ya está bloqueada." if opening.blocked else "Debe bloquearse antes de suprimirse.",
                code="blocked" if opening.blocked else "not-blocked",
            )
        [data] = await self._store.leaves(log, index, index + 1)
        said = {"act": step, "log": log, "index": index, "leaf": leaf_hash(data).hex(), "basis": basis}
        if objects:
            told = await self._told_of(orjson.loads(data), opening)
            for one in objects:
                if one not in told:
                    raise NotFound(
                        f"{log}/{index} does not tell of {one}.",
                        f"{log}/{index} no da cuenta de {one}.",
                        code="no-such-object",
                        field="object",
                    )
            said["objects"] = sorted(set(objects))
        return said

    async def do(
        self, step: Step, log: str, index: int, basis: str, approvals: Sequence[bytes],
        objects: Sequence[str] = (), delivered: Sequence[Delivered] = (),
    ) -> Done:  # fmt: skip
        """The step, with its entries, in one transaction. `delivered`: where the objects lie that are erased with it, and who
        may see them until then; nowhere, where they were taken out before.

        Raises what `statement` does, NotPermitted (`approval-…`), and Conflict when the rules change meanwhile.
        """
        about = await self.statement(step, log, index, basis, objects)
        rules = await self._rulebook.current()
        bereft = {rules.registry.members[slug].country.value for one in delivered for slug in (one.owner, *one.holders)}
        countries = sorted({*await self._countries(log, index), *bereft})
        given = await self._approved(about, countries, approvals)
        pub = {"log": log, "index": index, "basis": basis, "approvals": given}
        who, on = OPERATOR, f"leaf:{log}/{index}"
        entry, change = (
            (Entry(kind(log), "block", who, on, pub), BlockPrivate(log, index))
            if step == "block"
            else (Entry(kind(log), "erase", who, on, pub), ErasePrivate(log, index))
        )

        def record(stamp: Stamp) -> Record:
            taken = [_taken_out(rules, *pair, stamp.time_us) for pair in zip(delivered, stamp.removed, strict=True)]
            entries = [one for entries, _ in taken for one in entries]
            return Record((entry, *entries), recalls=tuple([one for _, recalls in taken for one in recalls]))

        removals = tuple([Removal(one.collection, one.id, one.owner) for one in delivered])
        act = Act(
            str(uuid.uuid4()),
            record,
            agreement=rules.number or None if delivered else None,
            changes=(change,),
            removals=removals,
        )
        try:
            done = await self._sequencer.append(act)
        except Outdated:
            raise Conflict("Somebody else was faster.", "Alguien más se adelantó.", code="changed") from None
        if step == "erase":
            await self._store.scrub()
        return done

    async def read(self, log: str, index: int, *, liability: str = "") -> Opening:
        """What a leaf's commitment opens to. A blocked one only for a named case of liability, and an entry says so."""
        opening = await self._opening(log, index)
        if not opening.blocked:
            return opening
        if not liability:
            raise NotPermitted(
                "It is blocked: name the case of liability for which it is read (--liability).",
                "Está bloqueada: indique el caso de responsabilidad por el que se lee (--liability).",
                code="blocked",
                field="liability",
            )
        pub = {"command": "ledger open", "reason": liability[:200]}
        entry = Entry(kind(log), "admin", OPERATOR, f"leaf:{log}/{index}", pub)
        await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record((entry,))))
        return opening

    async def _approved(
        self, about: Mapping[str, Any], countries: Sequence[str], approvals: Sequence[bytes]
    ) -> list[str]:
        trust = (await self._rulebook.current()).trust
        if trust is None:
            raise NotPermitted(
                "There is no trust list yet.", "Todavía no hay lista de confianza.", code="no-trust-list"
            )
        now, voices, given = as_datetime(self._clock.now_us()), [], []
        for number, data in enumerate(approvals, 1):
            one = Approval.parse(data)
            voice = heard(one, about, ("approve",), trust, at=now, field=f"approval {number}", typ=ERASURE_TYPE)
            voices.append(voice)
            given.append(f"{voice.country} {voice.approver} {one.jws}")
        must_be_enough(voices, countries, trust)
        return given

    async def _told_of(self, leaf: Mapping[str, Any], opening: Opening) -> set[str]:
        """The objects that an entry tells of, or those that share its private part."""
        private = orjson.loads(opening.payload)
        told = {line.split(" ")[1] for line in private.get("items", ())}
        for name in in_order(await self._store.trees()):
            async for _, other in self._entries(name):
                if other["t"] == "submit" and other.get("c") == leaf["c"]:
                    told.add(other["pub"]["object"])
        return told

    async def _opening(self, log: str, index: int) -> Opening:
        known = index >= 0 and log in await self._store.trees()
        leaves = await self._store.leaves(log, index, index + 1) if known else []
        if not leaves:
            raise NotFound(f"There is no entry {log}/{index}.", f"No existe el asiento {log}/{index}.", field="index")
        opening = await self._store.opening(log, index)
        if opening is not None:
            return opening
        leaf = orjson.loads(leaves[0])
        if "c" not in leaf:
            raise NotFound(
                "The entry has no private part.", "El asiento no tiene parte privada.", code="no-private", field="index"
            )
        raise await self._gone(log, index, leaf["c"])

    async def _gone(self, log: str, index: int, committed: str) -> NotFound:
        """Where the private part is, or when it went: entries of one act share theirs, which is kept with the first of them."""
        for name in in_order(await self._store.trees()):
            async for at, leaf in self._entries(name):
                if leaf["t"] == "erase" and (leaf["pub"]["log"], leaf["pub"]["index"]) == (log, index):
                    when, basis = leaf["time"], leaf["pub"]["basis"]
                    return NotFound(
                        f"It was erased on {when} for {basis}, as entry {name}/{at} says.",
                        f"Se suprimió el {when} por {basis}, según el asiento {name}/{at}.",
                        code="erased",
                    )
                shares = leaf.get("c") == committed and (name, at) != (log, index)
                if shares and await self._store.opening(name, at) is not None:
                    return NotFound(
                        f"It is kept with entry {name}/{at}, which shares it.",
                        f"Se conserva con el asiento {name}/{at}, que la comparte.",
                        code="private-shared",
                        field="index",
                    )
        return NotFound("It is not here.", "No está aquí.", code="private-missing")

    async def _countries(self, log: str, index: int) -> tuple[str, ...]:
        """Whose approval it takes: both countries' as soon as an entry of `both` commits to it too."""
        [data] = await self._store.leaves(log, index, index + 1)
        committed = orjson.loads(data)["c"]
        for name in [one for one in in_order(await self._store.trees()) if kind(one) == "both"]:
            async for _, leaf in self._entries(name):
                if leaf.get("c") == committed:
                    return tuple(COUNTRIES)
        return (kind(log).upper(),)

    async def _entries(self, log: str) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        size = (await self._store.trees())[log].size
        for start in range(0, size, _LEAVES):
            for index, data in enumerate(await self._store.leaves(log, start, min(size, start + _LEAVES)), start):
                yield index, orjson.loads(data)


def _taken_out(
    rules: Rules, one: Delivered, removed: tuple[Withdrawn, ...] | None, now_us: int
) -> tuple[list[Entry], list[RecallRow]]:
    """What is told of an object that goes, and to whom."""
    gone = sorted({version.version for version in removed or ()})
    if not gone:
        return [], []
    owner = rules.registry.members[one.owner]
    recalls = [
        rules.recall(
            slug, one.collection, "erasure", [owner.country],
            {"objects": [{"id": one.id, "versions": sorted(seen & set(gone))}]}, now_us,
        )
        for slug, seen in one.holders.items()
        if not seen.isdisjoint(gone)
    ]  # fmt: skip
    log = route(owner.country, [rules.registry.members[recall.member].country for recall in recalls])
    pub = {
        "object": one.id, "versions": gone[:VERSIONS_LOGGED], "count": len(gone), "cause": "erasure", "owner": one.owner,
    }  # fmt: skip
    withdrawn = Entry(log, "withdraw", OPERATOR, f"coll:{one.collection}", pub)
    return [withdrawn, *[rules.recall_entry(recall, OPERATOR) for recall in recalls]], recalls
