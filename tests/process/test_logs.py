"""The log lines of `gateway serve`: level, format, and what a stranger can make it write."""

import json
import re
import socket
import time
from pathlib import Path

import pytest

from tests.support.commands import invoke
from tests.support.process import GatewayProcess
from tests.support.raw_client import handshake
from tests.support.settings import SECRET

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) ([\w.]+): .+")

PADDING = "A" * 7_900
"""For a request line that is as long as may be."""

UNAUTHENTICATED = {
    "another path": handshake(f"/ws/other?x={PADDING}"),
    "another origin": handshake(f"/ws/dashboard?x={PADDING}", "Origin: http://evil.example"),
    "a wrong token": handshake(f"/ws/dashboard?token=a.b.c&x={PADDING}"),
    "a wrong token over HTTP": f"GET /admin/stats?token=a.b.c&x={PADDING} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "no HTTP": f"\0\1 {PADDING}\r\n\r\n".encode(),
    "no WebSocket": f"GET /{PADDING} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: nonsense\r\n\r\n".encode(),
    "no such route": f"GET /{PADDING} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
}


def send(port: int, request: bytes) -> None:
    """One request; returns once the first bytes of an answer have come, or the end."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(request)
        sock.recv(64)


@pytest.mark.parametrize("name", UNAUTHENTICATED)
def test_a_flood_of_strangers_writes_little(name: str, tmp_path: Path) -> None:
    """For any kind of request, 300 of them cost less than 40 kB (2.4 MB before), and a line says how many were left
    out."""
    with GatewayProcess(tmp_path) as process:
        before, begun = sum(map(len, process.err)), time.monotonic()
        for _ in range(300):
            send(process.port, UNAUTHENTICATED[name])
        seconds = time.monotonic() - begun
        process.stop()
        written = sum(map(len, process.err)) - before
        lines = [line for line in process.err if "suppressed" in line]
    assert written < 40_000 + 2_000 * seconds
    if len(process.err) > 25:
        assert re.search(r"log lines suppressed kind=.* count=\d+", lines[-1])


def test_text_lines_have_time_level_and_logger(tmp_path: Path) -> None:
    """Each of them, uvicorn's included."""
    with GatewayProcess(tmp_path) as process:
        process.stop()
    assert {found[2] for line in process.err if (found := LINE.fullmatch(line))} == {"uvicorn", "gateway.server"}
    assert all(LINE.fullmatch(line) for line in process.err), process.err


def test_json_lines_are_objects(tmp_path: Path) -> None:
    """Each of them."""
    with GatewayProcess(tmp_path, log_format="json") as process:
        send(process.port, UNAUTHENTICATED["another origin"])
        process.stop()
    lines = [json.loads(line) for line in process.err]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    (refused,) = [line for line in lines if line.get("event") == "connection.refused"]
    assert (refused["origin"], refused["code"]) == ("http://evil.example", 403)


def test_the_level_counts_for_the_gateway_and_for_uvicorn(tmp_path: Path) -> None:
    """At `warning` an ordinary life of the server is silent."""
    with GatewayProcess(tmp_path, log_level="warning") as process:
        send(process.port, UNAUTHENTICATED["another path"])
    assert process.err == []


@pytest.mark.parametrize("name", ["GATEWAY_LOG_LEVEL", "GATEWAY_LOG_FORMAT"])
def test_a_wrong_setting_is_one_line_that_names_the_right_ones(name: str, tmp_path: Path) -> None:
    """The message stops the start at once."""
    done = invoke("serve", cwd=tmp_path, env={"GATEWAY_JWT_SECRET": SECRET, name: "loud"})
    assert done.exit_code != 0
    assert done.stderr.startswith(f"gateway: {name}: ")
    assert "'info'" in done.stderr or "'json'" in done.stderr
