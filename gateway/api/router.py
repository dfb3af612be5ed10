"""All routes of a gateway as one router, for an application of one's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter

from gateway.api.admin import admin_router
from gateway.api.events import events_router
from gateway.api.health import ops_router
from gateway.api.presence import presence_router
from gateway.api.rate_limits import Limited
from gateway.api.tickets import tickets_router
from gateway.api.tokens import tokens_router
from gateway.api.websocket import PATH, websocket_router
from gateway.service.factory import Service
from gateway.telemetry.redaction import redact_server_logs
from gateway.transports.uvicorn.endpoint import STATE_KEY, Endpoint


def create_router(service: Service, prefix: str = "") -> APIRouter:
    """The routes, and with the router's lifespan the gateway's life. For `include_router`: a mounted application's
    lifespan does not run. A prefix given here, not there, is one that the transport under uvicorn knows of too."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        redact_server_logs()
        endpoint = _endpoint(service, prefix)
        async with service.running():
            await endpoint.start()
            try:
                # Where the transport under uvicorn finds it; other servers do without.
                yield {STATE_KEY: endpoint}
            finally:
                await endpoint.stop()

    limited = Limited()
    router = APIRouter(prefix=prefix, lifespan=lifespan)
    for part in (
        websocket_router(service),
        events_router(service),
        tokens_router(service, limited),
        tickets_router(service, limited),
        presence_router(service),
        admin_router(service, limited),
        ops_router(service),
    ):
        router.include_router(part)
    return router


def _endpoint(service: Service, prefix: str) -> Endpoint:
    settings = service.settings
    return Endpoint(
        path=prefix + PATH,
        host=service.gateway,
        origins=service.origins,
        proxies=settings.proxies,
        message_bytes=settings.max_message_bytes,
        ping_interval=settings.ping_interval,
        stall=settings.stall_seconds,
        compression=settings.compression,
    )
