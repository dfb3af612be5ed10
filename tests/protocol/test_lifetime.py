"""How long a token lasts on a connection: `token.expiring`, 4401, `auth`, revocation."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect

from gateway.testing import Clock
from tests.support.clients import Client, fence, http
from tests.support.inprocess import RunningGateway, running, service_with


@asynccontextmanager
async def clocked() -> AsyncIterator[tuple[RunningGateway, Clock]]:
    clock = Clock(time.time())
    async with running(service=service_with(clock=clock)) as gate:
        yield gate, clock


async def test_expiry_is_announced_once_and_ahead() -> None:
    """Once, in time to refresh; then the connection is closed with 4401 `token_expired`."""
    async with clocked() as (gate, clock), gate.client(gate.token(now=clock(), expires_in=600)) as client:
        await fence(client)
        await clock.advance(541)
        warning = await client.next("token.expiring")
        assert warning["data"] == {"expires_at": client.established["data"]["expires_at"]}
        await clock.advance(50)
        # # Another client's warning shows that the gateway has checked again and sent this one nothing more.
        async with gate.client(gate.token("bob", now=clock() - 550, expires_in=600)) as bob:
            await bob.next("token.expiring")
        await fence(client)
        await clock.advance(10)
        assert await client.closed() == (4401, "token_expired")


async def test_the_same_token_again_is_no_news() -> None:
    """A client that shows it after the warning gets no second one, and is closed when it ends; a token that ends sooner
    counts at once."""
    async with clocked() as (gate, clock):
        token = gate.token(now=clock(), expires_in=600)
        async with gate.client(token) as client:
            await clock.advance(541)
            await client.next("token.expiring")
            assert (await client.ask(type="auth", token=token))["type"] == "authenticated"
            async with gate.client(gate.token("bob", now=clock() - 550, expires_in=600)) as bob:
                await bob.next("token.expiring")
            await fence(client)
            sooner = gate.token(now=clock(), expires_in=20)
            assert (await client.ask(type="auth", token=sooner))["type"] == "authenticated"
            await clock.advance(21)
            assert await client.closed() == (4401, "token_expired")


async def test_a_short_lived_token_is_warned_of_in_proportion() -> None:
    """A warning at the very start would be no warning: a quarter of the life before its end."""
    async with clocked() as (gate, clock), gate.client(gate.token(now=clock(), expires_in=40)) as client:
        await clock.advance(28)
        async with gate.client(gate.token("bob", now=clock() - 28, expires_in=36)) as bob:
            await bob.next("token.expiring")
        await fence(client)
        await clock.advance(3)
        await client.next("token.expiring")


async def test_an_expired_connection_gets_nothing_more() -> None:
    """From the close on it is in no room and no list."""
    async with clocked() as (gate, clock):
        async with gate.client(gate.token(now=clock(), expires_in=10), "&rooms=circle:1") as client:
            await client.next("subscribed")
            await clock.advance(11)
            await client.closed()
            assert list(gate.service.manager.connections()) == []
            assert gate.service.gateway.manager.of("acme").rooms == {}


async def test_auth_with_a_fresh_token_keeps_the_connection() -> None:
    """`authenticated` says until when and what is granted; the old expiry is forgotten, the new one counts."""
    async with clocked() as (gate, clock), gate.client(gate.token(now=clock(), expires_in=600)) as client:
        await clock.advance(541)
        await client.next("token.expiring")
        fresh = gate.token(now=clock(), expires_in=600, rooms=["circle:*"])
        answer = (await client.ask(type="auth", token=fresh))["data"]
        assert answer["rooms"] == ["circle:*"]
        assert answer["dropped"] == []
        assert answer["expires_at"] > client.established["data"]["expires_at"]
        await clock.advance(100)  # beyond the first token's end
        async with gate.client(gate.token("bob", now=clock() - 550, expires_in=600)) as bob:
            await bob.next("token.expiring")
        await fence(client)
        await clock.advance(450)
        assert (await client.next("token.expiring"))["data"]["expires_at"] == answer["expires_at"]
        await clock.advance(60)
        assert await client.closed() == (4401, "token_expired")


async def test_auth_drops_the_rooms_that_are_no_longer_granted(gate: RunningGateway) -> None:
    """They are named and left; the others stay, and the own room always."""
    async with gate.client(query="&rooms=circle:1,circle:2,project:3,tenant") as client:
        await client.next("subscribed")
        answer = (await client.ask(type="auth", token=gate.token(rooms=["circle:1", "project:*"])))["data"]
        assert (set(answer["dropped"]), set(answer["rooms"])) == ({"circle:2", "tenant"}, {"circle:1", "project:*"})
        await gate.publish(circle_id=2)
        await fence(client)
        for circle, project, user in ((1, None, None), (None, 3, None), (None, None, "ada")):
            await gate.publish(circle_id=circle, project_id=project, user_id=user)
            await client.next("task.completed")
        assert (await client.ask(type="subscribe", rooms=["circle:2"]))["data"]["code"] == "room_forbidden"


async def test_auth_without_the_scope_drops_all_rooms_but_the_own(gate: RunningGateway) -> None:
    """The grants are of no use without `subscribe`."""
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        assert (await client.ask(type="auth", token=gate.token(scope="publish")))["data"]["dropped"] == ["circle:1"]
        await gate.publish(circle_id=1)
        await fence(client)


async def test_auth_can_widen_the_grants(gate: RunningGateway) -> None:
    """A room that was forbidden before is allowed from then on."""
    async with gate.client(gate.token(rooms=[])) as client:
        assert (await client.ask(type="subscribe", rooms=["circle:1"]))["data"]["code"] == "room_forbidden"
        await client.ask(type="auth", token=gate.token(rooms=["circle:1"]))
        assert (await client.ask(type="subscribe", rooms=["circle:1"]))["type"] == "subscribed"


async def test_auth_of_another_user_is_a_mismatch_and_changes_nothing(gate: RunningGateway) -> None:
    """Neither another user nor the same user id of another tenant."""
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        for other in (gate.token("bob"), gate.token(tenant="globex")):
            assert (await client.ask(type="auth", token=other))["data"]["code"] == "token_mismatch"
        await gate.publish(circle_id=1)
        await client.next("task.completed")


async def test_auth_with_a_bad_token_says_why_and_changes_nothing(gate: RunningGateway) -> None:
    """The connection goes on with the token that it has."""
    now = gate.service.gateway.clock()
    revoked = gate.token()
    identity = gate.service.gateway.connections.verify(revoked)
    await gate.service.gateway.administration.revoke_token("acme", identity.token_id)
    cases = {
        "token_invalid": "nonsense",
        "token_missing": "",
        "token_expired": gate.token(now=now - 700),
        "token_revoked": revoked,
    }
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        for code, token in cases.items():
            assert (await client.ask(type="auth", token=token))["data"]["code"] == code
        await gate.publish(circle_id=1)
        await client.next("task.completed")


async def revoke(gate: RunningGateway, **body: str) -> int:
    """Revoke as an administrator; returns how many connections that closed."""
    async with http(gate, gate.token("root", scope="admin platform", tenant="ops")) as api:
        response = await api.post("/admin/tokens/revoke", json=body)
    assert response.status_code == 200, response.text
    assert response.json()["revoked"] is True
    return int(response.json()["disconnected"])


async def test_revoking_a_token_closes_its_connections_and_no_others(gate: RunningGateway) -> None:
    """At once, with 4401 `token_revoked`, after which the token does not come back."""
    bad = gate.token()
    token_id = gate.service.gateway.connections.verify(bad).token_id
    async with gate.client(bad) as one, gate.client(bad) as two, gate.client(gate.token()) as spared:
        assert await revoke(gate, jti=token_id, tenant="acme") == 2
        assert await one.closed() == await two.closed() == (4401, "token_revoked")
        await fence(spared)
    assert await refusal(gate, bad) == (4401, "token_revoked")


async def test_revoking_a_user_ends_the_tokens_up_to_now_and_not_later_ones(gate: RunningGateway) -> None:
    """The user of the same name in another tenant is another person."""
    old = gate.token("ada")
    async with (
        gate.client(old) as ada,
        gate.client(gate.token("bob")) as bob,
        gate.client(gate.token("ada", tenant="globex")) as namesake,
    ):
        assert await revoke(gate, user_id="ada", tenant="acme") == 1
        assert await ada.closed() == (4401, "token_revoked")
        await fence(bob)
        await fence(namesake)
    assert await refusal(gate, old) == (4401, "token_revoked")
    async with http(gate, gate.token("root", scope="admin subscribe")) as api:
        answer = await api.post("/admin/tokens", json={"user_id": "ada", "rooms": []})
    async with gate.client(answer.json()["access_token"]) as back:
        await fence(back)


async def test_revoking_a_tenant_closes_all_of_it_and_nothing_else(gate: RunningGateway) -> None:
    """Every user of it; the neighbours notice nothing."""
    async with (
        gate.client(gate.token("ada")) as ada,
        gate.client(gate.token("bob")) as bob,
        gate.client(gate.token(tenant="globex")) as neighbour,
    ):
        assert await revoke(gate, tenant="acme") == 2
        assert await ada.closed() == await bob.closed() == (4401, "token_revoked")
        await fence(neighbour)


async def refusal(gate: RunningGateway, token: str) -> tuple[int, str]:
    """How the server closes a connection that this token asks for."""
    async with connect(f"{gate.ws_url}?token={token}") as websocket:
        return await Client(websocket).closed()
