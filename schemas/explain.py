"""The explanation of a delivery, as `GET /admin/explain` answers it."""

from typing import Literal

from pydantic import BaseModel

from schemas.cluster import NodesAsked

Verdict = Literal["delivered", "not_delivered", "pending", "unknown"]

Reason = Literal[
    "delivered",
    "superseded",
    "behind",
    "not_granted",
    "not_subscribed",
    "joined_later",
    "left_before",
    "gap",
    "closed",
    "never_connected",
    "other_tenant",
    "never_published",
    "event_forgotten",
    "unknown",
]


class ExplainedRule(BaseModel):
    """A condition of a delivery, and whether it holds: `granted`, `subscribed`, `kept`, `open`, `reached`, `current`,
    `acknowledged`. The first that does not hold is the reason."""

    rule: str
    holds: bool
    detail: str


class ExplainedEvent(BaseModel):
    """The event that is asked about. `type`, `rooms` and `timestamp` are null where it is not `kept`."""

    event_id: str
    type: str | None
    rooms: tuple[str, ...] | None
    timestamp: str | None
    kept: bool


class ExplainedConnection(BaseModel):
    """One connection, open or ended up to 10 minutes ago; `ended_at` is null while it is open."""

    connection_id: str
    node: str
    user_id: str
    client_id: str | None
    transport: Literal["websocket", "sse"]
    connected_at: str
    ended_at: str | None
    verdict: Verdict
    reason: Reason
    message: str
    rules: tuple[ExplainedRule, ...]


class Explanation(NodesAsked):
    """The answer. `event` or `room` is what was asked about. `nodes` have answered; `known_since` is the time from
    which on all ended connections are known."""

    user_id: str | None = None
    connection_id: str | None = None
    event: ExplainedEvent | None = None
    room: str | None = None
    verdict: Verdict
    reason: Reason
    message: str
    connections: tuple[ExplainedConnection, ...]
    known_since: str
    nodes: tuple[str, ...]


class NodeExplanation(BaseModel):
    """The answer of one node; `complete` unless there are more connections than it lists. `known_since` is seconds
    since the epoch."""

    connections: tuple[ExplainedConnection, ...]
    complete: bool
    known_since: float
