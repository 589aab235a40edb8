"""How the demo model uses tools: when the visitor's words clearly mean one, with arguments that stand in them.

Pure. It asks for what a tool requires and the visitor did not say, and never makes an argument up.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from server.llm.demo_script import NUMBERS, WAYS, Fact, content_words, find, is_priced, stems
from server.llm.provider import ToolSpec

_EMAIL: Final = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_PHONE: Final = re.compile(r"\+?\d[\d\s()-]{6,}\d")
_NUMBER: Final = re.compile(r"(?<![\w.:/-])-?\d+(?:\.\d+)?(?![\w:/-]|\.\d)")
_DATE: Final = re.compile(
    r"\b\d{4}-\d\d-\d\d\b|\b(?:today|tonight|tomorrow|(?:next |this )?(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b"
    r"|היום|מחר",
    re.IGNORECASE,
)
_TIME: Final = re.compile(r"\b\d{1,2}:\d\d(?:\s?[ap]m)?\b|\b\d{1,2}\s?[ap]m\b", re.IGNORECASE)
# "#1042", "A-1042", "order 1042"
_REFERENCE: Final = re.compile(r"#\s?([A-Za-z0-9-]{2,})|\b([A-Za-z]{1,5}-?\d{2,}[\w-]*)\b|\b(\d{3,})\b")
_QUOTED: Final = re.compile(r"[\"“«]([^\"”»]{1,200})[\"”»]")
_CALLED: Final = r"([^\W\d_][\w'-]*(?: (?-i:[A-Z])[\w'-]*)?)"
_NAME: Final = re.compile(
    rf"(?:\b(?:my name is|name:|(?:under|in) the name(?: of)?)|שמי|קוראים לי|על שם)\s+{_CALLED}"
    rf"|\b(?:i am|i'm)\s+(?=(?-i:[A-Z])){_CALLED}",
    re.IGNORECASE,
)
_OBJECT: Final = re.compile(
    r"\b(?:for|of|about|to|called|named|titled|על|של)\s+(?:an?\s|the\s|some\s)?([^\s,.?!][^,.?!]{0,60})", re.IGNORECASE
)
_FREE_TEXT: Final = frozenset({"question", "text", "message", "description", "reason", "note", "comment"})
_SEARCHED: Final = frozenset({"query", "search", "term", "keyword", "q", "product", "item", "dish"})
# Before and behind what somebody looks for.
_ASKING: Final = re.compile(
    r"^.*?\b(?:do you (?:still )?(?:have|sell|make|offer|carry|serve)|have you (?:still )?got|(?:is|are) there|any"
    r"|how many|tell me (?:more )?about|what(?:'s| is) in|details (?:of|on|about))\s+"
    r"(?:of\s+)?(?:an?\s|the\s|any\s|some\s|your\s)?"
    r"|^\W*(?:is|are)\s+(?:the\s|your\s)?|^.*?(?:יש לכם|האם יש)\s+",
    re.IGNORECASE,
)
_ASIDE: Final = re.compile(
    r"(?:\s(?:are|is|left|in stock|sold out|available|today|tonight|right now|now|please|at the moment|do you have"
    r"|are there|have you got|במלאי|היום|עכשיו))+\s*$",
    re.IGNORECASE,
)
# Asks how something is done, and does not want it done.
_HOW: Final = re.compile(
    r"\b(?:do|does|must|should|can|could|may) (?:i|we|one|people) (?:need|have|walk|also|still)\b"
    r"|\bhow (?:do|does|can|far|long|much|early|soon)\b|\bwhen (?:do|can|should|must)\b|\bwhat (?:is|are)\b"
    r"|\bwithout\b|\bwhy\b|צריך|חייב",
    re.IGNORECASE,
)
# Asks for the rules of the shop, and not for one thing.
_RULES: Final = re.compile(r"\b(?:cancel|exchange|minimum|policy|refund|return)\w*|לבטל|ביטול|החזר", re.IGNORECASE)
_DOING: Final = frozenset(
    {
        "add",
        "book",
        "buy",
        "cancel",
        "change",
        "create",
        "delete",
        "make",
        "pay",
        "place",
        "reserve",
        "schedule",
        "send",
    }
)
_IDLE: Final = frozenset({"get", "find", "tool", "the"})
MAX_CALLS: Final = 3


class Meant(msgspec.Struct, frozen=True):
    """A tool, and the words that mean it."""

    tool: ToolSpec
    words: str


def choose_calls(question: str, tools: Sequence[ToolSpec], facts: Sequence[Fact] = ()) -> list[Meant]:
    """What the words mean, at most MAX_CALLS tools: one for the whole, or one for each sentence that means another."""
    parts = [part for part in re.split(r"(?<=[?.!])\s+", question) if part.strip()]
    meant: list[Meant] = []
    for part in parts if len(parts) > 1 else ():
        tool = choose_call(part, tools, facts)
        if tool is not None and tool not in [each.tool for each in meant]:
            meant.append(Meant(tool, part))
    if len(meant) > 1:
        return meant[:MAX_CALLS]
    whole = choose_call(question, tools, facts) or (meant[0].tool if meant else None)
    return [Meant(whole, question)] if whole else []


def choose_call(question: str, tools: Sequence[ToolSpec], facts: Sequence[Fact] = ()) -> ToolSpec | None:
    """The tool that the words clearly mean: a word of its name and, name and description together, weight 3; or a way
    of asking for what its name says, where the facts do not answer that already."""
    said = content_words(question)
    best: tuple[int, ToolSpec] | None = None
    for tool in tools:
        if _asks_how(question, tool):
            continue
        if _is_search(tool) and not {"find", "search", "look"} & set(stems(question)):
            continue  # its name says what it is about, like half of what is asked here; a way of asking decides
        name = _name_words(tool)
        in_name = said & name
        score = 2 * len(in_name) + len((said & content_words(tool.description)) - in_name)
        if re.search(r"\bmy\b|שלי", question, re.IGNORECASE):  # "where is my order?" asks for what only a tool knows
            score += 1
        if _says_what_it_needs(question, tool):  # "where is order 12345?"
            score += 1
        if in_name and (score >= 3 or in_name == name) and (best is None or score > best[0]):
            best = (score, tool)
    return best[1] if best else _by_way(question, tools, facts)


def _by_way(question: str, tools: Sequence[ToolSpec], facts: Sequence[Fact]) -> ToolSpec | None:
    for way in WAYS:
        if not re.search(way.says, question, re.IGNORECASE):
            continue
        for word in way.means.split():
            tool = next((each for each in tools if word in _all_words(each)), None)
            if tool is not None and not _asks_how(question, tool) and _about_an_item(way.of, question, facts):
                return tool
    return None


def _about_an_item(of: str, question: str, facts: Sequence[Fact]) -> bool:
    """Whether it is the price list's things that are asked for. Of parking or a phone number the facts tell more."""
    if of == "anything":
        return True
    known = find(_searched(question), facts)
    priced = [fact for fact in known if is_priced(fact)]
    return len(priced) * 2 >= len(known) and (bool(known) or of == "item")


