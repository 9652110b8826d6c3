"""What a document says that can never come about: clauses that match nothing, ceilings in each other's way, shadows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from policies.document import Ceiling, Document, Forbid, Permit
from policies.label import ASSURANCE_ORDER, CONFIDENCE_ORDER
from policies.markings import PAP_ORDER, TLP_ORDER
from policies.mistakes import Mistake, Path
from policies.obligations import accumulated, obligations_of
from policies.predicates import ASSURANCE_RANK, CONFIDENCE_RANK, PAP_RANK, TLP_RANK, known_markings, tlp_name

Reach = Mapping[str, frozenset[str]]
"""A rule as what it accepts: for each condition the words of which a case must have one. An absent one accepts all."""

_WAYS: Final = ("US>MX", "MX>US", "US>US", "MX>MX")


def contradictions(document: Document) -> Iterator[Mistake]:
    """Of a document whose names are all defined."""
    yield from _ceilings(document)
    reaches = {rule.id: reach(rule, document) for _, _, rule in document.rules()}
    for kind, number, rule in document.rules():
        empty = [key for key, words in reaches[rule.id].items() if not words]
        for key in empty:
            yield _never((kind, number, *_place(key)))
    for number, permit in enumerate(document.permit):
        if all(reaches[permit.id].values()):
            yield from _unreachable(("permit", number), permit, reaches[permit.id], document)
    yield from _shadows(document, reaches)


def reach(rule: Permit | Forbid, document: Document) -> Reach:
    """What the rule accepts. Sound, not complete: it says nothing of how conditions work together."""
    side_from, side_to, when = rule.from_, rule.to, rule.when
    given: dict[str, Iterable[str] | None] = {
        "direction": _ways(rule),
        "from.roles": side_from.roles,
        "from.sectors": side_from.sectors,
        "from.members": side_from.members,
        "to.roles": side_to.roles,
        "to.sectors": side_to.sectors,
        "to.members": _members(rule, document),
        "to.audience": [side_to.audience] if side_to.audience else None,
        "to.sector_overlap": [side_to.sector_overlap] if side_to.sector_overlap else None,
        "to.status": side_to.status,
        "when.classes": when.classes,
        "when.tlp": TLP_ORDER[: TLP_RANK[when.tlp.max] + 1] if when.tlp else None,
        "when.pap": PAP_ORDER[: PAP_RANK[when.pap.max] + 1] if when.pap else None,
        "when.confidence": CONFIDENCE_ORDER[CONFIDENCE_RANK[when.confidence.floor] :] if when.confidence else None,
        "when.assurance": _assurance(rule),
        "when.sectors": when.sectors.any if when.sectors else None,
        "when.caveats": when.caveats.any if when.caveats else None,
        "when.rel_to": [when.rel_to] if when.rel_to else None,
        "when.collections": when.collections,
        "when.feeds": when.feeds,
        "when.consent": [when.consent] if when.consent else None,
    }
    return {key: frozenset(words) for key, words in given.items() if words is not None}


def _ways(rule: Permit | Forbid) -> list[str]:
    origins, destinations = rule.from_.countries, rule.to.countries
    return [
        way
        for way in rule.direction or _WAYS
        if (origins is None or way[:2] in origins) and (destinations is None or way[3:] in destinations)
    ]


def _members(rule: Permit | Forbid, document: Document) -> Iterable[str] | None:
    """Those it names, less those who are not of its audience; of a fixed audience alone, its members."""
    named, audience = rule.to.members, document.audiences.get(rule.to.audience or "")
    if audience is None or audience.may_extend:
        return named
    return audience.members if named is None else [slug for slug in named if slug in audience.members]


def _assurance(rule: Permit | Forbid) -> Iterable[str] | None:
    test = rule.when.assurance
    if test is None:
        return None
    least = ASSURANCE_RANK[test.floor] if test.floor else 0
    return [word for word in ASSURANCE_ORDER[least:] if test.any is None or word in test.any]


# --- ceilings ---


def _ceilings(document: Document) -> Iterator[Mistake]:
    """Ceilings of one direction that another ceiling already keeps them from ever reaching."""
    border = document.ceilings.cross_border
    for way, tops in document.ceilings.direction.items():
        for role, top in tops.items():
            path: Path = ("ceilings", "direction", way, role)
            above = [document.ceilings.anywhere]
            if way[:2] != way[3:]:
                if role not in border:
                    yield Mistake(
                        "contradictory-ceiling",
                        path,
                        f"The role {role} has no ceiling for the border, so that nothing reaches it and this bounds nothing.",
                        f"La función {role} no tiene techo para la frontera: nada le llega y esto no limita nada.",
                    )
                    continue
                above.append(border[role])
            if any(_exceeds(top, one) for one in above):
                yield Mistake(
                    "contradictory-ceiling",
                    path,
                    "A ceiling that holds for every direction is lower: this one is never reached.",
                    "Un techo que rige en todos los sentidos es más bajo: este nunca se alcanza.",
                )


def _exceeds(one: Ceiling, other: Ceiling) -> bool:
    # A ceiling that leaves PAP out bounds TLP alone.
    pap = "pap" in one.model_fields_set and PAP_RANK[one.pap] > PAP_RANK[other.pap]
    return pap or TLP_RANK[one.tlp] > TLP_RANK[other.tlp]


def _most(document: Document, ways: Iterable[str], roles: Sequence[str] | None) -> tuple[int, int] | None:
    """The greatest TLP and PAP that ceilings let through these ways to any of these roles; None when nothing is."""
    found: list[tuple[int, int]] = []
    ceilings = document.ceilings
    for way in ways:
        crossing = way[:2] != way[3:]
        narrower = ceilings.direction.get(way, {})  # type: ignore[call-overload]
        # At home a recipient without any of the roles that a ceiling names is bound by none of them.
        for role in roles if roles is not None else [*ceilings.cross_border, *([] if crossing else [""])]:
            if crossing and role not in ceilings.cross_border:
                continue
            tops = [ceilings.anywhere, narrower.get(role), ceilings.cross_border.get(role) if crossing else None]
            held = [top for top in tops if top is not None]
            found.append((min(TLP_RANK[top.tlp] for top in held), min(PAP_RANK[top.pap] for top in held)))
    if not found:
        return None
    return max(tlp for tlp, _ in found), max(pap for _, pap in found)


def _unreachable(place: Path, permit: Permit, accepts: Reach, document: Document) -> Iterator[Mistake]:
    """What a permit promises and the bounds of the document never let through."""
    ways = sorted(accepts["direction"])
    most = _most(document, ways, permit.to.roles)
    if most is None:
        yield Mistake(
            "unreachable-permit",
            (*place, "to", "roles"),
            "No recipient it names has a ceiling for the border, so that nothing it permits is ever let through.",
            "Ningún destinatario que nombra tiene techo para la frontera: nada de lo que permite llega a pasar.",
        )
        return
    for key, top, rank, name in (
        ("tlp", permit.when.tlp, most[0], tlp_name(TLP_ORDER[most[0]])),
        ("pap", permit.when.pap, most[1], f"PAP:{PAP_ORDER[most[1]].upper()}"),
    ):
        if top is not None and (TLP_RANK if key == "tlp" else PAP_RANK)[top.max] > rank:
            yield Mistake(
                "contradictory-ceiling",
                (*place, "when", key, "max"),
                f"The ceilings let at most {name} through to the recipients it names.",
                f"Los techos solo dejan pasar hasta {name} a los destinatarios que nombra.",
            )
    yield from _bounded(place, accepts, ways, document)


def _bounded(place: Path, accepts: Reach, ways: Sequence[str], document: Document) -> Iterator[Mistake]:
    crossing = [way[:2] != way[3:] for way in ways]
    least = document.defaults.min_assurance
    floors = [ASSURANCE_RANK[least.cross_border if abroad else least.in_country] for abroad in crossing]
    if not any(ASSURANCE_RANK[word] >= min(floors) for word in accepts.get("when.assurance", ASSURANCE_ORDER)):
        yield _never((*place, "when", "assurance"))
    if "active" not in accepts.get("to.status", {"active"}):
        yield _never((*place, "to", "status"))
    known = known_markings(document)
    stays = all(crossing) or document.defaults.unknown_marking == "deny"
    hopeless = [
        word
        for word in accepts.get("when.caveats", ())
        if word == "classified" or (stays and word.startswith("opaque") and word not in known)
    ]
    if hopeless and len(hopeless) == len(accepts["when.caveats"]):
        yield _never((*place, "when", "caveats", "any"))


# --- shadows ---


def _shadows(document: Document, reaches: Mapping[str, Reach]) -> Iterator[Mistake]:
    known = known_markings(document)
    for number, permit in enumerate(document.permit):
        for forbid in document.forbid:
            if forbid.unless.is_empty() and covers(reaches[forbid.id], reaches[permit.id], known):
                yield Mistake(
                    "shadowed-rule",
                    ("permit", number, "id"),
                    f"{forbid.id} forbids everything that {permit.id} permits.",
                    f"{forbid.id} prohíbe todo lo que {permit.id} permite.",
                )
    for number, later in enumerate(document.forbid):
        for place, one in enumerate(document.forbid):
            wider = covers(reaches[one.id], reaches[later.id], known) and _lifted_less(one, later)
            if number != place and wider and (place < number or not _same(one, later, reaches)):
                yield _adds_nothing(("forbid", number, "id"), later.id, one.id)
    for number, less in enumerate(document.permit):
        for place, more in enumerate(document.permit):
            wider = covers(reaches[more.id], reaches[less.id], known) and _asks_nothing_more(less, more)
            if number != place and wider and (place < number or not _same(more, less, reaches)):
                yield _adds_nothing(("permit", number, "id"), less.id, more.id)


def covers(wide: Reach, narrow: Reach, known: frozenset[str] = frozenset()) -> bool:
    """Whether whatever the one accepts, the other does: on every condition of the wide one the narrow one is as narrow."""
    return all(
        key in narrow and _within(narrow[key], words, known if key == "when.caveats" else None)
        for key, words in wide.items()
    )


def _within(narrow: frozenset[str], wide: frozenset[str], known: frozenset[str] | None) -> bool:
    if known is not None and "opaque" in wide:
        narrow = frozenset(word for word in narrow if not word.startswith("opaque:") or word in known)
    return narrow <= wide


def _lifted_less(one: Forbid, other: Forbid) -> bool:
    """Whether what lifts the one lifts the other as well. Of two lifts in one forbid both must be there."""
    lifts = one.unless.model_dump(exclude_none=True).items()
    return not lifts or (not other.unless.is_empty() and lifts >= other.unless.model_dump(exclude_none=True).items())


def _same(one: Permit | Forbid, other: Permit | Forbid, reaches: Mapping[str, Reach]) -> bool:
    return reaches[one.id] == reaches[other.id] and one.model_dump(exclude={"id", "text"}) == other.model_dump(
        exclude={"id", "text"}
    )


def _asks_nothing_more(one: Permit, other: Permit) -> bool:
    alone = obligations_of(other)
    return accumulated([alone, obligations_of(one)]) == dict(alone.words)


def _adds_nothing(path: Path, rule: str, other: str) -> Mistake:
    return Mistake(
        "shadowed-rule",
        path,
        f"{rule} adds nothing to {other}, which covers it whole.",
        f"{rule} no añade nada a {other}, que lo abarca por completo.",
    )


def _never(path: Path) -> Mistake:
    return Mistake(
        "never-applies",
        path,
        "With this condition, and the others of the document, the clause never applies.",
        "Con esta condición, y las demás del documento, la cláusula nunca se aplica.",
    )


def _place(key: str) -> Path:
    return tuple(key.split("."))
