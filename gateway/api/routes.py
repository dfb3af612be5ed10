"""All routes of a gateway as one router, for an application of one's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter

from gateway.api.admin import admin_router
from gateway.api.events import events_router
from gateway.api.ops import ops_router
from gateway.api.security import redact_server_logs
from gateway.api.tokens import Limited, tokens_router
from gateway.api.websocket import websocket_router
from gateway.wiring import Service


def create_router(service: Service) -> APIRouter:
    """The routes, and with the router's lifespan the gateway's life. For `include_router`: a mounted application's
    lifespan does not run."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        redact_server_logs()
        async with service.running():
            yield

    router = APIRouter(lifespan=lifespan)
    for part in (
        websocket_router(service),
        events_router(service),
        tokens_router(service, Limited()),
        admin_router(service),
        ops_router(service),
    ):
        router.include_router(part)
    return router
