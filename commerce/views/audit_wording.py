"""What the codes of purchases, bills and policies mean in the audit trail."""

from collections.abc import Mapping
from typing import Final

from django.utils.translation import gettext_lazy as _

from commerce.views.wording import EVENTS
from config.kit.errors import Text

_OTHERS: Final[Mapping[str, Text]] = {
    "commerce.recurring_billing.switched_on": _("Recurring billing switched on"),
    "commerce.recurring_billing.switched_off": _("Recurring billing switched off"),
    "commerce.recurring_billing.stopped_by_leaver": _("Recurring billing stopped by the purchaser who left"),
    "commerce.seats.added": _("Licenses added"),
    "commerce.seats.removed": _("Licenses removed"),
    "commerce.scheduled_changes.dropped": _("Scheduled changes fell away"),
    "commerce.order.placed": _("Order placed"),
    "commerce.cancel_request.asked": _("Purchaser asked to cancel"),
    "commerce.cancel_request.withdrawn": _("Request to cancel taken back"),
    "commerce.cancel_request.canceled": _("Canceled as asked"),
    "commerce.cancel_request.taken_over": _("Request to cancel ended by taking over"),
    "commerce.cancel_request.ended": _("Request to cancel ended with the purchase"),
    "commerce.cancel_request.reminded": _("Purchaser reminded to cancel"),
    "commerce.hand_over.offered": _("Purchase offered to a colleague"),
    "commerce.hand_over.accepted": _("Offered purchase accepted"),
    "commerce.hand_over.declined": _("Offered purchase declined"),
    "commerce.hand_over.withdrawn": _("Offer of a purchase withdrawn"),
    "commerce.hand_over.lapsed": _("Offer of a purchase not answered in time"),
    "commerce.checkout.started": _("Checkout begun"),
    "commerce.checkout.agreed": _("Terms agreed to"),
    "commerce.checkout.pay_asked": _("Payment asked for at checkout"),
    "commerce.checkout.abandoned": _("Checkout given up"),
    "commerce.case.opened": _("Support case opened"),
    "commerce.case.answered": _("Support case answered"),
    "commerce.agreement.made": _("Agreement made"),
    "commerce.agreement.price_set": _("Agreement's price set"),
    "commerce.agreement.terms_set": _("Agreement's terms set"),
    "commerce.bill.issued": _("Bill issued"),
    "commerce.bill.corrected": _("Bill corrected"),
    "commerce.bill.credited": _("Credit note issued"),
    "commerce.bill.paid": _("Bill paid"),
    "commerce.bill.refunded": _("Bill refunded"),
    "commerce.bill.became_past_due": _("Bill past due"),
    "commerce.bill.charge_withheld": _("Bill not charged"),
    "commerce.bill.pay_asked": _("Payment of a bill asked for"),
    "commerce.bill.payment_failed": _("Payment of a bill failed"),
    "commerce.bill.tries_stopped": _("No more tries to charge a bill"),
    "commerce.bill.try_asked": _("Another try to charge a bill"),
    "commerce.attempt.parked": _("Charge parked for the vendor's staff"),
    "commerce.attempt.succeeded": _("Charge succeeded"),
    "commerce.attempt.failed": _("Charge failed"),
    "commerce.attempt.canceled": _("Charge called off"),
    "commerce.charge.refunded": _("Charge refunded"),
    "commerce.refund.asked": _("Refund asked for"),
    "commerce.refund.failed": _("Refund delayed"),
    "commerce.refund.parked": _("Refund parked for the vendor's staff"),
    "commerce.refund.unmatched": _("Refund without a bill"),
    "commerce.dispute.opened": _("Charge contested at the bank"),
    "commerce.dispute.won": _("Contested charge stands"),
    "commerce.dispute.lost": _("Charge taken back by the bank"),
    "commerce.card.added": _("Card added"),
    "commerce.card.made_default": _("Card made the usual one"),
    "commerce.card.removed": _("Card removed"),
    "commerce.card.renewed": _("Card renewed"),
    "commerce.card_setup.done": _("Card accepted"),
    "commerce.card_setup.failed": _("Card refused"),
    "commerce.card_setup.abandoned": _("Adding a card given up"),
    "commerce.customer.created": _("Payer made known to the card processor"),
    "policies.cap.changed": _("Spending cap changed"),
    "policies.threshold.changed": _("Approval threshold changed"),
    "policies.default.changed": _("Default policy changed"),
    "policies.new_products.changed": _("Rule for new products changed"),
    "policies.category_policy.changed": _("Policy of a category changed"),
    "policies.product_policy.changed": _("Policy of a product changed"),
    "policies.group_policy.changed": _("Policy of a group changed"),
    "policies.offer_type_policy.changed": _("Policy of an offer type changed"),
    "policies.contact_text.changed": _("IT contact text changed"),
    "policies.request_process.changed": _("How requests are answered changed"),
    "policies.permit.granted": _("Purchase permitted"),
}
# A purchase's history has words for nearly all that happens to it.
_OF_PURCHASES = {f"commerce.subscription.{code}": words for code, words in EVENTS.items()} | {
    f"commerce.{code.replace('_', '.', 1)}": words for code, words in EVENTS.items()
}
AUDIT_WORDS: Final[Mapping[str, Text]] = _OF_PURCHASES | dict(_OTHERS)
