"""The room patterns that a token grants."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from auth.errors import RoomInvalid, TooManyRooms
from schemas.rooms import DEFAULT_KINDS, MAX_PATTERNS, RoomKinds


@dataclass(frozen=True, slots=True)
class Grants:
    """The grants of a token: `patterns` in the token's order, such as `circle:1`, `circle:*`, `tenant`.

    Made by `parse`. A judgement is two look-ups in sets, since each subscribe and each publish asks for it.
    """

    patterns: tuple[str, ...]
    _rooms: frozenset[str] = field(init=False, repr=False, compare=False)
    _kinds: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = frozenset(pattern[:-1] for pattern in self.patterns if pattern.endswith(":*"))
        object.__setattr__(self, "_kinds", kinds)  # with the colon, so that no bare word can match
        object.__setattr__(self, "_rooms", frozenset(self.patterns))

    @staticmethod
    def parse(patterns: Iterable[str], kinds: RoomKinds = DEFAULT_KINDS) -> "Grants":
        """Grants of `patterns`, each once; equal patterns share one instance.

        Raises TooManyRooms over 128 patterns, RoomInvalid naming those that are none.
        """
        return _parsed(tuple(dict.fromkeys(patterns)), kinds)

    def allows(self, room: str) -> bool:
        """Whether the room is granted; `room` is a valid room name."""
        return room in self._rooms or room[: room.find(":") + 1] in self._kinds

    def covers(self, pattern: str) -> bool:
        """Whether all that `pattern` grants is granted here: `circle:*` covers `circle:1` and `circle:*`."""
        # A pattern's kind is cut off as a room's is: `circle:*` is covered by nothing but `circle:*`.
        return self.allows(pattern)


@lru_cache(maxsize=1024)  # a tenant's connections mostly carry the same list; at worst some 10 MB of long names
def _parsed(patterns: tuple[str, ...], kinds: RoomKinds) -> Grants:
    if len(patterns) > MAX_PATTERNS:
        raise TooManyRooms(MAX_PATTERNS)
    if invalid := [pattern for pattern in patterns if not kinds.is_pattern(pattern)]:
        raise RoomInvalid(invalid, kinds)
    return Grants(patterns)
