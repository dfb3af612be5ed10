"""Programs under test as processes of their own: `gateway serve` above all."""

import asyncio
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, TypeVar

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect

from tests.support.clients import http_client
from tests.support.pauses import PATIENCE, Instant, now, ran
from tests.support.ports import ReservedPort
from tests.support.settings import NO_LIMITS, SECRET, environment
from tests.support.tokens import token

T = TypeVar("T")

MIB: Final = 1024 * 1024

FAULTS: Final = re.compile(r"Traceback|\bERROR\b|\"level\": ?\"error\"|Task exception|eyJ[\w-]+\.eyJ")
"""Lines that no gateway may write to its log under any input: a fault of its own, or a token."""

QUICK: Final[Mapping[str, Any]] = {"commands_per_second": 0, "events_per_second": 0, "drain_seconds": 0}
"""Settings of gateways under test unless they are given."""

_SERVE: Final = ("-m", "gateway", "serve")
_BARE: Final = (
    "-c",
    "import sys; sys.modules.update(uvloop=None, httptools=None); sys.argv[1:1] = ['serve'];"
    "from gateway.cli import main; main()",
)
"""Without the extra `fast`: asyncio's event loop, and the HTTP parser that is written in Python."""

_numbers = itertools.count()


def answers(port: int, path: str) -> bool:
    """Whether a server says 200 there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(65_536):
            answer += data
        return b" 200 " in answer.partition(b"\r\n")[0]
    return False


class Process:
    """A program that runs on in `folder`, with what it has written so far. A context manager that interrupts it."""

    def __init__(
        self, command: Sequence[str], folder: Path, variables: Mapping[str, str], name: str = "process"
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.environment = dict(variables)
        self._command = command
        written = f"{folder.name}-{name}{next(_numbers)}"  # beside the folder, which holds what it makes itself
        self._out, self._err = folder.parent / f"{written}.stdout", folder.parent / f"{written}.stderr"
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self, stderr: int | IO[bytes] | None = None, before: Callable[[], None] | None = None) -> None:
        """Run it; `before` is called in the process first. `stderr` is another place for what it writes there."""
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err if stderr is None else stderr,
                start_new_session=True,
                preexec_fn=before,
            )

    def __enter__(self) -> Self:
        self.launch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not launched"
        return self._process

    @property
    def usage(self) -> psutil.Process:
        """Its memory, descriptors and threads."""
        return psutil.Process(self.process.pid)

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self.process.poll()

    @property
    def output(self) -> str:
        """The output on stdout."""
        return self._out.read_text()

    @property
    def log(self) -> str:
        """The output on stderr."""
        return self._err.read_text()

    @property
    def out(self) -> list[str]:
        """The whole lines of its stdout."""
        return self.output.rpartition("\n")[0].splitlines()

    @property
    def err(self) -> list[str]:
        """The whole lines of its stderr."""
        return self.log.rpartition("\n")[0].splitlines()

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Return when this is true, which the process must live to see."""
        ends = ran() + PATIENCE
        while not condition():
            ended = self.status is not None
            assert condition() or not ended, f"it ended: {self.output}{self.log}"
            assert ran() < ends, f"in vain: {self.output}{self.log}"
            time.sleep(0.01)

    def line(self, pattern: str) -> str:
        """The first group, or the whole, of the first match in a line of either output, once there is one."""

        def found() -> re.Match[str] | None:
            matches = (re.search(pattern, line) for line in (*self.out, *self.err))
            return next((match for match in matches if match), None)

        self.wait_for(found)
        match = found()
        assert match is not None
        return match[1] if match.groups() else match[0]

    def send_signal(self, number: int = signal.SIGTERM) -> Instant:
        """Send it a signal, if it still runs; returns when."""
        self.process.send_signal(number)
        return now()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send it a signal to end by; its exit status."""
        self.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.kill()

    def kill(self) -> None:
        """At once, as a crash does it."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # and what it has started itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)

    async def ended(self, seconds: float = PATIENCE) -> tuple[int, Instant]:
        """Wait for its end: the exit status, and when that was."""
        return await asyncio.to_thread(self.process.wait, seconds), now()


