"""Finds the Chromium that the browser tests drive, and gets one where there is none.

    python -m tests.browser.chromium --ensure

An installed Chromium or Chrome, else the one `playwright install chromium` downloads, else Debian's package (as root).
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
_MAC = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)
_DOWNLOAD_SECONDS = 60  # 180 MB; on a closed network the download hangs instead of failing
_PACKAGE_SECONDS = 240
# Screenshots in Hebrew, Arabic and with emoji show boxes without these.
_FONTS = ("fonts-noto-core", "fonts-noto-color-emoji")

HOW = """\
The browser tests need a Chromium or Chrome, and none was found or could be installed. One of these gives you one:
    .venv/bin/playwright install --with-deps chromium      (downloads it)
    apt-get install chromium                               (Debian, as root)
    CHROMIUM=/path/to/chrome make test                     (one that you have)"""


class NoChromiumError(RuntimeError):
    """There is none; the message says how to get one."""


def find_chromium() -> Path:
    """The executable: $CHROMIUM, an installed one, or playwright's. Raises NoChromiumError."""
    wished = os.environ.get("CHROMIUM")
    if wished:
        if not os.access(wished, os.X_OK):
            raise NoChromiumError(f"CHROMIUM is {wished}, which is not a program that can be run")
        return Path(wished)
    found = [Path(path) for name in _NAMES if (path := shutil.which(name))]
    for candidate in [*found, *_MAC]:
        if candidate.is_file():
            return candidate
    # Asked last: playwright takes a second to say where its own would be.
    if (own := _of_playwright()).is_file():
        return own
    raise NoChromiumError(HOW)


def ensure_chromium() -> Path:
    """`find_chromium`, after trying to install one if need be."""
    try:
        return find_chromium()
    except NoChromiumError:
        if os.environ.get("CHROMIUM"):
            raise
    for install in (_install_with_playwright, _install_with_apt):
        install()
        try:
            return find_chromium()
        except NoChromiumError:
            continue
    raise NoChromiumError(HOW)


def _of_playwright() -> Path:
    """Where playwright keeps the version that fits it, installed or not."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


def _install_with_playwright() -> None:
    _run([sys.executable, "-m", "playwright", "install", "chromium"], _DOWNLOAD_SECONDS)


def _install_with_apt() -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"]
    if _run(["apt-get", "update", "--quiet"], _PACKAGE_SECONDS) and _run([*install, "chromium"], _PACKAGE_SECONDS):
        for font in _FONTS:
            _run([*install, font], _PACKAGE_SECONDS)


def _run(command: list[str], seconds: float) -> bool:
    """Runs it in sight of the user, its output on standard error. Says so and gives False if it fails."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    print("$", *command, file=sys.stderr, flush=True)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment, start_new_session=True
    ) as process:
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the downloader it has started
            print(f"not done within {seconds:.0f} s", file=sys.stderr)
            return False
    return code == 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Prints the path of the Chromium that the browser tests use.")
    parser.add_argument("--ensure", action="store_true", help="install one if there is none")
    arguments = parser.parse_args()
    try:
        print(ensure_chromium() if arguments.ensure else find_chromium())
    except NoChromiumError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
