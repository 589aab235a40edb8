"""Endpoints that are ready for a kind of shop, so that connecting it is all its owner does."""

from server.errors import Invalid
from server.tools.setup.definition import EndpointDefinition
from server.tools.setup.shopify import SHOPIFY
from server.tools.setup.woocommerce import WOOCOMMERCE

_PRESETS: dict[str, tuple[EndpointDefinition, ...]] = {"shopify": SHOPIFY, "woocommerce": WOOCOMMERCE}


def known(integration_type: str) -> bool:
    """Whether there are any for an integration of this type."""
    return integration_type in _PRESETS


def definitions(integration_type: str) -> list[EndpointDefinition]:
    """The endpoints to make for an integration of this type: find_products, get_product, check_inventory and
    get_order_status. Raises Invalid for a type without any.
    """
    endpoints = _PRESETS.get(integration_type)
    if endpoints is None:
        raise Invalid(
            f"there are presets for {', '.join(_PRESETS)}, not for {integration_type}", field="integration_type"
        )
    return list(endpoints)
