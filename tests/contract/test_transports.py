"""All transports keep the transport's contract: behind a real uvicorn, on both event loops."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from gateway.core.connect_request import ConnectRequest
from gateway.core.credentials import Secrets
from gateway.core.event_stream import PATH
from gateway.core.origin import OriginPolicy
from gateway.engine.event_streams import UnopenedStream
from gateway.testing import EventStreamContract, RecordingHost, TransportContract
from gateway.transports.asgi import AsgiTransport, Receive, Send, serve
from gateway.transports.asgi_event_stream import HEADERS, serve_event_stream
from gateway.transports.uvicorn import HttpProtocol, SocketTransport
from gateway.transports.uvicorn.endpoint import STATE_KEY, Endpoint
from gateway.transports.uvicorn.http_h11 import GuardedH11


@pytest.fixture(autouse=True)
def _short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that has read nothing for a while, or on a machine that is slow, counts as slow for a moment only."""
    monkeypatch.setattr("gateway.transports.uvicorn.writer.FORGET_SECONDS", 0.0)


@asynccontextmanager
async def under_uvicorn(app: Any, **options: Any) -> AsyncIterator[int]:
    """Serve `app` on a free port; tells the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # Inherited by each connection: the less the kernel takes, the sooner a test has filled it and the sooner a
    # transport sees that its client reads.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    config = uvicorn.Config(app, ws_ping_interval=None, log_level="error", timeout_graceful_shutdown=1, **options)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])  # without its main loop, which looks ten times a second whether to end
    try:
        yield listener.getsockname()[1]
    finally:
        await server.shutdown(sockets=[listener])
        listener.close()


async def run_endpoint(endpoint: Endpoint, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The lifespan of an application that has nothing but an endpoint."""
    assert scope["type"] == "lifespan"
    await receive()
    scope["state"][STATE_KEY] = endpoint
    await endpoint.start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await endpoint.stop()
    await send({"type": "lifespan.shutdown.complete"})


class TestAsgiTransport(TransportContract):
    @asynccontextmanager
    async def serving(self, host: RecordingHost, stall: float) -> AsyncIterator[str]:
        async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            transport = AsgiTransport(send, stall)
            handshake = ConnectRequest(Secrets(), None, (), None, None, scope["client"][0])
            await serve(host, host.connect(handshake, transport), transport, receive)

        async with under_uvicorn(app, ws="websockets-sansio", lifespan="off") as port:
            yield f"ws://127.0.0.1:{port}/"


class TestSocketTransport(TransportContract):
    @asynccontextmanager
    async def serving(self, host: RecordingHost, stall: float) -> AsyncIterator[str]:
        endpoint = Endpoint(("/ws/dashboard",), host, OriginPolicy(()), (), 64 * 1024, 20.0, stall)

        async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await run_endpoint(endpoint, scope, receive, send)

        endpoint.application = app
        async with under_uvicorn(app, ws=SocketTransport, lifespan="on") as port:
            yield f"ws://127.0.0.1:{port}/ws/dashboard"


async def serve_stream(host: RecordingHost, stall: float, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    handshake = ConnectRequest(Secrets(), None, (), None, None, scope["client"][0])
    unopened: Any = UnopenedStream()
    connection = host.connect(handshake, unopened)

    def begin() -> None:
        host.joined.put_nowait(host.joined.get_nowait())  # now that it has its transport

    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    await serve_event_stream(host, connection, begin, headers, stall, receive, send)


class TestAsgiEventStream(EventStreamContract):
    @asynccontextmanager
    async def serving(self, host: RecordingHost, stall: float) -> AsyncIterator[str]:
        async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await serve_stream(host, stall, scope, receive, send)

        async with under_uvicorn(app, lifespan="off") as port:
            yield f"http://127.0.0.1:{port}{PATH}"


class TestSocketEventStream(EventStreamContract):
    http: Any = HttpProtocol

    @asynccontextmanager
    async def serving(self, host: RecordingHost, stall: float) -> AsyncIterator[str]:
        endpoint = Endpoint(("/ws/dashboard",), host, OriginPolicy(()), (), 64 * 1024, 20.0, stall)

        async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                return await serve_stream(host, stall, scope, receive, send)
            return await run_endpoint(endpoint, scope, receive, send)

        endpoint.application = app
        async with under_uvicorn(app, ws=SocketTransport, http=self.http, lifespan="on") as port:
            yield f"http://127.0.0.1:{port}{PATH}"


class TestSocketEventStreamWithH11(TestSocketEventStream):
    http = GuardedH11


@pytest.mark.parametrize("suite", [TestAsgiTransport, TestSocketTransport, TestAsgiEventStream, TestSocketEventStream])
@pytest.mark.parametrize("name", [name for name in dir(TransportContract) if name.startswith("test_")])
def test_under_uvloop(suite: type[TransportContract], name: str) -> None:
    """On the event loop that `gateway serve` runs on where it is installed, whose transports are others."""
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(getattr(suite(), name)())
