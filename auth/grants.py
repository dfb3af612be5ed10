"""Grants: the room patterns of a token."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from auth.errors import RoomInvalid, TooManyRooms
from schemas.rooms import DEFAULT_KINDS, MAX_PATTERNS, RoomKinds


@dataclass(frozen=True, slots=True)
class Grants:
    """The grants of a token: `patterns` in the token's order, such as `circle:1`, `circle:*`, `tenant`.

    Made by `parse`. A check is two set look-ups, since each subscribe and each publish makes one.
    """

    patterns: tuple[str, ...]
    _rooms: frozenset[str] = field(init=False, repr=False, compare=False)
    _kinds: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = frozenset(pattern[:-1] for pattern in self.patterns if pattern.endswith(":*"))
        object.__setattr__(self, "_kinds", kinds)  # with the colon, so that no plain word matches
        object.__setattr__(self, "_rooms", frozenset(self.patterns))

    @staticmethod
    def parse(patterns: Iterable[str], kinds: RoomKinds = DEFAULT_KINDS) -> "Grants":
        """The grants of `patterns`, each once; equal patterns share one instance.

        Raises TooManyRooms for more than 128 patterns, RoomInvalid with the invalid ones.
        """
        return _parsed(tuple(dict.fromkeys(patterns)), kinds)

    def allows(self, room: str) -> bool:
        """Whether the room is granted; `room` is a valid room name."""
        return room in self._rooms or room[: room.find(":") + 1] in self._kinds

    def covers(self, pattern: str) -> bool:
        """Whether `pattern` grants no room that is not granted here: `circle:*` covers `circle:1` and `circle:*`."""
        # A pattern's kind is split like a room's: only `circle:*` covers `circle:*`.
        return self.allows(pattern)


@lru_cache(maxsize=1024)  # most connections of a tenant have the same list; at most about 10 MB of long names
def _parsed(patterns: tuple[str, ...], kinds: RoomKinds) -> Grants:
    if len(patterns) > MAX_PATTERNS:
        raise TooManyRooms(MAX_PATTERNS)
    if invalid := [pattern for pattern in patterns if not kinds.is_pattern(pattern)]:
        raise RoomInvalid(invalid, kinds)
    return Grants(patterns)
