"""Operators over the console's API: who may make, change and let in whom."""

import re
from typing import Any

import httpx

from server.net.signing import Keyring
from server.repositories.operators import Operator
from server.staff import Staff
from tests.admin.console import BASE, Console
from tests.flows.support import Desk
from tests.staffing import PASSWORD, hire

NEEDS = {
    f"GET {BASE}/operators": "admin",
    f"POST {BASE}/operators": "admin",
    f"PUT {BASE}/operators/{{operator_id}}": "admin",
    f"POST {BASE}/operators/{{operator_id}}/reset-password": "admin",
    f"POST {BASE}/operators/{{operator_id}}/link": "admin",
    f"POST {BASE}/me/password": "operator",
}
ANOTHER = "battery horse correct"


async def listed(console: Console, **query: Any) -> list[dict[str, Any]]:
    """The rows of the list."""
    answer = await console.send("GET", "/operators", **query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["rows"]
    return rows


async def row_of(console: Console, operator_id: int) -> dict[str, Any]:
    """One of them."""
    [row] = [row for row in await listed(console) if row["id"] == operator_id]
    return row


def edit_of(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What a page sends back of a row."""
    return {**{name: row[name] for name in ("version", "name", "role", "client_id", "status")}, **changes}


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code."""
    return answer.status_code, answer.json()["error"]["code"]


async def audited(desk: Desk, operator_id: int) -> list[tuple[Any, ...]]:
    """Action, who did it, details, about this person: oldest first; signing in aside."""
    return await desk.rows(
        "select action, operator_id, details from audit_log "
        "where target_type = 'operator' and target_id = %s and action not like 'operator.sign%%' order by id",
        str(operator_id),
    )


async def test_somebody_is_made_and_signs_in(desk: Desk, console: Console) -> None:
    """With the password that is shown once; the list shows them, and since when they were seen."""
    shop = await desk.shop("pizza")
    given = {"email": "Ann@shop.example", "name": " Ann ", "role": "operator", "client_id": shop.id}
    answer = await console.post("/operators", given)
    assert answer.status_code == 201 and answer.headers["cache-control"] == "no-store"
    made, password = answer.json()["operator"], answer.json()["password"]
    assert re.fullmatch(r"\w{5}(-\w{5}){3}", password)
    assert (made["name"], made["role"], made["client_name"], made["status"], made["manageable"]) == (
        "Ann",
        "operator",
        "pizza",
        "active",
        True,
    )
    assert made["last_seen_at"] is None and made["version"] == 1
    assert await row_of(console, made["id"]) == made
    me = (await console.me()).json()["operator"]["id"]
    assert await audited(desk, made["id"]) == [("operator.create", me, {"role": "operator"})]
    async with Console.of(desk.url) as ann:
        answer = await ann.post("/login", {"email": given["email"], "password": password})
        assert answer.json()["operator"]["id"] == made["id"]
    assert (await row_of(console, made["id"]))["last_seen_at"] is not None


async def test_the_list_by_pages(desk: Desk, console: Console) -> None:
    """Newest first; a client's own; an admin of one client sees their own, and none of another's."""
    shop, other = await desk.shop(), await desk.shop()
    admin = await hire(desk.pool, desk.keyring, role="admin", client_id=shop.id)
    staff = [await hire(desk.pool, desk.keyring, role="operator", client_id=shop.id) for _ in range(3)]
    stranger = await hire(desk.pool, desk.keyring, role="operator", client_id=other.id)
    mine = [each.id for each in (*reversed(staff), admin)]
    assert [row["id"] for row in await listed(console)][:5] == [stranger.id, *mine]
    assert [row["id"] for row in await listed(console, client_id=shop.id)] == mine
    first = (await console.send("GET", "/operators", client_id=shop.id, limit=3)).json()
    rest = (await console.send("GET", "/operators", client_id=shop.id, limit=3, before=first["before"])).json()
    assert [row["id"] for row in (*first["rows"], *rest["rows"])] == mine and rest["before"] is None
    async with Console.of(desk.url) as theirs:
        await theirs.sign_in(admin)
        assert [row["id"] for row in await listed(theirs)] == mine
        assert refusal(await theirs.send("GET", "/operators", client_id=other.id)) == (404, "not_found")


async def test_an_edit(desk: Desk, console: Console) -> None:
    """A name alone leaves them signed in; another role, client or status signs them out."""
    shop, other = await desk.shop(), await desk.shop()
    ann = await hire(desk.pool, desk.keyring, role="operator", client_id=shop.id, name="Ann")
    path = f"/operators/{ann.id}"
    async with Console.of(desk.url) as hers:
        await hers.sign_in(ann)
        answer = await console.send("PUT", path, edit_of(await row_of(console, ann.id), name=" Anna "))
        assert (answer.json()["name"], answer.json()["version"]) == ("Anna", 2)
        assert (await hers.me()).json()["operator"]["name"] == "Anna"
        for changes in ({"role": "admin"}, {"client_id": other.id}, {"status": "disabled"}):
            saved = await console.send("PUT", path, edit_of(await row_of(console, ann.id), **changes))
            assert saved.status_code == 200 and saved.json() == await row_of(console, ann.id)
            assert refusal(await hers.me()) == (401, "signed_out")
            if changes != {"status": "disabled"}:
                await hers.sign_in(ann)
        login = await hers.post("/login", {"email": ann.email, "password": PASSWORD})
        assert refusal(login) == (401, "bad_login")
    me = (await console.me()).json()["operator"]["id"]
    edits = [(who, details["fields"]) for action, who, details in await audited(desk, ann.id) if "update" in action]
    assert edits == [(me, ["name"]), (me, ["role"]), (me, ["client_id"]), (me, ["status"])]


async def test_two_editors(desk: Desk, console: Console) -> None:
    """The second is told who and when, and nothing is overwritten."""
    ann = await hire(desk.pool, desk.keyring, role="admin", name="Ann")
    seen = await row_of(console, ann.id)
    async with Console.of(desk.url) as other:
        await other.sign_in(await hire(desk.pool, desk.keyring, name="Bob"))
        assert (await other.send("PUT", f"/operators/{ann.id}", edit_of(seen, name="Theirs"))).status_code == 200
    late = await console.send("PUT", f"/operators/{ann.id}", edit_of(seen, name="Mine"))
    assert refusal(late) == (409, "changed_meanwhile")
    assert re.search(r"by Bob at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", late.json()["error"]["message"])
    assert (await row_of(console, ann.id))["name"] == "Theirs"


async def test_the_last_owner_stays(desk: Desk, console: Console) -> None:
    """Nobody takes one's own role away; of two owners one may go, and then no more."""
    me = (await console.me()).json()["operator"]["id"]
    mine = await row_of(console, me)
    for changes in ({"status": "disabled"}, {"role": "admin"}):
        answer = await console.send("PUT", f"/operators/{me}", edit_of(mine, **changes))
        assert refusal(answer) == (409, "own_account")
    assert (await console.send("PUT", f"/operators/{me}", edit_of(mine, name="Olivia"))).status_code == 200
    other = await hire(desk.pool, desk.keyring, name="Other")
    async with Console.of(desk.url) as theirs:
        await theirs.sign_in(other)
        gone = await theirs.send("PUT", f"/operators/{me}", edit_of(await row_of(theirs, me), role="admin"))
        assert gone.status_code == 200
        # An owner by another owner's session that was opened before: the only one now.
        last = await theirs.send("PUT", f"/operators/{other.id}", edit_of(await row_of(theirs, other.id), role="admin"))
        assert refusal(last) == (409, "own_account")
    assert await desk.rows("select count(*) from operators where role = 'owner' and status = 'active'") == [(1,)]


async def test_an_admin_of_one_client(desk: Desk) -> None:
    """Manages that client's people, makes no owner and nobody for another client, and sees no one else."""
    shop, other = await desk.shop(), await desk.shop()
    owner = await hire(desk.pool, desk.keyring)
    colleague = await hire(desk.pool, desk.keyring, role="operator", client_id=shop.id)
    stranger = await hire(desk.pool, desk.keyring, role="operator", client_id=other.id)
    everywhere = await hire(desk.pool, desk.keyring, role="admin")
    async with Console.of(desk.url) as admin:
        await admin.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=shop.id))
        new = {"email": "new@shop.example", "name": "New", "role": "operator", "client_id": shop.id}
        assert (await admin.post("/operators", new)).status_code == 201
        new["email"] = "newer@shop.example"
        assert refusal(await admin.post("/operators", {**new, "role": "owner", "client_id": None})) == (
            403,
            "role_needed",
        )
        for client_id in (other.id, None):
            answer = await admin.post("/operators", {**new, "role": "admin", "client_id": client_id})
            assert (answer.status_code, answer.json()["error"]["field"]) == (422, "client_id")
        row = await row_of(admin, colleague.id)
        assert (await admin.send("PUT", f"/operators/{colleague.id}", edit_of(row, role="admin"))).status_code == 200
        row = await row_of(admin, colleague.id)
        moved = await admin.send("PUT", f"/operators/{colleague.id}", edit_of(row, client_id=other.id))
        assert (moved.status_code, moved.json()["error"]["field"]) == (422, "client_id")
        raised = await admin.send("PUT", f"/operators/{colleague.id}", edit_of(row, role="owner", client_id=None))
        assert refusal(raised) == (403, "role_needed")
        await nobody_else(admin, [owner, stranger, everywhere])


