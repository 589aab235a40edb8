"""The workflows of `examples/n8n/`: n8n 2.x's format, nobody answered who cannot sign, and the demo's own answers.

They were run in n8n 2.41 as well; these tests run their JavaScript and expressions in Node.
"""

import base64
import hashlib
import hmac
import json
import re
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from server.embedded import demo_shop
from server.embedded.demo_catalogue import DEMO_TOOLS
from server.net import webhooks
from server.tools.setup import definition
from server.tools.setup.definition import ToolDefinition
from tests.examples.n8n_editor import FOLDER, WORKFLOWS, Parameter, Task, Workflow, fill, run

# Types and versions as n8n 2.41's node packages list them, and how many outputs each has.
NODES = {
    "webhook": (2.1, 1),
    "extractFromFile": (1.1, 2),  # the second where its errors go
    "crypto": (2, 1),
    "if": (2.3, 2),
    "code": (2, 1),
    "respondToWebhook": (1.5, 1),
    "httpRequest": (4.5, 1),
    "googleSheets": (4.7, 1),
    "googleCalendar": (1.3, 1),
    "wait": (1.1, 1),
    "stickyNote": (1, 0),
}
SIGNED = "Signed by Frontdesk?"
BEFORE = {"Webhook", "Raw body", "Expected signature", SIGNED, "Refuse"}
NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
KEY = "trn_0123456789:2"
CONFIG = {"timezone": "America/Los_Angeles"}

each_workflow = pytest.mark.parametrize("name", WORKFLOWS)
each_tool = pytest.mark.parametrize("name", WORKFLOWS[:4])


def test_every_tool_of_the_demo_has_a_workflow() -> None:
    """And nothing else lies in the folder that n8n's import would take."""
    assert {path.stem for path in FOLDER.glob("*.json")} == set(WORKFLOWS)
    assert set(WORKFLOWS[:4]) == demo_shop.TOOLS.keys()


@each_workflow
def test_a_file_has_the_form_that_n8n_imports(name: str) -> None:
    """Nodes with unique ids and names, versions that n8n 2.x has, connections between nodes that are there."""
    flow = Workflow(name)
    assert set(flow.data) >= {"name", "nodes", "connections", "settings"}
    assert flow.data["active"] is False
    assert flow.data["settings"] == {"executionOrder": "v1"}
    for key in ("id", "name"):
        assert len({node[key] for node in flow.nodes}) == len(flow.nodes)
    for node in flow.nodes:
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", node["id"])
        assert node["type"].startswith("n8n-nodes-base.")
        assert node["typeVersion"] == NODES[flow.kind(node["name"])][0]
        assert [type(place) for place in node["position"]] == [int, int]
    for source, output, target in flow.edges:
        assert target in flow.by_name
        assert output < NODES[flow.kind(source)][1]


@each_workflow
def test_a_file_holds_no_secret(name: str) -> None:
    """No credential, no pinned data, no secret, and no code that needs more than a default n8n allows."""
    flow = Workflow(name)
    assert "whsec_" not in flow.text.replace("whsec_...", "").replace("behind `whsec_`", "").replace(
        "THE_PART_BEHIND_whsec_", ""
    )
    assert flow.data["pinData"] == {}
    assert [node["name"] for node in flow.nodes if "credentials" in node] == []
    for node in flow.nodes:
        assert not re.search(r"\brequire\b|\bimport\b|process\.env|\$env|\$vars", node["parameters"].get("jsCode", ""))


@each_workflow
def test_the_webhook_takes_raw_posts_at_the_tools_name(name: str) -> None:
    """The signature covers the bytes that came; the answer is another node's to give."""
    flow = Workflow(name)
    webhook = flow.by_name["Webhook"]
    assert webhook["webhookId"]
    assert webhook["parameters"] == {
        "httpMethod": "POST",
        "path": name,
        "responseMode": "responseNode",
        "options": {"rawBody": True},
    }
    assert [node["name"] for node in flow.nodes if flow.kind(node["name"]) == "webhook"] == ["Webhook"]


@each_workflow
def test_nothing_runs_before_the_signature_was_checked(name: str) -> None:
    """Without the way out of the check for signed calls, only the check and the refusal can run."""
    flow = Workflow(name)
    assert flow.reached("Webhook", without=(SIGNED, 0)) == BEFORE
    assert [flow.kind(each) for each in ("Raw body", "Expected signature", SIGNED)] == [
        "extractFromFile",
        "crypto",
        "if",
    ]
    assert not any(flow.by_name[each].get("disabled") for each in BEFORE)
    assert flow.by_name["Raw body"]["onError"] == "continueErrorOutput"
    assert "onError" not in flow.by_name["Expected signature"]  # without a credential it fails, and nobody is answered


