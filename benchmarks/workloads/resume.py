"""Resuming beside busy runs: 50 items of one tenant, to each of which a text is appended 150 times a second, beside a
room with one plain event a second.

Events come in batches of three pieces of each run, on one kept connection. A client of the quiet room and one of a run
are live, lose their connections, and resume two minutes later from the last cursor that each of them has. It is 1 that
all was there: `recovered`, with every event of the quiet room once and in order; with the whole text of the run.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

from benchmarks.load.publisher import SocketPublisher, compact, post
from benchmarks.measure import Bench, Figure, Meter
from benchmarks.peers import Peer
from benchmarks.peers.gateway import REFUSAL, batch_headers, token
from benchmarks.process import Server
from benchmarks.report import Column, Workload

RUNS: Final = 50
RATE: Final = 150
AWAY: Final = 120.0
CASE: Final = f"away beside {RUNS} runs of {RATE} appends/s"
_PIECES: Final = 3
_BATCHES: Final = RATE // _PIECES
_UNDER_WAY: Final = 8
_PATIENCE: Final = 60.0
_QUIET: Final = 7
_RUN: Final = 100


class Load:
    """The publisher: batches that fall due `_BATCHES` times a second, and an event of the quiet room each second."""

    def __init__(self, server: Server) -> None:
        self._headers = batch_headers()
        self._pipe = SocketPublisher(server.port, lambda order: b"", REFUSAL)
        self.sent = self.quiet = 0

    def publish(self, seconds: float) -> float:
        """Publish for this long; the number of events for each second that it took."""
        before, start = self._events, time.monotonic()
        for number in range(int(seconds * _BATCHES)):
            if (left := start + number / _BATCHES - time.monotonic()) > 0:
                time.sleep(left)
            self._wait(_UNDER_WAY)
            first = self.sent * _PIECES
            events = [_piece(run, piece) for piece in range(first, first + _PIECES) for run in range(RUNS)]
            if number % _BATCHES == 0:
                events.append({"type": "task.completed", "data": {"number": self.quiet}, "circle_id": _QUIET})
                self.quiet += 1
            self._pipe.send(post("/events/batch", compact({"events": events}), self._headers))
            self.sent += 1
        self._wait(1)
        return (self._events - before) / (time.monotonic() - start)

    @property
    def text(self) -> str:
        """The text of each run."""
        return "".join(map(_text, range(self.sent * _PIECES)))

    @property
    def _events(self) -> int:
        return self.sent * _PIECES * RUNS + self.quiet

    def _wait(self, most: int) -> None:
        while self.sent - self._pipe.answers >= most:
            self._pipe.wait()
            self._pipe.poll()

    def close(self) -> None:
        self._pipe.close()


def _piece(run: int, number: int) -> dict[str, Any]:
    data = {"text": _text(number)}
    return {"type": "run.text", "data": data, "circle_id": _RUN + run, "key": "text", "op": "append"}


def _text(number: int) -> str:
    return f"{number % 1_000:03}"


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    with peer.start(bench.cores.server) as server, contextlib.closing(Load(server)) as load:
        with _client(server, _QUIET) as quiet, _client(server, _RUN) as follower:
            load.publish(bench.seconds(2.0))
            cursors = [_last(quiet, load.quiet), _last(follower, load.sent * _PIECES)]
        seen = load.quiet
        with Meter(server) as meter:
            rate = load.publish(bench.seconds(AWAY))
        begun = time.monotonic()
        with _client(server, _QUIET, cursors[0]) as quiet:
            recovered, events = _resumed(quiet)
        took = time.monotonic() - begun
        numbers = [event["data"]["number"] for event in events]
        yield Figure(CASE, "quiet", float(recovered and numbers == list(range(seen, load.quiet))))
        with _client(server, _RUN, cursors[1]) as follower:
            recovered, events = _resumed(follower)
        whole = [(event["op"], event["data"]["text"]) for event in events] == [("set", load.text)]
        yield Figure(CASE, "run", float(recovered and whole))
        yield Figure(CASE, "rate", rate)
        yield Figure(CASE, "milliseconds", took * 1e3)
        yield Figure(CASE, "server_share", meter.server / meter.wall)


@contextlib.contextmanager
def _client(server: Server, circle: int, since: str | None = None) -> Iterator[ClientConnection]:
    bearer = token(f"user-{circle}", ["subscribe"])
    resume = "" if since is None else f"&since={since}"
    uri = f"ws://127.0.0.1:{server.port}/ws/dashboard?token={bearer}&rooms=circle:{circle}{resume}"
    with connect(uri, open_timeout=_PATIENCE, max_size=None) as client:
        if since is None:
            while _next(client)["type"] != "subscribed":
                pass
        yield client


def _next(client: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(client.recv(_PATIENCE))
    return message


def _last(client: ClientConnection, count: int) -> str:
    """The id of the last of so many events."""
    while count:
        message = _next(client)
        count -= message["type"] in ("run.text", "task.completed")
    cursor: str = message["event_id"]
    return cursor


def _resumed(client: ClientConnection) -> tuple[bool, list[dict[str, Any]]]:
    """Whether it is recovered, and the events up to the mark that ends the replay."""
    events: list[dict[str, Any]] = []
    recovered = False
    while (message := _next(client))["type"] != "stream.mark":
        if message["type"] == "subscribed":
            recovered = message["data"]["recovered"]
        elif "event_id" in message:
            events.append(message)
    return recovered, events


WORKLOAD: Final = Workload(
    name="resume",
    title="Resuming after two minutes, beside busy runs",
    method=__doc__,
    run=run,
    columns=(
        Column("quiet", "quiet room, recovered", "{:.0f}"),
        Column("run", "run, whole text", "{:.0f}"),
        Column("rate", "events/s", "{:,.0f}"),
        Column("milliseconds", "ms until the quiet room is live", "{:.0f}"),
        Column("server_share", "load of the node on its core", "{:.0%}"),
    ),
    suits=lambda peer: peer.name in ("gateway-http", "gateway-redis"),
    max_rounds=1,
)
