"""Pages of the admin center that commerce builds; `config.admin_site` puts them under /admin/."""

from django.urls import path

from commerce.views import (
    bills,
    canceling,
    cards,
    corrections,
    handovers,
    pay_bill,
    paying,
    plans,
    reactivating,
    recurring,
    seats,
    subscriptions,
    trials,
)

urlpatterns = [
    path("billing/your-products/", subscriptions.your_products, name="your-products"),
    path("billing/your-products/<uuid:key>/seats/", seats.seats, name="seats"),
    path("billing/your-products/<uuid:key>/plan/", plans.plan, name="plan"),
    path("billing/your-products/<uuid:key>/scheduled/", plans.revoke, name="revoke-change"),
    path(
        "billing/your-products/<uuid:key>/pay/<uuid:checkout>/",
        paying.pay_change,
        name="pay-change",
    ),
    path(
        "billing/your-products/<uuid:key>/recurring-billing/",
        recurring.recurring_billing,
        name="recurring-billing",
    ),
    path("billing/your-products/<uuid:key>/cancel/", canceling.cancel, name="cancel"),
    path("billing/your-products/<uuid:key>/reactivate/", reactivating.reactivate, name="reactivate"),
    path("billing/your-products/<uuid:key>/hand-over/", handovers.hand_over, name="hand-over"),
    path("billing/your-products/<uuid:key>/trial/extend/", trials.extend, name="trial-extend"),
    path("billing/your-products/<uuid:key>/trial/keep/", trials.keep, name="trial-keep"),
    path("billing/bills/", bills.bills, name="bills"),
    path("billing/bills/sums/", bills.bills_sums, name="bills-sums"),
    path("billing/bills/export.csv", bills.bills_csv, name="bills-csv"),
    path("billing/bills/export.json", bills.bills_json, name="bills-json"),
    path("billing/bills/<slug:number>/", bills.bill, name="bill"),
    path("billing/bills/<slug:number>/pdf/", bills.bill_pdf, name="bill-pdf"),
    path("billing/bills/<slug:number>/receipt/", bills.bill_receipt, name="bill-receipt"),
    path("billing/bills/<slug:number>/correct/", corrections.correct, name="bill-correct"),
    path("billing/payment-methods/", cards.payment_methods, name="payment-methods"),
    path("billing/payment-methods/add/", cards.add_card, name="card-add"),
    path("billing/payment-methods/add/<uuid:key>/", cards.card_setup, name="card-setup"),
    path("billing/payment-methods/<int:card>/default/", cards.default_card, name="card-default"),
    path("billing/payment-methods/<int:card>/remove/", cards.remove_card, name="card-remove"),
    path("billing/payment-methods/subscriptions/<uuid:key>/", cards.choose_card, name="card-choose"),
    path("billing/bills/<slug:number>/pay/", pay_bill.pay_bill, name="bill-pay"),
]
