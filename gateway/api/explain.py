"""Explanations over HTTP: why a user did or did not get an event."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from auth.identity import Identity
from gateway.api.administered import administered_tenant
from gateway.api.administrators import administrators_router
from gateway.api.authentication import Principal
from gateway.api.parameters import Tenant, UserId
from gateway.api.problems import problems
from gateway.api.rate_limits import RouteLimiter
from gateway.core.errors import GatewayError
from gateway.engine.explain import Target
from gateway.service.factory import Service
from schemas.codes import ErrorCode
from schemas.explain import Explanation

ConnectionId = Annotated[str | None, Query(min_length=1, max_length=64, description="a connection, in place of a user")]
EventId = Annotated[
    str | None,
    Query(
        min_length=1, max_length=64, description="the event; or give `room`", examples=["evt_AAAAAAAAAAAAAAAAAAAAAA"]
    ),
]
Room = Annotated[str | None, Query(min_length=1, max_length=160, description="a room in general, in place of an event")]


def explain_router(service: Service, limited: RouteLimiter) -> APIRouter:
    router = administrators_router(service, limited)
    gateway = service.gateway
    explain = gateway.explain
    principal = Depends(Principal(service))

    @router.get("/admin/explain", response_model_exclude_unset=True, responses=problems(404))
    @limited(service.settings.admin_requests_per_minute)
    async def explain_delivery(
        request: Request,
        holder: Annotated[Identity, principal],
        user_id: UserId = None,
        connection_id: ConnectionId = None,
        event_id: EventId = None,
        room: Room = None,
        tenant: Tenant = None,
    ) -> Explanation:
        """Why a user or a connection did or did not get an event, rule by rule, on all nodes, also for connections that
        ended up to 10 minutes ago. With `room` in place of `event_id`: whether everything in the room is delivered."""
        target = Target(administered_tenant(holder, tenant), user_id, connection_id)
        if (user_id is None) == (connection_id is None):
            raise GatewayError(ErrorCode.BAD_MESSAGE, "name either a user_id or a connection_id")
        if event_id is not None and room is None:
            return await explain.event(target, event_id, holder.has_scope("platform"))
        if room is not None and event_id is None:
            return await explain.room(target, room)
        raise GatewayError(ErrorCode.BAD_MESSAGE, "name either an event_id or a room")

    return router
