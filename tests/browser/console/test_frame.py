"""What stands around every page of the console: navigation, theme, network, addresses, its own files."""

import re

import pytest
from playwright.async_api import Browser, expect

from server.repositories.operators import Operator
from tests.browser.console.support import Tab, open_console, open_tab
from tests.browser.console.variants import VARIANTS, Variant
from tests.flows.support import Desk
from tests.staffing import hire


async def _staff(desk: Desk, role: str) -> Operator:
    shop = await desk.shop()
    return await hire(desk.pool, desk.keyring, role=role, client_id=None if role == "owner" else shop.id)


@pytest.mark.parametrize(
    ("role", "sees"),
    [
        ("operator", ["inbox"]),
        ("admin", ["inbox", "clients", "usage", "staff"]),
        ("owner", ["inbox", "clients", "usage", "operations", "staff"]),
    ],
)
async def test_each_role_sees_its_own(browser: Browser, desk: Desk, role: str, sees: list[str]) -> None:
    """The navigation has what the role may, and the address of another page says what it takes."""
    async with open_console(browser, desk, await _staff(desk, role), path="/nowhere") as console:
        entries = await console.page.locator('[data-fd^="nav-"]').evaluate_all("all => all.map(e => e.dataset.fd)")
        assert set(sees) <= {each.removeprefix("nav-") for each in entries}
        if role == "operator":
            assert entries == ["nav-inbox"]
        for area in sees[1:]:
            await expect(console.fd(f"nav-{area}")).to_be_visible()
        await console.goto("/operations")
        hidden = console.fd("not-allowed")
        await expect(hidden).to_have_count(0 if role == "owner" else 1)


async def test_the_start_page_is_the_inbox(console: Tab) -> None:
    """And the way back leads out of the console, not round in it."""
    await console.page.wait_for_url(re.compile("/admin/inbox$"))
    await expect(console.fd("nav-inbox")).to_have_attribute("aria-current", "page")


async def test_an_address_that_nothing_is_at(console: Tab) -> None:
    """It is told, and leads to the start page without loading the console anew."""
    await console.goto("/clients/1/2/3/4")
    await expect(console.fd("not-found")).to_be_visible()
    assert await console.page.title() == "Page not found · Frontdesk"
    await console.page.evaluate("document.body.dataset.mark = 'same'")
    await console.fd("not-found").get_by_role("link").click()
    await console.page.wait_for_url(re.compile("/admin/inbox$"))
    assert await console.page.evaluate("document.body.dataset.mark") == "same"
    await console.page.go_back()
    await expect(console.fd("not-found")).to_be_visible()


async def test_the_theme_is_kept(console: Tab) -> None:
    """It is chosen in the menu, stays over a reload, and is painted at once."""
    await console.goto("/nowhere")
    light = await _background(console)
    await console.fd("account").click()
    await console.page.get_by_role("menuitemradio", name="Dark").click()
    dark = await _background(console)
    assert light != dark
    await console.page.reload()
    await expect(console.fd("frame")).to_be_visible()
    assert await _background(console) == dark
    await console.page.emulate_media(color_scheme="dark")
    await console.fd("account").click()
    await console.page.get_by_role("menuitemradio", name="Light").click()
    assert await _background(console) == light


async def _background(tab: Tab) -> str:
    color: str = await tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return color


async def test_a_lost_network_is_told(console: Tab) -> None:
    """The banner comes by itself, and goes when the server is reached again."""
    console.window.expect(r"ERR_INTERNET_DISCONNECTED|WebSocket connection|ERR_")
    await console.goto("/nowhere")
    await console.window.context.set_offline(True)
    await expect(console.fd("offline")).to_be_visible()
    await console.window.context.set_offline(False)
    await expect(console.fd("offline")).to_have_count(0)


async def test_a_read_that_failed_is_made_again_when_the_network_is_back(browser: Browser, desk: Desk) -> None:
    """A list that could not be read says so, and fills by itself."""
    shop = await desk.shop("bobs")
    async with open_console(browser, desk, path="/nowhere") as console:
        console.window.expect(r"ERR_|WebSocket connection")
        await console.page.route("**/api/v1/admin/clients*", lambda route: route.abort())
        await console.page.route("**/healthz", lambda route: route.abort())
        await console.fd("nav-clients").click()
        await expect(console.fd("error")).to_contain_text("cannot be reached")
        await expect(console.fd("offline")).to_be_visible()
        await console.page.unroute_all()
        await expect(console.page.locator("main")).to_contain_text(shop.client.name)
        await expect(console.fd("offline")).to_have_count(0)


async def test_a_page_that_does_not_load(console: Tab) -> None:
    """After an update a page's file may be gone: it is told, and loading anew helps."""
    console.window.expect("ERR_FAILED|did not load")
    await console.goto("/nowhere")
    await console.page.route("**/admin/assets/*.js", lambda route: route.abort())
    await console.fd("nav-clients").click()
    await expect(console.fd("not-loaded")).to_be_visible()
    await console.page.unroute_all()
    await console.fd("not-loaded").get_by_role("button").click()
    await expect(console.fd("page")).to_be_visible()


async def test_by_keyboard_alone(console: Tab) -> None:
    """The first Tab leads past the navigation; `g c` goes to the clients, whose title then has the focus."""
    await console.goto("/nowhere")
    await console.page.keyboard.press("Tab")
    await expect(console.page.get_by_role("link", name="Skip to the page")).to_be_focused()
    await console.page.keyboard.press("Enter")
    await expect(console.page.locator("#main")).to_be_focused()
    await console.page.keyboard.press("g")
    await console.page.keyboard.press("c")
    await console.page.wait_for_url(re.compile("/admin/clients$"))
    await expect(console.page.get_by_role("heading", level=1)).to_be_focused()
    await console.page.keyboard.press("?")
    await expect(console.fd("help")).to_contain_text("Go to Clients")


