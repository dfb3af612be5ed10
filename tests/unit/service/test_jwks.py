"""Keys fetched from an issuer over HTTP: fresh when it answers, kept when it does not, never on the event loop."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

import gateway.service.jwks
from auth.errors import TokenInvalid
from auth.identity import SCOPES
from auth.keys import KeyRing, hmac_key, private_key
from auth.tokens import TokenIssuer, TokenVerifier, TrustedIssuer
from gateway.service.http_get import http_get
from gateway.service.jwks import JwksRefresher
from tests.support.clients import http
from tests.support.forge import EC_KEY, ED_KEY, RSA_KEY, SECRET, pem, segment
from tests.support.inprocess import running
from tests.support.jwks_server import JwksServer
from tests.support.pauses import now, ran, until
from tests.support.settings import settings_for

NOW = 1_700_000_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JwksServer]:
    """One that knows RSA_KEY, reached directly whatever proxy the machine has."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = JwksServer()
    server.says(KeyRing([RSA_KEY]).jwks())
    yield server
    server.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries and early refreshes within a test's patience."""
    monkeypatch.setattr(gateway.service.jwks, "FIRST_RETRY", 0.02)
    monkeypatch.setattr(gateway.service.jwks, "MIN_FETCH_INTERVAL", 0.1)


@asynccontextmanager
async def following(url: str, **settings: float) -> AsyncIterator[JwksRefresher]:
    """A refresher that has been started and will be stopped."""
    keys = JwksRefresher(url, **settings)
    await keys.start()
    try:
        yield keys
    finally:
        await keys.stop()


def knows(keys: JwksRefresher, kid: str, algorithm: str) -> bool:
    """Whether a token signed by that key could be verified."""
    return bool(keys.candidates(kid, algorithm))


async def test_keys_are_there_once_started(server: JwksServer) -> None:
    """So that the first token can be verified."""
    async with following(server.url) as keys:
        assert knows(keys, RSA_KEY.kid, "RS256")
        assert len(keys.candidates(None, "RS256")) == 1
        assert not knows(keys, RSA_KEY.kid, "HS256")
    assert len(server.asked) == 1


async def test_token_of_the_issuer_verifies(server: JwksServer) -> None:
    """The refresher is what TrustedIssuer asks for; verifying stays a plain call."""
    token = TokenIssuer(KeyRing([RSA_KEY]), "idp", "gateway").issue(
        user_id="bob", tenant="acme", rooms=[], scope=[], expires_in=60, now=NOW
    )
    async with following(server.url) as keys:
        verifier = TokenVerifier([TrustedIssuer("idp", keys)], "gateway", 3600, 3600)
        assert verifier.verify(token.access_token, NOW).user_id == "bob"


