"""The audit trail: acts of administrators on this node, written to the log and kept for a while."""

from collections.abc import Callable
from typing import Any

from auth.identity import Identity
from gateway.core.audit_acts import Act, AuditActs
from gateway.telemetry import log_events


class AuditTrail:
    """Records what administrators do. `clock` is seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._acts = AuditActs()
        self._clock = clock

    def record(
        self, event: str, summary: str, principal: Identity, address: str, *, tenant: str | None, **target: Any
    ) -> None:
        """Record an act on a tenant, None for all tenants; fields that are None are left out. Never suppressed: the
        routes behind it are limited by principal."""
        written = log_events.audited(event, summary, principal, address, tenant=tenant, **target)
        act = Act(
            self._acts.added + 1,
            self._clock(),
            event,
            principal.user_id,
            principal.tenant,
            principal.token_id,
            address,
            tenant or principal.tenant,
            {name: value for name, value in written.items() if name in target},
        )
        self._acts.add(act)

    def of(self, tenant: str | None, before: int | None, limit: int) -> list[Act]:
        """The last acts, as `AuditActs.of`."""
        return self._acts.of(tenant, before, limit)
