"""Time that the machine took away from the tests: limits are no limits on it."""

import asyncio
import threading
import time
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, Final

PATIENCE: Final = 20.0
"""Seconds after which a test gives up; far more than anything here takes. No limit on the machine is shorter: where one
is what a test asserts, it is marked `timing`."""

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


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> Any:
    """The first true value of `condition`, or of what there is to await in it. Raises `TimeoutError` where there is
    none within `seconds` that this process ran."""
    ends = ran() + seconds
    while True:
        value, pause = condition(), 0.005
        if isawaitable(value):
            value, pause = await value, 0.05
        if value:
            return value
        if ran() > ends:
            raise TimeoutError(f"after {seconds:g} s it is still {value!r}")
        await asyncio.sleep(pause)


async def until_equal(what: Callable[[], object], expected: object, seconds: float = PATIENCE) -> None:
    """Wait until what this returns, or what there is to await in it, is what is expected."""
    found = None

    async def met() -> bool:
        nonlocal found
        found = what()
        if isawaitable(found):
            found = await found
        return bool(found == expected)

    try:
        await until(met, seconds)
    except TimeoutError:
        raise AssertionError(f"{found} and not {expected} after {seconds:g} s") from None
