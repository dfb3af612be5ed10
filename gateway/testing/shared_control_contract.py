"""The suite of `gateway.core.cluster.Cluster` for control messages among several nodes."""

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

SOON: Final = 5.0
"""Seconds that the suite gives what is promised within 2: the machine may be busy with other things."""

SHORT: Final = 2.0
"""A lease, or the seconds of a message, that a test can wait for."""


class SharedControlContract(ClusterContract):
    """What `Cluster` promises of control messages beyond one node; a part of `SharedClusterContract`."""

    @abstractmethod
    def join(self, node: NodeUnderTest, lease: float = LEASE) -> AbstractAsyncContextManager[NodeUnderTest]:
        """One more node on the store of `node`, with its clock."""

    @abstractmethod
    def partitioned(self, node: NodeUnderTest) -> AbstractAsyncContextManager[None]:
        """Within it nothing goes between this node and the store, and nobody is told; what was on its way is lost."""

    @abstractmethod
    async def wipe(self, node: NodeUnderTest) -> None:
        """Empty the store under running nodes."""

    @abstractmethod
    async def stored(self, node: NodeUnderTest) -> int:
        """How many control messages the store has."""

    # -- control messages

    async def test_message_reaches_every_other_node_once(self) -> None:
        """As it was told, whatever its kind; the node that tells is not called."""
        async with self.open() as one, self.join(one) as two, self.join(one) as three:
            told = _messages()
            for message in told:
                await one.nodes.publish_control(message)
            await until(lambda: min(len(two.heard), len(three.heard)) >= len(told), SOON)
            # Comes after the others, so that what was to be heard twice has been.
            last = two.control("last")
            await two.nodes.publish_control(last)
            await until(lambda: last in one.heard and last in three.heard, SOON)
            assert (one.heard, two.heard, three.heard) == ([last], told, [*told, last])

    async def test_starting_node_gets_the_messages_in_force(self) -> None:
        """All of it by the time that it has started, and nothing that is over: by one clock, whatever that of a node
        says."""
        async with self.open() as one:
            short, long = one.control("short", SHORT), one.control("long", 600.0)
            await one.nodes.publish_control(short)
            await one.nodes.publish_control(long)
            async with self.join(one) as two:
                assert two.heard == [short, long]
            await asyncio.sleep(SHORT + 0.1)
            async with self.join(one) as three:
                assert three.heard == [long]

    async def test_reconnected_node_gets_what_it_missed(self) -> None:
        """Once, and nothing again that it had heard before."""
        async with self.open() as one, self.join(one) as two:
            before, missed = one.control("before"), one.control("missed")
            await one.nodes.publish_control(before)
            await until(lambda: two.heard == [before], SOON)
            async with self.partitioned(two):
                await one.nodes.publish_control(missed)
                await asyncio.sleep(1.5)
                assert two.heard == [before]
            await until(lambda: missed in two.heard, SOON)
            after = one.control("after")
            await one.nodes.publish_control(after)
            await until(lambda: after in two.heard, SOON)
            assert two.heard == [before, missed, after]

    async def test_unstored_message_is_delivered_later(self) -> None:
        """Who tells gets `LogUnavailable`; the others hear it once the store can be reached again."""
        async with self.open() as one, self.join(one) as two:
            message = one.control("jti")
            async with self.partitioned(one):
                await unavailable(one.nodes.publish_control(message))
            await until(lambda: two.heard == [message], 2 * SOON)
            async with self.join(one) as three:
                assert three.heard == [message]
            assert one.heard == []

    async def test_messages_outlive_the_loss_of_the_store(self) -> None:
        """A node that starts after it hears all that is in force; the others, nothing again."""
        async with self.open() as one, self.join(one) as two:
            told = _messages()
            for message in told:
                await one.nodes.publish_control(message)
            await until(lambda: two.heard == told, SOON)
            await self.wipe(one)
            later = two.control("later")
            await two.nodes.publish_control(later)
            await until(lambda: one.heard == [later], SOON)
            async with self.join(one) as three:
                await until(lambda: set(three.heard) == {*told, later}, SOON)
            assert (one.heard, two.heard) == ([later], told)

    async def test_cutoff_reaches_as_far_as_tokens_that_any_node_was_shown(self) -> None:
        """Though it was made where nobody knew that an issuer's clock is ahead."""
        async with self.open() as one, self.join(one) as two, self.join(one) as three:
            ahead = Identity("ada", "acme", Grants(()), frozenset(), "jti", int(AT) + 3, int(AT) + 600)
            two.nodes.revocations.check(ahead, AT)
            await one.nodes.publish_control(ControlMessage("user_revoked", "acme", "ada", AT, 600.0, through=AT))
            for node in (one, two, three):
                await until(lambda node=node: node.nodes.revocations.is_revoked(ahead, AT + 60), SOON)  # type: ignore[misc]

    async def test_replaced_messages_are_compacted(self) -> None:
        """A hundred users revoked again and again are a hundred messages, and so they are for a node that starts."""

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
        """Within 5 seconds, with 100,000; of this process, since the machine may be busy with other things."""
        async with self.open() as one:
            for start in range(0, 100_000, 2_000):
                some = [one.control(f"jti_{n}") for n in range(start, start + 2_000)]
                await asyncio.gather(*map(one.nodes.publish_control, some), return_exceptions=True)
            while await self.stored(one) < 100_000:  # noqa: ASYNC110 - some are stored later
                await asyncio.sleep(0.05)
            began = time.process_time()
            async with self.join(one) as two:
                assert time.process_time() - began < 5
                assert len(two.nodes.revocations) == len(two.heard) == 100_000

    async def test_tenants_publish_round_robin(self) -> None:
        """However many messages one tenant has, those of others do not wait for them."""
        async with self.open() as one, self.join(one) as two:
            flood = [asyncio.ensure_future(one.nodes.publish_control(one.control(f"jti_{n}"))) for n in range(5_000)]
            await asyncio.sleep(0)
            other = one.control("other", tenant="globex")
            await one.nodes.publish_control(other)
            assert sum(told.done() for told in flood) < 2_000
            await until(lambda: other in two.heard, SOON)
            assert len(two.heard) < 3_000
            await asyncio.gather(*flood, return_exceptions=True)  # those that waited for too long are stored later


def _messages() -> list[ControlMessage]:
    """One of each kind."""
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
    raise AssertionError("it went well without the store")
