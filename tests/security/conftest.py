"""Fixtures of the hostile tests."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.security.attacked import AttackedGateway, attacked


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_house() -> AsyncIterator[AttackedGateway]:
    """One gateway for all cases of a module, which runs on the module's loop."""
    async with attacked() as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def house(shared_house: AttackedGateway) -> AsyncIterator[AttackedGateway]:
    """The module's gateway. Whatever the case did, nothing at ERROR and no traceback was logged."""
    shared_house.watch.records.clear()
    yield shared_house
    assert shared_house.watch.faults() == []
