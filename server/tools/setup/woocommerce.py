"""Live data of a WooCommerce shop, by its REST API version 3.

A key that may only read is enough. Orders are found by the customer's id in WordPress, which the website's backend
vouches for as the visitor's id and the server fills in. Orders of guests have no customer, so nobody reads them here.
"""

from typing import Final

from server.tools.setup.definition import EndpointDefinition
from server.tools.setup.preset_labels import FIND_PRODUCTS, GET_ORDER, GET_PRODUCT, GET_STOCK

_ONE: Final = (
    "{id: id, name: name, sku: sku, price: price, price_before: regular_price, on_sale: on_sale, stock: stock_quantity,"
    " stock_status: stock_status, description: short_description, url: permalink}"
)
_FIELDS: Final = (
    "id,name,sku,status,catalog_visibility,price,regular_price,on_sale,stock_quantity,stock_status,short_description,"
    "permalink"
)

WOOCOMMERCE: Final = (
    EndpointDefinition(
        endpoint_name="find_products",
        endpoint_url=f"/products?status=publish&per_page=10&_fields={_FIELDS}{{&search}}",
        method="GET",
        description="Finds products of the shop by words: at most 10, each with its id, price and stock.",
        parameters_schema={
            "type": "object",
            "properties": {
                "search": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 100,
                    "description": "What the visitor looks for in a few words, such as: pepperoni pizza",
                }
            },
            "required": ["search"],
            "additionalProperties": False,
        },
        response_path=f"[?status=='publish' && catalog_visibility!='hidden'].{_ONE}",
        proof="none",
        label=FIND_PRODUCTS,
        cache_ttl=300,
    ),
    EndpointDefinition(
        endpoint_name="get_product",
        endpoint_url=f"/products/{{product_id}}?_fields={_FIELDS},description,categories,attributes",
        method="GET",
        description="Everything about one product, with its attributes, price and stock.",
        parameters_schema={
            "type": "object",
            "properties": {
                "product_id": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "The product's id as find_products gives it",
                }
            },
            "required": ["product_id"],
            "additionalProperties": False,
        },
        response_path="[@][?status=='publish'] | [0].{id: id, name: name, sku: sku, price: price, price_before:"
        " regular_price, on_sale: on_sale, stock: stock_quantity, stock_status: stock_status, description: description,"
        " url: permalink, categories: categories[].name, attributes: attributes[].{name: name, options: options}}",
        proof="none",
        label=GET_PRODUCT,
        cache_ttl=300,
    ),
    EndpointDefinition(
        endpoint_name="check_inventory",
        endpoint_url=f"/products?status=publish&per_page=20&_fields={_FIELDS}{{&sku}}",
        method="GET",
        description="How many of a product the shop has right now, by its SKU. Where stock is null the shop does not"
        " count, and stock_status is what matters. By name, use find_products: it gives the stock too.",
        parameters_schema={
            "type": "object",
            "properties": {"sku": {"type": "string", "minLength": 1, "maxLength": 100, "description": "The SKU"}},
            "required": ["sku"],
            "additionalProperties": False,
        },
        response_path="[?status=='publish'].{id: id, name: name, sku: sku, price: price, stock: stock_quantity,"
        " stock_status: stock_status, url: permalink}",
        proof="none",
        label=GET_STOCK,
        cache_ttl=60,
    ),
    EndpointDefinition(
        endpoint_name="get_order_status",
        endpoint_url="/orders?per_page=10&orderby=date&order=desc&_fields=id,number,status,currency,total,date_created,"
        "date_paid,date_completed,customer_id,line_items{&customer,include}",
        method="GET",
        description="The visitor's own orders with their status: the ten newest, or one by its number.",
        parameters_schema={
            "type": "object",
            "properties": {
                "customer": {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"},
                "include": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "The order's number, if the visitor said it",
                },
            },
            "required": ["customer"],
            "additionalProperties": False,
        },
        # 0 is every guest.
        response_path="[?customer_id > `0`].{order: number, status: status, total: total, currency: currency, placed:"
        " date_created, paid: date_paid, completed: date_completed,"
        " items: line_items[].{name: name, quantity: quantity}}",
        proof="verified",
        bound={"customer": "visitor.id"},
        label=GET_ORDER,
        cache_ttl=60,
    ),
)
