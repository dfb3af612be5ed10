"""Fixtures of the tests with a real Redis."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.redis.server import Server, serving


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A Redis that keeps nothing over a restart."""
    async with serving(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """What the keys of this test begin with."""
    return secrets.token_hex(4)
