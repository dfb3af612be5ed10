"""A line to Redis that is slow: it takes its time, and nothing more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.cluster.redis.cluster import RedisCluster
from gateway.core.errors import LogUnavailable
from gateway.redis.batch_limit import BatchLimit
from gateway.testing import LogUnderTest, NodeUnderTest, draft
from gateway.testing.cluster_contract import member
from gateway.testing.helpers import number_of
from tests.support.pauses import Duration, now
from tests.support.proxy import proxied
from tests.support.redis import RedisServer
from tests.support.redis_logs import redis_log


async def _followed(subject: LogUnderTest, tenant: str, head: int) -> Duration:
    """The time until the window is at `head`, asked for as clients that come back do."""
    begun = now()
    async with asyncio.timeout(60):
        while subject.log.window(tenant).head < head:
            try:
                await subject.follow(tenant)
            except LogUnavailable:
                await asyncio.sleep(0.1)
    return now() - begun


@pytest.mark.parametrize(("tenants", "events", "rate"), [(6, 20, 400_000), (1, 3, 45_000)])
async def test_node_behind_a_slow_line_advances(
    server: RedisServer, prefix: str, tenants: int, events: int, rate: int
) -> None:
    """The node has read all of its tenants in about the time that the bytes need: also where the pages of all of them,
    one page, or (the second time) one event takes longer than the time limit of Redis commands."""
    size = 50_000
    async with redis_log(server.url, prefix=prefix) as near:
        for tenant in range(tenants):
            for n in range(events):
                await near.log.append(f"t{tenant}", draft(n, size=size))
    async with proxied(server.port) as network, redis_log(network.url, prefix=prefix) as far:
        network.rate = rate
        taken = await asyncio.gather(*(_followed(far, f"t{n}", events) for n in range(tenants)))
        # Each tenant's bytes, at worst one after the other, and what the reader tried too large.
        assert all(each < 2 * tenants * events * size / rate + 5 for each in taken)
        assert not far.delivered


@asynccontextmanager
async def cluster_node(url: str, prefix: str) -> AsyncIterator[NodeUnderTest]:
    nodes = RedisCluster(url, prefix=prefix, retention=3_600)
    subject = NodeUnderTest(nodes, _never)
    await nodes.start()
    try:
        yield subject
    finally:
        await nodes.stop()


async def _never(seconds: float) -> None:
    raise NotImplementedError


@pytest.mark.parametrize("far_reads", [True, False])
async def test_members_get_over_a_slow_line(server: RedisServer, prefix: str, far_reads: bool) -> None:
    """The members of each tenant take longer than the time limit of Redis commands, read or written. No leave is
    reported meanwhile."""
    rooms = tuple(f"circle:{n}" for n in range(20))
    async with (
        proxied(server.port) as network,
        cluster_node(server.url, prefix) as near,
        cluster_node(network.url, prefix) as far,
    ):
        network.rate = 250_000
        writer, reader = (near, far) if far_reads else (far, near)
        for tenant in ("acme", "bolt"):
            reader.nodes.members.watch(tenant)
            writer.put(*(member(f"con_{n}", f"user-{n}", *rooms) for n in range(1_200)), tenant=tenant)
        async with asyncio.timeout(45):
            for tenant in ("acme", "bolt"):
                while len(await reader.list_members(tenant)) < 1_200:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.1)
        assert not [change for _, change in reader.changes if not change.entered]
        network.rate = 0


@pytest.mark.timing
async def test_refused_events_are_not_in_the_log(server: RedisServer, prefix: str) -> None:
    """More is published than the line carries: each event is answered in time and truly, what another tenant publishes
    meanwhile gets through, and the line carries events all the time."""
    async with proxied(server.port) as network, redis_log(network.url, prefix=prefix) as far:
        await far.append("acme", 1)
        await far.append("bolt", 1)
        network.rate = 400_000
        waits: list[Duration] = []

        async def publish(tenant: str, n: int) -> str | None:
            begun = now()
            try:
                await far.log.append(tenant, draft(n, size=2_000))
            except LogUnavailable as error:
                return str(error)
            finally:
                waits.append(now() - begun)
            return None

        flood = [asyncio.create_task(publish("acme", n)) for n in range(1, 3_000)]
        for n in range(1, 8):
            assert await publish("bolt", n) is None
            await asyncio.sleep(0.2)
        answers = dict(enumerate(await asyncio.gather(*flood), 1))
        assert all(wait < 2.0 for wait in waits)
        network.rate = 0
        await far.follow("acme")
        window = far.log.window("acme")
        stored = {number_of(window[offset].frame) for offset in range(1, window.head + 1)}
        accepted = {n for n, answer in answers.items() if answer is None}
        assert accepted <= stored
        assert len(accepted) > 50
        assert not {n for n, answer in answers.items() if answer and "not accepted" in answer} & stored


def test_batch_limit_finds_what_the_line_carries() -> None:
    """For any throughput, after a few round trips a batch uses a good part of its time limit, and none exceeds it
    permanently."""
    for throughput in (1_000, 30_000, 1_000_000, 100_000_000):
        limit = BatchLimit(4_096, 4_194_304, 1.0, 30.0)
        misses = 0
        for trip in range(40):
            elapsed = limit.size / throughput
            if elapsed > limit.seconds:
                misses += 1
                assert trip < 12, "it still tries what cannot be carried"
                limit.timed_out(answers=True)
            else:
                limit.succeeded(limit.size, elapsed)
        assert misses < 12
        assert limit.size == 4_194_304 or limit.size == 4_096 or limit.size / throughput > 0.1


def test_batch_limit_learns_nothing_from_what_was_not_full() -> None:
    """A quick answer with next to nothing in it, between two that are large, changes neither size nor deadline. Where
    the server has gone, the deadline is short again."""
    limit = BatchLimit(1, 1_000, 1.0, 30.0)
    for _ in range(10):
        limit.succeeded(10, 0.001)
    assert limit.size == 250
    for _ in range(6):
        limit.timed_out(answers=True)
    limit.succeeded(0, 0.001)
    assert (limit.size, limit.seconds) == (1, 4.0)
    limit.timed_out(answers=False)
    assert (limit.size, limit.seconds) == (1, 1.0)
