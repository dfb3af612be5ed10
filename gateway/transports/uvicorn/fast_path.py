"""The fast path of the first request (httptools, extra `fast`): a handshake for the gateway's path bypasses uvicorn's
HTTP protocol.

That saves a WebSocket the cost of an HTTP protocol, and a second parse of its request. Everything else, an invalid
handshake included, goes to uvicorn's protocol from its first byte on.
"""

import asyncio
import re
import socket
from collections.abc import Callable
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
from gateway.transports.uvicorn.sockets import peer_of, peer_of_socket
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
    wait, it is answered in a turn of its tenant. Where a server accepts connections itself, they wait for that without
    a transport.
    """

    __slots__ = (
        "_arguments",
        "_client",
        "_deadline",
        "_early",
        "_endpoint",
        "_handshake",
        "_queue",
        "_server_state",
        "_so_far",
        "_transport",
        "_waits",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._endpoint = Endpoint.of(app_state, config.loaded_app) if config.ws_protocol_class is Upgrade else None
        self._early = self._waits = False
        self._handshake: tuple[bytes, _Request] | None = None
        self._queue = ""
        self._so_far = bytearray()
        self._arguments: Final = (config, server_state, app_state)
        self._server_state = server_state
        self._client: socket.socket | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    # ---- without a transport

    def waits(self, client: socket.socket, connect: Callable[[], object]) -> bool:
        """Whether the whole of a handshake has come on `client`: then `connect`, which makes its transport, is called
        in a turn of its tenant, unless the client has gone by then."""
        endpoint = self._endpoint
        if endpoint is None or not self._read_from(client):
            return False
        head = self._head(endpoint.request_starts, len(self._so_far))
        request = None if head is None else _read(head, endpoint.request_starts)
        if head is None or request is None or exceeds_limits(request.target, request.headers):
            return False
        self._handshake, self._client = (head, request), client
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # has the methods that a shutdown calls
        self._queue = _queue_of(endpoint, request, peer_of_socket(client))
        endpoint.host.handshakes.accept(self._queue, partial(self._connect, client, connect))
        return True

    def _read_from(self, client: socket.socket) -> bool:
        """Read what has come; False where the client has gone."""
        try:
            data = client.recv(HEAD_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._so_far += data
        return bool(data)

    def _connect(self, client: socket.socket, connect: Callable[[], object]) -> None:
        self._client = None
        self._server_state.connections.discard(self)
        if client.fileno() < 0:  # at a shutdown
            return
        if len(self._so_far) > HEAD_BYTES or self._read_from(client):
            connect()
        else:
            client.close()

    # ---- called by the event loop and by uvicorn

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HEAD_SECONDS, self._give_up)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # has the methods that a shutdown calls
        if self._so_far:  # not now: the loop begins to read after this call
            self._early = True
            loop.call_soon(self._receive_early)

    def data_received(self, data: bytes) -> None:
        self._so_far += data
        if not self._waits:
            self._receive(len(self._so_far) if self._early else len(data))
        elif len(self._so_far) > HEAD_BYTES:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def shutdown(self) -> None:
        """Close the connection: uvicorn is stopping."""
        if self._client is None:
            self._transport.close()
        else:
            self._client.close()
            self._leave()

    # ---- the request

    def _receive_early(self) -> None:
        """Receive what came before the transport, unless more has come since."""
        if self._early and not self._transport.is_closing():
            self._receive(len(self._so_far))

    def _receive(self, added: int) -> None:
        """Receive bytes of the request, the last of them `added`."""
        self._early = False
        if self._handshake is not None and self._endpoint is not None:
            self._wait(self._endpoint, *self._handshake)
            return
        so_far, endpoint = self._so_far, self._endpoint
        starts = () if endpoint is None else endpoint.request_starts
        head = self._head(starts, added)
        may_be_ours = so_far.startswith(starts) or any(
            start.startswith(bytes(so_far[: len(start)])) for start in starts
        )
        if head is None and may_be_ours and len(so_far) <= HEAD_BYTES:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        if endpoint is not None and head is not None:
            request = _read(head, starts)
            if request is not None:
                # A request over the limits is refused, which takes no time.
                if endpoint.host.handshakes.busy and not exceeds_limits(request.target, request.headers):
                    self._queue = _queue_of(endpoint, request, peer_of(self._transport))
                    self._wait(endpoint, head, request)
                else:
                    self._begin(head, request)
                return
        self._leave()
        protocol = GuardedHttpTools(*self._arguments)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(bytes(so_far))

    def _head(self, starts: tuple[bytes, ...], added: int) -> bytes | None:
        """The head of a request for one of the paths, once it is whole; the last `added` bytes have not been searched
        for its end."""
        so_far = self._so_far
        end = _end_of_head(so_far, max(0, len(so_far) - added - 2)) if so_far.startswith(starts) else None
        return None if end is None else bytes(so_far[: end.end()])

    def _wait(self, endpoint: Endpoint, head: bytes, request: _Request) -> None:
        self._waits = True
        if self._deadline is not None:
            self._deadline.cancel()
        accepted = self._handshake is not None
        endpoint.host.handshakes.queue(self._queue, partial(self._begin, head, request), accepted)

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

    def _leave(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._server_state.connections.discard(self)

    def _give_up(self) -> None:
        status, detail, code = TOO_SLOW
        log_events.http_connection_ended(peer_of(self._transport), "slow_request", status)
        self._transport.write(error_response(status, detail, self._server_state.default_headers, code))
        self._transport.close()


def _queue_of(endpoint: Endpoint, request: _Request, peer: str) -> str:
    """The name of the queue in which a handshake of this client waits."""
    query, headers = parse_query(request.target.partition(b"?")[2]), request.headers
    address = client_address(peer, headers, endpoint.proxies)
    return endpoint.host.handshakes.queue_of(bearer_tokens(query, headers), address)
