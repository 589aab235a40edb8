"""The API's own page in a browser."""

from playwright.async_api import expect

from tests.browser.site import Site
from tests.browser.window import Window


async def test_the_api_page_shows_every_route(site: Site, window: Window) -> None:
    """/docs renders the description with Swagger UI from our own files: no error, no policy broken, no foreign host."""
    page = await window.context.new_page()
    await page.goto(f"{site.url}/docs")
    await expect(page.get_by_role("heading", name="Frontdesk")).to_be_visible()
    operations = page.locator(".opblock")
    description = await (await window.context.request.get(f"{site.url}/openapi.json")).json()
    await expect(operations).to_have_count(sum(len(methods) for methods in description["paths"].values()))
    chat = page.locator(".opblock", has_text="/api/v1/chat").first
    await chat.click()
    await expect(chat.get_by_text("Idempotency-Key").first).to_be_visible()
    assert [url for url in window.requests if not url.startswith((site.url, "data:"))] == []


async def test_the_demo_page_leads_to_both_shops(site: Site, window: Window) -> None:
    """/ shows the two shops, and each link opens a shop with its widget."""
    page = await window.context.new_page()
    for name in ("Bob's Pizza Shop", "Jane's Bakery"):
        await page.goto(site.url)
        await page.get_by_role("link", name=name).click()
        await expect(page.locator('frontdesk-widget [data-fd="launcher"]')).to_be_visible()
