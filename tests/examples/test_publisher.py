"""The Django project and its Celery worker, over a real Redis."""

import asyncio
from pathlib import Path

import psutil

from tests.documentation.pages import example
from tests.documentation.shell import PATIENCE, Shell
from tests.examples.programs import copy_example
from tests.support.clients import fence
from tests.support.inprocess import RunningGateway
from tests.support.ports import ReservedPort
from tests.support.proxy import proxied
from tests.support.redis import RedisServer

ROLLED_BACK = """
from django.db import transaction
from shop.models import Order
try:
    with transaction.atomic():
        Order.objects.create(circle=7, status='lost')
        raise LookupError
except LookupError:
    Order.objects.create(circle=7, status='kept')
"""


async def logged(worker: asyncio.subprocess.Process, words: str) -> None:
    """Read the worker's log up to the line that has these words."""
    assert worker.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while words not in (line := (await worker.stderr.readline()).decode()):
            assert line, "the worker has ended"


def process_of_task(worker: asyncio.subprocess.Process, port: int) -> psutil.Process:
    """The process of the worker's pool that is connected to the port."""
    (main,) = psutil.Process(worker.pid).children()
    connected = {process: process.net_connections("tcp") for process in main.children()}
    (found,) = (process for process, sockets in connected.items() if any(port in each.raddr for each in sockets))
    return found


async def test_each_commit_is_delivered_once(gate: RunningGateway, server: RedisServer, tmp_path: Path) -> None:
    """The task is tried again after an outage, and runs again where its process is killed before the answer came."""
    copy_example("publisher", tmp_path)
    with ReservedPort() as nothing:
        async with proxied(nothing) as network, gate.client(query="&rooms=circle:7") as reader:
            await reader.next("subscribed")
            shell = Shell(RunningGateway(gate.service, network.port), tmp_path)
            shell.environment |= {"GATEWAY_URL": shell.gate.url, "GATEWAY_TOKEN": gate.token()}
            shell.environment |= {"CELERY_BROKER_URL": server.url}
            async with shell.running(example("worker")) as worker:
                await logged(worker, " ready.")
                await shell.run(example("order"))
                await logged(worker, "Retry in 1s")
                network.target, network.latency = gate.port, 1.0
                event = await reader.next("order.saved", PATIENCE)
                assert (event["circle_id"], event["data"]) == (7, {"order": 1, "status": "paid"})
                process_of_task(worker, network.port).kill()
                network.latency = 0
                await logged(worker, "succeeded")
                await fence(reader)
                await shell.run(f'python manage.py shell -c "{ROLLED_BACK}"')
                assert (await reader.next("order.saved", PATIENCE))["data"]["status"] == "kept"
                await logged(worker, "succeeded")
    assert "eyJ" not in shell.errors  # as every token begins
