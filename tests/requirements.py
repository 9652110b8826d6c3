"""Which test proves which requirement: the `rule` markers of every test, read from the source.

`./dev rules` writes docs/taxii-requirements.md and docs/stix-requirements.md: each row, and beside it the tests that hold
it or the page that says why none does. tests/unit/test_requirements.py fails when they are not what it would write.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
DESIGN = TESTS.parent.parent / "shared" / "design"
"""The design pages the lists were taken from, where they lie beside the repository."""


class Row(NamedTuple):
    """One requirement, in our own words."""

    id: str
    level: str
    section: str
    text: str
    hub: str = ""
    """STIX only: what a receiving hub does with a breach; "-" asks nothing of an object."""


class Page(NamedTuple):
    """What the table of a list needs besides its rows."""

    standard: str
    table: str
    divergences: str


PAGES = {
    "taxii21": Page("TAXII 2.1", "taxii-requirements.md", "taxii-divergences.md"),
    "stix21": Page("STIX 2.1", "stix-requirements.md", "stix-divergences.md"),
}

LEVELS = """MUST, SHOULD and MAY are the Standard's. DER follows from another document, from two clauses taken together, or from what a safe hub needs;
QRK is what a real client needs, and counts as MUST; INT is a case of the Interoperability Test Document. (!) marks what the Standard
leaves unclear: the text says how we read it."""


def rows(name: str) -> dict[str, Row]:
    """A vendored list."""
    return {row.id: row for listed in sections(name).values() for row in listed}


def sections(name: str) -> dict[str, list[Row]]:
    """The same under its headings."""
    found: dict[str, list[Row]] = {}
    for line in (TESTS / "vectors" / name / "requirements.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            found[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            found[list(found)[-1]].append(Row(*line.split("\t")))
    return found


REJECTING = frozenset(row.id for row in rows("stix21").values() if "reject" in row.hub)


def cited(mark: str = "rule") -> dict[str, list[str]]:
    """The tests that cite each id, or each trap of the signature design, by number."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for one in node.decorator_list:
                    for rule in _ids(one, mark):
                        found[rule].append(f"{file.relative_to(TESTS.parent)}::{node.name}")
    return dict(found)


def _ids(decorator: ast.expr, mark: str) -> list[str]:
    if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == f"pytest.mark.{mark}"):
        return []
    return [str(ast.literal_eval(argument)) for argument in decorator.args]


def holders() -> dict[str, list[str]]:
    """The tests that hold each row: by their markers, and by the tables of objects that break one rule each."""
    from tests.unit import test_validate_rules as broken  # it imports REJECTING

    found = cited()
    for test, cases in ((broken.test_a_breach_is_rejected_by_its_row, broken.REJECTED),
                        (broken.test_a_doubtful_object_is_accepted_with_a_warning, broken.WARNED)):  # fmt: skip
        for rule in dict.fromkeys(case.rule for case in cases):
            found.setdefault(rule, []).append(f"tests/unit/test_validate_rules.py::{test.__name__}")
    return found


def divergences(name: str) -> dict[str, str]:
    """Id and reason of each row that a table on the page of divergences names in its first cell."""
    found = {}
    for line in (DOCS / PAGES[name].divergences).read_text("utf-8").splitlines():
        if line.startswith("|"):
            first, *_, reason = [cell.strip() for cell in line.strip("|").split("|")]
            found |= dict.fromkeys(re.findall(r"\b[A-Z]{2,4}-\d[0-9.]*", first), reason)
    return found


# --- the documents ---


def document(name: str) -> str:
    """The table of a list, as Markdown. A row that nothing holds has an empty last cell, which a test forbids."""
    page, held, told = PAGES[name], holders(), divergences(name)
    required = rows(name)
    tested = [one for one in required if one in held]
    hub = ["A breach"] if any(row.hub for row in required.values()) else []
    head = ["Row", "Level", "Section", "What it asks", *hub, "Held by"]
    lines = [
        f"# {page.standard}: every requirement and the test that holds it",
        "",
        f"Made by `./dev rules` from the tests' markers; do not edit. {len(required)} rows: {len(tested)} are held by tests, for",
        f"{len(required) - len(tested)} [{page.divergences}]({page.divergences}) says why not. Where a row has both, the hub differs in what",
        "that page says, and the tests hold it to that. Each name can be given to `./dev test`; of tests with many cases `-k ROW` picks a row's.",
        "",
        LEVELS,
    ]
    for title, listed in sections(name).items():
        lines += ["", f"## {title}", "", _line(head), _line(["---"] * len(head))]
        for row in listed:
            beside = [f"`{test}`" for test in held.get(row.id, [])]
            beside += [f"[divergences]({page.divergences})"] if row.id in told else []
            text = [_text(row.text), *([row.hub] if hub else []), "<br>".join(beside)]
            lines.append(_line([row.id, row.level, row.section, *text]))
    return "\n".join([*lines, ""])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Outside of code, readers of Markdown take `<` for HTML and `*_` for emphasis."""
    parts = text.split("`")
    return "`".join(part if n % 2 else part.replace("<", "&lt;").replace("*_", r"\*_") for n, part in enumerate(parts))


if __name__ == "__main__":
    from tests import ledger_events  # the third page that `./dev rules` writes; it imports DOCS

    ledger_events.PAGE.write_text(ledger_events.document(), "utf-8")
    for name, page in PAGES.items():
        (DOCS / page.table).write_text(document(name), "utf-8")
