"""Presence over HTTP: the users of a room."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path

from auth.identity import Identity
from gateway.api.authentication import Principal
from gateway.api.problems import PROBLEMS, problems
from gateway.api.routes import ProblemRoute
from gateway.service.factory import Service
from schemas.codes import ErrorCode
from schemas.messages import Presence
from schemas.rooms import documented

_ERRORS: Final = {**PROBLEMS, **problems(codes=(ErrorCode.ROOM_INVALID, ErrorCode.ROOM_FORBIDDEN))}


def presence_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["rooms"], route_class=ProblemRoute.of(service), responses=_ERRORS)
    principal = Depends(Principal(service))
    gateway = service.gateway
    presence_of = gateway.presence
    kinds = gateway.kinds
    named = Path(json_schema_extra=documented(kinds.pattern))

    @router.get("/rooms/{room}/presence", response_model_exclude_none=True)
    async def presence(room: Annotated[str, named], identity: Annotated[Identity, principal]) -> Presence:
        """The users of a room of the token's tenant, which the token may subscribe to, sorted, with their number of
        connections on all nodes. `partial` is present, and true, only while other nodes are out of reach."""
        return await presence_of.query(identity, room)

    return router
