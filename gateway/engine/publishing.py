"""Publishing: an event is validated, encoded once, and appended to its tenant's log."""

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from auth.identity import Identity, require_admin, require_publish
from gateway.core.drafts import draft_of
from gateway.core.errors import GatewayError, RateLimited
from gateway.core.idempotency import scoped_key
from gateway.core.log import Draft, Log, Receipt
from gateway.core.metric import Histogram
from gateway.core.rate_limit import KeyedRateLimiter, RateLimiter
from gateway.core.tenant_quotas import TenantQuota
from gateway.core.window import Removal
from gateway.engine.connections import Connections
from gateway.engine.ingest import IngestScheduler
from gateway.engine.lifecycle import Lifecycle
from gateway.engine.publish_counts import SOURCES, PublishCount
from gateway.engine.revocation import RevocationService
from gateway.engine.tasks import TaskSet
from gateway.telemetry import log_events
from schemas.codes import ErrorCode
from schemas.events import (
    NotFinite,
    Op,
    PublishedEvent,
    change_error,
    event_type_error,
    rfc3339,
    timestamp_of,
)
from schemas.rooms import MEMBER_REMOVED, IdInvalid, Route, id_of, is_id

if TYPE_CHECKING:
    from gateway.telemetry.tracing import PublishTracer

SAMPLE_EVERY: Final = 16
"""One event in so many is measured: a measurement takes 0.7 us, a thirtieth of publishing."""

_IN_PROCESS: Final = ""
"""The principal of in-process idempotency keys."""


