"""The types of the examples in TypeScript."""

import subprocess
from pathlib import Path

import pytest

from tests.examples.programs import copy_example
from tests.support.nodejs import PACKAGE, needs_npm

pytestmark = needs_npm


@pytest.mark.parametrize("name", ["dashboard", "server-rendering"])
def test_types(name: str, npm_package: Path, tmp_path: Path) -> None:
    """The check of `npm run types`."""
    copy_example(name, tmp_path, npm_package)
    command = [PACKAGE / "node_modules/.bin/tsc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
