"""Limits: commands, handshakes, connections, sizes, HTTP, and whose address counts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
from websockets.asyncio.client import connect

from gateway.core.addresses import client_address
from gateway.core.rate_limit import address_key
from gateway.testing import Clock
from schemas.events import published_event
from schemas.rooms import DEFAULT_KINDS
from tests.support.clients import Client, assert_problem, fence, http
from tests.support.inprocess import RunningGateway, running, service_with
from tests.support.settings import settings_for


@asynccontextmanager
async def timed(**values: Any) -> AsyncIterator[tuple[RunningGateway, Clock]]:
    """A gateway whose rates go by a clock of the test's."""
    timer = Clock(1_000.0)
    async with running(settings_for(**values), service_with(timer=timer, **values)) as gate:
        yield gate, timer


# ---- publishing by one user


async def test_events_over_the_publish_rate_are_refused_with_when_to_come_back() -> None:
    """One rate for a user's events over HTTP, in batches and over the socket, whichever token they come with; each
    event of a batch counts, and those beyond the rate are refused one by one. Others' events do not count."""
    async with timed(publish_per_second=2, publish_burst=5) as (gate, timer):
        async with gate.client() as client, http(gate, gate.token()) as api, http(gate, gate.token("bob")) as other:
            event = {"type": "task.created", "data": {}, "circle_id": 1}
            answer = await api.post("/events/batch", json={"events": [event] * 3})
            assert all("event_id" in result for result in answer.json()["results"])
            assert (await api.post("/events", json=event)).status_code == 202
            assert (await client.ask(type="publish", event=event))["type"] == "published"
            refused = await client.ask(type="publish", event=event)
            assert refused["data"]["code"] == "rate_limited"
            assert refused["data"]["retry_after"] == pytest.approx(0.5, abs=0.002)
            assert refused["data"]["limit"] == 2
            assert_problem(await api.post("/events", json=event), 429, "rate_limited")
            assert (await other.post("/events", json=event)).status_code == 202
            await timer.advance(1.0)
            answer = await api.post("/events/batch", json={"events": [event] * 4})
            assert answer.status_code == 202
            codes = [result.get("error", {}).get("code") for result in answer.json()["results"]]
            assert codes == [None, None, "rate_limited", "rate_limited"]
            assert gate.service.gateway.log.window("acme").head == 8


async def test_code_of_this_process_has_no_publish_rate() -> None:
    """The code is trusted; and a limit of 0 means no limit."""
    async with timed(publish_per_second=1, publish_burst=1) as (gate, _):
        for _ in range(10):
            await gate.publish(circle_id=1)
    for unlimited in ({"publish_per_second": 0}, {"publish_burst": 0}):
        async with timed(**unlimited) as (gate, _), http(gate, gate.token()) as api:
            event = {"type": "task.created", "data": {}, "circle_id": 1}
            answer = await api.post("/events/batch", json={"events": [event] * 1_000})
            assert all("event_id" in result for result in answer.json()["results"])


async def test_rates_of_users_who_publish_no_more_take_no_memory() -> None:
    """A full bucket is forgotten at the next sweep."""
    async with timed(publish_per_second=10, publish_burst=10) as (gate, timer):
        event = published_event(DEFAULT_KINDS).model_validate({"type": "task.created", "data": {}, "circle_id": 1})
        publishing = gate.service.gateway.publishing
        for n in range(500):
            publishing.draft(gate.service.gateway.connections.verify(gate.token(f"user{n}")), event)
        assert publishing.rates_kept == 500
        await timer.advance(1.0)
        publishing.sweep()
        assert publishing.rates_kept == 0


async def test_all_users_of_a_tenant_share_a_rate_where_it_has_one() -> None:
    """Twice a second's events at once; other tenants have their own, and no user of another one uses it up."""
    async with timed(tenant_publish_per_second=3) as (gate, timer):
        event = {"type": "task.created", "data": {}, "circle_id": 1}

        async def publish(user: str, tenant: str = "acme") -> int:
            async with http(gate, gate.token(user, tenant=tenant)) as api:
                return (await api.post("/events", json=event)).status_code

        async with http(gate, gate.token("mallory", tenant="bolt", scope="publish")) as api:
            for _ in range(10):
                assert_problem(await api.post("/events", json={**event, "tenant": "acme"}), 403, "scope_missing")
        assert [await publish(f"u{n}") for n in range(8)] == [202] * 6 + [429] * 2
        async with http(gate, gate.token("eve")) as api:
            refused = await api.post("/events", json=event)
            assert_problem(refused, 429, "rate_limited")
            assert refused.headers["retry-after"] == "1"
        assert await publish("bob", "bolt") == 202
        await timer.advance(1.0)
        assert [await publish(f"u{n}") for n in range(4)] == [202] * 3 + [429]
        await timer.advance(100.0)
        gate.service.gateway.publishing.sweep()
        assert gate.service.gateway.publishing.rates_kept == 0


