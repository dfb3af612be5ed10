"""The connection guard: deadlines and bounds of HTTP connections, which uvicorn's HTTP protocols lack.

Without them a client that sends no request, never ends it or reads no answer (slowloris) holds a connection without
end, or memory without bound.
"""

import asyncio
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

from gateway.core.event_stream import PATH
from gateway.core.headers import group_headers
from gateway.telemetry import log_events
from gateway.transports.hand_over import HAND_OVER, HandOver
from gateway.transports.uvicorn.endpoint import BODY_DEADLINE_KEY, STATE_KEY, Endpoint
from gateway.transports.uvicorn.event_stream import EventStreamTransport
from gateway.transports.uvicorn.handshake import offers_websocket, write_request
from gateway.transports.uvicorn.refusals import error_response
from gateway.transports.uvicorn.sockets import abort_with_rst, acked_bytes, peer_of, unacked_bytes
from gateway.transports.uvicorn.take_over import Message, Send, StreamSender, response_head
from gateway.transports.uvicorn.upgrade import upgrade
from schemas.codes import ErrorCode

HEAD_SECONDS: Final = 5.0
HEAD_BYTES: Final = 64 * 1024
BODY_SECONDS: Final = 30.0
"""The deadline of a body: 16 MiB of a batch over a slow link."""

SHUTDOWN_SECONDS: Final = 2.0
"""The deadline of the rest of a body once the server stops, which waits for this request."""

TOO_LARGE: Final = (431, f"the head of a request has at most {HEAD_BYTES} bytes", ErrorCode.MESSAGE_TOO_LARGE)
TOO_SLOW: Final = (408, "the rest of the request did not come in time", ErrorCode.BAD_MESSAGE)


