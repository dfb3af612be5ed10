"""What a subscription yields: events, gaps, snapshots."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NewType, TypeGuard, TypeVar

Cursor = NewType("Cursor", str)
"""A place in the tenant's log, opaque: a string to be stored, pickled and given as `since`."""

D = TypeVar("D")
S = TypeVar("S")

TENANT_ROOM = "tenant"
_NO_ROOMS = frozenset({"source_agent_id", "event_id"})
"""Fields that end in `_id` and name no room."""


@dataclass(frozen=True, slots=True)
class Event(Generic[D]):
    """An event. `data` is as published; `id` is also the cursor of a client that has handled it; `timestamp` is
    RFC 3339. `rooms` are those that it was routed to. `key` and `op` are there for keyed events (`op` is then one of
    `set`, `append`, `delete`). `frame` is the whole JSON object, with members that this release does not know."""

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
        """The event in a frame that has an `event_id`."""
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
        """The publisher's trace context (W3C), where there is one."""
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
    """Events were lost: load the state that you show anew. It comes before any later event.

    `reason` is `history_trimmed`, `log_reset` (the gateway's log began anew), `not_recovered` (found out when the
    client came back), `cursor_invalid` (`since` is of another gateway, or of an older one's keys), or
    `state_incomplete` (items of the state that follows were pushed out by its bounds).
    """

    reason: str
    cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[S]):
    """What the `load` function returned: the state to begin with, or to begin anew with after a gap. The events that
    follow are those after `cursor`, which was taken before the function was called."""

    value: S
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Mark:
    """Everything up to here was given. `as_of` is the gateway's time at which this was known to be the log's head."""

    as_of: str | None


class EventType(Generic[D]):
    """The name of an event type and the type of its `data`, such as a `TypedDict` that `gateway contract types` prints:
    `is_in` narrows an event for the type checker, and `publish` takes it in place of a name."""

    def __init__(self, name: str, data: type[D]) -> None:
        self.name = name
        self.data = data

    def is_in(self, item: object) -> TypeGuard[Event[D]]:
        """Whether this is an event of the type. The data itself is not examined: the gateway does that at publish."""
        return isinstance(item, Event) and item.type == self.name

    def __repr__(self) -> str:
        return f"EventType({self.name!r}, {self.data.__name__})"
