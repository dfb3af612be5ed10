"""The keepalive sweep of an endpoint: few clients in one iteration of the event loop, however many there are."""

import asyncio
from typing import Any

from gateway.core.origin import OriginPolicy
from gateway.transports.uvicorn.endpoint import CHECKED, Endpoint


class Client:
    """A client that counts its checks, and may end another one meanwhile."""

    bucket = 0

    def __init__(self, checked: list["Client"]) -> None:
        self.checked = checked
        self.ends: Client | None = None

    def check_liveness(self, now: float, endpoint: Endpoint) -> None:
        self.checked.append(self)
        if self.ends is not None:
            endpoint.discard(self.ends)

    def extend_deadlines(self, seconds: float) -> None: ...

    def abort(self) -> None: ...


async def test_a_sweep_checks_few_clients_in_one_iteration() -> None:
    """Each takes 5 us and more: of 10,000 clients, a twentieth would take 3 ms. One that has gone is not checked."""
    host: Any = None
    endpoint = Endpoint(("/ws",), host, OriginPolicy(()), (), 1_000, 20.0, 10.0)
    checked: list[Client] = []
    clients = [Client(checked) for _ in range(20 * 10 * CHECKED)]
    for client in clients:
        endpoint.add(client)
    members: list[Any] = list(endpoint.clients[0])
    first, last = members[0], members[-1]
    first.ends = last
    await endpoint.start()
    try:
        while len(checked) < 10 * CHECKED - 1:
            before = len(checked)
            await asyncio.sleep(0)
            assert len(checked) - before <= CHECKED
    finally:
        await endpoint.stop()
    assert last not in checked
    assert checked[0] is first
