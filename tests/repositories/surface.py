"""What `server.repositories` offers: every public function of every noun."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from server import repositories

# Not nouns.
_MACHINERY = {"pool", "faults", "migrations"}


def modules() -> list[str]:
    """The nouns."""
    return [info.name for info in pkgutil.iter_modules(repositories.__path__) if info.name not in _MACHINERY]


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """("module.function", the function) for each."""
    for name in modules():
        module = importlib.import_module(f"server.repositories.{name}")
        for attribute, value in inspect.getmembers(module, inspect.iscoroutinefunction):
            if value.__module__ == module.__name__ and not attribute.startswith("_"):
                yield f"{name}.{attribute}", value


def sources() -> list[Path]:
    """The files of the package, machinery included."""
    return sorted(Path(next(iter(repositories.__path__))).glob("*.py"))
