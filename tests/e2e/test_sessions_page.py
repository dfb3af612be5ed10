"""The page of docs/sessions.md in a browser: no token, a session cookie."""

import shutil
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser

from gateway.testing import until
from tests.documentation.pages import ROOT, example
from tests.documentation.shell import PATIENCE, Shell, application
from tests.support.inprocess import running

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES: Final = """
from fastapi.responses import FileResponse, HTMLResponse

from board import app, service


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    return '<script type="module" src="/board.js"></script>'


@app.get("/login", response_class=HTMLResponse)
async def login_page() -> str:
    return "log in"


@app.get("/{name}.js")
async def script(name: str) -> FileResponse:
    return FileResponse(f"{name}.js", media_type="text/javascript")


@app.post("/tell")
async def tell() -> None:
    await service.gateway.publish("acme", "task.created", {"n": 1}, circle_id=7)
"""


async def test_the_browsers_cookie_connects(browser: Browser, tmp_path: Path) -> None:
    """A user logs in and gets the events of its circle."""
    async with running() as gate:
        shell = Shell(gate, tmp_path)
        (tmp_path / "board.py").write_text(example("board.py"))
        (tmp_path / "board.js").write_text(example("board.js"))
        (tmp_path / "pages.py").write_text(PAGES)
        shutil.copy(ROOT / "gateway/web/js/client.js", tmp_path)
        async with application(shell, example("quick start").replace("app:app", "pages:app")) as theirs:
            page = await browser.new_page()
            said: list[str] = []
            page.on("console", lambda message: said.append(message.text))
            await page.goto(f"{theirs.url}/login")
            await page.evaluate("fetch('/login/ada', { method: 'POST' })")
            await page.evaluate("fetch('/circles/7/members/ada', { method: 'PUT' })")
            await page.goto(theirs.url)

            async def present() -> int:
                answer = await page.evaluate("fetch('/rooms/circle:7/presence').then((reply) => reply.json())")
                return int(answer["connections"])

            for _ in range(100):
                if await present():
                    break
            await page.evaluate("fetch('/tell', { method: 'POST' })")
            await until(lambda: any("task.created" in text for text in said), PATIENCE)
            await page.close()