class Publishing:
    """Publishes events to `log`: of clients and HTTP callers by `draft` and `append`, of in-process code by `publish`.
    The turns of tenants are `ingest`. All of them are checked against the `contract`, if there is one.

    `tracer` starts spans, None without OpenTelemetry. `counts` are kept by the publishers, for each of `SOURCES`;
    `latencies` are seconds of appending, of one event in `SAMPLE_EVERY`.
    """

    def __init__(
        self,
        connections: Connections,
        revocation: RevocationService,
        log: Log,
        lifecycle: Lifecycle,
    ) -> None:
        self.contract = connections.contract
        self.ingest = IngestScheduler(connections.shares, connections.limits.message_bytes)
        self.counts = {source: PublishCount() for source in SOURCES}
        self.latencies = Histogram()
        self._appends = 0
        self.tracer: PublishTracer | None = None
        self._log = log
        self._revocation = revocation
        kinds = self._kinds = connections.kinds
        self._ids_of = attrgetter("user_id", *kinds.fields)
        limits = self._limits = connections.limits
        self._clock = connections.clock
        self._timer = connections.timer
        self._lifecycle = lifecycle
        self._control = TaskSet()
        self._rates: KeyedRateLimiter[tuple[str, str]] = KeyedRateLimiter(
            RateLimiter(limits.publish_per_second, limits.publish_burst)
        )
        self._tenant_rates: KeyedRateLimiter[str] = KeyedRateLimiter(
            _tenant_rate(limits.tenants.default),
            {tenant: _tenant_rate(quota) for tenant, quota in limits.tenants.overrides.items()},
        )

    async def publish(
        self,
        tenant: str,
        type: str,
        data: Mapping[str, Any],
        *,
        user_id: int | str | UUID | None = None,
        source_agent_id: int | str | UUID | None = None,
        timestamp: datetime | str | None = None,
        key: str | None = None,
        item_key: str | None = None,
        op: Op | None = None,
        version: int | None = None,
        traceparent: str | None = None,
        **ids: int | str | UUID | None,
    ) -> Receipt:
        """Append an event of in-process code, which is trusted for every tenant and has no rate limit.

        `ids` are those of its rooms, such as `circle_id=7`, at most one for each configured kind. `timestamp` is a
        `datetime` with a time zone or RFC 3339 text, by default now; `key` is the idempotency key; `item_key` and `op`
        are `key` and `op` of the protocol: the item that a keyed event changes, and how; `version` is that of the type
        in the event contract, by default the newest; `traceparent` is a W3C trace context, by default that of the
        current span of OpenTelemetry. Raises `GatewayError` where the log refuses, `ContractViolation`
        where the contract does; `ValueError` for an invalid tenant, type, id, timestamp, key or op, and for data that
        JSON cannot hold; `TypeError` for an id of an unknown kind of room; `WrongEventLoop` on another event loop than
        the gateway's.
        """
        if self._lifecycle.loop is not asyncio.get_running_loop():
            await self._lifecycle.ensure_running()
        source_agent_id = id_of("source_agent_id", source_agent_id)
        if problem := event_type_error(type):
            raise ValueError(problem)
        if problem := change_error(item_key, op):
            raise ValueError(problem)
        if version is not None and (version.__class__ is not int or version < 1):
            raise ValueError("version: an integer, 1 or more")
        if not is_id(tenant):
            raise IdInvalid("tenant")
        # The first check is for speed: an ABC's isinstance takes longer than encoding a short event.
        if data.__class__ is not dict and not isinstance(data, Mapping):
            raise ValueError("the data of an event is an object")
        draft = draft_of(
            type,
            data,
            route=self._kinds.route_of(user_id, ids),
            source_agent_id=source_agent_id,
            timestamp=rfc3339(self._clock()) if timestamp is None else timestamp_of(timestamp),
            key=scoped_key(_IN_PROCESS, key),
            max_bytes=self._limits.message_bytes,
            item_key=item_key,
            op=op,
            contract=self.contract,
            version=version,
            traceparent=traceparent,
        )
        counts = self.counts["process"]
        try:
            receipt = await self.append(tenant, draft)
        except GatewayError:
            counts.refused += 1
            raise
        counts.add(receipt)
        return receipt

    def draft(self, identity: Identity, event: PublishedEvent, traceparent: str | None = None) -> tuple[str, Draft]:
        """The tenant and the draft of an event that `identity` publishes, charged to its rate; `traceparent` is that of
        the request. Raises `AuthError`, `GatewayError`."""
        principal = (identity.tenant, identity.user_id)
        if wait := self._rates.acquire(principal, self._timer()):
            limit = self._limits.publish_per_second
            raise RateLimited(f"at most {limit:g} events a second may be published by one user", wait, limit)
        tenant = identity.tenant if event.tenant is None else event.tenant
        try:
            if event.tenant is not None and not is_id(tenant):
                raise IdInvalid("tenant")
            draft = draft_of(
                event.type,
                event.data,
                route=self._kinds.route(*self._ids_of(event)),
                source_agent_id=event.source_agent_id,
                timestamp=rfc3339(self._clock()),
                key=None if event.idempotency_key is None else scoped_key("/".join(principal), event.idempotency_key),
                max_bytes=self._limits.message_bytes,
                item_key=event.key,
                op=event.op,
                contract=self.contract,
                version=event.version,
                traceparent=event.traceparent or traceparent,
            )
        except IdInvalid as error:
            raise GatewayError(ErrorCode.ROOM_INVALID, f"{error}; {self._kinds.grammar}") from None
        except NotFinite as error:
            raise GatewayError(ErrorCode.BAD_MESSAGE, f"data: {error}") from None
        require_publish(identity, tenant, draft.rooms)
        if event.type.endswith(MEMBER_REMOVED):
            require_admin(identity, tenant, "an event that removes a member")
        # After the grants: a user of another tenant must not use it up.
        if wait := self._tenant_rates.acquire(tenant, self._timer()):
            limit = self._limits.tenants.of(tenant).publish_per_second
            raise RateLimited(f"at most {limit} events a second may be published in one tenant", wait, limit)
        return tenant, draft

    def append_probe(
        self, tenant: str, type: str, data: Mapping[str, Any], route: Route, item_key: str
    ) -> Awaitable[Receipt]:
        """Append an event of the gateway itself to a reserved tenant: it is under no contract, counted nowhere and in
        no trace. It ends its item, so that the log keeps the newest one alone."""
        draft = draft_of(
            type,
            data,
            route=route,
            source_agent_id=None,
            timestamp=rfc3339(self._clock()),
            key=None,
            max_bytes=self._limits.message_bytes,
            item_key=item_key,
            op="delete",
            contract=None,
        )
        return self._log.append(tenant, draft)

    def append(self, tenant: str, draft: Draft) -> Awaitable[Receipt]:
        """Append a draft, submitted by the call itself. A removal is also published to nodes that do not follow the
        log."""
        tracer = self.tracer
        if tracer is None or (span := tracer.start(tenant, draft)) is None:
            return self._append(tenant, draft)
        return tracer.follow(span, self._append(tenant, draft))

    def _append(self, tenant: str, draft: Draft) -> Awaitable[Receipt]:
        appended = self._log.append(tenant, draft)
        if draft.removal is None:
            self._appends += 1
            return appended if self._appends % SAMPLE_EVERY else self._measure(appended)
        appending = self._append_removal(appended, tenant, draft.removal, self._clock())
        # A coroutine is submitted when it is awaited, in its order among the caller's others.
        return asyncio.shield(self._control.spawn(appending)) if asyncio.isfuture(appended) else appending

    def _measure(self, appended: Awaitable[Receipt]) -> Awaitable[Receipt]:
        began = self._timer()
        if asyncio.isfuture(appended):  # not wrapped: it need not be awaited to be in the log
            appended.add_done_callback(lambda _: self.latencies.observe(self._timer() - began))
            return appended
        return self._measured(appended, began)

    async def _measured(self, appended: Awaitable[Receipt], began: float) -> Receipt:
        try:
            return await appended
        finally:
            self.latencies.observe(self._timer() - began)

    async def _append_removal(
        self, appended: Awaitable[Receipt], tenant: str, removal: Removal, began: float
    ) -> Receipt:
        receipt = await appended
        # The time of the first append, also for a duplicate: a removal published twice has no second effect,
        # and one whose message was lost with the first try is sent after all.
        made_at = 0.0 if receipt.duplicate else began
        try:
            await self._revocation.publish_removal(tenant, removal, receipt.at, made_at)
        except asyncio.CancelledError:
            # The event is in the log, so the removal has to be in force on every node.
            self._control.spawn(self._revocation.publish_removal(tenant, removal, receipt.at, made_at))
            raise
        return receipt

    async def start(self) -> None:
        """Drop what waited on an earlier event loop, and notify other nodes of the contract. Start spans where the
        application has configured OpenTelemetry."""
        self.ingest.reset()
        if self.contract is not None:
            self._control.spawn(self._revocation.publish_contract(self.contract.digest))
        try:
            from gateway.telemetry.tracing import publish_tracer
        except ImportError:  # the extra `otel`
            return
        self.tracer = publish_tracer()

    async def stop(self) -> None:
        """Wait until the removals in the log and the contract are published."""
        await self._control.wait()

    @property
    def rates_kept(self) -> int:
        """The number of principals and tenants with a rate limiter in memory: those that published within the time of a
        burst."""
        return len(self._rates) + len(self._tenant_rates)

    def sweep(self) -> None:
        """Drop the rate limiters of principals that have not published recently, and report violations of the
        contract."""
        now = self._timer()
        self._rates.sweep(now)
        self._tenant_rates.sweep(now)
        if self.contract is not None:
            for violations in self.contract.take_recent():
                log_events.contract_violated(violations, self.contract.mode)


def _tenant_rate(quota: TenantQuota) -> RateLimiter:
    return RateLimiter(quota.publish_per_second, 2 * quota.publish_per_second)
