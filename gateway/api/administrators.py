"""Routers for administrators: authenticated before the body is read, and limited by principal."""

from fastapi import APIRouter, Depends

from gateway.api.authentication import authenticated_route
from gateway.api.problems import PROBLEMS
from gateway.api.rate_limits import RouteLimiter
from gateway.api.routes import ProblemRoute
from gateway.service.factory import Service


def administrators_router(
    service: Service, limited: RouteLimiter, *, tag: str = "administration", scope: str = "admin"
) -> APIRouter:
    """A router whose callers have the scope. Its endpoints are decorated with `limited`."""
    return APIRouter(
        tags=[tag],
        route_class=authenticated_route(service, ProblemRoute, scope),
        responses=PROBLEMS,
        dependencies=[Depends(limited.attach)],
    )
