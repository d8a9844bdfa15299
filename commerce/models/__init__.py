"""The catalogue, orders, subscriptions, bills and payments."""

from commerce.models.bills import Bill, BillLine, BillSeries, BillTo
from commerce.models.cancel_requests import CancelRequest
from commerce.models.cases import CaseFile, CaseMessage, PremierIncidents, SupportCase
from commerce.models.catalogue import (
    Market,
    MarketExclusion,
    Plan,
    Price,
    Product,
    ProductAlias,
    ProductSite,
    VendorEntity,
)
from commerce.models.central import Agreement, AgreementPrice
from commerce.models.orders import Checkout, Order, OrderLine
from commerce.models.payments import (
    BillingControl,
    Card,
    CardSetup,
    Dispute,
    Payment,
    PaymentAttempt,
    ProcessorCustomer,
    Refund,
    RefundAttempt,
    UnmatchedCharge,
    WebhookEvent,
)
from commerce.models.saved_views import SavedView
from commerce.models.solutions import Solution
from commerce.models.subscriptions import HandOver, Subscription, SubscriptionEvent, Trial
from commerce.models.training import TrainingLink

__all__ = [
    "Agreement",
    "AgreementPrice",
    "Bill",
    "BillLine",
    "BillSeries",
    "BillTo",
    "BillingControl",
    "CancelRequest",
    "Card",
    "CardSetup",
    "CaseFile",
    "CaseMessage",
    "Checkout",
    "Dispute",
    "HandOver",
    "Market",
    "MarketExclusion",
    "Order",
    "OrderLine",
    "Payment",
    "PaymentAttempt",
    "Plan",
    "PremierIncidents",
    "Price",
    "ProcessorCustomer",
    "Product",
    "ProductAlias",
    "ProductSite",
    "Refund",
    "RefundAttempt",
    "SavedView",
    "Solution",
    "Subscription",
    "SubscriptionEvent",
    "SupportCase",
    "TrainingLink",
    "Trial",
    "UnmatchedCharge",
    "VendorEntity",
    "WebhookEvent",
]
