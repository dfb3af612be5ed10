"""A network between the page and the gateway that can be cut, and a witness beside it that saw everything."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from websockets.asyncio.client import connect

from tests.support.pauses import until
from tests.support.process import GatewayProcess


class Witness:
    """A client that is directly at the gateway all the time: `received` is what there was to get, in order."""

    def __init__(self) -> None:
        self.received: list[str] = []

    async def until(self, event_id: str) -> None:
        async def came() -> bool:
            return event_id in self.received

        await until(came)

    def part(self, ids: Sequence[str]) -> list[str]:
        """What it received from the first of `ids` to the last."""
        return self.received[self.received.index(ids[0]) : self.received.index(ids[-1]) + 1]


@asynccontextmanager
async def witness(served: GatewayProcess, token: str, rooms: Sequence[str]) -> AsyncIterator[Witness]:
    seen = Witness()
    address = f"{served.url.replace('http', 'ws', 1)}/ws/dashboard?rooms={','.join(rooms)}"
    async with connect(address, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None) as websocket:
        while json.loads(await websocket.recv())["type"] != "subscribed":
            pass

        async def read() -> None:
            async for text in websocket:
                frame = json.loads(text)
                if "event_id" in frame:
                    seen.received.append(frame["event_id"])

        reading = asyncio.create_task(read())
        try:
            yield seen
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading


class Network:
    """A TCP proxy to the gateway that can be cut and mended. Its port stays its own."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._target = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def mend(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._connections:
            writer.transport.abort()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._connections |= {writer, onward_writer}
            try:
                await asyncio.gather(_pump(reader, onward_writer), _pump(onward_reader, writer))
            finally:
                self._connections -= {writer, onward_writer}
                writer.close()
                onward_writer.close()
        except OSError:
            writer.close()
        finally:
            self._carrying.discard(task)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


@asynccontextmanager
async def network(served: GatewayProcess) -> AsyncIterator[Network]:
    between = Network(served.port)
    await between.mend()
    try:
        yield between
    finally:
        await between.cut()
