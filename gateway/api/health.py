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
    readiness = gateway.readiness

    @router.get("/healthz")
    async def healthz() -> Health:
        """Liveness: the process answers."""
        return Health(status="ok")

    @router.get("/readyz", responses=problems(503))
    async def readyz() -> Health:
        """Readiness: clients are admitted, the log takes events, and the isolation canary has found nothing."""
        if (problem := readiness.problem) is not None:
            raise LogUnavailable(problem)
        return Health(status="ready")

    return router
