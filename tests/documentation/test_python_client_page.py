"""The programs of the Python client's page, run at a real gateway and by the type checker."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.documentation.pages import ROOT, example
from tests.documentation.shell import PATIENCE, Shell, line_of
from tests.support.inprocess import RunningGateway
from tests.support.pauses import until


@pytest.fixture
def shell(gate: RunningGateway, tmp_path: Path) -> Shell:
    return Shell(gate, tmp_path)


@asynccontextmanager
async def program(shell: Shell, name: str, code: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of the page, running; it has subscribed."""
    (shell.home / name).write_text(code)
    gate = shell.gate
    given = {"GATEWAY_URL": gate.url, "GATEWAY_TOKEN": gate.token(), **variables}
    async with shell.running(f"exec {sys.executable} {name}", **given) as running:
        await until(lambda: bool(gate.service.gateway.manager.of("acme").rooms.get("circle:7")), PATIENCE)
        yield running


async def test_follow(gate: RunningGateway, shell: Shell) -> None:
    """The program prints the typed event, reconnects by itself and gets the missed events."""
    async with program(shell, "follow.py", example("follow.py")) as follower:
        await gate.publish(circle_id=7, data={"title": "one"})
        assert await line_of(follower) == "one\n"
        (connection,) = gate.service.gateway.manager.connections()
        connection.transport.abort()
        await until(lambda: not list(gate.service.gateway.manager.connections()), PATIENCE)
        await gate.publish(type="task.created", circle_id=7, data={"title": "of another type"})
        await gate.publish(project_id=5, data={"title": "two"})
        assert await line_of(follower) == "two\n"
    assert shell.errors == ""


async def test_follow_gives_up_where_it_must(gate: RunningGateway, shell: Shell) -> None:
    """A token that is not good is not tried again."""
    (shell.home / "follow.py").write_text(example("follow.py"))
    variables = {"GATEWAY_URL": gate.url, "GATEWAY_TOKEN": gate.token()[:-3]}
    follower = await shell.start(f"exec {sys.executable} follow.py", **variables)
    async with asyncio.timeout(PATIENCE):
        _, errors = await follower.communicate()
    assert follower.returncode == 1
    assert "TokenRefused: token_invalid" in errors.decode().splitlines()[-1]
    assert variables["GATEWAY_TOKEN"] not in errors.decode()


async def test_resume(gate: RunningGateway, shell: Shell) -> None:
    """A second run goes on where the first was killed."""
    async with program(shell, "resume.py", example("resume.py")) as first:
        await gate.publish(circle_id=7, data={"n": 1})
        assert await line_of(first) == "{'n': 1}\n"
        await until(lambda: (shell.home / "cursor.txt").exists() and (shell.home / "cursor.txt").read_text(), PATIENCE)
        await asyncio.sleep(0.1)
    await gate.publish(circle_id=7, data={"n": 2})
    async with program(shell, "resume.py", example("resume.py")) as second:
        assert await line_of(second) == "{'n': 2}\n"


async def test_load(gate: RunningGateway, shell: Shell) -> None:
    """The state first, then the events."""
    async with program(shell, "load.py", example("load.py")) as loading:
        assert await line_of(loading) == "['from your database']\n"
        await gate.publish(circle_id=7, data={"title": "new"})
        assert await line_of(loading) == "['from your database', 'new']\n"


async def test_items(gate: RunningGateway, shell: Shell) -> None:
    """The state from before, and each change."""
    await gate.publish(circle_id=7, data={"value": 1}, item_key="a")
    async with program(shell, "items.py", example("items.py")) as items:
        assert await line_of(items) == "{'a': {'value': 1}}\n"
        await gate.publish(circle_id=7, data={"value": 2}, item_key="b")
        assert await line_of(items) == "{'a': {'value': 1}, 'b': {'value': 2}}\n"


async def test_worker(gate: RunningGateway, shell: Shell) -> None:
    """The program publishes one event and a batch, and reads them back."""
    (shell.home / "publisher.py").write_text(example("publisher.py"))
    variables = {"GATEWAY_URL": gate.url, "GATEWAY_TOKEN": gate.token()}
    lines = (await shell.run(f"{sys.executable} publisher.py", **variables)).splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["published"] * 3
    assert lines[3].startswith("Event(type='task.completed', data={'task': 81}")


async def test_renew(gate: RunningGateway, shell: Shell) -> None:
    """The connection goes on with the fresh token when the first one expires."""
    place = shell.home / "token.txt"
    place.write_text(gate.token())
    async with program(shell, "renew.py", example("renew.py"), PYTHONUNBUFFERED="1") as following:
        assert "connecting" in await line_of(following)
        assert "live" in await line_of(following)
        gate.later(570)
        place.write_text(gate.token())
        (connection,) = gate.service.gateway.manager.connections()
        ends = connection.identity.expires_at
        await until(lambda: connection.identity.expires_at > ends, PATIENCE)
        gate.later(60)
        await gate.publish(circle_id=7, data={"n": 1})
        assert await line_of(following) == "{'n': 1}\n"


def test_the_type_checker_takes_the_programs_and_shows_a_gap_that_is_forgotten(tmp_path: Path) -> None:
    """`mypy --strict`, with nothing but the package."""
    programs = {
        "follow.py": example("follow.py"),
        "resume.py": example("resume.py"),
        "load.py": example("load.py"),
        "items.py": example("items.py"),
        "publisher.py": example("publisher.py"),
        "listen.py": example("listen.py"),
    }
    for name, code in programs.items():
        (tmp_path / name).write_text(code)
    forgets = (
        example("follow.py")
        .replace("if isinstance(item, Gap):", "if item is None:")
        .replace(
            "elif task_completed.is_in(item):\n                print(item.data",
            "else:\n                print(item.data",
        )
    )
    (tmp_path / "forgets.py").write_text(forgets)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--cache-dir",
        str(ROOT / ".mypy_cache/client"),
    ]
    done = subprocess.run(
        [*command, *programs, "forgets.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "clients/python")},
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
    )
    faults = done.stdout.splitlines()
    assert any(line.startswith("forgets.py") and 'Item "Gap" of' in line for line in faults), done
    assert [line for line in faults if not line.startswith("forgets.py")] == []
