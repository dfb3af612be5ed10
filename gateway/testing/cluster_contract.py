"""The contract suite of `gateway.core.cluster.Cluster` and its `ClusterMembers`, for a single node."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.core.cluster import Cluster, NodeAnswers
from gateway.core.control import ControlMessage
from gateway.core.members import Member, PresenceChange, TenantTotals
from gateway.core.usage import Usage, UsageRow

LEASE: Final = 60.0
"""The lease of a node's members in seconds, as in the gateway."""


AT: Final = 1_768_000_000.25
"""The time of the suite's cutoffs, in seconds since the epoch."""


class MemberTable:
    """A `MemberSource` for tests: a table of a node's connections."""

    def __init__(self) -> None:
        self.of: dict[str, dict[str, Member]] = {}
        self.counts: dict[str, TenantTotals] = {}

    def ids(self, tenant: str) -> Collection[str]:
        return self.of.get(tenant, {}).keys()

    def member(self, tenant: str, connection_id: str) -> Member | None:
        return self.of.get(tenant, {}).get(connection_id)

    def totals(self, tenant: str) -> TenantTotals:
        return self.counts.get(tenant, TenantTotals(0, 0, 0))

    def tenants(self) -> Collection[str]:
        return [*self.of, *self.counts]


@dataclass(slots=True)
class NodeUnderTest:
    """A node before its start, its connections, and the callbacks that it got. `pass_time` advances the time by which
    values and messages expire."""

    nodes: Cluster
    pass_time: Callable[[float], Awaitable[None]]
    connections: MemberTable = field(default_factory=MemberTable)
    received: list[ControlMessage] = field(default_factory=list)
    changes: list[tuple[str, PresenceChange]] = field(default_factory=list)

    answer: Callable[["NodeUnderTest", Any], Awaitable[Any]] = field(default=lambda node, question: node.echo(question))

    async def echo(self, question: Any) -> Any:
        """The answer to a question: this node's name, and the question."""
        return [self.nodes.members.node, question]

    def __post_init__(self) -> None:
        self.nodes.attach(self._on_control)
        self.nodes.members.attach(self.connections, self._on_changes)
        self.nodes.queries.attach("echo", self._on_question)
        self.nodes.queries.attach("count", self._on_count)

    def _on_control(self, news: Sequence[ControlMessage]) -> None:
        for message in news:
            assert self.nodes.apply(message) == (message, False), "it is not in force yet"
        self.received += news

    async def _on_question(self, question: Any) -> Any:
        return await self.answer(self, question)

    async def _on_count(self, tenant: str) -> int:
        return len(self.connections.ids(tenant))

    def _on_changes(self, tenant: str, changes: list[PresenceChange]) -> None:
        self.changes += [(tenant, change) for change in changes]

    def put(self, *members: Member, tenant: str = "acme") -> None:
        """Add or change connections of this node."""
        for member in members:
            self.connections.of.setdefault(tenant, {})[member.connection_id] = member
            self.nodes.members.changed(tenant, member.connection_id)

    def remove(self, *ids: str, tenant: str = "acme") -> None:
        for id in ids:
            del self.connections.of[tenant][id]
            self.nodes.members.changed(tenant, id)

    def known(self, tenant: str = "acme") -> list[Member]:
        """The known remote connections, sorted by id."""
        return sorted((member for _, member in self.nodes.members.remote(tenant)), key=lambda m: m.connection_id)

    async def list_members(self, tenant: str = "acme") -> list[Member]:
        """The remote connections as of now, sorted by id."""
        if (refreshing := self.nodes.members.refresh(tenant)) is not None:
            await refreshing
        return self.known(tenant)

    def control(self, name: str, seconds: float = 600.0, tenant: str = "acme") -> ControlMessage:
        """A revocation of a token, in force for `seconds`."""
        return ControlMessage("token_revoked", tenant, name, AT, seconds, through=AT)


def member(id: str, user_id: str = "ada", *rooms: str) -> Member:
    """A connection of the user in these rooms."""
    return Member(id, None, user_id, 1_768_000_000.5, 1_768_000_600, rooms)


