"""The event bus of one process, and the bridge from any such bus to a gateway."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any, Final, Protocol

from gateway.core.errors import GatewayError, IdempotencyConflict
from gateway.core.log import Receipt
from gateway.engine.gateway import Gateway
from gateway.engine.lifecycle import NotRunning
from schemas.events import EventType, rfc3339

logger = logging.getLogger("gateway.bus")

DEFAULT_BROADCAST_EVENTS: Final = [
    EventType.AGENT_STARTED,
    EventType.AGENT_TASK_COMPLETED,
    EventType.AGENT_TOOL_EXECUTED,
    EventType.MEMORY_CREATED,
    EventType.MEMORY_SHARED,
    EventType.CIRCLE_CREATED,
    EventType.CIRCLE_MEMBER_ADDED,
    EventType.TASK_CREATED,
    EventType.TASK_STARTED,
    EventType.TASK_COMPLETED,
    EventType.TASK_FAILED,
    EventType.TASK_CONFLICT_DETECTED,
    EventType.CONVERSATION_MESSAGE,
]
"""The types that are forwarded unless others are named."""


@dataclass(slots=True)
class Event:
    """Something that happened. `type` is an `EventType` or any other well-formed type; ids are those of the domain."""

    type: EventType | str
    data: dict[str, Any] = field(default_factory=dict)
    source_agent_id: int | str | None = None
    circle_id: int | str | None = None
    project_id: int | str | None = None
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    tenant: str | None = None
    user_id: str | None = None


Handler = Callable[[Any], Awaitable[Any] | Any]
Filter = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class _Subscription:
    id: str
    handler: Handler
    filter_fn: Filter | None
    name: str


class EventBus:
    """Hands each event to the handlers of its type, plain functions and coroutine functions alike."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, tuple[_Subscription, ...]] = {}
        self._issued = 0

    def subscribe(
        self, event_type: EventType | str, handler: Handler, filter_fn: Filter | None = None, name: str | None = None
    ) -> str:
        """Call `handler` with each event of this type that `filter_fn` is true for; returns an id for `unsubscribe`."""
        self._issued += 1
        kind = _name(event_type)
        subscription = _Subscription(
            f"{kind}:{self._issued}", handler, filter_fn, name or str(getattr(handler, "__name__", handler))
        )
        # A new tuple each time: an event under way goes to those that were there when it was published.
        self._subscriptions[kind] = (*self._subscriptions.get(kind, ()), subscription)
        return subscription.id

    def unsubscribe(self, subscription_id: str) -> bool:
        """Whether there was such a subscription; it is no more."""
        kind = subscription_id.rpartition(":")[0]
        before = self._subscriptions.get(kind, ())
        after = tuple(subscription for subscription in before if subscription.id != subscription_id)
        if after:
            self._subscriptions[kind] = after
        else:
            self._subscriptions.pop(kind, None)
        return len(after) < len(before)

    async def publish(self, event: Event) -> None:
        """Hand the event to its handlers, each once; returns when they are done. One that raises hurts nobody else."""
        waiting: list[Awaitable[None]] = []
        for subscription in self._subscriptions.get(_name(event.type), ()):
            try:
                if subscription.filter_fn is not None and not subscription.filter_fn(event):
                    continue
                result = subscription.handler(event)
            except Exception:
                logger.exception("the handler %s failed", subscription.name)
                continue
            if result is not None and isawaitable(result):
                waiting.append(_finish(result, subscription.name))
        if len(waiting) == 1:
            await waiting[0]
        elif waiting:
            await asyncio.gather(*waiting)

    def publish_threadsafe(self, event: Event) -> Future[None]:
        """`publish` from another thread, such as that of a plain `def` route: on the event loop of the running gateway,
        where the handlers are at home. Raises `NotRunning`, and `WrongEventLoop` on that event loop itself."""
        gateway = current_gateway()
        if gateway is None:
            raise NotRunning
        return gateway.lifecycle.submit(self.publish, event)


def _name(event_type: Any) -> str:
    """A type as text: of our own enum, of another system's, or text already."""
    return str(getattr(event_type, "value", event_type))


async def _finish(result: Awaitable[Any], name: str) -> None:
    try:
        await result
    except Exception:
        logger.exception("the handler %s failed", name)


class Bus(Protocol):
    """What the bridge needs of a bus."""

    def subscribe(self, event_type: Any, handler: Any, filter_fn: Any = None, name: Any = None) -> Any: ...


