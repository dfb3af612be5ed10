"""Without development mode the page asks for a token, uses it, and keeps it to itself."""

import json
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.visit import Visit, visiting
from tests.support.commands import invoke
from tests.support.process import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOT_DEVELOPMENT: Final = r"status of 404"  # of /dev/session, by which the page finds out

HOUR: Final = 3_600_000
"""Milliseconds that a user's token is good for."""

# All that a page can leave behind, and all that it shows.
_EVERYWHERE: Final = """async () => JSON.stringify([
  document.documentElement.outerHTML,
  [...document.querySelectorAll('input, textarea, select')].map((field) => field.value),
  location.href, document.referrer, document.cookie, document.title, history.state, history.length, window.name,
  { ...localStorage }, { ...sessionStorage }, await indexedDB.databases(), await caches.keys(),
  (await navigator.serviceWorker.getRegistrations()).length,
  performance.getEntries().map((entry) => entry.name),
])"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    """`gateway serve` with a secret of its own."""
    home = tmp_path_factory.mktemp("served")
    async with GatewayProcess(home, "--demo", jwt_secret=secrets.token_urlsafe(48)) as served:
        yield served


def token_for(served: GatewayProcess, *options: str, **variables: str) -> str:
    """The output of `gateway token` for ada of acme."""
    command = ("token", "--user", "ada", "--tenant", "acme", *options)
    done = invoke(*command, cwd=served.folder, env={**served.environment, **variables})
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


async def connect(visit: Visit, token: str, rooms: str = "") -> None:
    await visit.page.get_by_test_id("token-input").fill(token)
    await visit.page.get_by_test_id("token-rooms").fill(rooms)
    await visit.page.get_by_test_id("token-submit").click()


async def assert_kept_to_itself(visit: Visit, token: str) -> None:
    everything: str = await visit.page.evaluate(_EVERYWHERE)
    assert "gathering-gateway" in everything
    for part in token.split("."):
        assert part not in everything
        assert not [line for line in visit.logged if part in line]
        # A browser's WebSocket can carry it in its address only; nothing else may.
        assert not [asked for asked in visit.requested if part in asked and not asked.startswith("ws:")]


async def test_a_typed_token_fills_its_pane_and_is_nowhere_to_be_found(
    browser: Browser, served: GatewayProcess
) -> None:
    """Also not after publishing with it and copying it, and reloading forgets it."""
    rooms = ["--room", "circle:1", "--room", "circle:2", "--room", "project:*"]
    token = token_for(served, *rooms, "--scope", "subscribe", "--scope", "publish")
    async with visiting(
        browser,
        f"{served.url}/",
        expected=NOT_DEVELOPMENT,
        script="Object.defineProperty(navigator, 'clipboard', { value: undefined });",
    ) as visit:
        assert await visit.page.get_by_test_id("token-input").get_attribute("type") == "password"
        await connect(visit, token)
        await visit.is_live("acme")
        pane = visit.pane("acme")
        await expect(pane.locator(".chip.on")).to_have_text(["circle:1", "circle:2"])
        await expect(pane.get_by_test_id("feed-row").nth(3)).to_be_attached()
        await expect(pane.get_by_test_id("try-foreign")).to_be_hidden()
        await assert_kept_to_itself(visit, token)

        await visit.publish("acme", circle="1", data=json.dumps({"title": "by hand"}))
        result = visit.page.get_by_test_id("publish-result")
        await expect(result).to_have_text(re.compile("^202 accepted: evt_"))
        await visit.receives("acme", (await result.inner_text()).rpartition(" ")[2])
        await visit.page.get_by_test_id("copy-curl").click()
        await expect(visit.page.locator("#copy-result")).to_have_text("Copied.")
        await pane.get_by_test_id("cut").click()
        await pane.get_by_test_id("cut").click()
        await visit.says("acme", "resume", "nothing missing", "good")
        await assert_kept_to_itself(visit, token)

        await visit.page.reload()
        await expect(visit.page.get_by_test_id("token-input")).to_be_visible()
        await expect(visit.page.get_by_test_id("token-input")).to_have_value("")
        await assert_kept_to_itself(visit, token)


async def test_chosen_rooms_are_joined_and_others_refused(browser: Browser, served: GatewayProcess) -> None:
    token = token_for(served, "--room", "circle:*")
    async with visiting(browser, f"{served.url}/", expected=rf"{NOT_DEVELOPMENT}|status of 403") as visit:
        await connect(visit, token, "circle:2, project:5")
        await visit.is_live("acme")
        await visit.says("acme", "refusal", re.compile("^room_forbidden: .*project:5"), "bad")
        await expect(visit.pane("acme").locator(".chip.on")).to_have_text(["circle:2"])
        await expect(visit.pane("acme").get_by_test_id("feed-row").first).to_be_attached()
        await visit.publish("acme", circle="2")
        await expect(visit.page.get_by_test_id("publish-result")).to_have_text(re.compile("^403 scope_missing: "))


async def test_a_wrong_token_is_shown_by_its_code(browser: Browser, served: GatewayProcess) -> None:
    """A well-formed token that another key signed; what is no token at all is not even sent."""
    token = token_for(served, "--room", "tenant")
    wrong = token_for(served, "--room", "tenant", GATEWAY_JWT_SECRET=secrets.token_urlsafe(48))
    assert token.count(".") == wrong.count(".") == 2
    async with visiting(browser, f"{served.url}/", expected=NOT_DEVELOPMENT) as visit:
        await connect(visit, "not.a.token")
        await expect(visit.page.locator("#token-result")).to_contain_text("Not a token of a gateway")
        await expect(visit.page.get_by_test_id("token-input")).to_have_value("")
        assert not [asked for asked in visit.requested if asked.startswith("ws:")]
        await connect(visit, wrong)
        await expect(visit.pane("acme").get_by_test_id("state")).to_have_text("closed: token_invalid")
        await visit.says("acme", "resume", "Stopped: token_invalid. Enter another token above.", "bad")
        await expect(visit.pane("acme").get_by_test_id("feed-row")).to_have_count(0)
        await assert_kept_to_itself(visit, wrong)
        await visit.page.get_by_test_id("token-input").fill(token_for(served, "--user", "eve"))
        await visit.page.get_by_test_id("token-submit").click()
        await expect(visit.page.get_by_test_id("token-result")).to_contain_text("of the same user and tenant")
        await visit.page.get_by_test_id("token-input").fill(token)
        await visit.page.get_by_test_id("token-submit").click()
        await visit.is_live("acme")
        await expect(visit.pane("acme").get_by_test_id("feed-row").first).to_be_attached()
        await expect(visit.page.locator("#console-link")).to_be_hidden()


async def test_a_typed_token_is_renewed_on_its_connection(browser: Browser, served: GatewayProcess) -> None:
    """The page asks for another one ahead of its end; with an administrator's it links to the console."""
    first = token_for(served, "--room", "tenant")
    scopes = ["--scope", "subscribe", "--scope", "admin"]
    second = token_for(served, "--room", "tenant", "--room", "circle:1", *scopes)
    async with visiting(browser, f"{served.url}/", expected=NOT_DEVELOPMENT) as visit:
        await visit.page.clock.install()
        await connect(visit, first)
        await visit.is_live("acme")
        await expect(visit.page.get_by_test_id("token-input")).to_be_hidden()
        await visit.page.clock.fast_forward(HOUR - 14_000)
        await expect(visit.page.get_by_test_id("token-result")).to_contain_text("expires soon")
        await expect(visit.page.locator("#console-link")).to_be_hidden()
        await visit.page.get_by_test_id("token-input").fill(second)
        await visit.page.get_by_test_id("token-submit").click()
        await expect(visit.page.get_by_test_id("token-input")).to_be_hidden()
        await expect(visit.page.locator("#console-link")).to_be_visible()
        await visit.pane("acme").get_by_test_id("join-room").fill("circle:1")  # which only the second one grants
        await visit.pane("acme").get_by_test_id("join-submit").click()
        await expect(visit.pane("acme").locator(".chip.on")).to_have_text(["tenant", "circle:1"])
        assert len([asked for asked in visit.requested if asked.startswith("ws:")]) == 1
        await assert_kept_to_itself(visit, second)
