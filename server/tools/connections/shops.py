"""Shops whose APIs are known: their few settings, and the HTTP connection these make."""

import re

from server.errors import Invalid
from server.net.egress import Egress
from server.tools.connections.http import (
    ApiKey,
    Basic,
    HttpConnection,
    OAuth2,
    Quiet,
    check_base_url,
    check_credential,
    check_rate_limit,
)

# The newest stable version in Shopify's reference in November 2026; each is served for 12 months and more.
SHOPIFY_VERSION = "2026-10"
# Requests a minute, from the owner's plan. Shopify allows a standard shop about 100 cost points a second; a look-up of
# the presets costs 10 to 30.
SHOPIFY_RATE_LIMIT = 40

_SHOP = re.compile(r"[a-z0-9][a-z0-9-]{0,99}\.myshopify\.com\Z")
_VERSION = re.compile(r"20\d\d-(?:01|04|07|10)\Z")
_SHOPIFY_HEADER = "X-Shopify-Access-Token"


class ShopifyConnection(Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Shopify shop's Admin API: a token that does not expire, or the client credentials of an app of the shop's own
    organization, which get a token for 24 hours.
    """

    shop: str
    access_token: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    api_version: str = SHOPIFY_VERSION
    rate_limit: int | None = SHOPIFY_RATE_LIMIT

    def http(self) -> HttpConnection:
        """The same as HTTP: GraphQL at /graphql.json."""
        auth: ApiKey | OAuth2
        if self.access_token is not None:
            auth = ApiKey(name=_SHOPIFY_HEADER, value=self.access_token)
        else:
            auth = OAuth2(
                token_url=f"https://{self.shop}/admin/oauth/access_token",
                client_id=self.client_id or "",
                client_secret=self.client_secret or "",
                client_auth="body",
                token_header=_SHOPIFY_HEADER,
            )
        return HttpConnection(
            api_url=f"https://{self.shop}/admin/api/{self.api_version}", auth=auth, rate_limit=self.rate_limit
        )


class WooCommerceConnection(Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A WordPress site with WooCommerce: its address and a REST API key, best one that may only read.

    WooCommerce takes these credentials over https; over plain http it refuses them.
    """

    site_url: str
    consumer_key: str
    consumer_secret: str
    rate_limit: int | None = None

    def http(self) -> HttpConnection:
        """The same as HTTP: REST API version 3."""
        return HttpConnection(
            api_url=f"{self.site_url}/wp-json/wc/v3",
            auth=Basic(username=self.consumer_key, password=self.consumer_secret),
            rate_limit=self.rate_limit,
            test_path="/products?per_page=1",
        )


def check_shopify(connection: ShopifyConnection, egress: Egress) -> ShopifyConnection:
    """Raises Invalid naming the field and what is allowed."""
    if not _SHOP.match(connection.shop):
        raise Invalid("shop must be the shop's own host: bobspizza.myshopify.com", field="shop")
    egress.check_url(f"https://{connection.shop}", field="shop")
    if not _VERSION.match(connection.api_version):
        raise Invalid("api_version must be one of Shopify's: a year and 01, 04, 07 or 10", field="api_version")
    if connection.access_token is not None:
        if connection.client_id is not None or connection.client_secret is not None:
            raise Invalid("access_token or client_id with client_secret, not both", field="access_token")
        check_credential(connection.access_token, field="access_token")
    elif connection.client_id is None or connection.client_secret is None:
        raise Invalid("access_token is needed, or client_id and client_secret", field="access_token")
    else:
        check_credential(connection.client_id, field="client_id")
        check_credential(connection.client_secret, field="client_secret")
    check_rate_limit(connection.rate_limit)
    return connection


def check_woocommerce(connection: WooCommerceConnection, egress: Egress) -> WooCommerceConnection:
    """The connection with its URL in one spelling. Raises Invalid naming the field and what is allowed."""
    site_url = check_base_url(connection.site_url, egress, field="site_url")
    check_credential(connection.consumer_key, field="consumer_key")
    check_credential(connection.consumer_secret, field="consumer_secret")
    if ":" in connection.consumer_key:
        raise Invalid("consumer_key must have no colon; it begins with ck_", field="consumer_key")
    check_rate_limit(connection.rate_limit)
    return WooCommerceConnection(
        site_url=site_url,
        consumer_key=connection.consumer_key,
        consumer_secret=connection.consumer_secret,
        rate_limit=connection.rate_limit,
    )
