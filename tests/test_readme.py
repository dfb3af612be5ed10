"""The README holds: its examples run against a real gateway, its table is the settings, its links lead somewhere."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import jwt
import pytest
from pydantic.fields import FieldInfo

from gateway.api import create_app
from gateway.service.config import Settings
from gateway.service.factory import create_service
from gateway.testing import until
from tests.nodejs import needs_websocket
from tests.support import SECRET, Gate, running, settings_for

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [(kind, code.strip()) for kind, code in re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)]

DEV_URL = "http://127.0.0.1:8000"
"""Where `make run` serves, and so what the README says; the tests put their own gateway's address there."""

PATIENCE = 40.0
"""Seconds for another process to start and do something."""


def block(kind: str, *words: str) -> str:
    """The one block of this kind with all of these words in it."""
    found: list[str] = [code for name, code in BLOCKS if name == kind and all(word in code for word in words)]
    assert len(found) == 1, f"{len(found)} blocks of {kind} with {words}"
    return found[0]


def named(file: str) -> str:
    """The Python block that begins with this file's name, with what is said to continue it."""
    return "\n\n".join(code for kind, code in BLOCKS if kind == "python" and code.startswith(f"# {file}"))


class Shell:
    """Runs lines of the README in a folder that looks like a clone after `make run`."""

    def __init__(self, gate: Gate, home: Path) -> None:
        self.gate = gate
        self.home = home
        self.errors = ""
        (home / ".venv").symlink_to(sys.prefix)
        (home / ".gateway-dev").mkdir()
        (home / ".gateway-dev" / "secret").write_text(SECRET)
        hidden = ("GATEWAY_", "PYTHON", "COV_", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        scripts = Path(sys.executable).parent
        self.environment = {
            **{name: value for name, value in kept.items() if not name.lower().endswith("_proxy")},
            "PATH": f"{scripts}{os.pathsep}{kept['PATH']}",
            "PYTHONPATH": str(home),
        }

    async def start(self, code: str, **environment: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "sh",
            "-ec",
            code.replace(DEV_URL, self.gate.url),
            cwd=self.home,
            env={**self.environment, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def run(self, code: str) -> str:
        """What the lines print; they must succeed."""
        process = await self.start(code)
        async with asyncio.timeout(50):
            output, errors = await process.communicate()
        assert process.returncode == 0, (output, errors)
        return output.decode()

    @asynccontextmanager
    async def running(self, code: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """The lines, for as long as the context lasts."""
        process = await self.start(code, **environment)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(process.pid, signal.SIGTERM)
            self.errors += (await process.communicate())[1].decode()


@pytest.fixture
def shell(gate: Gate, tmp_path: Path) -> Shell:
    return Shell(gate, tmp_path)


@pytest.fixture
def settings() -> str:
    """The lines that the README has typed first in every terminal."""
    lines = block("sh", "gateway subscribe").splitlines()
    return "\n".join(line for line in lines if "gateway subscribe" not in line) + "\n"


def in_room(gate: Gate, room: str) -> Callable[[], bool]:
    return lambda: bool(gate.service.gateway.manager.of("acme").rooms.get(room))


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(40):
        line = (await process.stdout.readline()).decode()
    if not line:
        assert process.stderr is not None
        raise AssertionError((await process.stderr.read()).decode())
    return line


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


# ---- what can be run


async def test_two_terminals(gate: Gate, shell: Shell, settings: str) -> None:
    """`gateway subscribe` in one terminal prints as JSON what `gateway publish` says in the other."""
    async with shell.running(block("sh", "gateway subscribe")) as follower:
        await until(in_room(gate, "circle:7"), PATIENCE)
        event_id = (await shell.run(settings + block("sh", "gateway publish"))).strip()
        event = json.loads(await line_of(follower))
    assert (event["event_id"], event["data"]) == (event_id, {"title": "hello"})


@needs("curl")
async def test_publish_with_curl(shell: Shell, settings: str) -> None:
    """The answer has the form shown; sent again, it is the duplicate that the idempotency key makes of it."""
    code = block("sh", '$GATEWAY_URL/events"')
    first = json.loads(await shell.run(settings + code))
    shown = json.loads(block("json", "event_id"))
    assert {**first, "event_id": ""} == {**shown, "event_id": ""}
    assert len(first["event_id"]) == len(shown["event_id"])
    assert json.loads(await shell.run(settings + code)) == {**first, "duplicate": True}


@needs("curl")
async def test_publish_a_batch_with_curl(shell: Shell, settings: str) -> None:
    """Each event is judged by itself."""
    good, bad = json.loads(await shell.run(settings + block("sh", "/events/batch")))["results"]
    assert good["rooms"] == ["circle:7", "tenant"]
    assert bad["error"]["code"] == "bad_message"


@needs("curl")
async def test_issue_and_revoke_with_curl(gate: Gate, shell: Shell, settings: str) -> None:
    """The token issued works; revoking its user closes the connection."""
    issued = json.loads(await shell.run(settings + block("sh", '/admin/tokens"')))
    assert 0 < issued["expires_in"] <= 600
    async with gate.client(issued["access_token"]) as client:
        answer = json.loads(await shell.run(settings + block("sh", "/admin/tokens/revoke")))
        assert answer == {"revoked": True, "disconnected": 1}
        assert await client.closed() == (4401, "token_revoked")


@needs("openssl")
async def test_asymmetric_keys(shell: Shell) -> None:
    """A fresh Ed25519 key signs, and is all the configuration that is needed."""
    token, judgement = (await shell.run(block("sh", "openssl"))).splitlines()
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    assert judgement == "the configuration will do"


async def test_configuration_is_judged(shell: Shell) -> None:
    """The secret made as the README says is good."""
    assert await shell.run(block("sh", "token_urlsafe")) == "the configuration will do\n"


async def test_python_client(gate: Gate, shell: Shell) -> None:
    """It prints events, comes back by itself and gets what it missed; a restart of the log it notices."""
    code = named("follow.py").replace("random.uniform(0.5, 5)", "random.uniform(0.5, 0.6)")
    (shell.home / "follow.py").write_text(code)
    variables = {"GATEWAY_URL": gate.url, "GATEWAY_TOKEN": gate.token()}
    gateway = gate.service.gateway
    async with shell.running(f"exec {sys.executable} follow.py", **variables) as follower:
        await until(in_room(gate, "circle:7"), PATIENCE)
        await gateway.publish("acme", "task.created", {"n": 1}, circle_id=7)
        assert await line_of(follower) == "task.created {'n': 1}\n"
        (connection,) = gateway.manager.connections()
        connection.transport.abort()
        await until(lambda: not list(gateway.manager.connections()), PATIENCE)
        await gateway.publish("acme", "task.created", {"n": 2}, project_id=5)
        assert await line_of(follower) == "task.created {'n': 2}\n"


async def test_python_client_waits_until_it_is_let_in(tmp_path: Path) -> None:
    """Over its user's limit of connections (4409) it comes back; a place is free by then."""
    async with running(settings_for(max_connections_per_user=1)) as gate:
        shell = Shell(gate, tmp_path)
        (shell.home / "follow.py").write_text(named("follow.py").replace("random.uniform(0.5, 5)", "0.5"))
        variables = {"GATEWAY_URL": gate.url, "GATEWAY_TOKEN": gate.token()}
        async with (
            gate.client() as occupying,
            shell.running(f"exec {sys.executable} follow.py", **variables) as follower,
        ):
            await asyncio.sleep(3)
            assert follower.returncode is None
            await occupying.websocket.close()
            await until(in_room(gate, "circle:7"), PATIENCE)
        assert shell.errors == ""


async def test_python_client_gives_up_where_it_must(shell: Shell, gate: Gate) -> None:
    """A token that is not good is not tried again."""
    (shell.home / "follow.py").write_text(named("follow.py"))
    follower = await shell.start(
        f"exec {sys.executable} follow.py", GATEWAY_URL=gate.url, GATEWAY_TOKEN=gate.token()[:-3]
    )
    async with asyncio.timeout(40):
        _, errors = await follower.communicate()
    assert (follower.returncode, errors.decode().strip()) == (1, "token_invalid")


async def test_fastapi_application(shell: Shell) -> None:
    """A gateway within somebody's application: code of its own publishes, and its bus is forwarded."""
    (shell.home / "shop.py").write_text(named("shop.py"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    code = block("sh", "uvicorn shop:app").replace("9000", str(port))
    async with shell.running(f"exec {code}", GATEWAY_JWT_SECRET=SECRET) as server:
        await until(lambda: server.returncode is not None or answers(url), PATIENCE)
        assert server.returncode is None, shell.errors
        theirs = Gate(shell.gate.service, port)  # whose tokens the same secret signs
        async with theirs.client(query="&rooms=circle:7,project:5") as client:
            await client.next("subscribed")
            posted = await asyncio.to_thread(post, f"{url}/orders/81/done")
            assert (await client.next("order.done"))["event_id"] == json.loads(posted)["event_id"]
            await asyncio.to_thread(post, f"{url}/tasks/3/done")
            assert (await client.next("task.completed"))["data"]["task"] == 3
            assert (await client.next("order.paid"))["data"] == {"total": 120}
    assert "Uvicorn running" in shell.errors
    assert "eyJ" not in shell.errors  # as every token begins


async def test_log_engine_example(shell: Shell) -> None:
    """The contract suite takes the example as it stands, in a folder without any configuration."""
    (shell.home / "test_my_log.py").write_text(named("test_my_log.py"))
    assert " passed" in await shell.run("pytest test_my_log.py")


@needs_websocket
async def test_bare_websocket(gate: Gate, shell: Shell) -> None:
    """Two lines of JavaScript see the gateway's first words."""
    code = f"const token = '{gate.token()}';\n" + block("js", "new WebSocket").replace(
        DEV_URL.removeprefix("http://"), gate.url.removeprefix("http://")
    )
    (shell.home / "bare.mjs").write_text(code)
    async with shell.running("exec node --no-warnings --experimental-websocket bare.mjs") as browser:
        assert "connection.established" in await line_of(browser) + await line_of(browser)


@needs_websocket
async def test_javascript_client(gate: Gate, shell: Shell) -> None:
    """The client, copied, hands events to `onEvent`."""
    shutil.copy(ROOT / "gateway/web/js/client.js", shell.home / "client.js")
    (shell.home / "package.json").write_text('{"type": "module"}')
    fetched = f"const fetch = async () => ({{ text: async () => '{gate.token()}' }});\n"
    code = block("js", "client.js").replace(DEV_URL.removeprefix("http://"), gate.url.removeprefix("http://"))
    (shell.home / "page.js").write_text(fetched + code)
    async with shell.running("exec node --no-warnings --experimental-websocket page.js") as page:
        await until(in_room(gate, "circle:7"), PATIENCE)
        await gate.service.gateway.publish("acme", "task.created", {"n": 1}, circle_id=7)
        assert await line_of(page) == "task.created { n: 1 }\n"


def answers(url: str) -> bool:
    try:
        return "ready" in _open(Request(f"{url}/readyz"))  # noqa: S310 - the address is ours
    except URLError:
        return False


def post(url: str) -> str:
    return _open(Request(url, method="POST"))  # noqa: S310 - the address is ours


def _open(request: Request) -> str:
    with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


NOT_RUN = {
    "make run": "the end-to-end tests of the page do",
    "make test": "this is it",
    'make test ARGS="-k rooms"': "this is it",
}


def test_every_shell_block_is_run() -> None:
    """A line that is added is either run above or named with the reason why not."""
    words = ("gateway subscribe", "gateway publish", "$GATEWAY_URL/", "openssl", "token_urlsafe", "uvicorn shop:app")
    shell_blocks = [code for kind, code in BLOCKS if kind == "sh" and code not in NOT_RUN]
    assert all(any(word in code for word in words) for code in shell_blocks)
    assert {kind for kind, _ in BLOCKS} == {"sh", "js", "python", "json", "nginx"}


# ---- what it says


def row(name: str, field: FieldInfo) -> str:
    default = "" if field.default in (None, ()) else f"`{field.default}`"
    return f"| `GATEWAY_{name.upper()}` | {default} | {field.description} |"


def test_settings_table_is_the_settings_class() -> None:
    """Every setting with its default and its description, in order, and no other. To mend it, paste what is printed."""
    wanted = [row(name, field) for name, field in Settings.model_fields.items()]
    found = [line for line in README.splitlines() if line.startswith("| `GATEWAY_")]
    assert found == wanted, "\n" + "\n".join(wanted)


def test_settings_named_elsewhere_exist() -> None:
    """The text and the other documents name no setting that there is not."""
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields} | {"GATEWAY_URL", "GATEWAY_TOKEN"}
    for document in DOCUMENTS:
        named_there = set(re.findall(r"\bGATEWAY_[A-Z_]*[A-Z]\b", document.read_text()))
        assert named_there <= known, document.name


def anchors_of(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_relative_links_lead_somewhere(document: Path) -> None:
    """Each file that is linked is there, and has the heading where one is named."""
    targets = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    for target in targets:
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.is_file(), target
        assert not anchor or anchor in anchors_of(file), target


def test_drawing_is_well_formed_and_needs_nothing() -> None:
    """Plain SVG: no script, nothing fetched, and colours for light and dark."""
    for drawing in (ROOT / "docs").glob("*.svg"):
        text = drawing.read_text()
        assert "prefers-color-scheme: dark" in text
        assert not re.search(r"<script|<image|href|@import|url\((?!#)", text)


def test_reader_is_told_the_truth_about_what_is_missing(gate_routes: set[str]) -> None:
    """What the protocol's page says is not there is not: whoever adds it finds this, and mends the page."""
    page = (ROOT / "docs/protocol.md").read_text().partition("## Not there yet")[2]
    for path in re.findall(r"`(?:GET|POST) (/[\w/{}.]*)", page):
        assert path not in gate_routes, path


@pytest.fixture
def gate_routes() -> set[str]:
    return set(create_app(create_service(settings_for())).openapi()["paths"])
