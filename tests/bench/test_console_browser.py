"""The console's measurements in a browser, whole and small: they end, and what they find is there. Nothing is timed."""

from collections.abc import AsyncIterator, Iterator

import pytest

from bench import console_browser as measured
from bench.browser import Browser, open_browser
from bench.console_browser import Crowd, Office, open_office
from bench.console_data import Size
from bench.report import OURS
from bench.servers import split_cores

WIDE = measured.WINDOWS["1440 x 900"]


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    """Some hundred conversations: three pages of closed ones."""
    with open_office(Size(conversations=1_500, clients=3)) as office:
        yield office


@pytest.fixture(scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    log = tmp_path_factory.mktemp("chromium") / "log"
    async with open_browser(split_cores().others, log) as browser:
        yield browser


async def test_the_first_load(office: Office, browser: Browser) -> None:
    """The list stands before a key is answered; its scripts came from the console."""
    load = await measured.load(browser, office)
    assert 0 < load.listed_ms < load.answered_ms
    assert sum(url.endswith(".js") for url in load.loaded) > 1


async def test_answers_that_stream(office: Office, browser: Browser) -> None:
    """Frames and tasks of the time in which the answers stream, and a line for each of them."""
    crowd = Crowd(visitors=3, tokens=500, rate=100, frames_s=0.3, trace_s=0.3)
    watched = await measured.watch(browser, office, crowd, WIDE)
    assert watched.live == 3
    assert watched.gaps
    assert watched.tasks
    rows = {row.name: row.figures[OURS] for row in measured._fifty("any", [watched]).rows}
    assert rows["longest gap between frames"].most == max(watched.gaps)


async def test_answers_that_end_too_early_end_the_run(office: Office, browser: Browser) -> None:
    """Frames of an inbox in which nothing happens would be easily good."""
    crowd = Crowd(visitors=2, tokens=100, rate=50, frames_s=2.0, trace_s=0.3)
    with pytest.raises(RuntimeError, match="ended before they were measured"):
        await measured.watch(browser, office, crowd, WIDE)


async def test_the_way_through_the_list(office: Office, browser: Browser) -> None:
    """To the last line of the last page."""
    scrolled = await measured.scroll(browser, office)
    assert scrolled.lines == measured._closed(office)[0] > 100
    assert scrolled.elements < 1_000


async def test_a_list_that_is_not_whole_ends_the_run(
    office: Office, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One conversation more in the database than in the list."""
    lines, oldest = measured._closed(office)
    monkeypatch.setattr(measured, "_closed", lambda _office: (lines + 1, oldest))
    monkeypatch.setattr(measured, "_LOOKS", 20)
    with pytest.raises(RuntimeError, match=f"{lines + 1} conversations end"):
        await measured.scroll(browser, office)


def test_late_frames_are_counted() -> None:
    """In percent of all; the least and the most are rounds'."""
    late, longest = measured._frames([[16, 60, 16, 16], [16, 16, 16, 16]])
    assert (late.figures[OURS].median, late.figures[OURS].least, late.figures[OURS].most) == (12.5, 0, 25)
    assert longest.figures[OURS].most == 60