async def nobody_else(console: Console, others: list[Operator]) -> None:
    """All of them have the answer of one who is not there."""
    for operator_id in (*(each.id for each in others), 999_999):
        edit = {"version": 1, "name": "x", "role": "operator", "client_id": 1, "status": "disabled"}
        answers = [
            await console.send("PUT", f"/operators/{operator_id}", edit),
            await console.send("POST", f"/operators/{operator_id}/reset-password"),
            await console.send("POST", f"/operators/{operator_id}/link"),
        ]
        assert [(each.status_code, each.json()["error"]["message"]) for each in answers] == [
            (404, "there is no such operator")
        ] * 3


async def test_an_admin_of_all_clients(desk: Desk) -> None:
    """Manages everybody but owners: none is made, changed, or signed in as."""
    shop = await desk.shop()
    owner = await hire(desk.pool, desk.keyring)
    ann = await hire(desk.pool, desk.keyring, role="operator", client_id=shop.id)
    async with Console.of(desk.url) as admin:
        await admin.sign_in(await hire(desk.pool, desk.keyring, role="admin"))
        assert (await row_of(admin, owner.id))["manageable"] is False
        assert (await row_of(admin, ann.id))["manageable"] is True
        row = await row_of(admin, owner.id)
        for answer in (
            await admin.send("PUT", f"/operators/{owner.id}", edit_of(row, name="x")),
            await admin.send("POST", f"/operators/{owner.id}/reset-password"),
            await admin.send("POST", f"/operators/{owner.id}/link"),
            await admin.post("/operators", {"email": "o@x.example", "name": "O", "role": "owner"}),
        ):
            assert refusal(answer) == (403, "role_needed")
        assert (await admin.send("POST", f"/operators/{ann.id}/reset-password")).status_code == 200