@each_workflow
def test_every_way_gives_one_answer(name: str) -> None:
    """Whatever happens, whoever called hears of it, once; refusals are a 401."""
    flow = Workflow(name)
    for way in flow.ways("Webhook"):
        answers = [each for each in way if flow.kind(each) == "respondToWebhook"]
        assert len(answers) == 1, way
        assert not flow.by_name[answers[0]].get("disabled")
        assert (flow.parameters(answers[0])["options"]["responseCode"] == 401) == (answers[0] == "Refuse")


@each_workflow
def test_expressions_name_nodes_that_are_there(name: str) -> None:
    """A renamed node would break them silently."""
    flow = Workflow(name)
    assert set(re.findall(r"\$\('([^']+)'\)", flow.text)) <= flow.by_name.keys()


@each_tool
def test_a_note_says_where_the_real_call_goes(name: str) -> None:
    """One node is switched off and waits for it, and the note names it."""
    flow = Workflow(name)
    off = [node["name"] for node in flow.nodes if node.get("disabled")]
    assert len(off) == 1
    notes = [node["parameters"]["content"] for node in flow.nodes if flow.kind(node["name"]) == "stickyNote"]
    assert any(off[0] in note for note in notes)
    assert any("Hmac Secret" in note for note in notes)


# The check of signatures, evaluated.


class Sent(msgspec.Struct, frozen=True):
    """A request to a workflow."""

    headers: dict[str, str]
    body: bytes

    @property
    def nodes(self) -> dict[str, Any]:
        lower = {name.lower(): value for name, value in self.headers.items()}
        return {"Webhook": {"headers": lower, "body": json.loads(self.body)}}


def accepted(flow: Workflow, sent: list[Sent], *, key: bytes) -> list[bool]:
    """What the workflow's own nodes find of requests: the text to sign, its HMAC, the conditions."""
    crypto = flow.parameters("Expected signature")
    assert (crypto["action"], crypto["type"], crypto["encoding"]) == ("hmac", "SHA256", "base64")
    texts = fill([Parameter(text=crypto["value"], nodes=each.nodes, json={"raw": each.body.decode()}) for each in sent])
    signatures = [base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode() for text in texts]
    conditions = flow.parameters(SIGNED)["conditions"]
    assert conditions["combinator"] == "and"
    asked = [each["leftValue"] for each in conditions["conditions"]]
    found = fill(
        [
            Parameter(text=text, nodes=each.nodes, json={crypto["dataPropertyName"]: signature}, now=NOW.timestamp())
            for each, signature in zip(sent, signatures, strict=True)
            for text in asked
        ]
    )
    assert all(isinstance(each, bool) for each in found)
    return [all(found[at : at + len(asked)]) for at in range(0, len(found), len(asked))]


@each_workflow
def test_what_frontdesk_signs_is_accepted_and_nothing_else(name: str) -> None:
    """The same text, the same HMAC; five minutes; this tool alone."""
    flow, secret, now = Workflow(name), webhooks.new_secret(), int(NOW.timestamp())
    key = base64.b64decode(secret.removeprefix("whsec_"))
    body = msgspec.json.encode({"tool": name, "arguments": {"order_id": "12345"}, "name": "פיצה 🍕 {{ 1 }}"})

    def signed(*, at: int = 0, of: bytes = body, by: str = secret) -> dict[str, str]:
        return webhooks.sign(by, msg_id=KEY, timestamp=now + at, body=of)

    good = signed()
    other = msgspec.json.encode({"tool": "another", "arguments": {}})
    right = [
        Sent(good, body),
        Sent({**good, "webhook-signature": f"v1,AAAA {good['webhook-signature']}"}, body),
        Sent(signed(at=-299), body),
    ]
    wrong = [
        Sent(signed(by=webhooks.new_secret()), body),
        Sent(signed(at=-301), body),
        Sent(signed(at=301), body),
        Sent(good, body + b" "),
        Sent({**good, "webhook-timestamp": str(now - 1)}, body),
        Sent({**good, "webhook-id": "other"}, body),
        Sent({**good, "webhook-signature": good["webhook-signature"].removeprefix("v1,")}, body),
        Sent({**good, "webhook-signature": "v1,"}, body),
        *(Sent({name: value for name, value in good.items() if name != missing}, body) for missing in good),
        Sent(signed(of=other), other),
    ]
    assert accepted(flow, right, key=key) == [True] * len(right)
    assert accepted(flow, wrong, key=key) == [False] * len(wrong)


# The answers.


def answers(name: str, asked: list[dict[str, Any]], *, at: datetime = NOW) -> list[Any]:
    """What the workflow's Code node answers."""
    source = Workflow(name).parameters("Answer")["jsCode"]
    hashed = hashlib.sha256(KEY.encode()).hexdigest()
    tasks = [
        Task(
            source=source,
            expression=False,
            nodes={"Webhook": {"body": {"arguments": each, "config": CONFIG}}, "Key hash": {"data": hashed}},
            now=at.timestamp(),
        )
        for each in asked
    ]
    return [items[0]["json"] for items in run(tasks)]


