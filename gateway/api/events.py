"""Publishing over HTTP."""

import logging
from collections import deque
from collections.abc import Awaitable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import GetPydanticSchema, ValidationError

from auth.errors import AuthError
from auth.identity import Identity
from gateway.api.authentication import Principal, authenticated_route
from gateway.api.client import address_of
from gateway.api.problems import PROBLEMS, problems
from gateway.api.routes import BatchRoute, ProblemRoute
from gateway.core.errors import GatewayError, LogUnavailable
from gateway.core.log import Receipt
from gateway.service.factory import Service
from gateway.telemetry import log_events
from schemas.admin import BatchAnswer, EventAnswer, EventBatch, EventFailure, ItemError
from schemas.codes import ERROR_RULES, ErrorCode
from schemas.events import PublishedEvent, published_event
from schemas.faults import describe

_AHEAD: Final = 200
"""Concurrent appends of a batch: as many as the log takes in one round trip, and not its whole queue."""

UnderWay = tuple[Awaitable[Receipt], tuple[str, ...]] | EventFailure

logger = logging.getLogger("gateway.api")


def events_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["events"], responses=PROBLEMS)
    principal = Depends(Principal(service))
    gateway = service.gateway
    publishing = gateway.publishing
    proxies = service.settings.proxies
    model = published_event(gateway.kinds)
    of_kinds = GetPydanticSchema(lambda _, handler: handler(model))

    def append(identity: Identity, event: PublishedEvent) -> tuple[Awaitable[Receipt], tuple[str, ...]]:
        tenant, draft = publishing.draft(identity, event)
        return publishing.append(tenant, draft), draft.rooms

    async def publish(
        event: Annotated[PublishedEvent, of_kinds], identity: Annotated[Identity, principal]
    ) -> EventAnswer:
        """Append one event to the tenant's log. 202 means that the event is in the log."""
        return await _answer(*append(identity, event))

    def try_append(request: Request, identity: Identity, item: Any) -> UnderWay:
        try:
            return append(identity, model.model_validate(item))
        except Exception as error:
            if isinstance(error, AuthError | GatewayError):
                status = ERROR_RULES[error.code].status
                address = address_of(request.scope, proxies)
                log_events.request_refused(address, "POST", "/events/batch", error, status, identity)
            return _failure(error)

    async def publish_batch(
        request: Request, batch: EventBatch, identity: Annotated[Identity, principal]
    ) -> BatchAnswer:
        """Append up to 1,000 events, each validated separately; the results are in the order of the events."""
        under_way: deque[UnderWay] = deque()
        results: list[EventAnswer | EventFailure] = []
        async with publishing.ingest.batch(identity.tenant, batch.events) as slices:
            async for some in slices:
                # Concurrent appends: a remote log takes many in one round trip.
                under_way += [try_append(request, identity, item) for item in some]
                while len(under_way) > _AHEAD:
                    results.append(await _result(under_way.popleft()))
            results += [await _result(sent) for sent in under_way]
        late = LogUnavailable("the event was not accepted: the events before it took too long; send it again later")
        results += [_failure(late)] * (len(batch.events) - len(results))
        return BatchAnswer(results=results)

    scopes = ("publish", "admin")
    one, batch = authenticated_route(service, ProblemRoute, *scopes), authenticated_route(service, BatchRoute, *scopes)
    router.add_api_route(
        "/events", publish, methods=["POST"], status_code=202, responses=problems(409), route_class_override=one
    )
    router.add_api_route("/events/batch", publish_batch, methods=["POST"], status_code=202, route_class_override=batch)
    return router


async def _result(sent: UnderWay) -> EventAnswer | EventFailure:
    try:
        return sent if isinstance(sent, EventFailure) else await _answer(*sent)
    except Exception as error:
        # Other events are in the log, and the publisher must get their results.
        return _failure(error)


async def _answer(appended: Awaitable[Receipt], rooms: tuple[str, ...]) -> EventAnswer:
    receipt = await appended
    return EventAnswer(event_id=receipt.event_id, duplicate=receipt.duplicate, rooms=rooms)


def _failure(error: Exception) -> EventFailure:
    """The result of an event that was not appended."""
    if isinstance(error, ValidationError):
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        return EventFailure(error=ItemError(code=ErrorCode.BAD_MESSAGE, message=describe(faults)))
    if isinstance(error, GatewayError | AuthError):
        return EventFailure(error=ItemError(code=error.code, message=str(error)))
    logger.error("publishing an event of a batch failed", exc_info=error)
    return EventFailure(
        error=ItemError(code=ErrorCode.INTERNAL_ERROR, message="internal error; the event may not have been published")
    )
