"""No file of the repository refers to a document that is not in it."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.documentation.pages import PAGES, ROOT, name_of

_PRIVATE: Final = {
    "a numbered section of the protocol, which has none": r"\bPROTOCOL\b(?! *=)",
    "a design document": r"\b(?:RE)?DESIGN\b",
    "a ticket": r"(?i)\bissue #?\d",
    "the project's beginning": r"\b[Tt]he seed\b|\bseed's\b",
}
"""References to things that readers cannot look up, as patterns."""

_PAGE: Final = re.compile(r"(?<![\w/.:*-])([\w./-]*\w\.md)\b(?!\w)")
_THIS: Final = Path(__file__)


@cache
def texts() -> dict[Path, str]:
    """The text files of the repository but this one, without what programs have written."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and path != _THIS and path.suffix not in (".lock", ".svg"):
            found[path] = path.read_text(errors="replace")
    return found


def places(pattern: str) -> Iterator[str]:
    """Where a pattern is found, with the line."""
    for path, text in texts().items():
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(pattern, line):
                yield f"{name_of(path)}:{number}: {line.strip()[:120]}"


@pytest.mark.parametrize("pattern", _PRIVATE.values(), ids=list(_PRIVATE))
def test_nothing_private_is_referred_to(pattern: str) -> None:
    """Name the page under docs/, the RFC or the reason instead."""
    assert list(places(pattern)) == []


def test_pages_that_are_named_exist() -> None:
    """In code, tests and documents: by a path from the root or from beside the file, or by the name alone."""
    names = {path.name for path in texts()}

    def exists(named: str, file: Path) -> bool:
        return named in names or any((folder / named).exists() for folder in (ROOT, file.parent))

    missing = [
        f"{name_of(path)} names {named}"
        for path, text in texts().items()
        for named in set(_PAGE.findall(text))
        if not exists(named, path)
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_pages_name_exist(page: Path) -> None:
    """Source files, tests and folders, by their path from the root."""
    folders = "auth|benchmarks|docs|examples|gateway|schemas|tests"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []
