"""The documentation's pages: their fenced blocks, headings and links.

A comment before a fence says how the block is tested:

    <!-- example: NAME -->     a test runs it, as `example("NAME")`; blocks of one name are one file, in order
    <!-- not run: REASON -->   nothing runs it

Blocks without a comment are of kinds that are validated where they stand (`tests/documentation/test_pages.py`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PATTERNS: Final = ("*.md", "docs/*.md", "clients/*/README.md", "examples/*.md", "examples/*/*.md")
PAGES: Final = [path for pattern in PATTERNS for path in sorted(ROOT.glob(pattern))]

_FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_COMMENT: Final = re.compile(r"<!-- (example|not run): (.+?) -->\n *$")
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it stands, its kind (the word after the fence), and its code without the indentation."""

    page: str
    line: int
    kind: str
    code: str
    example: str | None
    not_run: str | None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def blocks() -> tuple[Block, ...]:
    """Every fenced block of every page."""
    return tuple(block for page in PAGES for block in _blocks_of(page))


def _blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _FENCE.finditer(text):
        comment = _COMMENT.search(text, 0, found.start())
        marks = {comment[1]: comment[2]} if comment else {}
        line = text.count("\n", 0, found.start()) + 1
        code = dedent(found[3]).strip()
        yield Block(name_of(page), line, found[2], code, marks.get("example"), marks.get("not run"))


def example(name: str) -> str:
    """The code of the example of this name; of a file that is shown in parts, all of them."""
    parts = [block for block in blocks() if block.example == name]
    assert parts, f"no page has the example {name}"
    assert len({(block.page, block.kind) for block in parts}) == 1, f"{name} is on more than one page"
    return "\n\n".join(block.code for block in parts)


def prose_of(page: Path) -> str:
    """The text outside the fenced blocks."""
    return _FENCE.sub("", page.read_text())


def anchors_of(page: Path) -> set[str]:
    """The fragments that GitHub gives to the headings."""
    anchors: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in anchors:
            number += 1
        anchors.add(anchor)
    return anchors


def links_of(page: Path) -> list[str]:
    """The targets of all links and pictures."""
    return _LINK.findall(prose_of(page))
