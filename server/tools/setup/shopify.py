"""Live data of a Shopify shop, by its GraphQL Admin API (the REST one is legacy since October 2024).

The app needs the scopes read_products, read_inventory, read_orders and read_customers. A search is Shopify's own
syntax, in which a visitor could ask for what is not for sale yet; so what is not active and published in the online
store is taken out of every answer, whatever was asked. Orders are found by the e-mail address that the visitor has
proven, which the server fills in; an address is one customer's, and a model has no other way in.
"""

from typing import Final

from server.tools.setup.definition import EndpointDefinition
from server.tools.setup.preset_labels import FIND_PRODUCTS, GET_ORDER, GET_PRODUCT, GET_STOCK

_FOR_SALE: Final = "status=='ACTIVE' && onlineStoreUrl"
# Letters, digits and what stands in names and SKUs; none of what makes a search ask for a field.
_WORDS: Final = r"^[^:()*\"\\<>]{1,100}$"

_FIND: Final = """/graphql.json
query FindProducts($search: String!) {
  products(first: 10, query: $search) {
    nodes {
      handle title status onlineStoreUrl productType description(truncateAt: 300) totalInventory tracksInventory
      priceRangeV2 { minVariantPrice { amount currencyCode } maxVariantPrice { amount } }
    }
  }
}"""
_FIND_PATH: Final = f"""data.products.nodes[?{_FOR_SALE}].{{
  handle: handle, title: title, type: productType, description: description, url: onlineStoreUrl,
  price_from: priceRangeV2.minVariantPrice.amount, price_to: priceRangeV2.maxVariantPrice.amount,
  currency: priceRangeV2.minVariantPrice.currencyCode, stock: totalInventory, stock_is_counted: tracksInventory
}}"""

_GET: Final = """/graphql.json
query GetProduct($handle: String!) {
  productByIdentifier(identifier: {handle: $handle}) {
    handle title status onlineStoreUrl productType vendor description(truncateAt: 2000)
    priceRangeV2 { minVariantPrice { currencyCode } }
    variants(first: 50) { nodes { title sku price compareAtPrice availableForSale inventoryQuantity } }
  }
}"""
_GET_PATH: Final = f"""data.[productByIdentifier][?{_FOR_SALE}] | [0].{{
  handle: handle, title: title, type: productType, vendor: vendor, description: description, url: onlineStoreUrl,
  currency: priceRangeV2.minVariantPrice.currencyCode,
  variants: variants.nodes[].{{
    title: title, sku: sku, price: price, price_before: compareAtPrice, can_be_bought: availableForSale,
    stock: inventoryQuantity
  }}
}}"""

_STOCK: Final = """/graphql.json
query CheckInventory($item: String!) {
  productVariants(first: 20, query: $item) {
    nodes {
      title sku price availableForSale inventoryQuantity inventoryItem { tracked }
      product { title status onlineStoreUrl }
    }
  }
}"""
_STOCK_PATH: Final = """data.productVariants.nodes[?product.status=='ACTIVE' && product.onlineStoreUrl].{
  product: product.title, variant: title, sku: sku, price: price, can_be_bought: availableForSale,
  stock: inventoryQuantity, stock_is_counted: inventoryItem.tracked, url: product.onlineStoreUrl
}"""

_ORDERS: Final = """/graphql.json
query OrderStatus($email: String!) {
  customerByIdentifier(identifier: {emailAddress: $email}) {
    orders(first: 10, sortKey: CREATED_AT, reverse: true) {
      nodes {
        name createdAt cancelledAt displayFinancialStatus displayFulfillmentStatus
        currentTotalPriceSet { shopMoney { amount currencyCode } }
        lineItems(first: 10) { nodes { title quantity } }
        fulfillments(first: 5) {
          displayStatus estimatedDeliveryAt deliveredAt trackingInfo(first: 3) { company number url }
        }
      }
    }
  }
}"""
_ORDERS_PATH: Final = """data.customerByIdentifier.orders.nodes[].{
  order: name, placed: createdAt, cancelled: cancelledAt, payment: displayFinancialStatus,
  shipping: displayFulfillmentStatus, total: currentTotalPriceSet.shopMoney.amount,
  currency: currentTotalPriceSet.shopMoney.currencyCode, items: lineItems.nodes[].{title: title, quantity: quantity},
  parcels: fulfillments[].{
    status: displayStatus, expected: estimatedDeliveryAt, delivered: deliveredAt, tracking: trackingInfo
  }
}"""

SHOPIFY: Final = (
    EndpointDefinition(
        endpoint_name="find_products",
        endpoint_url=_FIND,
        method="POST",
        effect="read_only",
        description="Finds products of the shop by words: at most 10, each with its handle, price and stock. Use the"
        " handle with get_product for sizes, variants and the whole description.",
        parameters_schema={
            "type": "object",
            "properties": {
                "search": {
                    "type": "string",
                    "pattern": _WORDS,
                    "description": "What the visitor looks for in a few words, such as: pepperoni pizza",
                }
            },
            "required": ["search"],
            "additionalProperties": False,
        },
        response_path=_FIND_PATH,
        proof="none",
        label=FIND_PRODUCTS,
        cache_ttl=300,
    ),
    EndpointDefinition(
        endpoint_name="get_product",
        endpoint_url=_GET,
        method="POST",
        effect="read_only",
        description="Everything about one product, with its variants, prices and stock.",
        parameters_schema={
            "type": "object",
            "properties": {
                "handle": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 255,
                    "description": "The product's handle as find_products gives it",
                }
            },
            "required": ["handle"],
            "additionalProperties": False,
        },
        response_path=_GET_PATH,
        proof="none",
        label=GET_PRODUCT,
        cache_ttl=300,
    ),
    EndpointDefinition(
        endpoint_name="check_inventory",
        endpoint_url=_STOCK,
        method="POST",
        effect="read_only",
        description="How many of a product the shop has right now, by SKU or by the product's name: at most 20"
        " variants. Where stock_is_counted is false the shop does not count, and can_be_bought is what matters.",
        parameters_schema={
            "type": "object",
            "properties": {
                "item": {"type": "string", "pattern": _WORDS, "description": "A SKU, or the product's name"}
            },
            "required": ["item"],
            "additionalProperties": False,
        },
        response_path=_STOCK_PATH,
        proof="none",
        label=GET_STOCK,
        cache_ttl=60,
    ),
    EndpointDefinition(
        endpoint_name="get_order_status",
        endpoint_url=_ORDERS,
        method="POST",
        effect="read_only",
        description="The visitor's own ten newest orders with payment, shipping and tracking. Older ones are not here.",
        parameters_schema={
            "type": "object",
            "properties": {"email": {"type": "string", "minLength": 3, "maxLength": 320}},
            "required": ["email"],
            "additionalProperties": False,
        },
        response_path=_ORDERS_PATH,
        proof="verified",
        bound={"email": "visitor.email"},
        label=GET_ORDER,
        cache_ttl=60,
    ),
)
