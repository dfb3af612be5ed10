"""The console: signing in, tokens, configuration and audit."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, expect

from tests.e2e.console import HOSTILE, PLATFORM, UNNAMED, administrator, console
from tests.e2e.visit import visiting
from tests.support.forge import header, segment
from tests.support.process import GatewayProcess
from tests.support.tokens import token

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    async with GatewayProcess(tmp_path_factory.mktemp("console"), max_connections_per_user=7) as served:
        yield served


# ---- signing in


@pytest.mark.parametrize(
    ("bearer", "message"),
    [("not.a.token", "token_invalid"), (token(), "scope_missing"), (token(scope=""), "scope_missing")],
    ids=["no token", "publisher", "without scope"],
)
async def test_the_refusal_of_others_than_administrators_names_its_reason(
    browser: Browser, served: GatewayProcess, bearer: str, message: str
) -> None:
    async with visiting(browser, f"{served.url}/console", expected=UNNAMED) as visit:
        await expect(visit.page.get_by_test_id("token")).to_be_focused()
        await visit.page.get_by_test_id("token").fill(bearer)
        await visit.page.get_by_test_id("sign-in-submit").click()
        await expect(visit.page.get_by_test_id("sign-in-result")).to_contain_text(message)
        await expect(visit.page.get_by_test_id("token")).to_have_value("")
        await expect(visit.page.locator("#views")).to_be_hidden()


async def test_the_token_is_kept_in_memory_only(browser: Browser, served: GatewayProcess) -> None:
    bearer = administrator()
    async with console(browser, served, bearer) as visit:
        for view in ("tokens", "configuration", "audit"):
            await visit.open(view)
        everything = await visit.page.evaluate(
            "JSON.stringify([document.documentElement.outerHTML, location.href, document.cookie, {...localStorage},"
            " {...sessionStorage}, [...document.querySelectorAll('input')].map((field) => field.value)])"
        )
        for part in bearer.split("."):
            assert part not in everything
            assert not [asked for asked in visit.requested if part in asked]
        await visit.page.reload()
        await expect(visit.page.get_by_test_id("token")).to_have_value("")


async def test_an_operator_chooses_the_tenant(browser: Browser, served: GatewayProcess) -> None:
    """An administrator of one tenant is not offered others."""
    async with served.api(administrator(PLATFORM)) as api:
        await api.post("/admin/tokens/revoke", json={"user_id": "eve", "tenant": "globex"})
    async with console(browser, served) as visit:
        await expect(visit.page.locator("#holder")).to_have_text("root of acme")
        await expect(visit.page.get_by_test_id("tenant")).to_be_hidden()
    async with console(browser, served, administrator(PLATFORM), view="audit?tenant=globex") as visit:
        await expect(visit.page.get_by_test_id("tenant")).to_have_value("globex")
        await expect(visit.page.get_by_test_id("act").first).to_contain_text("user.revoked")
        await visit.page.get_by_test_id("tenant").fill("initech")
        await visit.page.get_by_test_id("tenant").press("Enter")
        await expect(visit.page.get_by_test_id("audit-result")).to_contain_text("No acts yet")


async def test_the_views_are_reached_by_keyboard_and_by_the_address(browser: Browser, served: GatewayProcess) -> None:
    """The heading of a view gets the focus, and the way back is the browser's."""
    async with console(browser, served, view="audit") as visit:
        await expect(visit.view("audit")).to_be_visible()
        await visit.page.locator('#views a[href="#tokens"]').focus()
        await visit.page.keyboard.press("Enter")
        await expect(visit.view("tokens").locator("h2")).to_be_focused()
        await expect(visit.view("audit")).to_be_hidden()
        await visit.page.go_back()
        await expect(visit.view("audit").locator("h2")).to_be_focused()


# ---- tokens


async def test_a_pasted_token_is_explained(browser: Browser, served: GatewayProcess) -> None:
    async with console(browser, served, view="tokens") as visit:
        view = visit.view("tokens")
        text = token("ada", rooms=("circle:7",), scope="subscribe")
        await view.get_by_test_id("inspect-token").fill(f"Bearer {text}")
        await view.get_by_test_id("inspect-submit").click()
        await expect(view.get_by_test_id("inspect-result")).to_have_text("Accepted.")
        await expect(view.get_by_test_id("rights")).to_contain_text("user:ada, circle:7")
        await expect(view.get_by_test_id("rights").get_by_role("link", name="ada")).to_have_attribute(
            "href", "#find?q=ada&tenant=acme"
        )
        await expect(view.get_by_test_id("inspect-token")).to_have_value("")
        assert text.rpartition(".")[2] not in await visit.page.content()

        await view.get_by_test_id("inspect-token").fill(text[:-6] + "AAAAAA")
        await view.get_by_test_id("inspect-submit").click()
        await expect(view.get_by_test_id("inspect-result")).to_contain_text("Refused: signature")
        await expect(view.get_by_test_id("claims")).to_contain_text('"acme"')


