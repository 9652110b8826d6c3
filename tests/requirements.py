"""Which test proves which requirement: the `rule` markers of every test, read from the source."""

import ast
import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parent
VECTORS = TESTS / "vectors"
DESIGN = TESTS.parent.parent / "shared" / "design"
"""The design pages the lists were taken from, where they lie beside the repository."""


def rows(name: str) -> dict[str, str]:
    """Id and level of each row of a vendored list."""
    lines = (VECTORS / name / "requirements.txt").read_text().splitlines()
    return dict(line.split() for line in lines if line and not line.startswith("#"))


def rows_of_page(page: Path) -> dict[str, str]:
    """The same, of a design page: the first two cells of its tables' rows."""
    return dict(re.findall(r"^\| ([A-Z]{2,4}-[0-9.]+) \| ([A-Z]+) \|", page.read_text(), re.MULTILINE))


def cited(mark: str = "rule") -> dict[str, list[str]]:
    """The tests that cite each id, or each trap of the signature design, by number."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for one in node.decorator_list:
                    for rule in _ids(one, mark):
                        found[rule].append(f"{file.relative_to(TESTS)}::{node.name}")
    return dict(found)


def _ids(decorator: ast.expr, mark: str) -> list[str]:
    if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == f"pytest.mark.{mark}"):
        return []
    return [str(ast.literal_eval(argument)) for argument in decorator.args]