ORDERS = [{"order_id": each} for each in ("12345", "#12346", " 12347 ", "12340", "99999", "")]
QUERIES = [
    "pepperoni pizza",
    "Pizzas",
    "vegan pizza",
    "mushrooms",
    "gluten-free",
    "sushi",
    "do you have any wings",
    "",
    "+",
]
PRODUCTS = [{"product": each} for each in QUERIES]
BOOKINGS: list[dict[str, Any]] = [
    {},
    {"date": "friday", "time": "7 pm", "party_size": 4, "name": "Ana"},
    *(
        {"date": each}
        for each in ("today", "Tomorrow", "next sunday", "monday", "2026-12-24", "2026-02-30", "x", "2020-01-01")
    ),
    *({"time": each} for each in ("7:30 p.m.", "12 am", "12 pm", "19.30", "25:00", "7:75", "soon", "3", "13 pm")),
    *({"party_size": each} for each in (1, 12, 13, 0)),
]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("get_order_status", ORDERS),
        ("check_inventory", PRODUCTS),
        ("get_product_info", PRODUCTS),
        ("book_appointment", BOOKINGS),
    ],
)
def test_a_workflow_answers_what_the_demo_answers(name: str, asked: list[dict[str, Any]]) -> None:
    """One contract and one set of sample data, in JavaScript and in Python."""
    shop = demo_shop.SHOPS["pizza"]
    ours = [json.loads(msgspec.json.encode(demo_shop.TOOLS[name](shop, each, KEY, NOW))) for each in asked]
    assert answers(name, asked) == ours


def test_a_booking_is_on_the_shops_own_day() -> None:
    """At 3 in the morning UTC it is still yesterday in Portland."""
    late = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
    assert answers("book_appointment", [{"date": "today", "time": "20:30"}], at=late)[0]["date"] == "2026-11-24"


def test_a_booking_hashes_its_key() -> None:
    """The reference, and the calendar's own id, are of the key that was signed: a second try is no second booking."""
    flow = Workflow("book_appointment")
    crypto = flow.parameters("Key hash")
    assert (crypto["action"], crypto["type"], crypto["encoding"]) == ("hash", "SHA256", "hex")
    headers = {"webhook-id": KEY, "idempotency-key": "not signed"}
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    nodes = {"Webhook": {"headers": headers}, "Key hash": {"data": digest}}
    calendar_id = flow.parameters("Your calendar")["additionalFields"]["id"]
    assert fill([Parameter(text=text, nodes=nodes) for text in (crypto["value"], calendar_id)]) == [KEY, digest]


@pytest.mark.parametrize(("title", "kind"), [("Progress", "progress"), ("Result", "result")])
def test_a_long_tool_signs_what_it_calls_back(title: str, kind: str) -> None:
    """Frontdesk's own check takes the message as the workflow's nodes make it."""
    flow, secret = Workflow("long_running"), webhooks.new_secret()
    source = flow.parameters(f"{title} message")["jsCode"]
    message = run([Task(source=source, expression=False, nodes={}, now=time.time())])[0][0]["json"]
    [text] = fill([Parameter(text=flow.parameters(f"Sign {title.lower()}")["value"], nodes={}, json=message)])
    digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), text.encode(), hashlib.sha256)
    post = flow.parameters(f"Post {title.lower()}")
    ready = {**message, "signature": base64.b64encode(digest).decode()}
    given = post["headerParameters"]["parameters"]
    texts = [*(each["value"] for each in given), post["body"]]
    *values, sent = fill([Parameter(text=text, nodes={}, json=ready) for text in texts])
    headers = dict(zip((each["name"] for each in given), values, strict=True))
    body = sent.encode()
    webhooks.verify(secret, headers, body, now=time.time())
    assert json.loads(body)["type"] == kind
    assert (post["method"], post["contentType"], post["rawContentType"]) == ("POST", "raw", "application/json")


@each_tool
def test_the_tools_definition_is_the_demos(name: str) -> None:
    """`frontdesk tool define` takes the file beside the workflow, and it is what `frontdesk dev` seeds."""
    read = definition.read(ToolDefinition, (FOLDER / "tools" / f"{name}.json").read_bytes(), field="file")
    demo = next(each for each in DEMO_TOOLS if each.name == name)
    assert read == ToolDefinition(
        tool_name=demo.name,
        description=demo.description,
        category=demo.category,
        effect=msgspec.convert(demo.effect, type(read.effect)),
        confirm=demo.confirm,
        parameters_schema=demo.parameters,
        label=demo.label,
    )


def test_the_readme_names_every_workflow() -> None:
    """What stands in the folder is explained."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in WORKFLOWS if f"`{name}.json`" not in readme] == []
