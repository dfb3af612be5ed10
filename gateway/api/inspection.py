"""Inspection over HTTP: nodes, what is known under a name, the tail of a tenant's log, and test events."""

import asyncio
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import GetPydanticSchema

from auth.identity import Identity, require_admin
from gateway.api.administered import administered_tenant
from gateway.api.administrators import administrators_router
from gateway.api.authentication import Principal
from gateway.api.client import address_of
from gateway.api.operations import audited_act
from gateway.api.parameters import EventTypes, Tenant, UserId
from gateway.api.problems import PUBLISHING
from gateway.api.publisher import HttpPublisher
from gateway.api.rate_limits import RouteLimiter
from gateway.core.errors import GatewayError
from gateway.engine.event_tail import TailFilter
from gateway.service.factory import Service
from schemas.admin import EventResponse
from schemas.cluster import partial_field
from schemas.codes import ErrorCode
from schemas.events import PublishedEvent
from schemas.operations import FindResponse, FoundToken, NodesResponse, TailPage

_ACTS: Final = 20

Name = Annotated[str, Query(min_length=1, max_length=160, description="a user, room, connection, event or `jti`")]
Cursor = Annotated[str | None, Query(max_length=64, description="`cursor` of the page before")]
Room = Annotated[str | None, Query(max_length=160, description="only events of this room")]
Payload = Annotated[Literal["0", "1"], Query(description="1 for the data of the events too, which is audited")]


def inspection_router(service: Service, limited: RouteLimiter) -> APIRouter:
    router = administrators_router(service, limited)
    gateway, settings = service.gateway, service.settings
    kinds, audit, operations = gateway.kinds, service.audit, service.operations
    publisher = HttpPublisher(service)
    of_kinds = GetPydanticSchema(lambda _, handler: handler(publisher.model))
    principal = Depends(Principal(service))
    per_minute = settings.admin_requests_per_minute

    @router.get("/admin/nodes", response_model_exclude_unset=True)
    @limited(per_minute)
    async def nodes(request: Request, response: Response, holder: Annotated[Identity, principal]) -> NodesResponse:
        """The state of each node, first of the one that answers; for the scope `platform` with their numbers."""
        response.headers["Cache-Control"] = "no-store"
        require_admin(holder, holder.tenant)
        return await operations.status.read(holder.has_scope("platform"))

    @router.get("/admin/find", response_model_exclude_unset=True)
    @limited(per_minute)
    async def find(
        request: Request, response: Response, q: Name, holder: Annotated[Identity, principal], tenant: Tenant = None
    ) -> FindResponse:
        """Find by name in a tenant: a user, a room, a connection, an event or the id of a token."""
        response.headers["Cache-Control"] = "no-store"
        asked = administered_tenant(holder, tenant)
        found, acts = await asyncio.gather(
            operations.finder.find(asked, q), operations.audit.acts(asked, _ACTS, name=q)
        )
        if found.token is None and any(act.target.get("jti") == q for _, act in acts.acts):
            found.token = FoundToken(jti=q, revoked=False, connections=0)
        answer: dict[str, Any] = {
            "query": q,
            "tenant": asked,
            "silent": tuple(sorted({*found.silent, *acts.silent})),
            "connections": found.connections,
            "more": found.more,
            "ended": found.ended,
            "similar": found.similar,
            "acts": [audited_act(each, holder) for each in acts.acts],
        }
        for name in ("user", "room", "event", "forgotten", "token"):
            if (value := getattr(found, name)) is not None:
                answer[name] = value
        return FindResponse(**answer, **partial_field(found.partial or acts.partial))

    @router.get("/admin/tail")
    @limited(per_minute)
    async def events(
        request: Request,
        response: Response,
        holder: Annotated[Identity, principal],
        tenant: Tenant = None,
        after: Cursor = None,
        room: Room = None,
        type: EventTypes = None,
        user_id: UserId = None,
        payload: Payload = "0",
    ) -> TailPage:
        """The newest events of a tenant, a page at a time: a sample of at most 50 where more come. Ask again with
        `after`. Their data are left out unless asked for."""
        response.headers["Cache-Control"] = "no-store"
        asked = administered_tenant(holder, tenant)
        if room is not None and not kinds.is_room(room):
            raise GatewayError(ErrorCode.ROOM_INVALID, f"room: {kinds.fault_of(room)}", rooms=(room,))
        if payload == "1":
            address = address_of(request.scope, settings.proxies)
            chosen = {"room": room, "type": type, "user_id": user_id}
            audit.record_reading("events.unmasked", "payloads read", holder, address, tenant=asked, **chosen)
        return await operations.tail.page(asked, after, TailFilter(room, type, user_id), payload == "1")

    @router.post("/admin/events", status_code=202, response_model=EventResponse, responses=PUBLISHING)
    @limited(per_minute)
    async def publish(
        request: Request, event: Annotated[PublishedEvent, of_kinds], holder: Annotated[Identity, principal]
    ) -> dict[str, Any]:
        """Publish an event by hand. As with `POST /events`; and it is audited. `<kind>.member.removed` with a `user_id`
        in its `data` bars the user from the room."""
        require_admin(holder, holder.tenant)
        tenant, address = event.tenant or holder.tenant, address_of(request.scope, settings.proxies)
        target = {"tenant": tenant, "type": event.type, "user_id": _removed(event)}
        with audit.attempt("event.published", "event published by hand", holder, address, **target) as done:
            published = await publisher.publish(request.scope, holder, event)
            done.update(event_id=published["event_id"], rooms=",".join(published["rooms"]))
        return published

    return router


def _removed(event: PublishedEvent) -> str | None:
    """The user that a removal is about."""
    removed = event.data.get("user_id") if event.type.endswith(".member.removed") else event.user_id
    return None if removed is None else str(removed)
