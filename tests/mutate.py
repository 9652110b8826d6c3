"""`python -m tests.mutate`: break the evaluator, and the reading of markings, in every small way there is, and see whether the tests notice.

Each mutant is one change to one module, imported in a process of its own in place of the real one. First it must answer as
Cedar did on a few thousand generated cases; a mutant that still does is put to the unit tests. What survives is printed with
its line. Exit status 1 when less than 90 % are killed. The last figures stand in docs/agreements.md.
"""

import ast
import contextlib
import importlib.abc
import importlib.machinery
import io
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import click
import pytest

import policies.document  # noqa: F401 - no mutant changes it, and it takes the longest to import

ROOT = Path(__file__).resolve().parents[1]
EVALUATOR = ("decide", "cited", "sides", "predicates", "obligations", "consent", "clauses", "markings", "terms", "acs")
UNIT = [
    "decide",
    "cited",
    "graph",
    "clauses",
    "bounds",
    "obligations",
    "reasons",
    "contradictions",
    "terms",
    "label",
    "agreement",
]
UNNEEDED = ("cacheprovider", "xdist", "hypothesispytest")
ENOUGH = 0.9
PATIENCE_SECONDS = 60
"""A mutant that takes longer runs in circles, and is killed by that."""
ORACLE_AGREEMENTS, ORACLE_CASES = 60, 100

SWAPS: dict[type[ast.AST], list[type[Any]]] = {
    ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.GtE], ast.Gt: [ast.GtE, ast.Lt], ast.GtE: [ast.Gt, ast.LtE],
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.In: [ast.NotIn], ast.NotIn: [ast.In], ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is], ast.And: [ast.Or], ast.Or: [ast.And], ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd],
    ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.BitXor: [ast.BitOr],
}  # fmt: skip


class Mutant:
    """One change: where, what, and the module with it."""

    def __init__(self, module: str, node: ast.AST, what: str, tree: ast.Module) -> None:
        self.module, self.line, self.what = module, getattr(node, "lineno", 0), what
        self.code: CodeType = compile(ast.fix_missing_locations(tree), f"policies/{module}.py", "exec")

    def __str__(self) -> str:
        return f"policies/{self.module}.py:{self.line}: {self.what}"


def mutants(module: str) -> Iterator[Mutant]:
    source = (ROOT / "policies" / f"{module}.py").read_text()
    for number in range(len(list(_places(ast.parse(source))))):
        tree = ast.parse(source)
        node, what, change = list(_places(tree))[number]
        change()
        yield Mutant(module, node, what, tree)


Place = tuple[ast.AST, str, Callable[[], None]]


def _places(tree: ast.Module) -> Iterator[Place]:
    # How a value is kept (frozen, with slots) and what a signature says are no part of a judgement.
    aside = {
        id(part) for node in ast.walk(tree) for one in getattr(node, "decorator_list", ()) for part in ast.walk(one)
    }
    for node in ast.walk(tree):
        if id(node) in aside:
            continue
        if isinstance(node, ast.Compare):
            yield from _compare(node)
        elif isinstance(node, ast.BoolOp | ast.BinOp | ast.AugAssign):
            yield from _operator(node)
        elif isinstance(node, ast.If | ast.IfExp):
            yield node, "condition turned round", _setter(node, "test", ast.UnaryOp(ast.Not(), node.test))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
            yield node, "negation dropped", _setter(node, "op", ast.UAdd() if isinstance(node.op, ast.Invert) else None)
        elif isinstance(node, ast.Constant) and type(node.value) in (bool, int):
            flipped = (not node.value) if isinstance(node.value, bool) else node.value + 1
            yield node, f"{node.value} → {flipped}", _setter(node, "value", flipped)
        elif isinstance(node, ast.comprehension) and node.ifs:
            yield node.ifs[0], "filter dropped", _setter(node, "ifs", node.ifs[1:])
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("all", "any", "min", "max")
        ):
            other = {"all": "any", "any": "all", "min": "max", "max": "min"}[node.func.id]
            yield node, f"{node.func.id} → {other}", _setter(node.func, "id", other)


def _compare(node: ast.Compare) -> Iterator[Place]:
    for place, operator in enumerate(node.ops):
        for other in SWAPS.get(type(operator), ()):
            ops = [*node.ops[:place], other(), *node.ops[place + 1 :]]
            yield node, f"{type(operator).__name__} → {other.__name__}", _setter(node, "ops", ops)


def _operator(node: ast.BoolOp | ast.BinOp | ast.AugAssign) -> Iterator[Place]:
    if isinstance(node, ast.BinOp) and _of_types(node):
        return
    for other in SWAPS.get(type(node.op), ()):
        yield node, f"{type(node.op).__name__} → {other.__name__}", _setter(node, "op", other())


def _of_types(node: ast.BinOp) -> bool:
    """`str | None` is a type: to break it is to break nothing that runs."""
    sides = (node.left, node.right)
    return isinstance(node.op, ast.BitOr) and any(
        (isinstance(one, ast.Constant) and one.value is None) or (isinstance(one, ast.Name) and one.id[:1].isupper())
        for one in sides
    )


