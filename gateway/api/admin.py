"""Administration of all nodes over HTTP: statistics, tenants, connections, rooms."""

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from auth.identity import Identity
from gateway.api.administered import administered_tenant
from gateway.api.administrators import administrators_router
from gateway.api.authentication import Principal
from gateway.api.client import address_of
from gateway.api.parameters import AfterConnection, AfterTenant, Limit, Tenant, after_room
from gateway.api.problems import problems
from gateway.api.rate_limits import RouteLimiter
from gateway.engine.cluster_tenants import FoundTenants
from gateway.engine.directory import TenantDirectory
from gateway.service.factory import Service
from schemas.admin import ConnectionPage, RoomPage, Stats, TenantInfo, TenantPage
from schemas.cluster import partial_field

Item = TypeVar("Item")

FewerLimit = Annotated[int, Query(ge=1, le=200, description="items a page")]


def admin_router(service: Service, limited: RouteLimiter) -> APIRouter:
    router = administrators_router(service, limited)
    gateway = service.gateway
    kinds = gateway.kinds
    administration, operations, audit = gateway.administration, service.operations, service.audit
    proxies, per_minute = service.settings.proxies, service.settings.admin_requests_per_minute
    principal = Depends(Principal(service))
    after_room_here = after_room(kinds.pattern)

    @router.get("/admin/stats", response_model_exclude_unset=True)
    @limited(per_minute)
    async def stats(
        request: Request,
        holder: Annotated[Identity, principal],
        tenant: Tenant = None,
        limit: Limit = 100,
        after: AfterConnection = None,
    ) -> Stats:
        """Counts of one tenant, and a page of its clients. Totals are of all running nodes, since each started, as of a
        second ago; `total_broadcasts` counts the events that they have appended to the log."""
        known = await administration.directory(administered_tenant(holder, tenant))
        totals = known.totals
        page, following = _page(known.ids(), limit, after)
        return Stats(
            tenant=known.tenant,
            active_connections=known.connections,
            active_users=known.users,
            active_rooms=len(known.rooms()),
            total_connections=totals.connections,
            total_messages_sent=totals.messages,
            total_broadcasts=totals.events,
            log_events=known.log.events,
            log_bytes=known.log.bytes,
            clients=[known.client(id) for id in page],
            next=following,
            **partial_field(known.partial),
        )

    @router.get("/admin/tenants", response_model_exclude_unset=True)
    @limited(per_minute)
    async def tenants(
        request: Request, holder: Annotated[Identity, principal], limit: FewerLimit = 50, after: AfterTenant = None
    ) -> TenantPage:
        """A page of the tenants that have had a connection or an event, with their counts on all nodes: all of them
        with the scope `platform`, else the token's own."""
        own = administered_tenant(holder, None)
        if holder.has_scope("platform"):
            found = await operations.tenants.page(after, limit)
        else:
            found = FoundTenants([await administration.directory(own)] if after is None else [], False, (), False)
        return TenantPage(
            tenants=[_tenant(known) for known in found.tenants],
            next=found.tenants[-1].tenant if found.more else None,
            silent=found.silent,
            **partial_field(found.partial),
        )

    @router.get("/admin/connections", response_model_exclude_unset=True)
    @limited(per_minute)
    async def connections(
        request: Request,
        holder: Annotated[Identity, principal],
        tenant: Tenant = None,
        limit: Limit = 100,
        after: AfterConnection = None,
    ) -> ConnectionPage:
        """A page of the connections of one tenant."""
        known = await administration.directory(administered_tenant(holder, tenant))
        page, following = _page(known.ids(), limit, after)
        return ConnectionPage(
            connections=[known.connection(id) for id in page], next=following, **partial_field(known.partial)
        )

    @router.get("/admin/rooms", response_model_exclude_unset=True)
    @limited(per_minute)
    async def rooms(
        request: Request,
        holder: Annotated[Identity, principal],
        tenant: Tenant = None,
        limit: Limit = 100,
        after: Annotated[str | None, after_room_here] = None,
    ) -> RoomPage:
        """A page of the rooms of one tenant that have subscribers."""
        known = await administration.directory(administered_tenant(holder, tenant))
        page, following = _page(known.rooms(), limit, after)
        return RoomPage(rooms=[known.room(room) for room in page], next=following, **partial_field(known.partial))

    @router.delete("/admin/connections/{id}", status_code=204, responses=problems(404))
    @limited(per_minute)
    async def close_connection(
        request: Request, id: str, holder: Annotated[Identity, principal], tenant: Tenant = None
    ) -> Response:
        """Close one connection (4403), on whichever node it is."""
        tenant = administered_tenant(holder, tenant)
        address, act = address_of(request.scope, proxies), "connection closed"
        with audit.attempt("connection.closed_by_hand", act, holder, address, tenant=tenant, connection_id=id):
            await administration.close_connection(tenant, id)
        return Response(status_code=204)

    return router


def _tenant(known: TenantDirectory) -> TenantInfo:
    totals = known.totals
    return TenantInfo(
        tenant=known.tenant,
        connections=known.connections,
        users=known.users,
        rooms=len(known.rooms()),
        total_connections=totals.connections,
        total_messages_sent=totals.messages,
        total_broadcasts=totals.events,
        log_events=known.log.events,
        log_bytes=known.log.bytes,
        **partial_field(known.partial),
    )


def _page(names: Sequence[str], limit: int, after: str | None) -> tuple[list[str], str | None]:
    """Up to `limit` of the sorted names after `after`, and the last one if there are more, else None."""
    found = list(islice((name for name in names if after is None or name > after), limit + 1))
    return found[:limit], found[limit - 1] if len(found) > limit else None
