"""Handshakes of many connections that the event loop reads in one iteration: answered in the turns of their tenants."""

import asyncio
import socket
import struct
from collections import Counter
from typing import Any

import pytest

from gateway.engine.fair_share import ALONE_BUDGET
from gateway.engine.handshakes import HANDSHAKE_COST
from gateway.transports.uvicorn.fast_path import FirstRequest
from gateway.transports.uvicorn.guard import HEAD_BYTES
from gateway.transports.uvicorn.upgrade import upgrade
from tests.support.inprocess import RunningGateway
from tests.support.pauses import until
from tests.support.raw_client import RawClient, command, handshake
from tests.transport.slow import unlimited

AT_MOST = 2 * ALONE_BUDGET // HANDSHAKE_COST
"""Handshakes in one iteration: at once, and in turns."""


class Watch:
    """The accepted connections without a request, and the answered handshakes: their tenants in order, and how many of
    them in each iteration of the event loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.accepted = self.iteration = 0
        self.order: list[str] = []
        self.in_iteration: Counter[int] = Counter()
        self._ticking: asyncio.Handle | None = None
        made = FirstRequest.connection_made

        def connection_made(protocol: FirstRequest, transport: asyncio.BaseTransport) -> None:
            self.accepted += 1
            made(protocol, transport)

        def count(transport: Any, arguments: Any, head: bytes, *rest: Any) -> Any:
            self.in_iteration[self.iteration] += 1
            self.order.append("evil" if b"circle:666" in head else "good")
            return upgrade(transport, arguments, head, *rest)

        monkeypatch.setattr(FirstRequest, "connection_made", connection_made)
        monkeypatch.setattr("gateway.transports.uvicorn.fast_path.upgrade", count)

    def tick(self) -> None:
        self.iteration += 1
        self._ticking = asyncio.get_running_loop().call_soon(self.tick)

    def stop(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def connected(port: int, count: int) -> list[socket.socket]:
    """Connections without a request."""
    return [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]


def request(gate: RunningGateway, user: str, tenant: str) -> bytes:
    room = "circle:666" if tenant == "evil" else "circle:1"
    return handshake(f"/ws/dashboard?token={gate.token(user, tenant)}&rooms={room}")


async def test_a_tenant_that_connects_many_clients_at_once_delays_no_other(watch: Watch) -> None:
    """A bounded number in each iteration; the other tenant's, which came last, do not wait for all of them."""
    async with unlimited() as gate:
        clients = connected(gate.port, 165)
        evil, good = clients[:160], clients[160:]
        try:
            await until(lambda: watch.accepted == 165)
            watch.tick()
            for number, client in enumerate(evil):  # all of it is there when the event loop runs again
                client.sendall(request(gate, f"u{number}", "evil"))
            for number, client in enumerate(good):
                client.sendall(request(gate, f"u{number}", "good"))
            await until(lambda: len(watch.order) == 165)
            watch.stop()
            assert max(watch.in_iteration.values()) <= AT_MOST
            assert max(number for number, tenant in enumerate(watch.order) if tenant == "good") < 80
            manager = gate.service.gateway.manager
            await until(lambda: [len(manager.of(tenant).connections) for tenant in ("evil", "good")] == [160, 5])
        finally:
            for client in clients:
                client.close()


async def test_clients_that_go_while_they_wait_are_not_answered(watch: Watch) -> None:
    """Neither do they take anything of their tenant's share, nor does anything of them stay."""
    async with unlimited() as gate:
        clients = connected(gate.port, 100)
        try:
            await until(lambda: watch.accepted == 100)
            shares = gate.service.gateway.connections.shares
            for number, client in enumerate(clients):
                client.sendall(request(gate, f"u{number}", "evil"))
            while not shares:  # noqa: ASYNC110 - the very iteration
                await asyncio.sleep(0)
            for client in clients[50:]:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            await until(lambda: len(shares) == 0)
            assert 50 <= len(watch.order) < 100
            await until(lambda: len(gate.service.gateway.manager.of("evil").connections) == 50)
        finally:
            for client in clients:
                client.close()


async def test_frames_that_come_while_a_handshake_waits_are_read_after_it(watch: Watch) -> None:
    """In pieces, and more than is kept without backpressure."""
    async with unlimited() as gate:
        clients = connected(gate.port, 40)
        try:
            await until(lambda: watch.accepted == 40)
            for number, client in enumerate(clients):
                client.sendall(request(gate, f"u{number}", "evil"))
            patient = RawClient(clients[-1])
            patient.sock.setblocking(False)
            pings = [command(type="ping", id=number, pad="x" * (HEAD_BYTES // 8)) for number in range(20)]
            for ping in pings:
                await patient.send(ping)
            assert " 101 " in await patient.head()
            seen: list[int] = []
            while len(seen) < 20:
                message = await patient.message()
                if message["type"] == "pong":
                    seen.append(message["id"])
            assert seen == list(range(20))
        finally:
            for client in clients:
                client.close()
