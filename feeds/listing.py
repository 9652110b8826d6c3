"""Which records of a source are known already: a million of them in some twenty megabytes, asked a microsecond each."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from hashlib import blake2b

NEVER_US = 2**62

_MARKS, _SHIFT, _HALF = 1 << 16, 48, 1 << 63


class Listing:
    """What was settled before this run, and what of it this run has met."""

    def __init__(self, settled: Iterable[tuple[int, int, int]]) -> None:
        """`settled`: digest, time of renewal and number of objects, in the order of digests."""
        self._digests, self._renew, self._objects = array("q"), array("q"), array("I")
        for digest, renew_us, objects in settled:
            self._digests.append(digest)
            self._renew.append(renew_us)
            self._objects.append(objects)
        self._met = bytearray(len(self._digests))
        # Digests spread evenly: between two of these marks lie some fifteen of a million, not twenty halvings.
        self._marks = array("I", (bisect_left(self._digests, (n << _SHIFT) - _HALF) for n in range(_MARKS + 1)))

    def __len__(self) -> int:
        return len(self._digests)

    def meet(self, digest: int, now_us: int) -> int | None:
        """The number of objects of a known record that is not to be renewed yet; None for any other."""
        place = self._place(digest)
        if place < 0:
            return None
        self._met[place] = 1
        return self._objects[place] if now_us < self._renew[place] else None

    def has_met(self, digest: int) -> bool:
        place = self._place(digest)
        return place >= 0 and bool(self._met[place])

    def _place(self, digest: int) -> int:
        """-1 for a digest that was not settled."""
        mark = (digest + _HALF) >> _SHIFT
        end = self._marks[mark + 1]
        place = bisect_left(self._digests, digest, self._marks[mark], end)
        return place if place < end and self._digests[place] == digest else -1

    def missed(self) -> Iterator[int]:
        """Digests that this run has not met."""
        place = self._met.find(0)
        while place >= 0:
            yield self._digests[place]
            place = self._met.find(0, place + 1)


class Digester:
    """Digests of records under one edition of a mapping: under another, everything is new. Sixty-four bits: among a
    million records two are alike by chance once in some thirty million runs, and then one change is noticed late."""

    def __init__(self, edition: str) -> None:
        self._base = blake2b(edition.encode(), digest_size=8)

    def digest(self, raw: bytes) -> int:
        one = self._base.copy()
        one.update(raw)
        return int.from_bytes(one.digest(), "little", signed=True)
