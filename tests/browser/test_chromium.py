"""The browser of the browser tests: found, or said how to get one."""

import subprocess
from pathlib import Path

import pytest

from tests.browser import chromium as finder


def test_the_one_found_is_a_chromium(chromium: Path) -> None:
    """The program says that it is Chromium or Chrome."""
    version = subprocess.run([chromium, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert version.startswith(("Chromium ", "Google Chrome "))


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CHROMIUM that is no program is an error, not a reason to take or install another one."""
    (tmp_path / "chrome").touch()
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "chrome"))
    with pytest.raises(finder.NoChromiumError, match=r"CHROMIUM is .*/chrome, which is not a program"):
        finder.ensure_chromium()


def test_without_any_it_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No browser on the machine and none of playwright's: the message lists the ways to get one."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    if any(path.exists() for path in finder._MAC):
        pytest.skip("macOS has one in /Applications, whatever PATH says")
    with pytest.raises(
        finder.NoChromiumError, match=r"playwright install[^\n]*chromium[\s\S]*apt-get install chromium"
    ):
        finder.find_chromium()
