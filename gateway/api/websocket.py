"""`/ws/dashboard` for any ASGI server."""

import asyncio
from functools import partial

from fastapi import APIRouter, WebSocket

from gateway.api.security import address_of, take_tickets, take_tokens
from gateway.core.handshake import Handshake, by_name, parse_query, read_handshake
from gateway.transports.asgi import AsgiTransport, serve
from gateway.wiring import Service

PATH = "/ws/dashboard"


def websocket_router(service: Service) -> APIRouter:
    router = APIRouter()

    @router.websocket(PATH)
    async def dashboard(websocket: WebSocket) -> None:
        scope = websocket.scope
        tokens = take_tokens(scope)
        headers = by_name(scope["headers"])
        if not service.origins.allows(headers):
            await websocket.close()  # before it is accepted: HTTP 403
            return
        address = address_of(service, scope)
        query = parse_query(scope["query_string"])
        handshake = read_handshake(query, headers, tokens, address, take_tickets(scope))
        await websocket.accept(handshake.subprotocol)
        if handshake.tickets:
            redeemed: asyncio.Future[Handshake] = asyncio.get_running_loop().create_future()
            service.gateway.redeem(handshake, partial(_resolve, redeemed))
            handshake = await redeemed
        transport = AsgiTransport(websocket.send, service.settings.stall_seconds)
        connection = service.gateway.connect(handshake, transport)
        await serve(service.gateway, connection, transport, websocket.receive)

    return router


def _resolve(redeemed: asyncio.Future[Handshake], handshake: Handshake) -> None:
    if not redeemed.done():  # the client has gone meanwhile
        redeemed.set_result(handshake)