async def test_on_a_phone_the_navigation_is_behind_a_button(browser: Browser, desk: Desk) -> None:
    """It closes by itself after going somewhere."""
    async with open_console(browser, desk, path="/nowhere", width=390, height=844, phone=True) as console:
        await expect(console.fd("side")).to_have_count(0)
        await console.fd("open-navigation").click()
        await console.fd("drawer").locator('[data-fd="nav-clients"]').click()
        await console.page.wait_for_url(re.compile("/admin/clients$"))
        await expect(console.fd("drawer")).to_have_count(0)


async def test_changing_the_password(browser: Browser, desk: Desk) -> None:
    """Two different new ones are refused here, a wrong current one by the server; the new one lets in."""
    olga = await hire(desk.pool, desk.keyring)
    new = "another good password"
    async with open_console(browser, desk, olga, path="/nowhere") as console:
        console.window.expect(r"status of (401|403|422) ")
        await console.fd("account").click()
        await console.page.get_by_role("menuitem", name="Change password").click()
        await console.fd("password-current").fill("not my password")
        await console.fd("password-new").fill(new)
        await console.fd("password-again").fill("another bad password")
        await console.fd("password-save").click()
        await expect(console.fd("field-error")).to_have_text("Is not the same as above")
        await console.fd("password-again").fill(new)
        await console.fd("password-save").click()
        dialog = console.fd("change-password")
        await expect(dialog.locator('[data-fd="field-error"], [data-fd="error"]')).to_have_count(1)
        await console.fd("password-current").fill("correct horse battery")
        await console.fd("password-save").click()
        await expect(console.fd("toast")).to_contain_text("changed")
    async with open_tab(browser, desk) as tab:
        await tab.goto()
        await tab.sign_in(olga, new)


async def test_the_first_load_is_small_and_all_our_own(browser: Browser, desk: Desk) -> None:
    """At most 150 KB of scripts as they travel, all from this server, and nothing is loaded twice."""
    async with open_tab(browser, desk) as tab:
        sizes: dict[str, int] = {}

        async def weigh() -> None:
            entries = await tab.page.evaluate(
                "() => performance.getEntriesByType('resource').map(e => [e.name, e.encodedBodySize])"
            )
            sizes.update(entries)

        await tab.goto("/inbox")
        await tab.sign_in(await hire(desk.pool, desk.keyring))
        await expect(tab.fd("inbox")).to_be_visible()
        await weigh()
        scripts = {name: size for name, size in sizes.items() if name.endswith(".js")}
        assert 0 < sum(scripts.values()) <= 150 * 1024, scripts
        assert all(url.startswith(desk.url) for url in tab.window.requests)
        loaded = [url for url in tab.window.requests if "/admin/assets/" in url]
        assert len(loaded) == len(set(loaded))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda each: each.name)
async def test_the_frame_looks_right(browser: Browser, desk: Desk, variant: Variant) -> None:
    """Signing in, its refusals, the link, the frame, its menus and banners: readable, within the window, named."""
    faults: dict[str, list[str]] = {}
    olga = await hire(desk.pool, desk.keyring)
    options = {"width": variant.width, "height": variant.height, "color_scheme": variant.scheme, "phone": variant.phone}
    async with open_tab(browser, desk, **options) as tab:
        tab.window.expect("status of|ERR_|WebSocket")

        async def picture(name: str) -> None:
            if variant.rtl:
                await tab.page.evaluate("document.documentElement.dir = 'rtl'")
            await tab.picture(f"{name}-{variant.name}", full=False)
            if found := await tab.faults():
                faults[name] = found

        await tab.goto()
        await picture("sign-in")
        for _ in range(6):
            async with tab.page.expect_response("**/api/v1/admin/login"):
                await tab.try_to_sign_in("ann@example.com", "wrong password")
            await expect(tab.fd("password")).to_have_value("")
        await expect(tab.fd("locked")).to_be_visible()
        await picture("sign-in-locked")
        await tab.goto("/link#ol_0123456789")
        await picture("sign-in-link")
        await tab.fd("use-link").click()
        await expect(tab.fd("to-password")).to_be_visible()
        await picture("sign-in-link-gone")
        await tab.goto("/nowhere")
        await tab.sign_in(olga)
        await picture("frame-not-found")
        await tab.fd("account").click()
        await picture("frame-account")
        await tab.page.get_by_role("menuitem", name="Change password").click()
        await picture("frame-password")
        await tab.page.keyboard.press("Escape")
        await tab.page.keyboard.press("?")
        await picture("frame-shortcuts")
        await tab.page.keyboard.press("Escape")
        if variant.width < 640:
            await tab.fd("open-navigation").click()
            await picture("frame-navigation")
            await tab.page.keyboard.press("Escape")
        await tab.window.context.set_offline(True)
        await expect(tab.fd("offline")).to_be_visible()
        await picture("frame-offline")
        await tab.window.context.set_offline(False)
        await expect(tab.fd("offline")).to_have_count(0)
        await desk.rows("update operator_sessions set revoked_at = now()")
        await tab.page.reload()
        await expect(tab.fd("sign-in-page")).to_be_visible()
        await tab.sign_in(olga)
        await desk.rows("update operator_sessions set revoked_at = now()")
        await expect(tab.fd("sign-in-again")).to_be_visible()
        await picture("sign-in-again")
    assert not faults, faults
