"""The WebSocket routes for any ASGI server."""

import asyncio
from dataclasses import replace
from functools import partial

from fastapi import APIRouter, Request, Response, WebSocket

from gateway.api.authentication import extract_tickets, extract_tokens, headers_of, query_of
from gateway.api.client import address_of
from gateway.api.problems import problem
from gateway.api.routes import MethodRoute
from gateway.core.connect_request import ConnectRequest, read_connect_request
from gateway.engine.lifecycle import NotRunning
from gateway.service.factory import Service
from gateway.telemetry import log_events
from gateway.transports.asgi import AsgiTransport, serve
from schemas.codes import ErrorCode

_ROOT = "/"
"""A path with a page, also in other applications."""


def websocket_router(service: Service) -> APIRouter:
    router = APIRouter(route_class=MethodRoute)
    gateway = service.gateway
    lifecycle = gateway.lifecycle
    proxies = service.settings.proxies

    async def dashboard(websocket: WebSocket) -> None:
        scope = websocket.scope
        tokens = extract_tokens(scope)
        headers = headers_of(scope)
        if not service.origins.allows(headers):
            log_events.origin_refused(address_of(scope, proxies), headers)
            await websocket.close()  # before the accept: HTTP 403
            return
        address = address_of(scope, proxies)
        handshake = read_connect_request(query_of(scope), headers, tokens, address, extract_tickets(scope))
        try:
            await lifecycle.ensure_running()
        except NotRunning as error:
            handshake = replace(handshake, failure=error)
        await websocket.accept(handshake.subprotocol)
        resolved: asyncio.Future[ConnectRequest] = asyncio.get_running_loop().create_future()
        if gateway.resolve(handshake, partial(_resolve, resolved)):
            handshake = await resolved
        transport = AsgiTransport(websocket.send, service.settings.stall_seconds)
        connection = gateway.connect(handshake, transport)
        await serve(gateway, connection, transport, websocket.receive)

    async def upgrade_required(request: Request) -> Response:
        """A handshake whose `Upgrade` and `Connection` headers were lost, or another request."""
        extract_tokens(request.scope)
        message = "this path is a WebSocket: send Upgrade and Connection, and configure each proxy to pass them on"
        answer = problem(426, ErrorCode.BAD_MESSAGE, message)
        answer.headers.update({"Upgrade": "websocket", "Connection": "Upgrade"})
        return answer

    for path in service.settings.websocket_paths:
        router.add_api_websocket_route(path, dashboard)
        if path != _ROOT:
            router.add_api_route(path, upgrade_required, methods=["GET"], include_in_schema=False)
    return router


def _resolve(resolved: asyncio.Future[ConnectRequest], handshake: ConnectRequest) -> None:
    if not resolved.done():  # the client has gone meanwhile
        resolved.set_result(handshake)
