"""The ASGI servers of docs/asgi-servers.md, each as a process of its own with the gateway on a free port."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx

from gateway.api import create_service
from tests.documentation.pages import example
from tests.support.clients import http_client
from tests.support.inprocess import RunningGateway
from tests.support.ports import ReservedPort
from tests.support.process import Process, answers
from tests.support.settings import NO_LIMITS, SECRET, environment, settings_for

PAGE: Final = (Path(__file__).parents[2] / "docs" / "asgi-servers.md").read_text()

_TABLE: Final = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")
]
COLUMNS: Final = _TABLE[0][1:]
ROWS: Final = {row[0]: dict(zip(COLUMNS, row[1:], strict=True)) for row in _TABLE[2:]}
"""The values of the page's table for each server, by column."""

COMMANDS: Final = dict(zip(ROWS, example("asgi servers").splitlines(), strict=True))

PER_USER: Final = 16

PING_SECONDS: Final = 5
"""The interval of pings, and the time to answer one: a pause of the machine is shorter, and ends no connection."""

SETTINGS: Final = {
    **NO_LIMITS,
    "jwt_secret": SECRET,
    "max_connections_per_user": PER_USER,
    "events_per_second": 0,
    "commands_per_second": 5,
    "command_burst": 20,
    "ping_interval": PING_SECONDS,
    "stall_seconds": 5,
    "drain_seconds": 0,
    "log_max_bytes": 1_048_576,
}

_OPTIONS: Final = {
    "gateway": "--port {port}",
    "uvicorn": "--port {port} --ws-ping-interval {seconds} --ws-ping-timeout {seconds}",
    "gunicorn": "--bind 127.0.0.1:{port}",
    "hypercorn": "--bind 127.0.0.1:{port} --websocket-ping-interval {seconds} --graceful-timeout 1",
    "granian": "--port {port}",
    "daphne": "--port {port} --ping-interval {seconds} --ping-timeout {seconds}",
}
"""A free port; pings, and what waits for something else soon."""

_PINGING_WORKER: Final = f"""
from uvicorn_worker import UvicornWorker as Usual
from tests.support.clients import http_client

class UvicornWorker(Usual):
    CONFIG_KWARGS = {{**Usual.CONFIG_KWARGS, "ws_ping_interval": {PING_SECONDS}, "ws_ping_timeout": {PING_SECONDS}}}
"""


class Server(RunningGateway):
    """A running server, and tokens for its gateway."""

    def __init__(self, process: Process, port: int) -> None:
        super().__init__(create_service(settings_for()), port)
        self._process = process

    def written(self) -> str:
        """The output of a server on stdout and stderr."""
        return self._process.output + self._process.log

    def api(self, scope: str = "subscribe publish") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.token('root', scope=scope)}"}
        # Servers close idle connections after 5 s, and a request on its way meets that.
        return http_client(self.url, headers=headers, limits=httpx.Limits(max_keepalive_connections=0))

    async def stop(self) -> None:
        """End it as an init system does, within its time."""
        self._process.send_signal(signal.SIGTERM)
        await self._process.ended()


@asynccontextmanager
async def serving(name: str, home: Path) -> AsyncIterator[Server]:
    """Start the server, with the command of the page."""
    (home / "worker.py").write_text(example("worker.py"))
    (home / "pinging.py").write_text(_PINGING_WORKER)
    with ReservedPort() as port:
        command = COMMANDS[name].replace("uvicorn_worker.", "pinging.").split()
        command += _OPTIONS[command[0]].format(port=port, seconds=PING_SECONDS).split()
        with Process([sys.executable, "-m", *command], home, environment(**SETTINGS)) as process:
            await asyncio.to_thread(process.wait_for, lambda: answers(port, "/healthz"))
            try:
                yield Server(process, port)
            finally:
                process.kill()  # Gunicorn with a worker of uvicorn's does not end on SIGINT