class GatewayProcess(Process):
    """A process of `gateway serve` with these options and settings, without limits unless they are given: the one way
    to start it. A context manager, with `async` or without: it is ready once entered, and on exit it gets SIGTERM, and
    must end with status 0 and without log lines that `FAULTS` names. It keeps its port when it is started again. With
    `bare` it has no uvloop and no httptools; `variables` are those of its environment that are not settings."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        name: str = "gateway",
        bare: bool = False,
        variables: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws/dashboard"
        self._killed = False
        values = {"jwt_secret": SECRET, **NO_LIMITS, **QUICK, **settings}
        command = [sys.executable, *(_BARE if bare else _SERVE), *options, "--port", str(self.port)]
        super().__init__(command, folder, environment({"HOME": str(folder), **(variables or {})}, **values), name)

    # ---- its life

    def wait_until_it_answers(self, path: str = "/readyz") -> None:
        self.wait_for(lambda: self.answers(path))

    def answers(self, path: str = "/readyz") -> bool:
        """Whether it says 200 there."""
        return answers(self.port, path)

    async def start(
        self, stderr: int | IO[bytes] | None = None, before: Callable[[], None] | None = None, ready: bool = True
    ) -> None:
        """Run it, as `launch` does; returns when it answers, and where `ready` when it is ready."""
        self.launch(stderr, before)
        await asyncio.to_thread(self.wait_until_it_answers, "/readyz" if ready else "/healthz")

    def launch(self, stderr: int | IO[bytes] | None = None, before: Callable[[], None] | None = None) -> None:
        self._killed = False
        super().launch(stderr, before)

    def kill(self) -> None:
        self._killed = self._process is not None and self.status is None
        super().kill()

    def assert_well(self) -> None:
        """Its log has none of `FAULTS`."""
        log = self.log
        assert not FAULTS.search(log), log

    def __enter__(self) -> Self:
        try:
            self.launch()
            self.wait_until_it_answers()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and not self._killed:
                status = self.stop(signal.SIGTERM)
                assert status == 0, (status, self.log)
        finally:
            self.close()
        if error is None:
            self.assert_well()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)

    def close(self) -> None:
        """Kill it, if it still runs, and give its port away."""
        self.kill()
        self._reserved.close()

    # ---- what is asked of it

    def api(self, bearer: str | None = None) -> httpx.AsyncClient:
        """A client of its HTTP interface, with this token or that of a publisher."""
        headers = {"Authorization": f"Bearer {bearer or token('publisher')}"}
        return http_client(self.url, headers=headers)

    async def get(self, path: str) -> httpx.Response:
        async with self.api() as api:
            return await api.get(path)

    async def publish(
        self, data: Iterable[Mapping[str, Any]], bearer: str | None = None, type: str = "task.completed", **fields: Any
    ) -> list[str]:
        """An event for each of these data, in one request; returns their ids."""
        events = [{"type": type, "data": each, **fields} for each in data]
        async with self.api(bearer) as api:
            answer = await api.post("/events/batch", json={"events": events})
        assert answer.status_code == 202, answer.text
        return [result["event_id"] for result in answer.json()["results"]]

    @asynccontextmanager
    async def client(self, query: str = "", **options: Any) -> AsyncIterator[ClientConnection]:
        """An ordinary WebSocket client of ada's."""
        url = f"{self.ws_url}?token={token()}{query}"
        async with connect(url, compression=None, max_size=None, **options) as websocket:
            yield websocket

    # ---- what it takes

    @property
    def rss(self) -> int:
        return int(self.usage.memory_info().rss)

    @property
    def sockets(self) -> int:
        """Connections that it has, its listener not among them."""
        return sum(bool(connection.raddr) for connection in self.usage.net_connections("tcp"))

    async def growth_during(self, work: Awaitable[T]) -> tuple[T, int]:
        """The result of the work, and the largest growth of its memory until half a second afterwards."""
        before = self.rss
        working = asyncio.ensure_future(work)
        most = 0
        while not working.done():
            most = max(most, await self.growth(0.02, before))
        return working.result(), max(most, await self.growth(0.5, before))

    async def growth(self, seconds: float, before: int) -> int:
        """The most that its memory grows over `before` within `seconds`."""
        most, ends = 0, time.monotonic() + seconds
        while time.monotonic() < ends:
            most = max(most, self.rss - before)
            await asyncio.sleep(0.02)
        return most


@asynccontextmanager
async def gateway_processes(folder: Path, count: int, **settings: Any) -> AsyncIterator[list[GatewayProcess]]:
    """Several with the same settings."""
    made = [GatewayProcess(folder / f"node{number}", **settings) for number in range(count)]
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(one) for one in made))
        yield made
