"""The bridge from an application's event bus to a gateway."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any, Final, Protocol

from gateway.core.errors import GatewayError, IdempotencyConflict
from gateway.core.log import Receipt
from gateway.core.rate_limit import RateLimiter
from gateway.embedding.event_bus import (
    DEFAULT_BROADCAST_EVENTS,
    Filter,
    Handler,
    current_gateway,
    event_bus,
    type_name,
)
from gateway.engine.gateway import Gateway
from gateway.engine.lifecycle import NotRunning
from gateway.telemetry.line_rate import LineLimiter
from schemas.rooms import RoomKinds

logger = logging.getLogger("gateway.bus")

Tenant = str | Callable[[Any], str | None]
"""The tenant of events: a constant, or a function of the event."""

Ids = Mapping[str, Any]
"""The ids of an event's rooms, by the parameter names of `Gateway.publish`."""

Route = Callable[[Any], tuple[str, Ids] | Awaitable[tuple[str, Ids] | None] | None]
"""A function from an event to its tenant and ids, such as `("acme", {"circle_id": 7})`; None for an event without a
tenant."""

LINE_RATE: Final = RateLimiter(per_second=1 / 60, burst=1)
"""The rate limit of log lines for each reason of dropped events."""


class Bus(Protocol):
    """The interface of a bus that the bridge uses."""

    def subscribe(self, event_type: Any, handler: Any, /) -> Any: ...


