"""uvicorn's HTTP protocol with the parser h11 (pure Python)."""

from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.transports.uvicorn.guard import TOO_LARGE, ConnectionGuard
from gateway.transports.uvicorn.handshake import TOO_OLD, head_fault
from gateway.transports.uvicorn.refusals import malformed
from gateway.transports.uvicorn.upgrade import EARLY, Upgrade


class _Connection(h11.Connection):
    """An h11 connection that also enforces RFC 9112, and stores the client's `fault` instead of raising it: uvicorn
    would log a warning for each."""

    fault: str | None = None
    head_too_long = False

    def next_event(self) -> Any:
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.fault = str(error)
            self.head_too_long = error.error_status_hint == 431
            return h11.NEED_DATA
        if isinstance(event, h11.Request):
            hosts = [value for name, value in event.headers if name == b"host"]
            self.fault = head_fault(event.http_version.decode(), hosts)
        return event if self.fault is None else h11.NEED_DATA


class GuardedH11(ConnectionGuard, H11Protocol):
    """uvicorn's protocol over h11. h11 stops behind a request until that has been answered: pipelined requests wait in
    its buffer, and reading is paused."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn: _Connection = _Connection(h11.SERVER, self.config.h11_max_incomplete_event_size or 64 * 1024)

    @property
    def app(self) -> Any:
        """The application that uvicorn calls with the request that it has read."""
        return self._application(self.scope, self._app)

    @app.setter
    def app(self, application: Any) -> None:
        self._app = application

    def _advance(self) -> None:
        if self.conn.fault is None:
            super()._advance()
        elif self.conn.head_too_long:
            self._give_up(*TOO_LARGE)
        elif not self.transport.is_closing():
            self.send_400_response(malformed(self.conn.trailing_data[0]))

    def _should_upgrade(self) -> bool:
        return self._offers_websocket(self.scope["method"].encode(), self.scope["raw_path"][len(self.root_path) :])

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        early, _ = self.conn.trailing_data
        if event.http_version < b"1.1":
            self.send_400_response(TOO_OLD)
        elif self.ws_protocol_class is Upgrade:
            self._upgrade(event.method, event.target, self.headers, early)
        elif early:
            self.send_400_response(EARLY)
        else:
            super().handle_websocket_upgrade(event)
            self._leave()

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # the invalid request has been answered already, or in part
            self.transport.close()

    def _head_begun(self) -> bool:
        return bool(self.conn.trailing_data[0])

    def _body_awaited(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY
