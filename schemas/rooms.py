"""The grammar of room names, of the patterns that grant them, and of the ids in both."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

TENANT_ROOM: Final = "tenant"
"""The room that every event of a tenant is routed to."""

# ASCII classes and fullmatch: `\d` would take Arabic digits, and `$` a trailing newline.
ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
SUBJECT_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._@+|-]{0,127}"
ROOM_PATTERN: Final = rf"(?:circle|project):{ID_PATTERN}|user:{SUBJECT_PATTERN}|tenant"

_id = re.compile(ID_PATTERN).fullmatch
_subject = re.compile(SUBJECT_PATTERN).fullmatch
_room = re.compile(ROOM_PATTERN).fullmatch
_pattern = re.compile(rf"(?:circle|project):(?:{ID_PATTERN}|\*)|user:(?:{SUBJECT_PATTERN}|\*)|tenant").fullmatch

ID_GRAMMAR: Final = "at most 64 letters, digits, _ and -, a letter or digit first"

ROOM_GRAMMAR: Final = (
    "a room is circle:<id>, project:<id>, user:<sub> or tenant; an id starts with a letter or digit, "
    "goes on with letters, digits, _ and -, and has at most 64 characters"
)


def is_id(text: str) -> bool:
    """Whether `text` is a circle's, project's or tenant's id."""
    return _id(text) is not None


def is_subject(text: str) -> bool:
    """Whether `text` is a user's id, the `sub` of a token."""
    return _subject(text) is not None


def is_room(text: str) -> bool:
    """Whether `text` names one room."""
    return _room(text) is not None


def is_pattern(text: str) -> bool:
    """Whether `text` is a room name or a kind followed by `:*`."""
    return _pattern(text) is not None


def user_room(user_id: str) -> str:
    """The room of one user's own events."""
    return f"user:{user_id}"


# On the way of every event, and most go to the rooms of one before: the window then holds each name once. By type as
# well, since True equals 1 and is another text.
@lru_cache(maxsize=1024, typed=True)
def rooms_of(circle_id: int | str | None, project_id: int | str | None, user_id: str | None) -> tuple[str, ...]:
    """The rooms that an event is routed to, those that its fields name first and `tenant` last."""
    rooms = []
    if circle_id is not None:
        rooms.append(f"circle:{circle_id}")
    if project_id is not None:
        rooms.append(f"project:{project_id}")
    if user_id is not None:
        rooms.append(f"user:{user_id}")
    rooms.append(TENANT_ROOM)
    return tuple(rooms)


def invalid_rooms(rooms: Iterable[str]) -> list[str]:
    """Those of `rooms` that name no room."""
    return [room for room in rooms if _room(room) is None]


def documented(pattern: str) -> dict[str, Any]:
    """`json_schema_extra` for a text that is judged elsewhere: the grammar, for readers of the schema."""
    return {"pattern": f"^(?:{pattern})$"}
