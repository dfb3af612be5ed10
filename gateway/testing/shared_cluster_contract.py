"""The contract suite of `gateway.core.cluster.Cluster` and its `ClusterMembers`, for several nodes."""

import asyncio
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any

from gateway.core.members import Member, PresenceChange, TenantTotals
from gateway.testing.cluster_contract import NodeUnderTest, member
from gateway.testing.helpers import until
from gateway.testing.shared_control_contract import SHORT, SOON, unavailable
from gateway.testing.shared_usage_contract import SharedUsageContract


class SharedClusterContract(SharedUsageContract):
    """The guarantees of `Cluster` and `ClusterMembers` between nodes with a shared store."""

    @abstractmethod
    async def kill(self, node: NodeUnderTest) -> None:
        """End the node without withdrawing, as a crash does. It is stopped later, like any other."""

    @abstractmethod
    def read_only(self, node: NodeUnderTest) -> AbstractAsyncContextManager[None]:
        """A context in which the store can be read, and takes no writes from any node."""

    # -- one-time values

    async def test_value_put_at_one_node_is_popped_at_another(self) -> None:
        """Exactly one of many concurrent `pop`s on different nodes returns the value."""
        async with self.open() as one, self.join(one) as two:
            await one.nodes.put_once("key", "value", 30)
            assert await two.nodes.pop("key") == "value"
            await two.nodes.put_once("key", "again", 30)
            taken = await asyncio.gather(*(node.nodes.pop("key") for node in (one, two) * 10))
            assert sorted(taken, key=str) == [None] * 19 + ["again"]

    async def test_put_and_pop_fail_without_the_store(self) -> None:
        """Without the store both raise `LogUnavailable`; afterwards earlier values are there."""
        async with self.open() as one:
            await one.nodes.put_once("key", "value", 600)
            async with self.partitioned(one):
                await unavailable(one.nodes.put_once("other", "value", 600))
                await unavailable(one.nodes.pop("no such key"))
            assert await one.nodes.pop("key") == "value"

    # -- members

    async def test_connections_are_known_at_every_node(self) -> None:
        """Opened, changed and closed connections are visible on other nodes, each with its node."""
        async with self.open() as one, self.join(one) as two:
            first = Member(
                "con_1", 'tab "é"', "ada@example.com", 1_768_000_000.25, 1_768_000_600, ("circle:1", "tenant")
            )
            one.connections.counts["acme"] = TenantTotals(3, 5, 8)
            one.put(first, member("con_2", "bob"))
            await _known(two, [first, member("con_2", "bob")])
            others = two.nodes.members.remote("acme")
            assert {node for node, _ in others} == {one.nodes.members.node} != {two.nodes.members.node}
            one.put(member("con_2", "bob", "circle:2"))
            await _known(two, [first, member("con_2", "bob", "circle:2")])
            one.remove("con_1")
            await _known(two, [member("con_2", "bob", "circle:2")])
            assert await one.list_members() == []

    async def test_thousands_of_connections_are_known(self) -> None:
        """3,000 connections that are opened, changed and closed at once are visible."""
        crowd = [member(f"con_{n:04}", f"user{n % 100}", "circle:1") for n in range(3_000)]
        async with self.open() as one, self.join(one) as two:
            one.put(*crowd)
            await _known(two, crowd, SOON)
            moved = [member(each.connection_id, each.user_id, "circle:2") for each in crowd]
            one.put(*moved)
            await _known(two, moved, SOON)
            one.remove(*(each.connection_id for each in crowd))
            await _known(two, [], SOON)

    async def test_members_of_tenants_are_isolated(self) -> None:
        """Tenants with similar names are isolated."""
        names = ["a", "A", "a_b", "a-b", "a_", "ab", "0", "00", "x" * 64]
        async with self.open() as one, self.join(one) as two:
            two.nodes.members.watch("a")
            await two.list_members("a")
            for n, name in enumerate(names):
                one.put(member(f"con_{n}", f"user{n}", "tenant"), tenant=name)
            for n, name in enumerate(names):
                await _known(two, [member(f"con_{n}", f"user{n}", "tenant")], tenant=name)
            assert two.changes == [("a", PresenceChange("tenant", "user0", True))]

    async def test_changes_are_reported_in_order(self) -> None:
        """Changes are the first connection of a user in a room and the last one out, over all other nodes, in order."""
        async with self.open() as one, self.join(one) as two, self.join(one) as watcher:
            one.put(member("con_1", "ada", "circle:1"))
            await _known(watcher, one.connections.of["acme"].values())
            watcher.nodes.members.watch("acme")
            expected: list[tuple[str, PresenceChange]] = []

            async def changed(*changes: PresenceChange) -> None:
                expected.extend(("acme", change) for change in changes)
                await until(lambda: len(watcher.changes) >= len(expected), SOON)
                assert watcher.changes == expected

            two.put(member("con_2", "bob", "circle:1"))
            await changed(PresenceChange("circle:1", "bob", True))
            one.put(member("con_3", "bob", "circle:1"))  # a second connection of the same user
            await until(lambda: len(watcher.known()) == 3, SOON)
            two.put(member("con_2", "bob", "circle:2"))
            await changed(PresenceChange("circle:2", "bob", True))
            one.remove("con_3")
            await changed(PresenceChange("circle:1", "bob", False))
            one.remove("con_1")
            await changed(PresenceChange("circle:1", "ada", False))

    async def test_first_read_reports_no_change(self) -> None:
        """A watcher gets no changes for the members of the first read."""
        async with self.open() as one, self.join(one) as two:
            one.put(member("con_1", "ada", "circle:1"))
            await _known(two, [member("con_1", "ada", "circle:1")])
            async with self.join(one) as watcher:
                watcher.nodes.members.watch("acme")
                await until(lambda: watcher.known() == [member("con_1", "ada", "circle:1")], SOON)
                assert watcher.changes == []

    async def test_totals_are_known_while_their_node_runs(self) -> None:
        """Changed totals are visible soon, also of a tenant without connections, until their node ends."""
        async with self.open(SHORT) as one, self.join(one, SHORT) as two:

            async def counted(*expected: TenantTotals) -> None:
                async with asyncio.timeout(SOON):
                    while True:
                        await one.list_members()
                        if sorted(one.nodes.members.remote("acme").totals.values()) == sorted(expected):
                            return
                        await asyncio.sleep(0.05)

            two.connections.counts["acme"] = TenantTotals(0, 0, 3)
            await counted(TenantTotals(0, 0, 3))
            two.put(member("con_2", "bob", "circle:1"))
            two.connections.counts["acme"] = TenantTotals(1, 5, 8)
            await counted(TenantTotals(1, 5, 8))
            two.remove("con_2")
            await _known(one, [])
            await asyncio.sleep(SHORT)
            await counted(TenantTotals(1, 5, 8))
            two.connections.counts["acme"] = TenantTotals(1, 6, 8)
            await counted(TenantTotals(1, 6, 8))
            await self.wipe(one)
            await counted(TenantTotals(1, 6, 8))
            async with self.join(one, SHORT) as three:
                three.connections.counts["acme"] = TenantTotals(1, 1, 1)
                await counted(TenantTotals(1, 1, 1), TenantTotals(1, 6, 8))
            await counted(TenantTotals(1, 6, 8))
            await self.kill(two)
            await counted()

    async def test_unwatch_ends_the_reports(self) -> None:
        """After `unwatch` a node gets no changes, but can still refresh."""
        async with self.open() as one, self.join(one) as two:
            two.nodes.members.watch("acme")
            await two.list_members()
            one.put(member("con_1", "ada", "circle:1"))
            await until(lambda: len(two.changes) == 1, SOON)
            two.nodes.members.unwatch("acme")
            one.put(member("con_2", "bob", "circle:1"))
            await _known(two, [member("con_1", "ada", "circle:1"), member("con_2", "bob", "circle:1")])
            assert len(two.changes) == 1

    async def test_connections_of_a_stopped_node_are_gone(self) -> None:
        """The connections of a stopped node are gone, for watchers and for a refresh."""
        async with self.open() as one, self.join(one) as two:
            two.nodes.members.watch("acme")
            await two.list_members()
            async with self.join(one) as three:
                three.put(member("con_1", "ada", "circle:1"))
                await _known(one, [member("con_1", "ada", "circle:1")])
                await until(lambda: len(two.changes) == 1, SOON)
            await _known(one, [])
            await until(lambda: two.known() == [], SOON)
            assert two.changes[1:] == [("acme", PresenceChange("circle:1", "ada", False))]

    async def test_connections_of_a_killed_node_are_gone_after_its_lease(self) -> None:
        """The connections of a killed node expire with its lease; those of a running node stay."""
        async with self.open(SHORT) as one, self.join(one, SHORT) as two, self.join(one, SHORT) as three:
            two.put(member("con_2", "bob", "circle:1"))
            three.put(member("con_3", "eve", "circle:1"))
            one.nodes.members.watch("acme")
            await _known(one, [member("con_2", "bob", "circle:1"), member("con_3", "eve", "circle:1")])
            await self.kill(three)
            await asyncio.sleep(SHORT)
            await _known(one, [member("con_2", "bob", "circle:1")])
            await asyncio.sleep(SHORT)
            assert await one.list_members() == [member("con_2", "bob", "circle:1")]
            assert [change for _, change in one.changes if not change.entered] == [
                PresenceChange("circle:1", "eve", False)
            ]

    async def test_partitioned_node_keeps_its_last_view(self) -> None:
        """During a partition `partial` is true and a refresh ends within 2 seconds. Afterwards the nodes converge,
        without changes for members that stayed."""
        async with self.open() as one, self.join(one) as two:
            one.nodes.members.watch("acme")
            two.nodes.members.watch("acme")
            one.put(member("con_1", "ada", "circle:1"))
            two.put(member("con_2", "bob", "circle:1"))
            await _known(one, [member("con_2", "bob", "circle:1")])
            await _known(two, [member("con_1", "ada", "circle:1")])
            one.changes.clear()
            two.changes.clear()
            async with self.partitioned(one):
                async with asyncio.timeout(SOON):
                    while not one.nodes.members.partial:
                        assert await one.list_members() == [member("con_2", "bob", "circle:1")]
                        await asyncio.sleep(0.05)
                one.put(member("con_3", "eve", "circle:1"))
                two.put(member("con_4", "zoe", "circle:1"))
                assert await one.list_members() == [member("con_2", "bob", "circle:1")]
                assert not two.nodes.members.partial
            await until(lambda: not one.nodes.members.partial, SOON)
            await _known(one, [member("con_2", "bob", "circle:1"), member("con_4", "zoe", "circle:1")])
            await _known(two, [member("con_1", "ada", "circle:1"), member("con_3", "eve", "circle:1")])
            assert one.changes == [("acme", PresenceChange("circle:1", "zoe", True))]
            assert two.changes == [("acme", PresenceChange("circle:1", "eve", True))]

    async def test_partition_longer_than_the_lease_reports_no_leave(self) -> None:
        """During a partition longer than the lease the last view stays, and `partial` is true; afterwards the changes
        are reported."""
        async with self.open(SHORT) as one, self.join(one, SHORT) as two, self.join(one, SHORT) as three:
            one.nodes.members.watch("acme")
            two.put(member("con_2", "bob", "circle:1"))
            three.put(member("con_3", "eve", "circle:1"))
            await _known(one, [member("con_2", "bob", "circle:1"), member("con_3", "eve", "circle:1")])
            one.changes.clear()
            async with self.partitioned(one):
                await self.kill(three)
                await until(lambda: one.nodes.members.partial, SOON)
                await asyncio.sleep(3 * SHORT)
                assert await one.list_members() == [
                    member("con_2", "bob", "circle:1"),
                    member("con_3", "eve", "circle:1"),
                ]
                two.put(member("con_4", "zoe", "circle:1"))
            await _known(one, [member("con_2", "bob", "circle:1"), member("con_4", "zoe", "circle:1")], SOON)
            assert {change for _, change in one.changes} == {
                PresenceChange("circle:1", "zoe", True),
                PresenceChange("circle:1", "eve", False),
            }

    async def test_read_only_store_reports_no_leave(self) -> None:
        """While the store takes no writes for longer than the lease, the last view stays, and `partial` is true.
        Afterwards the nodes converge."""
        async with self.open(SHORT) as one, self.join(one, SHORT) as two:
            one.nodes.members.watch("acme")
            two.put(member("con_2", "bob", "circle:1"))
            await _known(one, [member("con_2", "bob", "circle:1")])
            one.changes.clear()
            async with self.read_only(one):
                two.put(member("con_3", "eve", "circle:1"))
                for node in (one, two):
                    await until(lambda node=node: node.nodes.members.partial, SOON)  # type: ignore[misc]
                end = asyncio.get_running_loop().time() + 4 * SHORT
                while asyncio.get_running_loop().time() < end:
                    assert await one.list_members() == [member("con_2", "bob", "circle:1")]
                    assert one.nodes.members.partial
                    await asyncio.sleep(0.1)
            await until(lambda: not one.nodes.members.partial, SOON)
            await _known(one, [member("con_2", "bob", "circle:1"), member("con_3", "eve", "circle:1")])
            assert [change for _, change in one.changes] == [PresenceChange("circle:1", "eve", True)]

    async def test_members_outlive_the_loss_of_the_store(self) -> None:
        """After a loss of the store each node writes its members again, also for a new node."""
        async with self.open() as one, self.join(one) as two:
            one.put(member("con_1", "ada", "circle:1"))
            await _known(two, [member("con_1", "ada", "circle:1")])
            await self.wipe(one)
            async with self.join(one) as three:
                for node in (two, three):
                    await _known(node, [member("con_1", "ada", "circle:1")])


async def _known(node: NodeUnderTest, members: Any, seconds: float = SOON, tenant: str = "acme") -> None:
    """Wait until exactly these connections are known, in the order of their ids."""
    expected = list(members)
    async with asyncio.timeout(seconds):
        while await node.list_members(tenant) != expected:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.05)
