"""What notices are about: the groups in which the portal's inbox can be narrowed (product §15)."""

from collections.abc import Mapping
from typing import Final

from django.utils.translation import gettext_lazy as _

from config.kit.errors import Text

OTHER: Final = "other"
# Only a mail: what it lists is in the inbox one by one.
MAIL_ONLY: Final = frozenset({"purchase_digest"})

TOPICS: Final[Mapping[str, Text]] = {
    "purchases": _("Purchases"),
    "payments": _("Bills & payments"),
    "renewals": _("Renewals & changes"),
    "licenses": _("Licenses & requests"),
    "policy": _("Policy"),
    "security": _("Roles & sign-in"),
    "partners": _("Partners"),
    OTHER: _("Other"),
}
# A kind that is not named here is under Other.
_TOPIC_OF: Final[Mapping[str, str]] = {
    "purchase_notice": "purchases",
    "central_purchase": "purchases",
    "receipt": "purchases",
    "trial_started": "purchases",
    "hand_over_offered": "purchases",
    "hand_over_decided": "purchases",
    "taken_over": "purchases",
    "cancel_request": "purchases",
    "cancel_request_answered": "purchases",
    "take_over_undone": "purchases",
    "centralization": "purchases",
    "purchaser_left": "purchases",
    "case_answered": "purchases",
    "case_replied": "purchases",
    "case_closed": "purchases",
    "charges_stopped": "renewals",
    "renewal_receipt": "payments",
    "payment_failed": "payments",
    "payment_recovered": "payments",
    "access_ended": "payments",
    "refund": "payments",
    "card_expiring": "payments",
    "bill_issued": "payments",
    "bill_due": "payments",
    "bill_overdue": "payments",
    "bill_corrected": "payments",
    "dispute": "payments",
    "renewal_reminder": "renewals",
    "monthly_reminder": "renewals",
    "price_rise": "renewals",
    "expired": "renewals",
    "seats_changed": "renewals",
    "canceled": "renewals",
    "reactivated": "renewals",
    "trial_ending": "renewals",
    "trial_converted": "renewals",
    "trial_ended": "renewals",
    "request_received": "licenses",
    "request_forwarded": "licenses",
    "request_decided": "licenses",
    "request_given": "licenses",
    "request_lapsed": "licenses",
    "license_given": "licenses",
    "seat_from_waiting_list": "licenses",
    "license_taken": "licenses",
    "relationship_asked": "partners",
    "relationship_decided": "partners",
    "relationship_ending": "partners",
    "relationship_ended": "partners",
    "policy_changed": "policy",
    "new_product": "policy",
    "role_changed": "security",
    "sign_in_changed": "security",
    "second_factor_changed": "security",
}


def topic_of(kind: str) -> str:
    return _TOPIC_OF.get(kind, OTHER)


def kinds_of(topic: str) -> list[str]:
    """The kinds that are named under a topic; of a topic that does not exist, none."""
    return [kind for kind, each in _TOPIC_OF.items() if each == topic]


def named_kinds() -> list[str]:
    return [kind for kind, topic in _TOPIC_OF.items() if topic != OTHER]
