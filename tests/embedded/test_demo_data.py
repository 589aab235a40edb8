"""The demo shops: what the prompt says and what the page says are the same, and the page keeps a strict policy."""

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from server.embedded.demo_catalogue import DEMO_ENDPOINTS, DEMO_TOOLS
from server.embedded.demo_data import DEMO_CLIENTS, DemoClient
from server.llm.demo_script import PHRASES, answer, content_words, facts_of
from server.llm.demo_tools import choose_calls
from server.llm.provider import ChatMessage, ToolSpec

SITE = Path(__file__).parents[2] / "widget-src" / "demo"
VOID = {"meta", "link", "img", "br", "input", "hr"}
# SVG parts that may be written `<path .../>`.
SELF_CLOSING = {"path", "circle", "ellipse", "rect", "use", "stop", "line"}
PAGES = ["index.html", "pizza/index.html", "bakery/index.html"]

each_client = pytest.mark.parametrize("client", DEMO_CLIENTS, ids=lambda client: client.slug)
each_page = pytest.mark.parametrize("page", PAGES)


class Page(HTMLParser):
    """Reads a page strictly: every element is closed by its own end tag."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.script_text: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in <{tag}>"
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SELF_CLOSING, f"<{tag}/> is no void element"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> without a start"
        assert self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            self.script_text.append(data.strip())
        else:
            self.words.append(data)


def read(path: str) -> tuple[str, Page]:
    source = (SITE / path).read_text(encoding="utf-8")
    return source, Page(source)


def prices(text: str) -> set[str]:
    return set(re.findall(r"\$\d+(?:\.\d\d)?", text))


def offered(slug: str) -> list[ToolSpec]:
    """What a model of this shop may use."""
    return [
        *(ToolSpec(each.name, each.description, each.parameters) for each in DEMO_TOOLS),
        *(ToolSpec(each.name, each.description, each.parameters) for each in DEMO_ENDPOINTS if each.slug == slug),
    ]


def reply(client: DemoClient, question: str) -> str:
    return answer([ChatMessage(role="system", text=client.system_prompt), ChatMessage(role="user", text=question)])


@each_client
def test_prices_of_prompt_and_page_are_the_same(client: DemoClient) -> None:
    """A price on the page that the model does not know, or the reverse, would make it contradict the shop."""
    _, page = read(f"{client.slug}/index.html")
    told = prices(client.system_prompt)
    assert len(told) > 15
    assert told == prices(" ".join(page.words))


@each_client
def test_each_priced_item_has_its_price_on_the_page(client: DemoClient) -> None:
    """The price beside an item is the item's own, not only one that occurs somewhere."""
    _, page = read(f"{client.slug}/index.html")
    shown = " ".join(" ".join(page.words).split())
    items = re.findall(r"^- ([^:(,\n]+?)(?: \(.*\)|, [\w ]+)?: (\$[\d.]+)$", client.system_prompt, re.MULTILINE)
    assert len(items) > 10
    for name, price in items:
        # The page leaves out what its own headings say ("Cakes") and writes "&".
        key = re.sub(r" cake$|^Flourless ", "", name).replace(" and ", " (?:and|&) ")
        match = re.search(rf"{key}[^$]*?(\$\d+(?:\.\d\d)?)", shown)
        assert match, f"{name} is not on the page"
        assert match.group(1) == price, name


@each_client
def test_contact_and_hours_of_the_prompt_are_on_the_page(client: DemoClient) -> None:
    """Phone, mail and every opening time agree."""
    _, page = read(f"{client.slug}/index.html")
    shown = " ".join(page.words)
    hours = client.system_prompt.split("Opening hours:")[1].split("\n\n")[0]
    spans = re.findall(r"from (\w+(?: [ap]m)? to \d+ [ap]m)", hours)
    assert len(spans) == 3
    mail = re.search(r"[\w.]+@[\w.]+\w", client.system_prompt)
    phone = re.search(r"\(\d{3}\) 555-01\d\d", client.system_prompt)
    assert mail
    assert phone
    assert mail.group().endswith("@" + client.domain)
    for fact in [*spans, mail.group(), phone.group()]:
        assert fact in shown, fact


@each_client
def test_every_suggestion_is_answered(client: DemoClient) -> None:
    """By a tool, or by a fact that shares a telling word with it."""
    suggestions = client.widget_config.suggestions
    assert len(suggestions) == 4
    facts = facts_of(client.system_prompt)
    tools = offered(client.slug)
    by_tool = [question for question in suggestions if choose_calls(question, tools, facts)]
    assert len(by_tool) == 3
    for question in set(suggestions) - set(by_tool):
        asked = content_words(question)
        assert any(len(asked & content_words(f"{fact.text} {fact.heading}")) >= min(2, len(asked)) for fact in facts), (
            question
        )
        assert not reply(client, question).startswith(PHRASES["en"]["unknown"]), question


