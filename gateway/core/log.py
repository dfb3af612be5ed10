"""The seam of the log: what an engine must do for the rest to keep its promise."""

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.core.window import Entry, Removal, Window


class LogListener(Protocol):
    """The receiver of what happens to a log. All of them plain, quick functions."""

    def on_entry(self, tenant: str, entry: Entry) -> None:
        """The tenant's log has grown by this entry, which is the head of its window."""

    def on_reset(self, tenant: str) -> None:
        """The tenant's window is of another epoch; its entries come next."""

    def on_skip(self, tenant: str, after: int) -> None:
        """Entries after the offset `after`, the head until now, were trimmed before this node had read them; those that
        are kept come next."""

    def on_degraded(self, degraded: bool) -> None:
        """The engine does not answer any more, or (False) it does again."""


@dataclass(slots=True, eq=False)
class Draft:
    """An event on its way to the log: the rooms it is routed to, its JSON object without `event_id` and `timestamp`
    (neither of which is the same at a second try), that timestamp (RFC 3339), the publisher's idempotency key, and what
    the event takes from a user. Not frozen for the reason that `Entry` is not."""

    rooms: tuple[str, ...]
    body: bytes
    timestamp: str
    key: str | None = None
    removal: Removal | None = None


@dataclass(slots=True)
class Receipt:
    """That an event is in the log, appended `at` (seconds since the epoch). A `duplicate` was there before, under the
    same key; its `at` is to the millisecond. Not frozen for the same reason."""

    event_id: str
    duplicate: bool
    at: float


class LogSize(NamedTuple):
    """The events that a log keeps, and about how many bytes they take."""

    events: int
    bytes: int


class Log(Protocol):
    """One ordered log for each tenant. An engine guarantees, and `gateway.testing` checks:

    - Appends of one tenant get offsets 1, 2, 3 and on without a hole, in the order in which they were accepted; the
      tenants know nothing of each other.
    - `on_entry` is called with each entry of a tenant that is followed exactly once, in order, whichever node appended
      it, after the entry is in the window; on the node that appended by the time `append` returns. The entry has the
      rooms and the removal of its draft.
    - An event that `append` returned a receipt for is in the log; for any other there was an error, within 2 seconds.
    - The same key within 120 seconds returns the receipt of the first append, marked `duplicate`, and appends
      nothing; with another body it raises `IdempotencyConflict` and appends nothing. A key of an epoch that has ended
      is a new one.
    - An event's id is the cursor of its own position; an event that two nodes read has one id.
    - The window is within its bounds after every append, and what it lacks it says: after a position a room lacks an
      entry if one of its own was trimmed there, and only then, as long as its last trimmed entry is remembered; where
      it is not, the room is said to lack one. On every node alike.
    - After a loss of entries the epoch is another one.
    """

    @property
    def ready(self) -> bool:
        """Whether it takes and delivers events, as far as is known."""

    def attach(self, listener: LogListener) -> None:
        """Set the listener. Before the first append."""

    async def start(self) -> None:
        """Begin to work; before the first append."""

    async def stop(self) -> None:
        """Let go of everything; nothing is called after it."""

    def append(self, tenant: str, draft: Draft) -> Awaitable[Receipt]:
        """Give the event its place; in the order of the calls, if they are also awaited in it. Raises
        `IdempotencyConflict`, `RateLimited`, `LogUnavailable` when awaited."""

    def follow(self, tenant: str, since: str | None = None) -> Awaitable[None] | None:
        """Have the window of a tenant kept up to date, the place of the cursor `since` included, which another node
        may have given out before this one heard of it; None where it is. Raises `LogUnavailable` when awaited."""

    def release(self, tenant: str) -> None:
        """Stop keeping the tenant's window up to date: this node has no connections of it."""

    def appended(self, tenant: str) -> int:
        """How many events this node has appended to the tenant's log; a duplicate is none."""

    def tenants(self) -> Iterable[str]:
        """Those for which that is not 0."""

    async def size(self, tenant: str) -> LogSize:
        """How much of the tenant's log is kept; what this node holds of it where the rest cannot be asked."""

    def window(self, tenant: str) -> Window:
        """This node's window of the tenant's log, up to the newest entry that the listener was called with."""

    def sweep(self) -> None:
        """Let go of what has grown too old; called about once a second."""


def payload_of(body: bytes, event_id: str, timestamp: str) -> bytes:
    """The event as clients get it: a draft's body with what is known only now, not worth a second encoding."""
    return body[:-1] + f',"event_id":"{event_id}","timestamp":"{timestamp}"}}'.encode()
