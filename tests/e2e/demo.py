"""Requests to the gateway that the browser tests make beside the page."""

import asyncio
import subprocess
from collections.abc import Mapping
from typing import Any

from tests.support.process import GatewayProcess


async def run(process: GatewayProcess, *command: str, variables: Mapping[str, str] | None = None) -> str:
    """The output of a command in the gateway's directory and environment; it must succeed."""
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=process.folder,
        env={**process.environment, **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return str(done.stdout)


async def tenants(process: GatewayProcess) -> dict[str, dict[str, Any]]:
    """The data that the page gets in development mode, by tenant: `token`, `rooms`, `foreign_room` and more."""
    async with process.api() as api:
        answer = await api.post("/dev/session", json={})
    answer.raise_for_status()
    return {tenant["tenant"]: tenant for tenant in answer.json()["tenants"]}


async def publish(process: GatewayProcess, token: str, count: int = 1, **event: Any) -> list[str]:
    """Publish the event `count` times, each with its number in `data`; returns their ids."""
    data = [{"title": "from the test", "number": number} for number in range(count)]
    return await process.publish(data, token, **{"type": "task.created", **event})
