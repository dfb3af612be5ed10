"""Connections that wait for a transport: accepted by the gateway itself, under uvloop, while the event loop is busy."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from gateway.engine.fair_share import ALONE_BUDGET
from gateway.engine.handshakes import ACCEPT_COST, Handshakes
from gateway.server import acceptor
from gateway.server.acceptor import AT_ONCE
from gateway.transports.uvicorn.fast_path import FirstRequest
from tests.support.inprocess import RunningGateway
from tests.support.pauses import until
from tests.support.raw_client import RawClient, command, handshake, request
from tests.transport.slow import unlimited

MANY = 120


class Watch:
    """The connections that waited, and the transports that were made in each iteration of the event loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waited = 0
        self.made = [0]
        self._ticking: asyncio.Handle | None = None
        waits, made = FirstRequest.waits, FirstRequest.connection_made

        def count(protocol: FirstRequest, client: socket.socket, connect: Callable[[], object]) -> bool:
            waited = waits(protocol, client, connect)
            self.waited += waited
            return waited

        def connection_made(protocol: FirstRequest, transport: asyncio.BaseTransport) -> None:
            self.made[-1] += 1
            made(protocol, transport)

        monkeypatch.setattr(FirstRequest, "waits", count)
        monkeypatch.setattr(FirstRequest, "connection_made", connection_made)

    def tick(self) -> None:
        self.made.append(0)
        self._ticking = asyncio.get_running_loop().call_soon(self.tick)

    def stop(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(acceptor, "BUSY_SECONDS", 0.0)  # however fast the machine is
    return Watch(monkeypatch)


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@contextlib.asynccontextmanager
async def at_once(gate: RunningGateway, *requests: bytes) -> AsyncIterator[list[RawClient]]:
    """A client for each of the requests: all of them have come when the event loop runs again."""
    clients = []
    try:
        for each in requests:
            client = socket.create_connection(("127.0.0.1", gate.port))
            client.sendall(each)
            client.setblocking(False)
            clients.append(RawClient(client))
        yield clients
    finally:
        for one in clients:
            one.sock.close()


def opening(gate: RunningGateway, number: int, tenant: str = "evil") -> bytes:
    return handshake(f"/ws/dashboard?token={gate.token(f'u{number}', tenant)}&rooms=circle:1")


def test_another_tenant_does_not_wait_for_all_of_them(watch: Watch) -> None:
    """A few transports are made in each iteration; every client is answered in the end."""

    async def main() -> None:
        async with unlimited() as gate:
            openings = [opening(gate, number) for number in range(MANY)]
            openings += [opening(gate, number, "good") for number in range(3)]
            index = gate.service.gateway.manager.of
            async with at_once(gate, *openings) as clients:
                watch.tick()
                await until(lambda: len(index("good").connections) == 3)
                assert len(index("evil").connections) < MANY
                for client in clients:
                    assert " 101 " in await client.head()
                    assert (await client.message())["type"] == "connection.established"
                watch.stop()
                assert watch.waited > 10
                assert (
                    max(watch.made) <= 2 * ALONE_BUDGET // ACCEPT_COST + 5
                )  # uvloop's own, and those of the good tenant

    run(main())


def test_clients_that_go_while_they_wait_get_no_transport(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[Callable[[], object]] = []
    monkeypatch.setattr(Handshakes, "accept", lambda self, queue, connect: waiting.append(connect))

    async def main() -> None:
        async with unlimited() as gate, at_once(gate, *(opening(gate, n) for n in range(MANY))) as clients:
            await until(lambda: sum(watch.made) + len(waiting) == MANY)
            before = sum(watch.made)
            assert before < MANY - 10
            for client in clients[::2]:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sock.close()
            for client in clients[1::4]:
                client.sock.close()
            for connect in waiting:
                connect()
            connections = gate.service.gateway.manager.of("evil").connections
            await until(lambda: len(connections) == MANY // 4)
            assert sum(watch.made) - before <= MANY // 4

    run(main())


def test_frames_of_clients_that_wait_are_received(watch: Watch) -> None:
    """Frames behind the handshake, at once or later."""

    async def main() -> None:
        async with unlimited() as gate:
            ping = command(type="ping", id=1)
            async with at_once(gate, *(opening(gate, n) + ping for n in range(MANY))) as clients:
                for client in clients:
                    await client.send(command(type="ping", id=2))
                for client in clients:
                    assert " 101 " in await client.head()
                    pongs: list[int] = []
                    while len(pongs) < 2:
                        message = await client.message()
                        if message["type"] == "pong":
                            pongs.append(message["id"])
                    assert pongs == [1, 2]
        assert watch.waited

    run(main())


def test_other_requests_do_not_wait(watch: Watch) -> None:
    """Nor do those that come in pieces; a few get a transport in each iteration."""

    async def main() -> None:
        async with unlimited() as gate:
            whole, late = request("GET", "/healthz"), opening(gate, 1, "good")
            async with at_once(gate, *[whole, whole[:9], late[:40], b""] * 20) as clients:
                await asyncio.sleep(0)
                watch.tick()
                await until(lambda: sum(watch.made) == len(clients))
                watch.stop()
                for number, rest in ((1, whole[9:]), (2, late[40:]), (3, whole)):
                    for client in clients[number::4]:
                        await client.send(rest)
                for number, client in enumerate(clients):
                    assert (" 101 " if number % 4 == 2 else " 200 ") in await client.head()
                assert max(watch.made) <= 2 * AT_ONCE + 2
        assert not watch.waited

    run(main())


def test_a_stop_closes_those_that_wait(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[Callable[[], object]] = []
    monkeypatch.setattr(Handshakes, "accept", lambda self, queue, connect: waiting.append(connect))

    async def main() -> None:
        async with unlimited() as gate:
            clients = [socket.create_connection(("127.0.0.1", gate.port)) for _ in range(MANY)]
            for number, client in enumerate(clients):
                client.sendall(opening(gate, number))
            await until(lambda: sum(watch.made) + len(waiting) == MANY)
        assert len(waiting) > 10
        for connect in waiting:
            connect()
        for client in clients:
            client.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                while client.recv(65_536):
                    pass
            client.close()

    run(main())
