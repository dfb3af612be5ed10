"""Operators who run the `gateway` command."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typer.testing import Result

from tests.support.commands import invoke
from tests.support.inprocess import RunningGateway


class Operator:
    """An operator at a terminal, with this token."""

    def __init__(self, gate: RunningGateway, folder: Path, scope: str = "admin", tenant: str = "acme") -> None:
        self._folder = folder
        self._env = {"GATEWAY_URL": gate.url, "GATEWAY_TOKEN": gate.token("root", tenant=tenant, scope=scope)}

    async def run(self, *command: str, env: Mapping[str, str] | None = None) -> Result:
        return await asyncio.to_thread(invoke, *command, cwd=self._folder, env={**self._env, **(env or {})})

    async def text(self, *command: str) -> str:
        done = await self.run(*command)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    async def lines(self, *command: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (await self.text(*command, "--json")).splitlines()]

    async def refusal(self, *command: str) -> str:
        done = await self.run(*command)
        assert (done.exit_code, done.stdout) == (2, "")
        return done.stderr
