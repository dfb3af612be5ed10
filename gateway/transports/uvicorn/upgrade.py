"""The upgrade from HTTP to WebSocket (RFC 9110 section 7.8): the only module that decides on a handshake.

A handshake for the gateway's own path is answered here and served by a `WebSocketTransport`; one for another path goes
to uvicorn's implementation; an invalid one is refused.
"""

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from gateway.core.addresses import client_address
from gateway.core.headers import Headers, parse_query
from gateway.telemetry import log_events
from gateway.transports.uvicorn.endpoint import Endpoint
from gateway.transports.uvicorn.handshake import exceeds_limits, handshake_fault, read_request
from gateway.transports.uvicorn.protocol import WebSocketTransport
from gateway.transports.uvicorn.refusals import error_response
from gateway.transports.uvicorn.sockets import peer_of
from schemas.codes import ErrorCode

VERSION: Final = (b"sec-websocket-version", b"13")
"""The header for clients of another version (RFC 6455 section 4.4)."""

EARLY = "A client waits for the answer to its handshake before it sends anything more."


class Upgrade(asyncio.Protocol):
    """uvicorn's WebSocket class (`ws=`), which gets a request from uvicorn's own HTTP protocol.

    It has the connection during one call. `HttpProtocol` does without it, and calls `upgrade` itself.
    """

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **options: Any) -> None:
        self._arguments = (config, server_state, app_state)
        self._transport: asyncio.Transport
        self._next: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # the transport of another protocol before

    def data_received(self, data: bytes) -> None:
        # uvicorn sets this protocol once more after the call. Scheduled first, so that it is corrected before anything
        # that the call schedules, such as the end of the connection.
        asyncio.get_running_loop().call_soon(self._hand_over)
        self._next = upgrade(self._transport, self._arguments, data, *read_request(data))

    def _hand_over(self) -> None:
        if self._next is not None:
            self._transport.set_protocol(self._next)


def upgrade(
    transport: asyncio.Transport,
    arguments: tuple[Config, ServerState, dict[str, Any]],
    head: bytes,
    method: bytes,
    target: bytes,
    headers: Headers,
    early: bytes = b"",
) -> asyncio.Protocol | None:
    """Answer a handshake, of which `head` is every byte. Returns the protocol that takes over the connection, or None
    where the request was refused and the connection is being closed.

    `early` are the bytes behind it: first frames of a client that does not wait for the response.
    """
    config, server_state, app_state = arguments
    endpoint = Endpoint.of(app_state, config.loaded_app)
    path, _, query = target.partition(b"?")
    own = [*server_state.default_headers, VERSION]
    if exceeds_limits(target, headers):
        too_long = "the request line or its headers are too long"
        log_events.handshake_refused(peer_of(transport), 431, "malformed_handshake", detail=too_long)
        refusal = error_response(431, too_long, own, ErrorCode.MESSAGE_TOO_LARGE)
    elif endpoint is None or not endpoint.serves(path):
        if endpoint is None or not endpoint.alone:
            return _delegate_to_uvicorn(transport, arguments, head, early)
        unknown = f"no WebSocket is served at this path; connect to {endpoint.paths[0]}"
        log_events.handshake_refused(peer_of(transport), 404, "unknown_path", path=path[:200].decode("latin-1"))
        refusal = error_response(404, unknown, own, ErrorCode.NOT_FOUND)
    elif fault := handshake_fault(method, headers):
        log_events.handshake_refused(peer_of(transport), 400, "malformed_handshake", detail=fault)
        refusal = error_response(400, fault, own)
    elif not endpoint.origins.allows(headers):
        log_events.origin_refused(client_address(peer_of(transport), headers, endpoint.proxies), headers)
        refusal = error_response(403, "pages of this origin may not connect", own)
    else:
        protocol = WebSocketTransport(endpoint, server_state)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.open(parse_query(query), headers, early)
        return protocol
    transport.write(refusal)
    transport.close()
    return None


class EarlyFramesWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's implementation, with `early` frames held back until the application has accepted the connection; it
    would take them for frames of an open connection."""

    early = b""

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.early and self.handshake_complete and not self.close_sent:
            early, self.early = self.early, b""
            self.transport.resume_reading()
            self.data_received(early)


def _delegate_to_uvicorn(
    transport: asyncio.Transport, arguments: tuple[Config, ServerState, dict[str, Any]], head: bytes, early: bytes
) -> asyncio.Protocol | None:
    """Let uvicorn's implementation answer: it serves the application's WebSocket routes."""
    protocol = EarlyFramesWebSocket(*arguments)
    protocol.connection_made(transport)
    protocol.data_received(head)
    # uvicorn does not answer a handshake that websockets rejects, and leaves the socket open.
    if protocol.conn.handshake_exc is not None and not transport.is_closing():
        protocol.connections.discard(protocol)
        answer = b"".join(protocol.conn.data_to_send())
        transport.write(answer or error_response(400, "not an opening handshake", [VERSION]))
        transport.close()
        return None
    transport.set_protocol(protocol)
    if early and not transport.is_closing():
        protocol.early = early
        transport.pause_reading()
    return protocol
