"""The plan of a statement as it stands in a repository: which indexes it walks."""

import ast
import inspect
from collections.abc import Callable
from typing import Any

import psycopg

# A tenth of everything is the first client's: an index of all is no way to one client's rows.
_CROWD = (
    """
    insert into visitors (client_id, external_id, name)
    select c.id, 'v' || n, 'Visitor ' || n from generate_series(1, 500) n
    join clients c on c.name = case when n % 10 = 0 then 'pizza' else 'bakery' end
    """,
    """
    insert into conversations (
        public_id, client_id, session_id, session_token_hash, channel, locale, epoch, total_messages, last_activity_at
    )
    select 'cnv_' || n, c.id, 'ses_' || n, n::text::bytea, 'widget', 'en', 'e', 1, now() - n * interval '1 minute'
    from generate_series(1, 1000) n join clients c on c.name = case when n % 10 = 0 then 'pizza' else 'bakery' end
    """,
    """
    insert into messages (public_id, client_id, conversation_id, role, content, seq)
    select 'msg_' || c.id || '_' || n, c.client_id, c.id, 'user', 'word' || (c.id + n) % 200, n
    from conversations c cross join generate_series(1, 3) n
    """,
    """
    insert into notifications (client_id, kind, read_at)
    select c.id, 'limit_near', case when n % 7 <> 0 then now() end from generate_series(1, 3000) n
    join clients c on c.name = case when n % 50 = 0 then 'pizza' else 'bakery' end
    """,
    "analyze",
)


def crowd(database_url: str) -> None:
    """So many rows of `pizza` and `bakery` that Postgres tells a good way from a bad one."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        for statement in _CROWD:
            conn.execute(statement.encode())


def statement_of(function: Callable[..., Any]) -> str:
    """The one statement of a function of a repository."""
    [found] = [
        node.args[0].value
        for node in ast.walk(ast.parse(inspect.getsource(function)))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "execute"
        and isinstance(node.args[0], ast.Constant)
    ]
    assert isinstance(found, str)
    return found


def plan_of(database_url: str, function: Callable[..., Any], **given: Any) -> str:
    """Its plan where reading a whole table costs more than anything else, as it does once the table is large."""
    with psycopg.connect(database_url) as conn:
        conn.execute("set enable_seqscan = off")
        lines = conn.execute(f"explain {statement_of(function)}".encode(), given).fetchall()
    return "\n".join(line for (line,) in lines)
