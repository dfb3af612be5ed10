"""The names of other libraries that the transport under uvicorn leans on, none of them promised to stay.

One failure here after an upgrade says what to look at, where the other tests would only say that something is wrong.
"""

import asyncio
import inspect
from typing import Any

import httptools
import pytest
import uvicorn
from httptools import HttpParserError
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle as HttpToolsCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import Server, ServerState
from websockets.exceptions import ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Close, Frame, Opcode
from websockets.headers import build_extension, parse_extension
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.server import ServerProtocol

from gateway.server.run import Server as GatewayServer
from gateway.transports.uvicorn import SocketTransport
from gateway.transports.uvicorn.fast_path import FirstRequest

LOOK = {
    "uvicorn": "read uvicorn's changes, then gateway/transports/uvicorn/ and gateway/server/run.py",
    "websockets": "read its changes, then gateway/transports/uvicorn/protocol.py and deflate.py",
    "httptools": "read its changes, then gateway/transports/uvicorn/fast_path.py and http_httptools.py",
}

CALLBACKS = (
    "connection_made",
    "data_received",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
    "shutdown",
)


def names(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(thing: Any) -> str:
    return inspect.getsource(thing)


async def app(scope: Any, receive: Any, send: Any) -> None: ...


def expectations() -> dict[str, dict[str, bool]]:
    """The private names of dependencies in use, and whether each exists."""
    state = ServerState()
    config = Config(app, lifespan="off")
    config.load()
    parser = Protocol(SERVER, state=OPEN, max_size=10)
    parser.receive_data(b"\x89\x80\0\0\0\0")
    pings = [event for event in parser.events_received() if isinstance(event, Frame)]
    pongs = parser.data_to_send()
    parser.receive_data(b"\x88\x80\0\0\0\0")
    closing = Protocol(SERVER, state=OPEN)
    closing.receive_data(b"\x83\x80\0\0\0\0")
    refusing = ServerProtocol()
    refusing.receive_data(b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
    factory = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)
    agreed, deflate = factory.process_request_params([], [])
    upgrades = {p.__name__: source(p.handle_websocket_upgrade) for p in (HttpToolsProtocol, H11Protocol)}
    uv = {
        "the class for WebSockets may be given as `ws=`": Config(app, ws=WebSocketsSansIOProtocol).ws is not None,
        "it is made with config, server_state and app_state": all(
            all(f"{name}=self.{name}" in text for name in ("config", "server_state", "app_state"))
            for text in upgrades.values()
        ),
        "it is then given the transport and the request, put together again": all(
            text.index("protocol.connection_made(self.transport)")
            < text.index('protocol.data_received(b"".join(output))')
            < text.index("self.transport.set_protocol(protocol)")
            for text in upgrades.values()
        ),
        "that request is GET, a space, the target, and HTTP/1.1": all(
            'b" HTTP/1.1\\r\\n"' in t for t in upgrades.values()
        ),
        "headers in it are `name: value`": all('name, b": ", value' in text for text in upgrades.values()),
        "an upgrade leaves `connections`, which is how the guard of heads sees it": all(
            "self.connections.discard(self)" in text for text in upgrades.values()
        ),
        "the ordinary implementation is made with the same three": names(WebSocketsSansIOProtocol)[:3]
        == ["config", "server_state", "app_state"],
        "and its `conn` is websockets' own": "self.conn = ServerProtocol(" in source(WebSocketsSansIOProtocol.__init__),
        "and is a protocol of asyncio with a shutdown": all(
            callable(getattr(WebSocketsSansIOProtocol, name)) for name in CALLBACKS
        ),
        "a server knows its protocols by a set": isinstance(state.connections, set),
        "and calls `shutdown` of each, then waits until the set is empty": "connection.shutdown()"
        in source(Server.shutdown)
        and "self.server_state.connections" in source(Server._wait_tasks_to_complete),
        "the class for HTTP may be given as `http=`": Config(app, http=H11Protocol).http is H11Protocol,
        "it is made with the same three and a loop": all(
            text in source(Server.startup)
            for text in (
                "config=config",
                "server_state=self.server_state",
                "app_state=self.lifespan.state",
                "_loop=_loop",
            )
        )
        and names(FirstRequest) == names(HttpToolsProtocol) == ["config", "server_state", "app_state", "_loop"],
        "what the application's lifespan yields is the app_state": "app_state=self.lifespan.state"
        in source(Server.startup),
        "`startup` takes sockets, and leaves `servers`": names(Server.startup) == ["self", "sockets"]
        and "self.servers" in source(Server.startup)
        and names(GatewayServer.startup) == names(Server.startup),
        "HTTP protocols have what the guard of heads looks at": all(
            all(f"self.{name}" in source(protocol.__init__) for name in ("cycle", "connections", "loop", "transport"))
            and callable(protocol.send_400_response)
            for protocol in (HttpToolsProtocol, H11Protocol)
        ),
        "a cycle says what of its request and answer is still to come": all(
            f"self.{name}" in source(RequestResponseCycle.__init__)
            for name in ("more_body", "response_started", "response_complete")
        ),
        "the version of a request is known when it asks for an upgrade": '"http_version"'
        in source(HttpToolsProtocol.on_headers_complete)
        and names(HttpToolsProtocol.handle_websocket_upgrade) == ["self"]
        and names(H11Protocol.handle_websocket_upgrade) == ["self", "event"],
        "HTTP protocols have what the guard of connections leans on": all(
            callable(getattr(protocol, name))
            for protocol in (HttpToolsProtocol, H11Protocol)
            for name in (
                *("on_response_complete", "timeout_keep_alive_handler", "_unset_keepalive_if_required"),
                *("_should_upgrade", "handle_websocket_upgrade", "pause_writing", "resume_writing"),
            )
        )
        and all(
            f"self.{name}" in source(protocol.__init__)
            for protocol in (HttpToolsProtocol, H11Protocol)
            for name in ("timeout_keep_alive_task", "timeout_keep_alive", "headers", "scope", "flow", "app_state")
        ),
        "one answered before its body has come does not wait for it: more_body stays": "self.cycle.response_complete"
        in source(HttpToolsProtocol.on_message_complete),
        "httptools' protocol queues what is pipelined, newest first": "self.pipeline.appendleft((self.cycle, app))"
        in source(HttpToolsProtocol.on_headers_complete),
        "and starts each request in one place": "self._start_asgi_task(cycle, app)"
        in source(HttpToolsProtocol.on_response_complete),
        "h11's handles what is pipelined once an answer is complete": "self.handle_events()"
        in source(H11Protocol.on_response_complete),
        "a cycle stops for one that has gone": all(
            f"self.{name}" in source(cycle.__init__)
            for cycle in (RequestResponseCycle, HttpToolsCycle)
            for name in ("disconnected", "message_event")
        ),
    }
    ws = {
        "a server's core keeps why it did not take a request": refusing.handshake_exc is not None
        and b"".join(refusing.data_to_send()) == b"",
        "the core starts in state OPEN, with a limit for messages and a logger": {"state", "max_size", "logger"}
        <= set(names(Protocol)),
        "it answers pings by itself": pongs == [b"\x8a\x00"] and [ping.opcode for ping in pings] == [Opcode.PING],
        "it tells of a close frame": parser.close_rcvd is not None,
        "it parses by a generator, which has to be closed": inspect.isgenerator(parser.parser),
        "and of a fault, and has the close frame for it ready": isinstance(closing.parser_exc, ProtocolError)
        and closing.data_to_send()[0].startswith(b"\x88"),
        "extensions are a plain list of the core": parser.extensions == [],
        "frames have opcode, data and fin": {"opcode", "data", "fin"} <= set(names(Frame)),
        "a frame is made bytes without a mask": Frame(Opcode.PING, b"").serialize(mask=False) == b"\x89\x00",
        "a close frame is made bytes": Close(1000, "x").serialize() == b"\x03\xe8x",
        "deflate is negotiated without a state that is carried over": isinstance(deflate, PerMessageDeflate)
        and deflate.local_no_context_takeover
        and deflate.remote_no_context_takeover
        and ("server_no_context_takeover", None) in agreed,
        "and has a window of its own": deflate.local_max_window_bits == 15,
        "extensions in headers are read and written": parse_extension("a; b=1") == [("a", [("b", "1")])]
        and build_extension(parse_extension("a; b=1")) == "a; b=1",
    }
    return {"uvicorn": uv, "websockets": ws, "httptools": parsed()}


def parsed() -> dict[str, bool]:
    class Seen:
        def __init__(self) -> None:
            self.url = b""
            self.headers: list[tuple[bytes, bytes]] = []

        def on_url(self, url: bytes) -> None:
            self.url += url

        def on_header(self, name: bytes, value: bytes) -> None:
            self.headers.append((name, value))

    seen = Seen()
    parser = httptools.HttpRequestParser(seen)
    request = b"GET /a?b=c HTTP/1.1\r\nHost:  x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with pytest.raises(httptools.HttpParserUpgrade) as upgrade:
        parser.feed_data(request + b"early")
    return {
        "the end of the head is reported": upgrade.value.args == (len(request),),
        "the target comes as it was sent": seen.url == b"/a?b=c",
        "headers come without the blanks before them": seen.headers[0] == (b"Host", b"x"),
        "the version is known then": parser.get_http_version() == "1.1",
        "a fault is an exception of one kind": issubclass(httptools.HttpParserInvalidMethodError, HttpParserError),
    }


def test_uvicorn_websockets_and_httptools_are_as_the_transport_takes_them_to_be() -> None:
    """Every attribute, signature and habit of theirs; the message says what to look at."""
    found = expectations()
    broken = {library: [text for text, so in held.items() if not so] for library, held in found.items()}
    message = "\n".join(
        f"{library} {__import__(library).__version__}: no longer true: {text!r}; {LOOK[library]}"
        for library, texts in broken.items()
        for text in texts
    )
    assert not message, message


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_event_loops_transports_are_as_the_transport_takes_them_to_be(loop: str) -> None:
    """They say `pause_writing` within the write that fills them, how much waits, and end without a word on `abort`."""

    async def main() -> list[object]:
        said: list[object] = []
        made: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

        class Recorder(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made.set_result(transport)  # type: ignore[arg-type]

            def pause_writing(self) -> None:
                said.append("pause")

            def connection_lost(self, exc: Exception | None) -> None:
                lost.set()

        lost = asyncio.Event()
        server = await asyncio.get_running_loop().create_server(Recorder, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        transport = await made
        transport.set_write_buffer_limits(high=100_000)
        transport.write(b"x" * 50_000_000)
        said.append(transport.get_write_buffer_size() > 100_000)
        transport.pause_reading()
        transport.pause_reading()  # twice is no fault
        assert transport.get_extra_info("socket").fileno() > 0
        transport.abort()
        transport.abort()
        transport.write(b"late")  # before connection_lost that is no fault either
        await lost.wait()
        said.append(transport.get_write_buffer_size())
        writer.close()
        server.close()
        return said

    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(main()) == ["pause", True, 0]


def test_the_ordinary_configuration_takes_the_transport_by_name() -> None:
    """`--ws gateway.transports.uvicorn:SocketTransport`, for applications of one's own."""
    config = uvicorn.Config(app, ws="gateway.transports.uvicorn:SocketTransport", lifespan="off")
    config.load()
    assert config.ws_protocol_class is SocketTransport
