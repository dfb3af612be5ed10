"""The contract suite of `gateway.core.usage.UsageStore`, for several nodes."""

from typing import Final

from gateway.core.usage import KEPT_HOURS, Recorded, Usage, UsageRow
from gateway.testing.cluster_contract import NodeUnderTest
from gateway.testing.shared_control_contract import unavailable
from gateway.testing.shared_queries_contract import SharedQueriesContract

HOUR: Final = 3_600
FIRST: Final = 490_000 * HOUR
"""The first hour of the suite, in seconds since the epoch."""


class SharedUsageContract(SharedQueriesContract):
    """The guarantees of `UsageStore` between nodes with a shared store; a part of `SharedClusterContract`."""

    async def test_recorded_usage_is_read_at_every_node(self) -> None:
        """Each node's is its own, also when it has ended; a value recorded again, or a later one, counts once."""
        async with self.open() as one:
            assert await one.nodes.usage.read(None, (0, ""), 10) == {}
            async with self.join(one) as two:
                names = [node.nodes.members.node for node in (one, two)]
                assert await one.nodes.usage.record([row(FIRST, "acme", 1)])
                for events in (2, 2, 3):
                    assert await two.nodes.usage.record([row(FIRST, "acme", events), row(FIRST, "bolt", 1)])
                expected: Recorded = {
                    (FIRST, "acme"): {names[0]: used(1), names[1]: used(3)},
                    (FIRST, "bolt"): {names[1]: used(1)},
                }
                for node in (one, two):
                    assert await node.nodes.usage.read(None, (0, ""), 10) == expected
            assert await one.nodes.usage.read(None, (0, ""), 10) == expected

    async def test_usage_is_read_in_pages(self) -> None:
        """By hour and tenant, after a place; of all tenants or of one, whose hours need not be the first."""
        rows = [row(FIRST + hour * HOUR, tenant, 1) for hour in range(4) for tenant in ("acme", "bolt", "coil")]
        rows[4:5] = []
        async with self.open() as one, self.join(one) as two:
            for node in (one, two):
                await node.nodes.usage.record(rows[::-1])
            places = [(each.hour, each.tenant) for each in rows]
            for limit in (1, 2, 5, 20):
                found: list[tuple[int, str]] = []
                while page := await two.nodes.usage.read(None, found[-1] if found else (0, ""), limit):
                    assert len(page) <= limit
                    assert all(len(nodes) == 2 for nodes in page.values())
                    found += page
                assert found == places
            bolts = [place for place in places if place[1] == "bolt"]
            assert list(await one.nodes.usage.read("bolt", (0, ""), 10)) == bolts
            assert list(await one.nodes.usage.read("bolt", bolts[0], 1)) == bolts[1:2]
            assert await one.nodes.usage.read("eve", (0, ""), 10) == {}
            assert list(await one.nodes.usage.read("acme", bolts[1], 10)) == [
                place for place in places if place[1] == "acme" and place > bolts[1]
            ]

    async def test_usage_needs_the_store(self) -> None:
        """Without the store both raise `LogUnavailable`; the next record makes good for the one that failed."""
        async with self.open() as one, self.join(one) as two:
            await one.nodes.usage.record([row(FIRST, "acme", 1)])
            async with self.partitioned(one):
                await unavailable(one.nodes.usage.record([row(FIRST, "acme", 2)]))
                await unavailable(one.nodes.usage.read(None, (0, ""), 10))
            assert await one.nodes.usage.record([row(FIRST, "acme", 3)])
            assert await self._events(two) == [3]

    async def test_loss_of_recorded_usage_is_noticed(self) -> None:
        """By the record after the loss of the store, and once."""
        async with self.open() as one:
            assert await one.nodes.usage.record([row(FIRST, "acme", 1)])
            await self.wipe(one)
            assert not await one.nodes.usage.record([row(FIRST, "bolt", 2)])
            assert await one.nodes.usage.record([row(FIRST, "acme", 1)])
            assert await one.nodes.usage.record([])
            assert await self._events(one) == [1, 2]
            await self.wipe(one)
            assert not await one.nodes.usage.record([])

    async def test_the_oldest_hours_of_usage_are_dropped(self) -> None:
        """An hour is dropped with the rows of all nodes."""
        async with self.open() as one, self.join(one) as two:
            await two.nodes.usage.record([row(FIRST, "acme", 1)])
            await one.nodes.usage.record([row(FIRST + hour * HOUR, "acme", 1) for hour in range(KEPT_HOURS + 2)])
            hours = [hour for hour, _ in await two.nodes.usage.read("acme", (0, ""), 2 * KEPT_HOURS)]
            assert hours == [FIRST + hour * HOUR for hour in range(2, KEPT_HOURS + 2)]

    async def _events(self, node: NodeUnderTest) -> list[int]:
        """The sums of events by row."""
        rows = await node.nodes.usage.read(None, (0, ""), 10)
        return [sum(each.events for each in nodes.values()) for nodes in rows.values()]


def used(events: int) -> Usage:
    return Usage(1.25, events, 3, 4)


def row(hour: int, tenant: str, events: int) -> UsageRow:
    return UsageRow(hour, tenant, used(events))
