"""`gateway top`, against a real gateway: as text, as JSON, and live in a terminal of its own."""

import asyncio
import io
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from rich.console import Console

from gateway.cli.top_reading import percentile, rates
from gateway.cli.top_screen import screen_of
from tests.support.inprocess import RunningGateway
from tests.support.operators import Operator
from tests.support.pauses import PATIENCE, ran, until
from tests.support.process import GatewayProcess
from tests.support.settings import environment
from tests.support.tokens import token

FAST = ("--interval", "0.5")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def platform(gate: RunningGateway, tmp_path: Path) -> Operator:
    return Operator(gate, tmp_path, "platform", "ops")


async def test_a_reading_is_printed_once_without_a_terminal(gate: RunningGateway, platform: Operator) -> None:
    """Nodes, the busiest tenant, its rooms and a slow consumer, in plain text; as JSON the same in one line."""
    unread = {"max_queue": None}  # else the client stops to read, and cannot close
    async with (
        gate.client(query="&rooms=circle:1,circle:2", **unread),
        gate.client(gate.token("bob"), query="&rooms=circle:1", **unread),
    ):
        publishing = asyncio.create_task(publish_all_the_time(gate))
        (connection,) = gate.service.gateway.manager.of("acme").users["bob"]
        connection.fall_behind(1)
        try:
            text = await platform.text("top", *FAST)
            (found,) = await platform.lines("top", "--once", *FAST)
        finally:
            publishing.cancel()
        assert "\x1b" not in text
        node = gate.service.gateway.administration.node
        for part in (node.removeprefix("node_"), "ready", "busiest tenants", "acme", "rooms of acme", "circle:1"):
            assert part in text
        assert f"1 slow consumers on the node that answers, of acme\n  {connection.id}  bob  {node}" in text
        (shown,) = found["nodes"]
        assert (shown["node"], shown["ready"], shown["problem"], shown["draining"]) == (node, True, None, False)
        assert (shown["connections"]["websocket"], shown["behind"]) == (2, 1)
        assert shown["per_second"]["events"] > 0
        assert shown["per_second"]["deliveries"] > 0
        assert (found["tenants"][0]["tenant"], found["silent"]) == ("acme", [])
        assert found["shown"]["rooms"][0] == {"room": "circle:1", "connections": 2, "users": 2}
        assert [each["user_id"] for each in found["shown"]["slow"]] == ["bob"]


async def publish_all_the_time(gate: RunningGateway) -> None:
    while True:
        await gate.publish(circle_id=2)
        await asyncio.sleep(0.02)


async def test_an_administrator_of_one_tenant_sees_that_tenant(gate: RunningGateway, tmp_path: Path) -> None:
    """Without the numbers of all; a token that may not is refused in one line."""
    admin = Operator(gate, tmp_path)
    async with gate.client(query="&rooms=circle:1"), gate.client(gate.token("eve", tenant="globex")):
        (found,) = await admin.lines("top", "--once", *FAST)
        text = await admin.text("top", *FAST)
    assert "connections" not in found["nodes"][0]
    assert (found["tenants"], found["shown"]["tenant"], found["shown"]["connections"]) == ([], "acme", 1)
    assert "rooms of acme" in text
    assert "globex" not in text + json.dumps(found)
    assert "scope_missing" in await Operator(gate, tmp_path, "subscribe").refusal("top", *FAST)
    assert "no answer from" in await admin.refusal("top", *FAST, "--url", "http://127.0.0.1:1")
    assert "at least 0.5 s" in await admin.refusal("top", "--interval", "0.49")


