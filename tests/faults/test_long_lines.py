"""Clients on lines with a real round-trip time, on which TCP needs several of them for a burst, and the routers of a
slow one have queues."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest

from gateway.core.connection import Connection
from gateway.transports.uvicorn.sockets import UNSENT_BYTES, limit_unsent
from tests.faults.links import Link, long_link
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import ran, until
from tests.support.raw_client import RawClient, handshake
from tests.support.settings import settings_for
from tests.transport.slow import connection_of

_values: Final = re.compile(rb'"at":([0-9.]+),').findall


@asynccontextmanager
async def serving(link: Link) -> AsyncIterator[RunningGateway]:
    """A gateway at one end of the link, without limits on events."""
    listener = link.listener()
    limit_unsent(listener, UNSENT_BYTES)
    with suppress(OSError):  # as most machines have it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    settings = settings_for(events_per_second=0, commands_per_second=0, ping_interval=30.0)
    async with running(settings, listener=listener) as gate:
        yield gate


@asynccontextmanager
async def following(gate: RunningGateway, link: Link) -> AsyncIterator[tuple[RawClient, Connection]]:
    """A client of circle 1 at the other end."""
    with await asyncio.to_thread(link.connect, gate.port) as sock:
        sock.setblocking(False)
        client = RawClient(sock)
        await client.send(handshake(f"/ws/dashboard?token={gate.token()}&rooms=circle:1"))
        await client.head()
        yield client, connection_of(gate)


async def read_on(client: RawClient) -> None:
    while await client.some(1 << 20, 60.0):
        pass


@pytest.mark.timing
async def test_a_client_on_a_long_line_does_not_fall_behind_at_bursts() -> None:
    """120 ms, 20 MB/s, and 100 events of 1 kB at once, after pauses that make TCP start slowly. Of the first two it is
    not known yet that the line is fast."""
    with long_link(0.12, 20e6, 2_400_000) as link:
        if link is None:
            pytest.skip("needs to make network namespaces and TUN devices (/dev/net/tun)")
        async with serving(link) as gate, following(gate, link) as (client, connection):
            reading = asyncio.create_task(read_on(client))
            fell: list[int] = []
            for burst in range(6):
                for _ in range(100):
                    await gate.publish(circle_id=1, data={"pad": "y" * 900})
                due = client.received + 90_000

                def arrived(burst: int = burst, due: int = due) -> bool:
                    if not connection.live:
                        fell.append(burst)
                    return client.received >= due and connection.live

                await until(arrived)
                await asyncio.sleep(1.0)
            assert max(fell, default=0) < 2, fell
            assert connection.transport.fd is not None
            reading.cancel()


@pytest.mark.timing
async def test_a_client_on_a_slow_line_with_queues_is_at_most_two_seconds_behind_the_newest_value() -> None:
    """10 kB/s, a queue of 3 s, 80 ms; and an item that changes a hundred times a second, of ten times as many bytes.
    Once it is known that the line is slow, no value that is shown is older than 2 s when the next one comes."""
    with long_link(0.08, 10_000, 30_000) as link:
        if link is None:
            pytest.skip("needs to make network namespaces and TUN devices (/dev/net/tun)")
        async with serving(link) as gate, following(gate, link) as (client, _):

            async def change() -> None:
                while True:
                    data = {"at": ran(), "pad": "y" * 800}
                    await gate.service.gateway.publish("acme", "run.output", data, circle_id=1, item_key="gauge")
                    await asyncio.sleep(0.01)

            changing = asyncio.create_task(change())
            begun = shown = ran()
            text, ages = b"", []
            while ran() < begun + 14.0:
                text += await client.some()
                for value in _values(text):
                    ages.append(ran() - shown)
                    shown = float(value)
                    text = text.partition(value)[2]
            changing.cancel()
            assert len(ages) > 60
            assert max(ages[len(ages) * 2 // 3 :]) < 2.0, ages
