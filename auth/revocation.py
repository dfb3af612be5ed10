"""What has been revoked, until the last token it can concern has expired."""

from dataclasses import dataclass
from typing import Final

from auth.errors import TokenRevoked
from auth.identity import Identity

_MAX_AHEAD: Final = 4
"""Seconds that a cutoff may lie ahead: the first token after it is a second later, and verifiers bear 5 at most."""


@dataclass(frozen=True, slots=True)
class _Cutoff:
    """Tokens issued (`iat`) at or before `at` are revoked; all of them have expired by `until`."""

    at: int
    until: float


class Revocations:
    """The revoked tokens, users and tenants. Times are seconds since the epoch.

    Keys are tuples, never joined strings: ("a_b", "c") and ("a", "b_c") must not meet (CVE-2026-39972). A token is
    known by its `jti`, never by its text, of which one token could have several.
    """

    def __init__(self) -> None:
        self._tokens: dict[tuple[str | None, str], float] = {}
        self._users: dict[tuple[str, str], _Cutoff] = {}
        self._tenants: dict[str, _Cutoff] = {}
        self._bars: dict[tuple[str, str], dict[str, _Cutoff]] = {}

    def revoke_token(self, tenant: str | None, token_id: str, until: float) -> None:
        """End one token of `tenant`, or with None of every tenant; `until` is when it expires."""
        key = (tenant, token_id)
        self._tokens[key] = max(until, self._tokens.get(key, until))

    def revoke_user(self, tenant: str, user_id: str, now: float, until: float) -> None:
        """End the tokens of a user issued up to `now`, not later ones; by `until` the last of them has expired."""
        self._users[tenant, user_id] = _later(self._users.get((tenant, user_id)), now, until)

    def revoke_tenant(self, tenant: str, now: float, until: float) -> None:
        """End the tokens of a tenant issued up to `now`, not later ones; by `until` the last of them has expired."""
        self._tenants[tenant] = _later(self._tenants.get(tenant), now, until)

    def is_revoked(self, identity: Identity) -> bool:
        """Whether the token of `identity` has been revoked."""
        tenant, token_id = identity.tenant, identity.token_id
        if self._tokens and ((tenant, token_id) in self._tokens or (None, token_id) in self._tokens):
            return True
        return identity.issued_at < self.earliest_iat(tenant, identity.user_id)

    def check(self, identity: Identity) -> None:
        """Raise TokenRevoked if the token of `identity` has been revoked."""
        if self.is_revoked(identity):
            raise TokenRevoked

    def bar_room(self, tenant: str, user_id: str, room: str, now: float, until: float) -> None:
        """Take `room` from a user's tokens issued up to `now`; by `until` the last of them has expired."""
        rooms = self._bars.setdefault((tenant, user_id), {})
        known = rooms.get(room)
        if known is None or known.at < int(now):
            rooms[room] = _Cutoff(int(now), until if known is None else max(until, known.until))

    def barred(self, identity: Identity) -> frozenset[str]:
        """The rooms that were taken from the token of `identity`."""
        rooms = self._bars.get((identity.tenant, identity.user_id))
        if not rooms:
            return frozenset()
        return frozenset(room for room, cutoff in rooms.items() if identity.issued_at <= cutoff.at)

    def earliest_iat(self, tenant: str, user_id: str) -> int:
        """The first `iat` of a user's tokens that is not revoked; 0 if all are good.

        A token issued in the very second of a revocation takes this for its `iat`, to be told from those before it.
        """
        if not self._users and not self._tenants:
            return 0
        cutoffs = (self._users.get((tenant, user_id)), self._tenants.get(tenant))
        return max((cutoff.at + 1 for cutoff in cutoffs if cutoff is not None), default=0)

    def sweep(self, now: float) -> None:
        """Forget what concerns no token that is still alive."""
        self._tokens = {key: until for key, until in self._tokens.items() if until > now}
        self._users = {key: cutoff for key, cutoff in self._users.items() if cutoff.until > now}
        self._tenants = {key: cutoff for key, cutoff in self._tenants.items() if cutoff.until > now}
        for user, rooms in list(self._bars.items()):
            self._bars[user] = {room: cutoff for room, cutoff in rooms.items() if cutoff.until > now}
            if not self._bars[user]:
                del self._bars[user]


def _later(known: _Cutoff | None, now: float, until: float) -> _Cutoff:
    """The cutoff after one more revocation; it never moves back."""
    second = int(now)
    if known is None or known.at < second:
        return _Cutoff(second, until if known is None else max(until, known.until))
    # Revoked again within the second: what was issued between carries `known.at + 1` and must end too.
    at = max(known.at, min(known.at + 1, second + _MAX_AHEAD))
    return _Cutoff(at, max(until + (at - second), known.until))
