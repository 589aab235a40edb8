"""Staff in the console: who may sign in, what they may, how they get in again, and the log of all changes."""

import pytest
from playwright.async_api import Browser, Locator, expect

from server.repositories.operators import Operator
from tests.browser.console.support import Tab, open_console, open_tab
from tests.browser.console.variants import VARIANTS, Stop, Variant, walk
from tests.flows.support import Desk
from tests.staffing import hire


def rows(tab: Tab, label: str = "Operators") -> Locator:
    return tab.page.locator(f'table[aria-label="{label}"] tbody tr')


def row(tab: Tab, operator: Operator) -> Locator:
    return tab.page.locator(f'tr[data-key="{operator.id}"]')


def field(tab: Tab, name: str) -> Locator:
    """An input by the name that the API has for it."""
    return tab.page.locator(f'dialog [name="{name}"]:not([type=radio])')


async def pick(tab: Tab, hook: str, label: str) -> None:
    """One of a few radio buttons."""
    await tab.fd(hook).locator("label", has_text=label).locator("input").check()


async def act(tab: Tab, operator: Operator, what: str) -> None:
    """An entry of the menu at the operator's row."""
    await row(tab, operator).locator('[data-fd="operator-menu"]').click()
    await row(tab, operator).get_by_role("menuitem", name=what).click()


async def secret(tab: Tab) -> str:
    """What is shown once; the dialog is closed as kept."""
    text = await tab.fd("secret").locator("code").inner_text()
    await tab.fd("once-kept").check()
    await tab.fd("once-done").click()
    await expect(tab.fd("once")).to_have_count(0)
    return text


async def test_somebody_more_signs_in_with_the_password(browser: Browser, console: Tab, desk: Desk) -> None:
    """An operator of one client: made in the dialog, listed first, and the password that was shown lets them in."""
    shop = await desk.shop("pizza")
    await console.goto("/staff")
    await expect(rows(console)).to_have_count(1)
    await console.fd("new-operator").click()
    await field(console, "name").fill("Ana")
    await field(console, "email").fill("ana@desk.example")
    await console.fd("client").select_option(label="pizza")
    await console.fd("create-operator").click()
    password = await secret(console)
    await expect(rows(console)).to_have_count(2)
    await expect(rows(console).first).to_contain_text("ana@desk.example")
    await expect(rows(console).first).to_contain_text("pizza")
    assert await desk.rows("select role, client_id from operators where email = 'ana@desk.example'") == [
        ("operator", shop.id)
    ]
    async with open_tab(browser, desk) as tab:
        await tab.goto("/")
        await tab.try_to_sign_in("ana@desk.example", password)
        await tab.fd("frame").wait_for()
        await expect(tab.page.locator('a[href="/admin/staff"]')).to_have_count(0)


async def test_somebody_more_signs_in_with_the_link(browser: Browser, console: Tab, desk: Desk) -> None:
    """Instead of the password: the link is shown once, and signs in once."""
    await console.goto("/staff")
    await console.fd("new-operator").click()
    await field(console, "name").fill("Ben")
    await field(console, "email").fill("ben@desk.example")
    await pick(console, "role", "Admin")
    await pick(console, "way", "A login link")
    await console.fd("create-operator").click()
    link = await secret(console)
    assert link.startswith(f"{desk.url}/admin/link#")
    async with open_tab(browser, desk) as tab:
        await tab.page.goto(link)
        await tab.fd("use-link").click()
        await tab.fd("frame").wait_for()
        await expect(tab.page.locator('a[href="/admin/staff"]')).to_have_count(1)


async def test_what_is_wrong_with_somebody_new(console: Tab, desk: Desk) -> None:
    """At its field; an operator needs a client, an address is taken once."""
    console.window.expect("status of 4(22|09)")
    await desk.shop("pizza")
    taken = await hire(desk.pool, desk.keyring)
    await console.goto("/staff")
    await console.fd("new-operator").click()
    await field(console, "name").fill("Ana")
    await field(console, "email").fill("nobody")
    await console.fd("client").select_option(label="pizza")
    await console.fd("create-operator").click()
    await expect(console.fd("field-error")).to_be_visible()
    await field(console, "email").fill(taken.email)
    await console.fd("create-operator").click()
    await expect(console.fd("field-error")).to_contain_text("exists")
    await expect(field(console, "name")).to_have_value("Ana")


