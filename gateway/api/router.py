"""The router: all routes of a gateway, to include in an application."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIWebSocketRoute

from gateway.api.admin import admin_router
from gateway.api.asyncapi import asyncapi_router
from gateway.api.bypass import bypassed, serves_others
from gateway.api.contract import contract_router
from gateway.api.event_stream import event_stream_router
from gateway.api.events import events_router
from gateway.api.explain import explain_router
from gateway.api.health import ops_router
from gateway.api.inspection import inspection_router
from gateway.api.metrics import metrics_router
from gateway.api.operations import operations_router
from gateway.api.presence import presence_router
from gateway.api.rate_limits import RouteLimiter
from gateway.api.rooms import rooms_router
from gateway.api.routes import merge_routers
from gateway.api.tickets import tickets_router
from gateway.api.tokens import tokens_router
from gateway.api.usage import usage_router
from gateway.api.websocket import websocket_router
from gateway.service.factory import Service
from gateway.telemetry.redaction import redact_server_logs
from gateway.transports.uvicorn.endpoint import STATE_KEY, Endpoint


def create_router(service: Service, prefix: str = "") -> APIRouter:
    """The routes, with a lifespan that starts and stops the gateway. For `include_router`: a mounted application's
    lifespan does not run. Middleware of the application and dependencies of its routers apply to the WebSocket with the
    uvicorn transport too, which then leaves the route to ASGI."""
    sockets = websocket_router(service)
    endpoints = (route.endpoint for route in sockets.routes if isinstance(route, APIWebSocketRoute))
    serve_websocket = next(endpoints)  # one endpoint for all paths

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        redact_server_logs()
        endpoint = _endpoint(service, app, serve_websocket)
        async with service.running():
            await endpoint.start()
            try:
                # The uvicorn transport reads it from the lifespan state; other servers ignore it.
                yield {STATE_KEY: endpoint}
            finally:
                await endpoint.stop()

    limited = RouteLimiter()
    router = merge_routers(
        events_router(service),
        event_stream_router(service),
        tokens_router(service, limited),
        tickets_router(service, limited),
        presence_router(service),
        rooms_router(service),
        contract_router(service),
        asyncapi_router(service),
        admin_router(service, limited),
        operations_router(service, limited),
        explain_router(service, limited),
        inspection_router(service, limited),
        ops_router(service),
        metrics_router(service),
        usage_router(service, limited),
        sockets,  # last, so that an HTTP route at a path of the WebSocket gets its GET requests
        lifespan=lifespan,
    )
    if not prefix:
        return router
    moved = APIRouter(prefix=prefix)
    moved.include_router(router)
    return moved


def _endpoint(service: Service, application: Any, route: Callable[..., Any]) -> Endpoint:
    settings = service.settings
    paths, before = bypassed(application, route)
    return Endpoint(
        paths=paths,
        host=service.gateway,
        origins=service.origins,
        proxies=settings.proxies,
        message_bytes=settings.max_message_bytes,
        ping_interval=settings.ping_interval,
        stall=settings.stall_seconds,
        compression=settings.compression,
        application=application,
        bypassed=before,
        alone=not serves_others(application, route),
    )
