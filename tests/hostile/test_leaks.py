"""Nothing tells: secrets sent through every way in, and searched for in everything that came out."""

import asyncio
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from pydantic import SecretStr

from auth.errors import AuthError
from gateway.api import create_app
from gateway.core.connect_request import read_connect_request
from gateway.core.credentials import Secrets
from gateway.server.run import server_config
from gateway.service.config import ConfigError, Settings, load_settings
from gateway.service.factory import create_service
from gateway.testing import until
from schemas.commands import CommandError, CommandParser
from schemas.rooms import DEFAULT_KINDS
from tests import support
from tests.auth import forge
from tests.hostile.canary import PLAIN, PREVIOUS, SECRET, TICKET, Heard, Hidden, hidden
from tests.hostile.house import everything_logged
from tests.support import Client, running

TRACE = 5


def settings(tmp_path: Path, **more: Any) -> Settings:
    pem = tmp_path / "key.pem"
    pem.write_bytes(forge.pem(forge.RSA))
    return support.settings_for(
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
    hide.others += [support.SECRET, *lines[1:-1]]
    return hide


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn at its loudest."""
    quiet = server_config

    def loud_config(*args: Any) -> Any:
        config = quiet(*args)
        config.log_level = TRACE
        config.access_log = True
        config.configure_logging()
        return config

    monkeypatch.setattr(support, "server_config", loud_config)


@pytest.mark.usefixtures("loud")
@pytest.mark.parametrize("ordinary", [False, True], ids=["own transport", "any ASGI server"])
async def test_nothing_in_process(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ordinary: bool
) -> None:
    """Every logger at DEBUG, uvicorn's at TRACE: frames, bodies, headers, records, stdout and stderr hold none."""
    hide = hide_keys(hidden())
    if ordinary:
        monkeypatch.setattr("gateway.transports.uvicorn.endpoint.STATE_KEY", "nowhere")
    async with running(settings(tmp_path)) as gate:
        with everything_logged(TRACE) as watch:
            heard = Heard(gate.port)
            await heard.everything(hide, brief=ordinary)
    assert len(heard.said) > 150
    assert len(watch.records) > 150
    assert hide.found_in("\n".join(heard.said)) == []
    assert hide.found_in(watch.text()) == []
    assert hide.found_in("".join(capfd.readouterr())) == []
    assert watch.faults() == []


@pytest.mark.usefixtures("loud")
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

    def create(*args: Any) -> Any:
        app = create_app(*args)

        @app.get("/boom")
        async def boom(request: Request) -> None:
            scope, text = request.scope, str(request.url)
            seen.append(f"{text} {scope['query_string']!r} {dict(request.query_params)}")
            raise RuntimeError(f"{len(scope)} {text}")

        return app

    monkeypatch.setattr(support, "create_app", create)
    async with running(chosen, service) as gate:
        with everything_logged(TRACE) as watch:
            heard = Heard(gate.port)
            heard.said.append("")
            for secret in (hide.tokens["valid"], PLAIN):
                await heard.http("GET", f"/boom?token={secret}", {"Authorization": f"Bearer {secret}"})
                for name in ("%74oken", "tok%65n", "%74%6f%6B%65%6e", "%74icket"):
                    await heard.http("GET", f"/boom?rooms=circle:7&{name}={secret}&x")
            with monkeypatch.context() as patched:
                patched.setattr(service.gateway.connections.verifier, "verify", broken)
                for secret in (hide.tokens["valid"], PLAIN):
                    await heard.http("GET", f"/admin/stats?token={secret}")
                    await heard.websocket(f"/ws/dashboard?token={secret}")
                    await heard.websocket(f"/ws/%64ashboard?token={secret}")
            with monkeypatch.context() as patched:
                patched.setattr(service.gateway.commands, "_execute", broken)
                await heard.websocket(f"/ws/dashboard?token={hide.tokens['valid']}", sends=[{"type": "ping"}])
    assert any(record.exc_info for record in watch.records)
    assert len(seen) == 10
    assert hide.found_in("\n".join(seen)) == []
    assert hide.found_in("\n".join(heard.said)) == []
    assert hide.found_in(watch.text()) == []
    assert hide.found_in("".join(capfd.readouterr())) == []
    assert "internal_error" in "\n".join(heard.said)
    assert "RuntimeError" not in "\n".join(heard.said)


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


@asynccontextmanager
async def served(
    tmp_path: Path, *command: str, host: str = "127.0.0.1", **environment: str
) -> AsyncIterator[tuple[int, Path]]:
    """A gateway as a process of its own; yields its port and the file of all that it prints."""
    output = tmp_path / "output"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    paths = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1"}
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *command),
            cwd=tmp_path,
            env={**inherited, **paths, **environment},
            stdout=file,
            stderr=file,
        )
    try:
        port = re.compile(rf"(?:\('{host}', |http://{host}:)(\d+)")
        await until(lambda: port.search(output.read_text()) or process.returncode is not None, 20)
        found = port.search(output.read_text())
        assert found is not None, output.read_text()
        yield int(found[1]), output
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            await process.wait()


