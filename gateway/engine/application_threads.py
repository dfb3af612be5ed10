"""Worker threads for the application's plain functions, separate from the event loop's executor for DNS lookups."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

THREADS: Final = 16


class ThreadsHung(RuntimeError):
    """A refusal to queue a call behind calls that do not return."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"all {THREADS} threads are in calls that have not returned for {seconds:g} s;"
            " give what the function waits for a timeout, and restart this process"
        )


class ApplicationThreads:
    """Threads that call plain functions, each in a copy of the caller's context.

    A thread cannot be stopped: a call that takes longer than its timeout is hung, and keeps its thread. Calls wait in
    order for a thread; where all of them are hung, none is queued. Memory is O(calls within a timeout).
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, "gateway-access")  # no thread before the first call
        self._since: dict[int, float] = {}  # by thread in a call, the time at which that began

    async def call(self, seconds: float, function: Callable[..., Any], *arguments: object) -> Any:
        """The result of the function, for a caller with a timeout of `seconds`. Raises `ThreadsHung`, and what the
        function raises."""
        if self._hung(seconds) >= THREADS:
            raise ThreadsHung(seconds)
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, context.run, self._run, function, arguments
        )

    def _run(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> Any:
        thread = threading.get_ident()
        self._since[thread] = time.monotonic()
        try:
            return function(*arguments)
        finally:
            del self._since[thread]

    def _hung(self, seconds: float) -> int:
        """The number of threads in calls that began `seconds` ago or earlier."""
        if len(self._since) < THREADS:
            return 0
        latest = time.monotonic() - seconds
        return sum(since <= latest for since in list(self._since.values()))  # a copy: threads change it
