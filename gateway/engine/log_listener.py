"""The listener of the log: dispatches entries, resets and degradation to the engine's parts."""

from gateway.core.log import LogListener
from gateway.core.window import Entry
from gateway.engine.delivery import Delivery
from gateway.engine.log_status import LogStatusNotifier
from gateway.engine.revocation import RevocationService


class GatewayLogListener(LogListener):
    """The gateway's `LogListener`."""

    def __init__(self, delivery: Delivery, revocation: RevocationService, log_status: LogStatusNotifier) -> None:
        self._delivery = delivery
        self._revocation = revocation
        self._log_status = log_status

    def on_entry(self, tenant: str, entry: Entry) -> None:
        """Deliver the event, and apply its removal."""
        self._delivery.on_entry(tenant, entry)
        if entry.removal is not None:
            self._revocation.apply_removal(tenant, entry.removal, entry.at)

    def on_reset(self, tenant: str) -> None:
        self._log_status.on_reset(tenant)

    def on_skip(self, tenant: str, after: int) -> None:
        self._log_status.on_skip(tenant, after)

    def on_degraded(self, degraded: bool) -> None:
        self._log_status.on_degraded(degraded)
