"""The grammar of room names, room patterns and ids."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import index
from typing import Any, Final, NamedTuple, SupportsIndex
from uuid import UUID

MAX_PATTERNS: Final = 128
"""Maximum room patterns of one token."""

TENANT_ROOM: Final = "tenant"
"""The room that every event of a tenant is routed to."""

# ASCII classes and fullmatch: `\d` would take Arabic digits, and `$` a trailing newline.
ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
SUBJECT_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._@+|-]{0,127}"
TOKEN_ID_PATTERN: Final = r"[!-~]{1,128}"

_id = re.compile(ID_PATTERN).fullmatch
_subject = re.compile(SUBJECT_PATTERN).fullmatch
_kind = re.compile(r"[a-z][a-z0-9]{0,31}").fullmatch

MEMBER_REMOVED: Final = ".member.removed"
"""The suffix of event types that revoke a room from a user."""

_TAKEN: Final = frozenset({"user", "tenant", "event"})
"""Reserved words: `user` and `tenant` are rooms, and `event_id` is the cursor of every event."""

_MAX_NUMBER: Final = 10**64

_ROUTES: Final = 4096
"""Maximum cached routes, for each of two caches: about 1 kB each."""

ID_GRAMMAR: Final = "at most 64 letters, digits, _ and -, a letter or digit first"


def is_id(text: str) -> bool:
    """Whether `text` is the id of a room or of a tenant."""
    return _id(text) is not None


def is_subject(text: str) -> bool:
    """Whether `text` is a user's id, the `sub` of a token."""
    return _subject(text) is not None


def user_room(user_id: str) -> str:
    """The room of one user's own events."""
    return f"user:{user_id}"


