"""The items that a subscription yields: events, gaps, snapshots."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NewType, TypeGuard, TypeVar

Cursor = NewType("Cursor", str)
"""An opaque position in the tenant's log: a string that can be stored, pickled and passed as `since`."""

D = TypeVar("D")
S = TypeVar("S")

TENANT_ROOM = "tenant"
_NO_ROOMS = frozenset({"source_agent_id", "event_id"})
"""Fields that end in `_id` and do not name a room."""


@dataclass(frozen=True, slots=True)
class Event(Generic[D]):
    """An event. `data` is as published; `id` is also the cursor after it; `timestamp` is RFC 3339; `rooms` are the
    rooms that it was routed to. Keyed events have a `key`, and an `op` of `set`, `append` or `delete`. `frame` is the
    whole JSON object, including members that this release does not know."""

    type: str
    data: D
    id: Cursor
    timestamp: str
    rooms: frozenset[str]
    frame: Mapping[str, Any] = field(repr=False)
    key: str | None = None
    op: str | None = None

    @classmethod
    def of(cls, frame: Mapping[str, Any]) -> "Event[Any]":
        """The event of a frame with an `event_id`."""
        key = frame.get("key")
        return Event(
            frame["type"],
            frame["data"],
            Cursor(frame["event_id"]),
            frame["timestamp"],
            rooms_of(frame),
            frame,
            key,
            None if key is None else frame.get("op", "set"),
        )

    @property
    def traceparent(self) -> str | None:
        """The publisher's W3C trace context, or None."""
        value: str | None = self.frame.get("traceparent")
        return value


def rooms_of(frame: Mapping[str, Any]) -> frozenset[str]:
    """The rooms that an event's own fields name: `<kind>:<id>` for each `<kind>_id`, and `tenant`."""
    named = {
        f"{name.removesuffix('_id')}:{value}"
        for name, value in frame.items()
        if name.endswith("_id") and name not in _NO_ROOMS
    }
    return frozenset(named | {TENANT_ROOM})


@dataclass(frozen=True, slots=True)
class Gap:
    """A loss of events: reload the state that you show. Yielded before any later event.

    `reason` is `history_trimmed`, `log_reset` (the log started again), `not_recovered` (found at a reconnect),
    `cursor_invalid` (`since` belongs to another log, or to other keys), or `state_incomplete` (the gateway's bounds
    have trimmed items of the state that follows).
    """

    reason: str
    cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[S]):
    """The state that the `load` function returned, at the beginning and again after a gap. The events after `cursor`
    follow; it was taken before the function was called."""

    value: S
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of a replay. `as_of` is the gateway's time at which this was the log's head, where that is known."""

    as_of: str | None


class EventType(Generic[D]):
    """The name of an event type and the type of its `data`, such as a `TypedDict`: `is_in` narrows an event for the
    type checker, and `publish` accepts it in place of the name."""

    def __init__(self, name: str, data: type[D]) -> None:
        self.name = name
        self.data = data

    def is_in(self, item: object) -> TypeGuard[Event[D]]:
        """Whether the item is an event of this type. The data is not validated."""
        return isinstance(item, Event) and item.type == self.name

    def __repr__(self) -> str:
        return f"EventType({self.name!r}, {self.data.__name__})"
