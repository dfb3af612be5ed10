"""`/ws/dashboard` for any ASGI server."""

from fastapi import APIRouter, WebSocket

from gateway.api.security import address_of, take_tokens
from gateway.core.handshake import read_handshake
from gateway.transports.asgi import AsgiTransport, serve
from gateway.wiring import Service

PATH = "/ws/dashboard"


def websocket_router(service: Service) -> APIRouter:
    router = APIRouter()

    @router.websocket(PATH)
    async def dashboard(websocket: WebSocket) -> None:
        scope = websocket.scope
        tokens = take_tokens(scope)
        if not service.origins.allows(scope["headers"]):
            await websocket.close()  # before it is accepted: HTTP 403
            return
        handshake = read_handshake(scope["query_string"], scope["headers"], tokens, address_of(service, scope))
        await websocket.accept(handshake.subprotocol)
        transport = AsgiTransport(websocket.send, service.settings.stall_seconds)
        connection = service.gateway.connect(handshake, transport)
        await serve(service.gateway, connection, transport, websocket.receive)

    return router
