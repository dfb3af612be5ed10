"""docs/python-api.md names everything that an application may import."""

import re
from types import ModuleType

import pytest

import gateway
import gateway.api
import gateway.testing
from tests.documentation.pages import ROOT

PAGE = (ROOT / "docs/python-api.md").read_text()


@pytest.mark.parametrize("module", [gateway, gateway.api], ids=lambda module: module.__name__)
def test_each_public_name_has_a_heading(module: ModuleType) -> None:
    """The names of `__all__`."""
    headings = {*re.findall(r"^### (\w+)$", PAGE, re.MULTILINE), "__version__"}
    assert set(module.__all__) <= headings


def test_each_name_for_tests_is_in_the_table() -> None:
    """The names of `gateway.testing`."""
    table = PAGE.partition("gateway.testing")[2]
    assert set(gateway.testing.__all__) == set(re.findall(r"`(\w+)`", table.partition("## Version")[0]))
