"""Events as published and as delivered."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from math import isinf
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema, from_json, to_json

from schemas.examples import PUBLISHED, with_kinds
from schemas.messages import Message
from schemas.rooms import ID_PATTERN, SUBJECT_PATTERN, RoomKinds, documented
from schemas.trace_context import TRACEPARENT_PATTERN, traceparent_of


class EventType(StrEnum):
    """The known event types; any other well-formed one may be published too."""

    AGENT_STARTED = "agent.started"
    AGENT_STOPPED = "agent.stopped"
    AGENT_TASK_ASSIGNED = "agent.task.assigned"
    AGENT_TASK_COMPLETED = "agent.task.completed"
    AGENT_TASK_FAILED = "agent.task.failed"
    AGENT_TOOL_EXECUTED = "agent.tool.executed"
    MEMORY_CREATED = "memory.created"
    MEMORY_SHARED = "memory.shared"
    MEMORY_RECALLED = "memory.recalled"
    CIRCLE_CREATED = "circle.created"
    CIRCLE_STARTED = "circle.started"
    CIRCLE_STOPPED = "circle.stopped"
    CIRCLE_MEMBER_ADDED = "circle.member.added"
    CIRCLE_MEMBER_REMOVED = "circle.member.removed"
    PROJECT_MEMBER_REMOVED = "project.member.removed"
    TASK_CREATED = "task.created"
    TASK_ASSIGNED = "task.assigned"
    TASK_STARTED = "task.started"
    TASK_COMPLETED = "task.completed"
    TASK_FAILED = "task.failed"
    TASK_CONFLICT_DETECTED = "task.conflict.detected"
    CONVERSATION_MESSAGE = "conversation.message"
    CONVERSATION_TURN_COMPLETE = "conversation.turn.complete"
    SYSTEM_ERROR = "system.error"
    SYSTEM_WARNING = "system.warning"


# `ping` is a command, and what `BroadcastManager.ping_all` sends.
RESERVED_TYPES: Final = frozenset({"ping", *(message.name for message in Message.__subclasses__())})
"""Types of the gateway's own frames, which no publisher may use: clients trust that they are from the gateway."""

MAX_TYPE_LENGTH: Final = 64
_known_types: Final = frozenset(EventType)
TYPE_PATTERN: Final = r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*"
_type = re.compile(TYPE_PATTERN).fullmatch


def event_type_error(name: str) -> str | None:
    """The problem with `name` as the type of an event, or None."""
    if name in _known_types:
        return None
    if len(name) > MAX_TYPE_LENGTH or _type(name) is None:
        return f"an event type is lower-case words joined by dots, at most {MAX_TYPE_LENGTH} characters"
    if name in RESERVED_TYPES:
        return f"the type {name} belongs to the gateway's own frames and cannot be published"
    return None


def _check_type(name: str) -> str:
    if problem := event_type_error(name):
        raise ValueError(problem)
    return name


KEY_PATTERN: Final = r"[A-Za-z0-9._:/@|-]{1,128}"
_key = re.compile(KEY_PATTERN).fullmatch
Op = Literal["set", "append", "delete"]
"""The change of an item: `set` makes `data` its whole value; `append` appends texts in `data` to its own and replaces
other members; `delete` ends it."""

OPS: Final[tuple[Op, ...]] = ("set", "append", "delete")


def op_of(text: str) -> Op:
    """The operation of this name. Raises `ValueError`."""
    for op in OPS:
        if op == text:
            return op
    raise ValueError("no operation of a keyed event")


def change_error(key: str | None, op: str | None) -> str | None:
    """The problem with `key` and `op` of an event, or None."""
    if key is None:
        return None if op is None else "op: name the item by `key` as well"
    if _key(key) is None:
        return "key: 1 to 128 letters, digits and . _ : / @ | -"
    return None if op is None or op in OPS else f"op: one of {', '.join(OPS)}"


class _Described:
    """Metadata of a union: one error message in place of one for each member."""

    def __init__(self, message: str) -> None:
        self._message = message

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        described: Any = {**handler(source), "custom_error_type": "union", "custom_error_message": self._message}
        schema: CoreSchema = described
        return schema


Id = Annotated[str, Field(json_schema_extra=documented(ID_PATTERN))]
Subject = Annotated[str, Field(json_schema_extra=documented(SUBJECT_PATTERN))]
RoomId = Annotated[int | Id, _Described("must be an integer or a string")]
AgentId = Annotated[
    int | Annotated[str, Field(min_length=1, max_length=128)],
    _Described("must be an integer or a string of 1 to 128 characters"),
]