async def test_quotas_of_a_single_tenant_are_its_own() -> None:
    """More or less than other tenants have, in place of the settings for all; no other tenant is refused because of
    them."""
    limits = {"acme": {"publish_per_second": 1, "max_connections": 1}, "big": {"publish_per_second": 0}, "bolt": {}}
    settings = {"tenant_publish_per_second": 2, "max_connections_per_tenant": 2, "tenant_limits": limits}
    async with timed(**settings) as (gate, timer), AsyncExitStack() as stack:
        event = {"type": "task.created", "data": {}, "circle_id": 1}

        async def publish(tenant: str) -> list[int]:
            async with http(gate, gate.token("ada", tenant=tenant)) as api:
                return [(await api.post("/events", json=event)).status_code for _ in range(8)]

        assert await publish("acme") == [202] * 2 + [429] * 6
        async with http(gate, gate.token()) as api:
            refused_event = await api.post("/events", json=event)
        assert_problem(refused_event, 429, "rate_limited")
        assert "at most 1 events a second" in refused_event.json()["detail"]
        assert await publish("bolt") == await publish("other") == [202] * 4 + [429] * 4
        assert await publish("big") == [202] * 8
        await timer.advance(2.5)  # as long as all of them take to be full again
        gate.service.gateway.publishing.sweep()
        assert gate.service.gateway.publishing.rates_kept == 0
        for tenant, most in (("acme", 1), ("bolt", 2), ("big", 2), ("other", 2)):
            for number in range(most):
                await stack.enter_async_context(gate.client(gate.token(f"u{number}", tenant=tenant)))
            data = await refused(gate, gate.token("carl", tenant=tenant))
            assert (data["code"], data["limit"], data["closed"][0]) == ("rate_limited", most, 1013)


# ---- commands of one connection


async def test_commands_over_the_rate_are_refused_with_when_to_come_back() -> None:
    """The burst goes through; then `rate_limited`, until the time that it names has passed."""
    async with timed(commands_per_second=2, command_burst=3) as (gate, timer), gate.client() as client:
        for _ in range(3):
            assert (await client.ask(type="ping"))["type"] == "pong"
        error = await client.ask(type="subscribe", rooms=["circle:1"])
        assert error["data"]["code"] == "rate_limited"
        assert error["data"]["retry_after"] == pytest.approx(0.5, abs=0.002)
        assert error["data"]["limit"] == 2
        await timer.advance(0.49)
        assert (await client.ask(type="ping"))["type"] == "error"
        await timer.advance(0.01)
        assert (await client.ask(type="ping"))["type"] == "pong"
        await timer.advance(60)
        for _ in range(3):
            assert (await client.ask(type="ping"))["type"] == "pong"
        assert (await client.ask(type="ping"))["type"] == "error"


async def test_a_refused_command_did_nothing() -> None:
    """A command over the rate is not run later either."""
    async with timed(commands_per_second=1, command_burst=1) as (gate, timer), gate.client() as client:
        await client.ask(type="ping")
        assert (await client.ask(type="subscribe", rooms=["circle:1"]))["data"]["code"] == "rate_limited"
        await timer.advance(10)
        await gate.publish(circle_id=1)
        await fence(client)


@pytest.mark.parametrize(("how", "more"), [("since", 3), ("history", 6)])  # which looks for a place, and from there on
async def test_looking_far_back_counts_as_more_commands(how: str, more: int) -> None:
    """Each thousand events that a command goes through are one more, though none of them is new to the client; what is
    not gone through is not counted, however long the log is."""
    values = {"commands_per_second": 1, "command_burst": more + 2, "events_per_second": 0}
    async with timed(**values) as (gate, timer), gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        for _ in range(3_000):
            await gate.publish(circle_id=1, project_id=1)
        for _ in range(3_000):
            await client.next("task.completed")
        look = {"since": client.established["data"]["cursor"]} if how == "since" else {"history": 100}
        for _ in range(more + 1):
            answer = await client.ask(type="subscribe", rooms=["circle:1"], **look)
            assert answer["data"]["replayed"] == 0
        await timer.advance(60)
        answer = await client.ask(type="subscribe", rooms=["project:1"], **look)
        assert answer["data"]["replayed"] == 0
        assert (await client.ask(type="ping"))["type"] == "pong"
        assert (await client.ask(type="ping"))["data"]["retry_after"] == pytest.approx(1, abs=0.01)


