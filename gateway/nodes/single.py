"""The one node there is."""

import time
from collections.abc import Callable

from gateway.core.nodes import Notice, OnNotice
from gateway.nodes.alone import Alone


class SingleNode:
    """`Nodes` without others. `timer` is seconds of a clock that never goes back."""

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self.members = Alone()
        self._timer = timer
        self._kept: dict[str, tuple[float, str]] = {}

    def attach(self, on_notice: OnNotice) -> None:
        """Nobody tells anything."""

    async def start(self) -> None:
        """There is nobody to listen to."""

    async def stop(self) -> None:
        self._kept.clear()

    async def tell(self, notice: Notice) -> None:
        """Nobody else is to know."""

    async def keep(self, key: str, value: str, seconds: int) -> None:
        now = self._timer()
        self._kept = {known: kept for known, kept in self._kept.items() if kept[0] > now}
        self._kept[key] = (now + seconds, value)

    async def take(self, key: str) -> str | None:
        until, value = self._kept.pop(key, (0.0, ""))
        return value if until > self._timer() else None
