"""The examples of the pages, run as they stand against a real gateway."""

import asyncio
import configparser
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import connect

from gateway.cli.main import app
from gateway.server.log_format import formatter_of
from gateway.service.config import Settings
from gateway.telemetry.log_events import EventText
from tests.documentation.pages import ROOT, example
from tests.documentation.shell import DEV_URL, PATIENCE, Shell, application, line_of, post
from tests.support.clients import Client
from tests.support.inprocess import RunningGateway, running
from tests.support.nodejs import needs_websocket
from tests.support.pauses import until, until_equal
from tests.support.presence import present
from tests.support.redis import RedisServer
from tests.support.settings import SECRET, settings_for


@pytest.fixture
def shell(gate: RunningGateway, tmp_path: Path) -> Shell:
    return Shell(gate, tmp_path)


@pytest.fixture
def settings() -> str:
    """The lines that the README has typed first in every terminal."""
    lines = example("subscribe").splitlines()
    return "\n".join(line for line in lines if "gateway subscribe" not in line) + "\n"


def in_room(gate: RunningGateway, room: str) -> Callable[[], bool]:
    return lambda: bool(gate.service.gateway.manager.of("acme").rooms.get(room))


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


# ---- what can be run


async def test_two_terminals(gate: RunningGateway, shell: Shell, settings: str) -> None:
    """`gateway subscribe` in one terminal prints as JSON what `gateway publish` says in the other."""
    async with shell.running(example("subscribe")) as follower:
        await until(in_room(gate, "circle:7"), PATIENCE)
        event_id = (await shell.run(settings + example("publish"))).strip()
        event = json.loads(await line_of(follower))
    assert (event["event_id"], event["data"]) == (event_id, {"title": "hello"})


@needs("curl")
async def test_publish_with_curl(shell: Shell, settings: str) -> None:
    """The event is accepted."""
    answer = json.loads(await shell.run(settings + example("curl")))
    assert answer["rooms"] == ["circle:7", "tenant"]


@needs("curl")
async def test_follow_with_curl(gate: RunningGateway, shell: Shell, settings: str) -> None:
    """Blocks come as they are written; a later one goes on where it ended."""

    async def read(code: str, **variables: str) -> dict[str, str]:
        """The last block of a stream, once it has an event."""
        async with shell.running(settings + code, **variables) as curl:
            block: dict[str, str] = {}
            while not block.get("data", "").startswith('{"type":"task.completed"'):
                name, _, value = (await line_of(curl)).rstrip("\n").partition(": ")
                block = {**block, name: value} if name else {}
            return block

    reading = asyncio.create_task(read(example("curl stream")))
    await until(in_room(gate, "circle:7"), PATIENCE)
    seen = await gate.publish(circle_id=7)
    assert (await reading)["id"] == seen
    missed = await gate.publish(circle_id=7)
    assert (await read(example("curl resume"), CURSOR=seen))["id"] == missed


@needs("curl")
async def test_publish_again_with_curl(shell: Shell, settings: str) -> None:
    """The answer has the form shown; sent again, it is the duplicate that the idempotency key makes of it."""
    code = example("curl publish")
    first = json.loads(await shell.run(settings + code))
    shown = json.loads(example("published"))
    assert {**first, "event_id": ""} == {**shown, "event_id": ""}
    assert len(first["event_id"]) == len(shown["event_id"])
    assert json.loads(await shell.run(settings + code)) == {**first, "duplicate": True}


