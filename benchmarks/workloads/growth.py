"""Growth: what a delivery costs when there are more subscribers, and when there are more rooms.

Subscribers: 10, 100, 1,000 and 5,000 in one room, to which one event at a time is published; where there are few, fewer
deliveries share the cost of the event itself. Rooms: 10, 1,000 and 50,000 rooms of 10 members each among 5,000
connections (up to 100 rooms for a connection), one event at a time to one room after the other. Events have 250 bytes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from benchmarks.load.publisher import Order
from benchmarks.measure import Bench, Figure, Meter, Session, session
from benchmarks.peers import Peer
from benchmarks.report import Column, Workload

SUBSCRIBERS: Final = (10, 100, 1_000, 5_000)
ROOMS: Final = (10, 1_000, 50_000)
CONNECTIONS: Final = 5_000
MEMBERS: Final = 10
SIZE: Final = 250
SECONDS: Final = 1.5


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    """Each case with a server of its own."""
    for full in SUBSCRIBERS:
        count = max(10, bench.count(full))
        yield from _measure(bench, peer, count, lambda number: [_room(0)], 1, count, f"{count:,} subscribers")
    if not peer.has_rooms:
        return
    connections = bench.count(CONNECTIONS)
    for full in ROOMS:
        rooms = max(10, bench.count(full))
        members = partial(rooms_of, connections=connections, rooms=rooms)
        yield from _measure(bench, peer, connections, members, rooms, MEMBERS, f"{rooms:,} rooms of 10")


def rooms_of(number: int, connections: int, rooms: int) -> list[str]:
    """The rooms of a connection where each of `rooms` has ten members; of one that is left over, a room of its kind.

    The places in the rooms are dealt out to the connections in turn, again and again.
    """
    return [_room(place // MEMBERS) for place in range(number, rooms * MEMBERS, connections)] or ["project:10000"]


def _room(index: int) -> str:
    return f"circle:{10_000 + index}"  # all ids have five digits, so that all events are of one size


def _measure(
    bench: Bench,
    peer: Peer,
    connections: int,
    members: Callable[[int], Sequence[str]],
    rooms: int,
    listeners: int,
    case: str,
) -> Iterator[Figure]:
    with session(bench, peer, connections, members) as s:
        pad = s.calibrate(SIZE, [_room(0)], listeners)
        _round_robin(s, bench.seconds(0.5), pad, rooms, listeners)
        with Meter(s.server) as meter:
            count = _round_robin(s, bench.seconds(SECONDS), pad, rooms, listeners)
        yield from meter.figures(case, count)


def _round_robin(s: Session, seconds: float, pad: int, rooms: int, listeners: int) -> int:
    base, count = s.receiver.total, 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        # A step that is coprime to the numbers of rooms: neighbours in time are no neighbours in memory.
        s.publisher.publish(Order.now(1, pad, [_room(count * 7919 % rooms)]))
        count += 1
        s.await_count(base + count * listeners)
    return count * listeners


WORKLOAD: Final = Workload(
    name="growth",
    title="Growth: µs of CPU a delivery",
    method=__doc__,
    run=run,
    columns=(Column("microseconds", "µs of CPU a delivery", "{:.2f}"),),
    suits=lambda peer: peer.name in ("gateway", "ws", "uws", "floor"),
    one_table=True,
)
