"""Every mistake in an agreement document, with its line and its reason in both languages."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from policies.document import SCHEMA, Ceiling, Document, Forbid, Permit, empty_lists
from policies.predicates import PAP_RANK, TLP_RANK, tlp_name

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake in a document."""

    code: str
    """Stable, kebab-case."""
    line: int | None
    """Counted from 1; None when it is in no one place."""
    where: str
    """The path in the document, tables of one name counted from 1: "permit 2, when.tlp.max"."""
    en: str
    es: str


class AgreementError(ValueError):
    """The document is not a sound agreement. `findings` has at least one entry."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(f"{one.where}: {one.en}" for one in findings))
        self.findings = findings


@dataclass(frozen=True, slots=True)
class Mistake:
    """A finding before its line is known."""

    code: str
    path: Path
    en: str
    es: str


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


def locate(mistakes: Iterable[Mistake], text: str) -> list[Finding]:
    """The mistakes with their lines, in the order of the file, each once."""
    lines = line_index(text)
    found = [Finding(one.code, _line(lines, one.path), _where(one.path), one.en, one.es) for one in mistakes]
    return sorted(dict.fromkeys(found), key=lambda one: (one.line or 0, one.where, one.code))


def form_mistakes(error: ValidationError, values: Mapping[str, Any]) -> Iterator[Mistake]:
    """What pydantic found, in our codes and words."""
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        code = _PYDANTIC.get(one["type"], one["type"] if one["type"] in _TEXTS else "wrong-type")
        path = _in_document(one["loc"], values, keep_last=one["type"] == "missing")
        if code == "missing-key" and path[-1] in ("text", "en", "es"):
            code = "missing-text"
        if path == ("schema",) and code != "missing-key":
            code = "wrong-schema"
        yield _mistake(code, path)


def sense_mistakes(document: Document, values: Mapping[str, Any]) -> Iterator[Mistake]:
    """What is well-formed and still cannot be meant."""
    for path in empty_lists(values):
        if path[0] not in ("test", "fixtures"):  # there an empty list is an example of one
            yield _mistake("empty-audience", path)
    yield from _dates(document)
    yield from _parties(document)
    yield from _ceilings(document)
    yield from _twice("duplicate-id", (((kind, n, "id"), rule.id) for kind, n, rule in document.rules()))
    yield from _twice("duplicate-test", ((("test", n, "name"), one.name) for n, one in enumerate(document.test)))
    for kind, number, rule in document.rules():
        for path, name, known in _names(rule, document):
            if name not in known:
                yield _undefined((kind, number, *path), name)
    yield from _loose_names(document)


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
    for role in document.ceilings.cross_border:
        if role not in document.vocabulary.roles:
            yield _undefined(("ceilings", "cross_border", role), role)
    for slug, member in document.fixtures.recipients.items():
        for role in set(member.roles) - set(document.vocabulary.roles):
            yield _undefined(("fixtures", "recipients", slug, "roles"), role)
        for sector in set(member.sectors) - set(document.vocabulary.sectors):
            yield _undefined(("fixtures", "recipients", slug, "sectors"), sector)
    yield from _example_names(document)


def _example_names(document: Document) -> Iterator[Mistake]:
    ids = {rule.id for _, _, rule in document.rules()}
    for number, example in enumerate(document.test):
        if isinstance(example.recipient, str) and example.recipient not in document.fixtures.recipients:
            yield _undefined(("test", number, "recipient"), example.recipient)
        if not example.label.country and example.label.originator not in document.fixtures.recipients:
            yield _undefined(("test", number, "label"), example.label.originator or "country")
        for key, name in (("rule", example.expect.rule), ("forbid", example.expect.forbid)):
            # Built-in clauses (OWN, SUSPENDED, expires …) are defined everywhere.
            if name is not None and name[:2] in ("P-", "F-") and name not in ids:
                yield _undefined(("test", number, "expect", key), name)


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


_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_KEY: Final = re.compile(r"\s*([\w.\"' -]+?)\s*=")
_QUOTES: Final = re.compile(r'"""|\'\'\'')


def line_index(text: str) -> dict[Path, int]:
    """Where each table and key of a TOML text begins, by its path. Inline tables count with the key they stand at.

    A scan of lines, not a parser: good enough to point a person to the place, and never used to judge.
    """
    found: dict[Path, int] = {}
    arrays: dict[str, int] = {}
    table: Path = ()
    in_string = False
    for number, line in enumerate(text.splitlines(), 1):
        was_in_string = in_string
        in_string ^= len(_QUOTES.findall(line)) % 2 == 1
        if was_in_string:
            continue
        if header := _HEADER.match(line):
            table = _table_path(header[2], arrays, opens=header[1] == "[[")
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            path = table
            for part in _split(key[1]):
                path = (*path, part)
                found.setdefault(path, number)
    return found


def _table_path(name: str, arrays: dict[str, int], *, opens: bool) -> Path:
    parts = _split(name)
    if opens:
        arrays[parts[0]] = arrays.get(parts[0], -1) + 1
    if parts[0] in arrays:
        return (parts[0], arrays[parts[0]], *parts[1:])
    return parts


def _split(name: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in name.split("."))


def _line(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of the path, or of the nearest thing around it."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


def _where(path: Path) -> str:
    words: list[str] = []
    for part in path:
        if isinstance(part, int):
            words[-1] += f" {part + 1}"
        else:
            words.append(part)
    if len(words) > 1 and len(path) > 1 and isinstance(path[1], int):
        return f"{words[0]}, {'.'.join(words[1:])}"
    return ".".join(words) or "document"
