"""Rooms over HTTP: the state and the events of a room."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic_core import to_json

from auth.identity import Identity
from gateway.api.authentication import Principal
from gateway.api.problems import PROBLEMS, problems
from gateway.api.routes import ProblemRoute
from gateway.core.frame import Frame
from gateway.core.room_page import MAX_LIMIT
from gateway.service.factory import Service
from schemas.admin import RoomEventsPage, RoomStatePage
from schemas.codes import ErrorCode
from schemas.rooms import documented

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="items or events of the page, at most")]
Cursor = Annotated[str | None, Query(max_length=64)]

_ERRORS: Final = {
    **PROBLEMS,
    **problems(codes=(ErrorCode.ROOM_INVALID, ErrorCode.ROOM_FORBIDDEN, ErrorCode.CURSOR_INVALID)),
}


def rooms_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["rooms"], route_class=ProblemRoute.of(service), responses=_ERRORS)
    principal = Depends(Principal(service))
    gateway = service.gateway
    reader, kinds = gateway.rooms, gateway.kinds
    named = Path(json_schema_extra=documented(kinds.pattern))

    @router.get("/rooms/{room}/state", response_model=RoomStatePage)
    async def state(
        room: Annotated[str, named],
        identity: Annotated[Identity, principal],
        limit: Limit = MAX_LIMIT,
        after: Cursor = None,
    ) -> Response:
        """The newest value of each item of a room that the token may subscribe to, as of one cursor, to go on from with
        `since`: that of the first page. `next` is `after` of the next page, null on the last one."""
        page = await reader.state(identity, room, after, limit)
        head = {"cursor": page.cursor, "as_of": page.as_of, "complete": page.complete, "next": page.after}
        return _answer(head, "items", page.items)

    @router.get("/rooms/{room}/events", response_model=RoomEventsPage)
    async def events(
        room: Annotated[str, named],
        identity: Annotated[Identity, principal],
        limit: Limit = MAX_LIMIT,
        since: Cursor = None,
    ) -> Response:
        """The events that are kept of a room that the token may subscribe to, after a cursor or from the oldest on; of
        an item only the newest. While there are `more`, the page's `cursor` is `since` of the next one."""
        page = await reader.events(identity, room, since, limit)
        head = {"cursor": page.cursor, "recovered": page.recovered, "more": page.more}
        return _answer(head, "events", page.events)

    return router


def _answer(head: dict[str, Any], name: str, frames: Iterable[Frame]) -> Response:
    """The page as JSON; events are in it as they were encoded for clients."""
    events = b",".join([frame.payload for frame in frames])
    body = b'%s,"%s":[%s]}' % (to_json(head)[:-1], name.encode(), events)
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})
