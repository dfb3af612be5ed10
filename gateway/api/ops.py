"""Whether the process lives, and whether events get through."""

from fastapi import APIRouter, Response
from pydantic import BaseModel

from gateway.api.problems import ProblemRoute
from gateway.wiring import Service


class Health(BaseModel):
    status: str


def ops_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["operation"], route_class=ProblemRoute)

    @router.get("/healthz")
    async def healthz() -> Health:
        """The process answers."""
        return Health(status="ok")

    @router.get("/readyz", responses={503: {"model": Health, "description": "events do not get through"}})
    async def readyz(response: Response) -> Health:
        """Events get through: connections are taken and the log takes events."""
        if service.gateway.ready:
            return Health(status="ready")
        response.status_code = 503
        return Health(status="not ready")

    return router
