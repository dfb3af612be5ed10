"""The audit trail: acts of administrators on this node, written to the log and kept for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from auth.errors import AuthError
from auth.identity import Identity
from gateway.core.audit_acts import MAX_ACTS, Act, AuditActs
from gateway.core.errors import GatewayError, LogUnavailable
from gateway.telemetry import log_events

REPEAT_SECONDS: Final = 60.0
"""Seconds in which the same reading is recorded once."""


class AuditTrail:
    """Records what administrators do. `clock` is seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._acts = AuditActs()
        self._clock = clock
        self._read: dict[tuple[Any, ...], float] = {}
        """Readings recorded within `REPEAT_SECONDS`, the oldest first, with their times."""

    def record(
        self, event: str, summary: str, principal: Identity, address: str, *, tenant: str | None, **target: Any
    ) -> None:
        """Record an act on a tenant, None for all tenants; fields that are None are left out. Never suppressed: the
        routes behind it are limited by principal."""
        written = log_events.audited(event, summary, principal, address, tenant=tenant, **target)
        act = Act(
            self._acts.added + 1,
            round(self._clock(), 6),
            event,
            principal.user_id,
            principal.tenant,
            principal.token_id,
            address,
            tenant or principal.tenant,
            {name: value for name, value in written.items() if name in target},
        )
        self._acts.add(act)

    @contextmanager
    def attempt(
        self, event: str, summary: str, principal: Identity, address: str, *, tenant: str | None, **target: Any
    ) -> Iterator[dict[str, Any]]:
        """A context manager for an act, which is recorded at its end with the fields that are put into the dictionary.
        A refused act is not recorded. One that fails otherwise may have taken effect, and is recorded as `unconfirmed`:
        an event may be in the log, and a revocation is in force on this node."""
        done: dict[str, Any] = {}
        try:
            yield done
        except BaseException as error:
            if isinstance(error, LogUnavailable) or not isinstance(error, AuthError | GatewayError):
                self.record(event, summary, principal, address, tenant=tenant, **target, outcome="unconfirmed")
            raise
        self.record(event, summary, principal, address, tenant=tenant, **target, **done)

    def record_reading(
        self, event: str, summary: str, principal: Identity, address: str, *, tenant: str | None, **target: Any
    ) -> None:
        """Record an act that is repeated each second, once in `REPEAT_SECONDS`."""
        now = self._clock()
        # A clock that was set back must not hide a reading.
        while self._read and not now - REPEAT_SECONDS < (first := next(iter(self._read.items())))[1] <= now:
            del self._read[first[0]]
        key = (event, principal.tenant, principal.user_id, principal.token_id, tenant, *target.items())
        if key not in self._read:
            self._read[key] = now
            self.record(event, summary, principal, address, tenant=tenant, **target)

    def about(self, tenant: str, name: str, limit: int) -> list[Act]:
        """The last acts on a tenant that are of or about a user, a token, a connection, a room or an event of this
        name. O(acts kept)."""
        concerned = (
            act
            for act in self._acts.of(tenant, None, MAX_ACTS)
            if act.tenant == tenant
            and (name in (act.by_user_id, act.by_token_id) or name in act.target.values() or _in_rooms(act, name))
        )
        return list(islice(concerned, limit))

    def of(self, tenant: str | None, before: tuple[float, float] | None, limit: int) -> list[Act]:
        """The last acts, as `AuditActs.of`."""
        return self._acts.of(tenant, before, limit)


def _in_rooms(act: Act, name: str) -> bool:
    return name in str(act.target.get("rooms", "")).split(",")
