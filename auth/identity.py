"""Identity: the holder of a verified token, and the holder's rights."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from auth.errors import RoomForbidden, ScopeMissing
from auth.grants import Grants
from schemas.rooms import TENANT_ROOM, user_room

SCOPES: Final = ("subscribe", "publish", "admin", "platform")
"""Every scope, in the order in which tokens and answers list them."""

LONGER_LIVED: Final = frozenset({"admin", "platform"})
"""Scopes whose tokens may live for `max_admin_lifetime`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The holder of a verified token. Times are seconds since the epoch, `rate` is events per second."""

    user_id: str
    tenant: str
    grants: Grants
    scopes: frozenset[str]
    token_id: str
    issued_at: int
    expires_at: int
    rate: int | None = None
    issuer: str = ""
    cutoff: float = 0.0
    """The newest revocation or removal that the issuer of the token knew: it and earlier ones do not end the token."""
    revoked_rooms: frozenset[str] = frozenset()
    """Rooms that the holder was removed from after the token was issued: not granted, whatever the patterns are."""

    def has_scope(self, scope: str) -> bool:
        """Whether the token has `scope`; `platform` includes `admin`, in every tenant."""
        return scope in self.scopes or (scope == "admin" and "platform" in self.scopes)

    def allows(self, room: str) -> bool:
        """Whether the room is granted; the user's own room always is."""
        return (self.grants.allows(room) and room not in self.revoked_rooms) or room == user_room(self.user_id)

    def covers(self, pattern: str) -> bool:
        """Whether all rooms of `pattern` are granted, and none of them is revoked."""
        if not self.grants.covers(pattern):
            return False
        kind = pattern[:-1] if pattern.endswith(":*") else None
        return not any(room == pattern or (kind is not None and room.startswith(kind)) for room in self.revoked_rooms)

    def without_room(self, room: str) -> "Identity":
        """The same identity without `room`."""
        return replace(self, revoked_rooms=self.revoked_rooms | {room})


def require_subscribe(identity: Identity, rooms: Iterable[str]) -> None:
    """Raise unless `identity` may follow all of `rooms` (valid names, of its own tenant).

    Raises ScopeMissing, or RoomForbidden with the refused rooms. The user's own room needs neither scope nor grant.
    """
    own = user_room(identity.user_id)
    others = [room for room in rooms if room != own]
    if others and not identity.has_scope("subscribe"):
        raise ScopeMissing("subscribe")
    _require_granted(identity, others)


def require_publish(identity: Identity, tenant: str, rooms: Iterable[str]) -> None:
    """Raise unless `identity` may publish an event into `tenant` that is routed to `rooms` (`RoomKinds.route`).

    Raises ScopeMissing, or RoomForbidden with the refused rooms. Every event reaches the room `tenant`, so that a grant
    of it is needed only for an event without another room.
    """
    scopes = identity.scopes  # without `has_scope`: called for every event
    if "platform" in scopes:
        return
    if tenant != identity.tenant:
        raise ScopeMissing("platform", "an event for another tenant than the token's")
    if "admin" in scopes:
        return
    if "publish" not in scopes:
        raise ScopeMissing("publish")
    if named := [room for room in rooms if room != TENANT_ROOM]:
        _require_granted(identity, named)
    elif not identity.allows(TENANT_ROOM):
        advice = ", where an event goes that has no id of a room: give it one"
        raise RoomForbidden([TENANT_ROOM], identity.grants.patterns, advice)


def require_admin(identity: Identity, tenant: str, what: str = "this") -> None:
    """Raise ScopeMissing unless `identity` administers `tenant`, as `what` needs."""
    if tenant != identity.tenant and not identity.has_scope("platform"):
        raise ScopeMissing("platform", "another tenant than the token's")
    if not identity.has_scope("admin"):
        raise ScopeMissing("admin", what)


def _require_granted(identity: Identity, rooms: list[str]) -> None:
    if refused := [room for room in rooms if not identity.allows(room)]:
        raise RoomForbidden(refused, identity.grants.patterns)
