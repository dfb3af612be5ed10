"""The routes of publishing over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import GetPydanticSchema

from auth.identity import Identity
from gateway.api.authentication import Principal, authenticated_route
from gateway.api.fast_path import FastPath, FastRoute
from gateway.api.problems import PROBLEMS, PUBLISHING, problems
from gateway.api.publisher import BATCH_PATH, EVENTS_PATH, PUBLISHERS, HttpPublisher, Result
from gateway.api.routes import BatchRoute, ingest_batch_of
from gateway.service.factory import Service
from schemas.admin import BatchResponse, EventBatch, EventResponse
from schemas.codes import ErrorCode
from schemas.events import PublishedEvent


class FastBatchRoute(FastRoute, BatchRoute):
    """A route for batches with a fast path."""


def events_router(service: Service) -> APIRouter:
    codes = (ErrorCode.ROOM_INVALID, ErrorCode.ROOM_FORBIDDEN)
    router = APIRouter(tags=["events"], responses={**PROBLEMS, **problems(codes=codes)})
    principal = Depends(Principal(service))
    publisher = HttpPublisher(service)
    of_kinds = GetPydanticSchema(lambda _, handler: handler(publisher.model))

    async def publish(
        request: Request, event: Annotated[PublishedEvent, of_kinds], identity: Annotated[Identity, principal]
    ) -> Result:
        """Append one event to the tenant's log. 202 means that the event is in the log."""
        return await publisher.publish(request.scope, identity, event)

    async def publish_batch(
        request: Request, batch: EventBatch, identity: Annotated[Identity, principal]
    ) -> dict[str, list[Result]]:
        """Append up to 1,000 events, each validated separately; the results are in the order of the events."""
        return {
            "results": await publisher.publish_batch(request.scope, identity, ingest_batch_of(request), batch.events)
        }

    one = authenticated_route(service, FastRoute, *PUBLISHERS)
    many = authenticated_route(service, FastBatchRoute, *PUBLISHERS)
    one.fast_path = many.fast_path = FastPath(service)
    accepted: dict[str, Any] = {"methods": ["POST"], "status_code": 202}
    router.add_api_route(
        EVENTS_PATH,
        publish,
        response_model=EventResponse,
        responses=PUBLISHING,
        route_class_override=one,
        **accepted,
    )
    router.add_api_route(
        BATCH_PATH,
        publish_batch,
        response_model=BatchResponse,
        response_model_exclude_unset=True,  # a result has the fields of its error only
        route_class_override=many,
        **accepted,
    )
    return router