def _asks_how(question: str, tool: ToolSpec) -> bool:
    """Whether it is asked how something is done, by a question that only sounds like this tool."""
    name = set(_all_words(tool))
    rule = _RULES.search(question)
    return bool((rule and not name & set(stems(rule.group()))) or (name & _DOING and _HOW.search(question)))


def _all_words(tool: ToolSpec) -> list[str]:
    return stems(re.sub(r"[_.-]", " ", tool.name))


def _is_search(tool: ToolSpec) -> bool:
    return bool({"find", "search", "lookup"} & set(_all_words(tool)))


def _name_words(tool: ToolSpec) -> set[str]:
    return set(_all_words(tool)) - _IDLE


def _says_what_it_needs(question: str, tool: ToolSpec) -> bool:
    required = tool.parameters.get("required")
    if not isinstance(required, list) or not required:
        return False
    known = pull_arguments(question, tool.parameters, sure=True)
    return all(name in known for name in required)


def pull_arguments(question: str, schema: Mapping[str, Any], *, sure: bool = False) -> dict[str, Any]:
    """What of a JSON Schema's properties stands in the words. With `sure`, only what looks like nothing else.

    A property that is not required is filled by what looks like nothing else alone.
    """
    required = schema.get("required")
    needed = required if isinstance(required, list) and not sure else []
    arguments: dict[str, Any] = {}
    for name, spec in _properties(schema):
        value = _value(name, spec, question, needed=name in needed)
        if value is not None:
            arguments[name] = value
    return arguments


def missing(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Required properties that were not said, as words ("order_id" -> "order id")."""
    required = schema.get("required")
    if not isinstance(required, list):
        return []
    return [str(name).replace("_", " ") for name in required if name not in arguments]


def _properties(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    properties = schema.get("properties")
    if isinstance(properties, dict):
        yield from ((str(name), spec) for name, spec in properties.items() if isinstance(spec, dict))


def _value(name: str, spec: Mapping[str, Any], text: str, *, needed: bool) -> Any:
    if isinstance(choices := spec.get("enum"), list):
        lower = text.lower()
        return next(
            (c for c in choices if isinstance(c, str) and re.search(rf"\b{re.escape(c.lower())}\b", lower)), None
        )
    kind = spec.get("type")
    if kind in ("integer", "number"):
        return _number(text, whole=kind == "integer")
    return (
        _string(set(stems(name.replace("_", " "))), str(spec.get("format", "")), text, needed)
        if kind == "string"
        else None
    )


def _number(text: str, *, whole: bool) -> int | float | None:
    """The first number that is no time, day, address or phone number, in digits or as a word."""
    for other in (_EMAIL, _TIME, _DATE, _PHONE):
        text = other.sub(" ", text)
    match = _NUMBER.search(text)
    if match is None:
        return next((NUMBERS[word] for word in re.findall(r"[^\W\d_]+", text.lower()) if word in NUMBERS), None)
    value = float(match.group())
    return int(value) if value.is_integer() else (None if whole else value)


def _string(words: set[str], form: str, text: str, needed: bool) -> str | None:
    def first(pattern: re.Pattern[str]) -> str | None:
        match = pattern.search(text)
        return next((group for group in (*match.groups(), match.group()) if group), None) if match else None

    if form == "email" or words & {"email", "mail"}:
        return first(_EMAIL)
    if words & {"phone", "telephone", "mobile"}:
        return first(_PHONE)
    if form in ("date", "date-time") or words & {"date", "day", "when"}:
        return first(_DATE)
    if form == "time" or "time" in words:
        return first(_TIME)
    if words & {"id", "number", "code", "reference", "order", "tracking", "sku"}:
        return first(_REFERENCE)
    if "name" in words and not words - {"name", "customer", "visitor", "guest", "full", "first"}:
        return first(_NAME)
    if not needed:
        return None
    if words & _SEARCHED:
        return _searched(text)
    if words & _FREE_TEXT:
        return text
    found = first(_QUOTED) or first(_OBJECT)
    return found.strip() if found else None


def _searched(text: str) -> str:
    """What is looked for: "do you have pepperoni pizza today?" looks for pepperoni pizza."""
    sentence = text.strip().rstrip("?!. ")
    return _ASIDE.sub("", _ASKING.sub("", sentence, count=1)).strip() or sentence
