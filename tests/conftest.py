"""Fixtures of all tests."""

from collections.abc import AsyncIterator

import pytest

from tests.support import Gate, running

pytest.register_assert_rewrite("gateway.testing")  # so that its suites say what was and what should have been


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """A running gateway with roomy limits."""
    async with running() as gate:
        yield gate
