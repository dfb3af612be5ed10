"""Acceptance of connections beyond the one that uvloop takes in each iteration of a busy event loop."""

import asyncio
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Final

BUSY_SECONDS: Final = 0.000_3
"""The time between two acceptances from which on the event loop may be behind: an iteration that has nothing else to do
takes less."""

WAITING: Final = 24
"""Connections accepted in one iteration that wait for their transport, in 45 us each: a thousand clients leave the
kernel's queue in 80 ms, and the work of tenants goes on."""

AT_ONCE: Final = 8
"""Connections that get their transport in one iteration without a wait, beside uvloop's: that, and the first bytes of
each, take another 0.1 ms."""

MakeProtocol = Callable[..., asyncio.Protocol]

Waits = Callable[[socket.socket, Callable[[], object]], bool]
"""A protocol's method `waits`: whether an accepted connection has to wait for its transport. The function that it gets
makes that; it calls it later, or closes the connection."""


class Acceptor:
    """A factory of uvicorn's HTTP protocols, called for each connection that uvloop accepts. Where the loop is busy it
    takes what else waits in the queue of `listener`: in the kernel's queue a thousand clients of one tenant are served
    before the next one of another, in the gateway they wait for turns of their tenants. A transport is what is
    expensive of a new connection, so they wait without."""

    def __init__(self, listener: socket.socket, make: MakeProtocol) -> None:
        self._listener = listener
        self._make = make
        self._last = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, **options: object) -> asyncio.Protocol:
        if time.monotonic() - self._last > BUSY_SECONDS:
            self._accept(partial(self._make, **options))
        self._last = time.monotonic()
        return self._make(**options)

    def _accept(self, make: MakeProtocol) -> None:
        waiting, left = WAITING, AT_ONCE
        while waiting and left:
            try:
                client, _ = self._listener.accept()
            except OSError:  # none waits; or none may be accepted, which is for uvloop to report
                return
            client.setblocking(False)
            protocol = make()
            connect = partial(self._connect, client, protocol)
            waits: Waits | None = getattr(protocol, "waits", None)
            if waits is not None and waits(client, connect):
                waiting -= 1
            else:
                connect()
                left -= 1

    def _connect(self, client: socket.socket, protocol: asyncio.Protocol) -> None:
        task = asyncio.get_running_loop().create_task(_serve(client, protocol))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _serve(client: socket.socket, protocol: asyncio.Protocol) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, client)
    except OSError:  # it has gone meanwhile
        client.close()
