"""Server-Sent Events over HTTP, for any ASGI server."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from starlette.types import Receive, Scope, Send

from auth.errors import AuthError, TokenRevoked
from gateway.api.authentication import extract_tickets, extract_tokens, headers_of, query_of
from gateway.api.client import address_of
from gateway.api.problems import PROBLEMS, RequestMistake, problem, problems
from gateway.api.routes import HEAD, ProblemRoute
from gateway.core.connect_request import ConnectRequest, read_stream_request
from gateway.core.connection import Connection
from gateway.core.errors import GatewayError
from gateway.core.event_stream import PATH
from gateway.core.host import Host
from gateway.service.factory import Service
from gateway.telemetry import counts, log_events
from gateway.transports.asgi_event_stream import HEADERS, serve_event_stream
from schemas.codes import ErrorCode

_FIELDS: Final = {
    "id": {"type": "string", "description": "the cursor to resume from"},
    "event": {"type": "string", "description": "the type of a frame that is not an event"},
    "data": {"type": "string", "description": "a frame, as JSON"},
    "retry": {"description": "milliseconds after which to reconnect"},
}

_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The stream: events without a name, the gateway's own frames with theirs, marks as an id alone",
        "content": {"text/event-stream": {"schema": {"type": "object", "properties": _FIELDS}}},
    },
    204: {"description": "The token was revoked: do not reconnect"},
}

_ERRORS: Final = {
    **PROBLEMS,
    **problems(codes=(ErrorCode.ROOM_INVALID, ErrorCode.ROOM_FORBIDDEN, ErrorCode.TOO_MANY_ROOMS)),
}


class StreamRoute(ProblemRoute):
    """A route of event streams. A client whose token was revoked gets 204, which keeps an `EventSource` from
    reconnecting without looking like a fault."""

    def _refuse(self, request: Request, error: AuthError | GatewayError | RequestMistake) -> Response:
        if not isinstance(error, RequestMistake):
            counts.refused_connects[error.code] += 1
        answer = super()._refuse(request, error)
        revoked = isinstance(error, TokenRevoked)
        return Response(status_code=204, headers={"Cache-Control": "no-store"}) if revoked else answer


class HeadResponse(Response):
    """The head of a response that is an event stream."""

    def __init__(self) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]  # where it ends is not known


class EventStreamResponse(HeadResponse):
    """The response that is an event stream, of a client that was admitted."""

    def __init__(self, host: Host, begin: Callable[[], object], connection: Connection, stall: float) -> None:
        super().__init__()
        self._host = host
        self._begin = begin
        self._connection = connection
        self._stall = stall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = self.raw_headers
        await serve_event_stream(self._host, self._connection, self._begin, headers, self._stall, receive, send)


def event_stream_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["events"], route_class=StreamRoute.of(service), responses=_ERRORS)
    gateway = service.gateway
    streams = gateway.event_streams
    proxies, stall = service.settings.proxies, service.settings.stall_seconds

    @router.get(PATH, response_class=Response, responses=_STREAM)
    async def event_stream(
        request: Request,
        rooms: Annotated[str, Query(description="rooms, separated by commas; `*` for all that the token names")] = "",
        since: Annotated[str | None, Query(description="a cursor; the header Last-Event-ID goes before it")] = None,
        history: Annotated[str, Query(description="at most so many events from before, 0 to 100")] = "0",
        state: Annotated[str, Query(description="1 for the newest value of each item of the rooms")] = "0",
    ) -> Response:
        """Follow rooms by Server-Sent Events: the events of the WebSocket, for `EventSource` and `curl -N`."""
        scope = request.scope
        tokens, headers, address = extract_tokens(scope), headers_of(scope), address_of(scope, proxies)
        if not service.origins.allows(headers):
            log_events.origin_refused(address, headers)
            return problem(403, ErrorCode.BAD_MESSAGE, "pages of this origin may not connect")
        asked = read_stream_request(query_of(scope), headers, tokens, address, extract_tickets(scope))
        resolved: asyncio.Future[ConnectRequest] = asyncio.get_running_loop().create_future()
        if gateway.resolve(asked, partial(_resolve, resolved)):
            asked = await resolved
        stream = await streams.admit(asked)
        if HEAD not in scope:
            return EventStreamResponse(gateway, partial(streams.begin, stream), stream.connection, stall)
        gateway.on_transport_closed(stream.connection)
        return HeadResponse()

    return router


def _resolve(resolved: asyncio.Future[ConnectRequest], request: ConnectRequest) -> None:
    if not resolved.done():  # the client has gone meanwhile
        resolved.set_result(request)
