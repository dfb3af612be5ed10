"""Node.js, for tests that run JavaScript."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

NODE: Final = shutil.which("node") or ""
"""Its path, empty where there is none."""


def _has_websocket() -> bool:
    if not NODE:
        return False
    command = [NODE, "--experimental-websocket", "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_websocket: Final = pytest.mark.skipif(not _has_websocket(), reason="needs a Node that has WebSocket")


PACKAGE: Final = Path(__file__).parents[2] / "clients" / "js"
"""The JavaScript client."""


def _has_tools() -> bool:
    """Whether `dev.py` has installed what the lock of the package names."""
    stamp = PACKAGE / "node_modules" / "dev.stamp"
    lock = (PACKAGE / "package-lock.json").read_bytes()
    return stamp.is_file() and stamp.read_text() == hashlib.sha256(lock).hexdigest()


needs_npm: Final = pytest.mark.skipif(
    not _has_tools() and os.environ.get("TESTS_REQUIRE_NPM") != "1",
    reason="needs the tools of clients/js: install npm, then run `python3 dev.py setup`",
)
"""For tests with what `npm ci` installs. Where TESTS_REQUIRE_NPM is 1 they run, and fail, without it."""


def built_package(root: Path) -> Path:
    """A copy of clients/js below `root` as npm would publish it, with its tests and tools. The tests find the published
    build where they expect client.js. It is built once, for all processes that name the same `root`."""
    folder = root / "clients" / "js"
    page = root / "gateway" / "web" / "js" / "client.js"
    root.mkdir(exist_ok=True)
    with open(root / "lock", "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if page.exists():
            return folder
        folder.mkdir(parents=True)
        done = subprocess.run(
            [NODE, "build.mjs", "--dist", folder / "dist"], cwd=PACKAGE, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for name in ("package.json", "README.md", "tsconfig.json"):
            shutil.copy(PACKAGE / name, folder)
        shutil.copytree(PACKAGE / "tests", folder / "tests")
        (folder / "node_modules").symlink_to(PACKAGE / "node_modules")
        page.parent.mkdir(parents=True)
        entries = ("index", "share", "sse", "tracing")
        page.write_text("".join(f"export * from '../../../clients/js/dist/{entry}.js';\n" for entry in entries))
    return folder
