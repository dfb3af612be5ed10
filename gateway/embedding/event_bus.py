"""The event bus of one process."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any, Final

from gateway.engine.gateway import Gateway
from gateway.engine.lifecycle import NotRunning
from schemas.events import EventType, Op

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
"""The types that are forwarded by default."""


@dataclass(slots=True)
class Event:
    """An event of the bus. `type` is an `EventType` or any other well-formed type; ids are those of the application;
    `item_key` and `op` make it a keyed event."""

    type: EventType | str
    data: dict[str, Any] = field(default_factory=dict)
    source_agent_id: int | str | None = None
    circle_id: int | str | None = None
    project_id: int | str | None = None
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    tenant: str | None = None
    user_id: str | None = None
    item_key: str | None = None
    op: Op | None = None


Handler = Callable[[Any], Awaitable[Any] | Any]
Filter = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class _Subscription:
    id: str
    handler: Handler
    filter_fn: Filter | None
    name: str


class EventBus:
    """Dispatches each event to the handlers of its type, plain functions and coroutine functions alike."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, tuple[_Subscription, ...]] = {}
        self._issued = 0

    def subscribe(
        self, event_type: EventType | str, handler: Handler, filter_fn: Filter | None = None, name: str | None = None
    ) -> str:
        """Call `handler` with each event of this type for which `filter_fn` is true; returns an id for
        `unsubscribe`."""
        self._issued += 1
        kind = type_name(event_type)
        subscription = _Subscription(
            f"{kind}:{self._issued}", handler, filter_fn, name or str(getattr(handler, "__name__", handler))
        )
        # A new tuple each time: an event that is being published keeps its subscriptions.
        self._subscriptions[kind] = (*self._subscriptions.get(kind, ()), subscription)
        return subscription.id

    def unsubscribe(self, subscription_id: str) -> bool:
        """Remove a subscription; False where there is none."""
        kind = subscription_id.rpartition(":")[0]
        before = self._subscriptions.get(kind, ())
        after = tuple(subscription for subscription in before if subscription.id != subscription_id)
        if after:
            self._subscriptions[kind] = after
        else:
            self._subscriptions.pop(kind, None)
        return len(after) < len(before)

    async def publish(self, event: Event) -> None:
        """Call the handlers of the event, each once; returns when they are done. An exception of one does not stop the
        others."""
        waiting: list[Awaitable[None]] = []
        for subscription in self._subscriptions.get(type_name(event.type), ()):
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
        """`publish` from another thread, such as that of a plain `def` route: runs the handlers on the event loop of
        the running gateway. Raises `NotRunning`, and `WrongEventLoop` on that event loop itself."""
        gateway = current_gateway()
        if gateway is None:
            raise NotRunning
        return gateway.lifecycle.submit(self.publish, event)


def type_name(event_type: Any) -> str:
    """The type as text: from any enum, or text already."""
    return str(getattr(event_type, "value", event_type))


async def _finish(result: Awaitable[Any], name: str) -> None:
    try:
        await result
    except Exception:
        logger.exception("the handler %s failed", name)


event_bus = EventBus()
"""The bus of this process."""

_current: list[Gateway] = []


async def use_gateway(gateway: Gateway) -> None:
    """Set the default gateway for forwarded events. The newest one counts."""
    _current.append(gateway)


async def forget_gateway(gateway: Gateway) -> None:
    _current.remove(gateway)


def current_gateway() -> Gateway | None:
    return _current[-1] if _current else None
