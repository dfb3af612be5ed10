"""The routes of the event contract: its types with their schemas."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from auth.identity import Identity
from gateway.api.authentication import Principal
from gateway.api.problems import PROBLEMS, problems
from gateway.api.routes import ProblemRoute
from gateway.core.contract import Contract
from gateway.core.errors import GatewayError
from gateway.service.factory import Service
from schemas.admin import ContractDocument, ContractType
from schemas.codes import ErrorCode
from schemas.contract.document import View, types_of

AskedView = Annotated[View, Query(description="as publishers write events, or as clients read them: objects open")]


def contract_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["contract"], route_class=ProblemRoute.of(service), responses={**PROBLEMS, **problems(404)})
    principal = Depends(Principal(service))
    gateway = service.gateway
    connections = gateway.connections

    def contract() -> Contract:
        if connections.contract is None:
            raise GatewayError(ErrorCode.NOT_FOUND, "this gateway has no event contract; GATEWAY_CONTRACT names one")
        return connections.contract

    @router.get("/contract", response_model=ContractDocument)
    async def document(identity: Annotated[Identity, principal], view: AskedView = "write") -> dict[str, Any]:
        """The event contract: each type with the JSON Schema of its `data`, by version. For any valid token."""
        found = contract()
        head = {"hash": found.digest, "mode": found.mode, "unknown": found.unknown}
        return {**head, "types": types_of(found, view)}

    @router.get("/contract/{type}", response_model=ContractType)
    async def one(type: str, identity: Annotated[Identity, principal], view: AskedView = "write") -> dict[str, Any]:
        """One type of the event contract."""
        found = types_of(contract().types.get(type, {}).values(), view)
        if type not in found:
            raise GatewayError(ErrorCode.NOT_FOUND, "the event contract has no such type")
        return {"type": type, **found[type]}

    return router
