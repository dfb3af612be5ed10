"""The scenarios of clients/scenarios, played at a gateway in a process of its own, behind a proxy."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.client import connect

from tests.support.clients import http
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import until
from tests.support.process import FAULTS, QUICK, GatewayProcess
from tests.support.proxy import Proxy, proxied
from tests.support.settings import ROOT, environment, settings_for
from tests.support.tokens import token

SCENARIOS: Final[list[dict[str, Any]]] = json.loads((ROOT / "clients/scenarios/scenarios.json").read_text())
PATIENCE: Final = 60.0

_HANDSHAKE: Final = (
    b"GET /ws/dashboard HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Client:
    """A driver in a process of its own, and the lines that it has printed."""

    def __init__(self, process: asyncio.subprocess.Process, issue: Callable[[], str]) -> None:
        self.process = process
        self.lines: list[list[Any]] = []
        self.times: list[float] = []
        self._issue = issue

    async def read(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        while line := await self.process.stdout.readline():
            said = json.loads(line)
            if said == ["token"]:
                self.process.stdin.write(self._issue().encode() + b"\n")
            else:
                self.times.append(time.monotonic())
                self.lines.append(said)

    async def errors(self) -> str:
        """All that it has written to stderr, once it has ended."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    @property
    def came(self) -> list[Any]:
        """Events by their numbers, the rest by its name and reason."""
        items = [line for line in self.lines if line[0] in ("event", "gap", "snapshot")]
        return [line[1] if line[0] == "event" else ":".join(line) for line in items]

    def states(self, name: str) -> list[tuple[float, Any]]:
        """When each of these states began, and with which close code."""
        lines = zip(self.times, self.lines, strict=True)
        return [(when, line[2]) for when, line in lines if line[:2] == ["state", name]]

    async def until(self, condition: Callable[[], object]) -> None:
        ends = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.returncode is None or condition(), f"it ended: {self.lines} {await self.errors()}"
            assert time.monotonic() < ends, f"in vain: {self.lines}"
            await asyncio.sleep(0.01)


def matches(came: Sequence[Any], expected: Sequence[Any]) -> bool:
    """`gap` without a reason stands for any."""
    return len(came) == len(expected) and all(
        one == other or (other == "gap" and str(one).startswith("gap:"))
        for one, other in zip(came, expected, strict=True)
    )


