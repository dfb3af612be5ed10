"""A TCP client of which the test chooses every byte and every pause."""

import asyncio
import json
import os
import select
import socket
import struct
import time
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.support.pauses import PATIENCE, Duration, now, within

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(
    opcode: int, payload: bytes = b"", fin: bool = True, rsv: int = 0, mask: bytes | None = b"\x01\x02\x03\x04"
) -> bytes:
    """A frame as RFC 6455 section 5.2 has it, or nearly: of a client, unless `mask` is None."""
    first = fin << 7 | rsv << 4 | opcode
    masked = 0 if mask is None else 0x80
    if len(payload) < 126:
        header = bytes((first, masked | len(payload)))
    elif len(payload) < 65_536:
        header = struct.pack("!BBH", first, masked | 126, len(payload))
    else:
        header = struct.pack("!BBQ", first, masked | 127, len(payload))
    if mask is None:
        return header + payload
    return header + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def command(**members: Any) -> bytes:
    return frame(TEXT, json.dumps(members).encode())


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


def handshake(target: str, *headers: str, without: Sequence[str] = ()) -> bytes:
    """An opening handshake; `headers` are added, those named in `without` left out."""
    lines = {
        "host": "Host: localhost",
        "upgrade": "Upgrade: websocket",
        "connection": "Connection: Upgrade",
        "sec-websocket-key": f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}",
        "sec-websocket-version": "Sec-WebSocket-Version: 13",
    }
    kept = [line for name, line in lines.items() if name not in without]
    return "\r\n".join([f"GET {target} HTTP/1.1", *kept, *headers, "", ""]).encode("latin-1")


def request(
    method: str, target: str, headers: Mapping[str, str] | Sequence[tuple[str, str]] = (), body: bytes | None = None
) -> bytes:
    """One request's bytes; its length is said unless `headers` say how it comes."""
    listed = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    names = {name.lower() for name, _ in listed}
    if "host" not in names:
        listed.insert(0, ("Host", "localhost"))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        listed.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in listed), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    kept: bool = field(default=False)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def raw(self) -> str:
        return "\n".join(f"{key}: {value}" for key, value in self.headers) + "\n\n" + self.body.decode()


