"""Thousands of clients that come back at once, each with a cursor: cheap, since they share the machine."""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any

from tests.support.raw_client import close_frame, handshake

_NUMBER = re.compile(rb'"n":\s?(\d+)')


@dataclass
class Outcome:
    seconds: float
    errors: int
    numbers: list[list[int]]


class _Client(asyncio.Protocol):
    """A client that is done once it has been recovered and has all events that it is owed."""

    def __init__(self, target: str, owed: int, done: "asyncio.Future[None]") -> None:
        self.data = b""
        self._target = target
        self._owed = owed
        self._done = done
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(handshake(self._target))

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self._done.done() and self.data.count(b'"event_id"') >= self._owed:
            self._done.set_result(None)
            self._transport.write(close_frame(1000))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError("lost"))


async def storm(port: int, tokens: list[str], cursor: str, owed: int, within: float) -> Outcome:
    """All of them at once. What comes is judged afterwards, so that the clients do not slow down the server."""
    loop = asyncio.get_running_loop()
    begun = time.monotonic()
    clients: list[_Client] = []
    waiting: list[asyncio.Future[None]] = []

    async def start(token: str) -> None:
        done: asyncio.Future[None] = loop.create_future()
        client = _Client(f"/ws/dashboard?token={token}&rooms=tenant&since={cursor}", owed, done)
        clients.append(client)
        waiting.append(done)
        for _ in range(3):  # the listener's queue is 2,048 long, or the kernel's bound
            try:
                await loop.create_connection(lambda: client, "127.0.0.1", port)
                return
            except OSError:
                await asyncio.sleep(0.2)
        done.set_exception(ConnectionError("refused"))

    async with asyncio.timeout(within):
        await asyncio.gather(*(start(token) for token in tokens))
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    seconds = time.monotonic() - begun
    numbers = [[int(n) for n in _NUMBER.findall(client.data)] for client in clients]
    recovered = sum(b'"recovered":true' in client.data.replace(b" ", b"") for client in clients)
    lost = sum(isinstance(each, BaseException) for each in ended)
    return Outcome(seconds, max(lost, len(tokens) - recovered), numbers)
