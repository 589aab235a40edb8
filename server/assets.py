"""Where the files lie that are not Python: beside it in an installed wheel, in the repository otherwise."""

from pathlib import Path

_SERVER = Path(__file__).parent


def static_path() -> Path:
    """The built front ends and the demo pages. The build makes it (`make install`, or building the wheel)."""
    return _SERVER / "static"


def migrations_path() -> Path:
    """The SQL migrations. The wheel carries them inside the package, the repository has them at its top."""
    packed = _SERVER / "migrations"
    return packed if packed.is_dir() else _SERVER.parent / "migrations"
