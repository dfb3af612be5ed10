"""The npm package of the JavaScript client: what is committed is what its sources build, and it is fit to publish."""

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.nodejs import NODE, PACKAGE, needs_npm

pytestmark = needs_npm


def run(*command: str | Path, timeout: float = 50) -> str:
    """In the package's folder; its output. Fails where the command does."""
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(name: str) -> Path:
    return PACKAGE / "node_modules" / ".bin" / name


def test_the_committed_file_is_what_the_sources_build() -> None:
    """gateway/web/js/client.js; `npm run build` writes it."""
    run(NODE, "build.mjs", "--check")


def test_the_lock_names_no_registry() -> None:
    """A registry in the lock would bind it to one machine."""
    lock = json.loads((PACKAGE / "package-lock.json").read_text())
    assert not [name for name, each in lock["packages"].items() if "resolved" in each]
    manifest = json.loads((PACKAGE / "package.json").read_text())
    assert "dependencies" not in manifest
    assert [v for v in manifest["devDependencies"].values() if not re.fullmatch(r"[\d.]+", v)] == []


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as npm would publish it."""
    folder = tmp_path_factory.mktemp("package")
    run(NODE, "build.mjs", "--dist", folder / "dist")
    for name in ("package.json", "README.md"):
        (folder / name).write_bytes((PACKAGE / name).read_bytes())
    return folder


def test_it_is_fit_to_publish(dist: Path) -> None:
    """By publint, and by attw for every way to resolve its types."""
    run(tool("publint"), "--strict", dist)
    run(tool("attw"), "--pack", dist, "--no-definitely-typed")


LIMITS = {"index": 6_000}


@pytest.mark.parametrize("entry", LIMITS)
def test_it_is_small(dist: Path, entry: str) -> None:
    """Minified and compressed, in bytes."""
    options = ["--bundle", "--minify", "--format=esm", "--target=es2022"]
    minified = run(tool("esbuild"), dist / "dist" / f"{entry}.js", *options)
    size = len(gzip.compress(minified.encode(), 9))
    print(f"{entry}: {size} bytes")
    assert size <= LIMITS[entry]
