"""A network between a node and Redis, with faults."""

import asyncio
import ctypes
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_RESET = struct.pack("ii", 1, 0)
_PUSHED = b"*3\r\n$7\r\nmessage\r\n"
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER, which the socket module does not name


def lose(sock: socket.socket, share: float) -> None:
    """Have the kernel drop this share of the segments that arrive for the socket, before its TCP sees them: they are
    not acknowledged, and the other end sends them again. Accepted sockets inherit it from their listener. A program of
    the classic BPF, which needs no root: load a random number (`SKF_AD_RANDOM`), keep all of the packet where it is not
    below the share, else nothing."""
    load, keep_all, keep_none = (0x20, 0, 0, 0xFFFFF038), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)
    program = (load, (0x35, 0, 1, int(share * (1 << 32))), keep_all, keep_none)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))


def sent_again(sock: socket.socket) -> int:
    """Segments that the kernel sent again over this connection."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(struct.unpack_from("I", info, 100)[0])  # tcpi_total_retrans


class Proxy:
    """Carries bytes both ways, each way through the faults that are set.

    `target` is the port that new connections lead to; `latency` seconds before bytes go on; `rate` bytes a second, 0
    for no limit; `swallow` forwards commands and their answers, but not what comes on a channel.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.latency = 0.0
        self.rate = 0
        self.swallow = False
        self.port = 0
        self.opened_at: list[float] = []
        """When each connection came: before what is answered to it can have been read."""
        self._loss = 0.0
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def opened(self) -> int:
        return len(self.opened_at)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def partition(self) -> None:
        """Forward nothing any more, without closing: connections stay open, new ones get no answer."""
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    def strand(self) -> None:
        """Forward nothing any more on the open connections, without closing them; new ones work."""
        self._open.clear()
        self._open = asyncio.Event()
        self._open.set()

    def reset(self) -> None:
        """End every connection with a TCP RST."""
        for sock in self._sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        for writer in list(self._writers):
            writer.transport.abort()

    def lose(self, share: float) -> None:
        """Have the kernel drop this share of the segments from now on, each way."""
        self._loss = share
        for sock in (self._listener, *self._sockets):
            lose(sock, share)

    @property
    def sent_again(self) -> int:
        """Segments that had to be sent again, over the connections that are open."""
        return sum(map(sent_again, self._sockets))

    @property
    def _sockets(self) -> list[socket.socket]:
        """The sockets of connections that neither end has closed yet."""
        sockets = [writer.get_extra_info("socket") for writer in self._writers]
        return [sock for sock in sockets if sock is not None and sock.fileno() >= 0]

    async def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._accept, sock=self._listener)
        self.port = self._listener.getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.opened_at.append(time.monotonic())
        with suppress(OSError, asyncio.CancelledError):
            gate = self._open
            await gate.wait()
            there_reader, there = await asyncio.open_connection("127.0.0.1", self.target)
            lose(there.get_extra_info("socket"), self._loss)
            self._writers.add(there)
            ways = (self._carry(reader, there, gate, False), self._carry(there_reader, writer, gate, True))
            carrying = [asyncio.create_task(way) for way in ways]
            try:
                await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in carrying:
                    way.cancel()
                await asyncio.gather(*carrying, return_exceptions=True)
                there.transport.abort()
                self._writers.discard(there)
        writer.transport.abort()
        self._writers.discard(writer)
        self._tasks.discard(task)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event, answers: bool
    ) -> None:
        """Bytes in order, each `latency` late, however many are on their way."""
        loop = asyncio.get_running_loop()
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def take() -> None:
            while data := await reader.read(65_536):
                await line.put((loop.time() + self.latency, data))
            await line.put((0.0, b""))

        taking = asyncio.create_task(take())
        try:
            while True:
                due, data = await line.get()
                if not data:
                    return
                await asyncio.sleep(due - loop.time())
                await gate.wait()
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                if not (answers and self.swallow and _PUSHED in data):
                    writer.write(data)
                    await writer.drain()
        finally:
            taking.cancel()


@asynccontextmanager
async def proxied(target: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
