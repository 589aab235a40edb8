"""The systems of the demo shops under `frontdesk dev`: a webhook that answers as n8n would, and a small API of stock.

    POST /demo/n8n/{tool}                        signed as Standard Webhooks; the client's own secret of that tool
    GET  /demo/shop/{slug}/products?query=...    header x-api-key, as the shop's integration carries it

Both speak the contract that real ones speak. They are mounted with the demo pages and never in production.
"""

import asyncio
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from server import ids, log
from server.embedded import demo_shop
from server.embedded.demo_keys import API_KEY_HEADER, is_api_key, signing_secret
from server.embedded.demo_shop import SHOPS, Shop
from server.errors import EgressError, Unauthorized
from server.net import webhooks
from server.net.egress import Egress
from server.net.vault import Vault
from server.repositories.pool import Pool, reading

logger = log.get("demo")

BODY_BYTES: Final = 64 * 1024
# Seconds a step takes, so that a visitor sees it happen.
STEP_S: Final = 0.5
# Bookings that are remembered; the oldest goes first.
BOOK_SIZE: Final = 1000
# What a visitor reads while a booking is made, by language.
_STEPS: Final[dict[str, tuple[str, str]]] = {
    "en": ("Looking for a free place", "Writing it into the book"),
    "he": ("מחפשים מקום פנוי", "רושמים ביומן"),
    "ar": ("جارٍ البحث عن مكان شاغر", "جارٍ التدوين في السجل"),
    "de": ("Ein freier Platz wird gesucht", "Es wird ins Buch eingetragen"),
    "fr": ("Recherche d'une place libre", "Inscription dans le carnet"),
    "es": ("Buscando un sitio libre", "Anotándolo en el libro"),
}


class Desk(Protocol):
    """What these routes need of the running instance, `request.state.services`."""

    @property
    def pool(self) -> Pool: ...
    @property
    def vault(self) -> Vault: ...
    @property
    def egress(self) -> Egress: ...


class _Client(msgspec.Struct, frozen=True):
    id: int


class _Conversation(msgspec.Struct, frozen=True):
    locale: str = "en"


class _Callback(msgspec.Struct, frozen=True):
    url: str


class _Asked(msgspec.Struct, frozen=True):
    """What of a webhook's request is read here."""

    tool: str
    arguments: dict[str, Any]
    client: _Client
    conversation: _Conversation = _Conversation()
    callback: _Callback | None = None


class Book:
    """Bookings by idempotency key, a call's id: asked again with one, it answers what it answered first."""

    def __init__(self) -> None:
        self.entries: OrderedDict[tuple[int, str], demo_shop.Answer] = OrderedDict()

    def enter(self, shop: Shop, asked: _Asked, key: str, now: datetime) -> demo_shop.Answer:
        answer = self.entries.get((asked.client.id, key))
        if answer is None:
            answer = demo_shop.book_appointment(shop, asked.arguments, key, now)
            self.entries[asked.client.id, key] = answer
            while len(self.entries) > BOOK_SIZE:
                self.entries.popitem(last=False)
        return answer


class Systems:
    """The four tools behind one webhook, and the live data. `step_s` is the time a step takes, in seconds."""

    def __init__(self, *, step_s: float = STEP_S) -> None:
        self.book = Book()
        self._step_s = step_s

    async def run(self, request: Request) -> Response:
        """401 for whoever cannot sign; then 200 with the answer, or 202 and the answer at the callback's address."""
        desk: Desk = request.state.services
        body = await _body(request)
        if body is None:
            return _problem(413, f"the body is over {BODY_BYTES} bytes")
        try:
            asked = msgspec.json.decode(body, type=_Asked)
        except msgspec.DecodeError as error:
            return _problem(400, str(error))
        try:
            slug, secret, message_id = await _verify(desk, request, body, asked)
        except Unauthorized as error:
            return _problem(401, error.message)
        # The idempotency key, as it is signed: the header of that name is not.
        try:
            answer = self._answer(SHOPS[slug], asked, message_id)
        except msgspec.ValidationError as error:
            return _problem(422, str(error))
        if asked.tool == "book_appointment" and asked.callback is not None:
            later = BackgroundTask(self._report, desk.egress, secret, asked, asked.callback.url, answer)
            return JSONResponse({"accepted": True}, 202, background=later)
        await asyncio.sleep(self._step_s)
        return JSONResponse(answer)

    async def products(self, request: Request) -> Response:
        """The shop's live data: `{"products": [...]}` that a query means, all of them without one."""
        desk: Desk = request.state.services
        slug = request.path_params["slug"]
        async with reading(desk.pool) as conn:
            known = slug in SHOPS and await is_api_key(
                conn, desk.vault, slug=slug, given=request.headers.get(API_KEY_HEADER, "")
            )
        if not known:
            return _problem(401, f"no such shop, or not its key in {API_KEY_HEADER}")
        await asyncio.sleep(self._step_s)
        return JSONResponse({"products": demo_shop.live(SHOPS[slug], request.query_params.get("query", ""))})

    def _answer(self, shop: Shop, asked: _Asked, key: str) -> demo_shop.Answer:
        now = datetime.now(UTC)
        if asked.tool == "book_appointment":
            return self.book.enter(shop, asked, key, now)
        return demo_shop.TOOLS[asked.tool](shop, asked.arguments, key, now)

    async def _report(self, egress: Egress, secret: str, asked: _Asked, url: str, answer: demo_shop.Answer) -> None:
        """Two steps of progress, then the end."""
        language = asked.conversation.locale.partition("-")[0].lower()
        for text in _STEPS.get(language, _STEPS["en"]):
            await _post(egress, secret, url, {"type": "progress", "text": text})
            await asyncio.sleep(self._step_s)
        error = answer.get("error")
        await _post(
            egress, secret, url, {"type": "error", "error": error} if error else {"type": "result", "result": answer}
        )


async def _body(request: Request) -> bytes | None:
    """None when it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            return None
    return bytes(body)


async def _verify(desk: Desk, request: Request, body: bytes, asked: _Asked) -> tuple[str, str, str]:
    """The shop's slug, the tool's secret, the message's id. Raises Unauthorized, the same for whatever is wrong."""
    tool = request.path_params["tool"]
    async with reading(desk.pool) as conn:
        known = await signing_secret(conn, desk.vault, client_id=asked.client.id, tool_name=tool)
    if known is None or tool not in demo_shop.TOOLS or tool != asked.tool:
        raise Unauthorized("no demo shop signed this for this tool")
    return *known, webhooks.verify(known[1], request.headers, body, now=time.time())


async def _post(egress: Egress, secret: str, url: str, message: dict[str, Any]) -> None:
    body = msgspec.json.encode(message)
    signed = webhooks.sign(secret, msg_id=ids.request_id(), timestamp=int(time.time()), body=body)
    try:
        response = await egress.request(
            "POST", url, headers={"content-type": "application/json", **signed}, body=body, timeout_s=5.0
        )
    except EgressError as error:
        # Nobody waits here for an answer: the turn that waits for the result gives up in time and says so.
        logger.warning("callback not delivered", kind=error.kind, reason=error.message)
        return
    if response.status >= 400:
        logger.warning("callback refused", status=response.status)


def _problem(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


def routes(systems: Systems | None = None) -> list[BaseRoute]:
    """To be mounted before the demo's pages, and only under `frontdesk dev`."""
    systems = systems or Systems()
    return [
        Route("/demo/n8n/{tool}", systems.run, methods=["POST"]),
        Route("/demo/shop/{slug}/products", systems.products, methods=["GET"]),
    ]
