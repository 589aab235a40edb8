"""`frontdesk operator`, and the owner that `frontdesk dev` makes."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg
import pytest
from click.testing import CliRunner

from server.cli import main
from server.cli.run import OWNER, _seed
from server.errors import RequestError
from server.net.signing import Keyring
from server.repositories.pool import open_pool
from server.settings import Settings
from server.staff import Signed, Staff
from tests.cli.conftest import Run, refusal
from tests.support import SECRET_KEYS

T = TypeVar("T")

MADE = re.compile(r"^password     (\w{5}(?:-\w{5}){3})   \(shown once: keep it\)$", re.MULTILINE)
ANN = ("--email", "Ann@desk.example", "--role", "owner")


def with_staff(database_url: str, work: Callable[[Staff], Awaitable[T]]) -> T:
    """As the server has it."""

    async def run() -> T:
        pool = await open_pool(database_url, max_size=2, application_name="test")
        try:
            return await work(Staff(pool, Keyring(SECRET_KEYS)))
        finally:
            await pool.close()

    return asyncio.run(run())


def sign_in(database_url: str, email: str, password: str) -> Signed | str:
    """Who signs in, or the code of the refusal."""

    async def work(staff: Staff) -> Signed | str:
        try:
            return (await staff.sign_in(email, password, address="192.0.2.1"))[1]
        except RequestError as error:
            return error.code

    return with_staff(database_url, work)


def create(run: Run, *arguments: str) -> dict[str, Any]:
    """Makes an operator, for scripts."""
    result = run("operator", "create", *arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    made: dict[str, Any] = json.loads(result.stdout)
    return made


@pytest.fixture
def client(run: Run) -> int:
    """A client's id."""
    made = json.loads(run("client", "create", "--name", "B", "--domain", "b.example", "--json").stdout)
    return int(made["id"])


def test_an_operator_is_created_for_scripts(run: Run, database_url: str, client: int) -> None:
    """JSON with the password, which works; what is not given has a default."""
    made = create(run, *ANN)
    assert made == {
        "id": made["id"],
        "email": "Ann@desk.example",
        "name": "Ann",
        "role": "owner",
        "client_id": None,
        "status": "active",
        "password": made["password"],
    }
    signed = sign_in(database_url, "ann@desk.example", made["password"])
    assert isinstance(signed, Signed) and signed.operator.id == made["id"]
    staff = create(run, "--email", "b@b", "--role", "operator", "--client", str(client), "--name", " Bob B. ")
    assert (staff["role"], staff["client_id"], staff["name"]) == ("operator", client, "Bob B.")
    with psycopg.connect(database_url) as conn:
        audit = conn.execute(
            "select action, operator_id, client_id, target_id from audit_log where target_type = 'operator' order by id"
        ).fetchall()
    assert audit[0] == ("operator.create", None, None, str(made["id"]))
    assert audit[-1] == ("operator.create", None, client, str(staff["id"]))


def test_an_operator_is_created_for_people(run: Run, database_url: str) -> None:
    """In lines, the password once."""
    result = run("operator", "create", *ANN)
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.match(r"operator     \d+ Ann@desk.example \(owner\)\n", result.stdout)
    [password] = MADE.findall(result.stdout)
    assert isinstance(sign_in(database_url, "ann@desk.example", password), Signed)


def asked(database_url: str, environment: dict[str, str | None], *arguments: str, typed: str) -> tuple[int, str, str]:
    """A command on a terminal, where somebody types: exit code, output, what was asked."""
    variables = {**environment, "DATABASE_URL": database_url, "FRONTDESK_SECRET_KEYS": SECRET_KEYS[0]}
    result = CliRunner().invoke(main, arguments, env=variables, input=typed, prog_name="frontdesk")
    return result.exit_code, result.stdout, result.stderr


def test_a_password_of_ones_own(run: Run, database_url: str, environment: dict[str, str | None]) -> None:
    """Typed twice, never shown, not in what a script reads; too short a one is refused."""
    mine = "my own horse battery"
    code, out, err = asked(
        database_url, environment, "operator", "create", *ANN, "--ask", "--json", typed=f"{mine}\nno\n{mine}\n{mine}\n"
    )
    assert code == 0
    assert "password" not in json.loads(out) and mine not in out + err
    assert isinstance(sign_in(database_url, "ann@desk.example", mine), Signed)
    code, out, err = asked(
        database_url, environment, "operator", "reset-password", "ann@desk.example", "--ask", typed="short\nshort\n"
    )
    assert (code, out) == (1, "") and "`password` takes 12 to 1024 characters" in err
    assert isinstance(sign_in(database_url, "ann@desk.example", mine), Signed)


