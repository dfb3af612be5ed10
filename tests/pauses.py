"""Time that the machine took away from the tests: limits are no limits on it."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final

_BEAT: Final = 0.02
_LATE: Final = 0.1
"""Seconds by which a beat may be late; more, and nothing ran here. A loop that blocks does not stop the thread."""


class _Watch:
    def __init__(self) -> None:
        self._lost = 0.0
        self._beat = time.monotonic()
        self._lock = threading.Lock()
        threading.Thread(target=self._watch, daemon=True, name="pauses").start()

    def _watch(self) -> None:
        while True:
            time.sleep(_BEAT)
            self.now()

    def now(self) -> float:
        with self._lock:
            now = time.monotonic()
            late = now - self._beat - _BEAT
            if late > _LATE:
                self._lost += late
            if late > 0:
                self._beat = now
            return now - self._lost


_watch: list[_Watch] = []


def ran() -> float:
    """Seconds of a clock that stands still while this process does not run, as where the machine is paused or gives
    all its time to others for longer than 0.1 s."""
    if not _watch:
        _watch.append(_Watch())
    return _watch[0].now()


async def in_time(condition: Callable[[], object], seconds: float) -> None:
    """Wait until `condition` is true. Raises `TimeoutError` where it is not within `seconds` that this process ran."""
    ends = ran() + seconds
    while not condition():
        if ran() > ends:
            raise TimeoutError
        await asyncio.sleep(0.005)
