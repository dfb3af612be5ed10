"""The JavaScript of the dashboard and of the client has its own tests, for Node's built-in runner; here they join the
others. They use the client as it is committed, so they need no npm."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.nodejs import PACKAGE
from tests.support.pauses import PATIENCE

HERE = Path(__file__).parent
SCRIPTS = sorted([*HERE.glob("*.test.mjs"), *(PACKAGE / "tests").glob("*.test.mjs")])
NODE = shutil.which("node")


def _runs_tests(node: str) -> bool:
    """Node 20.4 is the first with mocked timers."""
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major, _, rest = version.strip().removeprefix("v").partition(".")
    return major.isdigit() and (int(major), int(rest.partition(".")[0] or 0)) >= (20, 4)


@pytest.mark.skipif(NODE is None or not _runs_tests(NODE), reason="needs Node 20.4 or later")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_javascript(script: Path) -> None:
    """Every test of the script passes."""
    assert NODE is not None
    done = subprocess.run(
        [NODE, "--test", str(script)], capture_output=True, text=True, timeout=4 * PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
