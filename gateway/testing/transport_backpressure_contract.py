"""The contract suite of a transport's backpressure: bounded buffers, slow, stuck and idle clients."""

import asyncio

from gateway.core.connection import Connection
from gateway.core.frame import Batch, Frame
from gateway.testing.helpers import until
from gateway.testing.transport_fixture import TransportFixture


class TransportBackpressureContract(TransportFixture):
    """The guarantees of `gateway.core.transport.Transport` for clients that read slower than they are written to."""

    async def test_full_transport_returns_false(self) -> None:
        """A client that reads nothing fills its transport within bounds; from that batch on `write` returns False."""
        async with self.peer() as peer:
            peer.fill(self.capacity)
            assert [peer.write("more") for _ in range(3)] == [False] * 3
            assert peer.host.drains == []

    async def test_buffer_is_bounded_while_the_loop_runs(self) -> None:
        """The buffer is also bounded while the event loop writes to the kernel."""
        async with self.peer() as peer:
            taken, full = 0, False
            while not full and taken < self.capacity:
                full = not peer.write("x" * 16_384)
                taken += 16_384
                await asyncio.sleep(0)
            assert full

    async def test_one_batch_over_the_limit_is_taken_whole(self) -> None:
        """A single batch over the limit is taken whole, and `write` returns False."""
        async with self.peer() as peer:
            texts = [f"{n}:".ljust(65_536, ".") for n in range(self.capacity // 65_536)]
            assert not peer.write(*texts)
            assert await peer.read(len(texts)) == texts
            await until(lambda: len(peer.host.drains) == 1)

    async def test_on_writable_is_called_once(self) -> None:
        """`on_writable` is called once when there is room again, not from within `write`; nothing written while it was
        full is lost."""
        async with self.peer() as peer:
            written = peer.fill(self.capacity)
            assert not peer.write("late")
            assert await peer.read(len(written) + 1) == [*written, "late"]
            await until(lambda: len(peer.host.drains) > 0)
            assert peer.write("again")
            assert await peer.read(1) == ["again"]
            await asyncio.sleep(0.1)
            assert peer.host.drains == [peer.connection]

    async def test_on_writable_is_not_called_unless_full(self) -> None:
        """`on_writable` is not called for a transport that was never full."""
        async with self.peer() as peer:
            for n in range(50):
                assert peer.write(str(n))
                await asyncio.sleep(0)
            await peer.read(50)
            assert peer.host.drains == []

    async def test_writing_from_on_writable_loses_nothing(self) -> None:
        """A host that writes from `on_writable` until the transport is full gets 24 MiB through in order."""
        async with self.peer() as peer:
            source = iter([f"{n}:".ljust(32_768, ".") for n in range(768)])

            def pump(connection: Connection) -> None:
                for text in source:
                    if not connection.transport.write(Batch([Frame(text.encode())])):
                        refusals.append(text)
                        return

            refusals: list[str] = []
            peer.host.writable_hook = pump
            pump(peer.connection)
            received = await peer.read(768, 30.0)
            assert [text.partition(":")[0] for text in received] == [str(n) for n in range(768)]
            await until(lambda: len(peer.host.drains) == len(refusals))

    async def test_memory_is_bounded_while_stuck(self) -> None:
        """A transport that is not written to after False holds what fills it and one batch more; `on_writable` is not
        called while the client is stuck."""
        async with self.peer() as peer:
            await peer.stuff(self.capacity)
            drains = len(peer.host.drains)
            await asyncio.sleep(0.3)
            assert len(peer.host.drains) == drains
            assert not peer.write("x")

    async def test_stuck_client_delays_no_other(self) -> None:
        """A stuck client does not delay others."""
        async with self.peers(3) as (stuck, *others):
            await stuck.stuff(self.capacity)
            for n in range(50):
                for peer in others:
                    assert peer.write(str(n))
                for peer in others:
                    assert await peer.read(1, 1.0) == [str(n)]

    async def test_stuck_client_is_aborted(self) -> None:
        """A client that reads nothing while data waits is aborted after `stall` seconds, and the host is called."""
        async with self.peer(stall=0.5) as peer:
            await peer.stuff(self.capacity)
            await until(lambda: peer.connection in peer.host.gone)

    async def test_idle_client_is_kept(self) -> None:
        """A client without waiting data keeps its connection."""
        async with self.peer(stall=0.3) as peer:
            await asyncio.sleep(1.5)
            assert peer.write("still here")
            assert await peer.read(1) == ["still here"]

    async def test_slow_client_is_kept(self) -> None:
        """A client that reads slowly keeps its connection, and gets everything in order."""
        async with self.peer(stall=2.0) as peer:
            written = await peer.stuff(self.capacity)
            received = []
            for n in range(0, len(written), 8):
                received += await peer.read(min(8, len(written) - n))
                await asyncio.sleep(3.0 / (len(written) / 8))
            assert received == written
            assert peer.host.gone == []
