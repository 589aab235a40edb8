"""What the demo shops' own systems know and do: orders, stock, a book of tables. Sample data, no database.

`demo_shops.json` is the data. The workflows in `examples/n8n/` carry the pizza shop's part of it and answer the same.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

Answer = dict[str, Any]
"""What a tool says, as JSON. `{"error": ...}` where the arguments make no sense."""

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Words of a search that name no product.
_NOISE: Final = frozenset(
    re.findall(
        r"\w+",
        "a an and any are available do for got have how i in is left like many me more much now of on or order please"
        " right sell some still stock that the there this to today want what with you your",
    )
)
_TIME: Final = re.compile(r"(\d{1,2})(?:[:.](\d\d))?\s*(?:([ap])\.?m?\.?)?", re.IGNORECASE)


class Product(msgspec.Struct, frozen=True):
    """`price` in the shop's currency, `stock` in pieces."""

    name: str
    category: str
    price: float
    stock: int
    about: str
    tags: tuple[str, ...]
    contains: tuple[str, ...]


class Line(msgspec.Struct, frozen=True):
    name: str
    quantity: int


class Order(msgspec.Struct, frozen=True):
    order_id: str
    status: str
    items: tuple[Line, ...]
    total: float
    eta_minutes: int | None


class Booking(msgspec.Struct, frozen=True):
    """How a shop takes bookings. `open`: first and last minute of each open weekday, local time "HH:MM"."""

    kind: str
    assumed_time: str
    assumed_party: int
    largest_party: int
    open: dict[str, tuple[str, str]]


class Shop(msgspec.Struct, frozen=True):
    currency: str
    timezone: str
    booking: Booking
    orders: tuple[Order, ...]
    products: tuple[Product, ...]


SHOPS: Final[dict[str, Shop]] = msgspec.json.decode(
    (Path(__file__).parent / "demo_shops.json").read_bytes(), type=dict[str, Shop]
)
"""By slug."""


class _OrderAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    order_id: str


class _ProductAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    product: str


class _BookingAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    date: str | None = None
    time: str | None = None
    party_size: int | None = None
    name: str | None = None


class _NotUnderstood(ValueError):
    """An argument that makes no sense. The message is for a model to mend it by."""


def words_of(text: str) -> set[str]:
    """Lower-case words without a plural's s, and without those that name no product."""
    words = (word for word in re.findall(r"\w+", text.lower()) if word not in _NOISE)
    return {word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words}


def find(products: Sequence[Product], query: str) -> list[Product]:
    """The products a query means, the narrowest reading first: by name and kind, else by all that is said of them."""
    asked = words_of(query)
    narrow = [each for each in products if asked <= words_of(_named(each))]
    return narrow or [each for each in products if asked <= words_of(f"{_named(each)} {each.about}")]


def _named(product: Product) -> str:
    return " ".join((product.name, product.category, *product.tags))


def live(shop: Shop, query: str) -> list[Answer]:
    """Price and stock of this minute, as the shop's own API says it."""
    return [
        {
            "name": each.name,
            "category": each.category,
            "price": each.price,
            "currency": shop.currency,
            "in_stock": each.stock > 0,
            "quantity_left": each.stock,
        }
        for each in find(shop.products, query)
    ]


def get_order_status(shop: Shop, arguments: Answer, key: str, now: datetime) -> Answer:
    """An order that is not there is an answer, not an error."""
    asked = msgspec.convert(arguments, _OrderAsked)
    order_id = asked.order_id.strip().lstrip("#")
    found = next((each for each in shop.orders if each.order_id == order_id), None)
    if found is None:
        return {"order_id": order_id, "found": False}
    order: Answer = msgspec.to_builtins(found)
    return {"found": True, **order, "currency": shop.currency}


def check_inventory(shop: Shop, arguments: Answer, key: str, now: datetime) -> Answer:
    asked = msgspec.convert(arguments, _ProductAsked)
    return {
        "products": [
            {"name": each.name, "in_stock": each.stock > 0, "quantity_left": each.stock}
            for each in find(shop.products, asked.product)
        ]
    }


