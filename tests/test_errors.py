"""The error tree is an interface: codes, statuses, what may be tried again."""

import inspect

import pytest

from server import errors
from server.errors import FrontdeskError, ModelError, RequestError, Unavailable

TREE = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, FrontdeskError) and kind.__module__ == errors.__name__
}


@pytest.mark.parametrize(
    ("name", "status", "code", "temporary"),
    [
        ("Malformed", 400, "malformed", False),
        ("Unauthorized", 401, "unauthorized", False),
        ("Forbidden", 403, "forbidden", False),
        ("NotFound", 404, "not_found", False),
        ("Conflict", 409, "conflict", False),
        ("Gone", 410, "gone", False),
        ("TooLarge", 413, "too_large", False),
        ("Invalid", 422, "invalid", False),
        ("RateLimited", 429, "rate_limited", True),
    ],
)
def test_a_callers_mistakes(name: str, status: int, code: str, temporary: bool) -> None:
    """Each has its HTTP status and its code; a finer code, a field and a time to come back may be added."""
    kind = TREE[name]
    assert issubclass(kind, RequestError)
    error = kind("said")
    assert (error.status, error.code, error.temporary, error.message) == (status, code, temporary, "said")
    assert (error.field, error.retry_after_ms) == (None, None)
    finer = kind("said", code="finer", field="text", retry_after_ms=5)
    assert (finer.code, finer.field, finer.retry_after_ms) == ("finer", "text", 5)
    assert kind("again").code == code, "the class keeps its own"


def test_every_code_is_one_kinds() -> None:
    """Programs tell errors apart by code; only the roots share theirs."""
    leaves = [kind for kind in TREE.values() if not kind.__subclasses__()]
    codes = [kind.code for kind in leaves]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("name", [name for name, kind in TREE.items() if issubclass(kind, ModelError)])
def test_a_models_failures(name: str) -> None:
    """All may work later but a refusal, which is a matter of configuration."""
    kind = TREE[name]
    assert kind("x").temporary == (name != "ModelRefused")
    assert kind("x").code.startswith("model_")


def test_a_missing_dependency() -> None:
    """It says which, and when to come back."""
    error = Unavailable("redis", "gone")
    assert (error.dependency, error.retry_after_ms, error.temporary, str(error)) == ("redis", 2000, True, "gone")


def test_the_tree_is_drawn_as_it_is() -> None:
    """Whoever reads the module's head reads the truth."""
    assert errors.__doc__ is not None
    assert [name for name in TREE if name not in errors.__doc__] == []
