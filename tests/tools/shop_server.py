"""One local server that is three shops: a custom API, Shopify's Admin API, and WooCommerce's REST API version 3.

Each checks its credentials as the real one does. Below /weather things go wrong as `script` says.
"""

import asyncio
import base64
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote_plus

import msgspec
from aiohttp import web

from tests.tools.graphql_text import UnknownField, cut, selection

TOKEN = "tok-3f9a-static"
SHOPIFY_TOKEN = "shpat_0123456789abcdef"
CLIENT_ID, CLIENT_SECRET = "app one", "s3cret/with:odd+chars"
WOO_KEY, WOO_SECRET = "ck_0123456789", "cs_abcdefghij"

PATIENCE_S = 10.0
Script = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Received(msgspec.Struct, frozen=True):
    """One request as it came over the wire. Header names are lower-case."""

    method: str
    raw_path: str
    headers: dict[str, str]
    query: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


PRODUCTS: list[dict[str, Any]] = [
    {
        "handle": "pepperoni-pizza", "title": "Pepperoni Pizza", "status": "ACTIVE", "vendor": "Bob",
        "onlineStoreUrl": "https://bob.example/products/pepperoni-pizza", "productType": "Pizza",
        "description": "Tomato, mozzarella, pepperoni", "totalInventory": 12, "tracksInventory": True,
        "sku": "PEP-30", "price": "11.50",
    },
    {
        "handle": "secret-pizza", "title": "Secret Pizza", "status": "DRAFT", "vendor": "Bob", "onlineStoreUrl": None,
        "productType": "Pizza", "description": "Not for sale yet", "totalInventory": 3, "tracksInventory": True,
        "sku": "SEC-1", "price": "99.00",
    },
]  # fmt: skip
ORDERS: dict[str, list[dict[str, Any]]] = {
    "ann@example.com": [
        {
            "name": "#1001", "createdAt": "2026-11-01T10:00:00Z", "cancelledAt": None, "displayFinancialStatus": "PAID",
            "displayFulfillmentStatus": "FULFILLED",
            "currentTotalPriceSet": {"shopMoney": {"amount": "23.00", "currencyCode": "EUR"}},
            "lineItems": {"nodes": [{"title": "Pepperoni Pizza", "quantity": 2}]},
            "fulfillments": [
                {
                    "displayStatus": "IN_TRANSIT", "estimatedDeliveryAt": "2026-11-03T00:00:00Z", "deliveredAt": None,
                    "trackingInfo": [{"company": "DHL", "number": "JD01", "url": "https://dhl.example/JD01"}],
                }
            ],
        }
    ],
    "eve@example.com": [],
}  # fmt: skip
WOO_PRODUCTS: list[dict[str, Any]] = [
    {
        "id": 11, "name": "Pepperoni Pizza", "sku": "PEP-30", "status": "publish", "catalog_visibility": "visible",
        "price": "11.50", "regular_price": "12.00", "on_sale": True, "stock_quantity": 12, "stock_status": "instock",
        "short_description": "<p>Hot</p>", "description": "<p>Very hot</p>", "permalink": "https://bob.example/p/11",
        "categories": [{"id": 1, "name": "Pizza"}], "attributes": [{"id": 1, "name": "Size", "options": ["30 cm"]}],
        "purchase_note": "internal",
    },
    {
        "id": 12, "name": "Secret Pizza", "sku": "SEC-1", "status": "draft", "catalog_visibility": "visible",
        "price": "99.00", "regular_price": "99.00", "on_sale": False, "stock_quantity": 3, "stock_status": "instock",
        "short_description": "", "description": "", "permalink": "https://bob.example/p/12", "categories": [],
        "attributes": [], "purchase_note": "internal",
    },
]  # fmt: skip
WOO_ORDERS: list[dict[str, Any]] = [
    {
        "id": number, "number": str(number), "status": status, "currency": "EUR", "total": "23.00",
        "date_created": "2026-11-01T10:00:00", "date_paid": None, "date_completed": None, "customer_id": customer,
        "line_items": [{"id": 1, "name": "Pepperoni Pizza", "quantity": 2, "meta_data": []}],
        "billing": {"email": "somebody@example.com"},
    }
    for number, status, customer in (
        (701, "processing", 7), (702, "completed", 7), (801, "processing", 8), (901, "on-hold", 0),
    )
]  # fmt: skip


