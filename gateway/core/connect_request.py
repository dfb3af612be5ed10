"""The connect request: credentials, label, rooms and the cursor to resume from."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Final

from auth.errors import AuthError
from auth.identity import Identity
from gateway.core.credentials import NO_SECRETS, Secrets, require_single_token
from gateway.core.errors import GatewayError
from gateway.core.headers import Headers, Query, list_values
from schemas.codes import ErrorCode

SUBPROTOCOL: Final = "gateway.v1"
WEBSOCKET_PATH: Final = "/ws/dashboard"
"""The default path of the WebSocket."""

MAX_CLIENT_ID: Final = 64
NAMED_ROOMS: Final = "*"
"""The value of `rooms` for all rooms that the token grants by name."""


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """One attempt to connect. `tokens` are all tokens sent, in order of precedence. The `repr` omits them, and
    `headers` and `query`, from which an application may authenticate it.

    After `Host.resolve` it has an `identity`, or the token of its ticket; `admitted` says that its address was checked,
    and `failure` is the error of a malformed parameter, or of the authentication. `history` is the number of earlier
    events that an event stream without a cursor begins with, at most.
    """

    tokens: Secrets
    client_id: str | None
    rooms: tuple[str, ...]
    since: str | None
    subprotocol: str | None
    address: str
    tickets: Secrets = NO_SECRETS
    headers: Headers = field(default_factory=dict, repr=False)
    query: Query = field(default_factory=list, repr=False)
    history: int = 0
    state: bool = False
    identity: Identity | None = None
    admitted: bool = False
    failure: AuthError | GatewayError | None = None

    def token(self) -> str:
        """The single token. Raises `TokenMissing`, and `TokenInvalid` for two that differ."""
        return require_single_token(self.tokens)

    def label(self) -> str | None:
        """The client's own label. Raises `GatewayError` for one that is too long or not printable."""
        label = self.client_id
        if label is not None and not (len(label) <= MAX_CLIENT_ID and label.isprintable()):
            raise GatewayError(ErrorCode.BAD_MESSAGE, f"client_id has at most {MAX_CLIENT_ID} printable characters")
        return label or None

    def rooms_for(self, identity: Identity, refused: Collection[str] = ()) -> tuple[str, ...]:
        """The requested rooms, each once. `*` stands for the rooms granted by name, without revoked and `refused`
        ones."""
        if NAMED_ROOMS not in self.rooms:
            return self.rooms
        named = [room for room in identity.grants.patterns if not room.endswith("*") and identity.allows(room)]
        named = [room for room in named if room not in refused]
        at = self.rooms.index(NAMED_ROOMS)
        return tuple(dict.fromkeys((*self.rooms[:at], *named, *self.rooms[at + 1 :])))


_RESUME_PARAMETERS: Final = ("last_event_id", "lastEventId", "since")
_MAX_HISTORY: Final = 100
_YES: Final = ("1", "true")
_NO: Final = ("", "0", "false")


def read_stream_request(
    query: Query, headers: Headers, tokens: Secrets, address: str, tickets: Secrets = NO_SECRETS
) -> ConnectRequest:
    """The connect request for an event stream: as for a WebSocket, except for the cursor to resume from. A browser that
    reconnects sends its `Last-Event-ID` and the URL of its first attempt, so the header takes precedence; an empty
    cursor counts as none. Nothing is raised."""
    request = read_connect_request(query, headers, tokens, address, tickets)
    first = dict(reversed(query))
    places = [value.decode("latin-1") for value in headers.get(b"last-event-id", ())[:1]]
    places += [first.get(name, "") for name in _RESUME_PARAMETERS]
    since = next((place for place in places if place), None)
    try:
        return replace(request, since=since, history=_read_history(first.get("history", "0")))
    except GatewayError as error:
        return replace(request, since=since, failure=error)


def _read_history(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= _MAX_HISTORY:
        return int(text)
    raise GatewayError(ErrorCode.BAD_MESSAGE, f"history: a number of events from 0 to {_MAX_HISTORY}")


def read_connect_request(
    query: Query, headers: Headers, tokens: Secrets, address: str, tickets: Secrets = NO_SECRETS
) -> ConnectRequest:
    """The connect request in an HTTP request. Nothing is raised: what is malformed is its `failure`."""
    first = dict(reversed(query))
    state = first.get("state", "")
    rooms = [room for name, value in query if name == "rooms" for room in value.split(",") if room]
    return ConnectRequest(
        tokens=tokens,
        client_id=first.get("client_id"),
        rooms=tuple(dict.fromkeys(rooms)),
        since=first.get("since"),
        state=state in _YES,
        failure=None if state in _YES or state in _NO else GatewayError(ErrorCode.BAD_MESSAGE, "state: 1 or 0"),
        subprotocol=SUBPROTOCOL if SUBPROTOCOL in list_values(headers, b"sec-websocket-protocol") else None,
        address=address,
        tickets=tickets,
        headers=headers,
        query=query,
    )
