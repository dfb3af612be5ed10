"""Cross-origin use of the HTTP API by web pages (CORS, Fetch standard section 3.2)."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi.routing import APIRoute

from gateway.core.headers import group_headers
from gateway.core.origin import OriginPolicy

_METHODS: Final = b"DELETE, GET, HEAD, POST"
_REQUEST_HEADERS: Final = b"authorization, content-type, last-event-id, traceparent, tracestate"
_EXPOSED: Final = b"Retry-After, WWW-Authenticate"
_PREFLIGHT_SECONDS: Final = b"600"


class CrossOriginRoute(APIRoute):
    """A route with CORS headers for the origins that may open a WebSocket.

    A route and not a middleware: so it works within another application, and for the gateway's routes only. Credentials
    of the browser (cookies) are never allowed: a page sends a token.
    """

    origins: OriginPolicy

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST" and not any(name == b"origin" for name, _ in scope["headers"]):
            return await super().handle(scope, receive, send)  # a publisher; POST responses are not cached
        origin = self.origins.page_of(group_headers(scope["headers"]))
        if origin is None:
            return await super().handle(scope, receive, _adding(send, [(b"vary", b"Origin")]))
        allowed = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if scope["method"] == "OPTIONS" and _is_preflight(scope["headers"]):
            await send({"type": "http.response.start", "status": 204, "headers": [*allowed, *_preflight()]})
            await send({"type": "http.response.body", "body": b""})
            return None
        exposed = (b"access-control-expose-headers", _EXPOSED)
        return await super().handle(scope, receive, _adding(send, [*allowed, exposed]))


def _adding(send: Any, headers: list[tuple[bytes, bytes]]) -> Any:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return sending


def _is_preflight(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"access-control-request-method" for name, _ in headers)


def _preflight() -> Iterator[tuple[bytes, bytes]]:
    yield b"access-control-allow-methods", _METHODS
    yield b"access-control-allow-headers", _REQUEST_HEADERS
    yield b"access-control-max-age", _PREFLIGHT_SECONDS
