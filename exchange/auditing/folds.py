"""The shape of a question: it is shown every entry once, in order, and gives rows as it goes and at the end."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from exchange.auditing.facts import Fact, plain
from exchange.auditing.rows import Asked, Remark, Row
from exchange.errors import Text


class Scope(NamedTuple):
    """What an answer rests on: the logs that are read, and nothing of any other."""

    logs: tuple[str, ...]


class Fold(Protocol):
    """One question under way. It knows no filter: rows are made of everything, and filtered afterwards."""

    def take(self, fact: Fact) -> Iterable[Row]: ...

    def end(self) -> Iterable[Row]: ...

    def remarks(self, rows: int) -> Iterable[Remark]:
        """What is to be said of the answer. `rows`: how many the filters let through."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """One of the questions of the ledger's design, 9, under the name that its command and its route have."""

    name: str
    number: int
    """In that list; 0 for what is not one of the fifteen."""
    about: Text
    columns: tuple[str, ...]
    """Beside the time, the log and the entry, which every row has."""
    begin: Callable[[Asked, Scope], Fold]
    takes: tuple[str, ...] = ()
    """What it cannot be asked without: "object", "to", "member"."""
    may_take: tuple[str, ...] = ()
    totals: tuple[str, ...] = ()
    """Columns by whose values the rows are counted at the end."""
    private: bool = False
    """Whether it reads what commitments open to."""


class Listing:
    """Entries of some kinds, a row each."""

    def __init__(
        self,
        kinds: Sequence[str],
        cells: Callable[[Fact], Mapping[str, str]],
        member: Callable[[Fact], str],
    ) -> None:
        """A kind that ends in a dot stands for all that begin with it."""
        self._kinds = frozenset(kinds)
        self._families = tuple(kind for kind in kinds if kind.endswith("."))
        self._cells = cells
        self._member = member

    def take(self, fact: Fact) -> Iterator[Row]:
        if fact.t in self._kinds or (self._families and fact.t.startswith(self._families)):
            yield Row.of(fact, {"event": fact.t, **self._cells(fact)}, member=self._member(fact))

    def end(self) -> Iterable[Row]:
        return ()

    def remarks(self, rows: int) -> Iterable[Remark]:
        return ()


LONG = frozenset(("jws", "signatures", "document", "note"))
"""Values that are for programs: they are in the entry, and would fill a page here."""


def detail(fact: Fact, *without: str) -> str:
    """The clear part as `name=value` words."""
    return "; ".join(
        f"{name}={plain(value)}" for name, value in sorted(fact.pub.items()) if name not in LONG and name not in without
    )


def about_whom(fact: Fact) -> str:
    """The member that an entry of an operator is about, else who acted."""
    named = fact.pub.get("member") or fact.pub.get("to")
    if isinstance(named, str):
        return named
    return fact.on[7:] if fact.on.startswith("member:") else fact.member
