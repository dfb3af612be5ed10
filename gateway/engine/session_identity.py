"""Session identities: identities of an application's own sessions, in place of tokens."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from auth.grants import Grants
from auth.identity import LONGER_LIVED, SCOPES, Identity
from schemas.rooms import ID_GRAMMAR, RoomKinds, id_of, is_id, is_subject

_SUBJECT_GRAMMAR: Final = "at most 128 letters, digits and ._@+|-, a letter or digit first"


@dataclass(frozen=True, slots=True)
class SessionIdentity:
    """The identity of a client that the application has authenticated, for example by a session cookie.

    `rooms` are patterns as in a token, `scope` is words separated by spaces, `rate` events a second. Times are seconds
    since the epoch, or `datetime`s with a time zone. `expires_at` is the end of the session and of its connections,
    which end at the latest after the maximum lifetime of a token. `issued_at` is the start of the session: a revocation
    of the user or the tenant ends earlier sessions, and a removal takes a room from them; with a fraction of a second,
    sessions of the same second are told apart. By default it is the time of each call: a revocation then closes the
    connections, and the application alone decides whether the client may reconnect.
    """

    user_id: str | int | UUID
    tenant: str | int | UUID
    rooms: Iterable[str] = ()
    scope: str = "subscribe"
    expires_at: float | datetime | None = None
    issued_at: float | datetime | None = None
    rate: int | None = None

    def identity(self, kinds: RoomKinds, now: float, max_lifetime: int, max_admin_lifetime: int) -> Identity:
        """The identity, as of `now`; the lifetimes are seconds. Raises `ValueError` for values that a token could not
        hold, and RoomInvalid, TooManyRooms for the patterns."""
        user_id, tenant = (_text(name, getattr(self, name)) for name in ("user_id", "tenant"))
        if not is_subject(user_id):
            raise ValueError(f"user_id: {_SUBJECT_GRAMMAR}")
        if not is_id(tenant):
            raise ValueError(f"tenant: {ID_GRAMMAR}")
        scopes = frozenset(self.scope.split())
        if not scopes <= frozenset(SCOPES):
            raise ValueError(f"scope: the scopes are {', '.join(SCOPES)}")
        if self.rate is not None and self.rate < 1:
            raise ValueError("rate: at least 1 event a second")
        longest = int(now) + (max_lifetime if scopes.isdisjoint(LONGER_LIVED) else max_admin_lifetime)
        ends = longest if self.expires_at is None else min(longest, int(_seconds("expires_at", self.expires_at)))
        began = now if self.issued_at is None else min(now, _seconds("issued_at", self.issued_at))
        return Identity(
            user_id,
            tenant,
            Grants.parse(self.rooms, kinds),
            scopes,
            token_id="",
            issued_at=int(began),
            expires_at=ends,
            rate=self.rate,
            # A password change revokes the user and starts a session within the same second.
            cutoff=began,
        )


def _text(name: str, value: object) -> str:
    id = id_of(name, value)
    if id is None:
        raise ValueError(f"{name}: is None; return None in place of the identity for a client that is not known")
    return str(id)


def _seconds(name: str, at: float | datetime) -> float:
    if isinstance(at, datetime):
        if at.utcoffset() is None:
            raise ValueError(f"{name}: pass a datetime with a time zone, such as datetime.now(UTC)")
        at = at.timestamp()
    return float(at)
