"""The readiness of this node, for load balancers and operators."""

from gateway.core.log import Log
from gateway.engine.drain import Drain
from gateway.engine.housekeeping import Housekeeping
from gateway.engine.lifecycle import Lifecycle


class Readiness:
    """Whether the gateway runs, the log is available, new clients are admitted, and the isolation canary has found
    nothing: `finding` is the result of its last failed check, None again after enough clean checks."""

    def __init__(self, lifecycle: Lifecycle, housekeeping: Housekeeping, log: Log, drain: Drain) -> None:
        self._lifecycle = lifecycle
        self._housekeeping = housekeeping
        self._log = log
        self._drain = drain
        self.finding: str | None = None

    def __bool__(self) -> bool:
        return self.problem is None

    @property
    def problem(self) -> str | None:
        """The reason why the node is not ready, None where it is."""
        if self._drain.announced:
            return "this node is shutting down"
        if self._lifecycle.loop is None or not self._housekeeping.running or not self._log.ready:
            return "the event log is unavailable"
        return None if self.finding is None else f"the isolation canary has found: {self.finding}; see the log"
