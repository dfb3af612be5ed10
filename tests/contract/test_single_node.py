"""The one node there is keeps the nodes' contract."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.cluster.local import LocalCluster
from gateway.testing import LEASE, Clock, ClusterContract, NodeUnderTest


class TestSingleNode(ClusterContract):
    @asynccontextmanager
    async def open(self, lease: float = LEASE) -> AsyncIterator[NodeUnderTest]:
        clock = Clock()
        subject = NodeUnderTest(LocalCluster(clock), clock.advance)
        await subject.nodes.start()
        yield subject
        await subject.nodes.stop()


async def test_keeping_costs_what_has_run_out() -> None:
    """The cost depends on expired entries, not on stored ones: ten thousand stay while one more is added and
    expires."""
    clock = Clock()
    cluster = LocalCluster(clock)
    for n in range(10_000):
        await cluster.put_once(f"key{n}", "value", 30)
    looks: list[str] = []

    class Watched(dict[str, tuple[float, str]]):
        def items(self) -> Any:
            looks.append("all")
            return super().items()

        def __iter__(self) -> Iterator[str]:
            looks.append("all")
            return super().__iter__()

    kept = cluster._kept = Watched(cluster._kept)
    for n in range(100):
        await cluster.put_once(f"more{n}", "value", 30)
        assert await cluster.pop(f"more{n}") == "value"
    assert looks == []
    await clock.advance(31.0)
    await cluster.put_once("last", "value", 30)
    assert len(kept) == 1
