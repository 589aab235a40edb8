"""What a visitor reads while a preset's look-up runs, in the languages the widget speaks."""

from typing import Final

FIND_PRODUCTS: Final = {
    "en": "Looking through the products",
    "he": "מחפש מוצרים",
    "ar": "البحث في المنتجات",
    "de": "Produkte werden gesucht",
    "fr": "Recherche de produits",
    "es": "Buscando productos",
}
GET_PRODUCT: Final = {
    "en": "Looking at the product",
    "he": "בודק את פרטי המוצר",
    "ar": "الاطلاع على تفاصيل المنتج",
    "de": "Das Produkt wird nachgesehen",
    "fr": "Consultation du produit",
    "es": "Consultando el producto",
}
GET_STOCK: Final = {
    "en": "Checking what is in stock",
    "he": "בודק מה יש במלאי",
    "ar": "التحقق من المخزون",
    "de": "Der Bestand wird geprüft",
    "fr": "Vérification du stock",
    "es": "Comprobando las existencias",
}
GET_ORDER: Final = {
    "en": "Checking your orders",
    "he": "בודק את ההזמנות שלך",
    "ar": "التحقق من طلباتك",
    "de": "Ihre Bestellungen werden geprüft",
    "fr": "Vérification de vos commandes",
    "es": "Comprobando sus pedidos",
}
