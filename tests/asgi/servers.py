"""The ASGI servers of docs/asgi-servers.md, each as a process of its own with the gateway on a free port."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx

from gateway.api import create_service
from tests.cli.helpers import environment
from tests.documentation.pages import example
from tests.support import SECRET, Gate, settings_for

PAGE: Final = (Path(__file__).parents[2] / "docs" / "asgi-servers.md").read_text()

_TABLE: Final = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")
]
COLUMNS: Final = _TABLE[0][1:]
ROWS: Final = {row[0]: dict(zip(COLUMNS, row[1:], strict=True)) for row in _TABLE[2:]}
"""What the page says of each server, by column."""

COMMANDS: Final = dict(zip(ROWS, example("asgi servers").splitlines(), strict=True))

PER_USER: Final = 16

SETTINGS: Final = {
    "GATEWAY_JWT_SECRET": SECRET,
    "GATEWAY_HANDSHAKES_PER_MINUTE": "0",
    "GATEWAY_MAX_CONNECTIONS_PER_ADDRESS": "0",
    "GATEWAY_MAX_CONNECTIONS_PER_USER": str(PER_USER),
    "GATEWAY_EVENTS_PER_SECOND": "0",
    "GATEWAY_PING_INTERVAL": "2",
    "GATEWAY_STALL_SECONDS": "2",
    "GATEWAY_SHUTDOWN_DELAY_SECONDS": "0",
    "GATEWAY_DRAIN_SECONDS": "0",
    "GATEWAY_LOG_MAX_BYTES": "1048576",
}

_OPTIONS: Final = {
    "gateway": "--port {port}",
    "uvicorn": "--port {port} --ws-ping-interval 2 --ws-ping-timeout 2",
    "gunicorn": "--bind 127.0.0.1:{port}",
    "hypercorn": "--bind 127.0.0.1:{port} --websocket-ping-interval 2 --graceful-timeout 1",
    "granian": "--port {port}",
    "daphne": "--port {port} --ping-interval 2 --ping-timeout 2",
}
"""A free port; pings every two seconds, and what waits for something else soon."""

_PINGING_WORKER: Final = """
from uvicorn_worker import UvicornWorker as Usual

class UvicornWorker(Usual):
    CONFIG_KWARGS = {**Usual.CONFIG_KWARGS, "ws_ping_interval": 2, "ws_ping_timeout": 2}
"""


class Server(Gate):
    """A running server, and tokens for its gateway."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        super().__init__(create_service(settings_for()), port)
        self.process = process
        self._log = log

    def written(self) -> str:
        """What it has written to stdout and stderr."""
        return self._log.read_text()

    def api(self, scope: str = "subscribe publish") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.token('root', scope=scope)}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False)

    async def stop(self) -> None:
        """End it as an init system does, within its time."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            await self.process.wait()


@asynccontextmanager
async def serving(name: str, home: Path) -> AsyncIterator[Server]:
    """Start the server, with the command of the page."""
    (home / "worker.py").write_text(example("worker.py"))
    (home / "pinging.py").write_text(_PINGING_WORKER)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = COMMANDS[name].replace("uvicorn_worker.", "pinging.").split()
    command += _OPTIONS[command[0]].format(port=port).split()
    log = home / "log"
    with open(log, "wb") as output:  # noqa: ASYNC230 - a moment
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *command),
            cwd=home,
            env=environment(**SETTINGS),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server = Server(process, port, log)
        async with server.api() as api, asyncio.timeout(30):
            while process.returncode is None:
                try:
                    await api.get("/healthz")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        assert process.returncode is None, log.read_text()
        yield server
    finally:
        with suppress(ProcessLookupError):  # and what it has started itself
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
