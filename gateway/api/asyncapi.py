"""The AsyncAPI document of the WebSocket, beside the OpenAPI document of the HTTP routes."""

from functools import lru_cache

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

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
    def document(path: str) -> bytes:
        found = connections.contract
        contract, digest = ((), None) if found is None else (found, found.digest)
        return to_json(asyncapi_document(version=VERSION, path=path, kinds=kinds, contract=contract, digest=digest))

    @router.get(PATH)
    async def asyncapi(request: Request) -> Response:
        """The WebSocket, in AsyncAPI 3: commands, replies, events and close codes."""
        prefix = request.url.path.removesuffix(PATH)  # of an application that has the routes below a path
        content = document(prefix + websocket_path)
        return Response(content, media_type="application/json", headers={"Cache-Control": "no-cache"})

    return router
