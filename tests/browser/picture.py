"""Takes the README's picture, docs/widget.png: the pizza shop's demo page, a tool that has run and one that asks first.

    python -m tests.browser.picture

A real server with the demo model, on services of its own that are gone afterwards.
"""

import asyncio
import tempfile
from base64 import b64encode
from pathlib import Path

from playwright.async_api import Browser, expect

from server import embedded
from server.repositories.migrations import upgrade
from server.settings import LlmSettings, Settings
from tests.browser.chromium import find_chromium
from tests.browser.site import open_site
from tests.browser.window import open_browser, open_window

PICTURE = Path(__file__).parents[2] / "docs" / "widget.png"
# The README is read on a slow network too.
MAX_BYTES = 400_000
WIDTH, HEIGHT, SCALE = 1280, 800, 1.5
QUESTION = "Where is order 12345?"
BOOKING = "Book a table for two on Friday at 7 pm under the name Ana"


async def take(chromium: Path, settings: Settings) -> bytes:
    """The page at 1280 by 800 with an answer from a tool and a question before another runs, as a PNG."""
    async with (
        open_site(settings) as site,
        open_browser(chromium) as browser,
        open_window(browser, width=WIDTH, height=HEIGHT, scale=SCALE) as window,
    ):
        chat = await window.open(site.pizza)
        await chat.open()
        await chat.say(QUESTION)
        await expect(chat.text(await chat.answered())).to_contain_text("out for delivery")
        await chat.say(BOOKING)
        await expect(chat.fd("approve")).to_be_visible()
        await chat.still()
        await chat.page.mouse.move(0, 0)
        return await _small(browser, await chat.page.screenshot(animations="disabled"))


async def _small(browser: Browser, picture: bytes) -> bytes:
    """The same with as many levels a colour as fit: PNG keeps every step of the page's gradients, which nobody sees."""
    page = await browser.new_page(viewport={"width": round(WIDTH * SCALE), "height": round(HEIGHT * SCALE)})
    for levels in (64, 32):
        steps = " ".join(f"{step / (levels - 1):.4f}" for step in range(levels))
        channels = "".join(f'<feFunc{each} type="discrete" tableValues="{steps}"/>' for each in "RGB")
        await page.set_content(
            '<body style="margin: 0"><svg style="position: absolute" width="0" height="0">'
            f'<filter id="steps" color-interpolation-filters="sRGB"><feComponentTransfer>{channels}'
            '</feComponentTransfer></filter></svg><img style="display: block; filter: url(#steps)" '
            f'src="data:image/png;base64,{b64encode(picture).decode()}"></body>'
        )
        small = await page.screenshot()
        if len(small) <= MAX_BYTES:
            return small
    raise RuntimeError(f"the picture has {len(small):,} bytes, more than {MAX_BYTES:,}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, embedded.services(Path(folder), durable=False) as services:
        upgrade(services.database_url)
        settings = Settings(
            database_url=services.database_url,
            redis_url=services.redis_url,
            secret_keys=("0123456789abcdef0123456789abcdef",),
            llm=LlmSettings(provider="demo"),
            demo=True,
        )
        picture = asyncio.run(take(find_chromium(), settings))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(picture)
    print(f"{PICTURE}: {len(picture):,} bytes")


if __name__ == "__main__":
    main()
