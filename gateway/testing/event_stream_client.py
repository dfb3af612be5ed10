"""A client of event streams (WHATWG HTML, section 9.2) that reads no more than it is asked for."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from gateway.testing.helpers import PATIENCE
from gateway.testing.peers import small_socket

_NO_LINGER: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a stream; None for a field that it does not have. `raw` is all of it."""

    raw: str
    id: str | None = None
    event: str | None = None
    data: str | None = None
    retry: int | None = None

    @classmethod
    def read(cls, raw: str) -> Self:
        fields: dict[str, str] = {}
        for line in raw.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data" and "data" in fields:
                value = f"{fields['data']}\n{value}"
            fields[name] = value
        retry = int(fields["retry"]) if "retry" in fields else None
        return cls(raw, fields.get("id"), fields.get("event"), fields.get("data"), retry)


class EventStreamClient:
    """One request for a stream and its answer: `status`, `headers`, and the blocks of the body."""

    close_code = close_reason = None

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._raw = b""
        self._body = b""
        self._chunked = False
        self.status = 0
        self.headers: dict[str, str] = {}

    @classmethod
    async def open(
        cls,
        url: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        version: str = "1.1",
        behind: str = "",
    ) -> Self:
        """Send a request, and `behind` it at once; return when the head of its answer is here."""
        client = cls(await small_socket(url))
        try:
            await client.ask(url, headers, method, version, behind)
        except BaseException:
            await client.close()
            raise
        return client

    async def ask(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        version: str = "1.1",
        behind: str = "",
    ) -> None:
        """Send a further request on the open connection; returns as `open` does."""
        host, _, path = url.removeprefix("http://").partition("/")
        lines = [f"{method} /{path} HTTP/{version}", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.send("\r\n".join([*lines, "", ""]) + behind)
        while b"\r\n\r\n" not in self._raw:
            await self._receive()
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        pairs = (line.partition(":") for line in rest)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        self._chunked = method != "HEAD" and self.headers.get("transfer-encoding") == "chunked"

    @property
    def transport(self) -> Self:
        return self

    async def send(self, message: str) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, message.encode())

    async def next_block(self, seconds: float = PATIENCE) -> Block:
        """The next block, comments included. Raises `EOFError` at the end of the stream."""
        async with asyncio.timeout(seconds):
            while b"\n\n" not in self._body:
                while not self._decode():
                    await self._receive()
        raw, _, self._body = self._body.partition(b"\n\n")
        return Block.read(raw.decode())

    async def recv(self) -> str:
        """The data of the next block that has some."""
        while True:
            block = await self.next_block(60.0)
            if block.data is not None:
                return block.data

    async def rest(self, seconds: float = PATIENCE) -> bytes:
        """The rest of a body."""
        async with asyncio.timeout(seconds):
            try:
                while True:
                    if not self._decode():
                        await self._receive()
            except EOFError:
                body, self._body = self._body, b""
                return body

    async def exactly(self, count: int) -> bytes:
        """So many bytes of a body."""
        while len(self._body) < count:
            if not self._decode():
                await self._receive()
        body, self._body = self._body[:count], self._body[count:]
        return body

    async def close(self) -> None:
        self._socket.close()

    def abort(self) -> None:
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._socket.close()

    async def wait_closed(self) -> None:
        """A socket is closed at once."""

    def _decode(self) -> bool:
        """Decode complete chunks of the body; returns whether there were any. Raises `EOFError` after the last
        chunk."""
        if not self._chunked:
            self._body, self._raw, moved = self._body + self._raw, b"", bool(self._raw)
            return moved
        size, line_end, rest = self._raw.partition(b"\r\n")
        if not line_end:
            return False
        length = int(size, 16)
        if length == 0:
            raise EOFError
        if len(rest) < length + 2:
            return False
        self._body += rest[:length]
        self._raw = rest[length + 2 :]
        return True

    async def _receive(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._socket, 65_536)
        if not data:
            raise EOFError
        self._raw += data
