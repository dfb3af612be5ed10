"""Messages of the gateway over the WebSocket: one model for the `data` of each frame."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from schemas.codes import ErrorCode


class Message(BaseModel):
    """The `data` of a server frame; `name` is the frame's `type`."""

    model_config = ConfigDict(frozen=True)

    name: ClassVar[str]
    omit_absent: ClassVar[bool] = False

    @property
    def resume_cursor(self) -> str | None:
        """The cursor that a client resumes from after this frame; None where the frame does not change it. In a
        WebSocket frame it is in `data`, in an event stream it is the `id:`."""
        return None

    @property
    def retry(self) -> int | None:
        """Milliseconds after which the client of an event stream reconnects; None to leave them unchanged."""
        return None

    def encode(self, timestamp: str, id: str | int | None = None) -> bytes:
        """The whole frame as JSON. `id` is that of the answered command, echoed next to `type`."""
        frame: dict[str, Any] = {"type": self.name}
        if id is not None:
            frame["id"] = id
        frame["data"] = self
        frame["timestamp"] = timestamp
        return to_json(frame, exclude_none=self.omit_absent)


class EstablishedLimits(BaseModel):
    """The limits of this connection: rooms in all, bytes a message, commands and events a second (0: no limit)."""

    model_config = ConfigDict(frozen=True)

    rooms: int
    message_bytes: int
    commands_per_second: float
    command_burst: int
    events_per_second: int


class Established(Message):
    """The first frame. `ping_interval` is the seconds between the gateway's WebSocket pings (keepalive); None if it
    sends none."""

    name = "connection.established"

    connection_id: str
    client_id: str | None
    user_id: str
    tenant: str
    rooms: tuple[str, ...]
    subscribed: tuple[str, ...]
    expires_at: str
    cursor: str
    limits: EstablishedLimits
    ping_interval: float | None


class EstablishedWithContract(Established):
    """The first frame where there is an event contract: `contract` is its hash."""

    contract: str


class ContractChanged(Message):
    """A node with another event contract has started: `contract` is its hash, as in the first frame."""

    name = "contract.changed"

    contract: str


class Subscribed(Message):
    """The reply to `subscribe`: `recovered` is null where no `since` was given, false where events after it were lost;
    `replayed` counts the events that follow."""

    name = "subscribed"

    rooms: tuple[str, ...]
    cursor: str
    recovered: bool | None
    replayed: int


class SubscribedWithState(Subscribed):
    """The reply where `state` was asked for: `items` are not counted in `replayed`. Not `complete` where the bounds of
    state have cost items of these rooms that would have come."""

    items: int
    complete: bool


class Unsubscribed(Message):
    """The reply to `unsubscribe`."""

    name = "unsubscribed"

    rooms: tuple[str, ...]


class Authenticated(Message):
    """The reply to `auth`: `rooms` are the granted patterns; `dropped` are no longer granted, and unsubscribed."""

    name = "authenticated"

    expires_at: str
    rooms: tuple[str, ...]
    dropped: tuple[str, ...]


class Published(Message):
    """The reply to `publish`: the event is in the log."""

    name = "published"

    event_id: str
    duplicate: bool


class SubscriptionRevoked(Message):
    """The user was removed from these rooms, and the connection is unsubscribed."""

    name = "subscription.revoked"

    rooms: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class UserPresence:
    """A user and the number of its connections in the room."""

    user_id: str
    connections: int


class Presence(Message):
    """The users of a room, in order. `partial` is only there, and true, while other nodes may have connections that
    this one cannot learn of."""

    name = "presence"
    omit_absent = True

    room: str
    users: tuple[UserPresence, ...]
    connections: int
    partial: Literal[True] | None = None


class PresenceJoined(Message):
    """A user's first connection has joined the room."""

    name = "presence.joined"

    room: str
    user_id: str


class PresenceLeft(Message):
    """A user's last connection left the room some seconds ago."""

    name = "presence.left"

    room: str
    user_id: str


class TokenExpiring(Message):
    """The token expires soon: send `auth` with a fresh one."""

    name = "token.expiring"

    expires_at: str


class StreamGap(Message):
    """Events of the connection's rooms were lost: reload the state, and go on from `cursor`."""

    name = "stream.gap"

    reason: Literal["history_trimmed", "log_reset"]
    cursor: str

    @property
    def resume_cursor(self) -> str:
        return self.cursor


class Mark(Message):
    """A mark: everything of the connection's rooms up to `cursor` was written to it; `as_of` (RFC 3339) is when that
    was known to be the head of the log."""

    name = "stream.mark"

    cursor: str
    as_of: str


class StreamDegraded(Message):
    """The log does not answer; the connection stays open."""

    name = "stream.degraded"

    since: str


class StreamRestored(Message):
    """The log answers again, after an outage that began at `since`."""

    name = "stream.restored"

    since: str


class Draining(Message):
    """The node is draining: reconnect to any node after `reconnect_after_ms` milliseconds. `cursor` as in a mark, where
    nothing is owed."""

    name = "server.draining"
    omit_absent = True

    reconnect_after_ms: int
    cursor: str | None = None

    @property
    def retry(self) -> int:
        return self.reconnect_after_ms


class Pong(Message):
    """The reply to `ping`. `as_of` as in a mark, absent while the head of the log is not known; then, and where
    anything is owed, `cursor` is absent too."""

    name = "pong"
    omit_absent = True

    as_of: str | None = None
    cursor: str | None = None


class Error(Message):
    """The refusal of a command, a room or the connection; which further members there are depends on `code`."""

    name = "error"
    omit_absent = True

    code: ErrorCode
    message: str
    rooms: tuple[str, ...] | None = None
    retry_after: float | None = None
    limit: int | float | None = None
    event_type: str | None = None
    version: int | None = None
    pointer: str | None = None
    expected: str | None = None
    got: str | None = None