@needs("curl")
@pytest.mark.parametrize("kind", ["folder", "models"])
async def test_contract_violation_with_curl(
    kind: str, tmp_path: Path, settings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schema and the model refuse the same event, with the answer that is shown."""
    (tmp_path / "events").mkdir()
    (tmp_path / "events/task.completed.v1.json").write_text(example("contract schema"))
    (tmp_path / "contract.py").write_text(example("contract.py"))
    monkeypatch.syspath_prepend(tmp_path)
    contract = str(tmp_path / "events") if kind == "folder" else "contract:EVENTS"
    async with running(settings_for(contract=contract)) as gate:
        printed = await Shell(gate, tmp_path).run(settings + example("curl violation"))
    # The words of a model are pydantic's own.
    assert json.loads(printed.replace("a valid integer", "integer")) == json.loads(example("violation"))
    monkeypatch.delitem(sys.modules, "contract", raising=False)


async def test_contract_commands(tmp_path: Path, settings: str) -> None:
    """A contract is compatible with itself, and both modules of types have its type."""
    (tmp_path / "events").mkdir()
    (tmp_path / "events/task.completed.v1.json").write_text(example("contract schema"))
    async with running(settings_for(contract=str(tmp_path / "events"))) as gate:
        shell = Shell(gate, tmp_path)
        assert await shell.run(settings + example("contract check")) == "contract OK: compatible\n"
        assert await shell.run(example("contract types")) == ""
    assert "export interface TaskCompletedV1 {" in (tmp_path / "events.ts").read_text()
    assert "class TaskCompletedV1(TypedDict):" in (tmp_path / "events.py").read_text()


@needs("curl")
async def test_publish_a_batch_with_curl(shell: Shell, settings: str) -> None:
    """Each event is judged by itself."""
    good, bad = json.loads(await shell.run(settings + example("curl batch")))["results"]
    assert good["rooms"] == ["circle:7", "tenant"]
    assert bad["error"]["code"] == "bad_message"


@needs("curl")
async def test_issue_and_revoke_with_curl(gate: RunningGateway, shell: Shell, settings: str) -> None:
    """The token issued works; revoking its user closes the connection."""
    issued = json.loads(await shell.run(settings + example("curl tokens")))
    assert 0 < issued["expires_in"] <= 600
    async with gate.client(issued["access_token"]) as client:
        answer = json.loads(await shell.run(settings + example("curl revoke")))
        assert answer == {"revoked": True, "disconnected": 1}
        assert await client.closed() == (4401, "token_revoked")


@needs("openssl")
async def test_asymmetric_keys(shell: Shell) -> None:
    """A fresh Ed25519 key signs, and is all the configuration that is needed."""
    token, judgement = (await shell.run(example("openssl"))).splitlines()
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    assert judgement == "configuration OK"


async def test_configuration_is_judged(shell: Shell) -> None:
    """The secret made as the README says is good."""
    assert await shell.run(example("check")) == "configuration OK\n"


@needs("pip")
async def test_python_listener(gate: RunningGateway, shell: Shell) -> None:
    """The package is installed, here beside its dependency; the few lines print the title of each task."""
    (shell.home / "listen.py").write_text(example("listen.py"))
    target = str(shell.home / "installed")
    # Without a package index: what builds the package is imported from where the tests run. In a variable 0 means "no".
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_TARGET": target}
    install = example("pip install").replace("../gathering-gateway", str(ROOT))
    await shell.run(install, PYTHONPATH=os.pathsep.join(sys.path), **offline)
    variables = {"GATEWAY_URL": gate.url, "GATEWAY_TOKEN": gate.token(), "PYTHONPATH": target}
    async with shell.running(f"exec {sys.executable} listen.py", **variables) as listener:
        await until(in_room(gate, "circle:7"), PATIENCE)
        await gate.publish(type="task.created", circle_id=7, data={"n": 1})
        await gate.publish(circle_id=7, data={"title": "hello"})
        assert await line_of(listener) == "hello\n"


async def test_fastapi_application(shell: Shell) -> None:
    """A gateway embedded in a FastAPI application, with event handlers that publish."""
    (shell.home / "shop.py").write_text(example("shop.py"))
    async with application(shell, example("uvicorn")) as theirs, theirs.client(query="&rooms=circle:7") as client:
        await client.next("subscribed")
        posted = await asyncio.to_thread(post, f"{theirs.url}/orders/81/done")
        assert (await client.next("order.done"))["event_id"] == json.loads(posted)["event_id"]


async def test_explanations(gate: RunningGateway, shell: Shell) -> None:
    """On the command line and over HTTP, for a client that joined after the event."""
    event_id = await gate.publish(circle_id=7)
    variables = {
        "EVENT_ID": event_id,
        "GATEWAY_URL": gate.url,
        "GATEWAY_TOKEN": gate.token("root", scope="admin"),
    }
    async with gate.client(query="&rooms=circle:7") as client:
        await client.next("subscribed")
        lines = (await shell.run(example("explain"), **variables)).splitlines()
        assert lines[0].startswith(f"ada: {event_id} (task.completed to circle:7, tenant at 20")
        assert lines[0].endswith("): not_delivered, joined_later")
        assert lines[3].split() == ["connection_id", "node", "transport", "ended_at", "verdict", "why"]
        assert "subscribed: circle:7 since 20" in lines[4]
        answer = json.loads(await shell.run(example("explain over HTTP"), **variables))
        assert (answer["verdict"], answer["reason"]) == ("not_delivered", "joined_later")


async def test_event_bus(shell: Shell) -> None:
    """Events of a bus are forwarded, those of one type filtered."""
    (shell.home / "shop.py").write_text(example("shop.py"))
    (shell.home / "bus.py").write_text(example("bus.py"))
    command = example("uvicorn").replace("shop:app", "bus:app")
    async with application(shell, command) as theirs, theirs.client(query="&rooms=circle:7,project:5") as client:
        await client.next("subscribed")
        await asyncio.to_thread(post, f"{theirs.url}/tasks/3/done")
        assert (await client.next("task.completed"))["data"]["task"] == 3
        assert (await client.next("order.paid"))["data"] == {"total": 120}


async def test_redis_user(server: RedisServer, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    """A user with just these commands is enough for two nodes: log, presence, tickets, revocations."""
    commands = [word for word in example("redis acl").split() if "setinfo" not in word]  # unknown before Redis 7.2
    keys = ["resetchannels", f"~{prefix}:*", f"&{prefix}:*"]
    await server.ask("ACL", "SETUSER", "gateway", "on", ">secret-word", *keys, *commands)
    settings = settings_for(log_url=f"redis://gateway:secret-word@127.0.0.1:{server.port}", redis_prefix=prefix)
    async with running(settings) as one, running(settings) as other:
        await until(lambda: one.service.gateway.ready and other.service.gateway.ready, PATIENCE)
        ticket = json.loads(await asyncio.to_thread(post, f"{one.url}/tickets", one.token()))["ticket"]
        async with connect(f"{other.ws_url}?ticket={ticket}&rooms=circle:7") as websocket:
            client = Client(websocket)
            await client.next("connection.established")
            await client.next("subscribed")
            await one.service.gateway.publish("acme", "task.created", {}, circle_id=7, key="k")
            await client.next("task.created")
            async with one.client(one.token("bob"), "&rooms=circle:7") as watching:
                await watching.next("subscribed")
                await until_equal(lambda: present(watching, "circle:7"), {"ada": 1, "bob": 1})
            await one.service.gateway.administration.revoke_user("acme", "ada")
            assert await client.closed() == (4401, "token_revoked")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_log_engine_example(shell: Shell) -> None:
    """The contract suite takes the example as it stands, in a folder without any configuration."""
    (shell.home / "test_my_log.py").write_text(example("test_my_log.py"))
    assert " passed" in await shell.run("pytest test_my_log.py")


@needs_websocket
async def test_bare_websocket(gate: RunningGateway, shell: Shell) -> None:
    """Three lines of JavaScript see the first frames of the gateway."""
    code = f"const token = '{gate.token()}';\n" + example("bare.js").replace(
        DEV_URL.removeprefix("http://"), gate.url.removeprefix("http://")
    )
    (shell.home / "bare.mjs").write_text(code)
    async with shell.running("exec node --no-warnings --experimental-websocket bare.mjs") as browser:
        assert "connection.established" in await line_of(browser) + await line_of(browser)


@needs_websocket
async def test_javascript_room(gate: RunningGateway, shell: Shell) -> None:
    """A snapshot, and the events behind it."""
    shutil.copy(ROOT / "gateway/web/js/client.js", shell.home / "client.js")
    (shell.home / "package.json").write_text('{"type": "module"}')
    answers = f"{{ text: async () => '{gate.token()}', json: async () => [{{ id: 1, done: false }}] }}"
    code = example("board-page.js").replace(DEV_URL.removeprefix("http://"), gate.url.removeprefix("http://"))
    more = "\nclient.room('circle:7', { onEvent: () => console.log('now', [...tasks]) });\n"
    (shell.home / "board-page.js").write_text(f"const fetch = async () => ({answers});\n{code}{more}")
    async with shell.running("exec node --no-warnings --experimental-websocket board-page.js") as page:
        assert "loading" in await line_of(page)
        assert await line_of(page) == "live [ [ 1, false ] ]\n"
        await gate.service.gateway.publish("acme", "task.completed", {"task": 1}, circle_id=7)
        assert await line_of(page) == "now [ [ 1, true ] ]\n"


async def test_a_token_is_inspected(gate: RunningGateway, shell: Shell) -> None:
    """With the gateway's settings in the environment."""
    output = await shell.run(example("inspect"), TOKEN=gate.token(), GATEWAY_JWT_SECRET=SECRET)
    assert output.endswith("accepted\n")


def test_systemd_waits_for_the_end() -> None:
    """The unit's timeout is longer than a drain may take with the defaults, and its commands are the gateway's."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(example("systemd"))
    settings = Settings(_env_file=None)
    longest = settings.shutdown_delay_seconds + settings.drain_seconds + 5
    assert int(unit["Service"]["TimeoutStopSec"]) > longest
    for name in ("ExecStart", "ExecStartPre"):
        _, command = unit["Service"][name].split("/bin/gateway ")
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_log_lines_look_as_shown() -> None:
    """In both formats."""
    fields = {"address": "192.0.2.7", "reason": "token_invalid", "detail": "signature", "code": 4401}
    text: Any = EventText("connection refused", fields)
    record = logging.LogRecord("gateway.connection", logging.INFO, "", 0, text, (), None)
    record.event = "connection.refused"
    record.created = datetime(2026, 1, 15, 10, 30, 0, 123_000, UTC).timestamp()
    assert formatter_of("text").format(record) == example("text line")
    assert formatter_of("json").format(record) == example("json line")
