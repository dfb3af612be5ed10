"""Leaks of secrets: sent through every input, and searched for in all output."""

import asyncio
import logging
import re
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from pydantic import SecretStr

from auth.errors import AuthError
from gateway.api import create_app
from gateway.core.connect_request import read_connect_request
from gateway.core.credentials import Secrets
from gateway.service.config import ConfigError, Settings, load_settings
from gateway.service.factory import create_service
from schemas.commands import CommandError, CommandParser
from schemas.rooms import DEFAULT_KINDS
from tests.security.attacked import everything_logged
from tests.security.canary import PLAIN, PREVIOUS, SECRET, TICKET, Hidden, Responses, hidden
from tests.support import forge
from tests.support.clients import Client
from tests.support.inprocess import running
from tests.support.process import GatewayProcess, Process
from tests.support.settings import NO_LIMITS, environment, settings_for
from tests.support.settings import SECRET as OWN_SECRET

TRACE = 5
LOUD: dict[str, Any] = {"log_level": TRACE, "access_log": True}
"""uvicorn at its loudest."""


def settings(tmp_path: Path, **more: Any) -> Settings:
    pem = tmp_path / "key.pem"
    pem.write_bytes(forge.pem(forge.RSA))
    return settings_for(
        **{
            "jwt_previous_secrets": (SecretStr(SECRET), SecretStr(PREVIOUS)),
            "jwt_private_keys": (str(pem),),
            "commands_per_second": 0,
            **more,
        }
    )


def hide_keys(hide: Hidden) -> Hidden:
    """With the lines of the private key and the secret of the tests."""
    lines = forge.pem(forge.RSA).decode().splitlines()
    hide.others += [OWN_SECRET, *lines[1:-1]]
    return hide


@pytest.mark.parametrize("ordinary", [False, True], ids=["own transport", "any ASGI server"])
async def test_nothing_in_process(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ordinary: bool
) -> None:
    """Every logger at DEBUG, uvicorn's at TRACE: frames, bodies, headers, records, stdout and stderr hold none."""
    hide = hide_keys(hidden())
    if ordinary:
        monkeypatch.setattr("gateway.transports.uvicorn.endpoint.STATE_KEY", "nowhere")
    async with running(settings(tmp_path), **LOUD) as gate:
        with everything_logged(TRACE) as watch:
            responses = Responses(gate.port)
            await responses.everything(hide, brief=ordinary)
    assert len(responses.said) > 150
    assert len(watch.records) > 150
    assert hide.found_in("\n".join(responses.said)) == []
    assert hide.found_in(watch.text()) == []
    assert hide.found_in("".join(capfd.readouterr())) == []
    assert watch.faults() == []


