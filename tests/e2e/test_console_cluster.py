"""The console at one node of several: it shows all of them, names those that do not answer, and drains any."""

import re
import signal
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from websockets.asyncio.client import connect

from tests.e2e.console import PLATFORM, UNNAMED, administrator, console
from tests.support.pauses import until
from tests.support.process import GatewayProcess
from tests.support.redis import redis_server
from tests.support.tokens import issue

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_one_console_is_enough_for_all_nodes(browser: Browser, chromium: Path, tmp_path: Path) -> None:
    issued = issue("carol")
    async with (
        redis_server(tmp_path / "redis") as redis,
        GatewayProcess(tmp_path / "one", log_url=redis.url, drain_seconds=1) as one,
        GatewayProcess(tmp_path / "other", log_url=redis.url, drain_seconds=1, max_connections_per_user=7) as other,
        connect(f"{other.ws_url}?token={issued.access_token}") as client,
        other.api(administrator(PLATFORM)) as api,
        one.api(administrator(PLATFORM)) as one_api,
        console(browser, one, administrator(PLATFORM), "now", expected=UNNAMED) as visit,
    ):
        page, view = visit.page, visit.view("now")
        await expect(view.get_by_test_id("node")).to_have_count(2)
        name = (await api.get("/admin/nodes")).json()["nodes"][0]["node"]  # the one that answers
        there = view.get_by_test_id("node").filter(has_text=name)
        await expect(there.get_by_test_id("now-connections")).to_have_text("1")
        await expect(view.get_by_test_id("now-result")).to_have_text("Every node that answers is ready.")

        await page.evaluate("(jti) => { location.hash = `find?q=${jti}`; }", issued.token_id)
        await expect(page.get_by_test_id("found-token")).to_contain_text("not revoked")
        await expect(page.get_by_test_id("connection")).to_contain_text("carol")

        await api.post("/admin/tokens/revoke", json={"user_id": "mallory"})
        await visit.open("audit")
        act = page.get_by_test_id("act").first
        await expect(act).to_contain_text("user.revoked")
        await expect(act).to_contain_text(name)
        await expect(page.get_by_test_id("audit-result")).to_have_text("1 act on 2 nodes.")

        configuration = await visit.open("configuration")
        await expect(page.get_by_test_id("configuration-result")).to_contain_text("2 differ between 2 nodes.")
        port = configuration.get_by_test_id("setting").filter(has_text="GATEWAY_PORT")
        await expect(port).to_contain_text(f"{other.port} on {name}")
        await expect(configuration.get_by_test_id("setting").filter(has_text="on node_")).to_have_count(2)
        warnings = configuration.get_by_test_id("warning")
        first = (await one_api.get("/admin/nodes")).json()["nodes"][0]["node"]
        await expect(warnings.filter(has_text="CONNECTIONS_PER_USER")).to_contain_text(f"there is no limit, on {first}")
        await expect(warnings.filter(has_text="CONNECTIONS_PER_ADDRESS")).to_have_text(re.compile("no limit$"))

        await visit.open("now")
        await there.get_by_role("link", name="Drain …").click()
        form = page.get_by_test_id("act-drain-form")
        await expect(form.get_by_test_id("act-drain")).to_have_value(name)
        await form.get_by_test_id("act-drain-curl").locator("summary").click()
        await expect(form.get_by_test_id("act-drain-curl-text")).to_contain_text(f'-d \'{{"node":"{name}"}}\'')
        await form.get_by_test_id("act-drain-submit").click()
        await expect(form.get_by_test_id("act-drain-submit")).to_have_text(f"Yes: Drain {name}")
        await form.get_by_test_id("act-drain-submit").click()
        await expect(form.get_by_test_id("act-drain-result")).to_contain_text("Draining: 1 connection over")
        await client.wait_closed()
        assert client.close_code == 1012
        await visit.open("now")
        await expect(there.get_by_test_id("node-state")).to_have_text("draining")
        await expect(view.get_by_test_id("now-result")).to_have_text("Not every node is ready.")

        other.send_signal(signal.SIGSTOP)
        await expect(view.get_by_test_id("silent-node")).to_contain_text(name)
        await expect(view.get_by_test_id("now-result")).to_contain_text(f"No answer from {name}.")
        await visit.open("audit")
        await expect(page.get_by_test_id("audit-result")).to_have_text(re.compile(f"1 node\\. No answer from {name}"))
        await visit.open("configuration")
        await expect(page.get_by_test_id("configuration-result")).to_contain_text(f"No answer from {name}.")
        other.send_signal(signal.SIGCONT)
        await until(lambda: other.answers("/healthz"))
