"""Ways to see a page of the console, and a walk through pages in one of them with a picture of each."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
import pytest
from playwright.async_api import Browser

from server.repositories.operators import Operator
from tests.browser.console.support import Tab, open_console
from tests.browser.window import ColorScheme
from tests.flows.support import Desk


class Variant(msgspec.Struct, frozen=True):
    """Sizes in CSS pixels."""

    name: str
    width: int = 1280
    height: int = 800
    scheme: ColorScheme = "light"
    phone: bool = False
    rtl: bool = False


_PICTURE = pytest.mark.screenshots
# For `make screenshots` alone: what goes wrong in between shows in the others, and each costs a sign-in and a walk.
_IN_BETWEEN = (_PICTURE, pytest.mark.in_between)

VARIANTS = (
    pytest.param(Variant("light"), marks=_PICTURE),
    pytest.param(Variant("dark", scheme="dark"), marks=_IN_BETWEEN),
    pytest.param(Variant("tablet", width=820, height=1000), marks=_IN_BETWEEN),
    pytest.param(Variant("narrow", width=390, height=844, phone=True), marks=_IN_BETWEEN),
    pytest.param(Variant("narrow-dark", width=320, height=640, scheme="dark", phone=True), marks=_PICTURE),
    pytest.param(Variant("rtl", rtl=True), marks=_PICTURE),
)

# What brings a page into the state that is to be seen, once it is loaded.
Ready = Callable[[Tab], Awaitable[object]]


class Stop(msgspec.Struct, frozen=True):
    """One page of a walk."""

    path: str
    ready: Ready


async def walk(browser: Browser, desk: Desk, operator: Operator, variant: Variant, stops: Mapping[str, Stop]) -> None:
    """Takes a picture of each page, `<name>-<variant>.png`, and fails with what is wrong to look at on any of them."""
    faults: dict[str, list[str]] = {}
    async with open_console(
        browser,
        desk,
        operator,
        width=variant.width,
        height=variant.height,
        color_scheme=variant.scheme,
        phone=variant.phone,
    ) as tab:
        for name, stop in stops.items():
            await tab.goto(stop.path)
            if variant.rtl:
                await tab.page.evaluate("document.documentElement.dir = 'rtl'")
            await stop.ready(tab)
            # What sticks to the window would stand in the middle of a picture of the whole page.
            await tab.page.evaluate("scrollTo(0, 0)")
            await tab.picture(f"{name}-{variant.name}")
            turned: list[str] = await tab.page.evaluate(_TURNED) if variant.rtl else []
            if found := [*await tab.faults(), *turned]:
                faults[name] = found
    assert not faults, faults


# Figures with a unit, times and pairs of numbers that a page read from the right has turned round: their last character
# stands before their first one.
_TURNED = r"""() => {
  const figure = /\d[\d.,]*\s(?:ms|s|min|h|d|[KMGT]B|bytes|tokens?|ago)\b|\d:\d\d [AP]M|\d (?:→|\/) \d/g;
  const left = (node, at) => {
    const range = document.createRange();
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    return range.getBoundingClientRect();
  };
  const found = [];
  const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode;
    if (!node.parentElement.checkVisibility()) continue;
    for (const { 0: text, index } of node.data.matchAll(figure)) {
      const [first, last] = [left(node, index), left(node, index + text.length - 1)];
      const sameLine = Math.abs(first.top - last.top) < 2;
      const turned = sameLine && last.width && first.left > last.left;
      if (turned) found.push(`turned round: ${text} in ${node.data.slice(0, 60)}`);
    }
  }
  return found;
}"""
