"""One demo gateway for all browser tests of a worker; each test has a profile of its own."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.process import GatewayProcess


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demo(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    """`gateway serve --dev --demo`, for tests that leave it running. All of them connect from one address."""
    home = tmp_path_factory.mktemp("demo")
    async with GatewayProcess(home, "--dev", "--demo", jwt_secret=None) as served:
        yield served


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """All tests here need the browser, whose connection lives on one event loop."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
