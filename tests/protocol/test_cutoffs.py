"""Revocations and removals reach every token issued before them, and none issued after: for any issuer and any clock of
the issuer."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.asyncio.client import connect

from auth.external import ClaimMapping, ClaimPath
from auth.keys import KeyRing, hmac_key
from auth.tokens import TokenIssuer, TokenVerifier, TrustedIssuer
from gateway.logs.memory import MemoryLog
from gateway.testing import CURSOR_KEY, Clock
from tests.support.clients import Client, http
from tests.support.inprocess import RunningGateway, running, service_with

PROVIDER = "https://idp.example"

MAPPING = ClaimMapping(
    audiences=frozenset({"gathering-gateway"}),
    types=frozenset({"at+jwt"}),
    audience=ClaimPath.parse("aud"),
    tenant=ClaimPath.parse("tenant"),
    user=ClaimPath.parse("sub"),
    rooms=ClaimPath.parse("rooms"),
    scope=ClaimPath.parse("scope"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A gateway that goes by `clock` and trusts an identity provider, and tokens of one of its issuers."""

    gate: RunningGateway
    clock: Clock
    sign: Callable[..., str]

    def token(self, user_id: str = "ada", ahead: float = 0.0, **more: Any) -> str:
        """A token issued now, by an issuer whose clock is ahead and that knows nothing of revocations."""
        return self.sign(user_id=user_id, now=self.clock() + ahead, **more)

    async def end(self, how: str, user_id: str = "ada") -> None:
        """Revoke the user or the tenant, or remove the user from circle 7, as an administrator."""
        root = self.gate.token("root", "ops", scope="platform", now=self.clock())
        async with http(self.gate, root) as api:
            if how == "removed":
                event = {"type": "circle.member.removed", "data": {"user_id": user_id}, "circle_id": 7}
                response = await api.post("/events", json={**event, "tenant": "acme"})
            else:
                named = {"tenant": "acme", **({"user_id": user_id} if how == "user" else {})}
                response = await api.post("/admin/tokens/revoke", json=named)
        assert response.status_code in (200, 202), response.text

    async def is_good(self, token: str, how: str) -> bool:
        """Whether the token still does what `how` takes from it: over WebSocket and over HTTP."""
        async with http(self.gate, token) as api:
            status = (await api.get("/rooms/circle:7/presence")).status_code
        async with connect(f"{self.gate.ws_url}?token={token}") as websocket:
            client = Client(websocket)
            if how != "removed":
                frame = await client.next() if status == 200 else None
                if frame is None:
                    assert await client.closed() == (4401, "token_revoked")
                    assert status == 401
                return frame is not None
            await client.next("connection.established")
            answer = await client.ask(type="subscribe", rooms=["circle:7"])
            assert answer["type"] == "subscribed" or answer["data"]["code"] == "room_forbidden"
            assert (status == 200) is (answer["type"] == "subscribed")
            return status == 200


@asynccontextmanager
async def setting(issuer: str, log_ahead: float = 0.0) -> AsyncIterator[Setting]:
    clock = Clock(1_768_000_000.2)
    service = service_with(clock=clock, log=MemoryLog((CURSOR_KEY,), clock=lambda: clock() + log_ahead))
    ring = KeyRing([hmac_key(bytes(range(40, 80)))])
    provider = TrustedIssuer(PROVIDER, ring, mapping=MAPPING)
    connections = service.gateway.connections
    issuers = [*connections.verifier.issuers.values(), provider]
    connections.verifier = TokenVerifier(issuers, "gathering-gateway", 3600, 3600)
    signer = service.issuer if issuer == "own" else TokenIssuer(ring, PROVIDER, "gathering-gateway")

    def sign(user_id: str, now: float, **more: Any) -> str:
        grants = {"tenant": "acme", "rooms": ["circle:*"], "scope": ["subscribe"], "expires_in": 1800}
        return signer.issue(user_id=user_id, now=now, **{**grants, **more}).access_token

    async with running(service=service) as gate:
        yield Setting(gate, clock, sign)


