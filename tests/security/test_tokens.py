"""Hostile tokens over the wire: by WebSocket, HTTP header, query, `auth` command and introspection."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from auth.errors import TokenInvalid
from gateway.engine.gateway import Gateway
from gateway.logs.memory import MemoryLog
from gateway.service.factory import create_service
from gateway.testing import CURSOR_KEY
from tests.security.attacked import AttackedGateway, clear, everything_logged, problem, refused
from tests.support import forge
from tests.support.clients import Client, until_fence
from tests.support.hostile_tokens import algorithms, claimed, encodings, headers, shapes
from tests.support.inprocess import running
from tests.support.settings import settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROUPS = {"shape": shapes, "algorithm": algorithms, "header": headers, "claims": claimed, "encoding": encodings}
CASES = [
    pytest.param(token, id=f"{group}: {name}")
    for group, cases in GROUPS.items()
    for name, token in cases()
    if isinstance(token, str)
]


def fits_query(token: str) -> bool:
    return len(quote(token, safe="", errors="surrogatepass")) < 6000


def fits_header(token: str) -> bool:
    return token.isascii() and token.isprintable() and token == token.strip() and len(token) < 6000


def fits_message(token: str) -> bool:
    return len(json.dumps(token)) < 65_000 and not any("\ud800" <= letter <= "\udfff" for letter in token)


def dealt(fits: Callable[[str], bool], turn: int) -> list[Any]:
    """Each token goes one of five ways, if it fits there."""
    return [case for n, case in enumerate(CASES) if n % 5 == turn and fits(str(case.values[0]))]


TOO_LONG = [case for case in CASES if not fits_query(str(case.values[0])) and fits_message(str(case.values[0]))]

SHORT = 8
"""Anything shorter may be in a message by chance."""

ADMIN = forge.forge(forge.claims(scope="subscribe admin"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_gateway() -> AsyncIterator[AttackedGateway]:
    """A gateway that trusts the forge's keys and lives at the forge's time."""
    settings = settings_for(commands_per_second=0)
    made = create_service(settings)
    gateway = Gateway(MemoryLog((CURSOR_KEY,)), forge.verifier(), limits=made.gateway.limits, clock=lambda: forge.NOW)
    service = replace(made, gateway=gateway)
    async with running(settings, service) as gate:
        with everything_logged() as watch:
            yield AttackedGateway(gate, watch)


async def works(attacked: AttackedGateway) -> None:
    """The same gateway takes a good token."""
    async with attacked.gate.client(forge.forge()) as client:
        assert client.established["data"]["user_id"] == "alice@example.org"
        assert (await client.ask(type="ping"))["type"] == "pong"


def silent(text: str, token: str) -> None:
    """No part of the token is in `text`."""
    for part in (token, *token.split(".")):
        assert len(part) < SHORT or part[:200] not in text


@pytest.mark.parametrize("token", dealt(fits_query, 0))
async def test_websocket_query(attacked: AttackedGateway, token: str) -> None:
    """The connection is closed with 4401 and one word, without any frame."""
    query = quote(token, safe="", errors="surrogatepass")
    async with connect(f"{attacked.gate.ws_url}?token={query}", compression=None) as websocket:
        code, reason = await Client(websocket).closed()
    assert (code, reason) == (4401, "token_invalid")
    silent(attacked.watch.text(), token)
    await works(attacked)


@pytest.mark.parametrize("token", dealt(fits_header, 2))
async def test_websocket_header(attacked: AttackedGateway, token: str) -> None:
    """The same by `Authorization`."""
    header = {"Authorization": f"Bearer {token}"}
    async with connect(attacked.gate.ws_url, additional_headers=header, compression=None) as websocket:
        assert await Client(websocket).closed() == (4401, "token_invalid")
    silent(attacked.watch.text(), token)
    await works(attacked)


@pytest.mark.parametrize("token", dealt(fits_header, 3))
async def test_http_header(attacked: AttackedGateway, token: str) -> None:
    """401 with a problem document that does not say which check failed."""
    answer = await attacked.http("POST", "/events", {"type": "a", "data": {}}, token=token)
    problem(answer, 401, "token_invalid")
    assert answer.json["detail"] == str(TokenInvalid("signature"))
    assert answer.header("www-authenticate") == "Bearer"
    silent(answer.raw + attacked.watch.text(), token)


@pytest.mark.parametrize("token", dealt(fits_query, 1))
async def test_http_query(attacked: AttackedGateway, token: str) -> None:
    """The same by `?token=`."""
    answer = await attacked.http("GET", f"/admin/stats?token={quote(token, safe='', errors='surrogatepass')}")
    problem(answer, 401, "token_invalid")
    silent(answer.raw + attacked.watch.text(), token)


@pytest.mark.parametrize("token", [*dealt(fits_message, 4), *TOO_LONG])
async def test_refresh(attacked: AttackedGateway, token: str) -> None:
    """`auth` with it is refused and changes nothing; a good one is then taken."""
    async with attacked.gate.client(forge.forge()) as client:
        identity = attacked.connection(client).identity
        frame = await client.ask(type="auth", token=token)
        refused(frame, "token_invalid")
        silent(json.dumps(frame) + attacked.watch.text(), token)
        assert attacked.connection(client).identity is identity
        assert (await client.ask(type="auth", token=forge.forge()))["type"] == "authenticated"
        assert await until_fence(client) == []


@pytest.mark.parametrize("token", [*dealt(fits_message, 0)[::2], *TOO_LONG])
async def test_introspection(attacked: AttackedGateway, token: str) -> None:
    """Not active, and not a word more."""
    answer = await attacked.http("POST", "/admin/tokens/introspect", {"token": token}, token=ADMIN)
    assert (answer.status, answer.json) == (200, {"active": False})
    silent(answer.raw + attacked.watch.text(), token)


EXPIRED = forge.forge(forge.claims(iat=forge.NOW - 100, exp=forge.NOW))


async def test_expired(attacked: AttackedGateway) -> None:
    """An expired valid token has its own code on every route."""
    async with connect(f"{attacked.gate.ws_url}?token={EXPIRED}", compression=None) as websocket:
        assert await Client(websocket).closed() == (4401, "token_expired")
    problem(await attacked.http("GET", "/admin/stats", token=EXPIRED), 401, "token_expired")
    async with attacked.gate.client(forge.forge()) as client:
        refused(await client.ask(type="auth", token=EXPIRED), "token_expired")


GOOD = forge.forge()
OTHER = forge.forge(forge.claims(jti="token-2"))


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("", []),
        ("?token=", []),
        ("?Token=x", []),
        ("?tok en=x", []),
        ("", [("Authorization", "Bearer")]),
        ("", [("Authorization", "Bearer ")]),
        ("", [("Authorization", "Basic YTpi")]),
        ("", [("Authorization", f"Token {GOOD}")]),
        ("", [("X-Token", GOOD)]),
        ("", [("Cookie", f"token={GOOD}")]),
        ("?token=&token=", []),
    ],
)
async def test_none(attacked: AttackedGateway, query: str, sent: list[tuple[str, str]]) -> None:
    """Where there is none, that is the word."""
    answer = await attacked.http("GET", f"/admin/stats{query.replace(' ', '%20')}", headers=dict(sent))
    problem(answer, 401, "token_missing")
    url = f"{attacked.gate.ws_url}{query.replace(' ', '%20')}"
    async with connect(url, additional_headers=sent, compression=None) as websocket:
        assert await Client(websocket).closed() == (4401, "token_missing")
    await works(attacked)


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (f"?token={GOOD}&token={OTHER}", []),
        (f"?token={OTHER}", [("Authorization", f"Bearer {GOOD}")]),
        (f"?%74oken={OTHER}", [("Authorization", f"Bearer {GOOD}")]),
        (f"?token={GOOD}", [("Sec-WebSocket-Protocol", f"gateway.bearer.{OTHER}")]),
        ("", [("Sec-WebSocket-Protocol", f"gateway.bearer.{GOOD}, gateway.bearer.{OTHER}")]),
        ("", [("Authorization", f"Bearer {GOOD}"), ("Authorization", f"Bearer {OTHER}")]),
        (f"?token=&token={GOOD}", []),
        (f"?token=x&token={GOOD}", []),
    ],
)
async def test_two_that_disagree(attacked: AttackedGateway, query: str, sent: list[tuple[str, str]]) -> None:
    """Neither is believed, be both of them good."""
    async with connect(f"{attacked.gate.ws_url}{query}", additional_headers=sent, compression=None) as websocket:
        assert await Client(websocket).closed() == (4401, "token_invalid")
    silent(attacked.watch.text(), GOOD)
    await works(attacked)


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (f"?token={GOOD}&token={GOOD}", []),
        (f"?%74%6f%6b%65%6e={GOOD}", []),
        (f"?token={quote(GOOD.replace('.', '%2E'), safe='%')}", []),
        ("", [("Authorization", f"bearer   {GOOD}  ")]),
        ("", [("Sec-WebSocket-Protocol", f"gateway.bearer.{GOOD},gateway.v1")]),
        (f"?token={GOOD}", [("Sec-WebSocket-Protocol", f"gateway.bearer.{GOOD},gateway.v1, chat")]),
    ],
)
async def test_odd_but_good(attacked: AttackedGateway, query: str, sent: list[tuple[str, str]]) -> None:
    """The same token twice, or spelled another way, is one token."""
    options: dict[str, Any] = {"additional_headers": sent}
    if sent and sent[0][0].startswith("Sec"):
        options = {"subprotocols": [word.strip() for word in sent[0][1].split(",")]}
    async with connect(f"{attacked.gate.ws_url}{query}", compression=None, **options) as websocket:
        await Client(websocket).next("connection.established")
        assert websocket.subprotocol == ("gateway.v1" if "subprotocols" in options else None)
    silent(attacked.watch.text(), GOOD)


async def test_refresh_of_another_user(attacked: AttackedGateway) -> None:
    """`auth` with another's token, of the same tenant or the same name in another tenant, is a mismatch."""
    async with attacked.gate.client(GOOD) as client:
        for changed in ({"sub": "bob"}, {"tenant": "globex"}, {"sub": "Alice@example.org"}):
            frame = await client.ask(type="auth", token=forge.forge(forge.claims(**changed)))
            refused(frame, "token_mismatch")
            clear(frame["data"]["message"], "bob", "globex")
        assert await until_fence(client) == []