class PublishedEvent(BaseModel):
    """The event of `POST /events` and the `publish` command; `published_event` adds the ids of rooms.

    Ids are checked by `RoomKinds.route` and not by the model, so that the error can be `room_invalid`.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Annotated[
        str,
        Field(max_length=MAX_TYPE_LENGTH, examples=["task.completed"], json_schema_extra=documented(TYPE_PATTERN)),
        AfterValidator(_check_type),
    ]
    data: dict[str, Any]
    source_agent_id: AgentId | None = None
    user_id: Subject | None = Field(None, description=f"a token's `sub`: {SUBJECT_PATTERN}")
    tenant: Id | None = Field(None, description="only for the scope `platform`; else the token's own")
    idempotency_key: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    key: str | None = Field(
        None,
        description="names, with the rooms, the item that the event changes; who catches up gets its newest value",
        json_schema_extra=documented(KEY_PATTERN),
    )
    op: Op | None = Field(None, description="what the event does to the item, `set` unless given")
    version: Annotated[int, Field(ge=1, lt=10**6)] | None = Field(
        None, description="the version of the type in the event contract, by default the newest"
    )

    traceparent: str | None = Field(
        None,
        description="W3C trace context, by default that of the request",
        json_schema_extra=documented(TRACEPARENT_PATTERN),
    )

    @model_validator(mode="after")
    def _check_change(self) -> Self:
        if problem := change_error(self.key, self.op):
            raise ValueError(problem)
        if self.traceparent is not None and traceparent_of(self.traceparent) is None:
            raise ValueError("traceparent: not a W3C trace context, 00-<32 hex digits>-<16>-<2>")
        return self


@lru_cache(maxsize=8)
def published_event(kinds: RoomKinds) -> type[PublishedEvent]:
    """The model with a field for the id of each kind of room; made once, since that takes 10 ms."""

    class OfKinds(PublishedEvent):
        model_config = ConfigDict(json_schema_extra={"examples": [with_kinds(PUBLISHED, kinds)]})

    about = f"as in a room name: {ID_PATTERN}"
    fields: dict[str, Any] = {name: (RoomId | None, Field(None, description=about)) for name in kinds.fields}
    return create_model("PublishedEvent", __base__=OfKinds, __doc__=PublishedEvent.__doc__, **fields)


def timestamp_of(value: object) -> str:
    """The timestamp as RFC 3339 in UTC, from a `datetime` with a time zone or RFC 3339 text. Raises `ValueError` for
    anything else."""
    if isinstance(value, str):
        # `fromisoformat` accepts more of ISO 8601 than RFC 3339: dates only, weeks, times without a zone.
        if _rfc3339_text(value) is None:
            raise ValueError(f"timestamp: pass RFC 3339 text such as 2026-01-15T10:30:00Z, not {value[:40]!r}")
        value = datetime.fromisoformat(value.upper())
    if not isinstance(value, datetime):
        raise ValueError(f"timestamp: pass a datetime or RFC 3339 text, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise ValueError("timestamp: pass a datetime with a time zone, such as datetime.now(UTC)")
    return rfc3339(value.timestamp())


_rfc3339_text = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII).fullmatch


class NotFinite(ValueError):
    """A number that JSON cannot write (NaN, infinity), or one beyond the range of a double, which readers take for
    infinity: `1e400`, or an integer of 400 digits."""

    def __init__(self) -> None:
        super().__init__("a number is not finite, or is beyond the range of a double")


def encode_event(fields: Mapping[str, Any]) -> bytes:
    """An event's JSON object, without absent fields.

    Dates, UUIDs, enums, sets and dataclasses are written as pydantic writes them. Raises `NotFinite` for NaN, infinity,
    and a number beyond the range of a double; `ValueError` for values that JSON cannot hold: a lone surrogate, a class
    unknown to pydantic, a recursive object.
    """
    try:
        body = to_json(fields, inf_nan_mode="constants")
    except Exception as error:  # PydanticSerializationError, RecursionError, UnicodeEncodeError
        raise ValueError(f"the event cannot be written as JSON: {error}") from error
    if (b"Infinity" in body or b"NaN" in body) and not _is_json(body):
        raise NotFinite
    if len(body) >= _LONG and _may_overflow(body):
        json.loads(body, parse_int=_require_double)
    return body


_LONG: Final = 309
"""The digits of the largest double: fewer are always in its range."""
_ZEROS: Final = bytes.maketrans(b"123456789", 9 * b"0")


def _may_overflow(body: bytes) -> bool:
    """Whether there are `_LONG` digits in a row. Every 28th byte is checked first, of which such a run has 11: 64 KiB
    then take 5 us instead of 60."""
    return 11 * b"0" in body[::28].translate(_ZEROS) and _LONG * b"0" in body.translate(_ZEROS)


def _require_double(digits: str) -> int:
    if len(digits) >= _LONG and isinf(float(digits)):
        raise NotFinite
    return 0


def _is_json(body: bytes) -> bool:
    """Whether the word occurs in texts only."""
    try:
        from_json(body, allow_inf_nan=False)
    except ValueError:
        return False
    return True


def json_size(value: Any) -> int:
    """The bytes of `value` as JSON, which `encode_event` or `decode_event` has let pass before."""
    return len(to_json(value, inf_nan_mode="constants"))


def decode_event(payload: bytes) -> dict[str, Any]:
    """The fields of an event's JSON object from a log."""
    event: dict[str, Any] = from_json(payload)
    return event


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with milliseconds and Z."""
    return _milliseconds(int(seconds * 1000))


# Cached: called for every event, with many in a millisecond.
@lru_cache(maxsize=64)
def _milliseconds(count: int) -> str:
    whole, rest = divmod(count, 1000)
    return f"{_whole_second(whole)}.{rest:03d}Z"


@lru_cache(maxsize=8)
def _whole_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
