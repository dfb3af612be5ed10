"""Deadlines of answers, extended where the event loop was held up: an answer that came meanwhile is not late."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

_HELD_UP: Final = 0.4
"""Lag of a timer in seconds from which on the event loop counts as held up, such as by a pause of the machine. Answers
that arrived meanwhile are read only after the timers that are due. The 2 s for an append are over by then, and its late
receipt is better than an error."""


class PauseTolerantTimer:
    """A timer that calls `callback` after `seconds`; later where the event loop was held up at that time: by as long as
    that, and at most by `seconds`."""

    def __init__(self, seconds: float, callback: Callable[..., object], *args: Any) -> None:
        loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._call = callback, args
        self._due = loop.time() + seconds
        self._timer = loop.call_at(self._due, self._on_due)

    def cancel(self) -> None:
        self._timer.cancel()

    def _on_due(self) -> None:
        callback, args = self._call
        loop = asyncio.get_running_loop()
        held_up = loop.time() - self._due
        if held_up < _HELD_UP:
            callback(*args)
        else:
            self._timer = loop.call_later(min(held_up, self._seconds), callback, *args)


class Deadline:
    """An `asyncio.timeout` by a `PauseTolerantTimer`: an asynchronous context manager that raises `TimeoutError`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._timer = PauseTolerantTimer(self._seconds, self._timeout.reschedule, float("-inf"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)