def test_the_list_of_operators(run: Run, client: int) -> None:
    """Without secrets; empty it says how to make one."""
    assert run("operator", "list").stdout == "no operators yet: `frontdesk operator create` makes one\n"
    assert json.loads(run("operator", "list", "--json").stdout) == []
    made = [create(run, *ANN), create(run, "--email", "b@b", "--role", "admin", "--client", str(client))]
    for each in made:
        del each["password"]
    assert json.loads(run("operator", "list", "--json").stdout) == made
    lines = [line.split() for line in run("operator", "list").stdout.splitlines()]
    assert lines == [
        [str(made[0]["id"]), "active", "owner", "all", "clients", "Ann@desk.example", "Ann"],
        [str(made[1]["id"]), "active", "admin", "client", str(client), "b@b", "b"],
    ]


def test_a_password_is_reset(run: Run, database_url: str) -> None:
    """The new one works and the old one does not; by the address in any case of its letters."""
    old = create(run, *ANN)["password"]
    result = run("operator", "reset-password", "ANN@desk.example")
    [new] = MADE.findall(result.stdout)
    assert sign_in(database_url, "ann@desk.example", old) == "bad_login"
    assert isinstance(sign_in(database_url, "ann@desk.example", new), Signed)
    again = json.loads(run("operator", "reset-password", "ann@desk.example", "--json").stdout)["password"]
    assert sign_in(database_url, "ann@desk.example", new) == "bad_login"
    assert isinstance(sign_in(database_url, "ann@desk.example", again), Signed)


def test_disabled_and_back(run: Run, database_url: str) -> None:
    """In no more, and in again; the last owner stays."""
    made = create(run, *ANN)
    assert refusal(run("operator", "disable", "ann@desk.example")) == (
        "this is the only active owner; make another one first"
    )
    create(run, "--email", "b@b", "--role", "owner")
    result = run("operator", "disable", "ann@desk.example")
    assert result.stdout == f"operator {made['id']} Ann@desk.example is disabled\n"
    assert sign_in(database_url, "ann@desk.example", made["password"]) == "bad_login"
    result = run("operator", "disable", "ann@desk.example", "--undo", "--json")
    assert json.loads(result.stdout)["status"] == "active"
    assert isinstance(sign_in(database_url, "ann@desk.example", made["password"]), Signed)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "--email", "nonsense", "--role", "owner"), "`email` 'nonsense' is not an e-mail address"),
        (("create", "--email", "a@b", "--role", "owner", "--name", " "), "`name` takes 1 to 100 characters"),
        (("create", "--email", "a@b", "--role", "operator"), "An owner belongs to no client, an operator to one."),
        (("create", "--email", "a@b", "--role", "owner", "--client", "1"), "An owner belongs to no client"),
        (("create", "--email", "a@b", "--role", "admin", "--client", "1"), "There is no such client."),
        (("reset-password", "a@b"), "there is no operator 'a@b'; `frontdesk operator list` shows them"),
        (("disable", "a@b"), "there is no operator 'a@b'"),
        (("disable", "a@b", "--undo"), "there is no operator 'a@b'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run: Run, arguments: tuple[str, ...], words: str) -> None:
    """On standard error, with an exit code, and nothing is made."""
    assert refusal(run("operator", *arguments)).startswith(words)
    assert json.loads(run("operator", "list", "--json").stdout) == []


def test_an_address_that_is_taken(run: Run) -> None:
    """In any case of its letters."""
    create(run, *ANN)
    line = refusal(run("operator", "create", "--email", "ANN@desk.example", "--role", "admin"))
    assert line == "An operator with this e-mail address exists."


def test_roles_that_are_none(run: Run) -> None:
    """A wrong option is a wrong call: exit code 2, with the roles that there are."""
    result = run("operator", "create", "--email", "a@b", "--role", "king")
    assert result.exit_code == 2
    assert "'owner', 'admin', 'operator'" in result.stderr


def test_dev_makes_an_owner_once(database_url: str, redis_url: str) -> None:
    """Whom a link lets in; the second start finds the same one."""
    settings = Settings(database_url=database_url, redis_url=redis_url, secret_keys=SECRET_KEYS)
    for _ in range(2):
        asyncio.run(_seed(settings, 8000, "http://127.0.0.1:8000"))
    with psycopg.connect(database_url) as conn:
        [(operator_id, email, role, client_id)] = conn.execute(
            "select id, email, role, client_id from operators"
        ).fetchall()
    assert (email, role, client_id) == (OWNER, "owner", None)

    async def by_link(staff: Staff) -> Signed:
        return (await staff.sign_in_by_link(await staff.login_link(operator_id), address="192.0.2.1"))[1]

    assert with_staff(database_url, by_link).operator.email == OWNER
