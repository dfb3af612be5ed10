"""Event streams on the socket: what the hand-over leaves behind, what clients may send, and what is on the way."""

import asyncio
import gc
import logging
import ssl
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from gateway.api import create_router
from gateway.core.connection import Connection
from gateway.core.origin import OriginPolicy
from gateway.service.factory import Service, create_service
from gateway.testing import EventStreamClient
from gateway.transports.asgi_event_stream import AsgiEventStream
from gateway.transports.uvicorn import HttpProtocol, SocketTransport
from gateway.transports.uvicorn.endpoint import Endpoint
from gateway.transports.uvicorn.event_stream import PROBE_SECONDS, EventStreamTransport
from gateway.transports.uvicorn.fast_path import FirstRequest
from gateway.transports.uvicorn.http_h11 import GuardedH11
from gateway.transports.uvicorn.http_httptools import GuardedHttpTools
from gateway.transports.uvicorn.take_over import response_head
from tests.support.certificates import certificate
from tests.support.clients import http_client
from tests.support.event_streams import streaming
from tests.support.inprocess import RunningGateway, running, served
from tests.support.pauses import PATIENCE, until
from tests.support.settings import settings_for


@pytest.mark.parametrize("http", [FirstRequest, GuardedH11])
async def test_nothing_of_a_client_waits_for_the_collector(http: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """The HTTP protocol, which has the request and its token, is freed while the stream goes on; the transport and the
    connection once the client has gone."""
    monkeypatch.setattr("gateway.server.run.HttpProtocol", http)
    protocols = (FirstRequest, GuardedHttpTools, GuardedH11)

    def alive(*kinds: type) -> int:
        return sum(type(thing) in kinds for thing in gc.get_objects())

    gc.collect()
    before = alive(*protocols), alive(EventStreamTransport, Connection)
    gc.disable()
    try:
        async with running() as gate:
            clients = []
            for _ in range(10):
                url = f"{gate.url}/events/stream?rooms=circle:1&token={gate.token()}"
                clients.append(await EventStreamClient.open(url))
            await until(lambda: alive(*protocols) == before[0])
            assert alive(EventStreamTransport, Connection) == before[1] + 20
            for client in clients[:5]:
                await client.close()
            for client in clients[5:]:
                client.abort()
            await until(lambda: alive(EventStreamTransport, Connection) <= before[1] + 1)
    finally:
        gc.enable()


async def test_requests_behind_that_of_a_stream_are_ignored(gate: RunningGateway) -> None:
    """Whether they come with it or later; but a client that goes on sending is aborted."""
    async with streaming(gate, "?rooms=circle:1") as stream:
        await stream.client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        await stream.next("subscribed")
        published = await gate.publish(circle_id=1)
        assert (await stream.next())["event_id"] == published
        await stream.client.send("x" * 65_536)
        await until(lambda: not list(gate.service.gateway.manager.connections()))


async def test_a_request_in_advance_is_not_answered(gate: RunningGateway) -> None:
    url = f"{gate.url}/events/stream?rooms=circle:1&token={gate.token()}"
    behind = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    client = await EventStreamClient.open(url, behind=behind)
    assert client.status == 200
    blocks = [await client.next_block() for _ in range(3)]
    assert [block.event for block in blocks] == [None, "connection.established", "subscribed"]
    published = await gate.publish(circle_id=1)
    assert (await client.next_block()).id == published
    await client.close()


async def test_a_connection_that_answered_before_becomes_a_stream(gate: RunningGateway) -> None:
    """Keep-alive: its HTTP deadlines do not end it."""
    client = await EventStreamClient.open(f"{gate.url}/healthz")
    await client.exactly(int(client.headers["content-length"]))
    await client.ask(f"{gate.url}/events/stream?rooms=circle:1&token={gate.token()}")
    assert client.status == 200
    assert [(await client.next_block()).event for _ in range(2)] == [None, "connection.established"]
    (connection,) = gate.service.gateway.manager.connections()
    assert type(connection.transport) is EventStreamTransport
    await client.close()


async def test_the_access_log_has_the_request_without_its_token(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is uvicorn's, as for other responses."""
    async with running() as gate:
        logger = logging.getLogger("uvicorn.access")
        monkeypatch.setattr(logger, "propagate", True)  # which uvicorn turns off where no access log is wanted
        with caplog.at_level(logging.INFO, logger.name):
            async with streaming(gate, f"?rooms=circle:1&token={gate.token()}", ""):
                pass
    lines = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    assert len(lines) == 1
    assert lines[0].endswith('"GET /events/stream?rooms=circle:1 HTTP/1.1" 200')


async def test_over_tls_nothing_is_written_to_the_descriptor(tmp_path: Path) -> None:
    """Events come in order, by the transport."""
    key, cert = certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(cert))
    async with running(ssl_keyfile=str(key), ssl_certfile=str(cert)) as gate:
        async with httpx.AsyncClient(verify=trust, trust_env=False) as client:
            url = f"https://localhost:{gate.port}/events/stream?rooms=circle:1&token={gate.token()}"
            async with client.stream("GET", url) as answer:
                lines = answer.aiter_lines()
                while await anext(lines) != "event: subscribed":
                    pass
                (connection,) = gate.service.gateway.manager.connections()
                assert type(connection.transport) is EventStreamTransport
                assert connection.transport.fd is None, "what is written there is not encrypted"
                ids = [await gate.publish(circle_id=1) for _ in range(100)]
                for event_id in ids:
                    while (line := await anext(lines)).partition(": ")[0] != "id":
                        pass
                    assert line == f"id: {event_id}"


# ---- middleware


class Passing:
    """Middleware in pure ASGI that adds a header."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        async def adding(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-added", b"yes")]}
            await send(message)

        await self._app(scope, receive, adding)


class Encoding:
    """Middleware in pure ASGI that encodes bodies, of any media type."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        encoder = zlib.compressobj(wbits=31)

        async def encoding(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-encoding", b"gzip")]
            elif "body" in message:
                message["body"] = encoder.compress(message["body"]) + encoder.flush(zlib.Z_SYNC_FLUSH)
            await send(message)

        await self._app(scope, receive, encoding)


async def unchanged(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    return await call_next(request)


def application(*middleware: Any) -> tuple[Service, FastAPI]:
    service = create_service(settings_for())
    app = FastAPI()
    app.include_router(create_router(service), prefix="/rt")
    for kind, options in middleware:
        app.add_middleware(kind, **options)
    return service, app


CORS = (CORSMiddleware, {"allow_origins": ["*"]})


@pytest.mark.parametrize(
    ("middleware", "kind"),
    [
        ([(Passing, {})], EventStreamTransport),
        ([(GZipMiddleware, {"minimum_size": 1}), CORS], EventStreamTransport),
        (["http"], AsgiEventStream),
    ],
    ids=["asgi", "gzip and cors", "http"],
)
async def test_the_middleware_of_the_application_sees_the_response(middleware: list[Any], kind: type) -> None:
    """One that passes messages on adds to the head, and the socket is handed over; one that makes messages of its own
    has the stream go through it. Nothing is compressed."""
    wanted = [each for each in middleware if each != "http"]
    service, app = application(*wanted)
    if "http" in middleware:
        app.middleware("http")(unchanged)
    options = {"ws": SocketTransport, "http": HttpProtocol, "log_level": "warning"}
    async with served(app, **options) as port:
        gate = RunningGateway(service, port, "/rt")
        async with streaming(gate, "?rooms=circle:1", Accept_Encoding="gzip") as stream:
            assert "content-encoding" not in stream.client.headers
            assert stream.client.headers.get("x-added") == ("yes" if (Passing, {}) in middleware else None)
            (connection,) = service.gateway.manager.connections()
            assert type(connection.transport) is kind
            await stream.next("subscribed")
            published = await gate.publish(circle_id=1)
            assert (await stream.next())["event_id"] == published
        await until(lambda: not list(service.gateway.manager.connections()))


async def test_middleware_that_encodes_the_body_has_the_stream_go_through_it() -> None:
    """The socket is not handed over, since the blocks written there would not be encoded."""
    service, app = application((Encoding, {}))
    async with served(app, ws=SocketTransport, http=HttpProtocol, log_level="warning") as port:
        gate = RunningGateway(service, port, "/rt")
        headers = {"Authorization": f"Bearer {gate.token()}"}
        url = f"{gate.url}/events/stream?rooms=circle:1"
        async with http_client() as http, http.stream("GET", url, headers=headers) as response:
            assert response.headers["content-encoding"] == "gzip"
            lines = response.aiter_lines()
            async with asyncio.timeout(PATIENCE):
                while "subscribed" not in await anext(lines):
                    pass
                published = await gate.publish(circle_id=1)
                while f"id: {published}" != await anext(lines):
                    pass


@pytest.mark.parametrize(
    "header", [(b"x y", b"1"), (b"", b"1"), (b"x", b"1\r\nSet-Cookie: a=b"), (b"x\n", b"1"), (b"x", b"1\x00")]
)
def test_the_head_takes_no_invalid_header(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="is not a valid header"):
        response_head(200, [header])


def test_the_head_has_a_framing_of_its_own() -> None:
    """The application's own framing headers are dropped."""
    headers = [
        (b"Content-Length", b"3"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"keep-alive"),
        (b"x", b"y"),
    ]
    assert response_head(200, headers) == b"HTTP/1.1 200 OK\r\nx: y\r\nconnection: close\r\n\r\n"


# ---- keepalive


class Wire:
    """An asyncio transport with nothing to write; `unacked` bytes are on the way, of which `acked` arrive."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("alive", [True, False])
async def test_a_client_that_has_vanished_is_aborted(alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its system acknowledges nothing of what is on the way; one that does is kept, however quiet it is."""
    acked = 1
    module = "gateway.transports.uvicorn"
    monkeypatch.setattr(f"{module}.writer.acked_bytes", lambda transport: acked)
    monkeypatch.setattr(f"{module}.event_stream.unacked_bytes", lambda transport: 3)
    host: Any = None
    endpoint = Endpoint(("/ws",), host, OriginPolicy(()), (), 1_000, 20.0, 10.0)
    state: Any = None
    connection: Any = Connection.__new__(Connection)
    connection.sent, connection.closed_with = 0, None
    transport = connection.transport = EventStreamTransport(endpoint, state, host, connection)
    wire: Any = Wire()
    transport._transport = wire
    monkeypatch.setattr("gateway.telemetry.log_events.connection_closed", lambda *arguments: None)
    for second in range(int(3 * PROBE_SECONDS)):
        transport.check_liveness(float(second), endpoint)
        acked += alive
    assert wire.aborted is not alive
    assert wire.written.count(b":\n\n") >= 1 + alive


class Dawdling:
    """Middleware that holds the body of the first response, from `held` on, until `go_on`."""

    def __init__(self, app: Any, held: asyncio.Event, go_on: asyncio.Event) -> None:
        self._app, self._held, self._go_on = app, held, go_on

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        async def dawdling(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                self._held.set()
                await self._go_on.wait()
            await send(message)

        await self._app(scope, receive, dawdling)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_client_that_leaves_before_its_stream_begins_leaves_nothing(
    loop: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No byte is written after the end of its connection, and no error is logged."""

    async def main() -> None:
        held, lost = asyncio.Event(), asyncio.Event()

        def noted(transport: EventStreamTransport, exc: Exception | None) -> None:
            connection_lost(transport, exc)
            lost.set()

        connection_lost = EventStreamTransport.connection_lost
        monkeypatch.setattr(EventStreamTransport, "connection_lost", noted)
        service, app = application((Dawdling, {"held": held, "go_on": lost}))
        options = {"ws": SocketTransport, "http": HttpProtocol, "log_config": None}
        async with served(app, **options) as port:
            url = f"http://127.0.0.1:{port}/rt/events/stream?rooms=circle:1&token="
            gate = RunningGateway(service, port, "/rt")
            leaving = asyncio.create_task(EventStreamClient.open(url + gate.token()))
            await held.wait()
            leaving.cancel()
            await asyncio.wait([leaving])
            await lost.wait()
            assert list(service.gateway.manager.connections()) == []
            async with streaming(gate, "?rooms=circle:1") as stream:
                await stream.next("subscribed")

    factory = asyncio.new_event_loop if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
