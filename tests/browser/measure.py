"""What is measured in a page: contrast as WCAG 2 defines it, what sticks out, what has no name.

Of the widget where the page has one, else of the page itself, which then is the console.
"""

from typing import Any

from playwright.async_api import Page

# Texts under 4.5 : 1. Backgrounds are those of the text's ancestors, laid over each other; an
# image or a gradient counts as nothing, because none has text on it. Exempt are disabled controls and decoration, as in
# WCAG 1.4.3.
_CONTRAST = """() => {
  const shadowRoot = document.querySelector("frontdesk-widget")?.shadowRoot ?? document.body;
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = color;
    pixel.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
  const light = (color) => {
    const parts = color.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const poor = [];
  for (const element of shadowRoot.querySelectorAll("*")) {
    const holder = element.matches("textarea, input:not([type=checkbox], [type=radio], [type=color])");
    const own = [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join(" ").trim();
    if ((!own && !holder) || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.closest(":disabled, .sr, .unseen, [inert], [aria-hidden=true]") || element.matches("style")) continue;
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.push(e);
    const color = getComputedStyle(element, holder && !element.value ? "::placeholder" : null).color;
    // An element with an opacity is painted whole, and then laid over what is behind it.
    const paint = (behind) => {
      const style = getComputedStyle(chain[chain.length - 1]);
      chain.pop();
      const back = over(rgba(style.backgroundColor), behind);
      const painted = chain.length ? paint(back) : [over(rgba(color), back), back];
      return painted.map((each) => over([...each, +style.opacity], behind));
    };
    const [ink, back] = paint([255, 255, 255]);
    const [x, y] = [light(ink), light(back)].sort((p, q) => q - p);
    const ratio = (x + 0.05) / (y + 0.05);
    const words = (own || element.placeholder).slice(0, 40);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} : 1 ${element.tagName}.${element.className} "${words}"`);
  }
  return poor;
}"""

# What is wider than the window, or is cut off by it. What scrolls by itself (tables, code) is measured as a whole.
_OVERFLOW = """() => {
  const shadowRoot = document.querySelector("frontdesk-widget")?.shadowRoot ?? document.body;
  const wide = [];
  const { scrollWidth } = document.scrollingElement;
  if (scrollWidth > innerWidth) wide.push(`the page is ${scrollWidth} px wide`);
  for (const element of shadowRoot.querySelectorAll("*")) {
    const name = `${element.tagName}.${element.getAttribute("class")}`;
    const style = getComputedStyle(element);
    // What is clipped away is only read aloud.
    const unseen = element.closest(".sr, .unseen") || style.clipPath === "inset(50%)";
    if (!element.checkVisibility({ visibilityProperty: true }) || unseen) continue;
    const inner = element.parentElement?.closest("pre, .md-table, .md-code, .table-place, .json-tree, .tabs");
    const { left, right, width } = element.getBoundingClientRect();
    if (!inner && width && (left < -0.5 || right > innerWidth + 0.5))
      wide.push(`${name} from ${left} to ${right} of ${innerWidth}`);
    const scrolls = ["auto", "scroll"].includes(style.overflowX);
    const cut = style.textOverflow === "ellipsis";
    // An input scrolls its own text; the badge sits on the launcher's corner.
    const holds = element.matches("input, svg *, [data-fd=launcher]");
    if (!inner && !scrolls && !cut && !holds && element.clientWidth && element.scrollWidth > element.clientWidth + 1)
      wide.push(`${name} holds ${element.scrollWidth} px in ${element.clientWidth}`);
  }
  return wide;
}"""

# Titles that end in an ellipsis: what their owner wrote is not all there.
_CUT = """() => [...document.querySelector("frontdesk-widget").shadowRoot.querySelectorAll("h2, [data-fd=status]")]
  .filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent)"""

_NAMELESS = """() => {
  const shadowRoot = document.querySelector("frontdesk-widget")?.shadowRoot ?? document.body;
  const named = "button, a, textarea, input, select, dialog, [role=dialog], [role=log], [role=alertdialog], [role=img]";
  return [...shadowRoot.querySelectorAll(named)]
    .filter((e) => e.checkVisibility({ visibilityProperty: true }))
    .filter((e) => !(e.getAttribute("aria-label") ?? e.innerText ?? "").trim() && !e.placeholder)
    .filter((e) => !e.labels?.length && !e.getAttribute("aria-labelledby"))
    .map((e) => e.outerHTML.slice(0, 120));
}"""


async def _ask(page: Page, script: str) -> list[str]:
    found: Any = await page.evaluate(script)
    return [str(each) for each in found]


async def poor_contrast(page: Page) -> list[str]:
    """Texts with less than 4.5 : 1, each with its ratio."""
    return await _ask(page, _CONTRAST)


async def overflows(page: Page) -> list[str]:
    """Parts that stick out of the window or of what holds them, to the left or right."""
    return await _ask(page, _OVERFLOW)


async def cut_titles(page: Page) -> list[str]:
    """Titles too long for their place."""
    return await _ask(page, _CUT)


async def nameless(page: Page) -> list[str]:
    """Controls and landmarks without a name for a screen reader."""
    return await _ask(page, _NAMELESS)
