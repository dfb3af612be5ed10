"""The fast path of publishing: valid requests bypass FastAPI's request handling, which takes five times as long.

Any other request goes on to FastAPI with its body unchanged, so that its error is found and described in one place.
Only refusals of the log, of rates and of grants are answered here as well.
"""

import asyncio
from typing import Any, ClassVar, Final

from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import APIRoute
from pydantic_core import from_json, to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.errors import AuthError
from auth.identity import Identity
from gateway.api.authentication import is_redacted
from gateway.api.batch_body import parse_batch
from gateway.api.body import Body
from gateway.api.client import set_identity
from gateway.api.problems import RequestMistake, log_refusal, problem_for
from gateway.api.publisher import BATCH_PATH, EVENTS_PATH, HttpPublisher, Result
from gateway.api.routes import MAX_BATCH_BODY, MAX_BODY, ProblemRoute, read_body
from gateway.core.errors import GatewayError
from gateway.service.factory import Service
from schemas.admin import EventBatch

_JSON: Final = frozenset(
    (
        b"application/json",
        b"application/json; charset=utf-8",
        b"application/json;charset=utf-8",
        b"application/json; charset=UTF-8",
        b"application/json;charset=UTF-8",
    )
)
"""The usual spellings."""

_ELSEWHERE: Final = frozenset((b"origin", b"sec-websocket-protocol"))
"""Headers of requests from web pages, whose responses have CORS headers, and of tokens in another place."""


class FastPath:
    """The fast path of a gateway, for applications without dependencies of their own before its routes."""

    def __init__(self, service: Service) -> None:
        gateway = service.gateway
        self._publisher = HttpPublisher(service)
        self._authentication = gateway.authentication
        self._connections = gateway.connections
        self._lifecycle = gateway.lifecycle
        publishing = gateway.publishing
        self._ingest = publishing.ingest
        self._proxies = service.settings.proxies

    async def attempt(self, path: str, scope: Scope, receive: Receive, send: Send) -> Receive | None:
        """Answer a POST to the route `path` and return None; or return the `receive` with which FastAPI handles it."""
        if path not in (EVENTS_PATH, BATCH_PATH) or (identity := self._sender(scope)) is None:
            return receive
        try:
            if path == EVENTS_PATH:
                body = await read_body(scope, receive, MAX_BODY, self._ingest, identity.tenant)
                result = await self._publish(scope, identity, body)
            else:
                body = await read_body(scope, receive, MAX_BATCH_BODY, self._ingest, identity.tenant)
                result = await self._publish_batch(scope, identity, body)
        except Exception as error:
            if isinstance(error, AuthError | GatewayError | RequestMistake):
                log_refusal(scope, path, self._proxies, error)
            await problem_for(error)(scope, receive, send)
            return None
        if result is None:
            return _again(body, receive)
        content = to_json(result)
        headers = [(b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        return None

    async def _publish(self, scope: Scope, identity: Identity, body: bytes | Body) -> Result | None:
        await self._ingest.request(identity.tenant, len(body))
        try:
            event = self._publisher.validate(from_json(bytes(body), allow_inf_nan=False))
        except ValueError:
            return None
        return await self._publisher.publish(scope, identity, event)

    async def _publish_batch(
        self, scope: Scope, identity: Identity, body: bytes | Body
    ) -> dict[str, list[Result]] | None:
        with self._ingest.batch() as batch:
            try:
                events = EventBatch.model_validate(await parse_batch(batch, identity.tenant, body)).events
            except ValueError:
                return None
            identity = self._connections.revalidate(identity)
            return {"results": await self._publisher.publish_batch(scope, identity, batch, events)}

    def _sender(self, scope: Scope) -> Identity | None:
        """The identity in the request's token, which may publish; None where FastAPI has to handle the request."""
        if (
            self._authentication.asks_application
            or scope.get("query_string")
            or is_redacted(scope)
            or _is_traced(scope)
            or self._lifecycle.loop is not asyncio.get_running_loop()
        ):
            return None
        credentials = kind = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if credentials is not None:
                    return None
                credentials = value
            elif name == b"content-type":
                if kind is not None:
                    return None
                kind = value
            elif name in _ELSEWHERE:
                return None
        if credentials is None or kind not in _JSON or credentials[:7].lower() != b"bearer ":
            return None
        try:
            identity = self._authentication.verify(credentials[7:].decode("latin-1").strip())
        except AuthError:
            return None
        if not (identity.has_scope("publish") or identity.has_scope("admin")):
            return None
        set_identity(scope, identity)
        return identity


class FastPathMiddleware:
    """The fast path of an application that serves nothing but a gateway: it bypasses the routing as well."""

    def __init__(self, app: ASGIApp, fast_path: FastPath) -> None:
        self.app = app
        self._fast_path = fast_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        again: Receive | None = receive
        if scope["type"] == "http" and scope["method"] == "POST":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            _set_route(scope, path)
            again = await self._fast_path.attempt(path, scope, receive, send)
        if again is not None:
            await self.app(scope, again, send)


class FastRoute(ProblemRoute):
    """A route with a fast path, for requests that the application handles by the route as declared here."""

    fast_path: ClassVar[FastPath]
    urgent = False

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        again: Receive | None = receive
        if _serves_as_declared(self, scope):
            again = await self.fast_path.attempt(self.path, scope, receive, send)
        if again is not None:
            await super().serve(scope, again, send)


def _is_traced(scope: Scope) -> bool:
    """Whether FastAPI records spans of its own steps; not in a trace that is not sampled."""
    telemetry = scope.get("fastapi.telemetry")
    span = getattr(telemetry, "span", None)
    return telemetry is not None and (span is None or span.is_recording())


def _set_route(scope: Scope, path: str) -> None:
    """Set the route of a request in FastAPI's metrics, as its routing would."""
    telemetry: Any = scope.get("fastapi.telemetry")
    if path in (EVENTS_PATH, BATCH_PATH) and hasattr(telemetry, "route"):
        telemetry.route = scope.get("root_path", "") + path


def _serves_as_declared(route: APIRoute, scope: Scope) -> bool:
    """Whether the application has added nothing to the route: no dependency, no limit of bodies, no response class.
    False where that cannot be determined."""
    # A route of a router that is included several times has a context for each.
    context = scope.get("fastapi", {}).get("effective_route_context")
    if getattr(context, "original_route", None) is route:
        declared = context
    elif any(own is route for own in getattr(scope.get("app"), "routes", ())):
        declared = route
    else:
        return False
    limit = getattr(declared, "max_body_size", None)  # of newer releases
    return not declared.dependencies and limit is None and isinstance(declared.response_class, DefaultPlaceholder)


def _again(body: bytes | Body, receive: Receive) -> Receive:
    """A `receive` that repeats the body that has been read."""
    left = [body] if isinstance(body, bytes) else list(reversed(body.parts))

    async def again() -> Message:
        if not left:
            return await receive()
        part = left.pop()
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    return again
