"""Nodes that a test can kill and stop: each a `gateway serve` of its own, on loopback."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

from tests.redis.server import free_port
from tests.support import ROOMY, SECRET


class Node:
    """`gateway serve` with these settings. What it writes to stderr is in `log`, unless it is given another place."""

    def __init__(self, folder: Path, name: str = "node", **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{name}.stderr"
        self._folder = folder
        values = {"jwt_secret": SECRET, "commands_per_second": 0, "events_per_second": 0, **ROOMY, **settings}
        own = {f"GATEWAY_{key.upper()}": str(value) for key, value in values.items() if value is not None}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
        self._environment = {**inherited, **own}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    @property
    def insides(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/dashboard"

    async def start(
        self, stderr: int | IO[bytes] | None = None, before: Callable[[], None] | None = None, ready: bool = True
    ) -> None:
        """Run it; `before` is called in the process first. Returns when it answers, and where `ready` is ready."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "serve", "--port", str(self.port)),
                cwd=self._folder,
                env=self._environment,
                stderr=log if stderr is None else stderr,
                start_new_session=True,
                preexec_fn=before,
            )
        async with asyncio.timeout(20):
            while not await self.answers("/readyz" if ready else "/healthz"):
                assert self._process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def answers(self, path: str = "/healthz") -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(self.url + path)).status_code == 200
        except httpx.HTTPError:
            return False

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    async def kill(self) -> None:
        """At once, as a crash does it."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            async with asyncio.timeout(10):
                await self._process.wait()

    def regrets(self) -> list[str]:
        """What it wrote that it should not have had to."""
        text = self.log.read_text()
        return re.findall(r"^(?:Traceback|ERROR|Task exception).*", text, re.MULTILINE)


@asynccontextmanager
async def nodes(folder: Path, count: int, **settings: Any) -> AsyncIterator[list[Node]]:
    """Running nodes, all of them with the same settings."""
    made = [Node(folder / "nodes", f"node{i}", **settings) for i in range(count)]
    try:
        await asyncio.gather(*(node.start() for node in made))
        yield made
    finally:
        await asyncio.gather(*(node.kill() for node in made))
