"""How the demo model words what tools say. Results are JSON where the tool speaks JSON, else text.

Orders, products and bookings are told in sentences, whatever tool they came from; any other shape as a list.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import msgspec

from server.llm.demo_script import PHRASES, STATUSES, Language, dress

_UNAPPROVED: Final = re.compile(r"\bvisitor (?:(?P<declined>declined|refused)|did not answer)\b", re.IGNORECASE)
_IN_DOUBT: Final = re.compile(r"\bnot (?:known|sure|certain) (?:whether|if)\b", re.IGNORECASE)
_NOTHING: Final = re.compile(r"\bhas nothing that matches\b|\bnothing was found\b", re.IGNORECASE)
_SIGNS: Final = {"USD": "$", "EUR": "€", "GBP": "£", "ILS": "₪"}
_WEEKDAYS_HE: Final = ("שני", "שלישי", "רביעי", "חמישי", "שישי", "שבת", "ראשון")
# Rows of a list: a visitor reads no more.
_ROWS: Final = 10


def word_result(result: str, language: Language, *, contact: str = "") -> str:
    """A tool's result as markdown. `contact` is what the business says about reaching it, for when a tool failed."""
    words = PHRASES[language]
    if found_nothing(result):
        return words["nothing"]
    try:
        data = msgspec.json.decode(result)
    except msgspec.DecodeError:
        return f"{words['result']}\n\n{dress(result.strip())}"
    if isinstance(data, dict):
        if reason := data.get("error"):
            return _failure(reason if isinstance(reason, str) else _short(reason), words, contact)
        told = _told(data, language)
        if told:
            return told
        listed = [value for value in data.values() if isinstance(value, list)]
        if len(listed) == 1:
            data = listed[0]
    if isinstance(data, list):
        if all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in data):
            return _products(data, language)
        return "\n".join(
            (words["result_list"].format(count=len(data)), "", *(f"- {_line(item)}" for item in data[:_ROWS]))
        )
    if isinstance(data, dict):
        return "\n".join(
            (words["result"], "", *(f"- **{_label(key)}**: {_short(value)}" for key, value in data.items()))
        )
    return f"{words['result']} {_short(data)}"


def found_nothing(result: str) -> bool:
    """Whether a look-up came back empty."""
    try:
        data = msgspec.json.decode(result)
    except msgspec.DecodeError:
        return not result.strip() or _NOTHING.search(result) is not None
    if isinstance(data, dict) and len(data) == 1 and isinstance(only := next(iter(data.values())), list):
        data = only
    return data in ({}, [], None, "")


def _failure(reason: str, words: Mapping[str, str], contact: str) -> str:
    """Honest, and without what was meant for a model's ears: that stands behind a semicolon."""
    if match := _UNAPPROVED.search(reason):
        return words["declined" if match["declined"] else "unanswered"]
    plain = dress(reason.partition(";")[0].strip().rstrip("."))
    rest = words["in_doubt" if _IN_DOUBT.search(reason) else "cannot"]
    said = f"{words['failed'].format(reason=plain)}. {rest}"
    return f"{said}\n\n{words['instead'].format(contact=contact)}" if contact else said


def _told(data: Mapping[str, Any], language: Language) -> str | None:
    """An order or a booking in sentences; None for anything else."""
    if "order_id" in data and data.get("found") is False:
        return PHRASES[language]["order_unknown"].format(order_id=_short(data["order_id"]))
    if "order_id" in data and isinstance(data.get("status"), str):
        return _order(data, language)
    if isinstance(data.get("date" if data.get("booked") is True else "reason"), str) and "booked" in data:
        return _booking(data, language)
    return None


def _order(data: Mapping[str, Any], language: Language) -> str:
    words = PHRASES[language]
    status = str(data["status"])
    known = STATUSES.get(status, {}).get(language, status.replace("_", " "))
    parts = [words["order"].format(order_id=_short(data["order_id"]), status=known)]
    if isinstance(minutes := data.get("eta_minutes"), int):
        parts.append(words["order_eta"].format(minutes=minutes))
    items = data.get("items")
    if isinstance(items, list) and all(isinstance(each, dict) and "name" in each for each in items) and "total" in data:
        named = ", ".join(f"{each.get('quantity', 1)} x {_short(each['name'])}" for each in items)
        parts.append(words["order_items"].format(items=named, total=_money(data["total"], data)))
    return " ".join(parts)


