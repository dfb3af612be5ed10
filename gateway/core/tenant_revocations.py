"""The revocations in force of one tenant, by kind and name."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from auth.issue_time import CLOCK_SKEW
from gateway.core.control import ControlKind, ControlMessage

_BOUNDED: Final[tuple[ControlKind, ...]] = ("token_revoked", "user_revoked", "room_revoked")


@dataclass(slots=True, eq=False)
class RevocationEntry:
    """One message in force, `until` a time of the timer. `ref` is where the cluster's store has it; None where the
    store has not, or not yet."""

    kind: ControlKind
    tenant: str | None
    name: str
    room: str
    at: float = 0.0
    through: float = 0.0
    until: float = 0.0
    ref: str | None = None

    def message(self, now: float) -> ControlMessage:
        return ControlMessage(self.kind, self.tenant, self.name, self.at, self.until - now, self.room, self.through)

    def covers(self, kind: ControlKind, at: float, through: float) -> bool:
        """Whether this coarser cutoff ends all tokens that a message of these would."""
        # A token that is known by its id may say an `iat` of that many seconds later.
        ahead = CLOCK_SKEW if kind == "token_revoked" else 0
        return self.at >= at and self.through >= through + ahead


def is_bounded(kind: ControlKind) -> bool:
    """Not the tenant's own cutoff, of which there is one, nor connections to close, which are over in minutes."""
    return kind in _BOUNDED


class TenantRevocations:
    """Entries of one tenant; of rooms taken from users by user and room. `size` counts those that are bounded;
    `newest`, `latest` and `until` are the greatest `at`, `through` and `until` that there were."""

    __slots__ = ("_kinds", "_room_revocations", "latest", "newest", "size", "until")

    def __init__(self) -> None:
        self._kinds: dict[ControlKind, dict[str, RevocationEntry]] = {}
        self._room_revocations: dict[str, dict[str, RevocationEntry]] = {}
        self.newest = self.latest = self.until = 0.0
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self.size or self._kinds.get("tenant_revoked") or self._kinds.get("connection_closed"))

    def __iter__(self) -> Iterator[RevocationEntry]:
        yield from chain.from_iterable(named.values() for named in self._kinds.values())
        yield from chain.from_iterable(rooms.values() for rooms in self._room_revocations.values())

    def get(self, kind: ControlKind, name: str, room: str = "") -> RevocationEntry | None:
        named = self._room_revocations.get(name) if kind == "room_revoked" else self._kinds.get(kind)
        return None if named is None else named.get(room if kind == "room_revoked" else name)

    def room_revocations(self, user_id: str) -> dict[str, RevocationEntry]:
        """By room, those that are taken from a user."""
        return self._room_revocations.get(user_id, {})

    def cutoffs(self, user_id: str) -> Iterator[RevocationEntry]:
        """Those that end a user's tokens as a whole."""
        for entry in (self.get("tenant_revoked", ""), self.get("user_revoked", user_id)):
            if entry is not None:
                yield entry

    def cover(self, message: ControlMessage) -> RevocationEntry | None:
        """A coarser cutoff that ends all that `message` would."""
        kind = message.kind
        if not is_bounded(kind):
            return None
        whole = self.get("tenant_revoked", "")
        if whole is not None and whole.covers(kind, message.at, message.through):
            return whole
        user = self.get("user_revoked", message.name) if kind == "room_revoked" else None
        return user if user is not None and user.covers(kind, message.at, message.through) else None

    def add(self, entry: RevocationEntry) -> None:
        if entry.kind == "room_revoked":
            self._room_revocations.setdefault(entry.name, {})[entry.room] = entry
        else:
            self._kinds.setdefault(entry.kind, {})[entry.name] = entry
        self.size += is_bounded(entry.kind)

    def discard(self, entry: RevocationEntry) -> bool:
        """Take an entry out; False where it is in no more."""
        if self.get(entry.kind, entry.name, entry.room) is not entry:
            return False
        if entry.kind != "room_revoked":
            del self._kinds[entry.kind][entry.name]
        else:
            del self._room_revocations[entry.name][entry.room]
            if not self._room_revocations[entry.name]:
                del self._room_revocations[entry.name]
        self.size -= is_bounded(entry.kind)
        return True

    def take_bounded(self) -> "TenantRevocations":
        """Take out all that is bounded, in O(1)."""
        taken = TenantRevocations()
        taken._room_revocations, self._room_revocations = self._room_revocations, {}
        taken._kinds = {kind: self._kinds.pop(kind) for kind in _BOUNDED if kind in self._kinds}
        taken.size, self.size = self.size, 0
        return taken
