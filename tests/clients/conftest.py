"""The npm package of the JavaScript client, built once for the tests of a worker."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.nodejs import NODE, PACKAGE


@pytest.fixture(scope="session")
def npm_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of clients/js as npm would publish it, with its tests and tools. The tests find the published build where
    they expect client.js."""
    root = tmp_path_factory.mktemp("npm")
    folder = root / "clients" / "js"
    folder.mkdir(parents=True)
    done = subprocess.run(
        [NODE, "build.mjs", "--dist", folder / "dist"], cwd=PACKAGE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("package.json", "README.md", "tsconfig.json"):
        shutil.copy(PACKAGE / name, folder)
    shutil.copytree(PACKAGE / "tests", folder / "tests")
    (folder / "node_modules").symlink_to(PACKAGE / "node_modules")
    page = root / "gateway" / "web" / "js" / "client.js"
    page.parent.mkdir(parents=True)
    entries = (f"export * from '../../../clients/js/dist/{entry}.js';\n" for entry in ("index", "sse"))
    page.write_text("".join(entries))
    return folder
