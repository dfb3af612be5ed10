"""Publishing over HTTP."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import ValidationError

from auth.errors import AuthError
from auth.identity import Identity
from gateway.api.problems import PROBLEMS, BatchRoute, ProblemRoute
from gateway.api.security import principal_of
from gateway.core.errors import GatewayError
from gateway.wiring import Service
from schemas.admin import BatchAnswer, EventAnswer, EventBatch, EventFailure, ItemError
from schemas.codes import ErrorCode
from schemas.commands import describe
from schemas.events import PublishedEvent

logger = logging.getLogger("gateway.api")


def events_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["events"], responses=PROBLEMS)
    principal = Depends(principal_of(service))
    conflict: dict[int | str, dict[str, Any]] = {409: {"description": "the idempotency_key was used for another event"}}

    async def append(identity: Identity, event: PublishedEvent) -> EventAnswer:
        tenant, draft = service.gateway.draft(identity, event)
        receipt = await service.gateway.log.append(tenant, draft)
        return EventAnswer(event_id=receipt.event_id, duplicate=receipt.duplicate, rooms=draft.rooms)

    async def publish(event: PublishedEvent, identity: Annotated[Identity, principal]) -> EventAnswer:
        """Append one event to the tenant's log. The answer 202 means that it is there."""
        return await append(identity, event)

    async def publish_batch(batch: EventBatch, identity: Annotated[Identity, principal]) -> BatchAnswer:
        """Append up to 1,000 events, each judged by itself; the results are in the order of the events."""
        results: list[EventAnswer | EventFailure] = []
        for item in batch.events:
            try:
                results.append(await append(identity, PublishedEvent.model_validate(item)))
            except ValidationError as error:
                results.append(_failure(ErrorCode.BAD_MESSAGE, describe(error)))
            except (GatewayError, AuthError) as error:
                results.append(_failure(error.code, str(error)))
            except Exception:
                # Those before it are in the log, and their publisher has to learn of it.
                logger.exception("an event of a batch could not be published")
                results.append(_failure(ErrorCode.INTERNAL_ERROR, "the gateway failed on this event"))
        return BatchAnswer(results=results)

    router.add_api_route(
        "/events", publish, methods=["POST"], status_code=202, responses=conflict, route_class_override=ProblemRoute
    )
    router.add_api_route(
        "/events/batch", publish_batch, methods=["POST"], status_code=202, route_class_override=BatchRoute
    )
    return router


def _failure(code: ErrorCode, message: str) -> EventFailure:
    return EventFailure(error=ItemError(code=code, message=message))