def _booking(data: Mapping[str, Any], language: Language) -> str:
    words = PHRASES[language]
    if data["booked"] is not True:
        return words["not_booked"].format(reason=_short(data["reason"]).rstrip(". "))
    name = data.get("name")
    weekday, day = _day(data["date"], language)
    said = words.get(f"booked_{data.get('kind')}", words["booked"]).format(
        party=_short(data.get("party_size", "")),
        weekday=weekday,
        date=day,
        time=_clock(str(data.get("time", "")), language),
        under=words["booked_under"].format(name=_short(name)) if name else "",
    )
    parts = [said]
    if "reference" in data:
        parts.append(words["booked_reference"].format(reference=_short(data["reference"])))
    assumed = [words[key] for each in data.get("assumed") or () if (key := f"assumed_{each}") in words]
    if assumed:
        fields = f"{', '.join(assumed[:-1])} {words['and']} {assumed[-1]}" if len(assumed) > 1 else assumed[0]
        parts.append(f"\n\n{words['booked_assumed'].format(fields=fields)}")
    return " ".join(parts).replace(" \n", "\n")


def _products(items: Sequence[Mapping[str, Any]], language: Language) -> str:
    """One in a sentence, several in a table where they have prices, else in a list."""
    words = PHRASES[language]
    if len(items) == 1:
        return _product(items[0], language)
    if not all("price" in each for each in items):
        return "\n".join(f"- {_product(each, language)}" for each in items[:_ROWS])
    with_stock = all("in_stock" in each for each in items)
    head = [words["item"], words["price"], *([words["available"]] if with_stock else [])]
    rows = [f"| {' | '.join(head)} |", f"| --- | ---: |{' --- |' if with_stock else ''}"]
    for each in items[:_ROWS]:
        stock = f" {words['available_yes' if each['in_stock'] else 'available_no']} |" if with_stock else ""
        rows.append(f"| {_cell(each['name'])} | **{_money(each['price'], each)}** |{stock}")
    return "\n".join((words["products"], "", *rows))


def _product(item: Mapping[str, Any], language: Language) -> str:
    words = PHRASES[language]
    name, left = _short(item["name"]), item.get("quantity_left")
    if "in_stock" in item and "price" in item:
        few = words["product_left"].format(count=left) if isinstance(left, int) and left < 20 else ""
        phrase = words["product" if item["in_stock"] else "product_out"]
        return phrase.format(name=name, price=_money(item["price"], item), left=few)
    if "in_stock" in item:
        return words["stock" if item["in_stock"] else "stock_out"].format(name=name, count=_short(left))
    if "about" in item:
        parts = [words["about"].format(name=name, about=_short(item["about"]).rstrip("."))]
        if "price" in item:
            parts.append(words["about_price"].format(price=_money(item["price"], item)))
        if contains := item.get("contains"):
            parts.append(words["about_contains"].format(contains=_short_list(contains, words)))
        return " ".join(parts)
    return _line(item)


def _short_list(values: Any, words: Mapping[str, str]) -> str:
    named = [_short(each) for each in values] if isinstance(values, list) else [_short(values)]
    return f"{', '.join(named[:-1])} {words['and']} {named[-1]}" if len(named) > 1 else named[0]


def _money(amount: Any, item: Mapping[str, Any]) -> str:
    currency = str(item.get("currency", ""))
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        return _short(amount)
    figure = f"{amount:,.0f}" if float(amount).is_integer() else f"{amount:,.2f}"
    sign = _SIGNS.get(currency)
    return f"{sign}{figure}" if sign else f"{figure} {currency}".strip()


def _day(iso: str, language: Language) -> tuple[str, str]:
    try:
        day = date.fromisoformat(iso)
    except ValueError:
        return "", iso
    if language == "he":
        return _WEEKDAYS_HE[day.weekday()], f"{day.day}.{day.month}.{day.year}"
    return day.strftime("%A"), f"{day.day} {day.strftime('%B')}"


def _clock(text: str, language: Language) -> str:
    match = re.fullmatch(r"(\d\d):(\d\d)", text)
    if match is None or language == "he":
        return text
    hour, minute = int(match[1]), match[2]
    return f"{(hour - 1) % 12 + 1}{'' if minute == '00' else f':{minute}'} {'am' if hour < 12 else 'pm'}"


def _line(item: Any) -> str:
    if isinstance(item, dict):
        return ", ".join(f"{_label(key)}: **{_short(value)}**" for key, value in item.items())
    return _short(item)


def _label(key: object) -> str:
    return str(key).replace("_", " ").strip().capitalize()


def _cell(value: Any) -> str:
    return _short(value).replace("|", "/").replace("\n", " ")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 300 else f"{text[:299]}…"
