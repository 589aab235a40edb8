"""How the demo model uses tools: when the visitor's words clearly mean one, with arguments that stand in them.

Pure. It asks for what a tool requires and the visitor did not say, and never makes an argument up.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from server.llm.demo_script import PHRASES, Language, content_words, dress, stems
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
_NAME: Final = re.compile(
    r"\b(?:my name is|i am|i'm|name:|under the name(?: of)?|שמי|קוראים לי)\s+([^\W\d_][\w'-]*(?: [A-Z][\w'-]*)?)",
    re.IGNORECASE,
)
_OBJECT: Final = re.compile(
    r"\b(?:for|of|about|to|called|named|titled|על|של)\s+(?:an?\s|the\s|some\s)?([^\s,.?!][^,.?!]{0,60})", re.IGNORECASE
)
_FREE_TEXT: Final = frozenset(
    [
        "query",
        "question",
        "text",
        "message",
        "search",
        "term",
        "keywords",
        "q",
        "description",
        "reason",
        "note",
        "comment",
    ]
)


def choose_call(question: str, tools: Sequence[ToolSpec]) -> ToolSpec | None:
    """The tool that the words clearly mean: a word of its name and, name and description together, weight 3."""
    said = content_words(question)
    best: tuple[int, ToolSpec] | None = None
    for tool in tools:
        name = set(stems(tool.name.replace("_", " ").replace("-", " ").replace(".", " "))) - {
            "get",
            "find",
            "tool",
            "the",
        }
        in_name = said & name
        score = 2 * len(in_name) + len((said & content_words(tool.description)) - in_name)
        if re.search(r"\bmy\b|שלי", question, re.IGNORECASE):  # "where is my order?" asks for what only a tool knows
            score += 1
        if in_name and (score >= 3 or in_name == name) and (best is None or score > best[0]):
            best = (score, tool)
    return best[1] if best else None


def pull_arguments(question: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """What of a JSON Schema's properties stands in the words."""
    arguments: dict[str, Any] = {}
    for name, spec in _properties(schema):
        value = _value(name, spec, question)
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


def _value(name: str, spec: Mapping[str, Any], text: str) -> Any:
    if isinstance(choices := spec.get("enum"), list):
        lower = text.lower()
        return next(
            (c for c in choices if isinstance(c, str) and re.search(rf"\b{re.escape(c.lower())}\b", lower)), None
        )
    kind = spec.get("type")
    if kind in ("integer", "number"):
        number = _NUMBER.search(text)
        if number is None:
            return None
        value = float(number.group())
        return int(value) if value.is_integer() else (value if kind == "number" else None)
    return _string(set(stems(name.replace("_", " "))), str(spec.get("format", "")), text) if kind == "string" else None


def _string(words: set[str], form: str, text: str) -> str | None:
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
    if words & _FREE_TEXT:
        return text
    if "name" in words and not words - {"name", "customer", "visitor", "guest", "full", "first"}:
        return first(_NAME)
    found = first(_QUOTED) or first(_OBJECT)
    return found.strip() if found else None


def word_result(result: str, language: Language) -> str:
    """A tool's result as words. Results are JSON where the tool speaks JSON, else text."""
    words = PHRASES[language]
    try:
        data = msgspec.json.decode(result)
    except msgspec.DecodeError:
        return f"{words['result']}\n\n{dress(result.strip())}" if result.strip() else words["nothing"]
    if isinstance(data, dict):
        if reason := data.get("error"):
            return words["failed"].format(reason=reason if isinstance(reason, str) else _short(reason))
        listed = [value for value in data.values() if isinstance(value, list)]
        if len(listed) == 1:
            data = listed[0]
    if data in ({}, [], None, ""):
        return words["nothing"]
    if isinstance(data, list):
        return "\n".join(
            (words["result_list"].format(count=len(data)), "", *(f"- {_line(item)}" for item in data[:10]))
        )
    if isinstance(data, dict):
        return "\n".join(
            (words["result"], "", *(f"- **{_label(key)}**: {_short(value)}" for key, value in data.items()))
        )
    return f"{words['result']} {_short(data)}"


def _line(item: Any) -> str:
    if isinstance(item, dict):
        return ", ".join(f"{_label(key)}: **{_short(value)}**" for key, value in item.items())
    return _short(item)


def _label(key: object) -> str:
    return str(key).replace("_", " ").strip().capitalize()


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 300 else f"{text[:299]}…"
