"""uvicorn's HTTP protocols with what they lack: a deadline and a size for the head of a request, and a deadline for its
body.

Without them a client that sends no request, or never ends it, holds a connection for ever, or memory without bound.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from h11 import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 5.0
HEAD_BYTES: Final = 64 * 1024
BODY_SECONDS: Final = 30.0
"""For the whole body: 16 MiB of a batch at the speed of a telephone."""

SHUTDOWN_SECONDS: Final = 2.0
"""For what is left of a body once the server ends: it waits for this request, and in the end would cut it off."""

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

_TOO_OLD: Final = "A WebSocket is opened with HTTP/1.1."  # RFC 6455 section 4.1; uvicorn takes HTTP/1.0 too
_TOO_EARLY: Final = "A WebSocket is opened once the request before it has been answered."  # h11 waits by itself


class _GuardedHead(H11Protocol if TYPE_CHECKING else object):  # type: ignore[misc]  # a mixin for either protocol
    """Closes a connection whose next request has no complete head after `HEAD_SECONDS` or `HEAD_BYTES`, or no complete
    body `BODY_SECONDS` later.

    Between two requests uvicorn's own keep-alive timeout holds.
    """

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arm(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        if self._awaits_head():
            if self._deadline is None:
                self._arm(HEAD_SECONDS)
            self._head_bytes += len(data)
        super().data_received(data)
        if self._awaits_head():
            if self._head_bytes > HEAD_BYTES:
                self._give_up(_TOO_LARGE)
        elif not self._awaits_body():
            self._disarm()
        elif self._head_bytes:  # the head has just come to its end
            self._arm(BODY_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        super().shutdown()
        if self._awaits_body():
            self._arm(SHUTDOWN_SECONDS)

    def _awaits_head(self) -> bool:
        """Whether no request is under way, and the connection is still this protocol's."""
        cycle = self.cycle
        return self in self.connections and (cycle is None or (cycle.response_complete and not cycle.more_body))

    def _awaits_body(self) -> bool:
        return self in self.connections and self.cycle is not None and self.cycle.more_body

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._head_bytes = 0
        self._deadline = self.loop.call_later(seconds, self._give_up, TOO_SLOW)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self, answer: bytes) -> None:
        self._disarm()
        if not self.transport.is_closing():
            # A request that was answered before its body had come to its end does not get a second answer.
            if self.cycle is None or not (self.cycle.more_body and self.cycle.response_started):
                self.transport.write(answer)
            self.transport.close()


class GuardedH11(_GuardedHead, H11Protocol):
    """With the parser written in Python."""

    def handle_websocket_upgrade(self, event: Request) -> None:
        if event.http_version < b"1.1":
            self.send_400_response(_TOO_OLD)
        else:
            super().handle_websocket_upgrade(event)


try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:  # httptools is in the extra `fast`
    UvicornHttp: type[asyncio.Protocol] = GuardedH11
else:

    class GuardedHttpTools(_GuardedHead, HttpToolsProtocol):
        """With the parser written in C."""

        def handle_websocket_upgrade(self) -> None:
            if self.scope["http_version"] < "1.1":
                self.send_400_response(_TOO_OLD)
            elif self.cycle is not None and not self.cycle.response_complete:
                self.send_400_response(_TOO_EARLY)
            else:
                super().handle_websocket_upgrade()
                # It holds this protocol, so that both and the request would stay until Python looks for cycles.
                self.parser = None  # type: ignore[assignment]  # as uvicorn's `connection_lost`, which never comes now

    UvicornHttp = GuardedHttpTools
