"""Orders to a server that publishes from inside: lines `<count> <pad> <at> <room>...` on standard input."""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable

from benchmarks.load.publisher import Order

Publish = Callable[[Order], Awaitable[object]]
"""Publishes all the events of an order. What they have in common is its to make once: only the server is measured."""


async def follow(publish: Publish) -> None:
    """Publish what is ordered until standard input ends: the events of one line in one turn of the loop."""
    loop = asyncio.get_running_loop()
    lines: deque[bytes] = deque()
    arrived = asyncio.Event()
    rest = b""

    def read() -> None:
        nonlocal rest
        data = os.read(0, 65_536)
        if not data:
            loop.remove_reader(0)
        *whole, rest = (rest + data).split(b"\n")
        lines.extend(whole)
        arrived.set()

    os.set_blocking(0, False)
    loop.add_reader(0, read)
    while True:
        await arrived.wait()
        arrived.clear()
        while lines:
            count, pad, at, *rooms = lines.popleft().decode().split()
            await publish(Order(int(count), int(pad), rooms, int(at)))
            await asyncio.sleep(0)
