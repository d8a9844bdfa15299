"""The catalogue, orders, subscriptions, bills and payments."""

from commerce.models.bills import Bill, BillLine, BillSeries, BillTo
from commerce.models.catalogue import (
    Market,
    MarketExclusion,
    Plan,
    Price,
    Product,
    ProductAlias,
    VendorEntity,
)
from commerce.models.central import Agreement, AgreementPrice
from commerce.models.orders import Checkout, Order, OrderLine
from commerce.models.payments import (
    Card,
    Payment,
    PaymentAttempt,
    ProcessorCustomer,
    Refund,
    WebhookEvent,
)
from commerce.models.subscriptions import Subscription, SubscriptionEvent

__all__ = [
    "Agreement",
    "AgreementPrice",
    "Bill",
    "BillLine",
    "BillSeries",
    "BillTo",
    "Card",
    "Checkout",
    "Market",
    "MarketExclusion",
    "Order",
    "OrderLine",
    "Payment",
    "PaymentAttempt",
    "Plan",
    "Price",
    "ProcessorCustomer",
    "Product",
    "ProductAlias",
    "Refund",
    "Subscription",
    "SubscriptionEvent",
    "VendorEntity",
    "WebhookEvent",
]
