"""Server-side rendering: the snapshot in the HTML, then what was published while the page was on its way, then live."""

import asyncio
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Browser, Route, expect

from tests.documentation.pages import example
from tests.documentation.shell import PATIENCE, Shell
from tests.e2e.visit import Visit
from tests.examples.programs import copy_example
from tests.support.clients import http_client
from tests.support.inprocess import RunningGateway, running
from tests.support.nodejs import needs_npm
from tests.support.pauses import until
from tests.support.ports import ReservedPort
from tests.support.settings import settings_for

pytestmark = [needs_npm, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def change(gate: RunningGateway, task: int, title: str, done: bool = False, **more: str) -> None:
    data = {"title": title, "done": done}
    await gate.publish(type="task.changed", data=data, circle_id=7, item_key=f"task:{task}", **more)


async def html_of(url: str) -> str:
    async with http_client() as client:
        answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_nothing_is_lost_between_snapshot_and_live(browser: Browser, npm_package: Path, tmp_path: Path) -> None:
    copy_example("server-rendering", tmp_path, npm_package)
    context = await browser.new_context()
    with ReservedPort() as port:
        origin = f"http://127.0.0.1:{port}"
        async with running(settings_for(allowed_origins=(origin,))) as gate:
            shell = Shell(gate, tmp_path)
            code = example("server-side rendering").replace("3000", str(port))
            token = gate.token(scope="subscribe publish admin")
            async with shell.running(code, GATEWAY_URL=gate.url, GATEWAY_TOKEN=token) as server:
                await change(gate, 81, "Write </script>")
                await change(gate, 82, "Test")
                await change(gate, 83, "Ship")
                assert server.stdout is not None
                async with asyncio.timeout(PATIENCE):
                    while origin not in (await server.stdout.readline()).decode():
                        pass
                html = await html_of(origin)
                assert "Write &lt;/script&gt;<!-- -->: <!-- -->open" in html

                script = asyncio.Event()

                async def hold(route: Route) -> None:
                    await script.wait()
                    await route.continue_()

                visit = Visit(await context.new_page())
                page, tasks = visit.page, visit.page.get_by_role("listitem")
                sockets: list[str] = []
                page.on("websocket", lambda socket: sockets.append(socket.url))
                await page.route("**/page.js", hold)
                await page.goto(origin, wait_until="commit")
                await expect(tasks).to_have_text(["Write </script>: open", "Test: open", "Ship: open"])
                # The page is rendered, and nothing of it is connected.
                await change(gate, 82, "Test", done=True)
                await change(gate, 83, "Ship", op="delete")
                await change(gate, 84, "Rest")
                script.set()
                await expect(tasks).to_have_text(["Write </script>: open", "Test: done", "Rest: open"])
                connected = gate.service.gateway.manager.of("acme").rooms
                await until(lambda: bool(connected.get("circle:7")))
                asked = parse_qs(urlsplit(sockets[0]).query)
                assert {"rooms", "since", "state"} <= asked.keys(), "not from the snapshot's cursor"
                await shell.run(example("task changed"), GATEWAY_URL=gate.url, GATEWAY_TOKEN=token)
                await expect(tasks).to_have_text(["Write: done", "Test: done", "Rest: open"])
                assert visit.problems == []
                await context.close()
    assert "Error" not in shell.errors
