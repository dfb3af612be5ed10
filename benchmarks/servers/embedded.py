"""The gateway with a publisher in its process: configured by the environment as `gateway serve` is.

With BENCH_PUBLISH=bus events take the way over an EventBus and its bridge, else that of `Gateway.publish`.
"""

import asyncio
import os
from collections.abc import Callable

import uvicorn

from benchmarks.load.publisher import Order, data, ids
from benchmarks.peers.gateway import TENANT
from benchmarks.servers.orders import Publish, follow
from gateway import Event, EventBridge, EventBus, EventType, create_service
from gateway.api import create_app
from gateway.server import tune_gc
from gateway.server.run import server_config
from gateway.service.config import load_settings
from gateway.service.factory import Service
from gateway.telemetry.redaction import redact_server_logs
from gateway.transports.uvicorn.sockets import write_batch_to_fds


def directly(service: Service) -> Publish:
    gateway = service.gateway

    async def publish(order: Order) -> None:
        contents, routing = data(order.pad, order.at), ids(order.rooms)
        for _ in range(order.count):
            await gateway.publish(TENANT, EventType.TASK_COMPLETED, contents, **routing)

    return publish


def by_bus(service: Service) -> Publish:
    bus = EventBus()
    EventBridge(service.gateway, TENANT).attach(bus, [EventType.TASK_COMPLETED])

    async def publish(order: Order) -> None:
        contents, routing = data(order.pad, order.at), ids(order.rooms)
        for _ in range(order.count):
            await bus.publish(Event(EventType.TASK_COMPLETED, contents, **routing))

    return publish


async def main(server: uvicorn.Server, publish: Publish) -> None:
    # An order that fails ends the server, or what was never published would count as published at once.
    async with asyncio.TaskGroup() as group:
        orders = group.create_task(follow(publish))
        await server.serve()
        orders.cancel()


def serve(way: Callable[[Service], Publish]) -> None:
    """Serve, and publish what is ordered in the way that is made of the service."""
    settings = load_settings()
    service = create_service(settings, batch_writer=write_batch_to_fds)
    config = server_config(create_app(service), settings)
    redact_server_logs()
    tune_gc()
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(main(uvicorn.Server(config), way(service)))


if __name__ == "__main__":
    serve(by_bus if os.environ.get("BENCH_PUBLISH") == "bus" else directly)
