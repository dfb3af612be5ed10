"""`gateway serve` as a process of its own, so that its memory and its time are nobody else's."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect

from auth.keys import KeyRing, hmac_key
from auth.tokens import TokenIssuer
from tests.engine.raw import PATIENCE
from tests.support import ROOMY, SECRET

MIB: Final = 1024 * 1024
_ISSUER: Final = TokenIssuer(KeyRing([hmac_key(SECRET.encode())]), "gathering-gateway", "gathering-gateway")


def token(user_id: str = "ada", scope: str = "subscribe publish", **more: Any) -> str:
    """A token for the servers here."""
    return _ISSUER.issue(
        user_id=user_id,
        tenant="acme",
        rooms=("circle:*", "project:*", "tenant"),
        scope=scope.split(),
        expires_in=600,
        now=time.time(),
        **more,
    ).access_token


class Served:
    """A running `gateway serve`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.memory = psutil.Process(process.pid)

    @property
    def output(self) -> str:
        """What it has written to stderr."""
        return self.log.read_text()

    @property
    def rss(self) -> int:
        return int(self.memory.memory_info().rss)

    @property
    def sockets(self) -> int:
        """Connections that it has, its listener not among them."""
        return sum(bool(connection.raddr) for connection in self.memory.net_connections("tcp"))

    async def publish(self, data: Iterable[dict[str, Any]]) -> None:
        """An event in circle:load with each of these data."""
        events = [{"type": "task.completed", "data": each, "circle_id": "load"} for each in data]
        headers = {"Authorization": f"Bearer {token()}"}
        async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
            answer = await client.post(f"http://127.0.0.1:{self.port}/events/batch", json={"events": events})
        assert answer.status_code == 202, answer.text

    async def growth(self, seconds: float, before: int) -> int:
        """The most that its memory grows over `before` within `seconds`."""
        most, ends = 0, time.monotonic() + seconds
        while time.monotonic() < ends:
            most = max(most, self.rss - before)
            await asyncio.sleep(0.02)
        return most

    @asynccontextmanager
    async def client(self, query: str = "", **options: Any) -> AsyncIterator[ClientConnection]:
        """An ordinary client."""
        url = f"ws://127.0.0.1:{self.port}/ws/dashboard?token={token()}{query}"
        async with connect(url, compression=None, max_size=None, **options) as websocket:
            yield websocket


_SERVE: Final = ("-m", "gateway", "serve", "--port", "0")
_BARE: Final = (
    "import sys; sys.modules.update(uvloop=None, httptools=None); sys.argv[1:] = ['serve', '--port', '0'];"
    "from gateway.cli import main; main()"
)
"""Without the extra `fast`: asyncio's event loop, and the HTTP parser that is written in Python."""


@asynccontextmanager
async def serving(tmp_path: Path, bare: bool = False, **settings: Any) -> AsyncIterator[Served]:
    """Start `gateway serve` with these settings; afterwards it must end when it is told to, with nothing to regret."""
    log = tmp_path / "stderr.txt"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    values = {
        "jwt_secret": SECRET,
        "commands_per_second": 0,
        "events_per_second": 0,
        "drain_seconds": 0,
        **ROOMY,
        **settings,
    }
    environment = {f"GATEWAY_{name.upper()}": str(value) for name, value in values.items()}
    with open(log, "wb") as output:  # noqa: ASYNC230 - a moment
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *(("-c", _BARE) if bare else _SERVE)),
            cwd=tmp_path,
            env={**inherited, **environment},
            stderr=output,
        )
    try:
        async with asyncio.timeout(20):
            while not (found := re.search(r"Listening on http://\S+:(\d+)\n", log.read_text())):
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.02)
        yield Served(process, int(found[1]), log)
        with suppress(ProcessLookupError):  # the test has done it
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            code = await process.wait()
        assert code in (0, -signal.SIGTERM), (code, log.read_text())
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    assert "Traceback" not in log.read_text(), log.read_text()
    assert "ERROR" not in log.read_text(), log.read_text()


class Pulse:
    """A healthy client that publishes an event every 20 ms and expects each of them back: once, in order, soon."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._sent: list[float] = []
        self.delays: list[float] = []

    async def publish(self) -> None:
        while True:
            event = {"type": "task.completed", "data": {"number": len(self._sent)}, "circle_id": "pulse"}
            self._sent.append(time.monotonic())
            await self._websocket.send(json.dumps({"type": "publish", "event": event}))
            await asyncio.sleep(0.02)

    async def read(self) -> None:
        async for message in self._websocket:
            frame = json.loads(message)
            if frame["type"] == "task.completed":
                number = frame["data"]["number"]
                assert number == len(self.delays), "lost, doubled or out of order"
                self.delays.append(time.monotonic() - self._sent[number])

    async def catch_up(self) -> None:
        """Return once all that was published by now has come."""
        published = len(self._sent)
        async with asyncio.timeout(PATIENCE):
            while len(self.delays) < published:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)


@asynccontextmanager
async def healthy(served: Served, within: float = 0.25) -> AsyncIterator[Pulse]:
    """While this lasts a healthy client gets every event, 9 of 10 `within` so many seconds and 99 of 100 within four
    times as many: the machine, too, may hold one up."""
    async with served.client("&rooms=circle:pulse") as websocket:
        pulse = Pulse(websocket)
        tasks = [asyncio.create_task(pulse.read()), asyncio.create_task(pulse.publish())]
        try:
            yield pulse
            await pulse.catch_up()
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
    delays = sorted(pulse.delays)
    assert delays, "nothing was measured"
    p90, p99 = (delays[int(len(delays) * share)] for share in (0.9, 0.99))
    assert p90 < within, f"the tenth took {p90:.3f} s"
    assert p99 < 4 * within, f"the hundredth took {p99:.3f} s"
