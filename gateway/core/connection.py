"""The server's side of one client: who it is, which rooms it follows, and its place in the log."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from auth.identity import Identity
from gateway.core.connect_request import ConnectRequest
from gateway.core.frame import Batch
from gateway.core.window import Entry
from schemas.commands import AnyCommand


class Transport(Protocol):
    """Writes frames to one client. An implementation guarantees, and `gateway.testing` checks:

    - `write` never blocks and never raises, takes the whole batch, and keeps the order of the calls.
    - It answers False from the batch on that fills it, and then tells the gateway once when it has drained, never from
      within `write`; so it holds at most what fills it and one batch more. Nobody waits for one that is stuck.
    - After `close` the client receives what was written before, then the close code; after `abort` nothing is sure.
      Both may be called twice, and a `write` after them does nothing.
    - Whoever ends it, the gateway is told `disconnect`, at least once; a client that reads nothing while data waits is
      given up, one that reads slowly or for which nothing waits is not.
    """

    @property
    def fd(self) -> int | None:
        """The socket's descriptor while it may be written to directly (bypassing `write`). After a short write, pass
        `batch.rest(sent)` to `write` before anything else. None while data is buffered, after the end, and where frames
        leave in another form: compressed, encrypted, by a server."""

    @property
    def pings(self) -> bool:
        """Whether it sends a WebSocket ping each `ping_interval`, and gives up a client that answers none of them."""

    def write(self, batch: Batch) -> bool: ...

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...


_UNLIMITED: Final = 1 << 62

WRITTEN: Final = -1
BEHIND: Final = -2
OVER_RATE: Final = -3


class Host(Protocol):
    """What a transport calls: the gateway, seen from below. All of them plain, quick functions."""

    def connect(self, handshake: ConnectRequest, transport: Transport) -> "Connection | None":
        """A client's handshake was answered; None where it is refused, and the transport closed with the reason."""

    def redeem(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> None:
        """A handshake has tickets: call `then` once, now or later, with the one to connect with in its place."""

    def receive(self, connection: "Connection", text: str) -> None:
        """A text frame came."""

    def receive_binary(self, connection: "Connection") -> None:
        """A binary frame came, which the protocol does not have."""

    def drained(self, connection: "Connection") -> None:
        """The transport answered False, and has room again."""

    def disconnect(self, connection: "Connection") -> None:
        """The client has gone, or the transport has given it up."""


@dataclass(slots=True, eq=False)
class Replay:
    """A part of the log that is owed to a connection before it goes on at its own place: what came in `rooms` after
    `place` and up to `until`, except for what the rooms in `seen` brought already."""

    rooms: dict[str, int]
    place: int
    until: int
    seen: dict[str, int]

    def wants(self, entry: Entry) -> bool:
        return follows(self.rooms, entry) and not follows(self.seen, entry)


class Connection:
    """One client. LIVE (`place` is None: at the log's head, gets frames as they come) or BEHIND (holds its `place`,
    the offset up to which everything has been dealt with, and nothing else; is caught up from the log).

    At most `rate` events a second are written to it (0: no limit), and as many at once after a quiet second.

    `rooms` maps each room to the offset after which its events are for this connection. `deferred` are commands that
    wait for the end of a replay, or for the beginning: it has `begun` once its first frame was written.
    """

    __slots__ = (
        "__weakref__",
        "_bucket",
        "_bucket_at",
        "_quota",
        "address",
        "awaits_turn",
        "begun",
        "client_id",
        "commands_due",
        "connected_at",
        "deferred",
        "id",
        "identity",
        "malformed",
        "place",
        "rate",
        "received",
        "refusals_due",
        "replay",
        "rooms",
        "sent",
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
        self.place: int | None = None
        self.replay: Replay | None = None
        self.deferred: tuple[AnyCommand, ...] = ()
        self.awaits_turn = False
        self.begun = False
        self.sent = 0
        # `sent` may grow up to the quota before the clock is asked: the rate costs a comparison, not a system call.
        self._bucket = 0.0
        self._bucket_at = 0.0
        self._quota = _UNLIMITED
        self.rate = 0
        self.set_rate(rate)
        self.received = 0
        self.malformed = 0
        self.commands_due = 0.0
        self.refusals_due = 0.0

    @property
    def live(self) -> bool:
        return self.place is None

    def offer(self, batch: Batch, now: float) -> int:
        """Take a batch of new events, all of them for this connection, unless it is behind and will read them later.

        Returns the descriptor of its socket where the batch is still to be written, by the caller and there; else
        `WRITTEN`, `BEHIND`, or `OVER_RATE` where it has just fallen behind because of its rate. `now` is in seconds of
        a clock that never goes back.
        """
        if self.place is not None:
            return BEHIND
        sent = self.sent + batch.count
        if sent > self._quota and batch.count > self.allowance(now):
            self.place = batch.first - 1
            return OVER_RATE
        self.sent = sent
        fd = self.transport.fd
        if fd is not None:
            return fd
        self.write(batch)
        return WRITTEN

    def write(self, batch: Batch) -> None:
        """Write new events, or what is left of them. A transport that is full will say when it has drained."""
        if not self.transport.write(batch):
            self.place = batch.last

    def count_reply(self) -> None:
        """One frame more was written that is no event: it counts as sent, but not against the rate."""
        self.sent += 1
        self._quota += 1

    def set_rate(self, rate: int) -> None:
        if rate == self.rate:  # or a client could ask for more by showing its token again and again
            return
        self.rate = rate
        self._quota = self.sent if rate else _UNLIMITED

    def allowance(self, now: float) -> int:
        """How many events may be written now."""
        if not self.rate:
            return _UNLIMITED
        # A bucket of `rate` events. A tenth of what is in it becomes the quota; what was written beyond that is owed.
        left = min(self.rate, self._bucket + (now - self._bucket_at) * self.rate + self._quota - self.sent)
        quota = min(max(int(left), 0), self.rate // 10 + 1)
        self._quota, self._bucket, self._bucket_at = self.sent + quota, left - quota, now
        return max(int(left), 0)

    def wants(self, entry: Entry) -> bool:
        return follows(self.rooms, entry)


def follows(rooms: dict[str, int], entry: Entry) -> bool:
    """Whether one of the entry's rooms is in `rooms`, from before the entry on."""
    for room in entry.rooms:  # noqa: SIM110 - a generator costs twice as much, for every entry that is replayed
        if rooms.get(room, entry.offset) < entry.offset:
            return True
    return False
