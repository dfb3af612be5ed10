"""The end of a connection whose clean-up fails in one step: the other steps are done all the same."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.transports.uvicorn.endpoint import Endpoint, Supervised
from tests.support.event_streams import streaming
from tests.support.inprocess import running
from tests.support.pauses import until, until_equal
from tests.support.settings import settings_for


def failing(step: Callable[..., object], failures: list[str]) -> Callable[..., None]:
    """The step, which then raises."""

    def fail(*arguments: Any) -> None:
        step(*arguments)
        failures.append(step.__qualname__)
        raise RuntimeError(f"{step.__qualname__} failed")

    return fail


@pytest.mark.parametrize("stock", [False, True], ids=["uvicorn transports", "ASGI transports"])
async def test_a_failed_step_leaves_the_connection_in_no_index(stock: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the gateway nor of the transports; and presence knows that it has left."""
    supervised: set[Supervised] = set()

    def add(self: Endpoint, client: Supervised) -> None:
        supervised.add(client)
        before[0](self, client)

    def discard(self: Endpoint, client: Supervised) -> None:
        supervised.discard(client)
        before[1](self, client)

    before = Endpoint.add, Endpoint.discard
    monkeypatch.setattr(Endpoint, "add", add)
    monkeypatch.setattr(Endpoint, "discard", discard)
    async with running(settings_for(), stock=stock) as gate:
        gateway = gate.service.gateway
        connections, manager, presence = gateway.connections, gateway.manager, gateway.presence
        presence.grace = 0.0
        index = manager.of("acme")

        def kept() -> list[str]:
            """The indexes that are not empty."""
            sizes: dict[str, int] = {
                "connections": len(index.connections),
                "rooms": len(index.rooms),
                "users": len(index.users),
                "streams": len(index.streams),
                "addresses": len(connections.admission.addresses),
                "expirations": len(connections.expirations),
                "supervised": len(supervised),
                "presence": not presence.idle,
            }
            return [name for name, size in sizes.items() if size]

        async def break_step(owner: object, name: str) -> None:
            failures: list[str] = []
            step = getattr(type(owner), name)
            async with gate.client() as client, streaming(gate, "?rooms=circle:1"):
                await client.ask(type="subscribe", rooms=["circle:1"], presence=True)
                monkeypatch.setattr(type(owner), name, failing(step, failures))
            await until(lambda: len(failures) >= 2)
            monkeypatch.setattr(type(owner), name, step)
            await until_equal(kept, [], 20)

        await break_step(connections.expirations, "forget")
        await break_step(connections.admission, "release")
        await break_step(manager, "remove")
        await break_step(manager.removals, "on_removed")
        await break_step(presence, "on_left")
