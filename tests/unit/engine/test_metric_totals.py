"""Sums over all tenants: exact, in steps between which the event loop goes on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from auth.keys import KeyRing, hmac_key
from auth.tokens import TokenVerifier, TrustedIssuer
from gateway.engine.gateway import Gateway
from gateway.engine.metric_totals import TENANTS_AT_ONCE
from gateway.logs.memory import MemoryLog

KEY = b"a key of this test, 0123456789abcdef"
SLICES = 8
T = TypeVar("T")


async def iterations_during(work: Callable[[], Awaitable[T]]) -> tuple[int, T]:
    """The iterations of the event loop in which other work ran before it was done, and its result."""
    count = 0

    def run() -> None:
        nonlocal count
        count += 1
        handles.append(loop.call_soon(run))

    loop = asyncio.get_running_loop()
    handles = [loop.call_soon(run)]
    result = await work()
    handles[-1].cancel()
    return count, result


@pytest.fixture
def gateway() -> Gateway:
    verifier = TokenVerifier([TrustedIssuer("tests", KeyRing([hmac_key(KEY)]))], "tests", 60, 60)
    return Gateway(MemoryLog((KEY,)), verifier)


async def test_many_tenants_are_examined_a_few_at_a_time(gateway: Gateway) -> None:
    """With 10,000 of them a scrape would else block the event loop for 20 ms."""
    tenants = SLICES * TENANTS_AT_ONCE
    await gateway.start()
    try:
        for n in range(tenants):
            await gateway.publish(f"tenant-{n}", "task.completed", {}, circle_id=1)
        metrics = gateway.metrics
        count, readings = await iterations_during(metrics.collect)
        assert count >= 2 * (SLICES - 1)  # their connections, and their logs
        assert {metric.name: value for metric, value in readings}["log_events"] == tenants
        count, by_tenant = await iterations_during(metrics.tenants.collect)
        assert count >= SLICES - 1
        assert sum(counts.events for counts in by_tenant.values()) == tenants
        metrics.usage._hour -= 1
        count, _ = await iterations_during(metrics.usage.turn)
        assert count >= SLICES - 1
        assert sum(row.usage.events for row in metrics.usage.rows(None, (0, ""))) == tenants
    finally:
        await gateway.stop()
