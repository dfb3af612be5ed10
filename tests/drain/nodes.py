"""`gateway serve` as a process of its own that is told to end, and clients that take down what becomes of them."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from gateway.testing import until
from tests.engine.served import token
from tests.support import ROOMY, SECRET

PATIENCE: Final = 20.0


class Node:
    """A running `gateway serve`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text()

    def tell(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send the signal; returns when that was."""
        self.process.send_signal(number)
        return time.monotonic()

    async def ended(self) -> tuple[int, float]:
        """The exit status, and when it ended."""
        async with asyncio.timeout(PATIENCE):
            status = await self.process.wait()
        return status, time.monotonic()

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP; spares loading the certificates
            return await client.get(self.url + path)

    async def publish(self, number: int, room: str = "x") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token('publisher')}"}
        event = {"type": "task.completed", "data": {"n": number}, "circle_id": room, "idempotency_key": f"n{number}"}
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - the same
            return await client.post(f"{self.url}/events", json=event, headers=headers)

    async def publish_all(self, numbers: range, room: str = "x") -> None:
        """In one request."""
        headers = {"Authorization": f"Bearer {token('publisher')}"}
        events = [{"type": "task.completed", "data": {"n": number}, "circle_id": room} for number in numbers]
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - the same
            answer = await client.post(f"{self.url}/events/batch", json={"events": events}, headers=headers)
        assert all("event_id" in result for result in answer.json()["results"]), answer.text


@asynccontextmanager
async def serving(folder: Path, port: int = 0, **settings: Any) -> AsyncIterator[Node]:
    """A node with these settings, killed at the end if it has not ended. Afterwards its log must show no fault."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - a moment
    log = folder / "stderr.txt"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    values = {"jwt_secret": SECRET, "commands_per_second": 0, **ROOMY, **settings}
    environment = {f"GATEWAY_{name.upper()}": str(value) for name, value in values.items()}
    with open(log, "wb") as output:  # noqa: ASYNC230 - a moment
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve", "--port", str(port)),
            cwd=folder,
            env={**inherited, **environment},
            stderr=output,
        )
    try:
        async with asyncio.timeout(PATIENCE):
            while not (found := re.search(r"Listening on http://\S+:(\d+)\n", log.read_text())):
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.02)
        yield Node(process, int(found[1]), log)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    assert "Traceback" not in log.read_text(), log.read_text()


class Witness:
    """A client that reads to the end: its frames, and the code, the reason and the time of the close."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.told_at = 0.0
        self.closed_at = 0.0
        self.code: int | None = None
        self.reason: str | None = None
        self.established = asyncio.Event()
        self.told = asyncio.Event()

    async def run(self, node: Node, query: str = "&rooms=circle:x", bearer: str | None = None) -> None:
        url = f"ws://127.0.0.1:{node.port}/ws/dashboard?token={bearer or token()}{query}"
        async with connect(url, compression=None, max_size=None) as websocket:
            with suppress(ConnectionClosed):
                async for text in websocket:
                    frame = json.loads(text)
                    self.frames.append(frame)
                    if frame["type"] in ("subscribed", "error"):
                        self.established.set()
                    elif frame["type"] == "server.draining":
                        self.told_at = time.monotonic()
                        self.told.set()
            self.closed_at = time.monotonic()
            self.code, self.reason = websocket.close_code, websocket.close_reason

    @property
    def slot(self) -> int:
        (told,) = self.of("server.draining")
        return int(told["data"]["reconnect_after_ms"])

    @property
    def numbers(self) -> list[int]:
        return [frame["data"]["n"] for frame in self.of("task.completed")]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == kind]


@asynccontextmanager
async def witnesses(node: Node, count: int, **options: Any) -> AsyncIterator[list[Witness]]:
    """So many, subscribed; the block may go on to wait for their ends with `all_closed`."""
    found = [Witness() for _ in range(count)]
    tasks = [asyncio.create_task(witness.run(node, **options)) for witness in found]
    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(witness.established.wait() for witness in found))
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def all_closed(found: list[Witness]) -> None:
    await until(lambda: all(witness.closed_at for witness in found))
