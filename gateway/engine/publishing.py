"""Publishing: an event is checked, encoded once, and appended to its tenant's log."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from auth.identity import Identity, require_publish
from gateway.core.admission import Limits
from gateway.core.cluster import ControlMessage
from gateway.core.drafts import draft_of
from gateway.core.errors import GatewayError
from gateway.core.log import Draft, Log, Receipt
from gateway.core.window import Removal
from gateway.engine.ingest import IngestScheduler
from gateway.engine.lifecycle import Lifecycle
from gateway.engine.revocation import RevocationService
from schemas.codes import ErrorCode
from schemas.events import PublishedEvent, event_type_error, invalid_id, rfc3339
from schemas.rooms import ROOM_GRAMMAR


class Publishing:
    """The way of an event into `log`: of clients and HTTP callers by `draft` and `append`, of code in this process by
    `publish`. Batches take their turns at `ingest`. `clock` is seconds since the epoch."""

    def __init__(
        self,
        log: Log,
        revocation: RevocationService,
        limits: Limits,
        clock: Callable[[], float],
        lifecycle: Lifecycle,
    ) -> None:
        self.ingest = IngestScheduler()
        self._log = log
        self._revocation = revocation
        self._limits = limits
        self._clock = clock
        self._lifecycle = lifecycle

    async def publish(
        self,
        tenant: str,
        type: str,
        data: Mapping[str, Any],
        *,
        circle_id: int | str | None = None,
        project_id: int | str | None = None,
        user_id: str | None = None,
        source_agent_id: int | str | None = None,
        timestamp: str | None = None,
        key: str | None = None,
    ) -> Receipt:
        """Append an event of code in this process, which is trusted with every tenant.

        `timestamp` is RFC 3339, now unless given; `key` the idempotency key. Raises `GatewayError` where the log
        refuses, `ValueError` for a tenant, a type or an id that no client could name, and for data that is no JSON.
        Raises `WrongEventLoop` on another event loop than the gateway's.
        """
        if self._lifecycle.loop is not asyncio.get_running_loop():
            await self._lifecycle.join()
        if problem := event_type_error(type):
            raise ValueError(problem)
        if name := invalid_id(tenant, circle_id, project_id, user_id):
            raise ValueError(f"{name} cannot stand in a room name")
        # The first is for speed: asking the abstract class takes longer than encoding a short text.
        if data.__class__ is not dict and not isinstance(data, Mapping):
            raise ValueError("the data of an event is an object")
        draft = draft_of(
            type,
            data,
            circle_id=circle_id,
            project_id=project_id,
            user_id=user_id,
            source_agent_id=source_agent_id,
            timestamp=timestamp or rfc3339(self._clock()),
            key=key,
            max_bytes=self._limits.message_bytes,
        )
        return await self.append(tenant, draft)

    def draft(self, identity: Identity, event: PublishedEvent) -> tuple[str, Draft]:
        """The tenant and the draft of an event that `identity` publishes. Raises `AuthError`, `GatewayError`."""
        tenant = identity.tenant if event.tenant is None else event.tenant
        if name := invalid_id(tenant, event.circle_id, event.project_id, event.user_id):
            raise GatewayError(ErrorCode.ROOM_INVALID, f"{name} cannot stand in a room name; {ROOM_GRAMMAR}")
        draft = draft_of(
            event.type,
            event.data,
            circle_id=event.circle_id,
            project_id=event.project_id,
            user_id=event.user_id,
            source_agent_id=event.source_agent_id,
            timestamp=rfc3339(self._clock()),
            key=event.idempotency_key,
            max_bytes=self._limits.message_bytes,
            finite=True,
        )
        require_publish(identity, tenant, draft.rooms)
        return tenant, draft

    def append(self, tenant: str, draft: Draft) -> Awaitable[Receipt]:
        """Give a draft its place, under way from the call on. A removal is also kept for nodes that do not read it."""
        appended = self._log.append(tenant, draft)
        return appended if draft.removal is None else self._append_removal(appended, tenant, draft.removal)

    async def _append_removal(self, appended: Awaitable[Receipt], tenant: str, removal: Removal) -> Receipt:
        receipt = await appended
        now = self._clock()
        user_id, room = removal
        until = now + self._limits.longest_token
        await self._revocation.tell(ControlMessage("room_barred", tenant, user_id, now, until, room))
        return receipt
