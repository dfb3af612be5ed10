"""The contract suite of control messages in `gateway.core.cluster.Cluster`, for several nodes."""

import asyncio
import time
from abc import abstractmethod
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Final

from auth.grants import Grants
from auth.identity import Identity
from gateway.core.control import ControlKind, ControlMessage
from gateway.core.errors import LogUnavailable
from gateway.testing.cluster_contract import AT, LEASE, ClusterContract, NodeUnderTest
from gateway.testing.helpers import until

SOON: Final = 20.0
"""Seconds that the suite waits for a thing that is guaranteed within 2 seconds: the machine may be busy."""

SHORT: Final = 2.0
"""A lease, or the seconds of a message, that is short enough to wait for."""


class SharedControlContract(ClusterContract):
    """The guarantees of `Cluster` about control messages between nodes; a part of `SharedClusterContract`."""

    @abstractmethod
    def join(self, node: NodeUnderTest, lease: float = LEASE) -> AbstractAsyncContextManager[NodeUnderTest]:
        """One more node on the store of `node`, with its clock."""

    @abstractmethod
    def partitioned(self, node: NodeUnderTest) -> AbstractAsyncContextManager[None]:
        """A context in which the node and the store are disconnected, without an error; messages in flight are lost."""

    @abstractmethod
    async def wipe(self, node: NodeUnderTest) -> None:
        """Empty the store under running nodes."""

    @abstractmethod
    async def stored(self, node: NodeUnderTest) -> int:
        """The number of control messages in the store."""

    # -- control messages

    async def test_message_reaches_every_other_node_once(self) -> None:
        """A message of any kind reaches every other node unchanged, once; the publishing node is not called."""
        async with self.open() as one, self.join(one) as two, self.join(one) as three:
            sent = _messages()
            for message in sent:
                await one.nodes.publish_control(message)
            await until(lambda: min(len(two.received), len(three.received)) >= len(sent), SOON)
            # A last message, so that a second delivery of earlier ones would have come by now.
            last = two.control("last")
            await two.nodes.publish_control(last)
            await until(lambda: last in one.received and last in three.received, SOON)
            assert (one.received, two.received, three.received) == ([last], sent, [*sent, last])

    async def test_starting_node_gets_the_messages_in_force(self) -> None:
        """A node has all messages in force when it has started, and no expired ones, whatever its own clock says."""
        async with self.open() as one:
            short, long = one.control("short", SHORT), one.control("long", 600.0)
            await one.nodes.publish_control(short)
            await one.nodes.publish_control(long)
            async with self.join(one) as two:
                assert two.received == [short, long]
            await asyncio.sleep(SHORT + 0.1)
            async with self.join(one) as three:
                assert three.received == [long]

    async def test_reconnected_node_gets_what_it_missed(self) -> None:
        """After a partition a node gets the missed messages once, and earlier ones not again."""
        async with self.open() as one, self.join(one) as two:
            before, missed = one.control("before"), one.control("missed")
            await one.nodes.publish_control(before)
            await until(lambda: two.received == [before], SOON)
            async with self.partitioned(two):
                await one.nodes.publish_control(missed)
                await asyncio.sleep(1.5)
                assert two.received == [before]
            await until(lambda: missed in two.received, SOON)
            after = one.control("after")
            await one.nodes.publish_control(after)
            await until(lambda: after in two.received, SOON)
            assert two.received == [before, missed, after]

    async def test_unstored_message_is_delivered_later(self) -> None:
        """The caller gets `LogUnavailable`; the other nodes get the message once the store is reachable again."""
        async with self.open() as one, self.join(one) as two:
            message = one.control("jti")
            async with self.partitioned(one):
                await unavailable(one.nodes.publish_control(message))
            await until(lambda: two.received == [message], SOON)
            async with self.join(one) as three:
                assert three.received == [message]
            assert one.received == []

    async def test_messages_outlive_the_loss_of_the_store(self) -> None:
        """After a loss of the store a new node gets all messages in force; the others get none again."""
        async with self.open() as one, self.join(one) as two:
            sent = _messages()
            for message in sent:
                await one.nodes.publish_control(message)
            await until(lambda: two.received == sent, SOON)
            await self.wipe(one)
            later = two.control("later")
            await two.nodes.publish_control(later)
            await until(lambda: one.received == [later], SOON)
            async with self.join(one) as three:
                await until(lambda: set(three.received) == {*sent, later}, SOON)
            assert (one.received, two.received) == ([later], sent)

    async def test_cutoff_reaches_as_far_as_tokens_that_any_node_was_shown(self) -> None:
        """A cutoff ends tokens with an `iat` ahead of the clock that another node has seen."""
        async with self.open() as one, self.join(one) as two, self.join(one) as three:
            ahead = Identity("ada", "acme", Grants(()), frozenset(), "jti", int(AT) + 3, int(AT) + 600)
            two.nodes.revocations.check(ahead, AT)
            await one.nodes.publish_control(ControlMessage("user_revoked", "acme", "ada", AT, 600.0, through=AT))
            for node in (one, two, three):
                await until(lambda node=node: node.nodes.revocations.is_revoked(ahead, AT + 60), SOON)  # type: ignore[misc]

    async def test_replaced_messages_are_compacted(self) -> None:
        """Repeated revocations of a hundred users are a hundred messages, also for a new node."""

        def cutoff(user: int, at: int) -> ControlMessage:
            return ControlMessage("user_revoked", "acme", f"u{user}", AT + at, 600.0, through=AT + at)

        async with self.open() as one, self.join(one) as two:
            for at in range(30):
                await asyncio.gather(*(one.nodes.publish_control(cutoff(user, at)) for user in range(100)))
            await until(lambda: two.nodes.revocations.newest_cutoff("acme", "u99") == AT + 29, SOON)
            async with asyncio.timeout(SOON):
                while await self.stored(one) > 2 * 100 + 1_000:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.05)
            async with self.join(one) as three:
                newest = [three.nodes.revocations.newest_cutoff("acme", f"u{user}") for user in range(100)]
                assert newest == [AT + 29] * 100
                assert len(three.nodes.revocations) == 100

    async def test_node_starts_with_many_messages_in_force(self) -> None:
        """A node starts within 2.5 seconds of CPU time with 50,000 messages in force."""
        async with self.open() as one:
            for start in range(0, 50_000, 2_000):
                some = [one.control(f"jti_{n}") for n in range(start, start + 2_000)]
                await asyncio.gather(*map(one.nodes.publish_control, some), return_exceptions=True)
            while await self.stored(one) < 50_000:  # noqa: ASYNC110 - some are stored later
                await asyncio.sleep(0.05)
            began = time.process_time()
            async with self.join(one) as two:
                assert time.process_time() - began < 2.5
                assert len(two.nodes.revocations) == len(two.received) == 50_000

    async def test_tenants_publish_round_robin(self) -> None:
        """Many messages of one tenant do not delay another's."""
        async with self.open() as one, self.join(one) as two:
            flood = [asyncio.ensure_future(one.nodes.publish_control(one.control(f"jti_{n}"))) for n in range(5_000)]
            await asyncio.sleep(0)
            other = one.control("other", tenant="globex")
            await one.nodes.publish_control(other)
            assert sum(sent.done() for sent in flood) < 2_000
            await until(lambda: other in two.received, SOON)
            assert len(two.received) < 3_000
            await asyncio.gather(*flood, return_exceptions=True)  # those that waited for too long are stored later


def _messages() -> list[ControlMessage]:
    """A message of each kind."""
    kinds: dict[ControlKind, tuple[str | None, str, str]] = {
        "token_revoked": (None, "jti", ""),
        "user_revoked": ("acme", "ada@example.com", ""),
        "tenant_revoked": ("globex", "", ""),
        "room_revoked": ("acme", "ada", "circle:1"),
        "connection_closed": ("acme", "con_1", ""),
    }
    return [
        ControlMessage(kind, tenant, name, AT, 600.5, room, AT + 0.5) for kind, (tenant, name, room) in kinds.items()
    ]


async def unavailable(asked: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(SOON):
            await asked
    except LogUnavailable:
        return
    raise AssertionError("no LogUnavailable was raised without the store")
