"""Publishing: one event a request, on one kept connection, beside a bare ASGI echo.

The echo reads the body as JSON and sends it back, under uvicorn as `gateway serve` has it. Both servers are on one core
and get the same requests, one after another, in turns of 200: the gateway verifies the token, checks the event against
its grants and limits and appends it to the log, without subscribers. An event has 250 bytes and goes to one of
500 rooms.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from benchmarks.load.publisher import Order, SocketPublisher, compact, post
from benchmarks.measure import Bench, Figure
from benchmarks.peers import Peer
from benchmarks.peers.base import python_server
from benchmarks.peers.gateway import REFUSAL, batch_headers
from benchmarks.process import Server, free_port
from benchmarks.report import Column, Workload
from benchmarks.stats import percentile

CASE: Final = "`POST /events`"
ROOMS: Final = 500
PAD: Final = 80
TURN: Final = 200
SECONDS: Final = 4.0


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    at = time.monotonic_ns()
    headers = batch_headers()
    events = [Order(1, PAD, [f"circle:{100 + room}"], at).event() for room in range(ROOMS)]
    requests = [post("/events", compact(event), headers) for event in events]
    core = bench.cores.server
    with peer.start(core) as gateway, python_server("echo", free_port(), core) as echo, contextlib.ExitStack() as stack:
        servers = (gateway, echo)
        pipes = [SocketPublisher(server.port, lambda order: b"", refusal=REFUSAL) for server in servers]
        for server, pipe in zip(servers, pipes, strict=True):
            stack.callback(pipe.close)
            server.settle()
            _turn(server, pipe, requests)
        turns: list[list[float]] = [[], []]
        deadline = time.monotonic() + bench.seconds(SECONDS)
        while time.monotonic() < deadline:
            for server, pipe, costs in zip(servers, pipes, turns, strict=True):
                costs.append(_turn(server, pipe, requests))
        ours, floor = (percentile(sorted(costs), 0.5) for costs in turns)
    yield Figure(CASE, "microseconds", ours * 1e6)
    yield Figure(CASE, "echo", floor * 1e6)
    yield Figure(CASE, "ratio", ours / floor)


def _turn(server: Server, pipe: SocketPublisher, requests: list[bytes]) -> float:
    """Send requests, each after the answer to the last; the CPU time of the server for each."""
    before, first = server.cpu(), pipe.answers
    for number in range(first, first + TURN):
        pipe.send(requests[number % len(requests)])
        while pipe.answers == number:
            pipe.wait()
            pipe.poll()
    return (server.cpu() - before) / TURN


WORKLOAD: Final = Workload(
    name="publish",
    title="Publishing: one event a request",
    method=__doc__,
    run=run,
    columns=(
        Column("microseconds", "µs of CPU an event", "{:.1f}"),
        Column("echo", "µs of the echo", "{:.1f}"),
        Column("ratio", "times the echo", "{:.2f}"),
    ),
    suits=lambda peer: peer.name == "gateway-http",
)
