"""Time that the machine took away from the tests: limits are no limits on it."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Final

PATIENCE: Final = 60.0
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
            self.ran()

    def ran(self) -> float:
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
    return _watch[0].ran()


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds between two instants. It is under a limit if what this process ran of it is, and over one if all of it
    is: a pause of the machine in between proves neither."""

    whole: float
    ran: float

    def __lt__(self, limit: float) -> bool:
        return self.ran < limit

    def __gt__(self, limit: float) -> bool:
        return self.whole > limit

    def __ge__(self, limit: float) -> bool:
        return self.whole >= limit

    def __format__(self, spec: str) -> str:
        return format(self.whole, spec)


@dataclass(frozen=True, slots=True)
class Instant:
    """A point in time, to measure from or to."""

    monotonic: float
    ran: float

    def __sub__(self, earlier: "Instant") -> Duration:
        return Duration(self.monotonic - earlier.monotonic, self.ran - earlier.ran)

    def __add__(self, seconds: float) -> "Instant":
        return Instant(self.monotonic + seconds, self.ran + seconds)


def now() -> Instant:
    """Now. What a test asserts of time is the difference of two of these."""
    return Instant(time.monotonic(), ran())


async def run_for(seconds: float) -> None:
    """Sleep for so many seconds that this process runs."""
    ends = ran() + seconds
    while (left := ends - ran()) > 0:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(left)


class within:
    """Raises `TimeoutError` out of what takes longer than so many seconds that this process ran."""

    def __init__(self, seconds: float) -> None:
        self._ends = ran() + seconds
        self._timeout = asyncio.timeout(None)
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        if (left := self._ends - ran()) > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._timeout.reschedule(self._loop.time())

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(*error)


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