async def test_role_client_and_status_change(browser: Browser, console: Tab, desk: Desk) -> None:
    """An operator becomes an admin of all clients; then disabled, whose open console is signed out."""
    shop = await desk.shop("pizza")
    ana = await hire(desk.pool, desk.keyring, role="operator", client_id=shop.id, name="Ana")
    await console.goto("/staff")
    await act(console, ana, "Edit")
    await pick(console, "role", "Admin")
    await console.fd("client").select_option(label="All clients")
    await console.fd("save-operator").click()
    await expect(row(console, ana)).to_contain_text("Admin")
    await expect(row(console, ana)).to_contain_text("All clients")
    assert await desk.rows("select role, client_id from operators where id = %s", ana.id) == [("admin", None)]
    async with open_console(browser, desk, ana) as tab:
        await act(console, ana, "Disable")
        await console.fd("confirm-yes").click()
        await expect(row(console, ana)).to_contain_text("Disabled")
        tab.window.expect("40[13]|WebSocket|net::ERR")
        await tab.page.reload()
        await expect(tab.fd("sign-in-page")).to_be_visible()
    await act(console, ana, "Let in again")
    await expect(row(console, ana)).to_contain_text("Active")


async def test_ones_own_role_is_for_somebody_else(console: Tab, desk: Desk) -> None:
    """One's own name may be changed, the rest not."""
    [(me,)] = await desk.rows("select id from operators")
    await console.goto("/staff")
    await console.page.locator(f'tr[data-key="{me}"] [data-fd="operator-menu"]').click()
    menu = console.page.locator(f'tr[data-key="{me}"]')
    await expect(menu.get_by_role("menuitem", name="Disable")).to_have_count(0)
    await menu.get_by_role("menuitem", name="Edit").click()
    await expect(console.fd("role").locator("input").first).to_be_disabled()
    await field(console, "name").fill("Olga Berg")
    await console.fd("save-operator").click()
    await expect(rows(console)).to_contain_text("Olga Berg")


async def test_another_password_and_a_link(browser: Browser, console: Tab, desk: Desk) -> None:
    """Asked before; what is shown once lets them in, the old password does not."""
    ben = await hire(desk.pool, desk.keyring, role="admin", name="Ben")
    await console.goto("/staff")
    await act(console, ben, "Reset password")
    await console.fd("confirm-yes").click()
    password = await secret(console)
    async with open_tab(browser, desk) as tab:
        tab.window.expect("status of 401")
        await tab.goto("/")
        await tab.try_to_sign_in(ben.email, "correct horse battery")
        await expect(tab.fd("sign-in-error")).to_be_visible()
        await tab.sign_in(ben, password)
    await act(console, ben, "Login link")
    assert (await secret(console)).startswith(f"{desk.url}/admin/link#")


async def test_a_dialog_reads_as_any_other_wherever_it_was_opened(console: Tab, desk: Desk) -> None:
    """The menu stands at the end of a table's row; the dialog that it opens does not read from the end."""
    ben = await hire(desk.pool, desk.keyring, role="admin", name="Ben")
    await console.goto("/staff")
    await act(console, ben, "Edit")
    await expect(console.fd("edit-operator").locator("label").first).to_have_css("text-align", "start")


async def test_two_people_at_the_same_operator(browser: Browser, console: Tab, desk: Desk) -> None:
    """The second is told; mine on top of theirs keeps both changes."""
    console.window.expect("status of 409")
    ben = await hire(desk.pool, desk.keyring, role="admin", name="Ben")
    other = await hire(desk.pool, desk.keyring, name="Otto")
    await console.goto("/staff")
    await act(console, ben, "Edit")
    async with open_console(browser, desk, other, path="/staff") as tab:
        await act(tab, ben, "Edit")
        await field(tab, "name").fill("Benjamin")
        await tab.fd("save-operator").click()
        await expect(row(tab, ben)).to_contain_text("Benjamin")
    await console.fd("edit-operator").locator("label", has_text="Disabled").locator("input").check()
    await console.fd("save-operator").click()
    await expect(console.fd("clash")).to_contain_text("Otto")
    await console.fd("clash-mine").click()
    await console.fd("save-operator").click()
    await expect(console.fd("edit-operator")).to_have_count(0)
    await expect(row(console, ben)).to_contain_text("Disabled")
    assert await desk.rows("select name, status from operators where id = %s", ben.id) == [("Benjamin", "disabled")]


