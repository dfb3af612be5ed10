"""The fast path of the first request (httptools, extra `fast`): a handshake for the gateway's path bypasses uvicorn's
HTTP protocol.

That saves a WebSocket the cost of an HTTP protocol, and a second parse of its request. Everything else, an invalid
handshake included, goes to uvicorn's protocol from its first byte on.
"""

import asyncio
import re
from functools import partial
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.core.addresses import client_address
from gateway.core.credentials import bearer_tokens
from gateway.core.headers import parse_query
from gateway.telemetry import log_events
from gateway.transports.uvicorn.endpoint import Endpoint
from gateway.transports.uvicorn.guard import HEAD_BYTES, HEAD_SECONDS, TOO_SLOW
from gateway.transports.uvicorn.handshake import exceeds_limits
from gateway.transports.uvicorn.http_httptools import GuardedHttpTools
from gateway.transports.uvicorn.refusals import error_response
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
    """uvicorn's HTTP protocol for a connection without a request yet.

    The event loop reads from all new connections in one iteration. So a handshake is only parsed then, and while others
    wait, it is answered in a turn of its tenant.
    """

    __slots__ = ("_arguments", "_deadline", "_endpoint", "_server_state", "_so_far", "_transport", "_waits")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._endpoint = Endpoint.of(app_state, config.loaded_app) if config.ws_protocol_class is Upgrade else None
        self._waits = False
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
        if self._waits:
            if len(so_far) > HEAD_BYTES:
                self._transport.pause_reading()
            return
        starts = () if self._endpoint is None else self._endpoint.request_starts
        ours = so_far.startswith(starts) or any(start.startswith(bytes(so_far[: len(start)])) for start in starts)
        end = _end_of_head(so_far, max(0, len(so_far) - len(data) - 2))
        if ours and end is None and len(so_far) <= HEAD_BYTES:
            return
        self._deadline.cancel()
        if self._endpoint is not None and ours and end is not None:
            head = bytes(so_far[: end.end()])
            request = _read(head, starts)
            if request is not None:
                # A request over the limits is refused, which takes no time.
                if self._endpoint.host.handshakes.busy and not exceeds_limits(request.target, request.headers):
                    self._queue(self._endpoint, head, request)
                else:
                    self._begin(head, request)
                return
        self._leave()
        protocol = GuardedHttpTools(*self._arguments)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(bytes(so_far))

    def _queue(self, endpoint: Endpoint, head: bytes, request: _Request) -> None:
        self._waits = True
        query, headers = parse_query(request.target.partition(b"?")[2]), request.headers
        address = client_address(peer_of(self._transport), headers, endpoint.proxies)
        endpoint.host.handshakes.queue(bearer_tokens(query, headers), address, partial(self._begin, head, request))

    def _begin(self, head: bytes, request: _Request) -> bool:
        """Answer the handshake, unless the client has gone."""
        if self._transport.is_closing():
            return False
        self._leave()
        early = bytes(self._so_far[len(head) :])
        if self._waits:
            self._transport.resume_reading()
        upgrade(self._transport, self._arguments, head, b"GET", request.target, request.headers, early)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def shutdown(self) -> None:
        """Close the connection: uvicorn is stopping."""
        self._transport.close()

    def _leave(self) -> None:
        self._deadline.cancel()
        self._server_state.connections.discard(self)

    def _give_up(self) -> None:
        status, detail, code = TOO_SLOW
        log_events.http_connection_ended(peer_of(self._transport), "slow_request", status)
        self._transport.write(error_response(status, detail, self._server_state.default_headers, code))
        self._transport.close()