class _Drop(Exception):
    """An event that cannot be forwarded."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class EventBridge:
    """Forwards events of a bus to a gateway: any bus with `subscribe`, and any objects or mappings with a `type`. Their
    other attributes are read by the names of `Event`, where present.

    An event goes to its own `tenant`, or the one of the parameter `tenant`, and to the rooms of its ids; `route`
    replaces both. An event's `id` is its idempotency key: an event that arrives twice, from two nodes or a retry, is
    published once.

    `forwarded` counts the published events, `dropped` the others, by reason: `no_gateway` (none is running),
    `no_tenant`, `no_type`, `invalid` (an invalid name, id or data), `failed` (an exception, also of `tenant`, `route`
    or a filter), or the error code of the log. The first of each reason is logged, later ones once a minute with their
    count.
    """

    def __init__(
        self,
        gateway: Callable[[], Gateway | None] | Gateway,
        tenant: Tenant | None = None,
        *,
        route: Route | None = None,
    ) -> None:
        if tenant is not None and route is not None:
            raise ValueError("pass either `tenant` or `route`; a route includes the tenant")
        self._gateway = gateway
        self._tenant = tenant
        self._route = route
        self.forwarded = 0
        self.dropped: Counter[str] = Counter()
        self._lines: LineLimiter[str] = LineLimiter(LINE_RATE)

    def attach(self, bus: Bus, event_types: Sequence[Any], filter_fn: Filter | None = None) -> list[Any]:
        """Forward the events of these types from `bus` for which `filter_fn` is true; returns the results of its
        `subscribe`, which is called with a type and a coroutine function."""
        handler = self.forward if filter_fn is None else self._filtered(filter_fn)
        return [bus.subscribe(kind, handler) for kind in event_types]

    async def forward(self, event: Any) -> None:
        """Publish one event to its tenant. Never raises: an event that cannot be published is logged and counted."""
        try:
            gateway = self._running_gateway()
            tenant, ids = await self._routed(event, gateway.kinds)
            # A bus may call its handlers on an event loop of its own.
            await gateway.lifecycle.run(_publish, gateway, tenant, ids, event)
            self.forwarded += 1
        except _Drop as drop:
            self._drop(event, drop.reason, str(drop))
        except NotRunning as error:
            self._drop(event, "no_gateway", str(error))
        except GatewayError as error:
            self._drop(event, error.code, str(error))
        except (ValueError, TypeError) as error:
            self._drop(event, "invalid", str(error))
        except Exception as error:
            # An exception must not reach the bus, which other handlers need.
            self._drop(event, "failed", type(error).__name__, error)

    def submit(self, event: Any) -> None:
        """`forward` for a bus that does not await its handlers: in the background, from any thread. Never raises."""
        try:
            gateway = self._running_gateway()
            loop = gateway.lifecycle.loop
            if loop is None:
                raise NotRunning
            loop.call_soon_threadsafe(lambda: gateway.tasks.spawn(self.forward(event)))
        except (_Drop, NotRunning, RuntimeError) as error:  # the event loop is closed
            self._drop(event, "no_gateway", str(error))

    def _filtered(self, filter_fn: Filter) -> Handler:
        async def forward(event: Any) -> None:
            try:
                wanted = filter_fn(event)
            except Exception as error:
                self._drop(event, "failed", type(error).__name__, error)
                return
            if wanted:
                await self.forward(event)

        return forward

    def _running_gateway(self) -> Gateway:
        gateway = self._gateway if isinstance(self._gateway, Gateway) else self._gateway()
        if gateway is None:
            raise _Drop("no_gateway", "no gateway is running")
        return gateway

    async def _routed(self, event: Any, kinds: RoomKinds) -> tuple[str, Ids]:
        if self._route is None:
            tenant = self._tenant(event) if callable(self._tenant) else self._tenant or _field(event, "tenant")
            ids: Ids = {name: _field(event, name) for name in (*kinds.fields, "user_id")}
        else:
            routed = self._route(event)
            if isawaitable(routed):
                routed = await routed
            tenant, ids = ("", {}) if routed is None else routed
        if not tenant:
            raise _Drop("no_tenant", "it has no tenant: pass `tenant` or `route`")
        return tenant, ids

    def _drop(self, event: Any, reason: str, detail: str, error: Exception | None = None) -> None:
        self.dropped[reason] += 1
        if self._lines.acquire(reason):
            logger.warning(
                "an event of the bus was not forwarded: %s (type %.80r, reason %s, %d so far)",
                detail,
                type_name(_field(event, "type")),
                reason,
                self.dropped[reason],
                exc_info=error,
            )


async def _publish(gateway: Gateway, tenant: str, ids: Ids, event: Any) -> Receipt:
    type, data, id, at = (_field(event, name) for name in ("type", "data", "id", "timestamp"))
    if type is None:
        raise _Drop("no_type", "it has no `type`")
    if isinstance(at, datetime) and at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    fields = {
        **ids,
        "type": type_name(type),
        "data": {} if data is None else data,
        "source_agent_id": _field(event, "source_agent_id"),
        "timestamp": at,
    }
    # By these names, and `op` only beside the other: a foreign bus may have a `key` or an `op` of another meaning.
    if (item_key := _field(event, "item_key")) is not None:
        fields |= {"item_key": item_key, "op": _field(event, "op")}
    try:
        return await gateway.publish(tenant, key=str(id) if id not in (None, "") else None, **fields)
    except IdempotencyConflict:
        # A bus whose ids are not unique, such as timestamps: neither of two events may be lost.
        return await gateway.publish(tenant, **fields)


def _field(event: Any, name: str) -> Any:
    return event.get(name) if isinstance(event, Mapping) else getattr(event, name, None)


def setup_websocket_broadcasting(
    event_types: Sequence[Any] | None = None,
    *,
    bus: Bus | None = None,
    gateway: Gateway | None = None,
    tenant: Tenant | None = None,
    route: Route | None = None,
) -> EventBridge:
    """Forward events of `bus` (by default the process's own) to the gateway; by default those of
    `DEFAULT_BROADCAST_EVENTS`. May be called before a gateway runs."""
    bridge = EventBridge(gateway or current_gateway, tenant, route=route)
    bridge.attach(event_bus if bus is None else bus, event_types or DEFAULT_BROADCAST_EVENTS)
    return bridge


def setup_custom_broadcasting(
    event_type: Any,
    filter_fn: Filter | None = None,
    *,
    bus: Bus | None = None,
    gateway: Gateway | None = None,
    tenant: Tenant | None = None,
    route: Route | None = None,
) -> EventBridge:
    """Forward the events of one type for which `filter_fn` is true."""
    bridge = EventBridge(gateway or current_gateway, tenant, route=route)
    bridge.attach(event_bus if bus is None else bus, [event_type], filter_fn)
    return bridge
