"""The order of the tests themselves: what they share is in support, and they test by the public face."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]

MAX_PRIVATE_LINES = 15
"""Where a test needs more of the product than its public face, the product lacks a seam."""

OTHERS = {"_set_running_loop", "_log_destroy_pending", "_wait_tasks_to_complete"}
"""Private names of asyncio and uvicorn."""

PRIVATE = re.compile(r"(?:[\w.]+\.)?_[A-Za-z]\w*")


@cache
def sources() -> dict[Path, ast.Module]:
    return {path.relative_to(TESTS): ast.parse(path.read_text()) for path in sorted(TESTS.rglob("*.py"))}


def test_the_tree_says_what_each_test_is() -> None:
    """A folder for each kind, with a docstring that names it; nothing beside them but what all share."""
    assert {path.name for path in TESTS.glob("*.py")} == {"__init__.py", "conftest.py"}
    folders = [path for path in TESTS.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert [folder.name for folder in folders if not docstring(folder / "__init__.py")] == []


def docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text())) if path.is_file() else None


def test_the_unit_tests_mirror_the_source() -> None:
    """Each stands in the folder of its subject, and its name begins with that of a module there."""
    wrong = []
    for path in (TESTS / "unit").rglob("test_*.py"):
        folder = path.parent.relative_to(TESTS / "unit")
        source = next(
            (root / folder for root in (TESTS.parent, TESTS.parent / "gateway") if (root / folder).is_dir()), None
        )
        modules = [module.stem for module in source.rglob("*.[pj][ys]")] if source else []
        if not path.stem.removeprefix("test_").startswith(tuple(modules)):
            wrong.append(str(path.relative_to(TESTS)))
    assert wrong == []


def test_no_test_module_imports_from_another() -> None:
    """A helper of several modules belongs to their folder, or to `tests.support`."""
    wrong = []
    for path, tree in sources().items():
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            wrong += [f"{path} imports {name}" for name in names if re.match(r"tests\.(.*\.)?test_", name)]
    assert wrong == []


def test_support_is_made_of_nothing_but_itself() -> None:
    """No helper for all tests needs those of one folder."""
    for path, tree in sources().items():
        if path.parts[0] == "support":
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests."):
                    assert node.module.startswith("tests.support"), path


def private_lines(tree: ast.Module) -> Iterator[int]:
    """Lines that use private names of what is not the test's own, be it in a string, as for a patch."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr) and node.attr not in OTHERS:
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("tests"):
            if any(re.match("_[A-Za-z]", alias.name) for alias in node.names):
                yield node.lineno
        elif isinstance(node, ast.Call | ast.Tuple):
            words = node.args[:2] if isinstance(node, ast.Call) and is_patch(node.func) else getattr(node, "elts", [])
            for word in words[:2]:
                if isinstance(word, ast.Constant) and isinstance(word.value, str) and PRIVATE.fullmatch(word.value):
                    yield node.lineno


def is_patch(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("setattr", "delattr", "getattr", "patch", "object")


def test_few_lines_use_what_is_private_to_the_product() -> None:
    """The exceptions count the work of a data structure, above all."""
    found = [f"{path}:{line}" for path, tree in sources().items() for line in sorted({*private_lines(tree)})]
    assert len(found) <= MAX_PRIVATE_LINES, found


WAITING = {
    **dict.fromkeys(("block", "closed", "ended", "gone", "head", "rest", "timeout"), 1),
    **dict.fromkeys(("news", "next", "until", "wait_for"), 2),
    "until_equal": 3,
}
"""Functions that wait for what the machine does, and which of their arguments is for how many seconds."""


def impatient_lines(tree: ast.Module) -> Iterator[int]:
    """Lines that wait for between 1 and 20 seconds, in tests that are not run apart for their limits in time."""
    for item in tree.body:
        marks = [ast.unparse(mark) for mark in getattr(item, "decorator_list", ())]
        if not {"pytest.mark.timing", "pytest.mark.chaos"}.intersection(marks):
            calls = [node for node in ast.walk(item) if isinstance(node, ast.Call)]
            yield from (call.lineno for call in calls if any(1 < limit < 20 for limit in limits(call)))


def limits(call: ast.Call) -> Iterator[float]:
    """The seconds that a call waits, where a number says so."""
    place = WAITING.get(getattr(call.func, "attr", "") or getattr(call.func, "id", ""))
    if place is not None:
        given = [word.value for word in call.keywords if word.arg in ("open_timeout", "seconds", "timeout")]
        for value in (*call.args[place - 1 : place], *given):
            if isinstance(value, ast.Constant) and isinstance(value.value, float | int):
                yield value.value


def test_no_limit_on_the_machine_is_short() -> None:
    """The patience of the tests is one: a machine that stands still for some seconds fails none."""
    found = []
    for path, tree in sources().items():
        timed = any(isinstance(item, ast.Assign) and "mark.timing" in ast.unparse(item) for item in tree.body)
        if path.parts[0] != "unit" and not timed:
            found += [f"{path}:{line}" for line in impatient_lines(tree)]
    assert found == []


TIMEOUT = re.compile(r"pytest\.mark\.timeout\((\d+)\)")


def test_no_test_has_less_time_than_the_others() -> None:
    """The limit is for tests that hang, not for a slow machine."""
    usual = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["timeout"]
    found = []
    for path, tree in sources().items():
        for item in tree.body:
            marks = " ".join(ast.unparse(mark) for mark in getattr(item, "decorator_list", ()))
            if "mark.chaos" not in marks:
                found += [f"{path}: {item.name}" for limit in TIMEOUT.findall(marks) if int(limit) < usual]  # type: ignore[attr-defined]
    assert found == []


CLOCKS = re.compile(r"\btime\.monotonic\(\)|\bloop(\(\))?\.time\(\)")


def test_no_limit_counts_a_pause_of_the_machine() -> None:
    """Whether something took less than a limit is said by `tests.support.pauses.now`."""
    found = []
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare):
                terms = [node.test.left, *node.test.comparators]
                below = (ast.Lt, ast.LtE)
                limited = [term for term, op in zip(terms, node.test.ops, strict=False) if isinstance(op, below)]
                if any(isinstance(term, ast.BinOp) and CLOCKS.search(ast.unparse(term)) for term in limited):
                    found.append(f"{path}:{node.lineno}")
    assert found == []
