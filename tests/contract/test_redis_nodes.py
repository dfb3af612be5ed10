"""Nodes that meet on Redis keep the nodes' contract, alone and together."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.cluster.redis.cluster import RedisCluster
from gateway.cluster.redis.members import RedisMembers
from gateway.core.usage import KEPT_HOURS, Usage, UsageRow
from gateway.testing import LEASE, NodeUnderTest, SharedClusterContract
from gateway.testing.cluster_contract import member
from tests.support.pauses import until_equal
from tests.support.proxy import Proxy, proxied
from tests.support.redis import RedisServer, executable, executables, redis_server
from tests.support.redis_logs import shorten

QUERY = "decode_responses=true&protocol=3&socket_timeout=60&socket_connect_timeout=60&retry_on_timeout=true"
"""Options of a Redis URL that the driver overrides."""


class TestRedisNodes(SharedClusterContract):
    """Each node over a network of its own."""

    @pytest.fixture(autouse=True)
    async def _serve(self, tmp_path: Path) -> AsyncIterator[None]:
        async with redis_server(tmp_path / "redis", self.binary()) as self.server:
            yield

    server: RedisServer

    def binary(self) -> str:
        return executable()

    @asynccontextmanager
    async def open(self, lease: float = LEASE) -> AsyncIterator[NodeUnderTest]:
        self.prefix = secrets.token_hex(4)
        self.passed = 0.0
        self.networks: dict[str, Proxy] = {}
        async with self._node(lease) as subject:
            yield subject

    @asynccontextmanager
    async def join(self, node: NodeUnderTest, lease: float = LEASE) -> AsyncIterator[NodeUnderTest]:
        async with self._node(lease) as other:
            yield other

    @asynccontextmanager
    async def _node(self, lease: float) -> AsyncIterator[NodeUnderTest]:
        async with proxied(self.server.port) as network:
            nodes = RedisCluster(
                f"{network.url}?{QUERY}",
                prefix=self.prefix,
                retention=3_600,
                timer=lambda: time.monotonic() + self.passed,
                lease=lease,
            )
            self.networks[nodes.members.node] = network
            subject = NodeUnderTest(nodes, self._pass_time)
            await nodes.start()
            try:
                yield subject
            finally:
                await nodes.stop()

    async def _pass_time(self, seconds: float) -> None:
        self.passed += seconds
        await shorten(self.server, f"{self.prefix}:kept:*", seconds)

    @asynccontextmanager
    async def partitioned(self, node: NodeUnderTest) -> AsyncIterator[None]:
        network = self.networks[node.nodes.members.node]
        network.partition()
        try:
            yield
        finally:
            network.reset()
            network.heal()

    @asynccontextmanager
    async def read_only(self, node: NodeUnderTest) -> AsyncIterator[None]:
        await self.server.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            yield
        finally:
            await self.server.ask("CONFIG", "SET", "maxmemory", "0")

    async def kill(self, node: NodeUnderTest) -> None:
        assert isinstance(node.nodes.members, RedisMembers)
        await node.nodes.members.abandon()

    async def stored(self, node: NodeUnderTest) -> int:
        length: int = await self.server.ask("XLEN", f"{self.prefix}:{{control}}:messages")
        return length

    async def wipe(self, node: NodeUnderTest) -> None:
        await self.server.ask("FLUSHALL")

    async def test_changes_that_are_no_longer_kept_are_made_good(self) -> None:
        """Where changes since the last read were trimmed, the whole state is read again."""
        async with self.open() as one, self.join(one) as two:
            first, second, third = (member(f"con_{n}", "ada", "circle:1") for n in range(3))
            one.put(first)
            await until_equal(two.list_members, [first])
            for n, each in enumerate((second, third), 1):
                one.put(each)
                await until_equal(lambda: self.server.ask("XLEN", self._key("changes", one)), n)
            assert await self.server.ask("XTRIM", self._key("changes", one), "MAXLEN", 1) == 1
            assert await two.list_members() == [first, second, third]

    async def test_a_stopped_node_leaves_nothing_behind(self) -> None:
        """Not for the time of its lease either."""
        async with self.open() as one:
            for kind in ("members", "changes"):
                one.put(member("con_1", "ada", kind))
                await until_equal(lambda kind=kind: self.server.ask("EXISTS", self._key(kind, one)), 1)  # type: ignore[misc]
        assert await self.server.ask("KEYS", f"{self.prefix}:*") == []

    async def test_recorded_usage_expires_a_week_after_its_hour(self) -> None:
        """With all its keys; also once Redis has lost them, and they are recorded again."""
        async with self.open() as one:
            for again in (False, True):
                rows = [UsageRow(3_600, tenant, Usage(1.0, 1, 1, 1)) for tenant in ("acme", "bolt")]
                assert await one.nodes.usage.record([]) is not again
                for each in rows:
                    assert await one.nodes.usage.record([each])
                keys = await self.server.ask("KEYS", f"{self.prefix}:{{usage}}:*")
                left = [await self.server.ask("TTL", key) for key in keys]
                assert len(keys) == 5
                assert all(KEPT_HOURS * 3_600 < seconds <= (KEPT_HOURS + 1) * 3_600 for seconds in left)
                await self.server.ask("FLUSHALL")

    def _key(self, kind: str, node: NodeUnderTest) -> str:
        return f"{self.prefix}:{{acme}}:{kind}:{node.nodes.members.node}"


@pytest.mark.skipif(len(executables()) < 2, reason="there is one Redis only")
class TestOtherRedisNodes(TestRedisNodes):
    """With the other Redis that there is; what 100,000 messages cost is the node's own work, and the same."""

    test_node_starts_with_many_messages_in_force = None  # type: ignore[assignment]

    def binary(self) -> str:
        return executables()[1]
