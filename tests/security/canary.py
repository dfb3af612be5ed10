"""Secrets that are easy to recognise, every way to send them, and the search for them in what came out."""

import asyncio
import hmac
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake
from websockets.typing import Subprotocol

from tests.support.forge import segment
from tests.support.pauses import PATIENCE
from tests.support.raw_client import raw, request

SECRET = "canary-secret-Zq7vXw2LpR9tKd4Ns8Fh3Jm6Bc1Gy5"
PREVIOUS = "canary-previous-Ae4Ru8Wo2Ty6Iu0Pq3Sd7Fg1Hj5Kl"
PLAIN = "canary.plain.Xk3Vb9Nm5Qw1Er7Ty"
TICKET = "canary-ticket-Lp0Ok9Ij8Uh7Yg6Tf5"


def token(secret: str = SECRET, lifetime: int = 600, **claims: Any) -> str:
    """A token whose payload and signature are no other token's."""
    now = int(time.time()) - (lifetime < 0) * 300
    payload = {
        "iss": "gathering-gateway",
        "aud": "gathering-gateway",
        "sub": "canary",
        "tenant": "acme",
        "rooms": ["circle:*"],
        "scope": "subscribe publish admin",
        "iat": now,
        "exp": now + abs(lifetime),
        "jti": f"jti-{time.monotonic_ns()}",
        **claims,
    }
    signed = f"{segment({'alg': 'HS256', 'typ': 'at+jwt'})}.{segment(payload)}"
    return f"{signed}.{segment(hmac.digest(secret.encode(), signed.encode(), sha256))}"


@dataclass
class Hidden:
    """Secrets that must not appear in any output."""

    tokens: dict[str, str]
    others: list[str] = field(default_factory=lambda: [SECRET, PREVIOUS, PLAIN, TICKET])

    def needles(self) -> Iterator[str]:
        yield from self.others
        for text in self.tokens.values():
            _, payload, signature = text.split(".")
            # Parts of the payload that differ from token to token, and each alone, so that a cut-off token is found.
            yield from (payload[-24:], payload[-60:-36], signature[:20], signature[-20:])

    def found_in(self, text: str) -> list[str]:
        return [text[max(0, text.index(n) - 80) : text.index(n) + 40] for n in self.needles() if n in text]


def hidden() -> Hidden:
    return Hidden(
        {
            "valid": token(),
            "previous": token(PREVIOUS),
            "forged": token("another-secret-another-secret-another-secret"),
            "expired": token(lifetime=-60),
            "revoked": token(jti="jti-revoked"),
        }
    )


def targets(secret: str) -> Iterator[str]:
    """Paths and queries with a secret in them."""
    percent = "".join(f"%{byte:02x}" for byte in secret.encode())
    for path in (
        "/ws/dashboard",
        "/ws/%64ashboard",
        "/ws/other",
        "/events",
        "/events/",
        "/admin/stats",
        "/nowhere",
        "/",
    ):
        yield f"{path}?token={secret}"
    yield f"/ws/dashboard?%74oken={secret}"
    yield f"/ws/dashboard?%74%6F%6b%65%6E={percent}"
    yield f"/ws/other?%74%6F%6b%65%6E={percent}"
    yield f"/ws/other?tok%65n={secret}&x=%zz%"
    yield f"/ws/other?%zz&token={secret}"
    yield f"/ws/other?a=b;token={secret}"
    yield f"/ws/other?a=b?token={secret}"
    yield f"/ws/other?ticket={TICKET}&rooms=circle:7"
    yield f"/ws/dashboard?ticket={TICKET}"
    yield f"/nowhere?ticket={TICKET}"
    yield f"/ws/other?tic%6Bet={TICKET}"
    yield f"/ws/other?rooms=circle:7&token={secret}&since=x"
    yield f"/admin/stats?limit=x&token={secret}"
    yield f"/admin/stats?tenant=globex&token={secret}"
    if secret.startswith("eyJ"):
        # Not where a client may put it, but known by its looks.
        yield f"/ws/dashboard%3Ftoken={secret}"
        yield f"/ws/{secret}"
        yield f"/ws/other?Token={secret}"
        yield f"/ws/other?access_token={secret}"
        yield f"/ws/other?+token={secret}"
        yield f"/ws/other?rooms={secret}"
        yield f"/nowhere/{secret}"