async def test_another_password_and_a_link(desk: Desk, console: Console) -> None:
    """Each is shown once and lets them in; with a new password every session is over."""
    ann = await hire(desk.pool, desk.keyring, role="admin")
    me = (await console.me()).json()["operator"]["id"]
    async with Console.of(desk.url) as hers:
        await hers.sign_in(ann)
        answer = await console.send("POST", f"/operators/{ann.id}/reset-password")
        assert answer.headers["cache-control"] == "no-store"
        assert refusal(await hers.me()) == (401, "signed_out")
        await hers.sign_in(ann, answer.json()["password"])
        told = (await console.send("POST", f"/operators/{ann.id}/link")).json()
        origin, secret = told["url"].split("/admin/link#")
        assert (origin, told["expires_in_s"]) == (desk.url, 900)
        assert (await hers.post("/link", {"secret": secret})).json()["operator"]["id"] == ann.id
    assert refusal(await console.send("POST", f"/operators/{me}/reset-password")) == (409, "own_account")
    assert [(action, who) for action, who, _ in await audited(desk, ann.id)][1:] == [
        ("operator.reset_password", me),
        ("operator.link", me),
    ]
    for path in ("reset-password", "link"):
        assert (await console.send("POST", f"/operators/999999/{path}")).status_code == 404


