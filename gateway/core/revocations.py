"""The revocations and removals in force, each until the last token that it can concern has expired.

Checking, adding, replacing and dropping an entry are dictionary look-ups: O(1), amortised where one replaces many.
Expiry is by a timer wheel, so that a sweep costs what has expired. The number is bounded. At a bound a coarser entry
replaces many: at `MAX_REVOKED_ROOMS` rooms of one user the user is revoked, at `MAX_ENTRIES` of one tenant the tenant.
That ends more tokens than were meant; their holders reconnect with fresh ones. An entry takes about 700 bytes.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from math import inf
from typing import Final

from auth.errors import TokenRevoked
from auth.identity import Identity
from auth.issue_time import CLOCK_SKEW, is_cut_off, is_fresh, newest_ended_iat
from gateway.core.control import ControlMessage
from gateway.core.tenant_revocations import RevocationEntry, TenantRevocations, is_bounded
from gateway.core.timer_wheel import TimerWheel

MAX_REVOKED_ROOMS: Final = 128
"""Rooms revoked from one user."""

MAX_ENTRIES: Final = 100_000
"""Revocations and removals of one tenant."""

NEWEST_IAT_SECONDS: Final = 10.0
"""Minimum time for which the newest `iat` of a user is remembered: longer than the propagation of a cutoff."""

STEP: Final = 1e-6
"""Minimum distance of two cutoffs in seconds; a float of these decades tells them apart."""

_NO_ROOMS: Final[frozenset[str]] = frozenset()
_WHEEL_SECONDS: Final = 60.0
_MAX_SWEPT: Final = 10_000


class Revocations:
    """The revocations in force. `now` is seconds since the epoch where tokens are checked, else of a monotonic timer: a
    jump of the wall clock must not drop an entry."""

    def __init__(self, max_revoked_rooms: int = MAX_REVOKED_ROOMS, max_entries: int = MAX_ENTRIES) -> None:
        self._max_revoked_rooms = max_revoked_rooms
        self._max_entries = max_entries
        self._tenants: dict[str | None, TenantRevocations] = {}
        self._count = 0
        self._expiry: TimerWheel[RevocationEntry] = TimerWheel()
        # Replaced entries still on the timer wheel: removing 100,000 at once would block the event loop.
        self._replaced: deque[Iterator[RevocationEntry]] = deque()
        self._newest_iat: dict[tuple[str | None, str], int] = {}
        self._older_newest_iat: dict[tuple[str | None, str], int] = {}
        self._turned_at = 0.0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[RevocationEntry]:
        for tenant in self._tenants.values():
            yield from tenant

    # ---- checking tokens

    def check(self, identity: Identity, now: float) -> None:
        """Raise TokenRevoked if the token of `identity` is revoked. Also records its `iat`."""
        if is_fresh(identity.issued_at, now):
            newest_iat, iat = self._newest_iat, identity.issued_at
            for key in ((identity.tenant, identity.user_id), (identity.tenant, "")):
                if newest_iat.get(key, 0) < iat:
                    newest_iat[key] = iat
        if self._tenants and self.is_revoked(identity, now):
            raise TokenRevoked

    def is_revoked(self, identity: Identity, now: float) -> bool:
        anywhere = self._tenants.get(None)
        if anywhere is not None and anywhere.get("token_revoked", identity.token_id) is not None:
            return True
        tenant = self._tenants.get(identity.tenant)
        if tenant is None:
            return False
        if tenant.get("token_revoked", identity.token_id) is not None:
            return True
        return any(is_cut_off(identity, it.at, it.through, now) for it in tenant.cutoffs(identity.user_id))

    def revoked_rooms(self, identity: Identity, now: float) -> frozenset[str]:
        """The rooms that are revoked from the token of `identity`."""
        tenant = self._tenants.get(identity.tenant)
        if tenant is None:
            return _NO_ROOMS
        entries = tenant.room_revocations(identity.user_id)
        return frozenset(room for room, entry in entries.items() if is_cut_off(identity, entry.at, entry.through, now))

    def is_room_revoked(self, identity: Identity, room: str, now: float) -> bool:
        """Whether `room` is revoked from the token of `identity`."""
        tenant = self._tenants.get(identity.tenant)
        entry = None if tenant is None else tenant.get("room_revoked", identity.user_id, room)
        return entry is not None and is_cut_off(identity, entry.at, entry.through, now)

    def is_token_revoked(self, tenant: str, token_id: str) -> bool:
        """Whether a token of the tenant is revoked by its id."""
        known = (self._tenants.get(None), self._tenants.get(tenant))
        return any(each is not None and each.get("token_revoked", token_id) is not None for each in known)

    def of_user(self, tenant: str, user_id: str) -> tuple[float, list[str]]:
        """The time up to which tokens of the user are revoked, 0 where none are; and the rooms that the user was
        removed from."""
        found = self._tenants.get(tenant)
        if found is None:
            return 0.0, []
        through = max((entry.through for entry in found.cutoffs(user_id)), default=0.0)
        return through, sorted(found.room_revocations(user_id))

    # ---- issuing tokens, making cutoffs

    def newest_cutoff(self, tenant: str, user_id: str, by: float = inf) -> float:
        """The newest cutoff of a user's tokens that came into force by a time of the timer, which the next token names;
        0 where there is none."""
        found = self._tenants.get(tenant)
        if found is None:
            return 0.0
        cutoffs = (*found.cutoffs(user_id), *found.room_revocations(user_id).values())
        return max((entry.at for entry in cutoffs if entry.since <= by), default=0.0)

    def next_cutoff(self, tenant: str | None, now: float) -> float:
        """The time of a new cutoff: after all that tokens may name, even if the clock was set back."""
        found = self._tenants.get(tenant)
        return now if found is None else max(now, found.newest + STEP)

    def cutoff_for(self, message: ControlMessage) -> float:
        """The time of the cutoff, maybe a coarser one, by which a removal is already in force; 0 where it is not."""
        tenant = self._tenants.get(message.tenant)
        if tenant is None:
            return 0.0
        cover = tenant.cover(message) or tenant.get(message.kind, message.name, message.room)
        return cover.at if cover is not None and cover.at >= message.at else 0.0

    def count(self, tenant: str | None) -> int:
        """The number of entries in force of a tenant; with None, of those for any tenant."""
        found = self._tenants.get(tenant)
        return 0 if found is None else found.size

    # ---- coming into force and expiring

    def add(self, message: ControlMessage, now: float, ref: str | None = None) -> tuple[ControlMessage, bool]:
        """Put a message into force. Returns the message in force for it, which may be coarser and reach further, and
        whether it is new."""
        tenant = self._tenants.get(message.tenant)
        if tenant is None:
            tenant = self._tenants[message.tenant] = TenantRevocations()
        if (cover := tenant.cover(message)) is not None:
            return cover.message(now), False
        entry = tenant.get(message.kind, message.name, message.room)
        if entry is None and is_bounded(message.kind):
            if message.tenant is not None and tenant.size >= self._max_entries:
                return self._revoke_tenant(tenant, message, now)
            if message.kind == "room_revoked" and len(tenant.room_revocations(message.name)) >= self._max_revoked_rooms:
                return self._revoke_user(tenant, message, now)
        through = message.through
        if entry is None or message.at > entry.at:
            through = self._newest_ended(message)
        elif through <= entry.through:
            entry.ref = entry.ref or ref
            return entry.message(now), False
        if entry is None:
            entry = RevocationEntry(message.kind, message.tenant, message.name, message.room)
            tenant.add(entry)
            self._count += 1
        entry.at, entry.through = max(message.at, entry.at), max(through, entry.through)
        entry.since, entry.until, entry.ref = now, max(now + message.seconds, entry.until), ref
        self._expiry.set(entry, entry.until / _WHEEL_SECONDS)
        tenant.newest, tenant.latest = max(tenant.newest, entry.at), max(tenant.latest, entry.through)
        tenant.until = max(tenant.until, entry.until)
        if message.kind == "user_revoked":
            for finer in list(tenant.room_revocations(message.name).values()):
                if entry.covers(finer.kind, finer.at, finer.through):
                    self._expiry.forget(finer)
                    self._discard(finer)
        elif message.kind == "tenant_revoked" and tenant.size:
            self._drop_covered(tenant, entry)
        return entry.message(now), True

    def sweep(self, now: float) -> None:
        """Drop expired and replaced entries, a bounded number at a time."""
        for entry in islice(self._expiry.due(now / _WHEEL_SECONDS), _MAX_SWEPT):
            self._discard(entry)
        if self._replaced:
            some = list(islice(self._replaced[0], _MAX_SWEPT))
            for entry in some:
                self._expiry.forget(entry)
            if len(some) < _MAX_SWEPT:
                self._replaced.popleft()
        if now - self._turned_at >= NEWEST_IAT_SECONDS:
            self._turned_at, self._newest_iat, self._older_newest_iat = now, {}, self._newest_iat

    def forget_refs(self) -> None:
        """Drop all `ref`s: the store has lost its messages."""
        for entry in self:
            entry.ref = None

    def _newest_ended(self, message: ControlMessage) -> float:
        if message.kind in ("token_revoked", "connection_closed", "contract_changed"):
            return message.through
        key = (message.tenant, message.name)
        return newest_ended_iat(message.through, max(self._newest_iat.get(key, 0), self._older_newest_iat.get(key, 0)))

    def _revoke_user(
        self, tenant: TenantRevocations, message: ControlMessage, now: float
    ) -> tuple[ControlMessage, bool]:
        entries = tenant.room_revocations(message.name).values()
        at = max(message.at, *(entry.at for entry in entries))
        through = max(message.through, *(entry.through for entry in entries))
        seconds = max(message.seconds, *(entry.until - now for entry in entries))
        coarser = replace(message, kind="user_revoked", room="", at=at, through=through, seconds=seconds)
        return self.add(coarser, now)

    def _revoke_tenant(
        self, tenant: TenantRevocations, message: ControlMessage, now: float
    ) -> tuple[ControlMessage, bool]:
        # A token revoked by its id may have an `iat` that many seconds ahead.
        through = max(message.through, tenant.latest) + CLOCK_SKEW
        at, seconds = max(message.at, tenant.newest), max(message.seconds, tenant.until - now)
        replaced = tenant.take_bounded()
        self._count -= replaced.size
        self._replaced.append(iter(replaced))
        return self.add(ControlMessage("tenant_revoked", message.tenant, "", at, seconds, "", through), now)

    def _drop_covered(self, tenant: TenantRevocations, cover: RevocationEntry) -> None:
        """Drop the entries that a tenant's cutoff covers. Amortised by the entries dropped."""
        covered: list[RevocationEntry] = []
        for entry in tenant.take_bounded():
            if cover.covers(entry.kind, entry.at, entry.through):
                covered.append(entry)
            else:
                tenant.add(entry)
        self._count -= len(covered)
        self._replaced.append(iter(covered))

    def _discard(self, entry: RevocationEntry) -> None:
        """Remove an entry that has left the timer wheel, unless it was replaced before."""
        tenant = self._tenants.get(entry.tenant)
        if tenant is not None and tenant.discard(entry):
            self._count -= 1
            if not tenant:
                del self._tenants[entry.tenant]