@pytest.mark.parametrize("issuer", ["own", "provider"])
@pytest.mark.parametrize("how", ["user", "tenant", "removed"])
@pytest.mark.parametrize("ahead", [0, 1, 3, 5])
async def test_token_from_before_ends_whatever_its_clock_says(issuer: str, how: str, ahead: int) -> None:
    """The connection ends, or leaves the room, at once; and the token is refused for the rest of its life, also when
    its own second has come."""
    async with setting(issuer) as it:
        token = it.token(ahead=ahead)
        async with it.gate.client(token, "&rooms=circle:7") as ada:
            await ada.next("subscribed")
            await it.end(how)
            if how == "removed":
                await ada.next("circle.member.removed")
                await ada.next("subscription.revoked")
                await it.gate.publish(circle_id=7)
                await ada.quiet()
            else:
                assert await ada.closed() == (4401, "token_revoked")
        for seconds in (0.1, 1.0, 5.0, 600.0):
            await it.clock.advance(seconds)
            assert not await it.is_good(token, how), seconds


@pytest.mark.parametrize("issuer", ["own", "provider"])
@pytest.mark.parametrize("how", ["user", "tenant", "removed"])
@pytest.mark.parametrize("ahead", [0, 2, 5])
async def test_earlier_token_that_was_never_shown_ends_too(issuer: str, how: str, ahead: int) -> None:
    """In the same second, and for as long as its clock is known to be ahead."""
    async with setting(issuer) as it:
        token = it.token(ahead=ahead)
        await it.end(how)
        assert not await it.is_good(token, how)
        await it.clock.advance(ahead - 0.3 if ahead else 600.0)
        assert not await it.is_good(token, how)


@pytest.mark.parametrize("how", ["user", "tenant", "removed"])
async def test_token_that_the_gateway_issues_after_it_is_good(how: str) -> None:
    """In the very second, and for its whole life; and it ends with the next one."""
    async with setting("own") as it:
        await it.end(how)
        async with http(it.gate, it.gate.token("root", "ops", scope="platform subscribe", now=it.clock())) as api:
            body = {"user_id": "ada", "tenant": "acme", "rooms": ["circle:*"], "expires_in": 1_800}
            token = (await api.post("/admin/tokens", json=body)).json()["access_token"]
        for seconds in (0.0, 0.1, 1.0, 300.0):
            await it.clock.advance(seconds)
            assert await it.is_good(token, how), seconds
        await it.end(how)
        assert not await it.is_good(token, how)


@pytest.mark.parametrize("issuer", ["own", "provider"])
@pytest.mark.parametrize("how", ["user", "tenant", "removed"])
async def test_token_signed_a_second_later_is_good(issuer: str, how: str) -> None:
    """The issuer's clock is right, or behind by less than that: a new token works without waiting for the leeway."""
    async with setting(issuer) as it:
        await it.end(how)
        await it.clock.advance(1.0)
        token = it.token()
        for seconds in (0.1, 1.0, 600.0):
            await it.clock.advance(seconds)
            assert await it.is_good(token, how), seconds


@pytest.mark.parametrize("log_ahead", [-3.0, 3.0, 86_400.0])
async def test_removal_goes_by_the_clock_that_tokens_are_accepted_by(log_ahead: float) -> None:
    """The clock of the log, which dates its events by another (Redis), is not used."""
    async with setting("provider", log_ahead) as it:
        before = it.token(), it.token("bob", ahead=2.0)
        for user_id in ("ada", "bob"):
            await it.end("removed", user_id)
        for token in before:
            assert not await it.is_good(token, "removed")
        await it.clock.advance(1.0)
        after = it.token()
        for seconds in (0.1, 300.0):
            await it.clock.advance(seconds)
            assert not await it.is_good(before[0], "removed")
            assert await it.is_good(after, "removed")