async def test_hostile_claims_are_text(browser: Browser, served: GatewayProcess) -> None:
    unsigned = f"{segment(header())}.{segment({'sub': HOSTILE, HOSTILE: HOSTILE})}.AAAA"
    async with console(browser, served, view="tokens") as visit:
        view = visit.view("tokens")
        await view.get_by_test_id("inspect-token").fill(unsigned)
        await view.get_by_test_id("inspect-submit").click()
        await expect(view.get_by_test_id("claims")).to_contain_text("<img src=x")
        await expect(view.locator("img, dd b")).to_have_count(0)


async def test_a_token_is_issued_and_not_shown(browser: Browser, served: GatewayProcess) -> None:
    script = "window.copies = []; Object.defineProperty(navigator, 'clipboard', "
    script += "{ value: { writeText: async (text) => copies.push(text) } });"
    async with console(browser, served, view="tokens", script=script, expected=UNNAMED) as visit:
        view = visit.view("tokens")
        await view.get_by_test_id("issue-user").fill("bob")
        await view.get_by_test_id("issue-rooms").fill("circle:7, project:*")
        await view.get_by_test_id("issue-curl").locator("summary").click()
        await expect(view.get_by_test_id("issue-curl-text")).to_contain_text(
            '"user_id":"bob","rooms":["circle:7","project:*"],"scope":"subscribe"'
        )
        await view.get_by_test_id("issue-submit").click()
        await expect(view.get_by_test_id("issue-result")).to_contain_text("Issued.")
        await view.get_by_test_id("issue-copy").click()
        (issued,) = await visit.page.evaluate("copies")
        assert issued not in await visit.page.content()
        async with served.api(issued) as api:
            assert (await api.get("/rooms/circle:7/presence")).status_code == 200

        await view.get_by_test_id("issue-platform").check()
        await view.get_by_test_id("issue-submit").click()
        await expect(view.get_by_test_id("issue-result")).to_contain_text("scope_missing")


# ---- configuration


async def test_the_configuration_shows_what_differs(browser: Browser, served: GatewayProcess) -> None:
    async with console(browser, served, administrator(PLATFORM), view="configuration") as visit:
        view = visit.view("configuration")
        await expect(view.get_by_test_id("advice")).to_contain_text("there is no limit")
        names = view.get_by_test_id("setting").locator("code")
        await expect(names.filter(has_text="GATEWAY_MAX_CONNECTIONS_PER_USER")).to_have_count(1)
        await expect(names.filter(has_text="GATEWAY_ROOM_KINDS")).to_have_count(0)
        secret = view.get_by_test_id("setting").filter(has_text="GATEWAY_JWT_SECRET")
        await expect(secret).to_contain_text("set (secret)")
        await view.get_by_test_id("only-changed").uncheck()
        await view.get_by_test_id("setting-filter").fill("room_kinds")
        await expect(names).to_have_text(["GATEWAY_ROOM_KINDS"])


async def test_the_configuration_is_not_for_one_tenant(browser: Browser, served: GatewayProcess) -> None:
    async with console(browser, served, view="configuration") as visit:
        await expect(visit.page.get_by_test_id("configuration-result")).to_contain_text("scope platform")


# ---- audit


async def test_acts_are_listed_with_links(browser: Browser, served: GatewayProcess) -> None:
    async with served.api(administrator()) as api:
        jti = (await api.post("/admin/tokens", json={"user_id": "carol", "rooms": ["circle:7"]})).json()["jti"]
        for number in range(3):
            await api.post("/admin/tokens/revoke", json={"user_id": f"mallory{number}"})
    async with console(browser, served, view="audit") as visit:
        acts = visit.view("audit").get_by_test_id("act")
        await expect(acts.nth(0)).to_contain_text("mallory2")
        issued = acts.filter(has_text=jti)
        await expect(issued.locator("code")).to_have_text("token.issued")
        await expect(issued.get_by_role("link", name="carol")).to_have_attribute("href", re.compile("#find.q=carol"))
        await expect(issued.get_by_role("link", name="circle:7")).to_have_attribute("href", "#find?q=circle%3A7")
        before = await acts.count()
        async with served.api(administrator()) as api:
            assert (await api.post("/admin/tokens/revoke", json={"jti": "of-later"})).status_code == 200
        await visit.page.get_by_test_id("audit-refresh").click()
        await expect(acts).to_have_count(before + 1)

        async def hostile(route: Route) -> None:
            """An act about a name that no gateway takes."""
            page = await (await route.fetch()).json()
            page["acts"][0]["target"] = {HOSTILE: HOSTILE, "jti": HOSTILE}
            await route.fulfill(json=page)

        await visit.page.route("**/admin/audit*", hostile)
        await visit.page.get_by_test_id("audit-refresh").click()
        await expect(acts.first).to_contain_text("<img src=x")


async def test_the_page_has_the_strict_policy(served: GatewayProcess) -> None:
    answers = [await served.get(path) for path in ("/console", "/")]
    policies = {answer.headers["content-security-policy"] for answer in answers}
    assert len(policies) == 1
    assert "script-src 'self'" in policies.pop()