def test_the_index_tells_what_to_ask() -> None:
    """What it says to try with the tools is what the pizza shop suggests."""
    _, index = read("index.html")
    shown = " ".join(" ".join(index.words).split())
    pizza = DEMO_CLIENTS[0].widget_config.suggestions
    assert [question for question in pizza[:3] if question not in shown] == []


@pytest.mark.parametrize(
    ("slug", "question", "expected"),
    [
        ("pizza", "How much is a Margherita?", "$16"),
        ("pizza", "What is your phone number?", "(503) 555-0142"),
        ("pizza", "Where are you?", "418 Alder Street"),
        ("pizza", "Can I get a refund?", "refund the full price"),
        ("pizza", "Do you sell gift cards?", "$25"),
        ("bakery", "How much is the Victoria Sponge cake?", "$48"),
        ("bakery", "Are you open on Monday?", "Monday we are closed"),
        ("bakery", "What is your address?", "27 Rosemary Lane"),
        ("bakery", "Do you have a baking class?", "$85"),
    ],
)
def test_a_visitors_plain_question_finds_its_fact(slug: str, question: str, expected: str) -> None:
    """The demo model answers what a visitor of the page would ask, with the right figure."""
    client = next(client for client in DEMO_CLIENTS if client.slug == slug)
    assert expected in reply(client, question).replace("**", "")


@each_client
def test_widget_settings_are_usable(client: DemoClient) -> None:
    """Colours are hex, the logo is a file of the site, the zone exists, texts are there."""
    config = client.widget_config
    assert config.colors is not None
    for color in (config.colors.primary, config.colors.primary_dark):
        assert color is not None
        assert re.fullmatch(r"#[0-9a-f]{6}", color)
    assert config.logo_url is not None
    assert (SITE / config.logo_url.removeprefix("/demo/")).is_file()
    assert config.welcome_message
    assert config.title == client.name
    assert ZoneInfo(client.timezone).key == client.timezone


def test_slugs_and_domains_are_unique() -> None:
    """Each shop is a client of its own."""
    assert [client.slug for client in DEMO_CLIENTS] == ["pizza", "bakery"]
    assert len({client.domain for client in DEMO_CLIENTS}) == 2


@each_page
def test_page_keeps_a_strict_content_security_policy(page: str) -> None:
    """No inline script, style or handler, and nothing from another host: `default-src 'self'` is enough."""
    source, parsed = read(page)
    assert "//" not in re.sub(r"<!--.*?-->", "", source), "an address of another host"
    assert "".join(parsed.script_text) == ""
    for tag, attributes in parsed.elements:
        assert tag not in {"style", "base", "iframe", "object", "embed", "form"}
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src"):
            value = attributes.get(name)
            if value is None:
                continue
            assert value.startswith(("/", "#", "tel:", "mailto:")), value
            if value.startswith("/demo/"):
                path = value.removeprefix("/demo/")
                file = SITE / path / "index.html" if path == "" or path.endswith("/") else SITE / path
                assert file.is_file(), value
            if value.startswith("#") and tag == "a":
                assert any(other.get("id") == value[1:] for _, other in parsed.elements), value


@each_page
def test_page_is_accessible_in_its_bones(page: str) -> None:
    """A language, a title, one h1, no skipped heading level, a text for every picture, unique ids."""
    source, parsed = read(page)
    assert '<html lang="en' in source
    tags = [tag for tag, _ in parsed.elements]
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h\d", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for tag, attributes in parsed.elements:
        if tag == "img":
            assert "alt" in attributes
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
        if tag == "button":
            assert attributes.get("type") == "button"
    ids = Counter(attributes["id"] for _, attributes in parsed.elements if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []


@each_client
def test_shop_embeds_the_widget_with_the_placeholder(client: DemoClient) -> None:
    """The one script of the page is the widget's, its key is filled in by the server, and buttons open it."""
    source, parsed = read(f"{client.slug}/index.html")
    assert source.count("{{public_key}}") == 1
    scripts = [attributes for tag, attributes in parsed.elements if tag == "script"]
    assert scripts == [{"async": None, "src": "/widget.js", "data-client-key": "{{public_key}}"}]
    assert [tag for tag, attributes in parsed.elements if "data-frontdesk-open" in attributes].count("button") >= 1


def test_the_index_has_no_widget_and_links_both_shops() -> None:
    """The index belongs to no client."""
    source, parsed = read("index.html")
    assert "{{" not in source
    assert "script" not in [tag for tag, _ in parsed.elements]
    links = {attributes.get("href") for tag, attributes in parsed.elements if tag == "a"}
    assert {f"/demo/{client.slug}/" for client in DEMO_CLIENTS} <= links


def test_style_sheets_load_nothing() -> None:
    """No import, font or picture from anywhere."""
    sheets = list(SITE.rglob("*.css"))
    assert len(sheets) == 3
    for sheet in sheets:
        assert not re.search(r"url\(|@import|@font-face", sheet.read_text(encoding="utf-8"))
