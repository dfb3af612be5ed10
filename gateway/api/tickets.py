"""One-time tickets over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from auth.identity import Identity
from gateway.api.authentication import Principal, extract_tokens
from gateway.api.problems import PROBLEMS
from gateway.api.rate_limits import RouteLimiter
from gateway.api.routes import ProblemRoute
from gateway.core.credentials import require_single_token
from gateway.engine.tickets import TICKET_SECONDS
from gateway.service.factory import Service
from schemas.admin import TicketResponse


def tickets_router(service: Service, limited: RouteLimiter) -> APIRouter:
    router = APIRouter(
        tags=["tokens"],
        route_class=ProblemRoute.of(service),
        responses=PROBLEMS,
        dependencies=[Depends(limited.attach)],
    )
    principal = Depends(Principal(service))
    gateway = service.gateway
    tickets = gateway.tickets

    @router.post("/tickets", status_code=201)
    @limited(service.settings.tickets_per_minute)
    async def issue_ticket(
        request: Request, response: Response, holder: Annotated[Identity, principal]
    ) -> TicketResponse:
        """Issue a ticket for one connection, as `?ticket=`, in place of the token of this request."""
        ticket = await tickets.issue(require_single_token(extract_tokens(request.scope)))
        response.headers["Cache-Control"] = "no-store"
        return TicketResponse(ticket=ticket, expires_in=TICKET_SECONDS)

    return router
