"""The one node there is."""

import secrets
import time
from collections.abc import Callable

from gateway.core.cluster import ControlMessage, OnControl
from gateway.core.roster import OnChanges, Others, Source


class LocalMembers:
    """Every connection is in this node's own index."""

    partial = False

    def __init__(self) -> None:
        self.node = f"node_{secrets.token_hex(6)}"

    def attach(self, source: Source, on_changes: OnChanges) -> None:
        """Nobody is told anything."""

    async def start(self) -> None:
        """There is nobody to follow."""

    async def stop(self) -> None:
        """There is nobody to tell."""

    def changed(self, tenant: str, connection_id: str) -> None:
        """Nobody else is to know."""

    def watch(self, tenant: str) -> None:
        """Nothing changes elsewhere."""

    def unwatch(self, tenant: str) -> None:
        """Nothing was kept up with."""

    def look(self, tenant: str) -> None:
        return None

    def others(self, tenant: str) -> Others:
        return Others()


class LocalCluster:
    """`Cluster` without others. `timer` is seconds of a clock that never goes back."""

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self.members = LocalMembers()
        self._timer = timer
        self._kept: dict[str, tuple[float, str]] = {}

    def attach(self, on_notice: OnControl) -> None:
        """Nobody tells anything."""

    async def start(self) -> None:
        """There is nobody to listen to."""

    async def stop(self) -> None:
        self._kept.clear()

    async def tell(self, notice: ControlMessage) -> None:
        """Nobody else is to know."""

    async def keep(self, key: str, value: str, seconds: int) -> None:
        now = self._timer()
        self._kept = {known: kept for known, kept in self._kept.items() if kept[0] > now}
        self._kept[key] = (now + seconds, value)

    async def take(self, key: str) -> str | None:
        until, value = self._kept.pop(key, (0.0, ""))
        return value if until > self._timer() else None
