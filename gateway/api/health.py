"""Liveness and readiness probes."""

from fastapi import APIRouter
from pydantic import BaseModel

from gateway.api.problems import problems
from gateway.api.routes import ProblemRoute
from gateway.core.errors import LogUnavailable
from gateway.service.factory import Service


class Health(BaseModel):
    status: str


def ops_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["operation"], route_class=ProblemRoute.of(service))
    gateway = service.gateway
    drain = gateway.drain

    @router.get("/healthz")
    async def healthz() -> Health:
        """Liveness: the process answers."""
        return Health(status="ok")

    @router.get("/readyz", responses=problems(503))
    async def readyz() -> Health:
        """Readiness: clients are admitted and the log takes events."""
        if drain.announced:
            raise LogUnavailable("this node is shutting down")
        if not gateway.ready:
            raise LogUnavailable("events do not get through")
        return Health(status="ready")

    return router