class IdInvalid(ValueError):
    """The id in the field `name` of an event is not valid in a room name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: not valid in a room name")
        self.name = name


class Route(NamedTuple):
    """The rooms of an event by its ids: `rooms`, with `tenant` last. `fields` are the ids in its frame."""

    rooms: tuple[str, ...]
    fields: Mapping[str, int | str]

    def removal_room(self, type: str) -> str | None:
        """The room that an event of this type revokes from a user: `K:<id>` for `K.member.removed`; None for others."""
        if not type.endswith(MEMBER_REMOVED):
            return None
        kind = type.removesuffix(MEMBER_REMOVED)
        room = f"{kind}:{self.fields.get(f'{kind}_id')}"
        return room if kind != "user" and room in self.rooms else None


class RoomKinds:
    """The kinds of room of one gateway, such as `circle` and `project`, beside `user` and `tenant`. Immutable.

    For each kind K there are rooms `K:<id>`, patterns `K:*`, the field `K_id` of events, and events `K.member.removed`;
    `fields` are the names of these fields, in the order of `names`. `grammar` describes a room for people, and
    `pattern` is a regular expression for it.
    """

    __slots__ = ("_is_pattern", "_is_room", "_named", "_prefixes", "fields", "grammar", "names", "pattern", "route")

    def __init__(self, names: Iterable[str]) -> None:
        """Raises `ValueError` for invalid names."""
        self.names: Final = tuple(names)
        if not self.names:
            raise ValueError("names no kind of room; name one at least, such as circle")
        if wrong := next((name for name in self.names if not _kind(name)), None):
            raise ValueError(f"{wrong[:40]!a} cannot name a kind of room: write at most 32 letters a-z and digits")
        if taken := next((name for name in self.names if name in _TAKEN), None):
            raise ValueError(f"{taken} cannot name a kind of room: it is a reserved word; choose another")
        if len(set(self.names)) < len(self.names):
            raise ValueError("names a kind of room twice")
        self.fields: Final = tuple(f"{name}_id" for name in self.names)
        self._prefixes: Final = tuple((f"{name}_id", f"{name}:") for name in self.names)
        words = "|".join(self.names)
        self.pattern: Final = rf"(?:{words}):{ID_PATTERN}|user:{SUBJECT_PATTERN}|{TENANT_ROOM}"
        self.grammar: Final = (
            f"a room is {', '.join(f'{name}:<id>' for name in self.names)}, user:<sub> or tenant; an id starts with a "
            "letter or digit, goes on with letters, digits, _ and -, and has at most 64 characters"
        )
        self._is_room = re.compile(self.pattern).fullmatch
        patterns = rf"(?:{words}):(?:{ID_PATTERN}|\*)|user:(?:{SUBJECT_PATTERN}|\*)|{TENANT_ROOM}"
        self._is_pattern = re.compile(patterns).fullmatch
        # Cached: every event is routed, most to rooms of an earlier one, and the window then has each name once. Typed,
        # since True equals 1 but is another text.
        remembered = lru_cache(maxsize=_ROUTES, typed=True)
        self.route: Final = remembered(self._find)
        """`route(user_id, *ids)`: ids in the order of `fields`, None where there is none. Raises `IdInvalid`."""
        self._named: Final = remembered(self._find_named)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RoomKinds) and other.names == self.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"RoomKinds({', '.join(self.names)})"

    def is_room(self, text: str) -> bool:
        """Whether `text` names one room."""
        return self._is_room(text) is not None

    def is_pattern(self, text: str) -> bool:
        """Whether `text` is a room name or a kind followed by `:*`."""
        return self._is_pattern(text) is not None

    def invalid(self, rooms: Iterable[str]) -> list[str]:
        """The invalid names among `rooms`."""
        return [room for room in rooms if self._is_room(room) is None]

    def fault_of(self, room: str) -> str:
        """The message for an invalid room name, which is cut and escaped."""
        if self.is_pattern(room):
            return f"{room} is a pattern, as only tokens have; name single rooms, or * for all that the token names"
        return f"{room[:80]!a} is not a room: {self.grammar}"

    def route_of(self, user_id: object, ids: Mapping[str, object]) -> Route:
        """The `route` for ids of in-process code, by the names of `fields`. Raises `IdInvalid`, `ValueError` as `id_of`
        does, and `TypeError` for the name of an unknown kind."""
        try:
            return self._named(user_id, **ids)
        except TypeError:
            # A value that is not hashable, such as a list, gets its error message without the cache.
            return self._find_named(user_id, **ids)

    def _find(self, user_id: str | None, *ids: int | str | None) -> Route:
        rooms: list[str] = []
        fields: dict[str, int | str] = {}
        for (name, prefix), id in zip(self._prefixes, ids, strict=True):
            if id is not None:
                # A longer integer has over 64 digits; one of thousands of digits is expensive to print.
                if not (0 <= id < _MAX_NUMBER if isinstance(id, int) else _id(id)):
                    raise IdInvalid(name)
                fields[name] = id
                rooms.append(f"{prefix}{id}")
        if user_id is not None:
            if not _subject(user_id):
                raise IdInvalid("user_id")
            fields["user_id"] = user_id
            rooms.append(user_room(user_id))
        rooms.append(TENANT_ROOM)
        return Route(tuple(rooms), fields)

    def _find_named(self, user_id: object, **ids: object) -> Route:
        ordered = [id_of(name, ids.pop(name)) if name in ids else None for name in self.fields]
        if ids:
            kinds = ", ".join(self.names)
            raise TypeError(f"{min(ids)}: no such kind of room; the kinds here are {kinds}")
        return self._find(None if user_id is None else str(id_of("user_id", user_id)), *ordered)


def id_of(name: str, value: object) -> int | str | None:
    """The id in a value of in-process code: text, an integer (also of NumPy or an `IntEnum`), a UUID.

    Raises `ValueError`, which names the field, for anything else; `RoomKinds.route` checks whether the id is valid in a
    room name.
    """
    kind = value.__class__
    if value is None or kind is str or kind is int:
        return value  # type: ignore[return-value]  # by its class
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str):
        return str.__str__(value)  # a str enum may override `__str__`
    if not isinstance(value, bool) and isinstance(value, SupportsIndex):
        return index(value)
    raise ValueError(f"{name}: pass a str, an int or a UUID, not {kind.__name__}")


DEFAULT_KINDS: Final = RoomKinds(("circle", "project"))


def documented(pattern: str) -> dict[str, Any]:
    """`json_schema_extra` with the grammar of a text that is validated elsewhere, for readers of the schema."""
    return {"pattern": f"^(?:{pattern})$"}
