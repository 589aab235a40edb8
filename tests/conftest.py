"""What every test may use: real services (`services.py`) and a real browser (`browser/chromium.py`)."""

from pathlib import Path

import pytest

from tests.browser.chromium import find_chromium

pytest_plugins = ["tests.services", "tests.support"]


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The path of a real Chromium or Chrome. Fails, and says how to get one, where there is none."""
    return find_chromium()
