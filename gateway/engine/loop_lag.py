"""Event loop lag: how late a timer of the event loop runs."""

import asyncio
from typing import Final

from gateway.core.metric import Histogram

INTERVAL: Final = 0.1
"""Seconds between two samples. One takes 3 us; a blocked loop is sampled once, with the whole time that it was blocked
for, less up to this."""


class LoopLag:
    """Samples the event loop lag in seconds, by one timer of the loop. `samples` has the values of all starts."""

    def __init__(self) -> None:
        self.samples = Histogram()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._timer is None:
            self._schedule(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + INTERVAL
        self._timer = loop.call_at(due, self._sample, loop, due)

    def _sample(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self.samples.observe(max(0.0, loop.time() - due))
        self._schedule(loop)
