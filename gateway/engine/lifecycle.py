"""The lifecycle of a gateway: start and stop, on one event loop at a time."""

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final, ParamSpec, TypeVar

from gateway.core.errors import LogUnavailable

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Step = Callable[[], Coroutine[Any, Any, None]]

_RUN_HINT: Final = "include its router, or run it in your application's lifespan: `async with service.running():`"

logger = logging.getLogger("gateway")


class NotRunning(LogUnavailable):
    """The gateway was not started, or was stopped."""

    def __init__(self) -> None:
        super().__init__(f"the gateway is not running: {_RUN_HINT}")


class WrongEventLoop(RuntimeError):
    """A call on another event loop than the gateway's, or a blocking one on its own. It had no effect."""


class Lifecycle:
    """Starts the parts in the order in which they were added, and stops them in reverse.

    `start` and `stop` are called by a lifespan. Where none ran, as in a mounted application or under Daphne,
    `ensure_running` starts the gateway at its first use; it then runs until its event loop ends.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop of the running gateway: None before all parts have started, and once the stop has begun."""
        self._parts: list[tuple[Step, Step]] = []
        self._bound_loop: asyncio.AbstractEventLoop | None = None
        self._run: asyncio.Task[None] | None = None
        self._stopping: asyncio.Event
        self._started: asyncio.Future[None]

    def add(self, start: Step, stop: Step) -> None:
        """Start and stop a part with the gateway: after the parts added before it, and stopped before them."""
        self._parts.append((start, stop))

    async def start(self) -> bool:
        """Start, unless it runs on this event loop already. Returns whether this call did it, and must be followed by
        `stop`. Raises `WrongEventLoop` where it runs on another one, and the exception of a part that cannot start."""
        loop = asyncio.get_running_loop()
        if self._run is not None and self._bound_loop is loop and self._stopping.is_set():
            await asyncio.wait((self._run,))
        began = self._run is None
        if self._run is None:
            self._bound_loop, self._stopping, self._started = loop, asyncio.Event(), loop.create_future()
            self._run = loop.create_task(self._run_parts(), name="gateway")
        else:
            self._require_bound_loop(loop)
        await asyncio.shield(self._started)
        return began

    async def stop(self) -> None:
        """Stop; no-op where it does not run. Raises `WrongEventLoop` on another event loop, and the exception of a
        part."""
        if self._run is not None:
            self._require_bound_loop(asyncio.get_running_loop())
            self._stopping.set()
            await asyncio.shield(self._run)

    async def ensure_running(self) -> None:
        """Return with the gateway running on this event loop, after starting it if necessary. Raises `WrongEventLoop`
        where it runs on another one, and `NotRunning` where it was stopped."""
        loop = asyncio.get_running_loop()
        if self.loop is loop:
            return
        if self._bound_loop is loop and (self._run is None or self._stopping.is_set()):
            raise NotRunning
        if await self.start():
            logger.warning("no lifespan ran, so the gateway started at its first use: %s", _RUN_HINT)

    def require_here(self) -> None:
        """Raise `WrongEventLoop` where it runs on another event loop than the caller's."""
        if self.loop is not None:
            self._require_bound_loop(_running_loop())

    def runs_elsewhere(self) -> bool:
        """Whether it runs on another event loop than the caller's."""
        return self.loop is not None and self.loop is not _running_loop()

    def submit(
        self,
        function: Callable[Arguments, Coroutine[Any, Any, Result]],
        *args: Arguments.args,
        **more: Arguments.kwargs,
    ) -> "concurrent.futures.Future[Result]":
        """Run a coroutine function on the gateway's event loop, from another thread. Raises `NotRunning`; and
        `WrongEventLoop` on the gateway's own event loop, which waiting for the result would block."""
        loop = self.loop
        if loop is None:
            raise NotRunning
        if loop is _running_loop():
            raise WrongEventLoop("this is the gateway's own event loop: await `publish` instead")
        return asyncio.run_coroutine_threadsafe(function(*args, **more), loop)

    async def run(
        self,
        function: Callable[Arguments, Coroutine[Any, Any, Result]],
        *args: Arguments.args,
        **more: Arguments.kwargs,
    ) -> Result:
        """Await a coroutine function on the gateway's event loop, from any event loop."""
        if self.runs_elsewhere():
            return await asyncio.wrap_future(self.submit(function, *args, **more))
        return await function(*args, **more)

    def threadsafe(
        self, function: Callable[Arguments, Coroutine[Any, Any, Result]]
    ) -> "Callable[Arguments, concurrent.futures.Future[Result]]":
        """The function as one that `submit`s it."""

        def submit(*args: Arguments.args, **more: Arguments.kwargs) -> "concurrent.futures.Future[Result]":
            return self.submit(function, *args, **more)

        return submit

    def _require_bound_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        if self._bound_loop is loop:
            return
        if self._bound_loop is not None and self._bound_loop.is_closed():
            raise WrongEventLoop("the gateway's event loop was closed before it was stopped: create another service")
        raise WrongEventLoop(
            "the gateway runs on another event loop, and on one at a time: use its application there; from a thread or"
            " a plain `def` route call `publish_threadsafe`"
        )

    async def _run_parts(self) -> None:
        """Start and stop all parts in one task. The end of the event loop cancels it, which stops them as well."""
        try:
            async with AsyncExitStack() as stack:
                for start, stop in self._parts:
                    await start()
                    stack.push_async_callback(stop)
                self.loop = self._bound_loop
                self._started.set_result(None)
                try:
                    await self._stopping.wait()
                finally:
                    self.loop = None
        except Exception as error:
            if self._started.done():
                raise
            self._bound_loop = None
            self._started.set_exception(error)
        finally:
            self._started.cancel()
            self._run = None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # a thread without one
        return None
