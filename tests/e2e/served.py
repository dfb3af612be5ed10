"""`gateway serve` as its users start it: a process of its own, in a home of its own."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

GATEWAY: Final = (sys.executable, "-m", "gateway")
PATIENCE: Final = 20.0
"""Seconds that a condition may take on a busy machine; on an idle one none takes more than a few."""

Value = TypeVar("Value")


async def until(condition: Callable[[], Awaitable[Value | None]], what: str, timeout: float = PATIENCE) -> Value:
    """The first true value of `condition`, looked at again and again; fails where there is none in time."""
    ends = time.monotonic() + timeout
    while not (value := await condition()):
        assert time.monotonic() < ends, f"waited {timeout:g} s for {what}; the last value was {value!r}"
        await asyncio.sleep(0.03)
    return value


def environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without its settings of a gateway, and with `settings`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    quick = {"PYTHONUNBUFFERED": "1", "GATEWAY_SHUTDOWN_DELAY_SECONDS": "0", "GATEWAY_DRAIN_SECONDS": "0"}
    return {**inherited, "HOME": str(home), **quick, **settings}


class Served:
    """One `gateway serve` with its own working directory, where its development key is."""

    def __init__(self, home: Path, options: tuple[str, ...], settings: Mapping[str, str]) -> None:
        self.home = home
        self.port = 0
        self.environment = environment(home, settings)
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._out, self._err = home / "stdout.txt", home / "stderr.txt"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def errors(self) -> str:
        return self._err.read_text()

    async def start(self) -> None:
        """Start it, the first time on a free port and then on the same one; back once it answers."""
        self._process = self._launch()
        self.port = int((await until(self._address, "the gateway's address"))[1])

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [*GATEWAY, "serve", *self._options, "--port", str(self.port)]
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            return subprocess.Popen(command, cwd=self.home, env=self.environment, stdout=out, stderr=err)

    async def _address(self) -> re.Match[str] | None:
        assert self._process is not None
        assert self._process.poll() is None, f"gateway serve ended: {self.output}{self.errors}"
        if "--dev" in self._options:  # as its user finds it: in the banner, which says more after the address
            return re.search(r"Dashboard +http://127\.0\.0\.1:(\d+)/\n[\s\S]*\bDevelopment mode\b", self.output)
        return re.search(r"Listening on http://127\.0\.0\.1:(\d+)\n", self.errors)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            process, self._process = self._process, None
            try:
                await asyncio.to_thread(process.wait, PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    async def run(self, *command: str, settings: Mapping[str, str] | None = None) -> str:
        """What a command in the gateway's directory and environment prints; it must succeed."""
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=self.home,
            env={**self.environment, **(settings or {})},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    async def tenants(self) -> dict[str, dict[str, Any]]:
        """What the page is given in development mode, by tenant: `token`, `rooms`, `foreign_room` and more."""
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP; spares the certificates
            answer = await client.post(f"{self.url}/dev/session", json={})
        answer.raise_for_status()
        return {tenant["tenant"]: tenant for tenant in answer.json()["tenants"]}

    async def publish(self, token: str, count: int = 1, **event: Any) -> list[str]:
        """Publish the event `count` times, each with its number in `data`; returns their ids."""
        event = {"type": "task.created", **event}
        ids = []
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - as above
            for number in range(count):
                body = {"data": {"title": "from the test", "number": number}, **event}
                answer = await client.post(
                    f"{self.url}/events", json=body, headers={"Authorization": f"Bearer {token}"}
                )
                assert answer.status_code == 202, answer.text
                ids.append(str(answer.json()["event_id"]))
        return ids


@asynccontextmanager
async def serving(home: Path, *options: str, **settings: str) -> AsyncIterator[Served]:
    """A gateway from now on until left; then its log must show no traceback and no token."""
    served = Served(home, options, settings)
    try:
        await served.start()
        yield served
    finally:
        await served.stop()
    assert "Traceback" not in served.errors, served.errors
    assert "eyJ" not in served.errors, "a token is in the log"
