"""How fast a member may ask: the generic cell rate algorithm, as a pure function and one number per member."""

from dataclasses import dataclass, field
from typing import NamedTuple

from exchange.errors import TooFast

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` requests on average, and up to `burst` at once after a pause."""

    per_second: int
    burst: int
    interval_ns: int = field(init=False)
    tolerance_ns: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval_ns", _SECOND_NS // self.per_second)
        object.__setattr__(self, "tolerance_ns", self.interval_ns * (self.burst - 1))


class Verdict(NamedTuple):
    """`due_ns` is what to remember of the member; `wait_ns` is 0 when the request is admitted."""

    due_ns: int
    wait_ns: int = 0


def admit(rate: Rate, due_ns: int, now_ns: int) -> Verdict:
    """Judge a request made at `now_ns` by a member whose theoretical next one is due at `due_ns` (0 when never seen).

    Every clock is survived: after a step back a member waits for no more than its own burst would have cost.
    """
    due = min(due_ns, now_ns + rate.tolerance_ns + rate.interval_ns)
    wait = due - rate.tolerance_ns - now_ns
    if wait > 0:
        return Verdict(due, wait)
    return Verdict(max(due, now_ns) + rate.interval_ns)


class Limits:
    """The due times of all members of this process. There are as many as members, so nothing is ever forgotten."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._due_ns: dict[str, int] = {}

    def must_admit(self, member: str, now_us: int) -> None:
        """Count one request. Raises TooFast with the whole seconds to wait."""
        verdict = admit(self._rate, self._due_ns.get(member, 0), now_us * 1000)
        self._due_ns[member] = verdict.due_ns
        if verdict.wait_ns:
            raise TooFast(
                f"More than {self._rate.per_second} requests a second. Please wait.",
                f"Más de {self._rate.per_second} solicitudes por segundo. Espere, por favor.",
                retry_after_seconds=-(-verdict.wait_ns // _SECOND_NS),
            )