async def test_a_client_that_keeps_exceeding_its_rate_is_closed_with_4429() -> None:
    """After twice the burst of refusals, whether the commands are good, malformed or binary."""
    for frame in ('{"type":"ping"}', "nonsense", b"binary"):
        values = {"commands_per_second": 1, "command_burst": 4}
        async with timed(**values) as (gate, _), gate.client() as client:
            for _ in range(4):
                await client.ask(type="ping")
            for _ in range(8):
                await client.websocket.send(frame)
                assert (await client.next("error"))["data"]["code"] == "rate_limited"
            await client.websocket.send(frame)
            assert await client.closed() == (4429, "rate_limited")
            assert list(gate.service.manager.connections()) == []


async def test_one_clients_rate_is_not_anothers() -> None:
    """Also of the same user."""
    async with timed(commands_per_second=1, command_burst=1) as (gate, _), gate.client() as one, gate.client() as two:
        for client in (one, two):
            assert (await client.ask(type="ping"))["type"] == "pong"
        for client in (one, two):
            assert (await client.ask(type="ping"))["type"] == "error"


async def test_zero_is_no_limit_on_commands() -> None:
    """Zero means the same for every limit."""
    async with timed(commands_per_second=0, command_burst=1) as (gate, _), gate.client() as client:
        for _ in range(100):
            assert (await client.ask(type="ping"))["type"] == "pong"


async def test_repeated_malformed_messages_are_closed_with_4400() -> None:
    """Ten in a row; a valid command between them resets the count."""
    async with timed() as (gate, _), gate.client() as client:
        for _ in range(9):
            await client.websocket.send("nonsense")
            await client.next("error")
        await fence(client)
        for frame in ("nonsense", b"x", '{"type":"nonsense"}', "[]", "{}", "1", "", b"", '{"type":"auth","x":1}'):
            await client.websocket.send(frame)
            await client.next("error")
        await client.websocket.send("nonsense")
        assert (await client.next("error"))["data"]["code"] == "bad_message"
        assert await client.closed() == (4400, "bad_message")


async def test_refusals_of_rights_are_not_malformed() -> None:
    """A dashboard that asks for rooms it may not see is not sent away for it."""
    async with timed() as (gate, _), gate.client() as client:
        for _ in range(20):
            assert (await client.ask(type="subscribe", rooms=["user:bob"]))["data"]["code"] == "room_forbidden"
        await fence(client)


async def test_a_message_over_the_limit_is_closed_with_1009() -> None:
    """Bytes count, not characters, and fragments together; one that is just within the limit is read."""
    async with timed(max_message_bytes=1_024) as (gate, _):
        for text in ("x" * 1_025, "ü" * 513, b"x" * 1_025, ["x" * 500, "x" * 500, "x" * 500]):
            async with gate.client() as client:
                await client.websocket.send(text)
                assert (await client.closed())[0] == 1009, text[:3]
        async with gate.client() as client:
            assert client.established["data"]["limits"]["message_bytes"] == 1_024
            for text in ("x" * 1_024, "ü" * 512, ["x" * 500, "x" * 500]):
                await client.websocket.send(text)
                assert (await client.next("error"))["data"]["code"] == "bad_message"
            await fence(client)
        assert list(gate.service.manager.connections()) == []


# ---- handshakes and connections


