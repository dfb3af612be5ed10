"""A carrier of packets between two TUN devices, a process of its own: it gives them a round-trip time and a rate, which
the kernel's `netem` would, where there is one."""

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from typing import Final

_TUN: Final = "/dev/net/tun"
_SET_INTERFACE: Final = 0x400454CA
"""TUNSETIFF of linux/if_tun.h."""
_PACKETS: Final = 0x0001 | 0x1000
"""IFF_TUN and IFF_NO_PI: IP packets without a header of the device's own."""
_MTU: Final = 1_500


class Direction:
    """One direction of a line: packets leave one after the other at `rate` bytes a second, and come `delay` seconds
    later; those that find more than `queue` bytes before them are dropped."""

    def __init__(self, source: int, sink: int, delay: float, rate: float, queue: int) -> None:
        self.source = source
        self._sink = sink
        self._delay = delay
        self._rate = rate
        self._seconds = queue / rate
        self._free_at = 0.0
        self._packets: deque[tuple[float, bytes]] = deque()

    def take(self, now: float) -> None:
        """Take the packets that the source has."""
        try:
            for _ in range(64):
                packet = os.read(self.source, _MTU)
                if self._free_at - now <= self._seconds:
                    self._free_at = max(self._free_at, now) + len(packet) / self._rate
                    self._packets.append((self._free_at + self._delay, packet))
        except BlockingIOError:
            pass

    def give(self, now: float) -> float:
        """Give the sink the packets that are due; returns when the next one is."""
        packets = self._packets
        while packets and packets[0][0] <= now:
            os.write(self._sink, packets.popleft()[1])
        return packets[0][0] if packets else now + 1.0


def tun_device(name: str) -> int:
    """The descriptor of a new TUN device, in the network namespace of this thread; it ends with the descriptor."""
    fd = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _SET_INTERFACE, struct.pack("16sH22x", name.encode(), _PACKETS))
    except OSError:
        os.close(fd)
        raise
    return fd


def carry(server: int, client: int, rtt: float, rate: float, queue: int) -> None:
    """Carry packets between two TUN devices until the standard input ends. What the client sends has no limit."""
    directions = (Direction(server, client, rtt / 2, rate, queue), Direction(client, server, rtt / 2, 1e9, 1 << 30))
    for fd in (server, client):
        os.set_blocking(fd, False)
    due = 0.0
    while True:
        ready, _, _ = select.select((server, client, 0), (), (), max(0.0, due - time.monotonic()))
        if 0 in ready:
            return
        now = time.monotonic()
        for direction in directions:
            if direction.source in ready:
                direction.take(now)
        due = min([direction.give(now) for direction in directions])


if __name__ == "__main__":
    carry(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
