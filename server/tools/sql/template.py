"""The SQL of an endpoint: one SELECT with named parameters, taken apart before it is stored and before it runs.

    select status, total from orders where number = :number

The owner writes the statement; a model only fills the parameters, and those are bound by the database. The first wall
is a read-only transaction and, better, a user that may only read. This is the second: it takes what it understands
and refuses the rest, so that it and the database can never read the same text in two ways. There are therefore no
comments (MySQL runs some of them), no dollar quotes, no Unicode escapes, no backslash in MySQL's text (whether it
escapes is a setting of the server), and no number that runs into a name (`1e0union` is two words to MySQL).
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from server.errors import Invalid
from server.tools.connections.database import DatabaseKind

# Characters and placeholders of a statement: far more than a look-up needs, little enough for every server.
MAX_LENGTH: Final = 20_000
MAX_PARAMETERS: Final = 100


class Template(msgspec.Struct, frozen=True):
    """A statement in the database's own words. `names` are the parameters in the order of its placeholders.

    Postgres has `$1`, `$2`, one a name, and another one where it is only asked whether it is null. MySQL has `?`, one a
    place. So a name may stand there twice.
    """

    text: str
    names: tuple[str, ...]


def check_statement(
    kind: DatabaseKind, statement: str, parameters_schema: Mapping[str, Any], *, field: str = "statement"
) -> None:
    """For configuration. Raises Invalid that names `field` and says what is allowed.

    Every `:name` must be a property of the schema, and every property must be used. A property that a call leaves out
    is null: `(:color is null or color = :color)`.
    """
    names = set(parse(kind, statement, field=field).names)
    properties = set(parameters_schema.get("properties") or ())
    if unknown := sorted(names - properties):
        raise Invalid(
            f"{field} uses :{unknown[0]}, which the parameters schema does not have; "
            + (f"it has {', '.join(sorted(properties))}" if properties else "it has no properties"),
            field=field,
        )
    if unused := sorted(properties - names):
        raise Invalid(
            f"{field} never uses :{unused[0]}, which the parameters schema asks for (within quotes it is only text)",
            field=field,
        )


def parse(kind: DatabaseKind, statement: str, *, field: str = "statement") -> Template:
    """The statement as the database takes it. Raises Invalid for all but one harmless SELECT."""
    try:
        return _parse(kind, statement)
    except _Refused as refused:
        raise Invalid(f"{field} {refused.reason}", field=field) from None


class _Token(NamedTuple):
    # space, word, quoted, text, number, parameter, cast, symbol: the names of the lexers' groups.
    kind: str
    text: str

    @property
    def word(self) -> str:
        """A bare word in small letters, "" for anything else."""
        return self.text.lower() if self.kind == "word" else ""


class _Refused(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@lru_cache(maxsize=1024)
def _parse(kind: DatabaseKind, statement: str) -> Template:
    if len(statement) > MAX_LENGTH:
        raise _Refused(f"has {len(statement)} characters; it may have {MAX_LENGTH}")
    tokens = list(_tokens(kind, statement))
    solid = [token for token in tokens if token.kind != "space"]
    # One at the end is how people write it.
    if solid and solid[-1].text == ";":
        solid.pop()
        while tokens.pop().text != ";":
            continue
    if not solid or solid[0].word not in {"select", "with"}:
        raise _Refused("must be one SELECT, or WITH ... SELECT")
    _check_shape(solid)
    _check_words(solid)
    _check_functions(kind, solid)
    return _render(kind, tokens)


# Tokens.
# A name as both servers see it: everything beyond ASCII is a letter to them.
_NAME = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*+"
_NO_NAME_FOLLOWS = r"(?![A-Za-z0-9_$.\x80-\U0010ffff])"
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_COMMON = (
    ("space", r"[ \t\n\r\f\v]++"),
    ("forbidden_comment", r"--|/\*"),
    ("parameter", rf":{_NAME}"),
)
_POSTGRES = (
    ("forbidden_unicode", r"[uU]&['\"]"),
    ("text", r"[eE]'(?:[^'\\]|''|\\.)*+'|'(?:[^']|'')*+'"),
    ("quoted", r'"(?:[^"]|"")++"'),
    ("number", rf"{_NUMBER}{_NO_NAME_FOLLOWS}"),
    # An E'...' that does not end is not the name E and a plain text.
    ("word", rf"(?![eE]'){_NAME}"),
    ("forbidden_dollar", r"\$"),
    ("symbol", r"[-+*/<>=~!@#%^&|?,.():;]|\[|\]"),
)
_MYSQL = (
    ("forbidden_hash", r"#"),
    ("forbidden_variable", r"@|:="),
    ("forbidden_marker", r"\?"),
    ("text", r"'(?:[^']|'')*+'"),
    # Text or a name, as the server is set. Both end at the same place.
    ("quoted", r'`(?:[^`]|``)++`|"(?:[^"]|"")*+"'),
    ("number", rf"(?:0[xX][0-9a-fA-F]+|{_NUMBER}){_NO_NAME_FOLLOWS}"),
    ("word", _NAME),
    ("symbol", r"[-+*/<>=~!%^&|,.();]"),
)
_FORBIDDEN: Final = {
    "forbidden_comment": "has a comment (--, /* */); leave it out",
    "forbidden_hash": "has a comment (#); leave it out",
    "forbidden_unicode": "has U&'...' or U&\"...\"; write the characters themselves",
    "forbidden_dollar": "has a $; write text in '...' and parameters as :name",
    "forbidden_variable": "has a variable (@name, :=); write parameters as :name",
    "forbidden_marker": "has a ?; write parameters as :name",
}


def _compile(*parts: tuple[str, str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in parts), re.DOTALL)


# A cast's second colon would begin a parameter, so casts are looked for before.
_LEXERS: Final[dict[DatabaseKind, re.Pattern[str]]] = {
    "postgres_database": _compile(("cast", r"::"), *_COMMON, *_POSTGRES),
    "mysql_database": _compile(*_COMMON, *_MYSQL),
}
_PARAMETER: Final = re.compile(r":[A-Za-z_][A-Za-z0-9_]*")


def _tokens(kind: DatabaseKind, statement: str) -> Iterator[_Token]:
    position = 0
    while position < len(statement):
        match = _LEXERS[kind].match(statement, position)
        if match is None:
            _not_understood(statement, position)
        name = str(match.lastgroup)
        text = match[0]
        if name in _FORBIDDEN:
            raise _Refused(_FORBIDDEN[name])
        if name == "parameter" and not _PARAMETER.fullmatch(text):
            raise _Refused(f"has the parameter {text}; its name may have ASCII letters, digits and _")
        if name in {"text", "quoted"} and not text.isprintable() and _unsafe(text):
            raise _Refused("has a control character within quotes")
        if kind == "mysql_database" and name in {"text", "quoted"} and "\\" in text:
            raise _Refused("has a backslash within quotes; pass the text as a parameter instead")
        yield _Token(name, text)
        position = match.end()


def _unsafe(text: str) -> bool:
    # Line breaks and tabs are harmless within quotes; half a surrogate pair cannot be sent at all.
    return any((ord(char) < 32 and char not in "\t\n\r") or "\ud800" <= char <= "\udfff" for char in text)


def _not_understood(statement: str, position: int) -> NoReturn:
    char = statement[position]
    if char in "'\"`":
        raise _Refused(f"has a quote {char} that is not closed, or not a quote of this database")
    near = statement[position : position + 12].encode("ascii", "backslashreplace").decode()
    raise _Refused(f"has something not allowed or not understood at character {position + 1}, near {near!r}")


# Rules.


def _check_shape(solid: list[_Token]) -> None:
    """One statement, brackets in pairs, a SELECT behind WITH, and nothing that writes within it."""
    open_brackets: list[str] = []
    main = ""
    for token in solid:
        match token.text:
            case ";":
                raise _Refused("has a ; within; it may be one statement only")
            case "(" | "[":
                open_brackets.append(token.text)
            case ")" | "]":
                if not open_brackets or open_brackets.pop() + token.text not in {"()", "[]"}:
                    raise _Refused("has brackets that do not pair")
            case _ if not open_brackets and not main and token.word in _MAIN:
                main = token.word
    if open_brackets:
        raise _Refused("has brackets that do not pair")
    if main != "select":
        raise _Refused("must be one SELECT, or WITH ... SELECT")


_MAIN: Final = {"select", "insert", "update", "delete", "replace", "merge", "values", "table"}
_WRITING: Final = {"insert", "update", "delete", "merge"}
_LOCKING: Final = {"update", "share", "no", "key"}


def _check_words(solid: list[_Token]) -> None:
    end = _Token("symbol", "")
    for token, following, third in zip(solid, [*solid[1:], end], [*solid[2:], end, end], strict=False):
        if token.word == "into":
            raise _Refused("has INTO; it may only read (quote it if it is a name)")
        # `insert(...)` is a function of MySQL.
        if token.text == "(" and following.word in _WRITING and third.text != "(":
            raise _Refused(f"has {following.text.upper()} within it; it may only read (quote it if it is a name)")
        if token.word == "for" and following.word in _LOCKING:
            raise _Refused(f"has FOR {following.text.upper()}; it may not lock rows")
        if token.word == "lock" and following.word == "in":
            raise _Refused("has LOCK IN SHARE MODE; it may not lock rows")


# Functions that wait, reach beyond the database, change something in spite of a read-only transaction, or run text as
# SQL. A user that may only read is refused most of them by the database too.
_DENIED: Final[dict[DatabaseKind, re.Pattern[str]]] = {
    "postgres_database": re.compile(
        # All of the server's own but the harmless ones of _HARMLESS; large objects; other servers; other clouds.
        r"pg_\w*|lo_\w*|loread|lowrite|dblink\w*|postgres_fdw_\w*|http|http_\w*|urlencode|lambda_invoke|invoke"
        r"|query_export_to_s3|table_import_from_s3|adminpack\w*|binary_upgrade_\w*"
        # Settings, sequences, transaction numbers, signals.
        r"|set_config|nextval|setval|txid_current|schedule|unschedule"
        # SQL in text.
        r"|(?:query|table|cursor|schema|database)_to_xml\w*|crosstab\w*|connectby|ts_stat|ts_rewrite|plpgsql_\w*",
    ),
    "mysql_database": re.compile(
        r"sleep|benchmark|load_file|get_lock|release_lock|release_all_locks|is_free_lock|is_used_lock|nextval|setval"
        r"|master_pos_wait|source_pos_wait|master_gtid_wait|wait_for_executed_gtid_set"
        r"|wait_until_sql_thread_after_gtids|sys_\w*|lib_mysqludf_\w*|http_\w*|lambda_\w*|load_xml|procedure",
    ),
}
_HARMLESS: Final = {"pg_typeof", "pg_collation_for"}


def _check_functions(kind: DatabaseKind, solid: list[_Token]) -> None:
    for token, following in pairwise(solid):
        if following.text != "(" or token.kind not in {"word", "quoted"}:
            continue
        name = (token.text[1:-1] if token.kind == "quoted" else token.text).lower()
        if not name.isascii():
            # MySQL compares names by a collation, to which a long s is an s.
            raise _Refused(f"calls {token.text}(), a name beyond ASCII")
        if _DENIED[kind].fullmatch(name) and name not in _HARMLESS:
            raise _Refused(f"calls {name}(), which is not allowed")


def _render(kind: DatabaseKind, tokens: list[_Token]) -> Template:
    """Placeholders stand between spaces: `x:a` must not become the name `x$1`."""
    names: list[str] = []
    text: list[str] = []
    numbers: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token.kind != "parameter":
            text.append(token.text)
            continue
        name = token.text[1:]
        if kind == "mysql_database":
            names.append(name)
            text.append(" ? ")
        elif _asks_for_null(tokens, index):
            # `:a is null` gives Postgres no type for $1, and then it refuses the other places of $1.
            names.append(name)
            text.append(f" ${len(names)}::text ")
        else:
            if name not in numbers:
                names.append(name)
                numbers[name] = len(names)
            text.append(f" ${numbers[name]} ")
    if len(names) > MAX_PARAMETERS:
        raise _Refused(f"has {len(names)} parameters; it may have {MAX_PARAMETERS}")
    return Template("".join(text).strip(), tuple(names))


def _asks_for_null(tokens: list[_Token], index: int) -> bool:
    following = [token.word for token in tokens[index + 1 : index + 7] if token.kind != "space"]
    return following[:2] == ["is", "null"] or following[:3] == ["is", "not", "null"]