def bodies(secret: str) -> Iterator[tuple[str, Any]]:
    """Requests with a secret in their body, most of them wrong."""
    yield "/admin/tokens/introspect", {"token": secret}
    yield "/admin/tokens/introspect", {"token": [secret]}
    yield "/admin/tokens/introspect", {"token": secret, "x": secret}
    yield "/admin/tokens/introspect", [secret]
    yield "/admin/tokens/introspect", secret
    yield "/admin/tokens/revoke", {"jti": {"token": secret}}
    yield "/admin/tokens", {"user_id": secret * 3, "rooms": [], "token": secret}
    yield "/admin/tokens", {"user_id": "eve", "rooms": [], "scope": secret[-60:]}
    yield "/events", {"type": secret, "data": secret}
    yield "/events", {"type": "a", "data": {}, "circle_id": secret}
    yield "/events", {"type": "a", "data": {}, "idempotency_key": secret}
    yield "/events", f'{{"token": "{secret}'.encode()


def commands(secret: str) -> Iterator[Any]:
    """Messages with a secret in them."""
    yield {"type": "auth", "token": secret}
    yield {"type": "auth", "token": [secret]}
    yield {"type": "auth", "token": secret, "x": secret}
    yield {"type": "auth", "tokens": secret}
    yield {"type": "ping", "token": secret}
    yield {"type": secret}
    yield {"type": "subscribe", "rooms": ["circle:7"], "since": secret}
    yield f'{{"type":"auth","token":"{secret}'
    yield secret


class Responses:
    """Sends and keeps all that is answered."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.said: list[str] = []

    async def http(self, method: str, target: str, headers: dict[str, str] | None = None, body: Any = None) -> None:
        given = {"Connection": "close", **(headers or {})}
        if body is not None:
            given.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with raw(self.port) as connection:
            await connection.send(request(method, target, given, body))
            self.said.append((await connection.rest()).decode("utf-8", "replace"))

    async def websocket(
        self,
        target: str,
        headers: dict[str, str] | None = None,
        protocols: Iterable[str] = (),
        sends: Iterable[Any] = (),
    ) -> None:
        offered = [Subprotocol(word) for word in protocols]
        options: dict[str, Any] = {"additional_headers": headers, "compression": None}
        try:
            async with connect(
                f"ws://127.0.0.1:{self.port}{target}", subprotocols=offered or None, **options
            ) as socket:
                with suppress(Exception):
                    for sent in (*sends, {"type": "ping", "id": "end"}):
                        await socket.send(sent if isinstance(sent, str) else json.dumps(sent))
                    while '"end"' not in self.said[-1]:
                        async with asyncio.timeout(PATIENCE):
                            self.said.append(str(await socket.recv()))
                self.said.append(f"{socket.close_code} {socket.close_reason}")
        except InvalidHandshake as refusal:
            response = getattr(refusal, "response", None)
            self.said.append(
                f"{response.status_code} {response.headers} {response.body!r}" if response else "no answer"
            )

    async def everything(self, hide: Hidden, *, brief: bool = False) -> None:
        """Every secret through every way in; two of them if `brief`."""
        self.said.append("")
        good = {"Authorization": f"Bearer {hide.tokens['valid']}"}
        await self.http("POST", "/admin/tokens/revoke", good, {"jti": "jti-revoked"})
        secrets = [hide.tokens["valid"]] if brief else hide.tokens.values()
        for secret in (*secrets, PLAIN):
            for target in targets(secret):
                await self.websocket(target)
                await self.http("GET", target)
            await self.http("POST", f"/events?token={secret}", body={"type": "a", "data": {}})
            await self.http("POST", f"/admin/tokens?token={secret}", body=b"{")
            await self.http("PUT", f"/events?token={secret}")
            for header in (f"Bearer {secret}", f"bearer  {secret} ", f"Basic {secret}", secret):
                await self.http("GET", "/admin/stats", {"Authorization": header})
                await self.websocket("/ws/dashboard", {"Authorization": header})
                await self.websocket("/ws/other", {"Authorization": header})
            for path in ("/ws/dashboard", "/ws/other"):
                await self.websocket(path, protocols=["gateway.v1", f"gateway.bearer.{secret}"])
                await self.websocket(f"{path}?token={hide.tokens['valid']}", protocols=[f"gateway.bearer.{secret}"])
            await self.http(
                "GET", "/admin/stats", {"Cookie": f"token={secret}", "Referer": f"http://x/?token={secret}"}
            )
            for path, body in bodies(secret):
                await self.http("POST", path, good, body)
            for command in commands(secret):
                await self.websocket("/ws/dashboard", good, sends=[command])
        for path in ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/.well-known/jwks.json", "/metrics"):
            await self.http("GET", path)
        async with connect(f"ws://127.0.0.1:{self.port}/ws/dashboard?token={quote(hide.tokens['valid'])}") as socket:
            self.said.append(str(await socket.recv()))
            for path in ("stats", "connections", "rooms"):
                await self.http("GET", f"/admin/{path}", good)
