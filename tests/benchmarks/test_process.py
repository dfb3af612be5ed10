"""Ports of the servers under test."""

import random
import subprocess
import sys

import pytest

from benchmarks.process import free_port


def test_no_two_benchmarks_get_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where neither server listens yet, and both look at the same ports first."""
    first = free_port()
    candidates = [first, *(free_port() for _ in range(2))]
    code = f"""
import random
from benchmarks.process import free_port
random.sample = lambda *_: {candidates} + [{first} + n for n in range(1, 1_000)]
print(free_port())
"""
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) not in candidates
    monkeypatch.setattr(random, "sample", lambda *_: [first, int(other.stdout)])
    assert free_port() == int(other.stdout), "it is free again once its process has ended"
