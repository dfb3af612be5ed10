"""uvicorn's HTTP protocol with the parser httptools (C, extra `fast`)."""

from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.transports.uvicorn.guard import ConnectionGuard, Phase
from gateway.transports.uvicorn.handshake import TOO_OLD, head_fault, write_request
from gateway.transports.uvicorn.refusals import malformed
from gateway.transports.uvicorn.upgrade import EARLY, Upgrade

PIECE: Final = 2 * 1024
"""Bytes that are parsed before the next check for a complete request: the parser cannot stop behind one, and the
requests in the same piece are queued with all their headers. The rest of a body of known length is one piece."""

_TOO_EARLY: Final = "A WebSocket is opened once the request before it has been answered."


class InvalidHead(Exception):
    """A violation of HTTP that the parser accepts."""


class GuardedHttpTools(ConnectionGuard, HttpToolsProtocol):
    """uvicorn's protocol over httptools, one request at a time.

    Bytes behind an unanswered request wait unparsed, and reading is paused. So the answer to a fault in them comes in
    order.
    """

    _phase_of_message: Phase | None = None
    _unparsed = b""
    _running: RequestResponseCycle | None = None
    _refusal: str | None = None
    _body_length: int | None = None
    _body_bytes = 0

    # ---- bytes

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        data, self._unparsed = self._unparsed + data, b""
        start = 0
        while start < len(data) and not self._waits():
            piece = data[start : start + max(PIECE, self._rest_of_body())]
            start += len(piece)
            try:
                self.parser.feed_data(piece)
            except HttpParserUpgrade as upgrade:
                start -= len(piece) - upgrade.args[0]
                if not self._stays_http(data[start:]):
                    return
            except HttpParserError:
                return self._refuse(malformed(data))
        if start < len(data):
            self._unparsed = data[start:]
            self.flow.pause_reading()

    def _rest_of_body(self) -> int:
        """Bytes that are certainly of the current body; 0 where its length is unknown."""
        if self._phase_of_message is not Phase.BODY:
            return 0
        if self._body_length is None:  # the parser has checked it
            length = next((value for name, value in self.headers if name == b"content-length"), b"0")
            self._body_length = int(length)
        return self._body_length - self._body_bytes

    def _resume_parsing(self) -> None:
        if self.transport.is_closing():
            return
        if self._refusal is None:
            if self._unparsed:
                self._parse(b"")
        elif not self._busy():
            self.send_400_response(self._refusal)

    def _waits(self) -> bool:
        """Whether further bytes must wait for an answer."""
        return bool(self.pipeline) or self._refusal is not None or (self._busy() and self._phase_of_message is None)

    def _busy(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _refuse(self, message: str) -> None:
        """Answer with 400 and close, once earlier requests have been answered."""
        within = self._phase_of_message is Phase.BODY and not self.pipeline
        if within and self.cycle.response_started:
            self.transport.close()
        elif within or not self._busy():
            self.send_400_response(message)
        else:
            if self._phase_of_message is Phase.BODY:  # the head of that request was queued
                self.pipeline.popleft()
            self._refusal = message
            self.flow.pause_reading()

    # ---- called by the parser

    def on_message_begin(self) -> None:
        self._phase_of_message = Phase.HEAD
        self._body_length, self._body_bytes = None, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        if head_fault(version, [value for name, value in self.headers if name == b"host"]):
            raise InvalidHead
        if not self.parser.should_upgrade():  # else the parser stops here, with or without a body
            self._phase_of_message = Phase.BODY
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase_of_message = None
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, self._application(cycle.scope, app))

    def _cycle_of_stream(self) -> Any:
        return self._running

    # ---- upgrades

    def _stays_http(self, rest: bytes) -> bool:
        """Process a request that offers another protocol, before its body: whether it stays a request of HTTP/1.1."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            self._refuse(malformed(b""))
        elif not self._offers_websocket(method, self.url):
            # Parse it again without the offer: else the parser takes the body for the other protocol.
            headers = [(name, value) for name, value in self.headers if name != b"upgrade"]
            self.parser = HttpRequestParser(self)
            self.parser.feed_data(write_request(method, self.url, version.encode(), headers))
            return True
        elif version < "1.1":
            self._refuse(TOO_OLD)
        elif self._busy():
            self._refuse(_TOO_EARLY)
        elif self.ws_protocol_class is Upgrade:
            self._upgrade(method, self.url, self.headers, rest)
        elif rest:
            self._refuse(EARLY)
        else:
            self.scope["method"] = method.decode()
            self.handle_websocket_upgrade()
            self._leave()
        return False

    def _leave(self) -> None:
        super()._leave()
        # A reference cycle: the protocol, the parser and the request would live until the next garbage collection.
        self.parser = None  # type: ignore[assignment]  # as uvicorn's `connection_lost` does

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn notifies only the request that was parsed last.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    # ---- phases

    def _head_begun(self) -> bool:
        return self._phase_of_message is Phase.HEAD or bool(self._unparsed)

    def _body_awaited(self) -> bool:
        return self._phase_of_message is Phase.BODY and not self.pipeline
