"""The readiness of this node, for load balancers and operators."""

from gateway.core.log import Log
from gateway.engine.drain import Drain
from gateway.engine.housekeeping import Housekeeping
from gateway.engine.lifecycle import Lifecycle


class Readiness:
    """Whether the gateway runs, the log is available and new clients are admitted."""

    def __init__(self, lifecycle: Lifecycle, housekeeping: Housekeeping, log: Log, drain: Drain) -> None:
        self._lifecycle = lifecycle
        self._housekeeping = housekeeping
        self._log = log
        self._drain = drain

    def __bool__(self) -> bool:
        running = self._lifecycle.loop is not None and self._housekeeping.running
        return running and self._log.ready and not self._drain.announced
