"""From a query string to what is asked of a collection (TAXII 2.1, 3.4). What is malformed is refused, not guessed."""

import re
from dataclasses import dataclass
from functools import lru_cache

from multidict import MultiMapping
from yarl import URL

from exchange.errors import Malformed
from exchange.model.instant import instant
from exchange.model.page import Filter
from exchange.times import parse_us

KEYWORDS = ("first", "last", "all")

_FRACTION = re.compile(r"[^.]*(?:\.[0-9]{1,9})?Z")
_WHOLE_NUMBER = re.compile(r"[0-9]+", re.ASCII)
_LIMIT_DIGITS = 18
"""Longer numbers than this are far beyond any page limit and are not even read."""


REMEMBERED_QUERY = 512
"""Longer queries than this are rare, and would make what is remembered large."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One page of a collection. None and () stand for what the request does not say; defaults come later (`match`)."""

    limit: int
    added_after_us: int | None = None
    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    spec_versions: tuple[str, ...] = ()
    next: str | None = None

    @property
    def match(self) -> Filter:
        """The filter, with TAXII's default: the latest version of each object (3.4.1)."""
        return Filter(self.added_after_us, self.ids, self.types, self.versions or ("last",), self.spec_versions)

    def agrees_with(self, match: Filter) -> bool:
        """Whether nothing that the request says about matching differs from `match`; what it leaves out agrees."""
        pairs = (
            (self.ids, match.ids),
            (self.types, match.types),
            (self.versions, match.versions),
            (self.spec_versions, match.spec_versions),
        )
        return all(not said or set(said) == set(kept) for said, kept in pairs)


def asked_in(raw_query: str, *, default_limit: int, highest_limit: int) -> Asked:
    """Read a request's query string. Raises Malformed naming the parameter."""
    read = _asked_again if len(raw_query) < REMEMBERED_QUERY else _asked
    return read(raw_query, default_limit, highest_limit)


def _asked(raw_query: str, default_limit: int, highest_limit: int) -> Asked:
    query = URL.build(query_string=raw_query, encoded=True).query
    return asked(query, default_limit=default_limit, highest_limit=highest_limit)


_asked_again = lru_cache(maxsize=1024)(_asked)
"""A poller asks the same question until it is told something new."""


def asked(query: MultiMapping[str], *, default_limit: int, highest_limit: int) -> Asked:
    """Read a request's query. Raises Malformed naming the parameter. Parameters that TAXII does not define are ignored.

    An empty `next` or `limit` counts as absent: MISP sends them so. Everything else that is empty is malformed, for a
    filter that is lost on the way must never mean "everything".
    """
    return Asked(
        limit=_limit(query, default_limit, highest_limit),
        added_after_us=_added_after(query),
        ids=_words(query, "match[id]"),
        types=_words(query, "match[type]"),
        versions=versions(query),
        spec_versions=_words(query, "match[spec_version]"),
        next=_single(query, "next") or None,
    )


def versions(query: MultiMapping[str]) -> tuple[str, ...]:
    """`match[version]`: keywords, and timestamps as instants; () when absent. Raises Malformed."""
    name = "match[version]"
    found = tuple(word if word in KEYWORDS else _instant(word) for word in _listed(query, name))
    if len(set(found)) != len(found):
        raise _malformed(name, "names a version twice", "nombra dos veces una versión")
    if "all" in found and len(found) > 1:
        raise _malformed(name, 'has "all" beside other values', 'combina "all" con otros valores')
    return found


def _instant(word: str) -> str:
    try:
        return instant(word)
    except ValueError:
        raise _malformed(
            "match[version]",
            "takes first, last, all or timestamps such as 2026-11-24T12:00:00.000Z",
            "admite first, last, all o marcas de tiempo como 2026-11-24T12:00:00.000Z",
        ) from None


def _added_after(query: MultiMapping[str]) -> int | None:
    text = _single(query, "added_after")
    if text is None:
        return None
    try:
        if _FRACTION.fullmatch(text) is None:
            raise ValueError
        instant(text)
        # Nothing was added before 1970, and the headers of an empty page repeat this value.
        return max(parse_us(text), 0)
    except ValueError:
        raise _malformed(
            "added_after",
            "takes one UTC timestamp such as 2026-11-24T12:00:00.000000Z, with at most nine fraction digits and a Z",
            "admite una marca de tiempo UTC como 2026-11-24T12:00:00.000000Z, con un máximo de nueve decimales y una Z",
        ) from None


def _limit(query: MultiMapping[str], default: int, highest: int) -> int:
    text = _single(query, "limit")
    if not text:
        return default
    digits = text.lstrip("0")
    if _WHOLE_NUMBER.fullmatch(text) is None or not digits:
        raise _malformed("limit", "takes a whole number above zero", "admite un número entero mayor que cero")
    return highest if len(digits) > _LIMIT_DIGITS else min(int(digits), highest)


def _words(query: MultiMapping[str], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_listed(query, name)))


def _listed(query: MultiMapping[str], name: str) -> tuple[str, ...]:
    text = _single(query, name)
    if text is None:
        return ()
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise _malformed(name, "has an empty value", "contiene un valor vacío")
    return words


def _single(query: MultiMapping[str], name: str) -> str | None:
    values = query.getall(name, ())
    if len(values) > 1:
        raise _malformed(name, "is given more than once", "aparece más de una vez")
    return values[0] if values else None


def _malformed(name: str, en: str, es: str) -> Malformed:
    return Malformed(f"{name} {en}.", f"{name} {es}.", code="query-malformed", field=name)
