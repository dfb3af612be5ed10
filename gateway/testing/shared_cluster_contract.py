"""The suite of `gateway.core.cluster.Cluster` and its `ClusterMembers` among several nodes."""

import asyncio
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any

from gateway.core.members import Member, PresenceChange, TenantTotals
from gateway.testing.cluster_contract import NodeUnderTest, member
from gateway.testing.helpers import until
from gateway.testing.shared_control_contract import SHORT, SOON, SharedControlContract, unavailable


class SharedClusterContract(SharedControlContract):
    """What `Cluster` and `ClusterMembers` promise beyond one node, for those whose store is elsewhere."""

    @abstractmethod
    async def kill(self, node: NodeUnderTest) -> None:
        """End the node without a word, as a crash does. It is stopped later on, like any other."""

    @abstractmethod
    def read_only(self, node: NodeUnderTest) -> AbstractAsyncContextManager[None]:
        """Within it the store can be read, and takes no writes from any node."""

    # -- what is kept

    async def test_value_put_at_one_node_is_popped_at_another(self) -> None:
        """By exactly one of many who take at once, wherever they are."""
        async with self.open() as one, self.join(one) as two:
            await one.nodes.put_once("key", "value", 30)
            assert await two.nodes.pop("key") == "value"
            await two.nodes.put_once("key", "again", 30)
            taken = await asyncio.gather(*(node.nodes.pop("key") for node in (one, two) * 10))
            assert sorted(taken, key=str) == [None] * 19 + ["again"]

    async def test_put_and_pop_fail_without_the_store(self) -> None:
        """`LogUnavailable` says so; afterwards what was kept before is there."""
        async with self.open() as one:
            await one.nodes.put_once("key", "value", 600)
            async with self.partitioned(one):
                await unavailable(one.nodes.put_once("other", "value", 600))
                await unavailable(one.nodes.pop("no such key"))
            assert await one.nodes.pop("key") == "value"

    # -- members

    async def test_connections_are_known_at_every_node(self) -> None:
        """To who looks, as they are: one comes, is changed, and goes. Each with its node, and with what that counts."""
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
        """That come at once, change at once and go at once."""
        crowd = [member(f"con_{n:04}", f"user{n % 100}", "circle:1") for n in range(3_000)]
        async with self.open() as one, self.join(one) as two:
            one.put(*crowd)
            await _known(two, crowd, 4 * SOON)
            moved = [member(each.connection_id, each.user_id, "circle:2") for each in crowd]
            one.put(*moved)
            await _known(two, moved, 4 * SOON)
            one.remove(*(each.connection_id for each in crowd))
            await _known(two, [], 4 * SOON)

    async def test_members_of_tenants_are_isolated(self) -> None:
        """Though their names look alike."""
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
        """The first connection of a user into a room and the last one out, over all other nodes."""
        async with self.open() as one, self.join(one) as two, self.join(one) as watcher:
            one.put(member("con_1", "ada", "circle:1"))
            await _known(watcher, one.connections.of["acme"].values())
            watcher.nodes.members.watch("acme")
            expected: list[tuple[str, PresenceChange]] = []

            async def told(*changes: PresenceChange) -> None:
                expected.extend(("acme", change) for change in changes)
                await until(lambda: len(watcher.changes) >= len(expected), SOON)
                assert watcher.changes == expected

            two.put(member("con_2", "bob", "circle:1"))
            await told(PresenceChange("circle:1", "bob", True))
            one.put(member("con_3", "bob", "circle:1"))  # the second one of hers
            await until(lambda: len(watcher.known()) == 3, SOON)
            two.put(member("con_2", "bob", "circle:2"))
            await told(PresenceChange("circle:2", "bob", True))
            one.remove("con_3")
            await told(PresenceChange("circle:1", "bob", False))
            one.remove("con_1")
            await told(PresenceChange("circle:1", "ada", False))

    async def test_first_read_reports_no_change(self) -> None:
        """Who watches from the beginning gets to know of it without being told."""
        async with self.open() as one, self.join(one) as two:
            one.put(member("con_1", "ada", "circle:1"))
            await _known(two, [member("con_1", "ada", "circle:1")])
            async with self.join(one) as watcher:
                watcher.nodes.members.watch("acme")
                await until(lambda: watcher.known() == [member("con_1", "ada", "circle:1")], SOON)
                assert watcher.changes == []

    async def test_totals_are_known_while_their_node_runs(self) -> None:
        """Soon after they have changed, also of a tenant without any connection there; and not of a node that ended,
        whether or not anything else was known of it."""
        async with self.open(SHORT) as one, self.join(one, SHORT) as two:

            async def counted(*expected: TenantTotals) -> None:
                async with asyncio.timeout(SHORT + SOON):
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
        """Though it goes on refreshing its view."""
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
        """Whether somebody watches or looks."""
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
        """And those of one that lives count for longer than that."""
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
        """`partial` says so, and a refresh ends within 2 seconds. In reach again it knows what has changed, and so do
        the others, and nobody is told of those who were there all the time."""
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
        """It knows what it heard last, and that it may be wrong; in reach again, who has come and who has gone."""
        async with self.open(SHORT) as one, self.join(one, SHORT) as two, self.join(one, SHORT) as three:
            one.nodes.members.watch("acme")
            two.put(member("con_2", "bob", "circle:1"))
            three.put(member("con_3", "eve", "circle:1"))
            await _known(one, [member("con_2", "bob", "circle:1"), member("con_3", "eve", "circle:1")])
            one.changes.clear()
            async with self.partitioned(one):
                await self.kill(three)
                await until(lambda: one.nodes.members.partial, SOON)
                await asyncio.sleep(SHORT + SOON)
                assert await one.list_members() == [
                    member("con_2", "bob", "circle:1"),
                    member("con_3", "eve", "circle:1"),
                ]
                two.put(member("con_4", "zoe", "circle:1"))
            await _known(one, [member("con_2", "bob", "circle:1"), member("con_4", "zoe", "circle:1")], 2 * SOON)
            assert {change for _, change in one.changes} == {
                PresenceChange("circle:1", "zoe", True),
                PresenceChange("circle:1", "eve", False),
            }

    async def test_read_only_store_reports_no_leave(self) -> None:
        """While the store takes no writes, for longer than the lease: what is known may not be all, and `partial` says
        so. Afterwards the nodes know what has changed."""
        async with self.open(SHORT) as one, self.join(one, SHORT) as two:
            one.nodes.members.watch("acme")
            two.put(member("con_2", "bob", "circle:1"))
            await _known(one, [member("con_2", "bob", "circle:1")])
            one.changes.clear()
            async with self.read_only(one):
                two.put(member("con_3", "eve", "circle:1"))
                for node in (one, two):
                    await until(lambda node=node: node.nodes.members.partial, SOON)  # type: ignore[misc]
                end = asyncio.get_running_loop().time() + 2 * SHORT + SOON
                while asyncio.get_running_loop().time() < end:
                    assert await one.list_members() == [member("con_2", "bob", "circle:1")]
                    assert one.nodes.members.partial
                    await asyncio.sleep(0.1)
            await until(lambda: not one.nodes.members.partial, SOON)
            await _known(one, [member("con_2", "bob", "circle:1"), member("con_3", "eve", "circle:1")])
            assert [change for _, change in one.changes] == [PresenceChange("circle:1", "eve", True)]

    async def test_members_outlive_the_loss_of_the_store(self) -> None:
        """Each node tells anew what it has, also to one that comes only then."""
        async with self.open() as one, self.join(one) as two:
            one.put(member("con_1", "ada", "circle:1"))
            await _known(two, [member("con_1", "ada", "circle:1")])
            await self.wipe(one)
            async with self.join(one) as three:
                for node in (two, three):
                    await _known(node, [member("con_1", "ada", "circle:1")])


async def _known(node: NodeUnderTest, members: Any, seconds: float = SOON, tenant: str = "acme") -> None:
    """Look until these connections are known, in the order of their ids."""
    expected = list(members)
    async with asyncio.timeout(seconds):
        while await node.list_members(tenant) != expected:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.05)
