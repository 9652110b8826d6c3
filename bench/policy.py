"""The agreement's evaluator by itself: a full matrix beside a running event loop, and single decisions."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import islice, product
from random import Random
from statistics import median

from policies.agreement import load
from policies.clauses import Agreement
from policies.decide import decide, matrix
from policies.label import CONFIDENCE_ORDER, OBJECT_CLASSES, Label, Recipient

TICK_SECONDS = 0.005
SECTORS = ("gov.cyber", "trade.customs", "trade.port", "trade.rail", "energy.grid", "mfg.auto")
ROLES = (("agency",), ("agency", "csirt"), ("operator",))


@dataclass(frozen=True, slots=True)
class Policy:
    """What was measured, for the sample agreement."""

    clauses: int
    labels: int
    recipients: int
    permitted: float
    """The share of pairs that is permitted: a matrix of nothing but denials would be no measure."""
    matrix_seconds: float
    """By the clock, in a thread beside the loop."""
    matrix_cpu_seconds: float
    loop_held_ms: float
    """The longest that the event loop was kept from its turn meanwhile."""
    loop_alone_ms: float
    """The same with nothing beside it: what neighbours on the machine do to it."""
    known_us: float
    """One decision with its clauses and obligations, in CPU time, for a label judged before."""
    new_us: float
    """The same for a label never seen."""
    told_us: float
    """A decision, its sentence, and what every clause did."""


def measure(labels: int) -> Policy:
    data = files("policies").joinpath("agreements/us-mx-trade-cyber.toml").read_bytes()
    agreement = load(data)
    now, many, whom = agreement.effective_from, list(islice(label_range(), labels)), recipient_range()
    alone = asyncio.run(_longest_wait(asyncio.sleep(1)))
    permitted, wall, cpu, held = asyncio.run(_matrix(agreement, many, whom, now))
    pairs = [(one, whom[place % len(whom)]) for place, one in enumerate(many)]
    return Policy(
        clauses=len(agreement.clauses),
        labels=len(many),
        recipients=len(whom),
        permitted=permitted / (len(many) * len(whom)),
        matrix_seconds=wall,
        matrix_cpu_seconds=cpu,
        loop_held_ms=held * 1_000,
        loop_alone_ms=alone * 1_000,
        known_us=median(_each(agreement, pairs, now) for _ in range(5)),
        new_us=median(_each(load(data), pairs, now) for _ in range(3)),
        told_us=median(_each(agreement, pairs[:500], now, told=True) for _ in range(3)),
    )


async def _matrix(
    agreement: Agreement, labels: list[Label], recipients: list[Recipient], now: str
) -> tuple[int, float, float, float]:
    def work() -> int:
        permitted = 0
        for row in matrix(agreement, labels, recipients, now=now):
            permitted += sum(one.effect == "permit" for one in row)
            time.sleep(0)  # the loop's turn, if it waits for one
        return permitted

    began, cpu = time.perf_counter(), time.process_time()
    working = asyncio.get_running_loop().run_in_executor(None, work)
    longest = await _longest_wait(working)
    return await working, time.perf_counter() - began, time.process_time() - cpu, longest


async def _longest_wait(meanwhile: Awaitable[object]) -> float:
    """How late, at most, the loop came to its turn until this was done."""
    longest, working = 0.0, asyncio.gather(meanwhile)
    while not working.done():
        turn = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        longest = max(longest, time.perf_counter() - turn - TICK_SECONDS)
    return longest


def _each(agreement: Agreement, pairs: list[tuple[Label, Recipient]], now: str, *, told: bool = False) -> float:
    """Microseconds of CPU time for one."""
    began = time.process_time()
    for label, recipient in pairs:
        decision = decide(agreement, label, recipient, now=now)
        if told:
            decision.reason("en")
            _ = decision.trace
    return (time.process_time() - began) / len(pairs) * 1_000_000


def label_range() -> list[Label]:
    """Distinct ones, as twenty members of two countries would give them, in an order that favours nobody."""
    base = Label(
        "indicators", "", "US", (), (), "green", "clear", (), None, "indicator", "high", "originator-signed", "none", ""
    )  # fmt: skip
    found = []
    for country, roles, sector, consent in product(("US", "MX"), ROLES, SECTORS, ("none", "named")):
        slug = f"{country.lower()}-{roles[-1]}-{sector}-{consent}"
        member = replace(base, originator=slug, country=country, roles=roles, sectors=(sector,), consent=consent)
        for tlp, pap, confidence, name, caveats in product(
            ("clear", "green", "amber", "amber+strict"), ("clear", "amber"), CONFIDENCE_ORDER, OBJECT_CLASSES[:6], ((), ("noforn",)),
        ):  # fmt: skip
            found.append(
                replace(member, tlp=tlp, pap=pap, confidence=confidence, object_class=name, caveats=caveats)
            )  # fmt: skip
    Random("labels").shuffle(found)
    return found


def recipient_range() -> list[Recipient]:
    """A hundred classes."""
    pairs = [(one,) for one in SECTORS] + [(one, "trade.crossing") for one in SECTORS] + [()] * 1
    found = [
        Recipient(f"{country.lower()}-{number}-{'-'.join(roles)}", country, roles, sectors, "active")
        for country, roles, (number, sectors) in product(
            ("US", "MX"), (*ROLES, ("operator", "agency")), enumerate(pairs)
        )
    ]
    return found[:100]
