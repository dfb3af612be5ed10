"""Handshakes of many clients at once, in the turns of their tenants."""

import asyncio
from functools import partial

from gateway.core.connect_request import ConnectRequest, read_connect_request
from gateway.core.credentials import Secrets
from gateway.engine.fair_share import BUDGET
from gateway.engine.handshakes import HANDSHAKE_COST
from tests.support.lab import GatewayLab
from tests.support.transports import FakeTransport


def request(token: str, address: str = "192.0.2.1") -> ConnectRequest:
    return read_connect_request([], {}, Secrets([token] if token else []), address)


async def test_a_few_handshakes_wait_for_nothing() -> None:
    lab = GatewayLab()
    for number in range(5):
        assert not lab.gateway.resolve(request(lab.token(f"u{number}")), lambda answer: None)


async def test_a_tenant_that_connects_a_thousand_clients_delays_no_other() -> None:
    """The other tenant's handshakes are answered in the first iterations, and all of them in the end."""
    lab = GatewayLab(lambda: 100.0)  # tenants compete, however long the machine takes
    order: list[str] = []

    def connect(asked: ConnectRequest, then: ConnectRequest) -> None:
        connection = lab.gateway.connect(then, FakeTransport())
        order.append("refused" if connection is None else connection.identity.tenant)

    for tenant, count in (("evil", 1_000), ("good", 30)):
        for number in range(count):
            asked = request(lab.token(f"u{number}", tenant))
            if not lab.gateway.resolve(asked, partial(connect, asked)):
                connect(asked, asked)
    iterations = 0
    while len(order) < 1_030:
        iterations += 1
        before = len(order)
        await asyncio.sleep(0)
        assert len(order) - before <= 2 * BUDGET // HANDSHAKE_COST
    assert max(number for number, tenant in enumerate(order) if tenant == "good") < 100
    assert order.count("evil") == 1_000
    assert iterations >= 900 * HANDSHAKE_COST // (BUDGET + HANDSHAKE_COST)  # and one beyond the budget


async def test_requests_without_a_tenant_wait_by_address() -> None:
    """They are refused, in turns of their own."""
    lab = GatewayLab()
    order: list[str] = []
    for address, count in (("192.0.2.1", 200), ("192.0.2.2", 10)):
        for _ in range(count):
            asked = request("", address)
            lab.gateway.resolve(asked, lambda answer, address=address: order.append(address))  # type: ignore[misc]
    for _ in range(100):
        await asyncio.sleep(0)
    assert max(number for number, address in enumerate(order) if address == "192.0.2.2") < 60


async def test_forged_tokens_take_no_turns_of_the_tenant_that_they_name() -> None:
    """They wait by address, as those without a tenant."""
    lab = GatewayLab()
    order: list[bool] = []
    for count, signed in ((1_000, False), (30, True)):
        for number in range(count):
            token = lab.token(f"u{number}", "acme")
            asked = request(token if signed else token.rpartition(".")[0] + "." + "A" * 43)
            if not lab.gateway.resolve(asked, lambda answer, signed=signed: order.append(signed)):  # type: ignore[misc]
                order.append(signed)
    while order.count(True) < 30:  # noqa: ASYNC110 - the very iteration
        await asyncio.sleep(0)
    assert order.count(False) < 300


def test_the_tenant_of_a_token_is_read_where_its_hmac_is_good() -> None:
    lab = GatewayLab()
    verifier = lab.gateway.connections.verifier
    token = lab.token("ada", "acme")
    assert verifier.tenant_of(token) == "acme"
    forged = token.rpartition(".")[0] + ".x"
    bad = (
        "",
        "x",
        "a.b.c",
        "a.e30.c",
        "a.MQ.c",
        "..",
        "a.eyJ0ZW5hbnQiOjF9.c",
        "a." + "W" * 8_000 + ".c",
        "\xff.\xff.c",
    )
    for text in (forged, *bad):
        assert verifier.tenant_of(text) == ""
