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
    """One message in force, since its newest update and until its expiry, both times of the timer. `ref` is its id in
    the cluster's store; None while it is not stored."""

    kind: ControlKind
    tenant: str | None
    name: str
    room: str
    at: float = 0.0
    through: float = 0.0
    since: float = 0.0
    until: float = 0.0
    ref: str | None = None

    def message(self, now: float) -> ControlMessage:
        return ControlMessage(self.kind, self.tenant, self.name, self.at, self.until - now, self.room, self.through)

    def covers(self, kind: ControlKind, at: float, through: float) -> bool:
        """Whether this coarser cutoff ends all tokens that a message of these would."""
        # A token revoked by its id may have an `iat` that many seconds ahead.
        ahead = CLOCK_SKEW if kind == "token_revoked" else 0
        return self.at >= at and self.through >= through + ahead


def is_bounded(kind: ControlKind) -> bool:
    """Whether entries of this kind are limited in number: not a tenant's cutoff, of which there is one, nor connections
    to close, which expire in minutes."""
    return kind in _BOUNDED


class TenantRevocations:
    """The entries of one tenant; room revocations by user and room. `size` counts the bounded ones; `newest`, `latest`
    and `until` are the greatest `at`, `through` and `until` so far."""

    __slots__ = ("_kinds", "_room_revocations", "latest", "newest", "size", "until")

    def __init__(self) -> None:
        self._kinds: dict[ControlKind, dict[str, RevocationEntry]] = {}
        self._room_revocations: dict[str, dict[str, RevocationEntry]] = {}
        self.newest = self.latest = self.until = 0.0
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self.size) or any(self._kinds.values())

    def __iter__(self) -> Iterator[RevocationEntry]:
        yield from chain.from_iterable(named.values() for named in self._kinds.values())
        yield from chain.from_iterable(rooms.values() for rooms in self._room_revocations.values())

    def get(self, kind: ControlKind, name: str, room: str = "") -> RevocationEntry | None:
        named = self._room_revocations.get(name) if kind == "room_revoked" else self._kinds.get(kind)
        return None if named is None else named.get(room if kind == "room_revoked" else name)

    def room_revocations(self, user_id: str) -> dict[str, RevocationEntry]:
        """The revocations of a user's rooms, by room."""
        return self._room_revocations.get(user_id, {})

    def cutoffs(self, user_id: str) -> Iterator[RevocationEntry]:
        """The entries that end all tokens of a user."""
        for entry in (self.get("tenant_revoked", ""), self.get("user_revoked", user_id)):
            if entry is not None:
                yield entry

    def cover(self, message: ControlMessage) -> RevocationEntry | None:
        """A coarser cutoff that ends all tokens that `message` would, or None."""
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
        """Remove an entry; False where it was removed before."""
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
        """Remove and return all bounded entries, in O(1)."""
        taken = TenantRevocations()
        taken._room_revocations, self._room_revocations = self._room_revocations, {}
        taken._kinds = {kind: self._kinds.pop(kind) for kind in _BOUNDED if kind in self._kinds}
        taken.size, self.size = self.size, 0
        return taken
