"""Parts of the pages that are generated from the code: `python3 dev.py docs` writes them, a test compares them.

A part stands between `<!-- generated: NAME ARGUMENT -->` and `<!-- end -->`.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.service.config import Settings
from schemas.codes import CLOSE_RULES, ERROR_RULES, Retry
from tests.documentation.pages import PAGES

_PART: Final = re.compile(r"(<!-- generated: (\S+)(?: ([^>\n]+))? -->\n).*?(<!-- end -->)", re.DOTALL)

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
    default = "" if field.default in (None, ()) else f"`{field.default}`"
    return f"| `GATEWAY_{name.upper()}` | {default} | {field.description} |"


def errors(_: str) -> Iterator[str]:
    yield from ("| code | HTTP | retry? | what to do |", "| --- | --- | --- | --- |")
    for code, rule in ERROR_RULES.items():
        yield f"| `{code}` | {', '.join(map(str, rule.statuses))} | {RETRIES[rule.retry]} | {rule.remedy} |"


def closes(_: str) -> Iterator[str]:
    yield from ("| code | when | reconnect? |", "| --- | --- | --- |")
    for code, rule in CLOSE_RULES.items():
        yield f"| {int(code)} | {rule.when} | {RETRIES[rule.retry]}{rule.note and f'; {rule.note}'} |"


def usage(command: str) -> Iterator[str]:
    """What `COMMAND --help` prints."""
    words = command.split()[1:]
    shown = CliRunner().invoke(app, [*words, "--help"], prog_name="gateway", env={"COLUMNS": "80"}, color=False)
    yield from ("```text", shown.output.strip(), "```")


GENERATORS: Final[dict[str, Callable[[str], Iterator[str]]]] = {
    "settings": settings,
    "errors": errors,
    "closes": closes,
    "usage": usage,
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
