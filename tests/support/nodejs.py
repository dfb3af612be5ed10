"""Node.js, for tests that run JavaScript."""

import shutil
import subprocess
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
