"""The AsyncAPI document of the WebSocket, beside the OpenAPI document of the HTTP routes. The event contract, which may
be confidential, is in it for callers with a token only, as in `GET /contract`."""

from functools import lru_cache

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from gateway.api.authentication import identify_if_any
from gateway.api.routes import ProblemRoute
from gateway.core.version import VERSION
from gateway.service.factory import Service
from schemas.asyncapi import asyncapi_document

PATH = "/asyncapi.json"


def asyncapi_router(service: Service) -> APIRouter:
    router = APIRouter(route_class=ProblemRoute.of(service), include_in_schema=False)
    gateway, websocket_path = service.gateway, service.settings.websocket_paths[0]
    connections, kinds = gateway.connections, gateway.kinds

    @lru_cache(maxsize=4)
    def document(path: str, with_contract: bool) -> bytes:
        found = connections.contract if with_contract else None
        contract, digest = ((), None) if found is None else (found, found.digest)
        return to_json(asyncapi_document(version=VERSION, path=path, kinds=kinds, contract=contract, digest=digest))

    @router.get(PATH)
    async def asyncapi(request: Request) -> Response:
        """The WebSocket, in AsyncAPI 3: commands, replies, events and close codes; with a token also the event types
        of the contract."""
        prefix = request.url.path.removesuffix(PATH)  # of an application that has the routes below a path
        with_contract = connections.contract is not None and await identify_if_any(service, request) is not None
        content = document(prefix + websocket_path, with_contract)
        return Response(content, media_type="application/json", headers={"Cache-Control": "private, no-cache"})

    return router
