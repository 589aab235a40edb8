"""Rules that every repository keeps, read from its source."""

import ast
import inspect
import re
from pathlib import Path

from server import repositories
from tests.repositories.surface import functions, sources

_HERE = Path(__file__).parent
# Tables without a client: plans, prices, the catalogue, the console's sessions, yoyo's and Postgres' own.
_NO_CLIENT = {"plans", "tools", "model_prices", "operator_sessions", "_yoyo_migration", "pg_attribute"}
_TABLE = re.compile(r"\b(?:from|join|into|update)\s+([a-z_]+)")


def _executes(tree: ast.AST) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("execute", "executemany", "copy")
    ]


def test_statements_are_literals() -> None:
    """No SQL is composed: what reaches `execute` is a string as it stands, or a constant of one."""
    found = 0
    for path in sources():
        tree = ast.parse(path.read_text())
        constants = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in _executes(tree):
            found += 1
            query = call.args[0]
            literal = isinstance(query, ast.Constant) and isinstance(query.value, str)
            assert literal or (isinstance(query, ast.Name) and query.id in constants), f"{path.name}:{call.lineno}"
    assert found > 90


def test_a_sentence_stands_above_each_statement() -> None:
    """Every statement says in words what it is for."""
    for path in sources():
        text = path.read_text()
        lines = text.splitlines()
        for call in _executes(ast.parse(text)):
            if path.stem == "pool":  # begin, commit, settings: explained around them
                continue
            above = next(
                line.strip()
                for line in reversed(lines[: call.lineno - 1])
                if not line.strip().startswith(("cursor =", "await", "async with"))
            )
            assert above.startswith("#") and above.endswith((".", ":")), f"{path.name}:{call.lineno}: {above}"


def test_statements_name_the_client_or_say_why_not() -> None:
    """A statement on a client's table without client_id is a function that calls itself system-wide."""
    for name, function in functions():
        module = inspect.getmodule(function)
        words = f"{function.__doc__ or ''} {module.__doc__ if module else ''}".lower()
        for call in _executes(ast.parse(inspect.getsource(function))):
            assert isinstance(call.args[0], ast.Constant)
            statement = str(call.args[0].value)
            tables = set(_TABLE.findall(statement)) & _client_tables()
            if tables and "%(client_id)s" not in statement:
                assert "system-wide" in words, f"{name} touches {tables} without naming the client"


def _client_tables() -> set[str]:
    migrations = Path(next(iter(repositories.__path__))).parents[1] / "migrations"
    names = {
        name for path in migrations.glob("*.sql") for name in re.findall(r"^create table (\w+)", path.read_text(), re.M)
    }
    assert "messages" in names
    return names - _NO_CLIENT


def test_columns_are_named() -> None:
    """No `select *`: a new column must not change what a row is."""
    for path in sources():
        assert not re.search(r"select\s+(\w+\.)?\*|returning\s+\*", path.read_text()), path.name


def test_every_function_is_called_by_a_test() -> None:
    """Each runs against the real Postgres somewhere in this directory, besides the tenancy table."""
    called: set[str] = set()
    for path in _HERE.glob("*.py"):
        if path.name == "test_tenancy.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if isinstance(owner, ast.Name):
                    called.add(f"{owner.id}.{node.func.attr}")
    assert {name for name, _ in functions()} - called == set()
