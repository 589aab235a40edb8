"""Signing in to the console, and what comes when a session ends, in a real browser."""

import re

from playwright.async_api import Browser, expect

from server.staff import Staff
from tests.browser.console.support import Tab, open_console, open_tab
from tests.flows.support import Desk
from tests.staffing import PASSWORD, hire


async def _end_sessions(desk: Desk) -> None:
    await desk.rows("update operator_sessions set revoked_at = now()")


async def test_a_password_lets_in(tab: Tab, desk: Desk) -> None:
    """A wrong one is told and stays, the right one shows the console; the cookie is out of a script's reach."""
    olga = await hire(desk.pool, desk.keyring)
    await tab.goto()
    await expect(tab.fd("email")).to_be_focused()
    tab.window.expect(r"status of 401 .*/admin/login")
    await tab.try_to_sign_in(olga.email, "wrong password")
    await expect(tab.fd("sign-in-error")).to_contain_text("e-mail address")
    await expect(tab.fd("password")).to_have_value("")
    await tab.sign_in(olga)
    await expect(tab.fd("account")).to_contain_text("Olga")
    (cookie,) = await tab.window.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert await tab.page.evaluate("document.cookie") == ""


async def test_a_lock_out_says_how_long(tab: Tab, desk: Desk) -> None:
    """After too many attempts the wait is counted down, and nothing can be sent meanwhile."""
    olga = await hire(desk.pool, desk.keyring)
    await tab.goto()
    tab.window.expect(r"status of (401|429) .*/admin/login")
    for _ in range(5):
        async with tab.page.expect_response("**/api/v1/admin/login"):
            await tab.try_to_sign_in(olga.email, "wrong password")
        await expect(tab.fd("password")).to_have_value("")
    await tab.try_to_sign_in(olga.email, PASSWORD)
    await expect(tab.fd("locked")).to_contain_text(re.compile(r"in 0:(30|2\d)\."))
    await tab.fd("password").fill(PASSWORD)
    await expect(tab.fd("sign-in-submit")).to_be_disabled()
    await expect(tab.fd("locked")).to_contain_text(re.compile(r"in 0:2[0-8]\."))


async def test_signing_in_leads_to_where_one_wanted(tab: Tab, desk: Desk) -> None:
    """The address that was asked for, query included, is shown after signing in."""
    await tab.goto("/nowhere/17?q=pizza")
    await tab.sign_in(await hire(desk.pool, desk.keyring))
    await expect(tab.fd("not-found")).to_be_visible()
    assert tab.path == "/nowhere/17?q=pizza"


async def test_an_expired_session_loses_nothing(browser: Browser, desk: Desk) -> None:
    """What was typed is still there after signing in again, and can be sent."""
    olga = await hire(desk.pool, desk.keyring)
    async with open_console(browser, desk, olga, path="/nowhere") as console:
        await console.fd("account").click()
        await console.page.get_by_role("menuitem", name="Change password").click()
        await console.fd("password-current").fill(PASSWORD)
        await console.fd("password-new").fill("another good password")
        await console.fd("password-again").fill("another good password")
        await _end_sessions(desk)
        console.window.expect(r"status of 401 ")
        # Not a click: the socket may have told it already, and then the sign-in stands above.
        await console.fd("password-save").dispatch_event("click")
        again = console.fd("sign-in-again")
        await expect(again).to_be_visible()
        await expect(console.fd("email")).to_have_value(olga.email)
        await expect(console.fd("password")).to_be_focused()
        await console.page.keyboard.press("Escape")
        await console.page.keyboard.press("Escape")
        await expect(again).to_be_visible()
        await console.fd("password").fill(PASSWORD)
        await console.fd("sign-in-submit").click()
        await expect(again).to_have_count(0)
        await expect(console.fd("password-new")).to_have_value("another good password")
        await console.fd("password-save").click()
        await expect(console.fd("toast")).to_contain_text("changed")
        assert console.path == "/nowhere"
    async with open_console(browser, desk) as other:
        await other.fd("frame").wait_for()


