"""The npm package of the JavaScript client: the committed file is what its sources build, and it is fit to publish."""

import gzip
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway.core.version import VERSION
from schemas import commands, events, messages
from tests.support.nodejs import NODE, PACKAGE, needs_npm
from tests.support.pauses import PATIENCE

pytestmark = needs_npm


def run(folder: Path, *command: str | Path) -> str:
    """The output of a command in this folder; fails where the command does."""
    # Of npm's scripts `prepare` would download the tools and build again.
    env = {**os.environ, "npm_config_ignore_scripts": "true"}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=4 * PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(name: str) -> Path:
    return PACKAGE / "node_modules" / ".bin" / name


def test_the_committed_file_is_what_the_sources_build() -> None:
    """gateway/web/js/client.js; `npm run build` writes it."""
    run(PACKAGE, NODE, "build.mjs", "--check")


def test_the_report_of_its_api_is_that_of_the_sources(npm_package: Path) -> None:
    """api.md; `npm run build` writes it. A difference is a change for users: for the changelog, or not meant."""
    assert run(PACKAGE, NODE, "api.mjs", npm_package / "dist") == (PACKAGE / "api.md").read_text()


def test_its_version_is_that_of_the_gateway() -> None:
    for name in ("package.json", "package-lock.json"):
        assert json.loads((PACKAGE / name).read_text())["version"] == VERSION


def test_the_lock_names_no_registry() -> None:
    """A registry in the lock would bind it to one machine."""
    lock = json.loads((PACKAGE / "package-lock.json").read_text())
    assert not [name for name, each in lock["packages"].items() if "resolved" in each]
    manifest = json.loads((PACKAGE / "package.json").read_text())
    assert "dependencies" not in manifest
    assert [v for v in manifest["devDependencies"].values() if not re.fullmatch(r"[\d.]+", v)] == []


def test_it_is_fit_to_publish(npm_package: Path) -> None:
    """By publint, and by attw for every way to resolve its types."""
    run(npm_package, tool("publint"), "--strict", ".")
    run(npm_package, tool("attw"), "--pack", ".", "--no-definitely-typed")


def test_its_types_refuse_what_is_wrong(npm_package: Path) -> None:
    """Events by a map, snapshots by their loader, options."""
    run(npm_package, tool("tsc"), "-p", "tests")


def test_no_shortened_name_is_public() -> None:
    """The build shortens some names of properties: none of the API, of a frame, or of a command."""
    (names,) = re.findall(r"const internal = /\^\(([\w|]+)\)\$/", (PACKAGE / "build.mjs").read_text())
    shortened = set(names.split("|"))
    api = set(re.findall(r"^ +(?:readonly |get )?(\w+)(?:\?:|:|\(|<)", (PACKAGE / "api.md").read_text(), re.MULTILINE))
    wire = {
        field
        for module in (commands, events, messages)
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, BaseModel)
        for field in model.model_fields
    }
    assert {"onEvent", "publish", "state"} <= api
    assert {"cursor", "recovered", "rooms"} <= wire
    assert shortened & (api | wire) == set()


def test_the_published_build_passes_the_unit_tests(npm_package: Path) -> None:
    """The client's tests, against its shortened names; and those of the React hooks, in StrictMode."""
    run(npm_package, NODE, "--test", "tests")


LIMITS = {"index": 6_000, "index sse": 7_700, "index share": 7_850, "index sse share": 9_500, "react": 1_100}


@pytest.mark.parametrize("entries", LIMITS)
def test_it_is_small(npm_package: Path, entries: str) -> None:
    """Minified and compressed, in bytes."""
    source = npm_package / f"{entries.replace(' ', '-')}-size.js"
    source.write_text("".join(f"export * from './dist/{entry}.js';\n" for entry in entries.split()))
    options = ["--bundle", "--minify", "--format=esm", "--target=es2022", "--external:react"]
    minified = run(npm_package, tool("esbuild"), source.name, *options)
    size = len(gzip.compress(minified.encode(), 9))
    print(f"{entries}: {size} bytes")
    assert size <= LIMITS[entries]
