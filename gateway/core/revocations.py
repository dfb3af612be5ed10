"""The revocations and removals in force, each until the last token that it can concern has expired.

Asking for one, adding, replacing and forgetting it are dictionary look-ups: O(1), amortised where one stands for many
from then on. Expiry is by a timer wheel, so that a sweep costs what has expired. The number is bounded, and at a bound
nothing is forgotten but a coarser one takes the place of many: at `MAX_BARS` rooms taken from one user the user is
revoked, at `MAX_ENTRIES` of one tenant the tenant. More tokens end by that than were meant to, and their holders come
back with fresh ones. An entry takes about 700 bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from auth.errors import TokenRevoked
from auth.identity import Identity
from auth.issue_time import CLOCK_SKEW, is_cut_off, is_fresh, reach
from gateway.core.control import ControlKind, ControlMessage
from gateway.core.timer_wheel import TimerWheel

MAX_BARS: Final = 128
"""Rooms taken from one user."""

MAX_ENTRIES: Final = 100_000
"""Revocations and removals of one tenant."""

SHOWN_SECONDS: Final = 10.0
"""For how long at least the newest `iat` of a user is remembered: longer than a cutoff is on its way."""

_WHEEL_SECONDS: Final = 60.0

STEP: Final = 1e-6
"""Seconds between two cutoffs at least; a float of these decades tells them apart."""


@dataclass(slots=True, eq=False)
class Entry:
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


class _Tenant:
    """Entries of one tenant: by kind and name, and bars by user and room. `size` counts those that are bounded;
    `newest` and `latest` are the greatest `at` and `through` that there were."""

    __slots__ = ("bars", "kinds", "latest", "newest", "size")

    def __init__(self) -> None:
        self.kinds: dict[ControlKind, dict[str, Entry]] = {}
        self.bars: dict[str, dict[str, Entry]] = {}
        self.newest = self.latest = 0.0
        self.size = 0

    def __iter__(self) -> Iterator[Entry]:
        for named in self.kinds.values():
            yield from named.values()
        for rooms in self.bars.values():
            yield from rooms.values()

    def get(self, kind: ControlKind, name: str) -> Entry | None:
        named = self.kinds.get(kind)
        return None if named is None else named.get(name)

    def cutoffs(self, user_id: str) -> Iterator[Entry]:
        """Those that end tokens of a user."""
        for entry in (self.get("tenant_revoked", ""), self.get("user_revoked", user_id)):
            if entry is not None:
                yield entry


class Revocations:
    """What is in force. `now` is seconds since the epoch where tokens are judged, else of a timer that never goes back:
    a wall clock that jumps ahead for a moment must forget nothing."""

    def __init__(self, max_bars: int = MAX_BARS, max_entries: int = MAX_ENTRIES) -> None:
        self._max_bars = max_bars
        self._max_entries = max_entries
        self._tenants: dict[str | None, _Tenant] = {}
        self._expiry: TimerWheel[Entry] = TimerWheel()
        self._shown: dict[tuple[str | None, str], int] = {}
        self._shown_before: dict[tuple[str | None, str], int] = {}
        self._turned_at = 0.0

    def __len__(self) -> int:
        return len(self._expiry)

    def __iter__(self) -> Iterator[Entry]:
        for tenant in self._tenants.values():
            yield from tenant

    # ---- judging tokens

    def check(self, identity: Identity, now: float) -> None:
        """Raise TokenRevoked if the token of `identity` is revoked. It has been shown, which is remembered."""
        if is_fresh(identity.issued_at, now):
            for key in ((identity.tenant, identity.user_id), (identity.tenant, "")):
                self._shown[key] = max(identity.issued_at, self._shown.get(key, 0))
        if self.is_revoked(identity, now):
            raise TokenRevoked

    def is_revoked(self, identity: Identity, now: float) -> bool:
        for scope in (None, identity.tenant):
            tenant = self._tenants.get(scope)
            if tenant is not None and tenant.get("token_revoked", identity.token_id) is not None:
                return True
        if tenant is None:
            return False
        return any(is_cut_off(identity, it.at, it.through, now) for it in tenant.cutoffs(identity.user_id))

    def barred(self, identity: Identity, now: float) -> frozenset[str]:
        """The rooms that are taken from the token of `identity`."""
        tenant = self._tenants.get(identity.tenant)
        rooms = None if tenant is None else tenant.bars.get(identity.user_id)
        if not rooms:
            return frozenset()
        return frozenset(room for room, bar in rooms.items() if is_cut_off(identity, bar.at, bar.through, now))

    def is_barred(self, identity: Identity, room: str, now: float) -> bool:
        """Whether `room` is taken from the token of `identity`."""
        tenant = self._tenants.get(identity.tenant)
        bar = None if tenant is None else tenant.bars.get(identity.user_id, {}).get(room)
        return bar is not None and is_cut_off(identity, bar.at, bar.through, now)

    # ---- issuing tokens, making cutoffs

    def newest(self, tenant: str, user_id: str) -> float:
        """The newest cutoff of a user's tokens, which the next token names; 0 where there is none."""
        found = self._tenants.get(tenant)
        if found is None:
            return 0.0
        cutoffs = (*found.cutoffs(user_id), *found.bars.get(user_id, {}).values())
        return max((entry.at for entry in cutoffs), default=0.0)

    def next_at(self, tenant: str | None, now: float) -> float:
        """The place of a cutoff that is made now: after all that tokens may name, though the clock was put back."""
        found = self._tenants.get(tenant)
        return now if found is None else max(now, found.newest + STEP)

    def place_of(self, message: ControlMessage) -> float:
        """The place of the cutoff by which a removal is in force already, be it a coarser one; 0 where none is."""
        tenant = self._tenants.get(message.tenant)
        if tenant is None:
            return 0.0
        cover = _cover(tenant, message) or tenant.bars.get(message.name, {}).get(message.room)
        return cover.at if cover is not None and cover.at >= message.at else 0.0

    def count(self, tenant: str | None) -> int:
        """How many of a tenant are in force; with None, of those for any tenant."""
        found = self._tenants.get(tenant)
        return 0 if found is None else found.size

    # ---- coming into force and expiring

    def add(self, message: ControlMessage, now: float, ref: str | None = None) -> tuple[ControlMessage, bool]:
        """Put a message into force. Returns what is in force for it, which may be a coarser one and may reach further,
        and whether that is news."""
        tenant = self._tenants.get(message.tenant)
        if tenant is None:
            tenant = self._tenants[message.tenant] = _Tenant()
        if (cover := _cover(tenant, message)) is not None:
            return cover.message(now), False
        place, key = _place(tenant, message.kind, message.name, message.room)
        entry = place.get(key)
        if entry is None and _is_bounded(message.kind):
            if message.tenant is not None and tenant.size >= self._max_entries:
                if message.kind == "room_barred" and not place:
                    del tenant.bars[message.name]
                return self._revoke_tenant(tenant, message, now)
            if message.kind == "room_barred" and len(place) >= self._max_bars:
                return self._revoke_user(place, message, now)
            tenant.size += 1
        through, until = message.through, now + message.seconds
        if entry is None or message.at > entry.at:
            through = self._reach(message)
        elif through <= entry.through:
            entry.ref = entry.ref or ref
            return entry.message(now), False
        if entry is None:
            entry = place[key] = Entry(message.kind, message.tenant, message.name, message.room)
        entry.at, entry.through = max(message.at, entry.at), max(through, entry.through)
        entry.until, entry.ref = max(until, entry.until), ref
        self._expiry.set(entry, entry.until / _WHEEL_SECONDS)
        tenant.newest, tenant.latest = max(tenant.newest, entry.at), max(tenant.latest, entry.through)
        if message.kind in ("user_revoked", "tenant_revoked"):
            self._drop_covered(tenant, entry)
        return entry.message(now), True

    def sweep(self, now: float) -> None:
        """Forget what has expired."""
        for entry in self._expiry.due(now / _WHEEL_SECONDS):
            self._discard(entry)
        if now - self._turned_at >= SHOWN_SECONDS:
            self._turned_at, self._shown, self._shown_before = now, {}, self._shown

    def forget_refs(self) -> None:
        """The store has lost what it had."""
        for entry in self:
            entry.ref = None

    def _reach(self, message: ControlMessage) -> float:
        if message.kind in ("token_revoked", "connection_closed"):
            return message.through
        key = (message.tenant, message.name)
        return reach(message.through, max(self._shown.get(key, 0), self._shown_before.get(key, 0)))

    def _revoke_user(self, bars: dict[str, Entry], message: ControlMessage, now: float) -> tuple[ControlMessage, bool]:
        return self.add(
            replace(
                message,
                kind="user_revoked",
                room="",
                at=max(message.at, *(bar.at for bar in bars.values())),
                through=max(message.through, *(bar.through for bar in bars.values())),
                seconds=max(message.seconds, *(bar.until - now for bar in bars.values())),
            ),
            now,
        )

    def _revoke_tenant(self, tenant: _Tenant, message: ControlMessage, now: float) -> tuple[ControlMessage, bool]:
        # A token that was revoked by its id may say an `iat` of that many seconds later.
        through = max(message.through, tenant.latest) + CLOCK_SKEW
        seconds = max(message.seconds, *(entry.until - now for entry in tenant))
        at = max(message.at, tenant.newest)
        return self.add(ControlMessage("tenant_revoked", message.tenant, "", at, seconds, "", through), now)

    def _drop_covered(self, tenant: _Tenant, cover: Entry) -> None:
        """Forget what a coarser cutoff ends as well. Amortised O(1): what is looked at is gone, but for what was made
        within the last seconds."""
        if cover.kind == "tenant_revoked":
            entries = [entry for entry in tenant if _is_bounded(entry.kind)]
        else:
            entries = list(tenant.bars.get(cover.name, {}).values())
        for entry in entries:
            if _covers(cover, entry.kind, entry.at, entry.through):
                self._expiry.forget(entry)
                self._discard(entry)

    def _discard(self, entry: Entry) -> None:
        tenant = self._tenants[entry.tenant]
        place, key = _place(tenant, entry.kind, entry.name, entry.room)
        del place[key]
        if not place and entry.kind == "room_barred":
            del tenant.bars[entry.name]
        tenant.size -= _is_bounded(entry.kind)
        if not any(tenant):
            del self._tenants[entry.tenant]


def _place(tenant: _Tenant, kind: ControlKind, name: str, room: str) -> tuple[dict[str, Entry], str]:
    if kind == "room_barred":
        return tenant.bars.setdefault(name, {}), room
    return tenant.kinds.setdefault(kind, {}), name


def _is_bounded(kind: ControlKind) -> bool:
    """Not the tenant's own, of which there is one, nor connections that are to be closed, which are over in minutes."""
    return kind in ("token_revoked", "user_revoked", "room_barred")


def _cover(tenant: _Tenant, message: ControlMessage) -> Entry | None:
    """A coarser cutoff that ends all that `message` would."""
    kind = message.kind
    if not _is_bounded(kind):
        return None
    whole = tenant.get("tenant_revoked", "")
    if whole is not None and _covers(whole, kind, message.at, message.through):
        return whole
    user = tenant.get("user_revoked", message.name) if kind == "room_barred" else None
    return user if user is not None and _covers(user, kind, message.at, message.through) else None


def _covers(cover: Entry, kind: ControlKind, at: float, through: float) -> bool:
    ahead = CLOCK_SKEW if kind == "token_revoked" else 0  # the token is known by its id: its `iat` may be ahead
    return cover.at >= at and cover.through >= through + ahead
