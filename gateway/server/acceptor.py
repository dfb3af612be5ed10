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

AT_ONCE: Final = 16
"""Connections accepted in one iteration, beside uvloop's. The first bytes of each take another 0.1 ms in the next."""

MakeProtocol = Callable[..., asyncio.Protocol]


class Acceptor:
    """A factory of uvicorn's HTTP protocols, called for each connection that uvloop accepts. Where the loop is busy it
    takes what else waits in the queue of `listener`: in the kernel's queue a thousand clients of one tenant are served
    before the next one of another, in the gateway they wait for turns of their tenants."""

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
        for _ in range(AT_ONCE):
            try:
                client, _ = self._listener.accept()
            except OSError:  # none waits; or none may be accepted, which is for uvloop to report
                return
            client.setblocking(False)
            task = asyncio.get_running_loop().create_task(_serve(client, make))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _serve(client: socket.socket, make: MakeProtocol) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(make, client)
    except OSError:  # it has gone meanwhile
        client.close()
