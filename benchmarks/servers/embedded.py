"""The gateway with a publisher in its process: configured by the environment as `gateway serve` is."""

import asyncio
from collections.abc import Sequence
from typing import Any

import uvicorn

from benchmarks.load.publisher import data
from benchmarks.peers.gateway import TENANT
from benchmarks.servers.orders import follow
from gateway.api import create_app
from gateway.config import load_settings
from gateway.server import server_config
from gateway.wiring import create_service


async def main(server: uvicorn.Server, gateway: Any) -> None:
    async def publish(pad: int, rooms: Sequence[str]) -> None:
        ids = {f"{kind}_id": int(name) for kind, _, name in (room.partition(":") for room in rooms)}
        await gateway.publish(TENANT, "task.completed", data(pad), **ids)

    orders = asyncio.create_task(follow(publish))
    try:
        await server.serve()
    finally:
        orders.cancel()


if __name__ == "__main__":
    settings = load_settings()
    service = create_service(settings)
    config = server_config(create_app(service), settings)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(main(uvicorn.Server(config), service.gateway))
