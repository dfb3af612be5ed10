"""Nodes that meet on Redis keep the nodes' contract, alone and together."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.nodes.membership import RedisMembers
from gateway.nodes.redis import RedisNodes
from gateway.testing import LEASE, Clock, NodeUnderTest, SharedNodesContract
from tests.redis.nodes import shorten
from tests.redis.proxy import Proxy, proxied
from tests.redis.server import Server, executable, executables, serving


class TestRedisNodes(SharedNodesContract):
    """With each Redis that there is, each node over a network of its own."""

    @pytest.fixture(autouse=True, params=executables() or [""])
    async def _serve(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[None]:
        async with serving(tmp_path / "redis", request.param or executable()) as self.server:
            yield

    server: Server

    @asynccontextmanager
    async def open(self, lease: float = LEASE) -> AsyncIterator[NodeUnderTest]:
        self.prefix = secrets.token_hex(4)
        self.clock = Clock()
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
            nodes = RedisNodes(network.url, prefix=self.prefix, retention=3_600, clock=self.clock, lease=lease)
            self.networks[nodes.members.node] = network
            subject = NodeUnderTest(nodes, self.clock, self._pass_time)
            await nodes.start()
            try:
                yield subject
            finally:
                await nodes.stop()

    async def _pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await shorten(self.server, f"{self.prefix}:kept:*", seconds)

    @asynccontextmanager
    async def cut(self, node: NodeUnderTest) -> AsyncIterator[None]:
        network = self.networks[node.nodes.members.node]
        network.partition()
        try:
            yield
        finally:
            network.reset()
            network.heal()

    async def kill(self, node: NodeUnderTest) -> None:
        assert isinstance(node.nodes.members, RedisMembers)
        await node.nodes.members.abandon()

    async def lose(self, node: NodeUnderTest) -> None:
        await self.server.ask("FLUSHALL")
