"""The seam of the log: the contract of a log engine."""

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.core.items import Change
from gateway.core.window import Entry, Removal, Window


class LogListener(Protocol):
    """The callbacks of a log: synchronous functions that return quickly."""

    def on_entry(self, tenant: str, entry: Entry) -> None:
        """The tenant's log has grown by this entry, now the head of its window."""

    def on_reset(self, tenant: str) -> None:
        """The tenant's window has a new epoch; its entries follow."""

    def on_skip(self, tenant: str, after: int) -> None:
        """Entries after the offset `after`, the head until now, were trimmed before this node read them; the remaining
        ones follow."""

    def on_degraded(self, degraded: bool) -> None:
        """The engine has stopped to answer, or (False) answers again."""


@dataclass(slots=True, eq=False)
class Draft:
    """An event to be appended: its rooms, its JSON object without `event_id` and `timestamp` (which differ between
    retries), the timestamp (RFC 3339), the publisher's idempotency key, a removal, the change of an item, and the trace
    context, which differs between retries too. Not frozen, for the reason given at `Entry`."""

    rooms: tuple[str, ...]
    body: bytes
    timestamp: str
    key: str | None = None
    removal: Removal | None = None
    change: Change | None = None
    traceparent: str | None = None


@dataclass(slots=True)
class Receipt:
    """The confirmation of an append, made `at` (seconds since the epoch). A `duplicate` was appended before under the
    same key; its `at` is to the millisecond. Not frozen for the same reason."""

    event_id: str
    duplicate: bool
    at: float


class LogSize(NamedTuple):
    """The number of events in a log, and about how many bytes they take."""

    events: int
    bytes: int


class Log(Protocol):
    """One ordered log for each tenant. An engine guarantees, and `gateway.testing` checks:

    - Appends of one tenant get offsets 1, 2, 3 and on without a hole, in the order in which they were accepted; tenants
      are isolated from each other.
    - `on_entry` is called with each entry of a followed tenant exactly once, in order, whichever node appended it,
      after the entry is in the window; on the appending node before `append` returns. The entry has the rooms, the
      removal and the change of its draft, and its frame the draft's trace context.
    - An event that `append` returned a receipt for is in the log; for any other there was an error, within 2 seconds.
    - The same key within 120 seconds returns the receipt of the first append, marked `duplicate`, and appends nothing;
      with another body it raises `IdempotencyConflict` and appends nothing. Keys end with their epoch.
    - An event's id is the cursor of its own position, the same on every node.
    - The window is within its bounds after every append, and reports what it lacks, on every node alike: after a
      position a room lacks an entry if one of its own was trimmed there, and only then, as long as its last trimmed
      entry is remembered; beyond that the room is reported to lack one.
    - The newest version of an item is kept, beyond the window too, within the bounds of state, with its whole value.
      Superseded versions take no place, and a room does not lack them. An `append` that would make an item larger than
      `MAX_ITEM_BYTES` raises `ItemTooLarge` and appends nothing.
    - After a loss of entries the epoch is another one.
    """

    @property
    def ready(self) -> bool:
        """Whether it takes and delivers events, as far as is known."""

    def attach(self, listener: LogListener) -> None:
        """Set the listener. Before the first append."""

    async def start(self) -> None:
        """Start the engine; before the first append."""

    async def stop(self) -> None:
        """Release all resources; no callback is called after it."""

    def append(self, tenant: str, draft: Draft) -> Awaitable[Receipt]:
        """Append an event, in the order of the calls if they are also awaited in it. Raises `IdempotencyConflict`,
        `RateLimited`, `ItemTooLarge`, `LogUnavailable` when awaited."""

    def follow(self, tenant: str, since: str | None = None) -> Awaitable[None] | None:
        """Subscribe this node to a tenant's log, at least up to the cursor `since`, which may be from another node.
        None where the window is current, else an awaitable that completes when it is. Raises `LogUnavailable` when
        awaited."""

    def release(self, tenant: str) -> None:
        """Unsubscribe this node from a tenant's log: it has no connections of it."""

    def appended(self, tenant: str) -> int:
        """The number of events that this node has appended to the tenant's log, without duplicates."""

    def tenants(self) -> Iterable[str]:
        """The tenants to which this node has appended."""

    async def size(self, tenant: str) -> LogSize:
        """The size of the tenant's log; of this node's window where the engine cannot be asked."""

    def window(self, tenant: str) -> Window:
        """This node's window of the tenant's log, up to the newest entry that the listener was called with."""

    def windows(self) -> Iterable[Window]:
        """The windows that this node keeps."""

    def staleness(self, tenant: str) -> float | None:
        """Seconds since the head of the tenant's window was last known to be the head of the log; None while this node
        cannot know that, or knows of entries that the window lacks."""

    def sweep(self) -> None:
        """Drop expired entries; called about once a second."""


def payload_of(body: bytes, event_id: str, timestamp: str, traceparent: str | None = None) -> bytes:
    """The event as clients get it: the draft's body with the fields that the append adds, without a second encoding."""
    trace = "" if traceparent is None else f',"traceparent":"{traceparent}"'
    return body[:-1] + f'{trace},"event_id":"{event_id}","timestamp":"{timestamp}"}}'.encode()
