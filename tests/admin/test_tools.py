"""The catalogue of tools over HTTP: made, changed, explained; two who change it at once."""

import asyncio
from typing import Any

from tests.admin.console import BASE, Console
from tests.admin.setting_up import SCHEMA, TOOL, audited, done, everything, refused, send
from tests.flows.support import Desk
from tests.staffing import hire

NEEDS = {
    f"GET {BASE}/tools": "admin",
    f"GET {BASE}/tools/{{name}}": "admin",
    f"PUT {BASE}/tools/{{name}}": "owner",
    f"POST {BASE}/tools/check": "admin",
}
# Text that a page must never take for markup, and a terminal not for commands.
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe</script>{{7*7}}${x}"


async def test_the_whole_way(desk: Desk, console: Console) -> None:
    """Made, read, listed, changed; each change counts the version up and stands in the audit log."""
    assert await done(console, "GET /tools") == {"rows": []}
    made = await done(console, "PUT /tools/get_order", TOOL)
    assert made.pop("created_at") and made == {**TOOL, "tool_name": "get_order", "version": 1}
    changed = await done(
        console, "PUT /tools/get_order", {**TOOL, "version": 1, "description": HOSTILE, "confirm": True}
    )
    assert (changed["version"], changed["description"], changed["confirm"]) == (2, HOSTILE, True)
    assert await done(console, "GET /tools/get_order") == changed
    await done(console, "PUT /tools/book_table", {**TOOL, "effect": "unsafe", "category": "calendar"})
    rows = (await done(console, "GET /tools"))["rows"]
    assert [row["tool_name"] for row in rows] == ["book_table", "get_order"]
    assert rows[1] == changed
    assert await audited(desk) == [
        ("tool.create", "tool", "get_order", None),
        ("tool.update", "tool", "get_order", None),
        ("tool.create", "tool", "book_table", None),
    ]
    [(details,)] = await desk.rows("select details from audit_log where action = 'tool.update'")
    assert details == {"fields": ["description", "confirm"]}
    assert await refused(console, "GET /tools/nothing") == (
        404,
        "not_found",
        None,
        "there is no tool 'nothing' in the catalogue",
    )


async def test_an_admin_reads_and_does_not_write(desk: Desk, console: Console) -> None:
    """The catalogue is every client's: their admins choose from it, the owner writes it."""
    await done(console, "PUT /tools/get_order", TOOL)
    shop = await desk.shop()
    async with Console.of(desk.url) as admin:
        await admin.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=shop.id))
        before = await everything(desk)
        assert len((await done(admin, "GET /tools"))["rows"]) == 1
        assert (await done(admin, "GET /tools/get_order"))["version"] == 1
        assert (await refused(admin, "PUT /tools/get_order", {**TOOL, "version": 1}))[:2] == (403, "role_needed")
    assert await everything(desk) == before


PERSON: dict[str, Any] = {"type": "object", "properties": {"who": {"type": "string"}, "n": {"type": "integer"}}}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"version": "1"}, "version", ""),
    ({"version": -1}, "version", ""),
    ({"description": ""}, "description", "1 to 1,024 characters"),
    ({"description": "x" * 1025}, "description", "1 to 1,024 characters"),
    ({"description": "a\x1bb"}, "description", "control characters"),
    ({"description": "a\x00b"}, "description", "U+0000"),
    ({"description": None}, "description", "expected `str`"),
    ({"category": "Two Words"}, "category", "lower-case"),
    ({"effect": "harmless"}, "effect", ""),
    ({"proof": "password"}, "proof", ""),
    ({"confirm": "yes"}, "confirm", "expected `bool`"),
    ({"parameters_schema": []}, "parameters_schema", "expected `object`"),
    ({"parameters_schema": {}}, "parameters_schema", 'parameters_schema/type: must be "object"'),
    (
        {"parameters_schema": {"type": "object", "properties": {"a": {"$ref": "http://169.254.169.254/"}}}},
        "parameters_schema",
        "parameters_schema/properties/a/$ref",
    ),
    ({"bound": {"who": "visitor.id"}, "proof": "verified"}, "bound", "there is no such argument"),
    ({"bound": {"who": "visitor.id"}, "parameters_schema": PERSON}, "proof", "must be verified"),
    ({"bound": {"who": "visitor.password"}}, "bound", ""),
    ({"label": {"en": ""}}, "label", "1 to 80"),
    ({"label": {"english": "a"}}, "label", "not a language"),
    ({"label": {"en": "a\u202eb"}}, "label", "may not contain"),
]


