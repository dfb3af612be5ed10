"""The contract suite of `gateway.core.transport.Transport`, over a real socket with a real client."""

import asyncio

from gateway.core.frame import Batch, Frame
from gateway.core.transport import CLOSE_SECONDS
from gateway.testing.helpers import PATIENCE, until
from gateway.testing.transport_backpressure_contract import TransportBackpressureContract


class TransportContract(TransportBackpressureContract):
    """The guarantees of `gateway.core.transport.Transport`, over a real socket: for WebSockets, unless overridden."""

    # -- writing

    async def test_frames_arrive_as_they_are(self) -> None:
        """A frame of any size and text is one text message."""
        texts = ["", "x", "é" * 63, *("y" * n for n in (125, 126, 127, 65_535, 65_536, 200_000)), "\U0001f600"]
        async with self.peer() as peer:
            for text in texts:
                assert peer.write(text)
                assert await peer.read(1) == [text]

    async def test_order_of_the_calls_is_kept(self) -> None:
        """Batches of any size, written in one or several loop iterations, arrive in order."""
        async with self.peer() as peer:
            numbers = iter(range(1_000))
            expected = []
            for size in [1, 2, 7, 1, 50, 1, 1, 100] * 3:
                batch = [str(next(numbers)) for _ in range(size)]
                expected += batch
                assert peer.write(*batch)
                if size == 7:
                    await asyncio.sleep(0)
            assert await peer.read(len(expected)) == expected

    async def test_one_batch_serves_many(self) -> None:
        """One batch is written to many connections."""
        async with self.peers(5) as peers:
            batch = Batch([Frame(b"one"), Frame(b"two")])
            for peer in peers:
                assert peer.write_batch(batch)
            for peer in peers:
                assert await peer.read(2) == ["one", "two"]

    async def test_client_frames_are_received(self) -> None:
        """Text frames are received in order, whole; binary frames are reported."""
        async with self.peer() as peer:
            for text in ("one", "é" * 5_000, ""):
                await peer.client.send(text)
            await peer.client.send(["in", " ", "parts"])
            await peer.client.send(b"binary")
            await until(lambda: peer.host.binaries == 1)
            assert peer.host.texts == ["one", "é" * 5_000, "", "in parts"]

    async def test_all_is_acknowledged_once_it_is_read(self) -> None:
        """`unacknowledged` is 0 then, or None where that cannot be known."""
        async with self.peer() as peer:
            peer.write("x" * 100_000)
            await peer.read(1)
            await until(lambda: peer.transport.unacknowledged in (0, None))

    # -- direct writes

    async def test_order_is_kept_past_write(self) -> None:
        """Direct writes to the descriptor and calls of `write` arrive in order, with a slow client and short writes."""
        async with self.peer() as peer:
            texts = [f"{n}:".ljust((1, 300, 70_000)[n % 3], ".") for n in range(900)]
            reading = asyncio.create_task(peer.read(len(texts), 30.0))
            for n, text in enumerate(texts):
                if n % 7:
                    peer.deliver(text)
                else:
                    peer.write(text)
                if n % 10 == 9:
                    await asyncio.sleep(0.002)
            assert await reading == texts
            assert peer.host.gone == []

    async def test_no_fd_while_data_is_buffered(self) -> None:
        """A client that reads nothing has no `fd` from the first buffered byte on; nothing is lost, and `fd` is back
        once the data has been read and the client is no longer slow."""
        async with self.peer() as peer:
            past = had = peer.transport.fd is not None
            texts: list[str] = []
            while past or not texts:
                assert len(texts) < self.capacity // 4_096, "the kernel takes it all"
                texts.append(f"{len(texts)}:".ljust(4_096, "."))
                past = peer.deliver(texts[-1])
                if not past:  # but the client's kernel may take more
                    await asyncio.sleep(0.1)
                    past = peer.transport.fd is not None
            await self.expect_received(peer, "anybody there?")
            assert peer.transport.fd is None
            assert await peer.read(len(texts)) == texts
            await until(lambda: (peer.transport.fd is not None) == had)
            peer.deliver("again")
            assert await peer.read(1) == ["again"]

    async def test_no_fd_after_the_end(self) -> None:
        """There is no `fd` after the end by either side, since the number may be reused. A write to a disconnected
        client raises nothing, and the host is called."""
        async with self.peers(4) as peers:
            closed, aborted, polite, rude = peers
            closed.transport.close(1012, "restart")
            aborted.transport.abort()
            assert closed.transport.fd is aborted.transport.fd is None
            await polite.client.close()
            rude.client.transport.abort()
            async with asyncio.timeout(PATIENCE):
                while rude.connection not in rude.host.gone:
                    rude.deliver("x" * 16_384)
                    await asyncio.sleep(0)
            await until(lambda: len(set(rude.host.gone)) == 4)
            assert [peer.transport.fd for peer in peers] == [None] * 4

    # -- the end

    async def test_close_comes_after_what_was_written(self) -> None:
        """The client gets earlier frames, then the close code and reason."""
        async with self.peer() as peer:
            texts = [str(n) for n in range(200)]
            peer.write(*texts)
            peer.transport.close(4401, "token_expired")
            assert await peer.read_to_end() == (texts, *self.expected_close(4401, "token_expired"))
            await until(lambda: peer.connection in peer.host.gone)

    async def test_close_of_a_full_transport_comes_after_what_was_written(self) -> None:
        """The close frame also comes last for a client that has most data still to read."""
        async with self.peer() as peer:
            texts = await peer.stuff(self.capacity)
            peer.transport.close(1012, "restart")
            assert await peer.read_to_end() == (texts, *self.expected_close(1012, "restart"))

    async def test_close_aborts_after_its_deadline(self) -> None:
        """A client that reads nothing is aborted `CLOSE_SECONDS` after `close`; then the host is called."""
        async with self.peer() as peer:
            await peer.stuff(self.capacity)
            peer.transport.close(4401, "token_revoked")
            await until(lambda: peer.connection in peer.host.gone, CLOSE_SECONDS + 0.5)

    async def test_close_twice_is_close_once(self) -> None:
        """The first close code counts."""
        async with self.peer() as peer:
            peer.transport.close(4401, "token_expired")
            peer.transport.close(1011, "internal_error")
            assert await peer.read_to_end() == ([], *self.expected_close(4401, "token_expired"))
            peer.transport.close(1011, "internal_error")
            peer.transport.abort()

    async def test_write_after_close_does_nothing(self) -> None:
        """A write after `close` raises nothing, and is not sent, before and after the client has disconnected."""
        async with self.peer() as peer:
            peer.write("before")
            peer.transport.close(4401, "token_revoked")
            peer.write("after")
            assert await peer.read_to_end() == (["before"], *self.expected_close(4401, "token_revoked"))
            await until(lambda: peer.connection in peer.host.gone)
            peer.write("long after")

    async def test_abort_ends_it_at_once(self) -> None:
        """`abort` ends a full transport at once; it may be called twice, and before or after `close`."""
        async with self.peers(3) as (one, two, three):
            await one.stuff(self.capacity)
            one.transport.abort()
            one.transport.abort()
            one.transport.close(1011, "internal_error")
            two.transport.close(1011, "internal_error")
            two.transport.abort()
            three.transport.abort()
            await until(lambda: {one.connection, two.connection, three.connection} <= set(one.host.gone))
            for peer in (one, two, three):
                peer.write("after")

    async def test_on_transport_closed_is_called(self) -> None:
        """`on_transport_closed` is called after a clean and an unclean disconnect; later writes raise nothing."""
        async with self.peers(3) as (polite, rude, stuck):
            await stuck.stuff(self.capacity)
            await polite.client.close()
            rude.client.transport.abort()
            stuck.client.transport.abort()
            for n in range(20):
                for peer in (polite, rude, stuck):
                    peer.write(str(n).ljust(16_384))
                await asyncio.sleep(0)
            everyone = {peer.connection for peer in (polite, rude, stuck)}
            await until(lambda: everyone <= set(polite.host.gone))
            for peer in (polite, rude, stuck):
                peer.write("long after")
                peer.transport.close(1012, "restart")
                peer.transport.abort()
