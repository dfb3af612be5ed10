"""The end of a connection. Where its clean-up fails in one step, the other steps are done all the same."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.connection import Connection
from gateway.core.manager import ConnectionManager
from gateway.engine.disconnects import AT_ONCE, DISCONNECT_COST
from gateway.engine.fair_share import ALONE_BUDGET
from gateway.transports.uvicorn.endpoint import Endpoint, Supervised
from tests.support.event_streams import streaming
from tests.support.inprocess import running
from tests.support.pauses import until, until_equal
from tests.support.raw_client import handshake, request
from tests.support.settings import settings_for
from tests.transport.slow import unlimited


def failing(step: Callable[..., object], failures: list[str]) -> Callable[..., None]:
    """The step, which then raises."""

    def fail(*arguments: Any) -> None:
        step(*arguments)
        failures.append(step.__qualname__)
        raise RuntimeError(f"{step.__qualname__} failed")

    return fail


@pytest.mark.parametrize("stock", [False, True], ids=["uvicorn transports", "ASGI transports"])
async def test_a_failed_step_leaves_the_connection_in_no_index(stock: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the gateway nor of the transports; and presence knows that it has left."""
    supervised: set[Supervised] = set()

    def add(self: Endpoint, client: Supervised) -> None:
        supervised.add(client)
        before[0](self, client)

    def discard(self: Endpoint, client: Supervised) -> None:
        supervised.discard(client)
        before[1](self, client)

    before = Endpoint.add, Endpoint.discard
    monkeypatch.setattr(Endpoint, "add", add)
    monkeypatch.setattr(Endpoint, "discard", discard)
    async with running(settings_for(), stock=stock) as gate:
        gateway = gate.service.gateway
        connections, manager, presence = gateway.connections, gateway.manager, gateway.presence
        presence.grace = 0.0
        index = manager.of("acme")

        def kept() -> list[str]:
            """The indexes that are not empty."""
            sizes: dict[str, int] = {
                "connections": len(index.connections),
                "rooms": len(index.rooms),
                "users": len(index.users),
                "streams": len(index.streams),
                "addresses": len(connections.admission.addresses),
                "expirations": len(connections.expirations),
                "supervised": len(supervised),
                "presence": not presence.idle,
            }
            return [name for name, size in sizes.items() if size]

        async def break_step(owner: object, name: str) -> None:
            failures: list[str] = []
            step = getattr(type(owner), name)
            async with gate.client() as client, streaming(gate, "?rooms=circle:1"):
                await client.ask(type="subscribe", rooms=["circle:1"], presence=True)
                monkeypatch.setattr(type(owner), name, failing(step, failures))
            await until(lambda: len(failures) >= 2)
            monkeypatch.setattr(type(owner), name, step)
            await until_equal(kept, [], 20)

        await break_step(connections.expirations, "forget")
        await break_step(connections.admission, "release")
        await break_step(manager, "forget")
        await break_step(manager.removals, "on_removed")
        await break_step(presence, "on_left")


@pytest.mark.parametrize("path", ["/ws/dashboard", "/events/stream"])
async def test_clients_that_are_reset_at_once_leave_in_turns(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop takes the ends of all of them in one iteration; the rest of the work is done in many."""
    forgotten: Counter[int] = Counter()
    iteration = 0
    forget = ConnectionManager.forget

    def count(manager: ConnectionManager, connection: Connection) -> None:
        forgotten[iteration] += 1
        forget(manager, connection)

    monkeypatch.setattr(ConnectionManager, "forget", count)
    async with unlimited() as gate:
        manager = gate.service.gateway.manager
        clients = [socket.create_connection(("127.0.0.1", gate.port)) for _ in range(200)]
        for number, client in enumerate(clients):
            target = f"{path}?token={gate.token(f'u{number}')}&rooms=circle:1"
            client.sendall(handshake(target) if path.startswith("/ws") else request("GET", target))
        await until(lambda: len(manager.of("acme").connections) == 200)
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        while manager.of("acme").users:
            await asyncio.sleep(0)
            iteration += 1
        assert sum(forgotten.values()) == 200
        assert max(forgotten.values()) <= 2 * ALONE_BUDGET // DISCONNECT_COST + AT_ONCE
