"""Leaks: no memory, task or descriptor of a client is left, for any kind of disconnect."""

import asyncio
import gc
import os
import random
from pathlib import Path

import pytest
from websockets.protocol import Protocol

from gateway.core.connection import Connection
from gateway.core.frame import Batch, Frame
from gateway.transports.uvicorn.endpoint import Endpoint
from gateway.transports.uvicorn.fast_path import FirstRequest
from gateway.transports.uvicorn.http_h11 import GuardedH11
from gateway.transports.uvicorn.http_httptools import GuardedHttpTools
from gateway.transports.uvicorn.protocol import WebSocketTransport
from tests.support.inprocess import RunningGateway
from tests.support.pauses import until
from tests.support.process import MIB, GatewayProcess
from tests.support.raw_client import close_frame, command, frame, handshake, opened, raw, several
from tests.support.tokens import token
from tests.transport.slow import BIG, publish, unlimited


def endpoint_of(gate: RunningGateway) -> Endpoint:
    """Found among what is alive, as it is in the lifespan's state only."""
    (endpoint,) = (
        thing for thing in gc.get_objects() if type(thing) is Endpoint and thing.host is gate.service.gateway
    )
    return endpoint


def state(gate: RunningGateway) -> dict[str, int]:
    """All state that could grow."""
    gateway = gate.service.gateway
    return {
        "connections": len(list(gateway.manager.connections())),
        "rooms": sum(len(index.rooms) + len(index.users) for index in gateway.manager.indexes()),
        "agenda": len(gateway.connections.expirations),
        "addresses": len(gateway.connections.admission.addresses),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "clients": sum(map(len, endpoint_of(gate).clients)),
    }


async def test_2000_clients_that_come_and_go_leave_nothing() -> None:
    """With a close frame or none, reset, in mid-handshake, in mid-frame, refused; events come all the while."""
    rng = random.Random(7)
    async with unlimited() as gate:
        good = gate.token()
        before = state(gate)

        async def visit(way: int) -> None:
            async with raw(gate.port) as client:
                asked = handshake(f"/ws/dashboard?token={'bad' if way == 0 else good}&rooms=circle:1")
                if way == 1:
                    await client.send(asked[: rng.randrange(1, len(asked) - 1)])
                    return client.reset()
                await client.send(asked)
                if way == 2:
                    return client.reset()
                await client.head()
                if way == 3:
                    return client.reset()
                await client.frame()
                if way == 4:
                    await client.send(command(type="publish", event={"type": "a.b", "data": {}}) * 3)
                    return client.reset()
                if way == 5:
                    await client.send(frame(1, b"x" * 500)[: rng.randrange(1, 500)])
                if way == 6:
                    await client.send(close_frame(1000))
            return None

        async def visits(count: int) -> None:
            for _ in range(count):
                await visit(rng.randrange(8))

        publishing = asyncio.create_task(publish_forever(gate))
        await asyncio.gather(*(visits(100) for _ in range(20)))
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        await until(lambda: state(gate) == before)
        index = gate.service.gateway.manager.of("acme")
        assert index.connections_seen > 500


async def publish_forever(gate: RunningGateway) -> None:
    while True:
        await publish(gate, 5)
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("http", [FirstRequest, GuardedHttpTools, GuardedH11])
async def test_nothing_of_a_client_waits_for_the_collector(http: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """No reference cycles: an object that survives two generations of the garbage collector waits for the third, which
    runs each minute or later. The HTTP parser, and so the token, goes while the client is still connected."""
    monkeypatch.setattr("gateway.server.run.HttpProtocol", http)

    def alive(*kinds: type) -> int:
        return sum(type(thing) in kinds for thing in gc.get_objects())

    gc.collect()
    before = alive(http), alive(WebSocketTransport, Connection), alive(Protocol)
    gc.disable()
    try:
        async with unlimited() as gate:
            async with several(20, gate.port, gate.token(), "&rooms=circle:1") as clients:
                await until(lambda: alive(http) == before[0])
                assert alive(WebSocketTransport, Connection) == before[1] + 40
                for client in clients[5:]:
                    await client.send(command(type="ping"))
                    while (await client.message())["type"] != "pong":
                        pass
                for client in clients[:10]:
                    await client.send(close_frame(1000))
                for client in clients[10:]:
                    client.reset()
            async with raw(gate.port) as refused:
                await refused.send(handshake("/ws/dashboard?token=bad"))
                assert await refused.head()
                await refused.send(close_frame(1000))
                await refused.rest()
            # # All but the one that was served last, which is released when the next one is.
            await until(lambda: alive(http) == before[0] and alive(WebSocketTransport, Connection) <= before[1] + 1)
            await until(lambda: alive(Protocol) <= before[2] + 1)
    finally:
        gc.enable()


async def test_memory_and_descriptors_of_the_process_come_back(tmp_path: Path) -> None:
    """In `gateway serve`: 300 clients twice; the second time costs under 2 MiB, and every descriptor is free again."""
    async with GatewayProcess(tmp_path) as served:

        async def visit() -> None:
            async with opened(served.port, token(), "&rooms=circle:1") as client:
                await client.send(command(type="ping"))
                await asyncio.sleep(0.05)
                client.reset()

        sizes = []
        descriptors = served.usage.num_fds()
        for _ in range(2):
            for _ in range(6):
                await asyncio.gather(*(visit() for _ in range(50)))
            await until(lambda: served.usage.num_fds() <= descriptors)
            sizes.append(served.rss)
        assert sizes[1] - sizes[0] < 2 * MIB


DRAIN = 0.5
"""Seconds over which the server sends its clients away, each at a time of its own."""


@pytest.mark.timing
async def test_it_ends_in_time_though_clients_answer_nothing(tmp_path: Path) -> None:
    """SIGTERM with clients that do not answer, do not read, are silent or half there: over 4 s after the drain."""
    async with GatewayProcess(tmp_path, drain_seconds=DRAIN) as served, several(5, served.port, token()) as mute:
        async with (
            several(5, served.port, token(), "&rooms=circle:load", receive_buffer=4_096),
            raw(served.port) as half,
        ):
            await half.send(b"GET / HTTP/1.1\r\n")
            await served.publish([BIG] * 400, circle_id="load")
            began = served.send_signal()
            assert [await client.close_code() for client in mute] == [1012] * 5
            _, ended = await served.ended()
            assert ended - began < DRAIN + 4.0


async def test_a_reply_to_a_disconnected_client_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """Its task still runs when the socket has ended: nothing is raised, nothing logged."""
    async with unlimited() as gate:
        async with opened(gate.port, gate.token()) as client:
            (connection,) = gate.service.gateway.manager.connections()
            client.reset()
            await until(lambda: not list(gate.service.gateway.manager.connections()))
        transport = connection.transport
        assert transport.write(Batch((Frame(b"{}"),))) is True
        transport.close(1000, "")
        transport.abort()
        transport.pause_writing()  # type: ignore[attr-defined]
        transport.resume_writing()  # type: ignore[attr-defined]
        transport.data_received(command(type="ping"))  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
