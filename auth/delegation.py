"""Delegation: the tokens that the holder of a token may issue."""

from collections.abc import Iterable
from dataclasses import dataclass

from auth.errors import ClaimRefused, LifetimeTooLong, RoomForbidden, ScopeMissing, TokenExpired
from auth.grants import Grants
from auth.identity import LONGER_LIVED, SCOPES, Identity, require_admin
from schemas.rooms import DEFAULT_KINDS, RoomKinds, user_room

_all_scopes = frozenset(SCOPES)


@dataclass(frozen=True, slots=True)
class Delegation:
    """A permitted token; the members are arguments of `TokenIssuer.issue`."""

    user_id: str
    tenant: str
    rooms: tuple[str, ...]
    scope: frozenset[str]
    expires_in: int
    rate: int | None


def delegate(
    holder: Identity,
    *,
    user_id: str,
    tenant: str,
    rooms: Iterable[str],
    scope: Iterable[str],
    expires_in: int,
    now: float,
    max_lifetime: int,
    max_admin_lifetime: int,
    kinds: RoomKinds = DEFAULT_KINDS,
) -> Delegation:
    """Check a request of `holder` for a token: it may have only rights that the holder has.

    The user's own room `user:<user_id>` is always permitted. `expires_in` (seconds) is limited to the holder's
    remaining lifetime, and the `rate` is the holder's. Raises ScopeMissing, ClaimRefused, RoomForbidden, RoomInvalid,
    TooManyRooms, LifetimeTooLong, and TokenExpired for an expired holder.
    """
    require_admin(holder, tenant)
    asked = frozenset(scope)
    if not asked <= _all_scopes:  # an unknown scope, which no message may repeat
        raise ClaimRefused("scope")
    for word in sorted(asked):
        if not holder.has_scope(word):
            raise ScopeMissing(word)
    patterns = Grants.parse(rooms, kinds).patterns
    # In another tenant the same `sub` is another person, so the holder's own room does not count there.
    own, covers = {user_room(user_id)}, holder.grants.covers
    if tenant == holder.tenant:  # without the rooms that the holder was removed from
        own, covers = {user_room(user_id), user_room(holder.user_id)}, holder.covers
    if refused := [pattern for pattern in patterns if pattern not in own and not covers(pattern)]:
        raise RoomForbidden(refused, holder.grants.patterns)
    maximum = max_lifetime if asked.isdisjoint(LONGER_LIVED) else max_admin_lifetime
    if expires_in > maximum:
        raise LifetimeTooLong(maximum)
    remaining = holder.expires_at - int(now)
    if holder.expires_at <= now:
        raise TokenExpired(holder.expires_at)
    return Delegation(user_id, tenant, patterns, asked, min(expires_in, remaining), holder.rate)
