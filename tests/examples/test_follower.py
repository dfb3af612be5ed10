"""The terminal follower, killed at any moment."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.documentation.pages import example
from tests.documentation.shell import PATIENCE, Shell
from tests.examples.programs import copy_example
from tests.support.inprocess import RunningGateway
from tests.support.pauses import until


@asynccontextmanager
async def follower(shell: Shell, lines: list[str]) -> AsyncIterator[None]:
    """The program, as its page starts it, until it is killed; its output is added to `lines`."""
    copy_example("follower", shell.home)
    process = await shell.start("\n".join((example("variables"), example("follower"))))
    assert process.stdout is not None

    async def read() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            lines.append(line.decode().rstrip())

    reading = asyncio.create_task(read())
    try:
        yield
        assert process.returncode is None, await process.communicate()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await asyncio.gather(process.wait(), reading)


def following(gate: RunningGateway) -> bool:
    return bool(gate.service.gateway.manager.of("acme").rooms.get("circle:7"))


async def test_it_goes_on_where_it_was_killed(gate: RunningGateway, shell: Shell) -> None:
    """Before the first event and while events come: each is counted once, and a line comes twice at most."""
    lines: list[str] = []
    published = 0

    async def publish(count: int) -> None:
        nonlocal published
        for _ in range(count):
            published += 1
            await gate.publish(circle_id=7, data={"n": published})

    async with follower(shell, lines):
        await until(lambda: following(gate), PATIENCE)
        await until((shell.home / "follow.pickle").exists)
    await until(lambda: not following(gate))
    await publish(3)
    for _ in range(3):
        async with follower(shell, lines):
            await until(lambda: following(gate), PATIENCE)
            publishing = asyncio.create_task(publish(300))
            await asyncio.sleep(random.uniform(0, 0.05))
        await publishing
        await until(lambda: not following(gate))
    async with follower(shell, lines):
        await until(lambda: bool(lines) and lines[-1].startswith(f"{published} "), PATIENCE)
    assert [line for line, before in zip(lines, ["", *lines], strict=False) if line != before] == [
        f'{n} task.completed {{"n": {n}}}' for n in range(1, published + 1)
    ]