async def ended_by_peer(sock: Any, timeout: float = PATIENCE) -> Duration:
    """Wait until the other end has ended the connection, and read nothing for it; returns after how long."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    begun = now()
    while not poll.poll(0):
        assert now() - begun < timeout, "the connection is still there"
        await asyncio.sleep(0.01)
    return now() - begun


class RawClient:
    """`received` counts the bytes that the test has taken out of the kernel."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = 0
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def send_if_it_can(self, data: bytes) -> None:
        with suppress(ConnectionError):
            await self.send(data)

    async def flood(self, chunk: bytes, most: int, seconds: float) -> int:
        """Send `chunk` again and again, until the server no longer takes it; returns the bytes that it took.

        Ends when `most` bytes are sent, `seconds` have passed, the server has reset, or it takes none for 0.5 s.
        """
        sent, ends = 0, time.monotonic() + seconds
        with suppress(ConnectionError, TimeoutError):
            while sent < most and time.monotonic() < ends:
                async with asyncio.timeout(0.5):
                    await self._loop.sock_sendall(self.sock, chunk)
                sent += len(chunk)
        return sent

    async def some(self, most: int = 65_536, timeout: float = PATIENCE) -> bytes:
        """The available bytes, at least one; b"" where the server has ended the connection."""
        async with within(timeout):
            data = await self._loop.sock_recv(self.sock, most)
        self.received += len(data)
        return data

    def sip(self, most: int) -> None:
        """Take a few bytes out of the kernel, if there are any, to be looked at later."""
        with suppress(BlockingIOError):
            data = self.sock.recv(most)
            self.received += len(data)
            self._buffer += data

    async def exactly(self, count: int, timeout: float = PATIENCE) -> bytes:
        async with within(timeout):
            while len(self._buffer) < count:
                if not (data := await self.some(timeout=timeout)):
                    raise EOFError(self._buffer)
                self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    async def head(self, timeout: float = PATIENCE) -> str:
        """The head of an HTTP answer."""
        while b"\r\n\r\n" not in self._buffer:
            if not (data := await self.some(timeout=timeout)):
                raise EOFError(self._buffer)
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    async def line(self, timeout: float = PATIENCE) -> bytes:
        while b"\n" not in self._buffer:
            if not (data := await self.some(timeout=timeout)):
                raise EOFError(self._buffer)
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    async def answer(self, head_only: bool = False, timeout: float = PATIENCE) -> Answer:
        """A whole HTTP answer."""
        status, *lines = (await self.head(timeout)).split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        known = {name.lower(): value for name, value in headers}
        body = b""
        if head_only or status.split()[1] in ("204", "304"):
            pass
        elif "content-length" in known:
            body = await self.exactly(int(known["content-length"]), timeout)
        elif known.get("transfer-encoding") == "chunked":
            while size := int(await self.line(timeout), 16):
                body += await self.exactly(size, timeout)
                await self.line(timeout)
            await self.line(timeout)
        return Answer(int(status.split()[1]), headers, body, known.get("connection") != "close")

    async def frame(self, timeout: float = PATIENCE) -> tuple[int, bytes]:
        """Opcode and payload of the next frame, which must be one as servers send them here."""
        first, second = await self.exactly(2, timeout)
        assert not second & 0x80, "a server masks nothing"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.exactly(2, timeout))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.exactly(8, timeout))
        assert first & 0x80, "nothing is fragmented here"
        return first & 0x7F, await self.exactly(size, timeout)

    async def message(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next text frame as JSON; pings are answered, or passed over when that is too late."""
        while True:
            opcode, payload = await self.frame(timeout)
            if opcode == TEXT:
                message: dict[str, Any] = json.loads(payload)
                return message
            assert opcode in (PING, PONG), (opcode, payload)
            if opcode == PING:
                with suppress(ConnectionError):
                    await self.send(frame(PONG, payload))

    async def close_code(self, timeout: float = PATIENCE) -> int | None:
        """The code that the server closes with; what comes before it is read away. None where it just ends."""
        with suppress(EOFError, ConnectionError):
            while True:
                opcode, payload = await self.frame(timeout)
                if opcode == CLOSE:
                    return int(struct.unpack("!H", payload[:2])[0]) if payload else 1005
        return None

    async def rest(self, timeout: float = PATIENCE) -> bytes:
        """The bytes until the server ends the connection, in any way."""
        data, self._buffer = self._buffer, b""
        with suppress(ConnectionError):
            async with within(timeout):
                while piece := await self.some(timeout=timeout):
                    data += piece
        return data

    async def gone(self, timeout: float = PATIENCE) -> Duration:
        """Wait until the server has ended the connection, and read nothing for it; returns after how long."""
        return await ended_by_peer(self.sock, timeout)

    def reset(self) -> None:
        """End it without a word (RST)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@asynccontextmanager
async def raw(port: int, host: str = "127.0.0.1", receive_buffer: int | None = None) -> AsyncIterator[RawClient]:
    """A connection; `receive_buffer` is what the client's kernel takes for it (SO_RCVBUF)."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        yield RawClient(sock)
    finally:
        sock.close()


@asynccontextmanager
async def opened(
    port: int, token: str, query: str = "", *headers: str, host: str = "127.0.0.1", receive_buffer: int | None = None
) -> AsyncIterator[RawClient]:
    """A WebSocket of the gateway's whose `connection.established` has come."""
    async with raw(port, host, receive_buffer) as client:
        await client.send(handshake(f"/ws/dashboard?token={token}{query}", *headers))
        head = await client.head()
        assert head.startswith("HTTP/1.1 101 "), head
        opcode, payload = await client.frame()
        if opcode & 0x40:
            opcode, payload = opcode & 0xF, zlib.decompressobj(-15).decompress(payload)
        assert opcode == TEXT, (opcode, payload)
        assert json.loads(payload)["type"] == "connection.established", payload
        yield client


@asynccontextmanager
async def several(count: int, port: int, token: str, query: str = "", **options: Any) -> AsyncIterator[list[RawClient]]:
    """So many WebSockets, each as `opened` has it."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(opened(port, token, query, **options)) for _ in range(count)]