async def refused(
    gate: RunningGateway, token: str | None = None, headers: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """The `error` frame before the close, with the code and the reason of the close as `closed`."""
    token = gate.token() if token is None else token
    async with connect(f"{gate.ws_url}?token={token}", additional_headers=headers) as websocket:
        client = Client(websocket)
        data: dict[str, Any] = (await client.next("error"))["data"]
        return {**data, "closed": await client.closed()}


async def test_handshakes_of_one_address_are_limited() -> None:
    """4429 after an `error` with `retry_after`; bad tokens count too, and the address is let in again in time."""
    async with timed(handshakes_per_minute=4) as (gate, timer):
        for token in ("nonsense", gate.token(), gate.token(), "nonsense"):
            async with connect(f"{gate.ws_url}?token={token}") as websocket:
                await Client(websocket).closed() if token == "nonsense" else await websocket.recv()
        data = await refused(gate)
        assert (data["code"], data["limit"], data["closed"][0]) == ("rate_limited", 4, 4429)
        assert data["retry_after"] == pytest.approx(15, abs=0.002)
        # # A refusal costs nothing: a client that waits for `retry_after` gets in.
        await timer.advance(14.9)
        assert (await refused(gate))["retry_after"] == pytest.approx(0.1, abs=0.002)
        await timer.advance(0.102)
        async with gate.client() as client:
            await fence(client)


async def test_connections_of_one_user_are_limited() -> None:
    """4409, for every address; the user of the same name in another tenant has places of its own."""
    async with timed(max_connections_per_user=2) as (gate, _), gate.client() as one, gate.client() as two:
        data = await refused(gate)
        assert (data["code"], data["limit"], data["closed"][0]) == ("rate_limited", 2, 4409)
        assert data["retry_after"] > 0  # a connection that died may still count: a place may come free
        async with gate.client(gate.token("bob")), gate.client(gate.token(tenant="globex")):
            pass
        await two.websocket.close()
        async with gate.client() as third:
            await fence(third)
        await fence(one)


async def test_connections_of_one_address_are_limited() -> None:
    """1013 with `retry_after`, for any users, and a place is free again when one leaves."""
    async with timed(max_connections_per_address=2) as (gate, _):
        async with gate.client(), gate.client(gate.token("bob", "globex")) as leaver:
            data = await refused(gate, gate.token("carl"))
            assert (data["code"], data["limit"], data["closed"][0]) == ("rate_limited", 2, 1013)
            assert data["retry_after"] > 0
            await leaver.websocket.close()
            async with gate.client():
                pass


async def test_connections_of_one_tenant_are_limited() -> None:
    """1013; the neighbours' places are their own."""
    async with timed(max_connections_per_tenant=2) as (gate, _):
        async with gate.client(), gate.client(gate.token("bob")):
            data = await refused(gate, gate.token("carl"))
            assert (data["code"], data["limit"], data["closed"][0]) == ("rate_limited", 2, 1013)
            assert data["retry_after"] > 0
            async with gate.client(gate.token(tenant="globex")):
                pass


async def test_zero_is_no_limit_on_connections() -> None:
    """The limits of an address, a user and a tenant."""
    nothing = dict.fromkeys(
        ("max_connections_per_user", "max_connections_per_address", "max_connections_per_tenant"), 0
    )
    async with timed(**nothing) as (gate, _), AsyncExitStack() as stack:
        for _ in range(12):
            await stack.enter_async_context(gate.client())


async def test_a_refused_client_takes_no_place() -> None:
    """Neither in the address's count nor in any list, and one that vanished leaves none behind."""
    limits = {"max_connections_per_user": 1, "max_connections_per_address": 2}
    async with timed(**limits) as (gate, _), gate.client() as first:
        for _ in range(5):
            assert (await refused(gate))["closed"][0] == 4409
        for _ in range(3):
            async with gate.client(gate.token("bob")) as client:
                client.websocket.transport.abort()
                await client.websocket.wait_closed()
            async with gate.client(gate.token("carl")):
                pass
        assert len(list(gate.service.manager.connections())) == 1
        await fence(first)


# ---- whose address it is

PROXIES = ("127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48")
FORWARDED: list[tuple[tuple[str, ...], list[str], str]] = [
    ((), ["203.0.113.9"], "127.0.0.1"),
    (("10.0.0.0/8",), ["203.0.113.9"], "127.0.0.1"),
    (PROXIES, [], "127.0.0.1"),
    (PROXIES, ["203.0.113.9"], "203.0.113.9"),
    (PROXIES, ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
    (PROXIES, ["1.1.1.1, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
    (PROXIES, ["1.1.1.1", "203.0.113.9", "10.1.2.3"], "203.0.113.9"),
    (PROXIES, ["1.1.1.1, 203.0.113.9", "10.1.2.3,10.9.9.9"], "203.0.113.9"),
    (PROXIES, ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
    (PROXIES, ["2001:db8::7"], "2001:db8::7"),
    (PROXIES, ["2001:DB8:0:0::7"], "2001:db8::7"),
    (PROXIES, ["[2001:db8::7]:4711"], "2001:db8::7"),
    (PROXIES, ["203.0.113.9:4711"], "203.0.113.9"),
    (PROXIES, ["1.1.1.1, 2001:db8::7, 2001:db8:ffff::1"], "2001:db8::7"),
    (PROXIES, ["nonsense"], "127.0.0.1"),
    (PROXIES, [""], "127.0.0.1"),
    (PROXIES, ["203.0.113.9, nonsense"], "127.0.0.1"),
    (PROXIES, ["203.0.113.9, "], "127.0.0.1"),
    (PROXIES, ["1.1.1.1, nonsense, 10.1.2.3"], "10.1.2.3"),
    (PROXIES, ["203.0.113.9, 999.1.1.1, 10.1.2.3"], "10.1.2.3"),
    (PROXIES, ["unknown", "203.0.113.9"], "203.0.113.9"),
    (PROXIES, ["x" * 4_000], "127.0.0.1"),
]


async def test_x_forwarded_for_is_believed_from_trusted_proxies_only() -> None:
    """Read from its end for as long as proxies of ours speak; what stands left of the first other is invented."""
    for trusted in dict.fromkeys(case[0] for case in FORWARDED):
        async with running(settings_for(trusted_proxies=trusted)) as gate:
            for _, hops, expected in (case for case in FORWARDED if case[0] == trusted):
                headers = [("X-Forwarded-For", hop) for hop in hops]
                async with gate.client(additional_headers=headers):
                    addresses = [connection.address for connection in gate.service.manager.connections()]
                    assert addresses == [expected], hops


def test_a_proxy_is_known_through_a_dual_stack_socket_too() -> None:
    """There the kernel writes an IPv4 peer as ::ffff:10.1.2.3, and 10.0.0.0/8 means it all the same."""
    headers = {b"x-forwarded-for": [b"203.0.113.9"]}
    proxies = [ip_network("10.0.0.0/8")]
    assert client_address("::ffff:10.1.2.3", headers, proxies) == "203.0.113.9"
    assert client_address("::ffff:11.1.2.3", headers, proxies) == "::ffff:11.1.2.3"
    hops = {b"x-forwarded-for": [b"203.0.113.9, ::ffff:10.7.7.7"]}
    assert client_address("::ffff:10.1.2.3", hops, proxies) == "203.0.113.9"


async def test_limits_count_the_address_behind_the_proxy() -> None:
    """One client behind it does not use up another's places; inventing addresses gains none."""
    values = {"max_connections_per_address": 1, "trusted_proxies": ("127.0.0.1",)}
    async with timed(**values) as (gate, _):
        async with gate.client(additional_headers=[("X-Forwarded-For", "203.0.113.9")]):
            async with gate.client(additional_headers=[("X-Forwarded-For", "203.0.113.10")]):
                pass
            for hops in ("203.0.113.9", "1.1.1.1, 203.0.113.9"):
                assert (await refused(gate, headers=[("X-Forwarded-For", hops)]))["closed"][0] == 1013
    async with timed(max_connections_per_address=1) as (gate, _), gate.client():
        assert (await refused(gate, headers=[("X-Forwarded-For", "203.0.113.9")]))["closed"][0] == 1013


async def test_an_ipv6_64_is_one_address() -> None:
    """A client may move within it at will; the next /64 is another client."""
    values = {"max_connections_per_address": 1, "trusted_proxies": ("127.0.0.1",)}

    def of(address: str) -> list[tuple[str, str]]:
        return [("X-Forwarded-For", address)]

    async with timed(**values) as (gate, _), gate.client(additional_headers=of("2001:db8:1:2::1")):
        assert (await refused(gate, headers=of("2001:db8:1:2:ffff::9")))["closed"][0] == 1013
        async with gate.client(additional_headers=of("2001:db8:1:3::1")):
            pass
    async with timed(handshakes_per_minute=1, trusted_proxies=("127.0.0.1",)) as (gate, _):
        async with gate.client(additional_headers=of("2001:db8:1:2::1")):
            assert (await refused(gate, headers=of("2001:db8:1:2::2")))["closed"][0] == 4429


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_the_unit_of_an_address_limit(address: str, key: str) -> None:
    """An IPv4 one however it is written, the /64 of an IPv6 one, and what is no address as itself."""
    assert address_key(address) == key


# ---- HTTP


async def test_issuing_tokens_is_limited_for_each_principal() -> None:
    """429 with `Retry-After` and the limit, in the protocol's words; another administrator is not concerned."""
    async with timed(tokens_per_minute=2) as (gate, _):
        body = {"user_id": "bob", "rooms": []}
        async with http(gate, gate.token("root", scope="admin subscribe")) as api:
            for _ in range(2):
                assert (await api.post("/admin/tokens", json=body)).status_code == 201
            problem = assert_problem(await api.post("/admin/tokens", json=body), 429, "rate_limited")
            assert problem["limit"] == 2
            assert 1 <= problem["retry_after"] <= 60
        # A second token of the same principal is no second principal; another user or tenant is.
        async with http(gate, gate.token("root", scope="admin")) as api:
            assert_problem(await api.post("/admin/tokens", json=body), 429, "rate_limited")
        for other in (
            gate.token("root2", scope="admin subscribe"),
            gate.token("root", "globex", (), "admin subscribe"),
        ):
            async with http(gate, other) as api:
                assert (await api.post("/admin/tokens", json=body)).status_code == 201


async def test_an_address_in_a_header_is_no_way_around_the_limit() -> None:
    """The principal counts, not X-Forwarded-For, and not the query."""
    async with timed(tokens_per_minute=1) as (gate, _), http(gate, gate.token("root", scope="admin subscribe")) as api:
        body = {"user_id": "bob", "rooms": []}
        assert (await api.post("/admin/tokens", json=body)).status_code == 201
        response = await api.post("/admin/tokens?x=1", json=body, headers={"X-Forwarded-For": "203.0.113.9"})
        assert_problem(response, 429, "rate_limited")


async def test_refused_requests_count_too() -> None:
    """Or the rate would be no limit on trying what one may not."""
    async with timed(tokens_per_minute=1) as (gate, _), http(gate, gate.token(scope="admin")) as api:
        body = {"user_id": "bob", "rooms": [], "scope": "platform"}
        assert_problem(await api.post("/admin/tokens", json=body), 403, "scope_missing")
        assert_problem(await api.post("/admin/tokens", json=body), 429, "rate_limited")


ADMINISTRATION: list[tuple[str, str, Any]] = [
    ("POST", "/admin/tokens", {"user_id": "bob", "rooms": []}),
    ("POST", "/admin/tokens/revoke", {"jti": "x"}),
    ("POST", "/admin/tokens/introspect", {"token": "x"}),
    ("POST", "/admin/tokens/inspect", {"token": "x"}),
    ("POST", "/admin/events", {"type": "task.created", "data": {}}),
    ("POST", "/admin/drain", {"node": "node_x"}),
    ("DELETE", "/admin/connections/con_x", None),
    *(("GET", f"/admin/{name}", None) for name in ("audit", "configuration", "connections", "explain", "find?q=x")),
    *(("GET", f"/admin/{name}", None) for name in ("nodes", "rooms", "stats", "tail", "tenants", "usage")),
]


async def test_every_route_of_administrators_is_limited() -> None:
    """Walked: each route under /admin answers 429 at its second request; a new one has to be added. And tickets."""
    async with timed(tokens_per_minute=1, tickets_per_minute=1, admin_requests_per_minute=1) as (gate, _):
        async with http(gate, gate.token("root", scope="admin platform subscribe")) as api:
            described = (await api.get("/openapi.json")).json()["paths"]
            routes = {(method.upper(), path) for path in described for method in described[path] if "/admin" in path}
            named = [(method, path.partition("?")[0].replace("con_x", "{id}")) for method, path, _ in ADMINISTRATION]
            assert sorted(routes) == sorted(named)
            for method, path, body in [*ADMINISTRATION, ("POST", "/tickets", None)]:
                assert (await api.request(method, path, json=body)).status_code != 429, path
                assert_problem(await api.request(method, path, json=body), 429, "rate_limited")


async def test_a_path_parameter_is_no_way_around_the_limit() -> None:
    """slowapi's default counts by URL; here the route counts."""
    async with timed(admin_requests_per_minute=1) as (gate, _), http(gate, gate.token("root", scope="admin")) as api:
        assert_problem(await api.delete("/admin/connections/con_1"), 404, "not_found")
        assert_problem(await api.delete("/admin/connections/con_2"), 429, "rate_limited")


async def test_two_gateways_in_one_process_count_apart() -> None:
    """No limit has global state."""
    for _ in range(2):
        async with timed(tokens_per_minute=1) as (gate, _):
            async with http(gate, gate.token("root", scope="admin subscribe")) as api:
                assert (await api.post("/admin/tokens", json={"user_id": "b", "rooms": []})).status_code == 201
