"""The end of a gateway within another application, which calls for it by itself."""

import asyncio

from tests.support.clients import http_client
from tests.support.inprocess import RunningGateway


async def test_an_application_announces_its_end_and_drains(gate: RunningGateway) -> None:
    """After `announce` it is not ready and takes newcomers; `run` then sends everybody away."""
    drain = gate.service.gateway.drain
    async with http_client(gate.url) as http, gate.client() as first:
        assert (await http.get("/readyz")).status_code == 200
        drain.announce()
        assert (await http.get("/readyz")).status_code == 503
        async with gate.client() as second:
            assert (await second.ask(type="ping"))["type"] == "pong"
            draining = asyncio.create_task(drain.run(0.4))
            for client in (first, second):
                assert await client.closed() == (1012, "draining")
            await draining
