"""What an answer cost: tokens as the provider reported them, or as counted, and money as decimal."""

import time
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import msgspec

from server import log
from server.llm import pricing, tokens
from server.llm.pricing import Price
from server.llm.provider import Usage
from server.repositories import prices
from server.repositories.pool import Pool, reading
from server.repositories.turns import Paid
from server.turns.turn import Spent

logger = log.get("turns")

# Seconds a price list may be old. Prices change a few times a year.
PRICES_AGE_S = 60.0


class Bill(msgspec.Struct, frozen=True):
    """`cost` in US dollars."""

    usage: Usage
    cost: Decimal

    @classmethod
    def nothing(cls) -> "Bill":
        """For a call that reached no model."""
        return cls(Usage(input=0, output=0), Decimal(0))

    def paid(self, model: str) -> Paid | None:
        """As it is kept with the turn, by the `model` that it asked last. None where nothing was."""
        if not (self.usage.input or self.usage.output or self.cost):
            return None
        return Paid(model, self.usage.input, self.usage.output, self.cost)

    def __add__(self, other: "Bill") -> "Bill":
        mine, theirs = self.usage, other.usage
        tokens = Usage(mine.input + theirs.input, mine.output + theirs.output, mine.cached_input + theirs.cached_input)
        return Bill(tokens, self.cost + other.cost)


class Accounting:
    """Turns tokens into money with the prices in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._prices: list[Price] = []
        self._read_at = float("-inf")
        self._unpriced: set[tuple[str, str]] = set()

    async def bill(
        self,
        *,
        provider: str,
        model: str,
        usage: Usage | None,
        tokens_input: int,
        text: str,
        day: date,
        whole: bool = True,
    ) -> Bill:
        """`usage` as reported, or None: then `tokens_input` and the answer's own count stand in.

        Of an answer that is not `whole` a provider may have reported less than it sent: then the count stands in too.
        """
        if usage is None:
            usage = Usage(input=tokens_input, output=tokens.count_text(model, text))
        elif not whole:
            usage = msgspec.structs.replace(usage, output=max(usage.output, tokens.count_text(model, text)))
        price = pricing.find_price(await self._list(), provider, model, day)
        if price is None:
            if (provider, model) not in self._unpriced:
                self._unpriced.add((provider, model))
                logger.warning("no price is known, so cost counts as 0", provider=provider, model=model)
            return Bill(usage, Decimal(0))
        return Bill(usage, pricing.cost(price, usage))

    async def total(self, spent: Sequence[Spent], *, provider: str, model: str, day: date) -> Bill:
        """Of several calls: of this model, but for those that say who else it was."""
        bill = Bill.nothing()
        for each in spent:
            by_provider, by_model = each.by or (provider, model)
            bill += await self.bill(
                provider=by_provider,
                model=by_model,
                usage=each.usage,
                tokens_input=each.tokens_input,
                text=each.text,
                day=day,
                whole=each.whole,
            )
        return bill

    async def _list(self) -> list[Price]:
        if time.monotonic() - self._read_at > PRICES_AGE_S:
            async with reading(self._pool) as conn:
                rows = await prices.list_all(conn)
            self._prices = [msgspec.convert(row, Price, from_attributes=True) for row in rows]
            self._read_at = time.monotonic()
        return self._prices
