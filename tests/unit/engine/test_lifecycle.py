"""The lifecycle of a gateway: parts in order, one event loop at a time, begun by its first use without a lifespan."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from gateway.engine.lifecycle import Lifecycle, NotRunning, WrongEventLoop
from tests.support.pauses import PATIENCE


class Parts:
    """A lifecycle of two parts, with what was done to them."""

    def __init__(self) -> None:
        self.lifecycle = Lifecycle()
        self.done: list[str] = []
        self.fails = ""
        for name in ("log", "engine"):
            self.lifecycle.add(self._step(f"start {name}"), self._step(f"stop {name}"))

    def _step(self, what: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def step() -> None:
            await asyncio.sleep(0)
            if what == self.fails:
                raise OSError(what)
            self.done.append(what)

        return step


ALL = ["start log", "start engine", "stop engine", "stop log"]


async def elsewhere(what: Callable[[], Awaitable[object]]) -> BaseException | None:
    """The exception that this raises on another event loop, in another thread."""

    async def attempt() -> BaseException | None:
        try:
            await what()
        except Exception as error:
            return error
        return None

    return await asyncio.to_thread(asyncio.run, attempt())


async def test_parts_start_in_order_and_stop_in_the_reverse_one() -> None:
    parts = Parts()
    assert await parts.lifecycle.start()
    loop = parts.lifecycle.loop
    assert loop is asyncio.get_running_loop()
    await parts.lifecycle.stop()
    assert parts.done == ALL
    assert parts.lifecycle.loop is None
    await parts.lifecycle.stop()
    assert parts.done == ALL


async def test_one_start_of_many_is_the_one_to_stop_it() -> None:
    """A lifespan within another one leaves the stop to the outer one."""
    parts = Parts()
    assert sorted(await asyncio.gather(*(parts.lifecycle.start() for _ in range(5)))) == [False] * 4 + [True]
    assert parts.done == ALL[:2]
    await parts.lifecycle.stop()


def test_it_starts_again_on_another_event_loop() -> None:
    parts = Parts()

    async def life() -> None:
        await parts.lifecycle.start()
        await parts.lifecycle.stop()

    for times in (1, 2, 3):
        asyncio.run(life())
        assert parts.done == ALL * times


async def test_a_start_during_the_stop_comes_after_it() -> None:
    parts = Parts()
    await parts.lifecycle.start()
    stopping = asyncio.create_task(parts.lifecycle.stop())
    await asyncio.sleep(0)
    assert await parts.lifecycle.start()
    await stopping
    assert parts.done == ALL + ALL[:2]
    await parts.lifecycle.stop()


async def test_a_part_that_cannot_start_stops_those_before_it() -> None:
    """Each waiting caller gets the error, and a later start tries again."""
    parts = Parts()
    parts.fails = "start engine"
    results = await asyncio.gather(*(parts.lifecycle.ensure_running() for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in results] == ["start engine"] * 3
    assert parts.done == ["start log", "stop log"]
    parts.fails = ""
    await parts.lifecycle.ensure_running()
    assert parts.lifecycle.loop is not None
    await parts.lifecycle.stop()


async def test_a_part_that_fails_to_stop_does_not_keep_the_others_from_it() -> None:
    parts = Parts()
    parts.fails = "stop engine"
    await parts.lifecycle.start()
    with pytest.raises(OSError, match="stop engine"):
        await parts.lifecycle.stop()
    assert parts.done == ["start log", "start engine", "stop log"]


async def test_on_another_event_loop_every_call_raises_and_changes_nothing() -> None:
    parts = Parts()
    await parts.lifecycle.start()
    for call in (parts.lifecycle.start, parts.lifecycle.stop, parts.lifecycle.ensure_running):
        error = await elsewhere(call)
        assert isinstance(error, WrongEventLoop)
        assert "publish_threadsafe" in str(error)
    assert await asyncio.to_thread(parts.lifecycle.runs_elsewhere)
    assert not parts.lifecycle.runs_elsewhere()
    with pytest.raises(WrongEventLoop):
        await asyncio.to_thread(parts.lifecycle.require_here)
    parts.lifecycle.require_here()
    assert parts.done == ALL[:2]
    await parts.lifecycle.stop()


# ---- first use


def test_the_first_use_starts_it_and_the_end_of_the_event_loop_stops_it(caplog: pytest.LogCaptureFixture) -> None:
    """Once, however many come at once; one line says so, and how it is done better. Again on the next event loop."""
    parts = Parts()

    async def use() -> None:
        await asyncio.gather(*(parts.lifecycle.ensure_running() for _ in range(5)))
        assert parts.lifecycle.loop is asyncio.get_running_loop()

    for times in (1, 2):
        asyncio.run(use())
        assert parts.done == ALL * times
        assert parts.lifecycle.loop is None
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 2
    assert "async with service.running()" in lines[0]


async def test_a_stopped_gateway_is_not_started_by_its_use() -> None:
    """Where a lifespan has ended, what still comes is refused."""
    parts = Parts()
    await parts.lifecycle.start()
    await parts.lifecycle.stop()
    with pytest.raises(NotRunning, match="not running"):
        await parts.lifecycle.ensure_running()
    assert parts.done == ALL


def test_an_event_loop_that_was_closed_over_it_is_named() -> None:
    """The tasks could not be stopped: their event loop had been closed."""
    parts = Parts()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(parts.lifecycle.start())
    (orphan,) = asyncio.all_tasks(loop)
    loop.close()
    with pytest.raises(WrongEventLoop, match="closed before it was stopped"):
        asyncio.run(parts.lifecycle.ensure_running())
    orphan._log_destroy_pending = False  # type: ignore[attr-defined]  # it is the fault that is tested
    coroutine = orphan.get_coro()
    with suppress(asyncio.CancelledError):
        coroutine.throw(asyncio.CancelledError())
        while True:
            coroutine.send(None)


# ---- threads


async def test_a_thread_submits_to_the_event_loop() -> None:
    parts = Parts()
    await parts.lifecycle.start()

    async def where() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def from_a_thread() -> asyncio.AbstractEventLoop:
        return parts.lifecycle.submit(where).result(timeout=PATIENCE)

    assert await asyncio.to_thread(from_a_thread) is asyncio.get_running_loop()
    with pytest.raises(WrongEventLoop, match="await"):
        parts.lifecycle.submit(where)
    await parts.lifecycle.stop()
    with pytest.raises(NotRunning):
        await asyncio.to_thread(from_a_thread)


async def test_a_call_from_any_event_loop_runs_on_its_own() -> None:
    parts = Parts()
    await parts.lifecycle.start()
    seen: list[asyncio.AbstractEventLoop] = []

    async def note(what: str) -> None:
        seen.append(asyncio.get_running_loop())

    async def call() -> None:
        await parts.lifecycle.run(note, "x")

    await call()
    assert await elsewhere(call) is None
    assert seen == [asyncio.get_running_loop()] * 2
    await parts.lifecycle.stop()
