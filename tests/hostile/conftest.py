"""Fixtures of the hostile tests."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.hostile.house import House, haunted


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_house() -> AsyncIterator[House]:
    """One gateway for all cases of a module, which runs on the module's loop."""
    async with haunted() as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def house(shared_house: House) -> AsyncIterator[House]:
    """The module's gateway. Whatever the case did, nothing at ERROR and no traceback was logged."""
    shared_house.watch.records.clear()
    yield shared_house
    assert shared_house.watch.faults() == []