class Phase(Enum):
    """The phases of an HTTP connection that have a deadline."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    IDLE = auto()


class ConnectionGuard(H11Protocol if TYPE_CHECKING else object):  # type: ignore[misc]  # a mixin for either protocol
    """Ends the connection of an HTTP client that is slow or silent. Each phase has a bound:

    - HEAD, from the connection or the first byte of a further request on: `HEAD_SECONDS`, `HEAD_BYTES`; 408, 431.
    - BODY, from the end of the head on: `BODY_SECONDS`; 408.
    - ANSWER: the application's time.
    - IDLE, from the end of the answer on: uvicorn's keep-alive timeout.

    In each phase a client that reads nothing of its answer is aborted like one of a WebSocket: after the endpoint's
    `stall` seconds. At most uvicorn's `HIGH_WATER_LIMIT` is buffered, since the application has to wait then
    (backpressure).
    """

    bucket = 0
    timeout_keep_alive_task: asyncio.TimerHandle | None
    _endpoint: Endpoint | None = None
    _phase = Phase.HEAD
    _cycle: Any = None
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _progress = 0
    _progress_at = 0.0

    # ---- called by the event loop and by uvicorn

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state[BODY_DEADLINE_KEY] = BODY_SECONDS
        self._endpoint = self.app_state.get(STATE_KEY)
        if self._endpoint is not None:
            self._endpoint.add(self)
        self._enter(Phase.HEAD)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        self._parse(data)
        self._advance()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._resume_parsing()
        self._advance()

    def send_400_response(self, msg: str) -> None:
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:  # its body is invalid, so no more of it is read
            cycle.disconnected = True
            cycle.message_event.set()
        log_events.http_connection_ended(peer_of(self.transport), "malformed_request", 400, msg)
        self._refuse_with(400, msg, ErrorCode.BAD_MESSAGE)

    def timeout_keep_alive_handler(self) -> None:
        if unacked_bytes(self.transport) or self.transport.get_write_buffer_size():
            self.abort()  # or unread data would stay in the kernel for minutes
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        super().shutdown()
        if self._phase is Phase.BODY:
            self._arm(SHUTDOWN_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._leave()
        finally:
            super().connection_lost(exc)

    # ---- differences of the two parsers

    def _parse(self, data: bytes) -> None:
        super().data_received(data)

    def _resume_parsing(self) -> None:
        """Parse the pipelined requests behind an answered one."""

    def _head_begun(self) -> bool:
        """Whether a part of the next request is here."""
        raise NotImplementedError

    def _body_awaited(self) -> bool:
        """Whether the body of the current request is incomplete, and its parsing is not paused."""
        raise NotImplementedError

    # ---- phases

    def _advance(self) -> None:
        """Enter the phase that the parser and the application have reached."""
        cycle = self.cycle
        if self not in self.connections or self.transport.is_closing():
            return
        if self._body_awaited():
            phase = Phase.BODY
        elif cycle is not None and not cycle.response_complete:
            phase = Phase.ANSWER
        else:
            phase = Phase.HEAD if cycle is None or self._head_begun() else Phase.IDLE
        if phase is not self._phase or cycle is not self._cycle:
            self._enter(phase)
        elif phase is Phase.HEAD and self._head_bytes > HEAD_BYTES:
            self._give_up(*TOO_LARGE)
        elif phase is Phase.IDLE and self.timeout_keep_alive_task is None:  # the bytes were not part of a request
            self._enter(phase)

    def _enter(self, phase: Phase) -> None:
        self._disarm()
        self._phase, self._cycle, self._head_bytes = phase, self.cycle, 0
        if phase is Phase.HEAD:
            self._unset_keepalive_if_required()
            self._arm(HEAD_SECONDS)
        elif phase is Phase.BODY:
            self._arm(BODY_SECONDS)
        elif phase is Phase.IDLE and self.timeout_keep_alive_task is None:  # unset by the rest of a body
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._give_up, *TOO_SLOW)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self, status: int, detail: str, code: ErrorCode) -> None:
        self._disarm()
        if self.transport.is_closing():
            return
        log_events.http_connection_ended(peer_of(self.transport), "slow_request", status)
        # A request that was answered before the end of its body gets no second answer.
        if self._phase is Phase.HEAD or not self.cycle.response_started:
            self._refuse_with(status, detail, code)
        else:
            self.transport.close()

    def _refuse_with(self, status: int, detail: str, code: ErrorCode) -> None:
        self.transport.write(error_response(status, detail, self.server_state.default_headers, code))
        self.transport.close()

    # ---- keepalive

    def check_liveness(self, now: float, endpoint: Endpoint) -> None:
        waiting = self.transport.get_write_buffer_size()
        # Without TCP_INFO, progress is measured by the bytes that are left.
        progress = (acked_bytes(self.transport) or -waiting - unacked_bytes(self.transport)) if waiting else 0
        if not waiting or progress != self._progress:
            self._progress, self._progress_at = progress, now
        elif now - self._progress_at >= endpoint.stall:
            log_events.http_connection_ended(peer_of(self.transport), "slow_consumer")
            self.abort()

    def extend_deadlines(self, seconds: float) -> None:
        self._progress_at += seconds

    def abort(self) -> None:
        abort_with_rst(self.transport)

    # ---- WebSockets

    def _offers_websocket(self, method: bytes, target: bytes) -> bool:
        """Whether the current request is a handshake, valid or not. A POST elsewhere, for example, is not: a server may
        always ignore `Upgrade`."""
        path = target.partition(b"?")[0]
        return (
            self.ws_protocol_class is not None
            and (method == b"GET" or (self._endpoint is not None and self._endpoint.serves(path)))
            and offers_websocket(group_headers(self.headers))
        )

    def _upgrade(self, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], early: bytes) -> None:
        """Hand the connection over with the handshake request, and the `early` bytes behind it."""
        head = write_request(method, target, b"1.1", headers)
        arguments = (self.config, self.server_state, self.app_state)
        if upgrade(self.transport, arguments, head, method, target, group_headers(headers), early) is not None:
            self._leave()

    # ---- event streams

    def _application(self, scope: Any, application: Any) -> Any:
        """The application for a request: with a hand-over of the socket where the request is for an event stream."""
        if self._endpoint is None or not scope["path"].endswith(PATH):
            return application

        def answer(scope: Any, receive: Any, send: Send) -> Any:
            return application(scope, receive, StreamSender(send, self._take_over))

        return answer

    def _take_over(self, message: Message) -> EventStreamTransport | None:
        """Hand the connection over to the stream that is about to start; None where it is ending already, and where
        middleware has encoded the body."""
        offer: HandOver = message[HAND_OVER]
        cycle = self._cycle_of_stream()
        if self._endpoint is None or cycle.disconnected or cycle.response_started or self.transport.is_closing():
            return None
        if any(name.lower() == b"content-encoding" for name, _ in message["headers"]):
            return None
        stream = EventStreamTransport(self._endpoint, self.server_state, offer.host, offer.connection)
        head = response_head(message["status"], [*cycle.default_headers, *message["headers"]])
        if not offer.accept(stream):
            return None
        if self.access_log:
            client, line = get_client_addr(cycle.scope), get_path_with_query_string(cycle.scope)
            version = cycle.scope["http_version"]
            self.access_logger.info('%s - "%s %s HTTP/%s" %d', client, "GET", line, version, message["status"])
        self.server_state.total_requests += 1
        cycle.response_started = cycle.disconnected = True  # uvicorn has nothing more to do with it
        self.flow.resume_reading()
        self._leave()
        stream.take_over(self.transport, head)
        return stream

    def _cycle_of_stream(self) -> Any:
        """The request that is being answered."""
        return self.cycle

    def _leave(self) -> None:
        """Release the connection: it has ended, or belongs to another protocol."""
        self._disarm()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        if self._endpoint is not None:
            self._endpoint.discard(self)
