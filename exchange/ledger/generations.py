"""A log's generations. What nothing puts back closes a log for ever, and it goes on as the next one, under an origin of its own.

`both` is the first, `both/2` the second. The name says where entries lie: folders, addresses and rows are called by it, and
`both` stays what it was. What an entry may be in, and who sees it, hangs on the kind alone, which is what entries have as `log`.

A policy lists the keys of all of them (c2sp.org/tlog-policy), the oldest first; witnesses and quorum are the same.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from exchange.ledger.events import LOGS
from exchange.ledger.note import Checkpoint, NoteFault, Policy

_NAME = re.compile(rf"(?:.*/)?((?:{'|'.join(LOGS)})(?:/(?:[2-9]|[1-9][0-9]{{1,3}}))?)", re.ASCII | re.DOTALL)
_ORIGIN = re.compile(r"(.*?)(?:/([2-9]|[1-9][0-9]{1,3}))?", re.ASCII | re.DOTALL)


def kind(log: str) -> str:
    """`both`, `us` or `mx`: whose log it is."""
    return log.partition("/")[0]


def number(log: str) -> int:
    return int(log.partition("/")[2] or 1)


def named(kind: str, number: int) -> str:
    return kind if number == 1 else f"{kind}/{number}"


def stem(log: str) -> str:
    """Its name in the name of a file."""
    return log.replace("/", ".")


def following(log: str) -> str:
    return named(kind(log), number(log) + 1)


def of_origin(origin: str) -> str:
    """The log that an origin is of; its last word, where it is none of ours."""
    match = _NAME.fullmatch(origin)
    return match[1] if match is not None else origin.rpartition("/")[2]


def in_order(logs: Iterable[str]) -> list[str]:
    return sorted(logs, key=lambda log: (LOGS.index(kind(log)), number(log)))


def current(logs: Iterable[str]) -> dict[str, str]:
    """By kind, the newest of these."""
    return {kind(log): log for log in in_order(logs)}


def succeeded(origin: str, known: Iterable[str]) -> bool:
    """Whether one of the origins known is that of a later generation."""
    name, place = _parts(origin)
    return any(base == name and later > place for base, later in map(_parts, known))


def _parts(origin: str) -> tuple[str, int]:
    match = _ORIGIN.fullmatch(origin)
    return (match[1], int(match[2] or 1)) if match is not None else (origin, 1)


def separate(policies: Mapping[str, Policy]) -> dict[str, Policy]:
    """From policies by kind, those of each generation: no checkpoint of one counts for another."""
    found = {}
    for log, policy in policies.items():
        for place, origin in enumerate(dict.fromkeys(key.name for key in policy.logs), 1):
            logs = tuple(key for key in policy.logs if key.name == origin)
            found[named(log, place)] = replace(policy, logs=logs)
    return found


@dataclass(frozen=True, slots=True)
class Closing:
    """What the first entry of a generation says of the one before."""

    checkpoint: Checkpoint
    """The last that was cosigned."""
    held: int
    held_root: bytes
    lost: int

    @classmethod
    def read(cls, leaf: Mapping[str, Any], origin: str, before: Policy) -> Self:
        """`leaf` is the entry, `origin` that of the log it is in, `before` the reader's own policy of the generation before. Raises
        NoteFault for one that does not lead from a checkpoint that the policy holds for."""
        try:
            pub = leaf["pub"]
            checkpoint = before.check(pub["note"].encode()).checkpoint
            said = Checkpoint(pub["origin"], pub["size"], bytes.fromhex(pub["root"]))
            if (
                leaf["t"] != "log.close"
                or pub["next"] != origin
                or said != checkpoint
                or min(pub["held"], pub["lost"]) < 0
            ):
                raise ValueError("it does not say so")
            return cls(checkpoint, pub["held"], bytes.fromhex(pub["held_root"]), pub["lost"])
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise NoteFault(
                "generation-unfounded",
                f"The first entry of {origin} does not say, by a cosigned checkpoint, which log it goes on from.",
                f"El primer asiento de {origin} no dice, con un punto de control cofirmado, qué registro continúa.",
            ) from fault

    def covers(self, seen: Checkpoint) -> bool:
        """Whether what somebody saw of the closed log may be of the history that was closed."""
        known = {self.checkpoint.size: self.checkpoint.root, self.held: self.held_root}
        return (
            seen.origin == self.checkpoint.origin
            and seen.size <= self.checkpoint.size
            and known.get(seen.size, seen.root) == seen.root
        )