async def test_ones_own_password(desk: Desk) -> None:
    """With the one that one has; the other sessions end, this one goes on."""
    ann = await hire(desk.pool, desk.keyring, role="admin")
    async with Console.of(desk.url) as here, Console.of(desk.url) as there:
        await here.sign_in(ann)
        await there.sign_in(ann)
        wrong = await here.post("/me/password", {"current": ANOTHER, "new": ANOTHER})
        assert (*refusal(wrong), wrong.json()["error"]["field"]) == (422, "wrong_password", "current")
        for new in ("short", ann.email, "x" * 1025):
            answer = await here.post("/me/password", {"current": PASSWORD, "new": new})
            assert (answer.status_code, answer.json()["error"]["field"]) == (422, "new")
        assert (await there.me()).status_code == 200
        assert (await here.post("/me/password", {"current": PASSWORD, "new": ANOTHER})).status_code == 204
        assert (await here.me()).status_code == 200
        assert refusal(await there.me()) == (401, "signed_out")
        await there.sign_in(ann, ANOTHER)
        assert refusal(await there.post("/login", {"email": ann.email, "password": PASSWORD})) == (401, "bad_login")
    assert [action for action, *_ in await audited(desk, ann.id)] == ["operator.create", "operator.change_password"]


async def test_guessing_at_an_open_console(desk: Desk) -> None:
    """After five wrong ones one waits, with the right one too, and so does a sign-in."""
    ann = await hire(desk.pool, desk.keyring)
    async with Console.of(desk.url) as console:
        await console.sign_in(ann)
        for _ in range(5):
            wrong = await console.post("/me/password", {"current": "incorrect horse", "new": ANOTHER})
            assert refusal(wrong) == (422, "wrong_password")
        right = await console.post("/me/password", {"current": PASSWORD, "new": ANOTHER})
        assert refusal(right) == (429, "locked_out")
        assert refusal(await console.post("/login", {"email": ann.email, "password": PASSWORD})) == (429, "locked_out")
    async with Console.of(desk.url) as other:
        link = await Staff(desk.pool, Keyring(desk.settings.secret_keys)).login_link(ann.id)
        assert (await other.post("/link", {"secret": link})).status_code == 200


NEW = {"email": "ann@shop.example", "name": "Ann", "role": "admin"}
WRONG: list[tuple[dict[str, Any], int, str | None]] = [
    ({"email": "ann"}, 422, "email"),
    ({"email": "a b@shop.example"}, 422, "email"),
    ({"email": "x" * 321}, 422, "email"),
    ({"email": "taken@shop.example"}, 409, "email"),
    ({"name": " "}, 422, "name"),
    ({"name": "x" * 101}, 422, "name"),
    ({"name": "a\nb"}, 422, "name"),
    ({"role": "king"}, 422, "role"),
    ({"role": "operator"}, 422, "client_id"),
    ({"role": "owner", "client_id": 1}, 422, "client_id"),
    ({"client_id": "x"}, 422, "client_id"),
    ({"client_id": 999_999}, 404, None),
]
WRONG_EDITS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"role": "king"}, "role"),
    ({"role": "operator"}, "client_id"),
    ({"status": "asleep"}, "status"),
    ({"version": "x"}, "version"),
]


async def test_each_fields_bad_input(desk: Desk, console: Console) -> None:
    """The field is named, and nobody is made or changed."""
    await desk.shop()
    taken = await hire(desk.pool, desk.keyring, email="Taken@shop.example", role="admin")
    before = await listed(console)
    for changes, status, field in WRONG:
        answer = await console.post("/operators", {**NEW, **changes})
        assert (answer.status_code, answer.json()["error"].get("field")) == (status, field), answer.text
    row = await row_of(console, taken.id)
    for changes, wrong in WRONG_EDITS:
        answer = await console.send("PUT", f"/operators/{taken.id}", edit_of(row, **changes))
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, wrong)
    assert await listed(console) == before
