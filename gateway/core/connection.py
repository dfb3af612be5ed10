"""The state machine of a connection: live, behind, or replaying.

Every write of `offset` and of `replay` is in this file, in a transition that has a name:

    state      | offset | replay | what is written to the client
    -----------+--------+--------+-----------------------------------------------------------------------------
    LIVE       | None   | None   | events as they come
    BEHIND     | set    | None   | the log after `offset`, in batches: the slow consumer, or one that has resumed
    REPLAYING  | set    | set    | a part of the log, up to `replay.until`; after that as BEHIND

    transition      | from             | to                | when
    ----------------+------------------+-------------------+----------------------------------------------------
    offer           | LIVE             | BEHIND            | an event is over the rate
    write           | LIVE             | BEHIND            | an event has filled the transport
    fall_behind     | LIVE             | BEHIND            | something else has filled the transport
    start_replay    | LIVE, BEHIND     | REPLAYING         | rooms were joined whose earlier events are owed
    advance         | BEHIND           | BEHIND            | a batch of what is owed leaves
                    | REPLAYING        | REPLAYING, BEHIND | likewise; BEHIND once it is all of the replay
    abandon_replay  | REPLAYING        | BEHIND            | the rest of the replay was trimmed from the log
    reach_head      | BEHIND           | LIVE              | nothing more is owed
    jump_to_head    | any              | LIVE              | owed entries were trimmed from the log, or it was reset

A connection begins LIVE, in no room. Until it is `established`, which its first frame makes it, its commands are kept
in `pending_commands`; so are those that change rooms while it is REPLAYING.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from auth.identity import Identity
from gateway.core.frame import Batch
from gateway.core.horizons import Horizon
from gateway.core.room_history import RoomHistory
from gateway.core.transport import Transport
from gateway.core.window import Entry
from schemas.codes import CloseCode
from schemas.commands import AnyCommand

_UNLIMITED: Final = 1 << 62

MIN_BATCH_BYTES: Final = 2 * 1024
"""Bytes of the next batch after the transport was full; of each further one twice as many. What waits grows old."""

WRITTEN: Final = -1
BEHIND: Final = -2
OVER_RATE: Final = -3
"""Results of `Connection.offer` beside a descriptor, which is 0 or more."""

MARK_OWED: Final = float("-inf")
"""The `quiet_since` of a connection whose replay or catch-up has ended, until the mark that says so is written."""


@dataclass(slots=True, eq=False)
class Replay:
    """A part of the log that is owed to a connection before its own offset counts again: entries of `rooms` after
    `offset` and up to `until`, except those that rooms in `seen` brought already; `owed` events in all. With `state`
    also the items of `rooms`, whenever they changed and whatever was delivered of them. `losses` is the window's count
    of lost entries when `owed` was counted."""

    rooms: dict[str, int]
    offset: int
    until: int
    seen: dict[str, int]
    owed: int = 0
    state: bool = False
    losses: int = 0

    def wants(self, entry: Entry) -> bool:
        item = entry.item
        if item is None:
            return follows(self.rooms, entry) and not follows(self.seen, entry)
        if self.state and not entry.former:
            return not self.rooms.keys().isdisjoint(entry.rooms)
        # A room that was joined after the first piece of a text has brought only the later pieces.
        return follows(self.rooms, entry) and not follows(self.seen, entry, item.base)


class Closure(NamedTuple):
    """The close of a connection by the gateway: its code, where one was sent, its reason, and the bytes that were
    unacknowledged by then (`Transport.unacknowledged`)."""

    code: int | None
    reason: str
    unacknowledged: int | None


class Connection:
    """The server-side state of one client.

    `offset` is the position up to which everything was written or skipped; None at the head of the log. At most `rate`
    events a second are written (0: no limit), with a burst of as many after a quiet second. `rooms` maps each room to
    the offset after which its events are for this connection. `horizon` is the end of its round of catch-up, None
    outside of one; `batch_bytes` the size of its next batch. `catch_up_scheduled` is true while that waits for a timer
    or a turn, and not for its transport. `sent_at_tick` and `quiet_since` belong to the mark schedule: `sent` as of its
    last tick, plus the replies since; the time of the last event or mark. `history` has the latest changes of its
    rooms; `…_bucket_full_at` are the states of its command rate limits (`core.rate_limit`); `closed_with` is its close.
    """

    __slots__ = (
        "__weakref__",
        "_bucket",
        "_bucket_at",
        "_quota",
        "address",
        "batch_bytes",
        "catch_up_scheduled",
        "client_id",
        "closed_with",
        "command_bucket_full_at",
        "connected_at",
        "established",
        "history",
        "horizon",
        "id",
        "identity",
        "malformed_streak",
        "offset",
        "pending_commands",
        "quiet_since",
        "rate",
        "received",
        "refusal_bucket_full_at",
        "replay",
        "rooms",
        "sent",
        "sent_at_tick",
        "transport",
    )

    def __init__(
        self,
        id: str,
        identity: Identity,
        transport: Transport,
        connected_at: float,
        address: str,
        client_id: str | None = None,
        rate: int = 0,
    ) -> None:
        self.id = id
        self.identity = identity
        self.transport = transport
        self.connected_at = connected_at
        self.address = address
        self.client_id = client_id
        self.rooms: dict[str, int] = {}
        self.offset: int | None = None
        self.replay: Replay | None = None
        self.horizon: Horizon | None = None
        self.batch_bytes = _UNLIMITED
        self.history: RoomHistory | None = None
        self.closed_with: Closure | None = None
        self.pending_commands: tuple[AnyCommand, ...] = ()
        self.catch_up_scheduled = False
        self.established = False
        self.sent = 0
        self.sent_at_tick = -1
        self.quiet_since = 0.0
        # `sent` may grow up to the quota without a look at the clock: the rate costs a comparison, not a system call.
        self._bucket = 0.0
        self._bucket_at = 0.0
        self._quota = _UNLIMITED
        self.rate = 0
        self.set_rate(rate)
        self.received = 0
        self.malformed_streak = 0
        self.command_bucket_full_at = 0.0
        self.refusal_bucket_full_at = 0.0

    @property
    def live(self) -> bool:
        return self.offset is None

    @property
    def owed_nothing(self) -> bool:
        """Whether everything up to the head was written to it, and no command that may ask for more is pending."""
        return self.offset is None and self.established and not self.pending_commands

    def offer(self, batch: Batch, now: float) -> int:
        """Offer a batch of new events, all of them for this connection; a connection that is behind reads them later.

        Returns the descriptor of its socket where the caller must write the batch there; else `WRITTEN`, `BEHIND`, or
        `OVER_RATE` where it has just fallen behind because of its rate. `now` is in seconds of a monotonic clock.
        """
        if self.offset is not None:
            return BEHIND
        sent = self.sent + batch.count
        if sent > self._quota and batch.count > self.allowance(now):
            self.offset = batch.first - 1
            return OVER_RATE
        self.sent = sent
        fd = self.transport.fd
        if fd is not None:
            return fd
        self.write(batch)
        return WRITTEN

    def write(self, batch: Batch) -> None:
        """Write new events, or the rest of them. A full transport calls `on_writable` later."""
        batch.written += 1
        if not self.transport.write(batch):
            self.offset = batch.last
            self.batch_bytes = MIN_BATCH_BYTES

    def fall_behind(self, offset: int) -> None:
        """Continue after `offset` once the transport is writable again."""
        self.offset = offset

    def start_replay(self, replay: Replay, offset: int) -> None:
        """Owe a part of the log, and then the entries after `offset`."""
        self.replay = replay
        self.offset = offset

    def advance(self, offset: int, written: int) -> None:
        """Record that `written` events were written, up to `offset`."""
        self.sent += written
        replay = self.replay
        if replay is None:
            self.offset = offset
        elif offset < replay.until:
            replay.offset = offset
            replay.owed -= written
        else:
            self.replay = None

    def begin_round(self, horizon: Horizon) -> None:
        """A round of catch-up goes up to `horizon`."""
        self.horizon = horizon

    def end_round(self) -> None:
        """The round of catch-up, if there is one, has ended or is given up."""
        if self.horizon is not None:
            self.horizon.end_round()
            self.horizon = None

    def abandon_replay(self) -> None:
        """Drop the rest of the replay. The rooms go back to what was delivered, so that a client that asks for the
        dropped part again gets what is still in the log."""
        replay, self.replay = self.replay, None
        if replay is not None and not replay.state:  # which brings no other events of before the rooms were joined
            for room in replay.rooms:
                self.rooms[room] = min(replay.seen.get(room, replay.until), replay.until)

    def reach_head(self) -> None:
        """Become live: nothing more is owed but the mark that says so."""
        self.offset = None
        self.owe_mark()

    def owe_mark(self) -> None:
        """Owe a mark, also to a connection to which events come all the time."""
        self.quiet_since = MARK_OWED

    def jump_to_head(self, head: int) -> None:
        """Become live at `head`, and drop everything owed before it."""
        if self.offset is not None:
            self.reach_head()
        self.replay = None
        self.end_round()
        for room in self.rooms:
            self.rooms[room] = head

    def note_close(self, code: int | None, reason: str) -> None:
        """Record how the gateway is about to close it; the first time counts."""
        if self.closed_with is None:
            failed = code == CloseCode.INTERNAL_ERROR  # while something was written, perhaps
            self.closed_with = Closure(code, reason, None if failed else self.transport.unacknowledged)

    def count_reply(self) -> None:
        """Count one frame that is not an event: it counts as sent, but not against the rate."""
        self.sent += 1
        self.sent_at_tick += 1
        self._quota += 1

    def set_rate(self, rate: int) -> None:
        if rate == self.rate:  # else a client could refill its bucket by sending its token again
            return
        self.rate = rate
        self._quota = self.sent if rate else _UNLIMITED

    def allowance(self, now: float) -> int:
        """The number of events that may be written now."""
        if not self.rate:
            return _UNLIMITED
        # A token bucket of `rate` events. A tenth becomes the quota; events written beyond it are a debt.
        left = min(self.rate, self._bucket + (now - self._bucket_at) * self.rate + self._quota - self.sent)
        quota = min(max(int(left), 0), self.rate // 10 + 1)
        self._quota, self._bucket, self._bucket_at = self.sent + quota, left - quota, now
        return max(int(left), 0)

    def wants(self, entry: Entry) -> bool:
        return follows(self.rooms, entry)


def follows(rooms: dict[str, int], entry: Entry, offset: int = 0) -> bool:
    """Whether `rooms` has one of the entry's rooms, joined before the entry, or before `offset`."""
    offset = offset or entry.offset
    for room in entry.rooms:  # noqa: SIM110 - a generator costs twice as much, for every entry that is replayed
        if rooms.get(room, offset) < offset:
            return True
    return False
