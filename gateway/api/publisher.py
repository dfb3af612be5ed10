"""Publishing for HTTP requests: one event, or a batch whose events are validated separately."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from starlette.types import Scope

from auth.errors import AuthError
from auth.identity import Identity
from gateway.api.client import traceparent_in
from gateway.api.problems import RequestMistake, log_refusal, mistake_in
from gateway.core.errors import GatewayError, LogUnavailable
from gateway.core.log import Receipt
from gateway.engine.ingest import IngestBatch
from gateway.service.factory import Service
from schemas.codes import ErrorCode
from schemas.events import PublishedEvent, published_event

EVENTS_PATH: Final = "/events"
BATCH_PATH: Final = "/events/batch"
PUBLISHERS: Final = ("publish", "admin")
"""The scopes for publishing: one of them is required."""

_AHEAD: Final = 200
"""Concurrent appends of a batch: as many as the log takes in one round trip, and not its whole queue."""

Result = dict[str, Any]
"""An `EventResponse` or an `EventFailure` as plain data: instances of the models take longer to make than to encode."""

UnderWay = tuple[Awaitable[Receipt], tuple[str, ...]] | Result

logger = logging.getLogger("gateway.api")


class HttpPublisher:
    """Publisher of the events in HTTP requests. `model` is an event's model; `validate` makes an instance of parsed
    JSON, or raises `ValidationError`."""

    def __init__(self, service: Service) -> None:
        gateway = service.gateway
        self.model = published_event(gateway.kinds)
        self.validate = TypeAdapter(self.model).validator.validate_python
        publishing = self._publishing = gateway.publishing
        self._connections = gateway.connections
        self._counts = publishing.counts["http"]
        self._proxies = service.settings.proxies

    async def publish(self, scope: Scope, identity: Identity, event: PublishedEvent) -> Result:
        """Append the event of the request `scope`, which was parsed in a turn of its tenant. Raises `AuthError`,
        `GatewayError`."""
        try:
            # Again: the token may have ended while the body was received, or the turn waited for.
            identity = self._connections.revalidate(identity)
            tenant, draft = self._publishing.draft(identity, event, traceparent_in(scope))
            return self._answer(await self._publishing.append(tenant, draft), draft.rooms)
        except (AuthError, GatewayError):
            self._counts.refused += 1
            raise

    async def publish_batch(
        self, scope: Scope, identity: Identity, batch: IngestBatch, events: Sequence[Any]
    ) -> list[Result]:
        """Append the events in the body of the request `scope`, whose batch has begun; the results are in their
        order."""
        under_way: deque[UnderWay] = deque()
        results: list[Result] = []
        traceparent = traceparent_in(scope)
        async for some in batch.slices(events):
            # Concurrent appends: a remote log takes many in one round trip.
            under_way += [self._try_append(scope, identity, item, traceparent) for item in some]
            # To a log in this process, coroutines: they are done at once and cost their part of the slice.
            await self._collect(under_way, results, _AHEAD if _are_sent(under_way) else 0)
        await self._collect(under_way, results, 0)
        late = LogUnavailable("the event was not accepted: the events before it took too long; send it again later")
        self._counts.refused += len(events) - len(results)
        results += [_failure(late)] * (len(events) - len(results))
        return results

    def _try_append(self, scope: Scope, identity: Identity, item: Any, traceparent: str | None) -> UnderWay:
        try:
            if isinstance(item, GatewayError):  # its JSON was too long to be parsed
                raise item
            tenant, draft = self._publishing.draft(identity, self.validate(item), traceparent)
            return self._publishing.append(tenant, draft), draft.rooms
        except Exception as error:
            failure: Exception = error
            if isinstance(error, ValidationError):
                failure = mistake_in(error.errors(include_input=False, include_url=False, include_context=False))
            if isinstance(failure, AuthError | GatewayError | RequestMistake):
                log_refusal(scope, BATCH_PATH, self._proxies, failure)
            self._counts.refused += 1
            return _failure(failure)

    async def _collect(self, under_way: deque[UnderWay], results: list[Result], left: int) -> None:
        """Move results over in order, until `left` appends are under way."""
        while len(under_way) > left:
            sent = under_way.popleft()
            if isinstance(sent, dict):
                results.append(sent)
                continue
            appended, rooms = sent
            try:
                results.append(self._answer(await appended, rooms))
            except Exception as error:
                # Other events are in the log, and the publisher must get their results.
                self._counts.refused += 1
                results.append(_failure(error))

    def _answer(self, receipt: Receipt, rooms: tuple[str, ...]) -> Result:
        self._counts.add(receipt)
        return {"event_id": receipt.event_id, "duplicate": receipt.duplicate, "rooms": rooms}


def _are_sent(under_way: deque[UnderWay]) -> bool:
    """Whether the appends are in progress, as those to a remote log are, which are all futures."""
    last = next((each for each in reversed(under_way) if not isinstance(each, dict)), None)
    return last is not None and asyncio.isfuture(last[0])


def _failure(error: Exception) -> Result:
    """The result of an event that was not appended."""
    code, message = ErrorCode.INTERNAL_ERROR, "internal error; the event may not have been published"
    details: Mapping[str, Any] = {}
    if isinstance(error, GatewayError | AuthError | RequestMistake):
        code, message = error.code, str(error)
        details = error.details if isinstance(error, GatewayError) else {}
    else:
        logger.error("publishing an event of a batch failed", exc_info=error)
    return {"error": {"code": code, "message": message, **details}}
