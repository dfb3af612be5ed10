"""A shell in which the pages' commands run."""

from pathlib import Path

import pytest

from tests.documentation.shell import Shell
from tests.support.inprocess import RunningGateway


@pytest.fixture
def shell(gate: RunningGateway, tmp_path: Path) -> Shell:
    """In an empty folder, for the example to be copied to."""
    return Shell(gate, tmp_path)
