"""Acceptance of connections under load, by uvloop: which takes one in each iteration."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from gateway.server.acceptor import AT_ONCE, Acceptor

CLIENTS = 300


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    made: list["Echo"]

    def __init__(self, made: list["Echo"]) -> None:
        made.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]


async def iterations_until_all_are_accepted(busy: float, at_once: bool) -> int:
    """Iterations of a loop, each of which does something else for `busy` seconds."""
    made: list[Echo] = []
    loop = asyncio.get_running_loop()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        acceptor = Acceptor(listener, Echo)
        make: Callable[[], asyncio.Protocol] = (lambda: acceptor(made=made)) if at_once else (lambda: Echo(made))
        server = await loop.create_server(make, sock=listener, backlog=2 * CLIENTS)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(CLIENTS)]
        iterations = 0
        while len(made) < CLIENTS:
            iterations += 1
            time.sleep(busy)  # noqa: ASYNC251 - the other work
            await asyncio.sleep(0)
        for client in clients:
            client.sendall(b"x")
            client.setblocking(False)
        assert [await loop.sock_recv(client, 1) for client in clients] == [b"x"] * CLIENTS
        for client in clients:
            client.close()
        server.close()
        await server.wait_closed()
    return iterations


def run(main: Coroutine[Any, Any, int]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def test_a_busy_loop_accepts_many_in_an_iteration() -> None:
    """Without it, one."""
    assert run(iterations_until_all_are_accepted(0.001, at_once=False)) >= CLIENTS
    assert run(iterations_until_all_are_accepted(0.001, at_once=True)) < 3 * CLIENTS // AT_ONCE + 10
