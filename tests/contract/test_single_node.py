"""The one node there is keeps the nodes' contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.nodes.single import SingleNode
from gateway.testing import LEASE, Clock, NodesContract, NodeUnderTest


class TestSingleNode(NodesContract):
    @asynccontextmanager
    async def open(self, lease: float = LEASE) -> AsyncIterator[NodeUnderTest]:
        clock = Clock()
        subject = NodeUnderTest(SingleNode(clock), clock, clock.advance)
        await subject.nodes.start()
        yield subject
        await subject.nodes.stop()