class EventBridge:
    """Forwards events of a bus to a gateway: any bus with `subscribe`, any events with the attributes of `Event`.

    `tenant` says whose an event is: a constant, or a function of the event; unless given, the event's own `tenant`.
    An event of nobody is not forwarded, and a warning says so. An event's `id` is its idempotency key, so that it may
    come twice, from two nodes or from a handler that tries again.
    """

    def __init__(
        self, gateway: Callable[[], Gateway | None] | Gateway, tenant: str | Callable[[Any], str | None] | None = None
    ) -> None:
        self._gateway = gateway
        self._tenant = tenant
        self.forwarded = 0
        self.dropped = 0

    def attach(self, bus: Bus, event_types: Sequence[Any], filter_fn: Filter | None = None) -> list[Any]:
        """Forward these types from `bus`; returns the ids of the subscriptions."""
        return [bus.subscribe(kind, self.forward, filter_fn, "gateway") for kind in event_types]

    async def forward(self, event: Any) -> None:
        """Publish one event to its tenant. Never raises: what cannot be published is logged and counted."""
        gateway = self._gateway if isinstance(self._gateway, Gateway) else self._gateway()
        try:
            tenant = self._tenant_of(event)
            if gateway is None or tenant is None:
                self._drop(event, "no gateway is running" if gateway is None else "it names no tenant")
                return
            # A bus may call its handlers on an event loop of its own.
            await gateway.lifecycle.run(self._publish, gateway, tenant, event)
            self.forwarded += 1
        except (GatewayError, ValueError, TypeError, AttributeError) as error:
            self._drop(event, str(error))
        except Exception:
            # A fault of ours or of the function that names the tenant, within a bus that others need.
            logger.exception("an event of the bus failed")
            self._drop(event, "it failed")

    async def _publish(self, gateway: Gateway, tenant: str, event: Any) -> Receipt:
        id, user_id = getattr(event, "id", None), getattr(event, "user_id", None)
        fields = {
            "type": _name(event.type),
            "data": event.data,
            "circle_id": event.circle_id,
            "project_id": event.project_id,
            "user_id": None if user_id is None else str(user_id),
            "source_agent_id": event.source_agent_id,
            "timestamp": None if event.timestamp is None else _rfc3339(event.timestamp),
        }
        try:
            return await gateway.publish(tenant, key=str(id) if id not in (None, "") else None, **fields)
        except IdempotencyConflict:
            # A bus whose ids are not unique, as those made of a clock: two events, and neither may be lost.
            return await gateway.publish(tenant, **fields)

    def _tenant_of(self, event: Any) -> str | None:
        if callable(self._tenant):
            return self._tenant(event)
        return self._tenant or getattr(event, "tenant", None)

    def _drop(self, event: Any, reason: str) -> None:
        self.dropped += 1
        logger.warning("an event of the bus was not forwarded: %s", reason)


def _rfc3339(moment: datetime) -> str:
    return rfc3339((moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp())


event_bus = EventBus()
"""The bus of this process."""

_current: list[Gateway] = []


async def use_gateway(gateway: Gateway) -> None:
    """Say which gateway the functions below forward to. The newest one that was named counts."""
    _current.append(gateway)


async def forget_gateway(gateway: Gateway) -> None:
    _current.remove(gateway)


def current_gateway() -> Gateway | None:
    return _current[-1] if _current else None


def setup_websocket_broadcasting(
    event_types: Sequence[Any] | None = None,
    *,
    bus: Bus | None = None,
    gateway: Gateway | None = None,
    tenant: str | Callable[[Any], str | None] | None = None,
) -> EventBridge:
    """Forward events of `bus` (the process's own, unless another is given) to the gateway; by default those of
    `DEFAULT_BROADCAST_EVENTS`. May be called before a gateway runs."""
    bridge = EventBridge(gateway or current_gateway, tenant)
    bridge.attach(event_bus if bus is None else bus, event_types or DEFAULT_BROADCAST_EVENTS)
    return bridge


def setup_custom_broadcasting(
    event_type: Any,
    filter_fn: Filter | None = None,
    *,
    bus: Bus | None = None,
    gateway: Gateway | None = None,
    tenant: str | Callable[[Any], str | None] | None = None,
) -> EventBridge:
    """Forward the events of one type that `filter_fn` is true for."""
    bridge = EventBridge(gateway or current_gateway, tenant)
    bridge.attach(event_bus if bus is None else bus, [event_type], filter_fn)
    return bridge