def get_product_info(shop: Shop, arguments: Answer, key: str, now: datetime) -> Answer:
    asked = msgspec.convert(arguments, _ProductAsked)
    return {
        "products": [
            {
                "name": each.name,
                "category": each.category,
                "about": each.about,
                "price": each.price,
                "currency": shop.currency,
                "tags": each.tags,
                "contains": each.contains,
            }
            for each in find(shop.products, asked.product)
        ]
    }


def book_appointment(shop: Shop, arguments: Answer, key: str, now: datetime) -> Answer:
    """What was not said is assumed and told. The same `key` always gives the same reference."""
    asked = msgspec.convert(arguments, _BookingAsked)
    rules = shop.booking
    here = now.astimezone(ZoneInfo(shop.timezone))
    try:
        day = _day(asked.date, here.date()) if asked.date else _next_open(rules, here.date())
        at = _clock(asked.time or rules.assumed_time)
    except _NotUnderstood as error:
        return {"error": str(error)}
    party = rules.assumed_party if asked.party_size is None else asked.party_size
    weekday = WEEKDAYS[day.weekday()]
    wanted: Answer = {
        "kind": rules.kind,
        "date": day.isoformat(),
        "weekday": weekday.capitalize(),
        "time": at.strftime("%H:%M"),
        "party_size": party,
        "name": asked.name,
    }
    reason = _refusal(rules, day, at, party, here)
    if reason is not None:
        return {"booked": False, "reason": reason, **wanted}
    given = {"date": asked.date, "time": asked.time, "party_size": asked.party_size}
    return {
        "booked": True,
        "reference": reference(key),
        **wanted,
        "assumed": [name for name, value in given.items() if value is None],
    }


def reference(key: str) -> str:
    """Short enough to say on the phone; of the key alone, so that a second try says the same."""
    return f"BK-{hashlib.sha256(key.encode()).hexdigest()[:6].upper()}"


def _day(said: str, today: date) -> date:
    word = said.strip().lower().removeprefix("next ").removeprefix("this ").removeprefix("on ")
    if word in {"today", "tonight", "היום", "הערב"}:
        return today
    if word in {"tomorrow", "מחר"}:
        return today + timedelta(days=1)
    if word in WEEKDAYS:
        return today + timedelta(days=(WEEKDAYS.index(word) - today.weekday() - 1) % 7 + 1)
    try:
        return date.fromisoformat(word)
    except ValueError:
        raise _NotUnderstood(f"date: {said!r} is no day; give YYYY-MM-DD, today, tomorrow or a weekday") from None


def _clock(said: str) -> time:
    match = _TIME.fullmatch(said.strip())
    hour, minute = (int(match[1]), int(match[2] or 0)) if match else (24, 0)
    if match and match[3] and 1 <= hour <= 12:
        hour = hour % 12 + (12 if match[3].lower() == "p" else 0)
    if hour > 23 or minute > 59:
        raise _NotUnderstood(f"time: {said!r} is no time of day; give HH:MM or such as 7 pm")
    return time(hour, minute)


def _next_open(rules: Booking, today: date) -> date:
    days = (today + timedelta(days=ahead) for ahead in range(1, 8))
    return next(day for day in days if WEEKDAYS[day.weekday()] in rules.open)


def _refusal(rules: Booking, day: date, at: time, party: int, here: datetime) -> str | None:
    weekday = WEEKDAYS[day.weekday()]
    if not 1 <= party <= rules.largest_party:
        return f"we take bookings for 1 to {rules.largest_party} people here; for more, please call"
    if datetime.combine(day, at, here.tzinfo) <= here:
        return "that time has passed"
    if weekday not in rules.open:
        return f"we are closed on {weekday.capitalize()}"
    first, last = rules.open[weekday]
    if not first <= at.strftime("%H:%M") < last:
        return f"on {weekday.capitalize()} we are open from {first} to {last}"
    return None


TOOLS: Final[dict[str, Callable[[Shop, Answer, str, datetime], Answer]]] = {
    "get_order_status": get_order_status,
    "check_inventory": check_inventory,
    "get_product_info": get_product_info,
    "book_appointment": book_appointment,
}
"""By name; they take shop, arguments, idempotency key and the time now. Wrong arguments: msgspec.ValidationError."""
