"""Every mistake in an agreement document, of form or of sense, with its reason in both languages."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from policies import builtin
from policies.document import SCHEMA, Ceiling, Document, Forbid, Permit, empty_lists
from policies.mistakes import Mistake, Path
from policies.obligations import looser
from policies.predicates import PAP_RANK, TLP_RANK, tlp_name
from policies.words import seconds

_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "unknown-key": ("This key is not part of the language.", "Esta clave no forma parte del lenguaje."),
    "missing-key": ("This key is required.", "Falta esta clave, que es obligatoria."),
    "missing-text": (
        "Every clause needs its text in English and in Spanish.",
        "Toda cláusula requiere su texto en inglés y en español.",
    ),
    "unknown-word": ("This word is not in the vocabulary.", "Esta palabra no está en el vocabulario."),
    "bad-form": ("This value does not have the expected form.", "Este valor no tiene la forma esperada."),
    "bad-date": (
        "This is not a date of the expected form, such as 2027-01-15T06:00:00Z or 2027-01-15.",
        "Esta fecha no tiene la forma esperada, como 2027-01-15T06:00:00Z o 2027-01-15.",
    ),
    "bad-duration": (
        "This is not a duration, such as 90s, 30m, 4h or 180d.",
        "Esto no es un plazo, como 90s, 30m, 4h o 180d.",
    ),
    "out-of-range": ("This number is out of range.", "Este número está fuera del intervalo admitido."),
    "wrong-type": ("This value is of the wrong kind.", "Este valor es de un tipo equivocado."),
    "wrong-schema": (f"The schema must be {SCHEMA}.", f"El esquema debe ser {SCHEMA}."),
    "empty-audience": (
        "This list is empty, so it would match nobody.",
        "Esta lista está vacía, por lo que no abarcaría a nadie.",
    ),
}
_PYDANTIC: Final = {
    "extra_forbidden": "unknown-key",
    "missing": "missing-key",
    "literal_error": "unknown-word",
    "greater_than_equal": "out-of-range",
    "less_than_equal": "out-of-range",
}


def form_mistakes(error: ValidationError, values: Mapping[str, Any]) -> Iterator[Mistake]:
    """What pydantic found, in our codes and words."""
    for one in error.errors(include_url=False, include_input=False):
        code = _PYDANTIC.get(one["type"], one["type"] if one["type"] in _TEXTS else "wrong-type")
        path = _in_document(one["loc"], values, keep_last=one["type"] == "missing")
        if code == "missing-key" and path[-1] in ("text", "en", "es"):
            code = "missing-text"
        if path == ("schema",) and code != "missing-key":
            code = "wrong-schema"
        mistake = _mistake(code, path)
        if code == "unknown-word" and one["type"] == "literal_error":
            known = str(one["ctx"]["expected"])  # pydantic's own list: 'clear', 'green' or 'red'
            mistake = Mistake(
                code,
                path,
                f"{mistake.en} Known are {known}.",
                f"{mistake.es} Se conocen {known.replace(' or ', ' o ')}.",
            )
        yield mistake


def sense_mistakes(document: Document, values: Mapping[str, Any]) -> Iterator[Mistake]:
    """What is well-formed and still cannot be meant."""
    for path in empty_lists(values):
        if path[0] not in ("test", "fixtures"):  # there an empty list is an example of one
            yield _mistake("empty-audience", path)
    yield from _dates(document)
    yield from _parties(document)
    yield from _ceilings(document)
    yield from _twice("duplicate-id", (((kind, n, "id"), rule.id) for kind, n, rule in document.rules()))
    for tongue in ("en", "es"):
        names = ((("test", n, "name", tongue), getattr(one.name, tongue)) for n, one in enumerate(document.test))
        yield from _twice("duplicate-test", names)
    for kind, number, rule in document.rules():
        for path, name, known in _names(rule, document):
            if name not in known:
                yield _undefined((kind, number, *path), name)
    yield from _loose_names(document)
    yield from _terms(document)


def _dates(document: Document) -> Iterator[Mistake]:
    # All three are of one form, so they sort as text.
    review = document.review_by or document.expires
    if not document.effective_from < document.expires:
        yield Mistake(
            "date-order",
            ("expires",),
            "The agreement ends before it begins.",
            "El acuerdo termina antes de comenzar.",
        )
    elif not document.effective_from < review <= document.expires:
        yield Mistake(
            "date-order",
            ("review_by",),
            "The review must fall within the agreement's term.",
            "La revisión debe quedar dentro de la vigencia del acuerdo.",
        )
    if (document.version == 1) != (document.prev_sha256 is None):
        yield Mistake(
            "bad-chain",
            ("prev_sha256",) if document.prev_sha256 else ("version",),
            "Every version but the first names the digest of the one before, and the first names none.",
            "Toda versión salvo la primera nombra la huella de la anterior, y la primera no nombra ninguna.",
        )


def _parties(document: Document) -> Iterator[Mistake]:
    for table, given, needed in (
        ("parties", set(document.parties), {"US", "MX"}),
        ("legal_basis", set(document.legal_basis), {"us", "mx"}),
    ):
        for country in sorted(needed - given):
            yield Mistake("missing-party", (table,), f"{country} is missing.", f"Falta {country}.")
    for country, party in document.parties.items():
        if len(set(party.approvers.keys)) < max(party.approvers.threshold, len(party.approvers.keys)):
            yield Mistake(
                "bad-threshold",
                ("parties", country, "approvers"),
                "The threshold exceeds the number of different keys, or a key is named twice.",
                "El umbral supera el número de claves distintas, o una clave aparece dos veces.",
            )


def _ceilings(document: Document) -> Iterator[Mistake]:
    top = document.ceilings.anywhere
    levels: list[tuple[Path, Ceiling]] = [
        (("ceilings", "cross_border", role), ceiling) for role, ceiling in document.ceilings.cross_border.items()
    ]
    levels.append((("defaults", "unmarked_as"), Ceiling(tlp=document.defaults.unmarked_as, pap=top.pap)))
    for number, permit in enumerate(document.permit):
        when: Path = ("permit", number, "when")
        if permit.when.tlp:
            levels.append(((*when, "tlp", "max"), Ceiling(tlp=permit.when.tlp.max, pap=top.pap)))
        if permit.when.pap:
            levels.append(((*when, "pap", "max"), Ceiling(tlp=top.tlp, pap=permit.when.pap.max)))
    for path, level in levels:
        too_high = TLP_RANK[level.tlp] > TLP_RANK[top.tlp]
        # A ceiling that leaves PAP out bounds TLP alone; it does not promise more PAP than holds anywhere.
        if too_high or ("pap" in level.model_fields_set and PAP_RANK[level.pap] > PAP_RANK[top.pap]):
            most = f"{tlp_name(top.tlp)}, PAP:{top.pap.upper()}"
            yield Mistake(
                "contradictory-ceiling",
                path,
                f"This is above the ceiling that holds anywhere ({most}).",
                f"Esto supera el techo que rige en todas partes ({most}).",
            )


def _names(rule: Permit | Forbid, document: Document) -> Iterator[tuple[Path, str, Iterable[str]]]:
    """Each name a rule uses, where it uses it, and the names that are defined there."""
    words = document.vocabulary
    when, side_from, side_to = rule.when, rule.from_, rule.to
    used: list[tuple[Path, Iterable[str] | None, Iterable[str] | None]] = [
        (("from", "roles"), side_from.roles, words.roles),
        (("to", "roles"), side_to.roles, words.roles),
        (("from", "sectors"), side_from.sectors, words.sectors),
        (("to", "sectors"), side_to.sectors, words.sectors),
        (("to", "audience"), [side_to.audience] if side_to.audience else None, document.audiences),
        (("when", "sectors", "any"), when.sectors.any if when.sectors else None, words.sectors),
        (("when", "collections"), when.collections, words.collections or ()),
        (("when", "feeds"), when.feeds, words.feeds or ()),
        (("when", "purposes"), when.purposes, document.purposes.allowed),
    ]
    for path, names, known in used:
        for name in names or ():
            yield path, name, known or ()


def _loose_names(document: Document) -> Iterator[Mistake]:
    """Names used outside the rules."""
    words, ceilings = document.vocabulary, document.ceilings
    used: list[tuple[Path, Iterable[str], Iterable[str]]] = [
        *((("ceilings", "cross_border", role), [role], words.roles) for role in ceilings.cross_border),
        *(
            (("ceilings", "direction", way, role), [role], words.roles)
            for way, tops in ceilings.direction.items()
            for role in tops
        ),
        *(
            (("designations", country, "roles"), one.roles, words.roles)
            for country, one in document.designations.items()
        ),
    ]
    extensible = [name for name, audience in document.audiences.items() if audience.may_extend]
    for slug, member in document.fixtures.recipients.items():
        path: Path = ("fixtures", "recipients", slug)
        used += [
            ((*path, "roles"), member.roles, words.roles),
            ((*path, "sectors"), member.sectors, words.sectors),
            ((*path, "audiences"), member.audiences, extensible),
        ]
    for path, names, known in used:
        for name in names:
            if name not in known:
                yield _undefined(path, name)
    yield from _example_names(document)


def _example_names(document: Document) -> Iterator[Mistake]:
    permits, forbids = {rule.id for rule in document.permit}, {rule.id for rule in document.forbid}
    ceilings = {
        builtin.ANYWHERE,
        builtin.CROSS_BORDER,
        builtin.MIN_ASSURANCE,
        builtin.UNKNOWN_MARKING,
        builtin.PURPOSES,
    }
    ceilings |= {f"ceilings.cross_border.{role}" for role in document.ceilings.cross_border}
    ceilings |= {
        f"ceilings.direction.{way}.{role}" for way, tops in document.ceilings.direction.items() for role in tops
    }
    lawful = {
        "rule": permits | {builtin.OWN, builtin.SUBMIT},
        "forbid": forbids | {*builtin.REFUSING},
        "ceiling": ceilings,
    }
    lawful["clause"] = {builtin.NO_PERMIT}.union(*lawful.values())
    for number, example in enumerate(document.test):
        path: Path = ("test", number)
        if isinstance(example.recipient, str) and example.recipient not in document.fixtures.recipients:
            yield _undefined((*path, "recipient"), example.recipient)
        if not example.label.country and example.label.originator not in document.fixtures.recipients:
            yield _undefined((*path, "label"), example.label.originator or "country")
        expected = example.expect.model_dump(exclude_none=True)
        for key, known in lawful.items():
            if key in expected and expected[key] not in known:
                yield _undefined((*path, "expect", key), expected[key])
        if not {"forbid", "ceiling"}.isdisjoint(expected) if example.expect.effect == "permit" else "rule" in expected:
            yield Mistake(
                "contradictory-test",
                (*path, "expect"),
                "What is permitted is not kept back by a forbid or a ceiling, and what is denied is permitted by no rule.",
                "Lo permitido no lo retiene una prohibición ni un techo, y lo denegado no lo permite regla alguna.",
            )


def _terms(document: Document) -> Iterator[Mistake]:
    """Tables that clauses lean on and that are not there, and terms that contradict each other."""
    for name in sorted(set(document.purposes.allowed) & set(document.purposes.excluded)):
        yield Mistake(
            "contradictory-purpose",
            ("purposes", "excluded"),
            f"{name} is both allowed and excluded.",
            f"{name} figura a la vez entre lo permitido y lo excluido.",
        )
    for number, forbid in enumerate(document.forbid):
        if forbid.unless.originator_consent and document.originator_control is None:
            yield _missing_table(("forbid", number, "unless"), "originator_control")
    for number, permit in enumerate(document.permit):
        yield from _of_permit(("permit", number, "then"), permit, document)
    reciprocity = document.reciprocity
    if reciprocity and reciprocity.on_breach == "cut-off" and set(reciprocity.cut_off_chosen_by) != {"US", "MX"}:
        yield Mistake(
            "one-sided-cut-off",
            ("reciprocity", "on_breach"),
            "Sharing is cut off by itself only where both Parties chose so (cut_off_chosen_by).",
            "El intercambio solo se interrumpe por sí mismo si ambas Partes lo eligieron (cut_off_chosen_by).",
        )


def _of_permit(path: Path, permit: Permit, document: Document) -> Iterator[Mistake]:
    then = permit.then
    if then.view == "tearline" and document.redaction is None:
        yield _missing_table((*path, "view"), "redaction")
    retention, sightings = document.retention, document.sightings
    if then.retain and retention:
        of_class = [retention.by_class.get(name, retention.default) for name in permit.when.classes or ()]
        longest = max(of_class or [retention.default, *retention.by_class.values()], key=seconds)
        if seconds(then.retain) > seconds(longest):
            yield Mistake(
                "contradictory-retention",
                (*path, "retain"),
                f"Nothing it permits may be kept longer than {longest}.",
                f"Nada de lo que permite puede conservarse más de {longest}.",
            )
    if then.sighting_feedback and sightings:
        asked = then.sighting_feedback.granularity
        if looser("sighting_feedback.granularity", asked, sightings.granularity):
            yield Mistake(
                "contradictory-sightings",
                (*path, "sighting_feedback"),
                f"Nobody is asked to tell more of sightings than {sightings.granularity}.",
                f"A nadie se le pide decir de los avistamientos más que {sightings.granularity}.",
            )


def _missing_table(path: Path, name: str) -> Mistake:
    return Mistake(
        "missing-table",
        path,
        f"This needs the table [{name}], which the document does not have.",
        f"Esto requiere la tabla [{name}], que el documento no tiene.",
    )


def _twice(code: str, named: Iterable[tuple[Path, str]]) -> Iterator[Mistake]:
    seen: set[str] = set()
    for path, name in named:
        if name in seen:
            yield Mistake(code, path, f"{name} occurs twice.", f"{name} aparece dos veces.")
        seen.add(name)


def _undefined(path: Path, name: str) -> Mistake:
    return Mistake(
        "undefined-name",
        path,
        f"{name} is not defined in this document.",
        f"{name} no está definido en este documento.",
    )


def _mistake(code: str, path: Path) -> Mistake:
    return Mistake(code, path, *_TEXTS[code])


def _in_document(loc: Path, values: Any, *, keep_last: bool) -> Path:
    """pydantic's location without the words it adds for unions and dictionary keys."""
    path: list[str | int] = []
    here = values
    for number, part in enumerate(loc):
        inside = isinstance(here, dict) and part in here
        inside = inside or (isinstance(here, list) and isinstance(part, int) and part < len(here))
        if inside:
            path.append(part)
            here = here[part]
        elif keep_last and number == len(loc) - 1:
            path.append(part)
    return tuple(path)
