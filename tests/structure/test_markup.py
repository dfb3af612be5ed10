"""The pages insert text as text: no script makes markup of a string, nor code."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

SCRIPTS = sorted(Path(str(files("gateway") / "web" / "js")).rglob("*.js"))
_MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|setHTMLUnsafe|document\.write|createContextualFragment|DOMParser|srcdoc"
    r"|\beval\(|new Function\b|javascript:|\.on\w+ *= *['\"`]|setAttribute\(['\"]on"
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_string_becomes_markup(script: Path) -> None:
    found = [line for line in script.read_text().splitlines() if _MARKUP.search(line)]
    assert found == []
