"""The language of the code and the documents: standard terms, one name for one class, no riddles."""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.documentation.pages import PAGES, ROOT, name_of

PACKAGES: Final = ("gateway", "auth", "schemas", "benchmarks", "clients/python", "examples", "tests")

_OPENINGS: Final = re.compile(
    r"(?:Who|Whoever|Whom|Whose|What|Whatever|Nobody|Somebody|Anybody|Everybody|Those|Nothing|It|That|Of|As|And|Though)\b"
)
"""The first words of sentences without a noun. A docstring begins with what the thing is or does."""

_WORDS: Final = {
    r"(?i)\bwho(?:m)?ever\b": "name the actor",
    r"(?i)\b(?:no|some|any)body\b": "name the actor: a client, a node, an administrator",
    r"\b[Tt]old\b(?! apart)": "notified, reported, called, published",
    r"(?i)\banew\b": "again",
    r"(?i)\bfor ever\b": "without end, or the bound that is missing",
    r"(?i)\blet(?:s|ting)? go of\b": "release, drop, trim",
    r"(?i)\bcomes? round\b": "the interval or the turn",
    r"(?<![Tt]here )\b(?:is|are) none\b": "is not one; or None",
    r"(?i)\bin vain\b": "without a result",
}
"""Words that stand for an actor, an action or a bound without naming it, and what to write instead."""


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (path for path in sorted((ROOT / package).rglob("*.py")) if ".cache" not in path.parts)
    yield ROOT / "dev.py"


@cache
def docstrings(path: Path) -> list[tuple[int, str]]:
    """The docstrings of a module, those of constants and attributes included, by line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            value = getattr(statement, "value", None)
            if isinstance(statement, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                found.append((statement.lineno, value.value))
    return found


@cache
def comments(path: Path) -> list[tuple[int, str]]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]


_SCRIPTS: Final = (
    "clients/js/*.mjs",
    "clients/js/src/*",
    "clients/js/tests/**/*",
    "gateway/web/**/*",
    "examples/**/*",
    "tests/**/*",
)
_BUILT: Final = ROOT / "gateway/web/js/client.js"
_QUOTED: Final = r"""(?:'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)"""
_JAVASCRIPT: Final = re.compile(
    rf"(?P<comment>//[^\n]*|/\*.*?\*/)|\b(?:test|describe)\(\s*(?P<title>{_QUOTED})|{_QUOTED}|(?P<name>[A-Za-z_$][\w$]*)",
    re.DOTALL,
)
"""The parts of a script that have words. Any identifier counts as a name: few are declared in one place."""


def scripts() -> list[Path]:
    """JavaScript and TypeScript, without what is built from it."""
    found = {path for pattern in _SCRIPTS for path in ROOT.glob(pattern)}
    return sorted(path for path in found - {_BUILT} if path.suffix in (".js", ".mjs", ".ts", ".tsx"))


@cache
def parts_of(path: Path) -> list[tuple[str, int, str]]:
    """The comments, titles of tests, and names of a script, each with its kind and line."""
    text = path.read_text()
    return [
        (match.lastgroup, text.count("\n", 0, match.start()) + 1, match[match.lastgroup])
        for match in _JAVASCRIPT.finditer(text)
        if match.lastgroup
    ]


def test_docstrings_open_with_a_noun_or_a_verb() -> None:
    """The first line says what the thing is or does, with the standard term; a relative clause has its noun."""
    wrong = [
        f"{name_of(path)}:{line}: {text.splitlines()[0]}"
        for path in modules()
        for line, text in docstrings(path)
        if _OPENINGS.match(text)
    ]
    assert wrong == []


@pytest.mark.parametrize("word", _WORDS, ids=list(_WORDS.values()))
def test_prose_names_actors_and_actions(word: str) -> None:
    """In docstrings, comments, titles of JavaScript tests, and documents."""
    wrong = [
        f"{name_of(path)}:{line}: {' '.join(text.split())[:100]}"
        for path in modules()
        for line, text in (*docstrings(path), *comments(path))
        if re.search(word, text)
    ]
    wrong += [
        f"{name_of(path)}:{line}: {' '.join(text.split())[:100]}"
        for path in scripts()
        for kind, line, text in parts_of(path)
        if kind != "name" and re.search(word, text)
    ]
    for page in (page for page in PAGES if ROOT / "clients" not in page.parents):
        lines = enumerate(page.read_text().splitlines(), 1)
        wrong += [f"{name_of(page)}:{number}: {line[:100]}" for number, line in lines if re.search(word, line)]
    assert wrong == []


_NAMES: Final = re.compile(r"(?:nobodys?|somebody|anybody|whoever|told|anew|heard)")
"""The words of `_WORDS` that names were made of."""


def words_of(name: str) -> list[str]:
    """The words of a name, whether it is in snake case or camel case."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def names_of(path: Path) -> Iterator[tuple[int, str]]:
    """The names that a Python module gives: of functions, classes, arguments, variables and attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def test_names_have_none_of_these_words() -> None:
    """In Python and in JavaScript, tests included."""
    named = [(path, *each) for path in modules() for each in names_of(path)]
    named += [(path, line, text) for path in scripts() for kind, line, text in parts_of(path) if kind == "name"]
    wrong = [
        f"{name_of(path)}:{line}: {name}"
        for path, line, name in named
        if re.match("test_(?:who|what)", name) or any(_NAMES.fullmatch(word) for word in words_of(name))
    ]
    assert wrong == []


def test_class_names_are_unique() -> None:
    """A name that is searched for leads to one class."""
    names = Counter(
        node.name
        for path in modules()
        if path.relative_to(ROOT).parts[0] not in ("benchmarks", "clients", "examples", "tests")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
