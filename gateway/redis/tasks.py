"""Tasks that go on for as long as what they belong to."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

_PAUSE: Final = 0.2


async def for_ever(work: Callable[[], Coroutine[Any, Any, None]], logger: logging.Logger) -> None:
    """Do what is to be done for ever: also after a fault that nobody thought of, which `logger` is told."""
    while True:
        try:
            await work()
        except Exception:
            logger.exception("what goes on for ever met what it should not have")
        await asyncio.sleep(_PAUSE)


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel them and wait until they have ended."""
    ending = set(tasks)
    while ending:
        # Again and again: Python 3.11 loses a cancellation where an answer comes in the same turn.
        for task in ending:
            task.cancel()
        _, ending = await asyncio.wait(ending, timeout=0.1)
