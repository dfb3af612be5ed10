"""The examples of clients/js/README.md, and the first of the front page, compiled and run against a real gateway."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documentation.pages import example
from tests.documentation.shell import DEV_URL, PATIENCE, Shell, line_of
from tests.support.inprocess import RunningGateway
from tests.support.nodejs import NODE, PACKAGE, needs_npm, needs_websocket
from tests.support.pauses import until

pytestmark = [needs_npm, needs_websocket]

TOOLS = PACKAGE / "node_modules" / ".bin"
CHECKS = [
    "--noEmit",
    "--strict",
    "--skipLibCheck",
    *("--module", "nodenext"),
    *("--target", "es2022"),
    *("--jsx", "react-jsx"),
]
RUN = "exec node --no-warnings --experimental-websocket"


@pytest.fixture
def shell(gate: RunningGateway, npm_package: Path, tmp_path: Path) -> Shell:
    """In a folder of an application that has the package installed."""
    modules = tmp_path / "node_modules"
    modules.mkdir()
    (modules / "gathering-gateway").symlink_to(npm_package)
    for name in ("@types", "react", "react-dom", "react-test-renderer", "scheduler", "ws", "csstype"):
        (modules / name).symlink_to(PACKAGE / "node_modules" / name)
    return Shell(gate, tmp_path)


def compiled(shell: Shell, name: str, code: str, prelude: str = "") -> None:
    """The example as a module that Node runs, with its types checked."""
    source = shell.home / name
    source.write_text(code)
    command: list[str | Path] = [TOOLS / "tsc", *CHECKS, name]
    done = subprocess.run(command, cwd=shell.home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    code = code.replace(DEV_URL.removeprefix("http://"), shell.gate.url.removeprefix("http://"))
    source.write_text(prelude + code)
    options = ["--format=esm", "--jsx=automatic", f"--outfile={source.with_suffix('.mjs').name}"]
    command = [TOOLS / "esbuild", name, *options, "--log-level=error"]
    subprocess.run(command, cwd=shell.home, check=True)


def followed(gate: RunningGateway) -> bool:
    return bool(gate.service.gateway.manager.of("acme").rooms.get("circle:7"))


async def test_follow(gate: RunningGateway, shell: Shell) -> None:
    """Each event of the room is printed."""
    compiled(
        shell,
        "typed.ts",
        example("typed.ts"),
        f"const fetch = async () => ({{ text: async () => '{gate.token()}' }}) as any;\n",
    )
    async with shell.running(f"{RUN} typed.mjs") as page:
        await until(lambda: followed(gate), PATIENCE)
        await gate.publish(data={"task": 81}, circle_id=7)
        assert await line_of(page) == "task.completed 81\n"


async def test_install_and_follow(gate: RunningGateway, shell: Shell, npm_package: Path) -> None:
    """The package is installed as npm packs it, from where it is built already; the few lines print each title."""
    shutil.rmtree(shell.home / "node_modules")  # npm would remove what the links in it lead to
    (shell.home / "package.json").write_text('{"private": true}')
    offline = {"npm_config_offline": "true", "npm_config_ignore_scripts": "true", "npm_config_package_lock": "false"}
    install = example("npm install").replace("../gathering-gateway/clients/js", str(npm_package))
    await shell.run(install, npm_config_cache=str(shell.home / "cache"), **offline)
    assert not (shell.home / "node_modules" / "gathering-gateway").is_symlink()
    prelude = f"const fetch = async () => ({{ text: async () => '{gate.token()}' }}) as any;\n"
    compiled(shell, "first.ts", example("first.ts"), prelude)
    async with shell.running(f"{RUN} first.mjs") as page:
        await until(lambda: followed(gate), PATIENCE)
        await gate.publish(data={"title": "hello"}, circle_id=7)
        assert await line_of(page) == "hello\n"


async def test_load_and_publish(gate: RunningGateway, shell: Shell) -> None:
    """The snapshot, and behind it what this client publishes."""
    compiled(
        shell,
        "board.ts",
        example("board.ts"),
        "const fetch = async (...given: unknown[]) => ({ json: async () => [[81, false]] });\n",
    )
    compiled(shell, "publish.ts", example("publish.ts"))
    (shell.home / "main.mjs").write_text(
        "import { connect } from 'gathering-gateway';\n"
        "import { follow } from './board.mjs';\n"
        "import { complete } from './publish.mjs';\n"
        f"const client = connect({{ url: '{gate.ws_url}', token: '{gate.token()}' }});\n"
        "let shown = 0;\n"
        "follow(client, (done) => {\n"
        "  console.log(JSON.stringify([...done]));\n"
        "  if (++shown === 1) complete(client, 81);\n"
        "});\n"
    )
    async with shell.running(f"{RUN} main.mjs") as page:
        assert [json.loads(await line_of(page)) for _ in range(2)] == [[[81, False]], [[81, True]]]


async def test_node_with_ws(gate: RunningGateway, shell: Shell) -> None:
    """Where there is no global WebSocket."""
    (shell.home / "node.mjs").write_text(example("node.mjs"))
    async with shell.running("exec node node.mjs", GATEWAY_URL=gate.url, GATEWAY_TOKEN=gate.token()) as service:
        await until(lambda: followed(gate), PATIENCE)
        await gate.publish(data={"task": 81}, circle_id=7)
        assert await line_of(service) == "task.completed { task: 81 }\n"


async def test_node_without_ws(shell: Shell) -> None:
    """The error says what to do."""
    code = (
        "delete globalThis.WebSocket;\n"
        "const { connect } = await import('gathering-gateway');\n"
        "connect({ url: 'http://127.0.0.1:9', token: 'jwt', onError: ({ message }) => console.log(message) });\n"
    )
    (shell.home / "bare.mjs").write_text(code)
    async with shell.running("exec node bare.mjs") as service:
        assert "use Node 22, or pass { WebSocket } from 'ws'" in await line_of(service)


BLOCKED = (
    "class Blocked { onerror?: Function; constructor() { queueMicrotask(() => this.onerror?.({})); } close() {} }\n"
    "Object.assign(globalThis, { WebSocket: Blocked });\n"
)


@pytest.mark.parametrize(
    ("code", "prelude"), [(example("fallback.ts"), BLOCKED), (example("share.ts"), "")], ids=["fallback", "share"]
)
async def test_other_connections(gate: RunningGateway, shell: Shell, code: str, prelude: str) -> None:
    """The fallback without a WebSocket that gets through, and a shared connection, which Node has to itself."""
    prelude += (
        "const given = globalThis.fetch;\n"
        "Object.assign(globalThis, { fetch: async (...asked: any[]) => asked[0] === '/my/gateway-token' ?\n"
        f"  {{ text: async () => '{gate.token()}' }} : (given as any)(...asked) }});\n"
    )
    compiled(shell, "other.ts", code.replace("'/ws/dashboard'", f"'{gate.ws_url}'"), prelude)
    (shell.home / "main.mjs").write_text(
        "import { client } from './other.mjs';\n"
        "client.room('circle:7', { onEvent: (event) => console.log(event.data.task) });\n"
    )
    async with shell.running(f"{RUN} main.mjs") as page:
        await until(lambda: followed(gate), PATIENCE)
        await gate.publish(data={"task": 81}, circle_id=7)
        assert await line_of(page) == "81\n"


def test_common_js(npm_package: Path) -> None:
    """`require` finds the package and its hooks."""
    code = "console.log(typeof require('gathering-gateway').connect, typeof require('gathering-gateway/react').useRoom)"
    done = subprocess.run([NODE, "-e", code], cwd=npm_package, capture_output=True, text=True, check=False)
    assert done.stdout == "function function\n", done.stderr


async def test_react(shell: Shell) -> None:
    """The component renders, before the gateway has answered."""
    compiled(shell, "tasks.tsx", example("tasks.tsx"))
    (shell.home / "main.mjs").write_text(
        "globalThis.WebSocket = class { readyState = 0; close() {} };\n"
        "globalThis.location = { href: 'http://127.0.0.1/' };\n"
        "globalThis.fetch = async () => ({ text: async () => 'jwt' });\n"
        "globalThis.IS_REACT_ACT_ENVIRONMENT = true;\n"
        "console.error = () => {};\n"
        "const { act, create } = (await import('react-test-renderer')).default;\n"
        "const { createElement } = (await import('react')).default;\n"
        "const { App } = await import('./tasks.mjs');\n"
        "let root;\n"
        "await act(async () => { root = create(createElement(App)); });\n"
        "console.log(JSON.stringify(root.toJSON()));\n"
        "process.exit();\n"
    )
    shown = json.loads(await shell.run("node main.mjs"))
    assert shown["type"] == "ul"


async def test_react_on_a_server(shell: Shell) -> None:
    """The items of the snapshot are rendered, and the client connects to nothing: the process ends."""
    compiled(shell, "rendered.tsx", example("rendered.tsx"))
    (shell.home / "main.mjs").write_text(
        "const { renderToString } = (await import('react-dom/server')).default;\n"
        "const { createElement } = (await import('react')).default;\n"
        "const { App } = await import('./rendered.mjs');\n"
        "const event = { type: 'task.changed', data: { title: 'Write' }, event_id: 'evt_1', timestamp: '' };\n"
        "const items = [{ ...event, key: 'task:81', op: 'set', circle_id: 7 }];\n"
        "console.log(renderToString(createElement(App, { initial: { cursor: 'evt_1', items } })));\n"
    )
    assert await shell.run("node main.mjs") == "<ul><li>Write</li></ul>\n"
