"""Supervised background tasks."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

_PAUSE: Final = 0.2


async def supervise(work: Callable[[], Coroutine[Any, Any, None]], logger: logging.Logger) -> None:
    """Run `work` again whenever it ends; an unexpected exception is logged."""
    while True:
        try:
            await work()
        except Exception:
            logger.exception("background task failed; restarting it")
        await asyncio.sleep(_PAUSE)


class WakeUp:
    """An event for one waiting task, like `asyncio.Event`, but on any event loop: its owner may be started again on
    another one."""

    def __init__(self) -> None:
        self._set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        self._set = False

    async def wait(self) -> None:
        """Return once it is set. For one task at a time."""
        while not self._set:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None


async def cancel_and_wait(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel the tasks, wait for their end, and empty the list."""
    ending = set(tasks)
    tasks.clear()
    while ending:
        # Repeatedly: Python 3.11 loses a cancellation that comes in the same loop iteration as a result.
        for task in ending:
            task.cancel()
        _, ending = await asyncio.wait(ending, timeout=0.1)
