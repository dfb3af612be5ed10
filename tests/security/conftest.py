"""Fixtures of the hostile tests."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.security.attacked import AttackedGateway, attacked_gateway


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_gateway() -> AsyncIterator[AttackedGateway]:
    """One gateway for all cases of a module, which runs on the module's loop."""
    async with attacked_gateway() as attacked:
        yield attacked


@pytest_asyncio.fixture(loop_scope="module")
async def attacked(shared_gateway: AttackedGateway) -> AsyncIterator[AttackedGateway]:
    """The module's gateway. Whatever the case did, nothing at ERROR and no traceback was logged."""
    shared_gateway.watch.records.clear()
    yield shared_gateway
    assert shared_gateway.watch.faults() == []
