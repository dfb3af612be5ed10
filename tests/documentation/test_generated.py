"""Generated parts of the pages are what the code says."""

from pathlib import Path

import pytest

from tests.documentation.generated import refreshed
from tests.documentation.pages import PAGES, name_of


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_generated_parts_are_as_the_code_has_them(page: Path) -> None:
    """`python3 dev.py docs` writes them again."""
    assert page.read_text() == refreshed(page), "run: python3 dev.py docs"