async def test_same_kid_of_two_issuers_is_two_keys(server: JwksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer that names its key as another does signs for itself alone (CVE-2026-49998)."""
    other = JwksServer()
    mine, theirs = (private_key(pem(ed25519.Ed25519PrivateKey.generate())) for _ in range(2))
    for place, key in ((server, mine), (other, theirs)):
        (jwk,) = KeyRing([key]).jwks()["keys"]
        place.says({"keys": [{**jwk, "kid": mine.kid}]})
    forged = TokenIssuer(KeyRing([theirs]), "mine", "gateway")
    right = TokenIssuer(KeyRing([mine]), "mine", "gateway")
    wanted: dict[str, Any] = {"user_id": "bob", "tenant": "acme", "rooms": [], "scope": [], "expires_in": 9, "now": NOW}
    try:
        async with following(server.url) as first, following(other.url) as second:
            issuers = [TrustedIssuer("mine", first), TrustedIssuer("theirs", second)]
            verifier = TokenVerifier(issuers, "gateway", 3600, 3600)
            assert verifier.verify(right.issue(**wanted).access_token, NOW).user_id == "bob"
            head, body, signature = forged.issue(**wanted).access_token.split(".")
            head = segment({"alg": "EdDSA", "typ": "at+jwt", "kid": mine.kid})
            with pytest.raises(TokenInvalid):
                verifier.verify(f"{head}.{body}.{signature}", NOW)
    finally:
        other.close()


async def test_shared_secret_in_a_set_never_verifies(server: JwksServer) -> None:
    """Every reader of the set could sign with the secret."""
    kid = hmac_key(SECRET).kid
    oct_key = {"kty": "oct", "kid": kid, "alg": "HS256", "use": "sig", "k": segment(SECRET)}
    server.says({"keys": [oct_key, *KeyRing([EC_KEY]).jwks()["keys"]]})
    async with following(server.url) as keys:
        assert knows(keys, EC_KEY.kid, "ES256")
        assert not keys.candidates(kid, "HS256")
        assert not keys.candidates(None, "HS256")


async def test_keys_follow_the_set(server: JwksServer) -> None:
    """A key that is gone from it verifies nothing more."""
    async with following(server.url, interval=0.05) as keys:
        server.says(KeyRing([EC_KEY]).jwks())
        await until(lambda: knows(keys, EC_KEY.kid, "ES256"))
        assert not knows(keys, RSA_KEY.kid, "RS256")


@pytest.mark.usefixtures("hasty")
async def test_unknown_kid_brings_an_early_refresh(server: JwksServer) -> None:
    """The first token signed by a new key waits for one fetch, not for the interval."""
    async with following(server.url, interval=3600) as keys:
        server.says(KeyRing([ED_KEY, RSA_KEY]).jwks())
        assert not knows(keys, ED_KEY.kid, "EdDSA")
        await until(lambda: len(server.asked) == 2)
        await until(lambda: knows(keys, ED_KEY.kid, "EdDSA"))


@pytest.mark.usefixtures("hasty")
async def test_made_up_kids_do_not_flood_the_issuer(server: JwksServer) -> None:
    """However many tokens name an unknown key, there is one fetch in each period, one at a time."""
    async with following(server.url, interval=3600) as keys:
        begun, tries = now(), 0
        while len(server.asked) < 5:
            assert not knows(keys, f"made-up-{tries}", "RS256")
            tries += 1
            await asyncio.sleep(0)
        assert tries > 100
        assert now() - begun > 3 * 0.1


async def test_token_without_kid_asks_for_nothing(server: JwksServer) -> None:
    """Nor does a known kid with another algorithm: a fetch would not help."""
    async with following(server.url) as keys:
        assert not keys.candidates(None, "ES256")
        assert not keys.candidates(RSA_KEY.kid, "ES256")
        await asyncio.sleep(0.05)
    assert len(server.asked) == 1


def _truncated(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    handler.wfile.write(b'{"keys": [')


def _no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\xff\r\n\r\n\x1b[31m")


def _redirected(handler: BaseHTTPRequestHandler) -> None:
    body = b"" if handler.path == "/jwks.json" else json.dumps(KeyRing([EC_KEY]).jwks()).encode()
    handler.send_response(200 if body else 302)
    handler.send_header("Location", "/elsewhere")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


GARBAGE: dict[str, Callable[[JwksServer], None]] = {
    "not JSON": lambda server: server.says(b"<html>down for maintenance</html>"),
    "bad UTF-8": lambda server: server.says(b'{"keys": "\xff"}'),
    "no body": lambda server: server.says(b""),
    "a list": lambda server: server.says([]),
    "no keys": lambda server: server.says({"keys": []}),
    "no usable key": lambda server: server.says({"keys": [{"kty": "oct", "kid": "a", "k": segment(SECRET)}]}),
    "nested 100,000 deep": lambda server: server.says(b"[" * 100_000),
    "a number of 100,000 digits": lambda server: server.says(b"9" * 100_000),
    "over 1 MiB": lambda server: server.says(KeyRing([EC_KEY]).jwks() | {"x": "x" * (1024 * 1024)}),
    "500": lambda server: server.says(KeyRing([EC_KEY]).jwks(), 500),
    "404": lambda server: server.says(KeyRing([EC_KEY]).jwks(), 404),
    "a redirect": lambda server: setattr(server, "answer", _redirected),
    "a redirect to a file": lambda server: server.says(b"", 301, Location="file:///etc/passwd"),
    "cut short": lambda server: setattr(server, "answer", _truncated),
    "not HTTP": lambda server: setattr(server, "answer", _no_http),
    "closed at once": lambda server: setattr(server, "answer", lambda handler: handler.connection.close()),
}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("turns_bad", GARBAGE.values(), ids=GARBAGE.keys())
async def test_bad_answer_leaves_the_keys_as_they_are(
    server: JwksServer, turns_bad: Callable[[JwksServer], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The URL is requested again, until the answer is good."""
    with caplog.at_level(logging.WARNING):
        async with following(server.url, interval=0.05) as keys:
            turns_bad(server)
            await until(lambda: "failure 3" in caplog.text)
            assert knows(keys, RSA_KEY.kid, "RS256")
            assert not knows(keys, EC_KEY.kid, "ES256")
            server.says(KeyRing([EC_KEY]).jwks())
            await until(lambda: knows(keys, EC_KEY.kid, "ES256"))
    assert all(record.getMessage().isprintable() for record in caplog.records)


@pytest.mark.usefixtures("hasty")
async def test_issuer_that_is_down_at_first_is_met_later(server: JwksServer) -> None:
    """Starting does not fail, and the keys come once there are some."""
    server.says(b"", 503)
    async with following(server.url, interval=3600) as keys:
        assert not knows(keys, RSA_KEY.kid, "RS256")
        server.says(KeyRing([RSA_KEY]).jwks())
        await until(lambda: knows(keys, RSA_KEY.kid, "RS256"))


@pytest.mark.timing
@pytest.mark.usefixtures("hasty")
async def test_failures_are_ever_further_apart(server: JwksServer) -> None:
    """A failing issuer is not hammered: each pause is about twice the one before, up to the interval."""
    server.says(b"", 500)
    async with following(server.url, interval=0.3):
        await asyncio.sleep(1.2)
    pauses = [later - earlier for earlier, later in zip(server.asked, server.asked[1:], strict=False)]
    assert 5 <= len(pauses) <= 14
    assert max(pauses[:2]) < 0.12
    assert min(pauses[4:]) > 0.1


@contextmanager
def refusing() -> Iterator[str]:
    """A URL where no server listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}/"


async def test_unreachable_url_is_a_failure_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused connections neither stop the start nor escape."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with refusing() as url:
        async with following(url) as keys:
            assert not knows(keys, "any", "RS256")


@pytest.mark.timing
async def test_issuer_that_hangs_does_not_block_the_loop(server: JwksServer) -> None:
    """While a fetch waits for its time-out, the event loop turns as ever and tokens verify."""
    async with following(server.url, interval=0.05, timeout=0.5) as keys:
        server.hangs()
        await until(lambda: len(server.asked) >= 2)
        lags = []
        for _ in range(60):
            started = ran()
            assert knows(keys, RSA_KEY.kid, "RS256")
            await asyncio.sleep(0.005)
            lags.append(ran() - started - 0.005)
        assert sorted(lags)[len(lags) // 2] < 0.02
        assert max(lags) < 0.25  # half of what the fetch waits; a busy machine may well take 50 ms
        server.says(KeyRing([EC_KEY]).jwks())
        await until(lambda: knows(keys, EC_KEY.kid, "ES256"))


@pytest.mark.timing
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("part", ["status", "head", "body"])
async def test_issuer_that_drips_is_cut_off(server: JwksServer, part: str, caplog: pytest.LogCaptureFixture) -> None:
    """A byte now and then resets no deadline, wherever in the answer."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        if part != "status":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        if part == "body":
            handler.wfile.write(b"\r\n")
        while not server.release.wait(0.02):
            try:
                handler.wfile.write(b"X")
            except OSError:
                return

    server.answer = drip
    started = now()
    async with following(server.url, timeout=0.3):
        assert now() - started < 1.0
    assert "takes too long" in caplog.text


@pytest.mark.timing
async def test_issuer_that_does_not_accept_costs_one_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses it has."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):  # what the kernel does not accept any more waits, as at an address that drops everything
            fillers.append(socket.socket())
            fillers[-1].setblocking(False)
            fillers[-1].connect_ex(full.getsockname())
        found = socket.getaddrinfo("127.0.0.1", full.getsockname()[1], type=socket.SOCK_STREAM) * 4
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        started = now()
        with pytest.raises(OSError, match=r"time|long"):
            await asyncio.to_thread(http_get, f"http://localhost:{full.getsockname()[1]}/", 0.5, 1_000)
        assert now() - started < 1.5
        for filler in fillers:
            filler.close()


async def test_issuer_sees_who_asks(server: JwksServer) -> None:
    """Firewalls refuse the name that Python's library gives itself."""
    agents = []
    answer = server.answer

    def note(handler: BaseHTTPRequestHandler) -> None:
        agents.append(handler.headers["User-Agent"])
        answer(handler)

    server.answer = note
    async with following(server.url) as keys:
        assert knows(keys, RSA_KEY.kid, "RS256")
    assert agents == [f"gathering-gateway/{gateway.__version__}"]


@pytest.mark.timing
async def test_stop_does_not_wait_for_the_issuer(server: JwksServer) -> None:
    """A gateway shuts down while a fetch hangs; stopping twice, or before the start, is nothing."""
    keys = JwksRefresher(server.url, interval=0.01, timeout=1.0)
    await keys.stop()
    await keys.start()
    server.hangs()
    await until(lambda: len(server.asked) >= 2)
    started = now()
    await keys.stop()
    await keys.stop()
    assert now() - started < 0.5
    assert knows(keys, RSA_KEY.kid, "RS256")
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("jwks")]


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example/jwks.json",
        "http://localhost.evil.example/",
        "http://127.0.0.1@evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://10.0.0.1/",
        "http://[2001:db8::1]/",
        "https://user:secret@idp.example/",
        "https:///jwks.json",
        "https://",
        "file:///etc/passwd",
        "ftp://localhost/jwks.json",
        "//localhost/jwks.json",
        "data:application/json,{}",
        "//idp.example/",
        "jwks.json",
        "",
    ],
)
def test_url_that_is_not_safe_is_refused(url: str) -> None:
    """Keys over plain HTTP could be an attacker's."""
    with pytest.raises(ValueError, match="JWKS URL"):
        JwksRefresher(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://idp.example/jwks",
        "https://10.0.0.1/",
        "http://localhost:8080/",
        "http://127.0.0.1/",
        "http://[::1]:1/x",
    ],
)
def test_url_that_is_safe_is_taken(url: str) -> None:
    """Encrypted, or on this very machine."""
    JwksRefresher(url)


@pytest.mark.parametrize(
    ("settings", "own", "foreign"),
    [
        ({}, 403, 403),
        ({"external_scopes": "subscribe admin"}, 200, 403),
        ({"external_scopes": "admin platform", "external_tenants": ("acme", "bolt")}, 200, 200),
        ({"external_scopes": "admin", "external_tenants": ("globex",)}, 401, 401),
    ],
)
async def test_its_tokens_administer_nothing_unless_they_may(
    server: JwksServer, settings: dict[str, Any], own: int, foreign: int
) -> None:
    """An identity provider that names any scope and any tenant gets by default the scopes of a user."""
    name = "https://id.example"
    async with running(settings_for(external_issuer=name, external_jwks_url=server.url, **settings)) as gate:
        issuer = TokenIssuer(KeyRing([RSA_KEY]), name, "gathering-gateway")
        token = issuer.issue(
            user_id="root", tenant="acme", rooms=[], scope=SCOPES, expires_in=600, now=time.time()
        ).access_token
        async with http(gate, token) as api:
            assert (await api.get("/admin/stats")).status_code == own
            assert (await api.get("/admin/stats?tenant=globex")).status_code == foreign