async def test_somebody_else_at_the_same_browser_sees_only_their_own(browser: Browser, desk: Desk) -> None:
    """Another person who signs in after an expired session gets a page made anew."""
    olga, ivan = await hire(desk.pool, desk.keyring), await hire(desk.pool, desk.keyring, name="Ivan")
    async with open_console(browser, desk, olga, path="/nowhere") as console:
        console.window.expect(r"status of 401 ")
        await console.page.evaluate("document.body.dataset.mark = 'old'")
        await _end_sessions(desk)
        await expect(console.fd("sign-in-again")).to_be_visible()
        async with console.page.expect_navigation():
            await console.try_to_sign_in(ivan.email, PASSWORD)
        await expect(console.fd("account")).to_contain_text("Ivan")
        assert await console.page.evaluate("document.body.dataset.mark ?? null") is None


async def test_another_tab_that_signed_in_anew(browser: Browser, desk: Desk) -> None:
    """The first tab's token is of yesterday's session: it gets today's by itself, and its change goes through."""
    olga = await hire(desk.pool, desk.keyring)
    async with open_console(browser, desk, olga, path="/nowhere") as first:
        first.window.expect(r"status of 403 ")
        second = Tab(await first.window.context.new_page(), desk, first.window)
        await second.goto("/link#" + await Staff(desk.pool, desk.keyring).login_link(olga.id))
        await second.fd("use-link").click()
        await second.fd("frame").wait_for()
        await first.fd("account").click()
        await first.page.get_by_role("menuitem", name="Change password").click()
        for field in ("password-new", "password-again"):
            await first.fd(field).fill("another good password")
        await first.fd("password-current").fill(PASSWORD)
        await first.fd("password-save").click()
        await expect(first.fd("toast")).to_contain_text("changed")


async def test_a_link_waits_for_a_click(tab: Tab, desk: Desk) -> None:
    """Opening its address uses nothing up; one click signs in, and its secret is gone from the address."""
    olga = await hire(desk.pool, desk.keyring)
    secret = await Staff(desk.pool, desk.keyring).login_link(olga.id)
    await tab.goto(f"/link#{secret}")
    await expect(tab.fd("use-link")).to_be_visible()
    await tab.page.reload()
    await tab.fd("use-link").click()
    await expect(tab.fd("account")).to_contain_text("Olga")
    await tab.page.wait_for_url(re.compile("/admin/inbox"))
    assert secret not in tab.page.url
    await tab.page.go_back()
    assert secret not in tab.page.url


async def test_a_used_link_says_so(tab: Tab, desk: Desk) -> None:
    """The second time it is told that it works no more, and the way to the password is shown."""
    olga = await hire(desk.pool, desk.keyring)
    staff = Staff(desk.pool, desk.keyring)
    secret = await staff.login_link(olga.id)
    await staff.sign_in_by_link(secret, address="192.0.2.1")
    tab.window.expect(r"status of 401 .*/admin/link")
    await tab.goto(f"/link#{secret}")
    await tab.fd("use-link").click()
    await expect(tab.fd("link-page")).to_contain_text("does not work any more")
    await tab.fd("to-password").click()
    await expect(tab.fd("sign-in-page")).to_be_visible()


async def test_an_empty_link_cannot_be_used(tab: Tab) -> None:
    """Where the address was cut there is nothing to click."""
    await tab.goto("/link")
    await expect(tab.fd("link-page")).to_contain_text("not copied whole")
    await expect(tab.fd("use-link")).to_have_count(0)


async def test_signing_out(console: Tab) -> None:
    """Ends at the sign-in page; the browser's way back shows nothing of what was there."""
    console.window.expect(r"status of 401 ")
    await console.fd("account").click()
    await console.page.get_by_role("menuitem", name="Sign out").click()
    await expect(console.fd("sign-in-page")).to_be_visible()
    await console.page.go_back()
    await expect(console.fd("frame")).to_have_count(0)
    assert await console.window.context.cookies() == []


async def test_no_console_without_a_server(browser: Browser, desk: Desk) -> None:
    """When the server cannot say who is signed in, that is told and can be tried again."""
    async with open_tab(browser, desk) as tab:
        tab.window.expect(r"ERR_FAILED|status of 401")
        await tab.page.route("**/api/v1/admin/me", lambda route: route.abort())
        await tab.page.goto(f"{desk.url}/admin/")
        await expect(tab.fd("unknown")).to_be_visible()
        await tab.page.unroute_all()
        await tab.fd("retry").click()
        await expect(tab.fd("sign-in-page")).to_be_visible()