class ClusterContract(ABC):
    """The guarantees of `gateway.core.cluster.Cluster` for any node, also a single one."""

    @abstractmethod
    def open(self, lease: float = LEASE) -> AbstractAsyncContextManager[NodeUnderTest]:
        """A running node on a new, empty store; `lease` is the lease of a node's members in seconds."""

    # -- one-time values

    async def test_value_is_popped_once(self) -> None:
        """One `pop` returns the stored value unchanged; the next one returns None, as for an unknown key."""
        async with self.open() as node:
            for value in ("value", "", "\x00\u2028é\U0001f600", "x" * 20_000):
                await node.nodes.put_once("key", value, 30)
                assert await node.nodes.pop("key") == value
                assert await node.nodes.pop("key") is None
            assert await node.nodes.pop("no such key") is None

    async def test_exactly_one_of_many_pops_gets_the_value(self) -> None:
        """Exactly one of many concurrent `pop`s returns the value."""
        async with self.open() as node:
            await node.nodes.put_once("key", "value", 30)
            taken = await asyncio.gather(*(node.nodes.pop("key") for _ in range(20)))
            assert sorted(taken, key=str) == [None] * 19 + ["value"]

    async def test_keys_of_values_are_distinct(self) -> None:
        """Similar keys are different keys."""
        keys = ["k", "K", "k ", " k", "k:", "k\x00", "é", "e\u0301", "x" * 200]
        async with self.open() as node:
            for n, key in enumerate(keys):
                await node.nodes.put_once(key, str(n), 30)
            assert [await node.nodes.pop(key) for key in keys] == [str(n) for n in range(len(keys))]

    async def test_value_expires_after_its_ttl(self) -> None:
        """A value can be popped until its TTL has passed, and not after."""
        async with self.open() as node:
            await node.nodes.put_once("short", "a", 20)
            await node.nodes.put_once("long", "b", 40)
            await node.nodes.put_once("longest", "c", 60)
            await node.pass_time(15.0)
            assert await node.nodes.pop("short") == "a"
            await node.nodes.put_once("short", "a", 20)
            await node.pass_time(26.0)
            assert [await node.nodes.pop(key) for key in ("short", "long", "longest")] == [None, None, "c"]

    # -- usage

    async def test_usage_is_kept_where_the_store_is_durable(self) -> None:
        """Otherwise nothing is kept, and a record is no error."""
        async with self.open() as node:
            store, row = node.nodes.usage, UsageRow(3_600, "acme", Usage(1.5, 2, 3, 4))
            assert await store.record([row])
            kept = {(3_600, "acme"): {node.nodes.members.node: row.usage}} if store.durable else {}
            assert await store.read(None, (0, ""), 10) == await store.read("acme", (0, ""), 10) == kept

    # -- control messages and members

    async def test_published_message_is_in_force_and_not_called_back(self) -> None:
        """A published message is in force on the publishing node, whose callback is not called."""
        async with self.open() as node:
            await node.nodes.publish_control(node.control("jti"))
            assert [entry.name for entry in node.nodes.revocations] == ["jti"]
            assert node.received == []

    async def test_applied_message_is_in_force_at_once(self) -> None:
        """`apply` puts a message into force on this node; it returns the message in force, and whether it is new."""
        async with self.open() as node:
            message = node.control("jti")
            assert node.nodes.apply(message) == (message, True)
            assert node.nodes.apply(message) == (message, False)
            assert [entry.name for entry in node.nodes.revocations] == ["jti"]

    async def test_message_expires(self) -> None:
        """`sweep` drops a message within a minute after its seconds have passed, and not before."""
        async with self.open() as node:
            await node.nodes.publish_control(node.control("short", 0.2))
            await node.nodes.publish_control(node.control("long", 600.0))
            node.nodes.sweep()
            assert len(node.nodes.revocations) == 2
            await node.pass_time(61.0)
            node.nodes.sweep()
            assert [entry.name for entry in node.nodes.revocations] == ["long"]

    async def test_single_node_has_no_answers(self) -> None:
        """Without other nodes there are no answers, none is silent, and it takes no time."""
        async with self.open() as node:
            assert await node.nodes.queries.ask("echo", "acme", "question") == NodeAnswers({})
            assert await node.nodes.queries.ask_node("echo", "no-such-node", "question") == NodeAnswers({})

    async def test_own_connections_are_not_remote(self) -> None:
        """A single node has no remote members and gets no changes, and `partial` is False."""
        async with self.open() as node:
            members = node.nodes.members
            members.watch("acme")
            node.put(member("con_1", "ada", "circle:1"), member("con_2", "bob", "circle:1"))
            assert await node.list_members() == []
            node.remove("con_1")
            assert await node.list_members("bolt") == []
            members.unwatch("acme")
            assert await node.list_members() == []
            assert len(members.remote("acme")) == 0
            assert members.remote("acme").rooms == {}
            assert node.changes == []
            assert not members.partial
