"""A client's connection that costs next to nothing, so that hundreds of them leave the processor to the nodes."""

import asyncio
import json
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from tests.support.raw_client import CLOSE, PING, PONG, TEXT, close_frame, frame, handshake

decoded: Callable[[bytes], dict[str, Any]] = lru_cache(4_096)(json.loads)
"""Equal bytes are one immutable object for all clients that receive them."""


class Line(asyncio.Protocol):
    """One WebSocket, whose text frames `take` gets. It answers pings and closes.

    `opened` is done once the handshake was answered, `ended` once all is over: with the close code, or 0 where there
    was none, or by raising what the server sent wrong.
    """

    def __init__(self, target: str, take: Callable[[dict[str, Any]], None]) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._target = target
        self._take = take
        self._buffer = b""
        self._code = 0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(handshake(self._target))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        at = 0
        if not self.opened.done():
            head, mark, _ = buffer.partition(b"\r\n\r\n")
            if mark and not head.startswith(b"HTTP/1.1 101 "):
                self.abort()
            if not mark or not head.startswith(b"HTTP/1.1 101 "):
                self._buffer = buffer
                return
            at = len(head) + len(mark)
            self.opened.set_result(None)
        while len(buffer) >= at + 2:
            size, start = buffer[at + 1], at + 2
            assert size < 128, "a server masks nothing"
            if size >= 126:
                start += 2 if size == 126 else 8
                if len(buffer) < start:
                    break
                size = int.from_bytes(buffer[at + 2 : start], "big")
            if len(buffer) < start + size:
                break
            self._deal_with(buffer[at], buffer[start : start + size])
            at = start + size
        self._buffer = buffer[at:]

    def _deal_with(self, first: int, payload: bytes) -> None:
        assert first & 0xF0 == 0x80, "nothing is fragmented or compressed here"
        opcode = first & 0x0F
        if opcode == TEXT:
            self._take(decoded(payload))
        elif opcode == PING:
            self._transport.write(frame(PONG, payload))
        else:
            assert opcode == CLOSE, opcode
            (self._code,) = struct.unpack("!H", payload[:2])
            self._transport.write(close_frame(self._code))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_result(None)
        if self.ended.done():
            return
        if exc is None or isinstance(exc, OSError):
            self.ended.set_result(self._code)
        else:
            self.ended.set_exception(exc)  # of this class's own

    def abort(self) -> None:
        self._transport.abort()


async def dial(url: str, query: str, take: Callable[[dict[str, Any]], None], within: float = 5.0) -> Line:
    """A line to a WebSocket URL, opened or already ended. Raises `OSError`, of which `TimeoutError` is one."""
    where = urlsplit(url)
    line = Line(where.path + query, take)
    async with asyncio.timeout(within):
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: line, where.hostname or "", where.port or 80)
        try:
            await line.opened
        except asyncio.CancelledError:
            transport.abort()
            raise
    return line
