"""Credentials of requests: found, taken out of what others log, and verified."""

import logging
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from fastapi import Request

from auth.identity import Identity
from gateway.core.handshake import Secrets, bearer_tokens, client_address, one_token, without_secrets
from gateway.wiring import Service

_TAKEN: Final = "gateway.tokens"

Scope = MutableMapping[str, Any]


def take_tokens(scope: Scope) -> Secrets:
    """The tokens of a request; from here on its query string shows none to what comes after, access logs included.

    The server logs the scope's URL when it answers, which is later: so the scope itself is changed, not a copy.
    """
    if _TAKEN not in scope:
        scope[_TAKEN] = bearer_tokens(scope["query_string"], scope["headers"])
        scope["query_string"] = without_secrets(scope["query_string"])
    tokens: Secrets = scope[_TAKEN]
    return tokens


class SecretsMiddleware:
    """Takes the tokens of every request, before anything else can see them."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            take_tokens(scope)
        await self.app(scope, receive, send)


def address_of(service: Service, scope: Scope) -> str:
    """The client's address, `X-Forwarded-For` believed from configured proxies only."""
    peer = scope["client"][0] if scope.get("client") else "unknown"
    return client_address(peer, scope["headers"], service.settings.proxies)


def principal_of(service: Service) -> Callable[[Request], Identity]:
    """A dependency: who sends this request. Raises `AuthError`."""

    async def principal(request: Request) -> Identity:
        identity = service.gateway.verify(one_token(take_tokens(request.scope)))
        request.state.principal = identity
        return identity

    return principal  # type: ignore[return-value]  # FastAPI awaits it


class RedactingFilter(logging.Filter):
    """Takes `token=` and `ticket=` out of whatever a server logs of a URL, also where it kept a copy of the scope."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and record.args:
            record.args = tuple(_redacted(argument) for argument in record.args)
        if isinstance(record.msg, str):
            record.msg = _redacted(record.msg)
        return True


def _redacted(value: object) -> object:
    if not isinstance(value, str) or "?" not in value:
        return value
    path, _, query = value.partition("?")
    words = query.split(" ", 1)
    words[0] = without_secrets(words[0].encode()).decode()
    return f"{path}?{' '.join(words)}" if words[0] else " ".join([path, *words[1:]])


def redact_server_logs() -> None:
    """Filter uvicorn's loggers: it writes the URL of a WebSocket at INFO to `uvicorn.error`, access log or not."""
    for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        target = logging.getLogger(name)
        if not any(isinstance(known, RedactingFilter) for known in target.filters):
            target.addFilter(RedactingFilter())
