"""Commands of clients over the WebSocket, and the parser of their frames."""

from functools import lru_cache
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, TypeAdapter, ValidationError, create_model
from pydantic_core import core_schema, from_json

from schemas.codes import ErrorCode
from schemas.events import PublishedEvent, published_event
from schemas.faults import describe
from schemas.rooms import RoomKinds

MAX_HISTORY: Final = 100
_MAX_ID_LENGTH: Final = 64

_ID_RANGE: Final = range(1 - 10 ** (_MAX_ID_LENGTH - 1), 10**_MAX_ID_LENGTH)
"""The integers that fit the same number of characters, the sign included."""

CommandId = Annotated[
    Annotated[str, Field(max_length=_MAX_ID_LENGTH)] | Annotated[int, Field(ge=_ID_RANGE.start, lt=_ID_RANGE.stop)],
    # One message in place of one for each type of the union.
    GetPydanticSchema(
        lambda source, schema_of: core_schema.custom_error_schema(
            schema_of(source),
            custom_error_type="command_id",
            custom_error_message=f"a string or an integer, at most {_MAX_ID_LENGTH} characters",
        )
    ),
]
# Room names are checked later, so that the reply can be `room_invalid` with the rooms.
RoomNames = Annotated[list[Annotated[str, Field(max_length=256)]], Field(min_length=1, max_length=1000)]


class _Command(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    id: CommandId | None = None


class Ping(_Command):
    """The keepalive command. Other fields are ignored: generic WebSocket clients add a time or a counter."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["ping"]


class Subscribe(_Command):
    """The command to join rooms. `state: true` asks for the newest value of each item of these rooms, with `since` of
    the changed ones. `presence: true` also subscribes to `presence.joined` and `presence.left` of these rooms, until
    they are left or subscribed to again with `false`; without the field that stays unchanged."""

    type: Literal["subscribe"]
    rooms: RoomNames
    since: str | None = None
    history: Annotated[int, Field(ge=0, le=MAX_HISTORY)] = 0
    state: bool = False
    presence: bool | None = None


class Unsubscribe(_Command):
    """The command to leave rooms."""

    type: Literal["unsubscribe"]
    rooms: RoomNames


class Auth(_Command):
    """The command to go on with a fresh token of the same user and tenant."""

    type: Literal["auth"]
    token: str


class Publish(_Command):
    """The command to publish an event, with the token's scope `publish` or `admin`."""

    type: Literal["publish"]
    event: PublishedEvent


class PresenceCommand(_Command):
    """The command for the users of a room that the client may subscribe to; it need not be subscribed."""

    type: Literal["presence"]
    room: Annotated[str, Field(max_length=256)]


AnyCommand = Ping | Subscribe | Unsubscribe | Auth | Publish | PresenceCommand

COMMAND_TYPES: Final[tuple[str, ...]] = tuple(
    get_args(command.model_fields["type"].annotation)[0] for command in get_args(AnyCommand)
)


class CommandError(Exception):
    """A frame that is not a valid command. `id` is the command's, if readable, to be echoed in the reply."""

    holder: tuple[str, str] | None = None

    def __init__(self, code: ErrorCode, message: str, id: str | int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.id = id


def command_models(kinds: RoomKinds) -> tuple[type[AnyCommand], ...]:
    """The models of all commands; that of `publish` has the fields of these kinds of room."""
    publish = create_model("Publish", __base__=Publish, __doc__=Publish.__doc__, event=(published_event(kinds), ...))
    return (Ping, Subscribe, Unsubscribe, Auth, PresenceCommand, publish)


@lru_cache(maxsize=8)
def _command_adapter(kinds: RoomKinds) -> TypeAdapter[AnyCommand]:
    publish: Any = command_models(kinds)[-1]
    return TypeAdapter(
        Annotated[Ping | Subscribe | Unsubscribe | Auth | publish | PresenceCommand, Field(discriminator="type")],
        config=ConfigDict(hide_input_in_errors=True),  # the input may be a token
    )


class CommandParser:
    """The parser of commands for these kinds of room."""

    def __init__(self, kinds: RoomKinds) -> None:
        self._adapter = _command_adapter(kinds)

    def parse(self, text: str) -> AnyCommand:
        """The command in one text frame. Raises `CommandError` for anything else, without quoting it."""
        try:
            value = from_json(text, allow_inf_nan=False)
        except ValueError:
            raise CommandError(ErrorCode.BAD_MESSAGE, "a command is one JSON object (RFC 8259)") from None
        if not isinstance(value, dict):
            raise CommandError(ErrorCode.BAD_MESSAGE, "a command is one JSON object")
        id = _readable_id(value.get("id"))
        kind = value.get("type")
        if not isinstance(kind, str):
            raise CommandError(ErrorCode.BAD_MESSAGE, f"type: one of {', '.join(COMMAND_TYPES)}", id)
        if kind not in COMMAND_TYPES:
            raise CommandError(ErrorCode.UNKNOWN_TYPE, f"the commands are {', '.join(COMMAND_TYPES)}", id)
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False, include_context=False)
            raise CommandError(ErrorCode.BAD_MESSAGE, describe(faults, outer=1), id) from None


def _readable_id(value: Any) -> str | int | None:
    if isinstance(value, str) and len(value) <= _MAX_ID_LENGTH:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value in _ID_RANGE:
        return value
    return None
