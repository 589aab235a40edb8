"""The tools and the live data of the demo shops: what their owners would have set up."""

from typing import Any, Final

import msgspec

_ORDER: Final = {
    "type": "object",
    "properties": {
        "order_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": 40,
            "description": "The order number as the visitor gave it, such as 12345",
        }
    },
    "required": ["order_id"],
    "additionalProperties": False,
}
_PRODUCT: Final = {
    "type": "object",
    "properties": {
        "product": {
            "type": "string",
            "minLength": 1,
            "maxLength": 100,
            "description": "The product or kind of product, in English, such as pepperoni pizza",
        }
    },
    "required": ["product"],
    "additionalProperties": False,
}
_BOOKING: Final = {
    "type": "object",
    "properties": {
        "date": {
            "type": "string",
            "maxLength": 40,
            "description": "YYYY-MM-DD, today, tomorrow or a weekday. Leave it out if the visitor did not say.",
        },
        "time": {"type": "string", "maxLength": 20, "description": "Local time, such as 19:00 or 7 pm"},
        "party_size": {"type": "integer", "minimum": 1, "maximum": 100, "description": "How many people"},
        "name": {"type": "string", "maxLength": 80, "description": "The name to book under"},
    },
    "additionalProperties": False,
}
_QUERY: Final = {
    "type": "object",
    "properties": {
        "query": {
            "type": "string",
            "minLength": 1,
            "maxLength": 100,
            "description": "What the visitor wants, in English, in a word or two",
        }
    },
    "required": ["query"],
    "additionalProperties": False,
}


class DemoTool(msgspec.Struct, frozen=True, kw_only=True):
    """One of the catalogue's tools. `label` is by language, for the visitor's eyes while it runs."""

    name: str
    description: str
    parameters: dict[str, Any]
    category: str
    effect: str
    confirm: bool
    label: dict[str, str]


class DemoEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What can be looked up in one shop's own system."""

    slug: str
    name: str
    description: str
    parameters: dict[str, Any]
    label: dict[str, str]


DEMO_TOOLS: Final = (
    DemoTool(
        name="get_order_status",
        description="Looks up an order that was placed: its status, what is in it and how long it still takes.",
        parameters=_ORDER,
        category="orders",
        effect="read_only",
        confirm=False,
        label={
            "en": "Checking your order",
            "he": "בודקים את ההזמנה שלך",
            "ar": "جارٍ التحقق من طلبك",
            "de": "Ihre Bestellung wird geprüft",
            "fr": "Vérification de votre commande",
            "es": "Consultando su pedido",
        },
    ),
    DemoTool(
        name="check_inventory",
        description="Counts how many pieces of a product are in stock right now.",
        parameters=_PRODUCT,
        category="products",
        effect="read_only",
        confirm=False,
        label={
            "en": "Counting what is in stock",
            "he": "בודקים מה יש במלאי",
            "ar": "جارٍ التحقق من المخزون",
            "de": "Der Bestand wird geprüft",
            "fr": "Vérification du stock",
            "es": "Consultando las existencias",
        },
    ),
    DemoTool(
        name="get_product_info",
        description="Describes a product in detail: ingredients, allergens, tags and price.",
        parameters=_PRODUCT,
        category="products",
        effect="read_only",
        confirm=False,
        label={
            "en": "Looking at the product",
            "he": "מעיינים בפרטי המוצר",
            "ar": "جارٍ الاطلاع على تفاصيل المنتج",
            "de": "Das Produkt wird nachgeschlagen",
            "fr": "Consultation du produit",
            "es": "Consultando el producto",
        },
    ),
    DemoTool(
        name="book_appointment",
        description=(
            "Books a table or an appointment such as a tasting. The visitor is asked to confirm before it is made, so "
            "call it as soon as they want to book; what they did not say is assumed and told in the result."
        ),
        parameters=_BOOKING,
        category="bookings",
        effect="idempotent",
        confirm=True,
        label={
            "en": "Making your booking",
            "he": "מבצעים את ההזמנה",
            "ar": "جارٍ إجراء الحجز",
            "de": "Ihre Reservierung wird eingetragen",
            "fr": "Enregistrement de votre réservation",
            "es": "Haciendo su reserva",
        },
    ),
)

DEMO_ENDPOINTS: Final = (
    DemoEndpoint(
        slug="pizza",
        name="find_pizza",
        description="Looks up dishes and drinks of the menu: the price and whether they are available right now.",
        parameters=_QUERY,
        label={
            "en": "Looking at today's menu",
            "he": "מעיינים בתפריט של היום",
            "ar": "جارٍ الاطلاع على قائمة اليوم",
            "de": "Die heutige Karte wird gelesen",
            "fr": "Consultation de la carte du jour",
            "es": "Mirando la carta de hoy",
        },
    ),
    DemoEndpoint(
        slug="bakery",
        name="find_bakes",
        description="Looks up breads, pastries, cakes and drinks: the price and whether they are available right now.",
        parameters=_QUERY,
        label={
            "en": "Looking at today's counter",
            "he": "בודקים מה יש היום בדלפק",
            "ar": "جارٍ الاطلاع على معروضات اليوم",
            "de": "Die heutige Theke wird angesehen",
            "fr": "Consultation de la vitrine du jour",
            "es": "Mirando el mostrador de hoy",
        },
    ),
)
