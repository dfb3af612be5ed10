"""Bodies of the HTTP API besides events: tokens, revocation, and the administrators' views."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.cluster import MayBePartial, NodesAsked
from schemas.rooms import MAX_PATTERNS, TOKEN_ID_PATTERN

MAX_EVENTS: Final = 1_000
"""Events of one batch, at most."""


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


Subject = Annotated[str, Field(min_length=1, max_length=128)]
TenantId = Annotated[str, Field(min_length=1, max_length=64)]


class TokenRequest(_Body):
    """The body of `POST /admin/tokens`. `scope` is by default `subscribe`; `expires_in` is seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "ada", "tenant": "acme", "rooms": ["circle:7"], "scope": "subscribe", "expires_in": 600}
            ]
        }
    )

    user_id: Subject
    tenant: TenantId | None = None
    rooms: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=MAX_PATTERNS)]
    scope: Annotated[str, Field(max_length=64)] = "subscribe"
    expires_in: Annotated[int, Field(ge=1)] | None = None


class TokenResponse(BaseModel):
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    jti: str
    tenant: str
    rooms: tuple[str, ...]
    scope: str


class TicketResponse(BaseModel):
    """The response of `POST /tickets`: a ticket for one connection within `expires_in` seconds."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ticket": "tic_NhVnCWJ0a1mVl3XcrZcgEQ", "expires_in": 30}]}
    )

    ticket: str
    expires_in: int


class RevocationRequest(_Body):
    """The body of `POST /admin/tokens/revoke`: exactly one of a token's id, a user, a tenant."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "ada"}]})

    jti: Annotated[str, Field(pattern=f"^{TOKEN_ID_PATTERN}$")] | None = None
    user_id: Subject | None = None
    tenant: TenantId | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        # A platform administrator names the tenant next to the token or the user.
        if (self.jti is not None) + (self.user_id is not None) + (self.tenant is not None) == 0:
            raise ValueError("name a jti, a user_id or a tenant")
        if self.jti is not None and self.user_id is not None:
            raise ValueError("name either a jti or a user_id")
        return self


class RevocationResponse(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"revoked": True, "disconnected": 1}]})

    revoked: bool
    disconnected: int


class IntrospectionRequest(_Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.…"}]})

    token: Annotated[str, Field(max_length=65_536)]


class IntrospectionResponse(BaseModel):
    """The response of an introspection (RFC 7662 section 2.2); only `active: false` for an invalid, revoked or foreign
    token."""

    active: bool
    scope: str | None = None
    sub: str | None = None
    aud: str | None = None
    iss: str | None = None
    exp: int | None = None
    iat: int | None = None
    jti: str | None = None
    token_type: str | None = None
    tenant: str | None = None
    rooms: tuple[str, ...] | None = None


class EventResponse(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"event_id": "evt_EVqQ0EqhE_oTkCVN2EtrTQ", "duplicate": False, "rooms": ["circle:7", "tenant"]}
            ]
        }
    )

    event_id: str
    duplicate: bool
    rooms: tuple[str, ...]


class EventBatch(_Body):
    """The body of `POST /events/batch`. Each event is validated separately: an invalid one does not affect the
    others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"events": [{"type": "task.completed", "data": {"title": "hello"}, "circle_id": 7}]}]
        }
    )

    events: Annotated[list[Any], Field(min_length=1, max_length=MAX_EVENTS)]


class ViolationDetails(BaseModel):
    """Further fields of a `contract_violation`: the type and version of the event, the place in its `data` (RFC 6901),
    and what is there, cut to 100 characters."""

    event_type: str | None = None
    version: int | None = None
    pointer: str | None = None
    expected: str | None = None
    got: str | None = None


class ItemError(ViolationDetails):
    code: str
    message: str


class EventFailure(BaseModel):
    error: ItemError


class BatchResponse(BaseModel):
    results: list[EventResponse | EventFailure]


class ClientInfo(BaseModel):
    """A client in the statistics, as in `get_stats()` of the broadcast manager; null is known on its own node only."""

    client_id: str
    connected_at: str
    messages_sent: int | None
    messages_received: int | None


class ConnectionInfo(BaseModel):
    """A connection and its node; null is known on that node only."""

    connection_id: str
    client_id: str | None
    user_id: str
    tenant: str
    connected_at: str
    expires_at: str
    rooms: tuple[str, ...]
    node: str
    state: Literal["live", "behind"] | None
    messages_sent: int | None
    messages_received: int | None


class ConnectionPage(MayBePartial):
    connections: list[ConnectionInfo]
    next: str | None


class RoomInfo(BaseModel):
    room: str
    connections: int
    users: int


class RoomPage(MayBePartial):
    rooms: list[RoomInfo]
    next: str | None


class Stats(MayBePartial):
    tenant: str
    active_connections: int
    active_users: int
    active_rooms: int
    total_connections: int
    total_messages_sent: int
    total_broadcasts: int
    log_events: int
    log_bytes: int
    clients: list[ClientInfo]
    next: str | None


class TenantInfo(MayBePartial):
    """A tenant's counts on all nodes; totals since each node started."""

    tenant: str
    connections: int
    users: int
    rooms: int
    total_connections: int
    total_messages_sent: int
    total_broadcasts: int
    log_events: int
    log_bytes: int


class TenantPage(NodesAsked):
    tenants: list[TenantInfo]
    next: str | None


class RoomStatePage(BaseModel):
    """`GET /rooms/{room}/state`. `items` are events, each with the whole value; `as_of` is null while the node cannot
    know where the log's head is."""

    cursor: str
    as_of: str | None
    complete: bool
    items: list[dict[str, Any]]
    next: str | None


class RoomEventsPage(BaseModel):
    """`GET /rooms/{room}/events`. `recovered` is null where no `since` was given; `more` is true where another page
    follows, also one that is not full: a page has its limit in bytes."""

    cursor: str
    recovered: bool | None
    more: bool
    events: list[dict[str, Any]]


class ContractVersions(BaseModel):
    """The versions of an event type, each with the JSON Schema of its `data`; an event that names none is of the
    newest."""

    newest: int
    versions: dict[str, dict[str, Any]]


class ContractType(ContractVersions):
    type: str


class ContractDocument(BaseModel):
    """The event contract: the hash of its schemas, the treatment of violations and of types that it does not have."""

    hash: str
    mode: Literal["off", "warn", "enforce"]
    unknown: Literal["allow", "refuse"]
    types: dict[str, ContractVersions]
