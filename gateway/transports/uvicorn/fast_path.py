"""The first request of a connection. One for the gateway's path is opened at once, past uvicorn's HTTP protocol.

That spares a WebSocket what only an HTTP request needs, and its request from being put together and parsed again. All
else, a handshake that is not in order or has something behind it included, goes to uvicorn's protocol from its first
byte on.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.transports.uvicorn.endpoint import Endpoint
from gateway.transports.uvicorn.http import HEAD_BYTES, HEAD_SECONDS, TOO_SLOW, UvicornHttp
from gateway.transports.uvicorn.protocol import SocketTransport

try:
    from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
except ImportError:  # httptools is in the extra `fast`
    HttpProtocol: type[asyncio.Protocol] = UvicornHttp
else:
    # As lax as any parser, so that nobody waits for an end that has come; a head that is in order has but one of them.
    _end_of_head = re.compile(rb"\n\r?\n").search

    class _Request:
        """What the parser tells of a request."""

        __slots__ = ("headers", "target")

        def __init__(self) -> None:
            self.target = b""
            self.headers: dict[bytes, list[bytes]] = {}

        def on_url(self, url: bytes) -> None:
            self.target += url

        def on_header(self, name: bytes, value: bytes) -> None:
            self.headers.setdefault(name.lower(), []).append(value)

    def _read(data: bytes, path: bytes) -> _Request | None:
        """The one request for a WebSocket at `path` that `data` is, from first to last byte; None for all else."""
        end = _end_of_head(data)
        if end is None or end.end() != len(data):
            return None
        request = _Request()
        parser = HttpRequestParser(request)
        try:
            parser.feed_data(data)
        except HttpParserUpgrade:
            if (
                parser.get_http_version() == "1.1"
                and request.headers.get(b"upgrade") == [b"websocket"]
                and request.target.partition(b"?")[0] == path
            ):
                return request
        except HttpParserError:
            pass
        return None

    class FirstRequest(asyncio.Protocol):
        """uvicorn's HTTP protocol for a connection of which nothing has come yet."""

        __slots__ = ("_arguments", "_deadline", "_path", "_server_state", "_so_far", "_start", "_transport")

        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            endpoint = Endpoint.of(app_state, config.loaded_app)
            self._path = b"" if endpoint is None else endpoint.path.encode()
            self._start = b"GET " + self._path
            self._so_far = bytearray()
            self._arguments: Final = (config, server_state, app_state)
            self._server_state = server_state
            self._deadline: asyncio.TimerHandle
            self._transport: asyncio.Transport

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = transport  # type: ignore[assignment]
            self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up)
            self._server_state.connections.add(self)  # type: ignore[arg-type]  # has what a shutdown calls

        def data_received(self, data: bytes) -> None:
            so_far = self._so_far
            so_far += data
            ours = so_far.startswith(self._start) or self._start.startswith(bytes(so_far[: len(self._start)]))
            ended = _end_of_head(so_far, max(0, len(so_far) - len(data) - 2)) is not None
            if ours and not ended and len(so_far) <= HEAD_BYTES:
                return
            self._leave()
            whole = bytes(so_far)
            request = _read(whole, self._path) if ours else None
            kind: Callable[..., Any] = UvicornHttp if request is None else SocketTransport
            protocol = kind(*self._arguments)
            self._transport.set_protocol(protocol)
            protocol.connection_made(self._transport)
            if request is None:
                protocol.data_received(whole)
            else:
                protocol.begin(whole, b"GET", request.target, request.headers)

        def connection_lost(self, exc: Exception | None) -> None:
            self._leave()

        def shutdown(self) -> None:
            """uvicorn stops."""
            self._transport.close()

        def _leave(self) -> None:
            self._deadline.cancel()
            self._server_state.connections.discard(self)

        def _give_up(self) -> None:
            self._transport.write(TOO_SLOW)
            self._transport.close()

    HttpProtocol = FirstRequest
