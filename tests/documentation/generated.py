"""Parts of the pages that are generated from the code: `python3 dev.py docs` writes them, a test compares them.

A part stands between `<!-- generated: NAME ARGUMENT -->` and `<!-- end -->`.
"""

import ast
import asyncio
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from gateway.api.metrics import PREFIX
from gateway.cli.main import app
from gateway.service.config import Settings
from gateway.service.factory import create_service
from schemas.codes import CLOSE_RULES, ERROR_RULES, Retry
from tests.documentation.pages import PAGES, ROOT
from tests.support.settings import settings_for

_PART: Final = re.compile(r"(<!-- generated: (\S+)(?: ([^>\n]+))? -->\n).*?(<!-- end -->)", re.DOTALL)

_WIDTH: Final = 100

RETRIES: Final = {
    Retry.NEVER: "no",
    Retry.BACKOFF: "yes, with backoff",
    Retry.SLOT: "yes, at its `reconnect_after_ms`, or with backoff where none came",
    Retry.FRESH_TOKEN: "only with a fresh token",
    Retry.WITHOUT_CURSOR: "yes, without `since`",
}


def settings(first: str) -> Iterator[str]:
    """The settings from `first` to the one before the next table's, in the order of the class."""
    names = list(Settings.model_fields)
    starts = [found[3] for page in PAGES for found in _PART.finditer(page.read_text()) if found[2] == "settings"]
    begin = names.index(first)
    later = [names.index(name) for name in starts if names.index(name) > begin]
    yield from ("| setting | default | meaning |", "| --- | --- | --- |")
    for name in names[begin : min(later, default=len(names))]:
        yield _setting(name, Settings.model_fields[name])


def _setting(name: str, field: FieldInfo) -> str:
    value = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    default = "" if value in (None, "") else f"`{value}`"
    description = (field.description or "").replace("<", "&lt;").replace("|", "&#124;")
    return f"| `GATEWAY_{name.upper()}` | {default} | {description} |"


def errors(_: str) -> Iterator[str]:
    yield from ("| code | HTTP | retry? | what to do |", "| --- | --- | --- | --- |")
    for code, rule in ERROR_RULES.items():
        yield f"| `{code}` | {', '.join(map(str, rule.statuses))} | {RETRIES[rule.retry]} | {rule.remedy} |"


def closes(_: str) -> Iterator[str]:
    yield from ("| code | when | reconnect? |", "| --- | --- | --- |")
    for code, rule in CLOSE_RULES.items():
        yield f"| {int(code)} | {rule.when} | {RETRIES[rule.retry]}{rule.note and f'; {rule.note}'} |"


def usage(command: str) -> Iterator[str]:
    """The output of `COMMAND --help`."""
    words = command.split()[1:]
    shown = CliRunner().invoke(app, [*words, "--help"], prog_name="gateway", env={"COLUMNS": "80"}, color=False)
    yield from ("```text", shown.output.strip(), "```")


def tree(folder: str) -> Iterator[str]:
    """The output of `ls -R FOLDER` in a fresh clone."""
    yield "```text"
    folders = [path for path in sorted((ROOT / folder).rglob("*")) if path.is_dir() and path.name != "__pycache__"]
    for number, path in enumerate([ROOT / folder, *folders]):
        names = sorted(child.name for child in path.iterdir() if child.name != "__pycache__")
        yield from ([""] if number else []) + [f"{path.relative_to(ROOT)}:"]
        yield from textwrap.wrap("  ".join(names), _WIDTH, break_long_words=False, break_on_hyphens=False)
    yield "```"


def signatures(names: str) -> Iterator[str]:
    """Functions and classes as they are written: `MODULE.NAME`, and `.METHOD`s of the one before."""
    lines: list[str] = []
    owner = ""
    for name in names.split():
        owner = owner if name.startswith(".") else name
        lines += _signature(f"{owner}{name}" if name.startswith(".") else name)
    yield from ("```text", *lines, "```")


def _signature(path: str) -> list[str]:
    """`name(parameters) -> result`, a parameter a line where it is long."""
    found: Any = import_module(path.partition(".")[0])
    for part in path.split(".")[1:]:
        found = getattr(found, part) if hasattr(found, part) else import_module(f"{found.__name__}.{part}")
    tree = ast.parse(textwrap.dedent(inspect.getsource(found))).body[0]
    name = path.rpartition(".")[2]
    if isinstance(tree, ast.ClassDef):
        parameters, result = _of_class(tree), ""
    else:
        assert isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef)
        parameters = _parameters(tree.args)
        result = f" -> {ast.unparse(tree.returns)}" if tree.returns else ""
        if "asynccontextmanager" in map(ast.unparse, tree.decorator_list):
            name, result = f"async with {name}", ""
        elif isinstance(tree, ast.AsyncFunctionDef):
            name = f"await {name}"
    short = f"{name}({', '.join(parameters)}){result}"
    if len(short) <= _WIDTH:
        return [short]
    return [f"{name}(", *(f"    {parameter}," for parameter in parameters), f"){result}"]


def _of_class(tree: ast.ClassDef) -> list[str]:
    """The parameters of a constructor, or the fields of a data class."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return _parameters(node.args)
    fields = [ast.unparse(node) for node in tree.body if isinstance(node, ast.AnnAssign)]
    return [re.sub(r"= field\(.*", "= ...", one) for one in fields]


def _parameters(arguments: ast.arguments) -> list[str]:
    found = [ast.arg("*") if arguments.kwonlyargs and not arguments.vararg else None]
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    pairs: list[tuple[ast.arg | None, ast.expr | None]] = list(zip(positional, defaults, strict=True))
    pairs += [(one, None) for one in found]
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    if (further := arguments.kwarg) is not None:
        pairs.append((ast.arg(f"**{further.arg}", further.annotation), None))
    return [
        ast.unparse(one) + (f" = {ast.unparse(default)}" if default is not None else "")
        for one, default in pairs
        if one is not None and one.arg != "self"
    ]


def metrics(_: str) -> Iterator[str]:
    """The metrics of a gateway, in the order of a scrape."""
    yield from ("| metric | kind | labels | meaning |", "| --- | --- | --- | --- |")
    collected = asyncio.run(create_service(settings_for()).gateway.metrics.collect())
    for metric in (metric for metric, _ in collected):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{PREFIX}{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


GENERATORS: Final[dict[str, Callable[[str], Iterator[str]]]] = {
    "settings": settings,
    "errors": errors,
    "closes": closes,
    "usage": usage,
    "signatures": signatures,
    "tree": tree,
    "metrics": metrics,
}


def refreshed(page: Path) -> str:
    """The text of the page with its generated parts as the code has them now."""

    def part(found: re.Match[str]) -> str:
        lines = GENERATORS[found[2]](found[3] or "")
        return found[1] + "\n".join(lines).rstrip() + "\n" + found[4]

    return _PART.sub(part, page.read_text())


def main() -> None:
    for page in PAGES:
        text = refreshed(page)
        if text != page.read_text():
            page.write_text(text)
            print(f"{page.name}: written", file=sys.stderr)


if __name__ == "__main__":
    main()