def _setter(node: ast.AST, name: str, value: object) -> Callable[[], None]:
    def change() -> None:
        if value is None and isinstance(node, ast.UnaryOp):  # `not x` → `bool(x)`
            node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
        else:
            setattr(node, name, value)

    return change


# --- one mutant in one process ---


class _Loader(importlib.abc.Loader):
    def __init__(self, code: CodeType) -> None:
        self._code = code

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._name, self._code = f"policies.{mutant.module}", mutant.code

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, _Loader(self._code)) if name == self._name else None


def oracle() -> list[tuple[bool, set[str]]]:
    """Cedar's answers to the cases, in their order. Asked once, of the evaluator as it is."""
    from tests import cedar

    return [
        answer
        for agreement, labels, recipients, consents, now, pairs in _cases()
        for answer in cedar.judge(
            agreement.document,
            cedar.entities(labels, recipients),
            [(a, b, cedar.consents_stand(agreement, labels[a], recipients[b], consents, now)) for a, b in pairs],
            now,
        )
    ]


def _cases() -> Iterator[tuple[Any, ...]]:
    from tests.generated import TIMES, Maker

    make = Maker("mutants")
    for _ in range(ORACLE_AGREEMENTS):
        labels, recipients = [make.label() for _ in range(40)], [make.recipient() for _ in range(20)]
        pairs = [(make.chance.randrange(40), make.chance.randrange(20)) for _ in range(ORACLE_CASES)]
        consents = [make.consent() for _ in range(make.chance.randint(0, 6))]
        yield make.agreement(), labels, recipients, consents, make.one(TIMES[:-1]), pairs


def _disagrees(answers: list[tuple[bool, set[str]]]) -> bool:
    from policies.decide import decide

    told = iter(answers)
    for agreement, labels, recipients, consents, now, pairs in _cases():
        for label, recipient in pairs:
            allowed, reasons = next(told)
            decision = decide(agreement, labels[label], recipients[recipient], now=now, consents=consents)
            if decision.errors or allowed != (decision.effect == "permit"):
                return True
            if allowed and decision.rules != ("OWN",) and set(decision.rules) != reasons:
                return True
    return False


def _put_to_the_tests(mutant: Mutant, answers: list[tuple[bool, set[str]]]) -> bool:
    """In the mutant's own process: whether anything notices it."""
    sys.meta_path.insert(0, _Finder(mutant))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            if _disagrees(answers):
                return True
        except Exception:  # noqa: BLE001 - a mutant may fail in any way
            return True
        files = [str(ROOT / "tests" / "unit" / f"test_{name}.py") for name in UNIT]
        return pytest.main(["-x", "-q", "--assert=plain", *(f"-pno:{name}" for name in UNNEEDED), *files]) != 0


def _in_a_process(work: Callable[[], object]) -> tuple[int, int]:
    """Start it; gives its pid, and where it writes what it found."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE_SECONDS)
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(work(), pipe)
            pipe.flush()
        os._exit(0)
    os.close(writing)
    return pid, reading


def _answer(pid: int, reading: int, otherwise: object) -> Any:
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    return pickle.loads(data) if data else otherwise


@click.command()
@click.option("--only", type=click.Choice(EVALUATOR), multiple=True, help="Modules of the evaluator; default all.")
@click.option("--processes", default=2, show_default=True)
def main(only: tuple[str, ...], processes: int) -> None:
    """Count the mutants that the tests kill."""
    os.chdir(ROOT)
    begun = time.monotonic()
    answers = _answer(*_in_a_process(oracle), otherwise=None)
    unbroken = Mutant("decide", ast.Pass(), "nothing", ast.parse((ROOT / "policies" / "decide.py").read_text()))
    if answers is None or _answer(*_in_a_process(lambda: _put_to_the_tests(unbroken, answers)), otherwise=True):
        raise click.ClickException("the tests fail before anything is broken")
    waiting = [one for module in only or EVALUATOR for one in mutants(module)]
    survivors: list[Mutant] = []
    running: list[tuple[Mutant, int, int]] = []
    for mutant in [*waiting, *[None] * processes]:
        if running and (len(running) == processes or mutant is None):
            done, pid, reading = running.pop(0)
            if not _answer(pid, reading, otherwise=True):
                survivors.append(done)
                click.echo(str(done))
        if mutant is not None:
            running.append((mutant, *_in_a_process(lambda mutant=mutant: _put_to_the_tests(mutant, answers))))  # type: ignore[misc]
    for module in only or EVALUATOR:
        many = sum(one.module == module for one in waiting)
        left = sum(one.module == module for one in survivors)
        click.echo(f"{module:12} {many:4} mutants, {many - left:4} killed, {100 * (many - left) / many:5.1f} %")
    killed = len(waiting) - len(survivors)
    click.echo(f"all          {len(waiting):4} mutants, {killed:4} killed, {100 * killed / len(waiting):5.1f} %")
    click.echo(f"{time.monotonic() - begun:.0f} s")
    sys.exit(killed / len(waiting) < ENOUGH)


if __name__ == "__main__":
    main()
