"""Prometheus' own programs, where they are installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def needs(program: str) -> pytest.MarkDecorator:
    """A mark for tests of a program of Debian's package `prometheus`; in CI it has to be there."""
    missing = shutil.which(program) is None and "TESTS_REQUIRE_PROMETHEUS" not in os.environ
    return pytest.mark.skipif(missing, reason=f"needs {program}: apt-get install prometheus")


def promtool(*arguments: str, cwd: Path) -> str:
    """The output of `promtool`, which must succeed."""
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