class Play:
    """One scenario in progress. Each action of its steps is a method."""

    def __init__(
        self,
        scenario: dict[str, Any],
        command: Sequence[str],
        gate: GatewayProcess | RunningGateway,
        proxy: Proxy,
        stack: AsyncExitStack,
    ) -> None:
        self._command = command
        self._gate = gate
        self._proxy = proxy
        self._stack = stack
        self._grants = dict(scenario.get("token", {}))
        self._fixed = self._grants.pop("fixed", False)
        self._remembered = ""
        self._last_id = ""
        self._client: Client | None = None
        self._returned = 0
        self._occupying: dict[str, AsyncExitStack] = {}

    def _token(self, *args: Any, **more: Any) -> str:
        """One of now, by the clock of the gateway."""
        return (self._gate.token if isinstance(self._gate, RunningGateway) else token)(*args, **more)

    def _issue(self) -> str:
        return self._token(**self._grants)

    @property
    def client(self) -> Client:
        assert self._client is not None, "the scenario has no step `follow`"
        return self._client

    async def follow(self, options: dict[str, Any]) -> None:
        given = dict(options)
        live = given.pop("live", True)
        given["url"] = f"http://127.0.0.1:{self._proxy.port}"
        if given.get("since") == "remembered":
            given["since"] = self._remembered
        if self._fixed:
            given["token"] = self._issue()
        self._client = await self._stack.enter_async_context(_running(self._command, given, self._issue))
        if live:
            await self.client.until(lambda: self.client.states("live"))
            self._returned = 1

    async def publish(self, numbers: list[int], circle: int = 1) -> None:
        events = [{"type": "task.completed", "data": {"n": n}, "circle_id": circle} for n in numbers]
        async with http(self._gate, self._token("publisher")) as api:
            answer = await api.post("/events/batch", json={"events": events})
        self._last_id = answer.json()["results"][-1]["event_id"]

    async def remember(self, _: bool) -> None:
        self._remembered = self._last_id

    async def got(self, expected: list[Any]) -> None:
        with suppress(AssertionError):
            await self.client.until(lambda: len(self.client.came) >= len(expected))
        assert matches(self.client.came, expected), f"{self.client.came}, and not {expected}: {self.client.lines}"

    async def ends(self, code: str) -> None:
        await self.client.until(lambda: ["ended", code] in self.client.lines)
        await asyncio.wait_for(self.client.process.wait(), PATIENCE)

    async def returns(self, expected: dict[str, Any]) -> None:
        await self.client.until(lambda: len(self.client.states("live")) > self._returned)
        self._returned = len(self.client.states("live"))
        back = self.client.states("live")[-1][0]
        lost = [(when, code) for when, code in self.client.states("reconnecting") if when < back]
        if "code" in expected:
            assert expected["code"] in [code for _, code in lost], self.client.lines
        if "after" in expected:
            *_, refused, admitted = self._proxy.opened_at
            assert admitted - refused >= expected["after"], self.client.lines
        if "within" in expected:
            ended = ["state", "reconnecting", expected["code"]]
            wait = next(line[3] for line in self.client.lines if line[:3] == ended)
            assert wait <= expected["within"], self.client.lines

    async def later(self, seconds: float) -> None:
        assert isinstance(self._gate, RunningGateway), "the clock of another process cannot be put forward"
        self._gate.later(seconds)

    async def renews(self, _: bool) -> None:
        assert isinstance(self._gate, RunningGateway)
        clock, manager = self._gate.service.gateway.clock, self._gate.service.gateway.manager
        await until(lambda: all(each.identity.expires_at > clock() + 60 for each in manager.connections()))

    async def refused(self, code: int) -> None:
        await self.client.until(lambda: code in [ended for _, ended in self.client.states("reconnecting")])

    async def stays(self, seconds: float) -> None:
        before = len(self.client.lines)
        await asyncio.sleep(seconds)
        assert self.client.process.returncode is None, self.client.lines
        assert self.client.lines[before:] == [], self.client.lines

    async def network(self, what: str) -> None:
        {
            "reset": self._proxy.reset,
            "partition": self._proxy.partition,
            "strand": self._proxy.strand,
            "heal": self._proxy.heal,
        }[what]()

    async def gateway(self, what: str) -> None:
        assert isinstance(self._gate, GatewayProcess)
        if what == "kill":
            self._gate.kill()
        else:
            await asyncio.to_thread(self._gate.stop, signal.SIGINT if what == "restart" else signal.SIGTERM)
        await self._gate.start()

    async def admin(self, what: str) -> None:
        async with http(self._gate, self._token("root", scope="admin", rooms=["circle:*"])) as api:
            if what == "revoke":
                answer = await api.post("/admin/tokens/revoke", json={"user_id": "ada"})
            elif what == "remove":
                event = {"type": "circle.member.removed", "data": {"user_id": "ada"}, "circle_id": 1}
                answer = await api.post("/events", json=event)
            else:
                (connection,) = (await api.get("/admin/connections")).json()["connections"]
                answer = await api.delete(f"/admin/connections/{connection['connection_id']}")
        assert answer.is_success, answer.text

    async def occupy(self, user: str) -> None:
        self._occupying[user] = stack = AsyncExitStack()
        await self._stack.enter_async_context(stack)
        await stack.enter_async_context(connect(f"{self._gate.ws_url}?token={self._token(user)}", compression=None))

    async def release(self, user: str) -> None:
        await self._occupying[user].aclose()

    async def knock(self, count: int) -> None:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._gate.port)
            writer.write(_HANDSHAKE)
            await reader.readexactly(12)
            writer.close()
            await writer.wait_closed()

    async def freeze(self, seconds: float) -> None:
        self.client.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.client.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def _running(command: Sequence[str], given: dict[str, Any], issue: Callable[[], str]) -> AsyncIterator[Client]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, json.dumps(given), cwd=ROOT, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe
    )
    client = Client(process, issue)
    reading = asyncio.create_task(client.read())
    try:
        yield client
        await client_is_well(client)
    finally:
        if process.returncode is None:
            process.kill()
        errors = await client.errors()
        await asyncio.gather(process.wait(), reading)
    assert errors == "", errors


async def client_is_well(client: Client) -> None:
    """The client runs, or has reported why it stopped."""
    assert client.process.returncode is None or client.lines[-1][0] == "ended", client.lines


@asynccontextmanager
async def _gateway(scenario: dict[str, Any], folder: Path) -> AsyncIterator[GatewayProcess | RunningGateway]:
    """The gateway of a scenario: a process of its own where a step ends it, which takes a second of CPU to start."""
    settings = {**QUICK, **scenario.get("settings", {})}
    if any("gateway" in step for step in scenario["steps"]):
        async with GatewayProcess(folder / "gateway", **settings) as process:
            yield process
    else:
        async with running(settings_for(**settings)) as gate:
            yield gate


async def play(
    scenario: dict[str, Any], command: Sequence[str], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Play a scenario with the driver that this command runs, in an order of its steps."""
    async with _gateway(scenario, folder) as gate, proxied(gate.port) as proxy, AsyncExitStack() as stack:
        playing = Play(scenario, command, gate, proxy, stack)
        for step in scenario["steps"]:
            (action, argument), *more = step.items()
            await getattr(playing, action)(argument, **dict(more))
    assert not FAULTS.search(caplog.text), caplog.text
