"""The JavaScript client in a process of its own, and the messages it reports."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.inprocess import RunningGateway
from tests.support.nodejs import NODE

SCRIPT: Final = Path(__file__).with_name("page.mjs")
PATIENCE: Final = 60.0

BOTH: Final = pytest.mark.parametrize("blocked", [False, True], ids=["websocket", "sse"])
"""For tests of both ways to connect: a page that is `blocked` has no WebSocket, and falls back to event streams."""


class Page:
    """A client in a process of its own, and its reports so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.calls: list[tuple[str, Any]] = []
        self._news = asyncio.Condition()

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            async with self._news:
                kind, value = json.loads(line)
                self.calls.append((kind, value))
                self._news.notify_all()

    def of(self, kind: str) -> list[Any]:
        return [value for name, value in self.calls if name == kind]

    @property
    def numbers(self) -> list[Any]:
        """`data.n` of the events, as they came."""
        return [n for _, n in self.of("event")]

    async def until(self, met: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE), self._news:
                await self._news.wait_for(met)
        except TimeoutError:
            raise AssertionError(f"in vain; {await self._end()} called back {self.calls[-60:]}") from None

    async def _end(self) -> str:
        """The page, and how it ended where it has: with which status, and what it wrote to standard error."""
        if self.process.returncode is None or self.process.stderr is None:
            return "the page"
        errors = (await self.process.stderr.read()).decode()
        return f"the page, which ended with status {self.process.returncode} and {errors!r},"

    async def nth(self, kind: str, index: int) -> Any:
        """The n-th report of a kind; waits for it without a limit."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.of(kind)) > index)
        return self.of(kind)[index]

    async def live(self, room: str) -> None:
        """Until the room, which was opened, is followed."""
        await self.until(lambda: [room, "live", None] in self.of("room"))

    async def subscribed(self, room: str, times: int = 1) -> None:
        await self.until(lambda: sum(room in rooms for rooms, *_ in self.of("subscribed")) >= times)

    def call(self, method: str, *arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([method, *arguments]).encode() + b"\n")

    async def show(self) -> dict[str, Any]:
        before = len(self.of("show"))
        self.call("show")
        await self.until(lambda: len(self.of("show")) > before)
        shown: dict[str, Any] = self.of("show")[-1]
        return shown


@asynccontextmanager
async def page(
    gate: RunningGateway, port: int | None = None, *, token: str | None = None, **options: Any
) -> AsyncIterator[Page]:
    """A page whose client connects to the gate, or to the proxy before it at `port`."""
    async with page_at(port or gate.port, token=token or gate.token(), **options) as made:
        yield made


@asynccontextmanager
async def page_at(port: int, script: Path = SCRIPT, **options: Any) -> AsyncIterator[Page]:
    """A page whose client connects to a port of this machine."""
    given = {"url": f"http://127.0.0.1:{port}/ws/dashboard", **options}
    command = ["--no-warnings", "--experimental-websocket", str(script), json.dumps(given)]
    process = await asyncio.create_subprocess_exec(
        NODE, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    made = Page(process)
    reading = asyncio.create_task(made.read())
    try:
        yield made
        assert process.returncode is None, "the page ended"
    finally:
        if process.returncode is None:
            process.kill()
        assert process.stderr is not None
        errors = (await process.stderr.read()).decode()
        await asyncio.gather(process.wait(), reading)
    assert errors == ""


async def publish(gate: RunningGateway, numbers: list[str], **fields: Any) -> str:
    """Events with these `data.n`; the id of the last."""
    receipt = None
    for n in numbers:
        receipt = await gate.service.gateway.publish("acme", "a.b", {"n": n}, **fields)
    assert receipt is not None
    return receipt.event_id


def named(letter: str, count: int) -> list[str]:
    return [f"{letter}{i}" for i in range(count)]


def slow(gate: RunningGateway) -> str:
    """The token of a client that is given five events a second, and is so kept behind."""
    return gate.token(rate=5)
