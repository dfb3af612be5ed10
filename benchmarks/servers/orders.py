"""Orders to a server that publishes from inside: lines `<count> <pad> <room>...` on standard input."""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

Publish = Callable[[int, Sequence[str]], Awaitable[object]]


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
            count, pad, *rooms = lines.popleft().decode().split()
            for _ in range(int(count)):
                await publish(int(pad), rooms)
            await asyncio.sleep(0)