async def test_an_admin_of_one_client_makes_its_staff(browser: Browser, desk: Desk) -> None:
    """No role of an owner, no choice of a client; owners are not in sight."""
    shop = await desk.shop("pizza")
    admin = await hire(desk.pool, desk.keyring, role="admin", client_id=shop.id)
    await hire(desk.pool, desk.keyring)
    async with open_console(browser, desk, admin, path="/staff") as tab:
        await expect(rows(tab)).to_have_count(1)
        await tab.fd("new-operator").click()
        await expect(tab.fd("role").locator("input")).to_have_count(2)
        await expect(tab.fd("client")).to_have_count(0)
        await field(tab, "name").fill("Ana")
        await field(tab, "email").fill("ana@desk.example")
        await tab.fd("create-operator").click()
        await secret(tab)
        await expect(rows(tab)).to_have_count(2)
    assert await desk.rows("select client_id from operators where email = 'ana@desk.example'") == [(shop.id,)]


async def test_the_log_is_filtered(console: Tab, desk: Desk) -> None:
    """By a click on an action, by operator and client, all of it in the address; details unfold."""
    shop = await desk.shop("pizza")
    await console.goto(f"/clients/{shop.id}")
    await console.fd("suspend").click()
    await console.fd("confirm-yes").click()
    await expect(console.fd("activate")).to_be_visible()
    await console.goto("/staff/audit")
    log = rows(console, "Audit log")
    await expect(log.filter(has_text="client.suspend")).to_have_count(1)
    all_ = await log.count()
    assert all_ > 1
    await log.filter(has_text="client.suspend").locator(".staff-what").click()
    await expect(log).to_have_count(1)
    await expect(log).to_contain_text("Olga")
    await expect(log).to_contain_text("pizza")
    assert console.path.startswith("/staff/audit?action=client.suspend")
    await console.fd("action").fill("")
    await expect(log).to_have_count(all_)
    await console.fd("client").select_option(label="pizza")
    await expect(log).to_have_count(1)
    await console.fd("action").fill("no.such.action")
    await expect(console.fd("empty")).to_be_visible()


async def test_the_log_goes_on_page_by_page(console: Tab, desk: Desk) -> None:
    """50 rows and a button for more, until there are none."""
    await desk.rows(
        "insert into audit_log (action, target_type, target_id, details) "
        "select 'test.made', 'test', n::text, '{}' from generate_series(1, 120) n"
    )
    await console.goto("/staff/audit?action=test.made")
    log = rows(console, "Audit log")
    await expect(log).to_have_count(50)
    await expect(log.first).to_contain_text("120")
    await console.fd("more").click()
    await expect(log).to_have_count(100)
    await console.fd("more").click()
    await expect(log).to_have_count(120)
    await expect(console.fd("more")).to_have_count(0)
    await expect(log.last).to_contain_text("Command line")


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
async def test_pictures(browser: Browser, desk: Desk, variant: Variant) -> None:
    """Operators, the dialogs, the log: readable and within the window."""
    pizza = await desk.shop("pizza")
    await desk.rows("update clients set name = 'Bob''s Pizza' where id = %s", pizza.id)
    ana = await hire(desk.pool, desk.keyring, role="operator", client_id=pizza.id, name="Ana Lima")
    await hire(desk.pool, desk.keyring, role="admin", name="Yūki Tanaka-Featherstonehaugh the Younger")
    off = await hire(desk.pool, desk.keyring, role="admin", client_id=pizza.id, name="محمد علي")
    await desk.rows("update operators set status = 'disabled' where id = %s", off.id)
    await desk.rows(
        "insert into audit_log (client_id, operator_id, action, target_type, target_id, details) values "
        "(%s, %s, 'client.edit', 'client', '1', '{\"fields\": [\"name\", \"widget.colors\"], \"version\": 3}'), "
        "(null, null, 'operator.create', 'operator', '3', '{\"email\": \"ana@desk.example\"}')",
        pizza.id,
        ana.id,
    )

    async def table(tab: Tab) -> None:
        await expect(rows(tab)).to_have_count(4)

    async def adding(tab: Tab) -> None:
        await tab.fd("new-operator").click()
        await tab.fd("create-operator").wait_for()
        await expect(tab.fd("client").locator("option")).to_have_count(2)

    async def editing(tab: Tab) -> None:
        await act(tab, ana, "Edit")
        await tab.fd("save-operator").wait_for()

    async def log(tab: Tab) -> None:
        await rows(tab, "Audit log").first.wait_for()
        await tab.page.locator(".staff-details summary").first.click()

    owner = await hire(desk.pool, desk.keyring)
    stops = {
        "staff": Stop("/staff", table),
        "staff-new": Stop("/staff", adding),
        "staff-edit": Stop("/staff", editing),
        "staff-audit": Stop("/staff/audit", log),
    }
    await walk(browser, desk, owner, variant, stops)
