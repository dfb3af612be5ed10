"""A shell in a folder that looks like a clone after `make run`, for the commands of the pages."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from tests.support.inprocess import RunningGateway
from tests.support.pauses import until
from tests.support.ports import ReservedPort
from tests.support.settings import SECRET

DEV_URL = "http://127.0.0.1:8000"
"""Where `make run` serves, and so what the pages say; the tests put their own gateway's address there."""

PATIENCE = 60.0
"""Seconds for another process to start and do something."""


class Shell:
    """Runs lines of the pages in a folder that looks like a clone after `make run`."""

    def __init__(self, gate: RunningGateway, home: Path) -> None:
        self.gate = gate
        self.home = home
        self.errors = ""
        (home / ".venv").symlink_to(sys.prefix)
        (home / ".gateway-dev").mkdir()
        (home / ".gateway-dev" / "secret").write_text(SECRET)
        hidden = ("GATEWAY_", "PYTHON", "COV_", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        scripts = Path(sys.executable).parent
        self.environment = {
            **{name: value for name, value in kept.items() if not name.lower().endswith("_proxy")},
            "PATH": f"{scripts}{os.pathsep}{kept['PATH']}",
            "PYTHONPATH": str(home),
        }

    async def start(self, code: str, **environment: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "sh",
            "-ec",
            code.replace(DEV_URL, self.gate.url),
            cwd=self.home,
            env={**self.environment, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def run(self, code: str, **environment: str) -> str:
        """The output of the lines; they must succeed."""
        process = await self.start(code, **environment)
        async with asyncio.timeout(4 * PATIENCE):
            output, errors = await process.communicate()
        assert process.returncode == 0, (output, errors)
        return output.decode()

    @asynccontextmanager
    async def running(self, code: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """The lines, for as long as the context lasts."""
        process = await self.start(code, **environment)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(process.pid, signal.SIGTERM)
            self.errors += (await process.communicate())[1].decode()


@asynccontextmanager
async def application(shell: Shell, command: str) -> AsyncIterator[RunningGateway]:
    """The application that a command of the pages starts, at a free port; nothing that it logs is a token."""
    with ReservedPort() as port:
        async with shell.running(command.replace("9000", str(port)), GATEWAY_JWT_SECRET=SECRET) as server:
            theirs = RunningGateway(shell.gate.service, port)  # whose tokens the same secret signs
            await until(lambda: server.returncode is not None or answers(theirs.url), PATIENCE)
            assert server.returncode is None, shell.errors
            yield theirs
    assert "Uvicorn running" in shell.errors
    assert "eyJ" not in shell.errors  # as every token begins


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        line = (await process.stdout.readline()).decode()
    if not line:
        assert process.stderr is not None
        raise AssertionError((await process.stderr.read()).decode())
    return line


def answers(url: str) -> bool:
    try:
        return "ready" in _fetch(Request(f"{url}/readyz"))  # noqa: S310 - the address is ours
    except URLError:
        return False


def post(url: str, token: str = "") -> str:
    """The answer to a request without a body."""
    return _fetch(Request(url, method="POST", headers={"Authorization": f"Bearer {token}"}))  # noqa: S310 - the same


def _fetch(request: Request) -> str:
    with build_opener(ProxyHandler({})).open(request, timeout=PATIENCE) as answer:
        text: str = answer.read().decode()
    return text
