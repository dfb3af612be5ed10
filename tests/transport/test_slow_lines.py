"""Clients on slow lines: little that is written waits for them, in the process or in the kernel, and so it is new."""

import asyncio
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest

from gateway.core.connection import Connection
from gateway.transports.uvicorn.line import MAX_UNSENT, MIN_UNSENT, Line
from gateway.transports.uvicorn.sockets import limit_unsent, send_record
from tests.support.inprocess import RunningGateway
from tests.support.pauses import ran, until
from tests.support.raw_client import RawClient, opened, raw, request
from tests.transport.slow import connection_of, publish, unlimited

KINDS: Final = ("websocket", "sse")
_values: Final = re.compile(r'"at":([0-9.]+),').findall
RATE: Final = 10_000
"""Bytes a second that the line carries."""


@asynccontextmanager
async def following(gate: RunningGateway, kind: str) -> AsyncIterator[RawClient]:
    """A client of circle 1 whose system takes little on its own."""
    if kind == "websocket":
        async with opened(gate.port, gate.token(), "&rooms=circle:1", receive_buffer=4_096) as client:
            yield client
        return
    async with raw(gate.port, receive_buffer=4_096) as client:
        await client.send(request("GET", f"/events/stream?rooms=circle:1&token={gate.token()}"))
        await client.head()
        await until(lambda: list(gate.service.gateway.manager.connections()))
        yield client


def kernel_limit(fd: int) -> int:
    """The unsent bytes that the kernel buffers for a client."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)


def unread(connection: Connection) -> int:
    """The bytes that were written and that the client's system has not taken."""
    found = connection.transport.unacknowledged
    assert found is not None
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_little_waits_for_a_client_that_falls_behind_and_more_for_a_fast_one(kind: str) -> None:
    """Less than 3 s of a line of 10 kB/s are on the way to a client that falls behind. Once it reads as fast as it can,
    the kernel buffers as much for it as for any other."""
    async with unlimited() as gate, following(gate, kind) as client:
        connection = connection_of(gate)
        fd = connection.transport.fd
        assert fd is not None
        begun = kernel_limit(fd)
        while connection.live:
            await publish(gate, 1)
            await asyncio.sleep(0.02)
        assert unread(connection) < 30_000
        assert kernel_limit(fd) == MIN_UNSENT < begun < MAX_UNSENT

        async def read() -> None:
            while await client.some():
                pass

        reading = asyncio.create_task(read())

        async def fast() -> bool:
            await publish(gate, 40)
            return kernel_limit(fd) >= begun

        await until(fast)
        await until(lambda: connection.live)
        reading.cancel()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_only_paused_counts_as_slow_for_a_while(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it gets direct writes again, and the limits of a new one."""
    monkeypatch.setattr(Line, "measured", lambda line, *_: line.narrowed())
    monkeypatch.setattr("gateway.transports.uvicorn.writer.FORGET_SECONDS", 0.0)
    async with unlimited() as gate, following(gate, kind) as client:
        connection = connection_of(gate)
        fd = connection.transport.fd
        assert fd is not None
        begun = kernel_limit(fd)
        while connection.live:
            await publish(gate, 1)
        await client.some(1_000)
        reading = asyncio.create_task(client.rest())
        await until(lambda: connection.live)
        await until(lambda: connection.transport.fd == fd)
        assert kernel_limit(fd) == begun
        reading.cancel()


@pytest.mark.parametrize("send", [os.write, send_record])
def test_the_kernel_keeps_its_limit_of_unsent_bytes_only_where_each_write_is_a_record(
    send: Callable[[int, bytes], int],
) -> None:
    """Later bytes join the last unsent segment without a look at the limit."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            accepted.setblocking(False)
            limit_unsent(accepted, MIN_UNSENT)
            with suppress(BlockingIOError):
                while send(accepted.fileno(), b"y" * 500):
                    pass
            (unsent,) = struct.unpack("144x I", accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 148))
            assert (unsent < MIN_UNSENT + 500) == (send is send_record), unsent
            assert client.fileno() >= 0


@pytest.mark.timing
@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_on_a_slow_line_is_at_most_two_seconds_behind_the_newest_value(kind: str) -> None:
    """A line of 10 kB/s, and an item that changes a hundred times a second, of ten times as many bytes: from the first
    event on, no value that is shown is older than 2 s when the next one comes."""
    async with unlimited() as gate, following(gate, kind) as client:
        begun = ran()

        async def change() -> None:
            while True:
                data = {"at": ran(), **{"pad": "y" * 800}}
                await gate.service.gateway.publish("acme", "run.output", data, circle_id=1, item_key="gauge")
                await asyncio.sleep(0.01)

        changing = asyncio.create_task(change())
        text, shown, oldest = "", begun, 0.0
        while (now := ran()) < begun + 8.0:
            due = int(RATE * (now - begun)) - client.received
            with suppress(BlockingIOError, TimeoutError):
                text += (await client.some(min(due, 1_000), timeout=0.2)).decode("latin-1") if due >= 200 else ""
            for value in _values(text):
                oldest, shown = max(oldest, ran() - shown), float(value)
                text = text.partition(value)[2]
            await asyncio.sleep(0.005)
        changing.cancel()
        assert shown > begun + 5.0
        assert oldest < 2.0