class ShopServer:
    """`url` is its origin. `requests` came in order, `tokens` are those it gave and still takes."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Received] = []
        self.tokens: set[str] = set()
        # What the token endpoint answers instead, and the fields of its usual answer.
        self.token_answer: dict[str, Any] = {"token_type": "Bearer", "expires_in": 3600}
        self.token_gate = asyncio.Event()
        self.token_gate.set()
        self.script: deque[Script] = deque()
        self._numbers = itertools.count(1)
        self._changed = asyncio.Condition()

    def to(self, *prefixes: str) -> list[Received]:
        """The requests whose path begins so."""
        return [each for each in self.requests if each.raw_path.startswith(prefixes)]

    async def wait_for(self, prefix: str) -> None:
        """Until a request came whose path begins so."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: bool(self.to(prefix)))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(
            Received(
                method=request.method,
                raw_path=request.raw_path,
                headers={name.lower(): value for name, value in request.headers.items()},
                query=list(request.query.items()),
                body=await request.read(),
            )
        )
        async with self._changed:
            self._changed.notify_all()
        match request.path.split("/")[1:]:
            case ["weather", *_]:
                return await self.script.popleft()(request) if self.script else web.json_response({"fine": True})
            case ["oauth" | "admin", *_, "token" | "access_token"]:
                return await self._token(request)
            case ["admin", "api", _, "graphql.json"]:
                return await self._graphql(request)
            case ["wp-json", "wc", "v3", *rest]:
                return self._woocommerce(request, rest)
            case ["api", "v1", *rest]:
                return self._custom(request, rest)
            case _:
                return web.json_response({"error": "not found"}, status=404)

    async def _token(self, request: web.Request) -> web.Response:
        await self.token_gate.wait()
        form = await request.post()
        given = (form.get("client_id"), form.get("client_secret"))
        if request.headers.get("Authorization", "").startswith("Basic "):
            pair = base64.b64decode(request.headers["Authorization"][6:]).decode()
            given = tuple(unquote_plus(half) for half in pair.split(":"))  # type: ignore[assignment]  # two halves
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if given != (CLIENT_ID, CLIENT_SECRET):
            return web.json_response({"error": "invalid_client", "error_description": f"no client {given}"}, status=401)
        token = f"granted-{next(self._numbers):04}"
        self.tokens.add(token)
        return web.json_response({"access_token": token, **self.token_answer})

    def _custom(self, request: web.Request, rest: list[str]) -> web.Response:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        known = {
            bearer == TOKEN,
            bearer in self.tokens,
            request.headers.get("X-API-Key") == TOKEN,
            request.query.get("api_key") == TOKEN,
            bearer == "Basic " + base64.b64encode(f"bob:{TOKEN}".encode()).decode(),
        }
        if rest[:1] == ["echo"]:
            echoed = {"path": request.raw_path, "headers": dict(request.headers), "query": list(request.query.items())}
            return web.json_response(echoed)
        if True not in known and rest[:1] != ["open"]:
            return web.json_response({"error": "who are you"}, status=401)
        match rest:
            case ["products", "search"] | ["open", "search"]:
                words = request.query.get("query", "").lower()
                found = [each for each in PRODUCTS if words in each["title"].lower()]
                return web.json_response({"products": found, "count": len(found)})
            case ["products", name] | ["open", "products", name]:
                for each in PRODUCTS:
                    if name == f"{each['sku']}.json":
                        return web.json_response({"product": each})
            case ["bookings"]:
                return web.json_response({"booked": True}, status=201)
        return web.json_response({"error": "no such thing"}, status=404)

    async def _graphql(self, request: web.Request) -> web.Response:
        token = request.headers.get("X-Shopify-Access-Token", "")
        if token != SHOPIFY_TOKEN and token not in self.tokens:
            return web.json_response({"errors": "[API] Invalid API key or access token"}, status=401)
        asked = await request.json()
        data = _shopify(asked.get("variables", {}))
        try:
            return web.json_response({"data": cut(data, selection(asked["query"]))})
        except UnknownField as error:
            return web.json_response({"errors": [{"message": str(error), "extensions": {"code": "undefinedField"}}]})

    def _woocommerce(self, request: web.Request, rest: list[str]) -> web.Response:
        expected = base64.b64encode(f"{WOO_KEY}:{WOO_SECRET}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return web.json_response({"code": "woocommerce_rest_cannot_view", "data": {"status": 401}}, status=401)
        query = request.query
        match rest:
            case ["products"]:
                found = [
                    each
                    for each in WOO_PRODUCTS
                    if query.get("status", "any") in ("any", each["status"])
                    and query.get("search", "").lower() in each["name"].lower()
                    and query.get("sku", each["sku"]) == each["sku"]
                ]
            case ["products", number]:
                one = [each for each in WOO_PRODUCTS if str(each["id"]) == number]
                if not one:
                    return web.json_response({"code": "woocommerce_rest_product_invalid_id"}, status=404)
                return web.json_response(_fields(one[0], query))
            case ["orders"]:
                for name in ("customer", "include"):
                    if name in query and not query[name].isdigit():
                        return web.json_response({"code": "rest_invalid_param"}, status=400)
                found = [
                    each
                    for each in WOO_ORDERS
                    if query.get("customer", str(each["customer_id"])) == str(each["customer_id"])
                    and query.get("include", str(each["id"])) == str(each["id"])
                ]
            case _:
                return web.json_response({"code": "rest_no_route"}, status=404)
        return web.json_response([_fields(each, query) for each in found[: int(query.get("per_page", "10"))]])


def _fields(item: dict[str, Any], query: Any) -> dict[str, Any]:
    wanted = query["_fields"].split(",") if "_fields" in query else list(item)
    return {name: item[name] for name in wanted if name in item}


def _shopify(variables: dict[str, Any]) -> dict[str, Any]:
    """All that a query could ask for, given its variables. A search is as loose as Shopify's."""
    words = str(variables.get("search", variables.get("item", ""))).lower()
    found = [each for each in PRODUCTS if words in f"{each['title']} {each['sku']} status:draft".lower()]
    handle = [each for each in PRODUCTS if each["handle"] == variables.get("handle")]
    orders = ORDERS.get(str(variables.get("email")))
    return {
        "shop": {"name": "Bob's Pizza"},
        "products": {"nodes": [_product(each) for each in found]},
        "productByIdentifier": _product(handle[0]) if handle else None,
        "productVariants": {"nodes": [{**_variant(each), "product": _product(each)} for each in found]},
        "customerByIdentifier": None if orders is None else {"orders": {"nodes": orders}},
    }


def _product(product: dict[str, Any]) -> dict[str, Any]:
    money = {"amount": product["price"], "currencyCode": "EUR"}
    return {
        **product,
        "priceRangeV2": {"minVariantPrice": money, "maxVariantPrice": money},
        "variants": {"nodes": [_variant(product)]},
    }


def _variant(product: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": "30 cm",
        "sku": product["sku"],
        "price": product["price"],
        "compareAtPrice": None,
        "availableForSale": True,
        "inventoryQuantity": product["totalInventory"],
        "inventoryItem": {"tracked": product["tracksInventory"]},
    }


@asynccontextmanager
async def shop_server() -> AsyncIterator[ShopServer]:
    """Running on a free port of 127.0.0.1."""
    server = ShopServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        server.token_gate.set()
        await runner.cleanup()


def answer(status: int = 200, body: bytes | str = b"", **headers: str) -> Script:
    """A scripted answer of /weather; `content_type` among the headers is the type's."""

    async def respond(_request: web.Request) -> web.StreamResponse:
        raw = body.encode() if isinstance(body, str) else body
        return web.Response(status=status, body=raw, headers={n.replace("_", "-"): v for n, v in headers.items()})

    return respond


def silence() -> Script:
    """No answer, until the other side hangs up."""

    async def respond(_request: web.Request) -> web.StreamResponse:
        # Cancelled when the other side is gone.
        await asyncio.Event().wait()
        raise AssertionError

    return respond


def hang_up() -> Script:
    """The connection is closed without a word."""

    async def respond(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        raise ConnectionResetError

    return respond
