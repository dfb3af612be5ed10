"""What administrators see and close: statistics, connections, rooms."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from auth.identity import Identity, require_admin
from gateway.api.limiting import Limited
from gateway.api.problems import PROBLEMS, ProblemRoute
from gateway.api.security import principal_of
from gateway.core.connection import Connection
from gateway.core.errors import GatewayError
from gateway.wiring import Service
from schemas.admin import ClientInfo, ConnectionInfo, ConnectionPage, RoomInfo, RoomPage, Stats
from schemas.codes import CloseCode, ErrorCode
from schemas.events import rfc3339
from schemas.rooms import ID_GRAMMAR, is_id

Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=1_000, description="items a page")]
After = Annotated[str | None, Query(max_length=256, description="`next` of the page before")]
Tenant = Annotated[str | None, Query(max_length=64, description="only for the scope `platform`; else the token's own")]


def admin_router(service: Service, limited: Limited) -> APIRouter:
    router = APIRouter(
        tags=["administration"],
        route_class=ProblemRoute,
        responses=PROBLEMS,
        dependencies=[Depends(limited.attach)],
    )
    gateway = service.gateway
    principal = Depends(principal_of(service))

    def tenant_for(holder: Identity, tenant: str | None) -> str:
        asked = tenant or holder.tenant
        require_admin(holder, asked)
        if not is_id(asked):
            raise GatewayError(ErrorCode.BAD_MESSAGE, f"tenant: {ID_GRAMMAR}")
        return asked

    @router.get("/admin/stats")
    async def stats(
        holder: Annotated[Identity, principal], tenant: Tenant = None, limit: Limit = 100, after: After = None
    ) -> Stats:
        """Counts of one tenant since the start, and its clients, a page at a time."""
        tenant = tenant_for(holder, tenant)
        index, window = gateway.manager.of(tenant), gateway.log.window(tenant)
        page, following = _page(sorted(index.connections), limit, after)
        return Stats(
            tenant=tenant,
            active_connections=len(index.connections),
            active_users=len(index.users),
            active_rooms=len(index.rooms),
            total_connections=index.connections_seen,
            total_messages_sent=index.messages_sent + sum(c.sent for c in index.connections.values()),
            total_broadcasts=index.broadcasts,
            log_events=len(window),
            log_bytes=window.bytes,
            clients=[_client(index.connections[id]) for id in page],
            next=following,
        )

    @router.get("/admin/connections")
    async def connections(
        holder: Annotated[Identity, principal], tenant: Tenant = None, limit: Limit = 100, after: After = None
    ) -> ConnectionPage:
        """The connections of one tenant, a page at a time."""
        index = gateway.manager.of(tenant_for(holder, tenant))
        page, following = _page(sorted(index.connections), limit, after)
        return ConnectionPage(connections=[_connection(index.connections[id]) for id in page], next=following)

    @router.get("/admin/rooms")
    async def rooms(
        holder: Annotated[Identity, principal], tenant: Tenant = None, limit: Limit = 100, after: After = None
    ) -> RoomPage:
        """The rooms of one tenant that somebody is in, a page at a time."""
        index = gateway.manager.of(tenant_for(holder, tenant))
        page, following = _page(sorted(index.rooms), limit, after)
        return RoomPage(rooms=[_room(room, index.rooms[room]) for room in page], next=following)

    @router.delete("/admin/connections/{id}", status_code=204, responses={404: PROBLEMS[422]})
    @limited(service.settings.admin_requests_per_minute)
    async def close_connection(
        request: Request, id: str, holder: Annotated[Identity, principal], tenant: Tenant = None
    ) -> Response:
        """Close one connection (4403)."""
        connection = gateway.manager.of(tenant_for(holder, tenant)).connections.get(id)
        if connection is None:
            raise GatewayError(ErrorCode.NOT_FOUND, "this tenant has no such connection")
        gateway.close(connection, CloseCode.FORBIDDEN, "closed by an administrator")
        return Response(status_code=204)

    return router


def _page(names: Sequence[str], limit: int, after: str | None) -> tuple[list[str], str | None]:
    """Up to `limit` of the sorted names after `after`, and the name to go on after, None at the end."""
    found = list(islice((name for name in names if after is None or name > after), limit + 1))
    return found[:limit], found[limit - 1] if len(found) > limit else None


def _client(connection: Connection) -> ClientInfo:
    return ClientInfo(
        client_id=connection.client_id or connection.id,
        connected_at=rfc3339(connection.connected_at),
        messages_sent=connection.sent,
        messages_received=connection.received,
    )


def _connection(connection: Connection) -> ConnectionInfo:
    state: Literal["live", "behind"] = "live" if connection.live else "behind"
    return ConnectionInfo(
        connection_id=connection.id,
        client_id=connection.client_id,
        user_id=connection.identity.user_id,
        tenant=connection.identity.tenant,
        connected_at=rfc3339(connection.connected_at),
        expires_at=rfc3339(connection.identity.expires_at),
        rooms=tuple(sorted(connection.rooms)),
        state=state,
        messages_sent=connection.sent,
        messages_received=connection.received,
    )


def _room(room: str, members: Iterable[Connection]) -> RoomInfo:
    present = list(members)
    return RoomInfo(room=room, connections=len(present), users=len({c.identity.user_id for c in present}))
