"""What judging unseen pattern shapes may cost: a bounded memory of those seen, and a budget for the rest.

The reference grammar takes 10 to 45 µs for each term of a shape, whatever the shape is; so terms are counted, not
seconds, and what an envelope is told depends on no clock but the one its member's allowance is filled by.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

SECOND_US = 1_000_000

T = TypeVar("T")


class Shapes(Generic[T]):
    """Verdicts on shapes, for all threads of the process; those not asked for the longest go first.

    Bounded by characters, for one shape may be as long as a thousand others.
    """

    def __init__(self, characters_at_most: int) -> None:
        self._room = self._characters_at_most = characters_at_most
        self._known: OrderedDict[str, T] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, shape: str) -> T | None:
        with self._lock:
            verdict = self._known.get(shape)
            if verdict is not None:
                self._known.move_to_end(shape)
            return verdict

    def put(self, shape: str, verdict: T) -> None:
        with self._lock:
            if shape not in self._known:
                self._room -= len(shape)
            self._known[shape] = verdict
            while self._room < 0:
                oldest, _ = self._known.popitem(last=False)
                self._room += len(oldest)

    def clear(self) -> None:
        with self._lock:
            self._known.clear()
            self._room = self._characters_at_most


@dataclass(slots=True)
class _Account:
    left: int
    as_of_us: int
    lock: Lock = field(default_factory=Lock)
    """Envelopes of one member are filled up on the event loop and spent by the examiner."""


class Budget:
    """The terms of unseen shapes that one envelope may still have judged."""

    def __init__(self, envelope: int, account: _Account, per_second: int) -> None:
        self._left = self._envelope = envelope
        self._account = account
        self._per_second = per_second

    @property
    def spent(self) -> int:
        return self._envelope - self._left

    @property
    def wait_seconds(self) -> int:
        """Until the member has as much again as one envelope may spend."""
        missing = self._envelope - self._account.left
        return max(1, -(-missing // self._per_second))

    def spend(self, terms: int) -> bool:
        """Take `terms`; False, and nothing taken, when the envelope or its member has not so many left."""
        with self._account.lock:
            if terms > min(self._left, self._account.left):
                return False
            self._left -= terms
            self._account.left -= terms
            return True


class Allowances:
    """What every member has left in this process: `burst` after a pause, filled up by `per_second`.

    There are as many as members, so nothing is ever forgotten.
    """

    def __init__(self, *, envelope: int, burst: int, per_second: int) -> None:
        self._envelope = min(envelope, burst)
        self._burst = burst
        self._per_second = per_second
        self._accounts: dict[str, _Account] = {}

    def envelope(self, member: str, now_us: int) -> Budget:
        """The budget of one envelope that `member` submits now. A clock that steps back fills nothing."""
        account = self._accounts.setdefault(member, _Account(self._burst, now_us))
        with account.lock:
            earned = max(0, now_us - account.as_of_us) * self._per_second // SECOND_US
            if earned or now_us < account.as_of_us:
                account.left = min(self._burst, account.left + earned)
                account.as_of_us = now_us
        return Budget(self._envelope, account, self._per_second)
