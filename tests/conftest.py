"""Fixtures of all tests."""

import gc
import os
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser

from gateway.telemetry import counts, log_events
from gateway.telemetry.line_rate import LineLimiter
from tests.support import browser as browsers
from tests.support.inprocess import RunningGateway, running
from tests.support.nodejs import built_package
from tests.support.redis import RedisServer, redis_server

pytest.register_assert_rewrite("gateway.testing")  # so that its suites say what was and what should have been

# A background job of a shell ignores it, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a busy machine, and the gate has the same examples each time.
settings.register_profile(
    "tests", settings.default, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")


def pytest_collection_finish() -> None:
    """The collector need not look at all that was imported and collected: it took longer than a log may take to answer,
    in the middle of a test. It goes on as usual otherwise, since each test leaves an application to it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _log_limits_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log lines of one test do not count against the next."""
    monkeypatch.setattr(log_events, "limiter", LineLimiter())


@pytest.fixture(autouse=True)
def _counts_of_its_own() -> None:
    """Refusals, closes and gaps of one test are not counted in the next."""
    for counted in (counts.refused_connects, counts.refusals, counts.closes, counts.gaps):
        counted.clear()


@pytest.fixture
async def gate() -> AsyncIterator[RunningGateway]:
    """A running gateway with roomy limits."""
    async with running() as gate:
        yield gate


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis that keeps nothing over a restart."""
    async with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """The prefix of this test's Redis keys."""
    return secrets.token_hex(4)


@pytest.fixture(scope="session")
def npm_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm package of the JavaScript client, built once for all workers."""
    base = tmp_path_factory.getbasetemp()
    return built_package((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "npm")


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's path."""
    return browsers.executable()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    """One Chromium for all tests of a worker."""
    async with browsers.launched(chromium) as started:
        yield started