ROOMY = {
    "GATEWAY_HANDSHAKES_PER_MINUTE": "0",
    "GATEWAY_MAX_CONNECTIONS_PER_ADDRESS": "0",
    "GATEWAY_MAX_CONNECTIONS_PER_USER": "0",
    "GATEWAY_TOKENS_PER_MINUTE": "0",
    "GATEWAY_ADMIN_REQUESTS_PER_MINUTE": "0",
    "GATEWAY_COMMANDS_PER_SECOND": "0",
    "GATEWAY_SHUTDOWN_DELAY_SECONDS": "0",
}


@pytest.mark.parametrize(
    ("command", "logging_as"),
    [
        (("gateway", "serve", "--port", "0"), {}),
        (("gateway", "serve", "--port", "0"), {"GATEWAY_LOG_LEVEL": "debug", "GATEWAY_LOG_FORMAT": "json"}),
        (("uvicorn", "gateway.app:app", "--port", "0", "--log-level", "trace"), {}),
        (("uvicorn", "gateway.app:app", "--port", "0", "--ws", "gateway.transports.uvicorn:SocketTransport"), {}),
    ],
    ids=["gateway serve", "gateway serve, debug", "uvicorn, trace", "uvicorn, own transport"],
)
async def test_nothing_from_a_process(tmp_path: Path, command: tuple[str, ...], logging_as: dict[str, str]) -> None:
    """A real process prints none, whoever serves; access log and trace included."""
    hide = hide_keys(hidden())
    pem = tmp_path / "key.pem"
    pem.write_bytes(forge.pem(forge.RSA))
    keys = {
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_JWT_PREVIOUS_SECRETS": PREVIOUS,
        "GATEWAY_JWT_PRIVATE_KEYS": str(pem),
    }
    async with served(tmp_path, *command, **keys, **ROOMY, **logging_as) as (port, output):
        heard = Heard(port)
        await heard.everything(hide, brief=True)
    assert len(heard.said) > 150
    assert hide.found_in("\n".join(heard.said)) == []
    assert hide.found_in(output.read_text()) == []
    assert command[0] != "gateway" or "token_invalid" in output.read_text()
    assert "Traceback" not in output.read_text()


async def test_development_tells_in_its_banner_only(tmp_path: Path) -> None:
    """With `--dev` the banner, and the page's own session, are the places where a token is meant to be."""
    async with served(tmp_path, "gateway", "serve", "--dev", "--demo", "--port", "0", **ROOMY) as (port, output):
        await until(lambda: "this machine only" in output.read_text())
        banner = output.read_text()
        shown = set(re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", banner))
        assert len(shown) == 1
        secret = (tmp_path / ".gateway-dev" / "secret").read_text().strip()
        tokens = {"valid": shown.pop(), **{name: text for name, text in hidden().tokens.items() if name != "valid"}}
        hide = Hidden(tokens, [secret, PLAIN, TICKET])
        heard = Heard(port)
        await heard.everything(hide, brief=True)
        await heard.http("POST", "/dev/session", {"Host": "evil.example"}, {})
        await heard.http("POST", "/dev/session", {"Host": "127.0.0.1", "Origin": "https://evil.example"}, {})
        await heard.http("GET", "/dev/session", {"Host": "127.0.0.1"})
    assert secret not in banner
    assert hide.found_in("\n".join(heard.said)) == []
    assert "eyJ" not in output.read_text().replace(hide.tokens["valid"], "", 1), output.read_text()
    assert output.read_text().count(hide.tokens["valid"]) == 1


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