async def test_bad_input_names_its_field(desk: Desk, console: Console) -> None:
    """Each field, to make a tool and to change one: refused with its name, and nothing changes."""
    await done(console, "PUT /tools/there", TOOL)
    before = await everything(desk)
    for changes, field, said in WRONG:
        for name, version in (("new", None), ("there", 1)):
            given = {**TOOL, "version": version, **changes}
            status, _, named, message = await refused(console, f"PUT /tools/{name}", given)
            assert (status, (named or "").partition("[")[0]) == (422, field)
            assert said in message, (changes, message)
    for missing in TOOL:
        given = {name: value for name, value in TOOL.items() if name != missing}
        assert (await refused(console, "PUT /tools/new", given))[:3] == (422, "missing", missing)
    for name in ("with%20space", "x" * 65, "a%0A", "gr%C3%B6%C3%9Fe", "a.b"):
        assert (await refused(console, f"PUT /tools/{name}", TOOL))[2] == "tool_name"
    assert (await send(console, "PUT /tools/new", {**TOOL, "description": "x" * 70_000})).status_code == 413
    assert await everything(desk) == before


async def test_two_who_edit_the_same(desk: Desk, console: Console) -> None:
    """The second is told who was faster and when; what the first wrote stays."""
    await done(console, "PUT /tools/get_order", TOOL)
    async with Console.of(desk.url) as other:
        await other.sign_in(await hire(desk.pool, desk.keyring, name="Ann Other"))
        theirs = await done(other, "PUT /tools/get_order", {**TOOL, "version": 1, "description": "Theirs."})
    before = await everything(desk)
    mine = {**TOOL, "version": 1, "description": "Mine."}
    status, code, _, message = await refused(console, "PUT /tools/get_order", mine)
    assert (status, code) == (409, "changed_meanwhile")
    assert "Ann Other" in message and " UTC" in message
    assert await done(console, "GET /tools/get_order") == theirs
    # Whoever makes a tool does not write over one, and whoever changes one does not make it.
    assert (await refused(console, "PUT /tools/get_order", TOOL))[:3] == (409, "tool_exists", "tool_name")
    assert (await refused(console, "PUT /tools/gone", mine))[:2] == (404, "not_found")
    assert await everything(desk) == before
    assert (await done(console, "PUT /tools/get_order", {**mine, "version": 2}))["version"] == 3


async def test_many_at_the_same_moment(desk: Desk, console: Console) -> None:
    """Of eight edits of one version one is taken, and of eight tools of one name one is made."""
    for version in (None, 1):
        answers = await asyncio.gather(
            *(
                send(console, "PUT /tools/get_order", {**TOOL, "version": version, "description": f"By {number}."})
                for number in range(8)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200] + 7 * [409]
        [taken] = [answer.json() for answer in answers if answer.is_success]
        assert await done(console, "GET /tools/get_order") == taken
    assert taken["version"] == 2


async def test_all_that_is_wrong_at_once(desk: Desk, console: Console) -> None:
    """Each field and each place in the schema; nothing changes; a good definition shows what a model would see."""
    before = await everything(desk)
    draft: dict[str, Any] = {
        "tool_name": "no spaces",
        "description": HOSTILE,
        "effect": "harmless",
        "colour": "red",
        "parameters_schema": {
            "type": "object",
            "properties": {"a": {"type": "strin"}, "b": {"type": "array"}, "c": {"pattern": "("}},
            "required": ["d"],
        },
        "label": {"en": "x" * 81},
    }
    told = await done(console, "POST /tools/check", {"definition": draft})
    assert told["offered"] is None
    assert {(each["field"], each["path"]) for each in told["problems"]} == {
        ("tool_name", ""),
        ("effect", ""),
        ("colour", ""),
        ("label", "en"),
        ("parameters_schema", "properties/a/type"),
        ("parameters_schema", "properties/b"),
        ("parameters_schema", "properties/c/pattern"),
        ("parameters_schema", "required/0"),
    }
    assert all(each["message"] for each in told["problems"])
    text = {**draft, "parameters_schema": '{\n  "type": "object",\n  "properties": {,}\n}'}
    told = await done(console, "POST /tools/check", {"definition": text})
    [problem] = [each for each in told["problems"] if each["field"] == "parameters_schema"]
    assert problem["message"].startswith("line 3, column 18: not JSON")
    good = {
        "tool_name": "get_order",
        "description": " Looks it up. ",
        "effect": "read_only",
        "parameters_schema": '{"type": "object", "properties": {"who": {"type": "string"}, "n": {"type": "integer"}}}',
        "bound": {"who": "visitor.id"},
        "proof": "verified",
    }
    assert await done(console, "POST /tools/check", {"definition": good}) == {
        "problems": [],
        "offered": {
            "name": "get_order",
            "description": "Looks it up.",
            "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": []},
        },
    }
    assert await done(console, "POST /tools/check", {"definition": {**good, "parameters_schema": SCHEMA, "bound": {}}})
    assert (await refused(console, "POST /tools/check", {"definition": []}))[2] == "definition"
    assert (await refused(console, "POST /tools/check", {}))[:3] == (422, "missing", "definition")
    assert await everything(desk) == before