async def test_nothing_in_failures(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Endpoints, handlers and look-ups that break with a token at hand are logged without it."""
    hide = hide_keys(hidden())
    chosen = settings(tmp_path)
    service = create_service(chosen)
    seen: list[str] = []

    def broken(*args: Any, **more: Any) -> Any:
        token, scope = hide.tokens["valid"], args
        raise RuntimeError(f"broken with {len(token)} and {len(scope)}")

    app = create_app(service)

    @app.get("/boom")
    async def boom(request: Request) -> None:
        scope, text = request.scope, str(request.url)
        seen.append(f"{text} {scope['query_string']!r} {dict(request.query_params)}")
        raise RuntimeError(f"{len(scope)} {text}")

    async with running(chosen, service, app=app, **LOUD) as gate:
        with everything_logged(TRACE) as watch:
            responses = Responses(gate.port)
            responses.said.append("")
            for secret in (hide.tokens["valid"], PLAIN):
                await responses.http("GET", f"/boom?token={secret}", {"Authorization": f"Bearer {secret}"})
                for name in ("%74oken", "tok%65n", "%74%6f%6B%65%6e", "%74icket"):
                    await responses.http("GET", f"/boom?rooms=circle:7&{name}={secret}&x")
            with monkeypatch.context() as patched:
                patched.setattr(service.gateway.connections.verifier, "verify", broken)
                for secret in (hide.tokens["valid"], PLAIN):
                    await responses.http("GET", f"/admin/stats?token={secret}")
                    await responses.websocket(f"/ws/dashboard?token={secret}")
                    await responses.websocket(f"/ws/%64ashboard?token={secret}")
            with monkeypatch.context() as patched:
                patched.setattr(service.gateway.presence, "answer", broken)
                await responses.websocket(
                    f"/ws/dashboard?token={hide.tokens['valid']}", sends=[{"type": "presence", "room": "circle:7"}]
                )
    assert any(record.exc_info for record in watch.records)
    assert len(seen) == 10
    assert hide.found_in("\n".join(seen)) == []
    assert hide.found_in("\n".join(responses.said)) == []
    assert hide.found_in(watch.text()) == []
    assert hide.found_in("".join(capfd.readouterr())) == []
    assert "internal_error" in "\n".join(responses.said)
    assert "RuntimeError" not in "\n".join(responses.said)


async def test_nothing_in_representations(tmp_path: Path) -> None:
    """Nor do `repr` and `str` of what holds or has seen a secret."""
    hide = hide_keys(hidden())
    good = hide.tokens["valid"]
    chosen = settings(tmp_path)
    service = create_service(chosen)
    headers = {b"authorization": [f"Bearer {good}".encode()]}
    handshake = read_connect_request([("token", "x")], headers, Secrets([good]), "::1")
    async with running(chosen, service) as gate, gate.client(good) as client:
        connection = service.gateway.manager.of("acme").connections[client.established["data"]["connection_id"]]
        things: list[Any] = [
            chosen, service, handshake, handshake.tokens, connection, connection.identity, connection.transport,
            service.gateway, service.issuer, service.keyring, service.keyring.signing()[0],
            service.gateway.connections, service.gateway.connections.verifier,
            service.manager.get_stats(), service.manager.active_connections,
            service.issuer.issue(user_id="a", tenant="b", rooms=[], scope=[], expires_in=9, now=9.0),
        ]  # fmt: skip
        for thing in things:
            for text in (repr(thing), str(thing), f"{thing}"):
                assert hide.found_in(text) == []
                assert "eyJ" not in text
    parse = CommandParser(DEFAULT_KINDS).parse
    for attempt in (
        lambda: service.gateway.connections.verify(hide.tokens["forged"]),
        lambda: service.gateway.connections.verify(hide.tokens["expired"]),
        lambda: service.gateway.connections.verify(good + "x"),
        lambda: service.gateway.connections.verify(good.replace(".", "..")),
        lambda: parse(f'{{"type":"auth","token":["{good}"]}}'),
        lambda: parse(f'{{"type":"auth","token":"{good}","x":"{good}"}}'),
        lambda: parse(f'{{"type":"{good}"}}'),
        lambda: parse(good),
    ):
        with pytest.raises((AuthError, CommandError)) as caught:
            attempt()
        error: BaseException | None = caught.value
        assert hide.found_in("".join(traceback.format_exception(caught.value))) == []
        while error is not None:
            assert hide.found_in(f"{error} {error!r} {error.args!r}") == []
            error = error.__context__


async def test_nothing_in_errors_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that does not do is refused in words without its secrets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_JWT_SECRET", SECRET)
    monkeypatch.setenv("GATEWAY_JWT_PREVIOUS_SECRETS", f"{PREVIOUS},short")
    bad = tmp_path / "bad.pem"
    bad.write_text(f"-----BEGIN PRIVATE KEY-----\n{PLAIN}\n-----END PRIVATE KEY-----\n")
    tries: list[dict[str, Any]] = [
        {},
        {"port": SECRET},
        {"jwt_secret": [SECRET]},
        {"jwt_secret": SECRET[:20]},
        {"jwt_private_keys": str(bad)},
    ]
    for values in tries:
        with pytest.raises(ConfigError) as caught:
            create_service(load_settings(**values))
        error: BaseException | None = caught.value
        while error is not None:
            assert not [s for s in (SECRET, SECRET[:20], PREVIOUS, PLAIN) if s in f"{error} {error!r}"]
            error = error.__context__


@pytest.mark.parametrize(
    ("command", "logging_as"),
    [
        (("gateway", "serve", "--port", "0"), {}),
        (("gateway", "serve", "--port", "0"), {"log_level": "debug", "log_format": "json"}),
        (("uvicorn", "gateway.app:app", "--port", "0", "--log-level", "trace"), {}),
        (("uvicorn", "gateway.app:app", "--port", "0", "--ws", "gateway.transports.uvicorn:SocketTransport"), {}),
    ],
    ids=["gateway serve", "gateway serve, debug", "uvicorn, trace", "uvicorn, own transport"],
)
async def test_nothing_from_a_process(tmp_path: Path, command: tuple[str, ...], logging_as: dict[str, str]) -> None:
    """A real process prints none, whatever server it is; access log and trace included."""
    hide = hide_keys(hidden())
    pem = tmp_path / "key.pem"
    pem.write_bytes(forge.pem(forge.RSA))
    keys = {"jwt_secret": SECRET, "jwt_previous_secrets": PREVIOUS, "jwt_private_keys": pem}
    variables = environment(**{**NO_LIMITS, "commands_per_second": 0, **keys, **logging_as})
    with Process([sys.executable, "-m", *command], tmp_path, variables) as process:
        responses = Responses(int(await asyncio.to_thread(process.line, r"http://127\.0\.0\.1:(\d+)")))
        await responses.everything(hide, brief=True)
    written = process.output + process.log
    assert len(responses.said) > 150
    assert hide.found_in("\n".join(responses.said)) == []
    assert hide.found_in(written) == []
    assert command[0] != "gateway" or "token_invalid" in written
    assert "Traceback" not in written


async def test_development_tells_in_its_banner_only(tmp_path: Path) -> None:
    """With `--dev` the banner, and the page's own session, are the places where a token is meant to be."""
    async with GatewayProcess(tmp_path, "--dev", "--demo", jwt_secret=None) as served:
        banner = served.output
        assert "this machine only" in banner
        shown = set(re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", banner))
        assert len(shown) == 1
        secret = (tmp_path / ".gateway-dev" / "secret").read_text().strip()
        tokens = {"valid": shown.pop(), **{name: text for name, text in hidden().tokens.items() if name != "valid"}}
        hide = Hidden(tokens, [secret, PLAIN, TICKET])
        responses = Responses(served.port)
        await responses.everything(hide, brief=True)
        await responses.http("POST", "/dev/session", {"Host": "evil.example"}, {})
        await responses.http("POST", "/dev/session", {"Host": "127.0.0.1", "Origin": "https://evil.example"}, {})
        await responses.http("GET", "/dev/session", {"Host": "127.0.0.1"})
    written = served.output + served.log
    assert secret not in banner
    assert hide.found_in("\n".join(responses.said)) == []
    assert "eyJ" not in written.replace(hide.tokens["valid"], "", 1), written
    assert written.count(hide.tokens["valid"]) == 1


async def test_the_search_finds(tmp_path: Path) -> None:
    """The search is not blind: what the client itself logs of its requests is full of tokens."""
    hide = hidden()
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    client = logging.getLogger("websockets.client")
    level, propagate = client.level, client.propagate
    client.addHandler(handler)
    client.setLevel(logging.DEBUG)
    client.propagate = False
    try:
        async with running(settings(tmp_path)) as gate, gate.client(hide.tokens["valid"]) as asking:
            assert isinstance(asking, Client)
    finally:
        client.removeHandler(handler)
        client.setLevel(level)
        client.propagate = propagate
    assert len(hide.found_in("\n".join(lines))) >= 4
