"""The fast path of the first request (httptools, extra `fast`): a handshake for the gateway's path bypasses uvicorn's
HTTP protocol.

That saves a WebSocket the cost of an HTTP protocol, and a second parse of its request. Everything else, an invalid
handshake included, goes to uvicorn's protocol from its first byte on.
"""

import asyncio
import re
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.telemetry import log_events
from gateway.transports.uvicorn.endpoint import Endpoint
from gateway.transports.uvicorn.guard import HEAD_BYTES, HEAD_SECONDS, TOO_SLOW
from gateway.transports.uvicorn.http_httptools import GuardedHttpTools
from gateway.transports.uvicorn.sockets import peer_of
from gateway.transports.uvicorn.upgrade import Upgrade, upgrade

# As lenient as the parsers, or a head that they accept would never end here.
_end_of_head = re.compile(rb"\n\r?\n").search


class _Request:
    """The parser's callbacks: target and headers of a request."""

    __slots__ = ("headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[bytes, list[bytes]] = {}

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.setdefault(name.lower(), []).append(value)


def _read(head: bytes, starts: tuple[bytes, ...]) -> _Request | None:
    """The handshake for one of the paths in `head`, all of its bytes; None for any other request."""
    request = _Request()
    parser = HttpRequestParser(request)
    try:
        parser.feed_data(head)
    except HttpParserUpgrade as upgrade:
        if (
            upgrade.args[0] == len(head)
            and parser.get_http_version() == "1.1"
            and request.headers.get(b"upgrade") == [b"websocket"]
            and b"GET " + request.target.partition(b"?")[0] in starts
        ):
            return request
    except HttpParserError:
        pass
    return None


class FirstRequest(asyncio.Protocol):
    """uvicorn's HTTP protocol for a connection without a request yet."""

    __slots__ = ("_arguments", "_deadline", "_server_state", "_so_far", "_starts", "_transport")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        endpoint = Endpoint.of(app_state, config.loaded_app) if config.ws_protocol_class is Upgrade else None
        self._starts: tuple[bytes, ...] = () if endpoint is None else endpoint.request_starts
        self._so_far = bytearray()
        self._arguments: Final = (config, server_state, app_state)
        self._server_state = server_state
        self._deadline: asyncio.TimerHandle
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # has the methods that a shutdown calls

    def data_received(self, data: bytes) -> None:
        so_far = self._so_far
        so_far += data
        ours = so_far.startswith(self._starts) or any(
            start.startswith(bytes(so_far[: len(start)])) for start in self._starts
        )
        end = _end_of_head(so_far, max(0, len(so_far) - len(data) - 2))
        if ours and end is None and len(so_far) <= HEAD_BYTES:
            return
        self._leave()
        if ours and end is not None:
            head = bytes(so_far[: end.end()])
            request = _read(head, self._starts)
            if request is not None:
                early = bytes(so_far[end.end() :])
                upgrade(self._transport, self._arguments, head, b"GET", request.target, request.headers, early)
                return
        protocol = GuardedHttpTools(*self._arguments)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(bytes(so_far))

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def shutdown(self) -> None:
        """Close the connection: uvicorn is stopping."""
        self._transport.close()

    def _leave(self) -> None:
        self._deadline.cancel()
        self._server_state.connections.discard(self)

    def _give_up(self) -> None:
        log_events.http_connection_ended(peer_of(self._transport), "slow_request", 408)
        self._transport.write(TOO_SLOW)
        self._transport.close()
