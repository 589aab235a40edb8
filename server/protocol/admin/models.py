"""Models: which ones this deployment can ask."""

from datetime import date
from decimal import Decimal

from server.protocol.base import Wire
from server.protocol.client_config import ProviderName


class ModelPrice(Wire, frozen=True):
    """US dollars for a million tokens. No cached price: cached input costs what input costs."""

    input_per_million: Decimal
    cached_input_per_million: Decimal | None
    output_per_million: Decimal
    valid_from: date


class ModelInfo(Wire, frozen=True):
    """`price` null: nobody said what it costs, which is not the same as free. `window` is tokens, the answer's too."""

    model: str
    window: int
    price: ModelPrice | None


class ProviderInfo(Wire, frozen=True):
    """A configured provider. `default_model` answers where no model is named; null: one must be named.

    `models` are those known here, by name; others can be named too, but of `demo` there is one.
    """

    name: ProviderName
    default_model: str | None
    models: list[ModelInfo]


class Models(Wire, frozen=True):
    """The deployment's own choice first."""

    default_provider: ProviderName
    default_model: str
    providers: list[ProviderInfo]