async def test_without_rich_it_names_the_command_to_install_it(
    platform: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON needs no package."""
    for name in [name for name in sys.modules if name == "rich" or name.startswith(("rich.", "gateway.cli.top_s"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert "pip install 'rich>=14'" in await platform.refusal("top", *FAST)
    assert await platform.lines("top", "--once", *FAST)


# ---- the screen


def reading(**more: Any) -> dict[str, Any]:
    """The reading of a large and busy cluster."""
    names = [f"node_{n:012x}" for n in range(30)]
    node = {"version": "1.1.0", "ready": True, "problem": None, "draining": False, "behind": 12_345}
    numbers = {"per_second": {"deliveries": 1_234_567.0, "events": 123_456.0}, "loop_lag_p99": "more", "log_lag": 3.25}
    refused = {f"a_long_reason_{n}_per_second": 1_000.0 for n in range(20)}
    several = {"connections": {"websocket": 100_000}, "refusals_per_second": refused, **node, **numbers}
    problem = "the isolation canary has found: leak; see the log"
    tenants = [{"tenant": "t" * 64, "per_second": {"events": 1e6, "deliveries": 1e6}} for _ in range(20)]
    slow = [{"connection_id": "con_" + "x" * 16, "user_id": "u" * 128, "node": name} for name in names]
    rooms = [{"room": f"circle:{'r' * 64}", "connections": 10_000, "users": 10_000} for _ in range(20)]
    shown = {"tenant": "t" * 64, "connections": 1, "users": 1, "rooms": rooms, "slow": slow, "behind": 30, "more": True}
    return {
        "at": "2026-01-15T10:30:00Z",
        "nodes": [{"node": name, **several, "problem": problem, "ready": False} for name in names],
        "silent": names,
        "tenants": tenants,
        "shown": {**shown, **more},
    }


@pytest.mark.parametrize("size", [(80, 24), (80, 10), (40, 24), (200, 60)])
@pytest.mark.parametrize("slow", [30, 1, 0])
def test_it_fits_the_terminal(size: tuple[int, int], slow: int) -> None:
    """However much there is to show; the nodes, a problem and, from 24 lines on, the rooms among it."""
    width, height = size
    console = Console(file=io.StringIO(), width=width, height=height)
    full = reading()
    full["shown"]["slow"] = full["shown"]["slow"][:slow]
    console.print(screen_of(full, "http://gateway.example", width, height))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert any("not ready" in line for line in lines)
    assert any("isolation canary" in line for line in lines)
    if height >= 24:
        assert any("circle:" in line for line in lines)
        assert any("slow consumers" in line for line in lines) == bool(slow)


def test_rates_and_percentiles_are_between_two_readings() -> None:
    """A counter that began again has no negative rate; the last bucket has no upper end."""
    assert rates({"a": 1, "b": 9}, {"a": 5, "b": 2, "c": 4}, 2.0) == {"a": 2.0, "b": 0.0, "c": 2.0}
    assert rates({}, {"a": 1}, 0.0) == {}
    before = {"0.01": 10, "0.1": 0, "+Inf": 0}
    assert percentile(before, {"0.01": 108, "0.1": 2, "+Inf": 0}, 0.99) == 0.1
    assert percentile(before, {"0.01": 1_010, "0.1": 2, "+Inf": 0}, 0.99) == 0.01
    assert percentile(before, {"0.01": 10, "0.1": 0, "+Inf": 1}, 0.99) == float("inf")
    assert percentile(before, before, 0.99) is None


# ---- live


class Terminal:
    """A terminal of 80 columns and 24 lines with `gateway top` in it."""

    def __init__(self, process: "Popen[bytes]", number: int) -> None:
        self.process = process
        self.number = number
        self.output = ""

    def read(self) -> str:
        """Text that was written since the last time."""
        try:
            new = os.read(self.number, 1 << 16).decode(errors="replace")
        except (BlockingIOError, OSError):
            new = ""
        self.output += new
        return new

    async def shows(self, text: str) -> None:
        """Wait until this is written from now on."""
        begin, ends = len(self.output), ran() + PATIENCE
        while text not in _CONTROL.sub("", self.output[begin:]):
            self.read()
            assert ran() < ends, (text, _CONTROL.sub("", self.output[-4_000:]))
            assert self.process.poll() is None, self.output
            await asyncio.sleep(0.02)

    async def ended(self) -> int:
        """Wait for the end of the process; its exit status."""

        def status() -> tuple[int] | None:
            self.read()
            code = self.process.poll()
            return None if code is None else (code,)

        (code,) = await until(status)
        self.read()
        return int(code)


@contextmanager
def terminal(folder: Path, *options: str, **env: str) -> Iterator[Terminal]:
    """`gateway top` with these options, in a terminal."""
    controller, screen = pty.openpty()
    ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(controller, False)
    before = termios.tcgetattr(screen)
    process = Popen(
        [sys.executable, "-m", "gateway", "top", *options],
        cwd=folder,
        env=environment({"TERM": "xterm-256color", **env}),
        stdin=screen,
        stdout=screen,
        stderr=screen,
        start_new_session=True,
    )
    try:
        yield Terminal(process, controller)
        assert termios.tcgetattr(screen) == before  # the keyboard is as it was
    finally:
        process.kill()
        process.wait()
        os.close(screen)
        os.close(controller)


async def test_it_is_live_in_a_terminal_and_says_when_there_is_no_answer(tmp_path: Path) -> None:
    """While the gateway hangs nothing old is shown; `q` and Ctrl-C end it and leave the terminal as it was."""
    ops = {"GATEWAY_TOKEN": token("root", tenant="ops", scope="platform")}
    async with GatewayProcess(tmp_path) as node:
        env = {**ops, "GATEWAY_URL": node.url}
        with terminal(tmp_path, "--interval", "0.5", **env) as one:
            async with node.client("&rooms=circle:1"):
                await one.shows("rooms of acme")
                await one.shows("circle:1")
                node.send_signal(signal.SIGSTOP)
                try:
                    await one.shows("no answer since")
                finally:
                    node.send_signal(signal.SIGCONT)
                await one.shows("rooms of acme")
            os.write(one.number, b"q")
            assert await one.ended() == 0
            assert "\x1b[?1049h" in one.output  # another screen, and back
            assert one.output.rstrip().endswith(("\x1b[?1049l", "\x1b[?25h"))
            assert re.search(r"\x1b\[[0-9;]*3[0-9]m", one.output)
        with terminal(tmp_path, "--interval", "0.5", NO_COLOR="1", **env) as other:
            await other.shows("busiest tenants")
            os.kill(other.process.pid, signal.SIGINT)
            assert await other.ended() == 130
            assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", other.output)
            assert "Traceback" not in other.output
