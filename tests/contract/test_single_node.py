"""The one node there is keeps the nodes' contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.cluster.local import LocalCluster
from gateway.testing import LEASE, Clock, ClusterContract, NodeUnderTest


class TestSingleNode(ClusterContract):
    @asynccontextmanager
    async def open(self, lease: float = LEASE) -> AsyncIterator[NodeUnderTest]:
        clock = Clock()
        subject = NodeUnderTest(LocalCluster(clock), clock, clock.advance)
        await subject.nodes.start()
        yield subject
        await subject.nodes.stop()
