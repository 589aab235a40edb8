"""What every test may use: real services (`services.py`, `mariadb.py`) and a real browser (`browser/chromium.py`)."""

from pathlib import Path

import pytest

from tests.browser.chromium import find_chromium

pytest_plugins = ["tests.services", "tests.support", "tests.mariadb", "tests.tools.sql_shops", "tests.tools.sql_desk"]


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The path of a real Chromium or Chrome. Fails, and says how to get one, where there is none."""
    return find_chromium()
