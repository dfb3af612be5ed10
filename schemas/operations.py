"""Bodies of the HTTP API for operators: audit trail, configuration, inspection of tokens."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.admin import ConnectionInfo, RoomInfo
from schemas.cluster import NodesAsked


class AuditedAct(BaseModel):
    """An act of an administrator, which `node` did: its `number` since that node's start. `by_jti` and `address` are
    null where the administrator is of another tenant than the caller, who is not of the scope `platform`. `target` is
    what it was about."""

    node: str
    number: int
    at: str
    event: str
    by_user_id: str
    by_tenant: str
    by_jti: str | None
    address: str | None
    tenant: str
    target: dict[str, str | int]


class AuditPage(NodesAsked):
    """The acts on `nodes`, in the order of their times, newest first; `next` is `before` of the next page, null on the
    last one."""

    nodes: tuple[str, ...]
    acts: list[AuditedAct]
    next: str | None


SettingValue = str | int | float | bool | None | list[str]


class SettingInfo(BaseModel):
    """A setting as it is in force. A secret has no value: `set` says whether there is one. Passwords are removed from
    addresses. `elsewhere` has the values of the nodes where it is another one; null is another secret."""

    name: str
    description: str
    secret: bool
    set: bool
    value: SettingValue
    default: SettingValue
    changed: bool
    elsewhere: dict[str, SettingValue]


class SettingWarning(BaseModel):
    """A warning of `gateway check`, and the nodes to which it applies."""

    message: str
    nodes: list[str]


class ConfigurationResponse(NodesAsked):
    """The settings of this node, what differs at the other nodes, and the warnings about all of them. `versions` are
    those of the nodes that answered."""

    node: str
    version: str
    versions: dict[str, str]
    settings: list[SettingInfo]
    warnings: list[SettingWarning]


class TokenInspectionRequest(BaseModel):
    """The body of `POST /admin/tokens/inspect`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    token: Annotated[str, Field(min_length=1, max_length=65_536)]


class TokenRightsInfo(BaseModel):
    """The rights of an accepted token, in words; times are RFC 3339."""

    user_id: str
    tenant: str
    scope: str
    rooms: tuple[str, ...]
    follows: str
    publishes: str
    revocable_by: str
    issued_at: str
    expires_at: str


class TokenInspectionResponse(BaseModel):
    """The content of a token, and whether it is accepted now: `reason` and `explanation` are of the refusal. `header`
    and `claims` have each member as JSON text, and are null where they cannot be decoded; they are not verified unless
    the token is accepted."""

    accepted: bool
    reason: str | None
    explanation: str | None
    header: dict[str, str] | None
    claims: dict[str, str] | None
    rights: TokenRightsInfo | None


class TenantWork(BaseModel):
    """The work of a tenant at a node: the events that it has appended to the log, those that it has written to clients,
    and as of now the open connections and the seconds for which the first waiting work waits for its turn."""

    events: int
    deliveries: int
    connections: int | None = None
    waiting: float | None = None


class NodeStatus(BaseModel):
    """A node as it is now; `problem` is why it is not ready. Counters are since its start. The numbers are of all
    tenants, and absent for callers without the scope `platform`; `log_lag` is seconds, absent while it is not known.
    `loop_lag` counts samples by upper end in seconds, the last without one. `tenants` are those with most events and
    deliveries at this node since the hour began, at most 50, and the rest together as `other`."""

    node: str
    version: str
    ready: bool
    draining: bool
    log_ready: bool
    started_at: str
    problem: str | None = None
    connections: dict[str, int] | None = None
    behind: int | None = None
    connects: dict[str, int] | None = None
    events: int | None = None
    deliveries: int | None = None
    delivered_bytes: int | None = None
    log_lag: float | None = None
    log_events: int | None = None
    log_bytes: int | None = None
    memory_bytes: int | None = None
    cpu_seconds: float | None = None
    loop_lag: dict[str, int] | None = None
    refusals: dict[str, int] | None = None
    closes: dict[str, int] | None = None
    gaps: dict[str, int] | None = None
    tenants: dict[str, TenantWork] | None = None


class NodesResponse(NodesAsked):
    """The nodes, the one that answers first."""

    nodes: list[NodeStatus]


class DrainRequest(BaseModel):
    """The body of `POST /admin/drain`: the name of a node, as `GET /admin/nodes` has it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    node: Annotated[str, Field(min_length=1, max_length=64)]


class DrainResponse(BaseModel):
    """A drain that has begun: the connections of the node, and the seconds until all are closed."""

    node: str
    connections: int
    seconds: float


class EventSummary(BaseModel):
    """An event of the log. Of its data only the number of members is shown, unless the payload was asked for; `bytes`
    is the size of the whole event."""

    event_id: str
    type: str
    rooms: tuple[str, ...]
    timestamp: str
    bytes: int
    members: int
    user_id: str | None
    source_agent_id: int | str | None
    key: str | None
    op: str | None
    data: dict[str, Any] | None = None


class FoundUser(BaseModel):
    """A user. `revoked_before` is the time up to which tokens are revoked, null where none are; `removed_from` are
    rooms that the tokens issued before a removal no longer grant."""

    user_id: str
    connections: int
    revoked_before: str | None
    removed_from: list[str]


class FoundToken(BaseModel):
    """A token's id. `revoked` is by its id alone; `connections` are those on all nodes."""

    jti: str
    revoked: bool
    connections: int


class EndedConnection(BaseModel):
    """A connection that ended up to 10 minutes ago. `code` is the close code of the gateway, null where the client went
    by itself, and `reason` is then empty."""

    connection_id: str
    user_id: str
    client_id: str | None
    node: str
    transport: Literal["websocket", "sse"]
    connected_at: str
    ended_at: str
    code: int | None
    reason: str


class FindResponse(NodesAsked):
    """The findings under a name. `connections` are those of the user, of the room, or with the token, 100 at most;
    `more` says that there are others. `ended` are those of the user, with the token, or of this id, that have ended
    lately, 20 at most, newest first. `similar` are users and rooms that contain the name. `acts` are those of the
    audit trail. `forgotten` is the reason why an event of the tenant's log is not there: `trimmed`, `reset` or
    `never_published`. `silent` nodes did not answer about the token and the acts."""

    query: str
    tenant: str
    user: FoundUser | None = None
    room: RoomInfo | None = None
    event: EventSummary | None = None
    forgotten: Literal["trimmed", "reset", "never_published"] | None = None
    token: FoundToken | None = None
    connections: list[ConnectionInfo]
    more: bool
    ended: list[EndedConnection]
    similar: list[str]
    acts: list[AuditedAct]


class TailPage(BaseModel):
    """The newest events after a cursor, in log order; go on with `after=cursor`. `passed_over` is the number of events
    that were left out, at most 10,000: a tail shows a sample where more come than it takes. `gap` is true where the
    cursor was of no use, and the page is the newest events."""

    cursor: str
    as_of: str | None
    events: list[EventSummary]
    passed_over: int
    gap: bool
