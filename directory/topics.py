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
# What each kind of mail and notice is called, by topic. A kind that is not named is under Other.
_KINDS: Final[Mapping[str, Mapping[str, Text]]] = {
    "purchases": {
        "purchase_notice": _("A purchase"),
        "central_purchase": _("A purchase for the organization"),
        "receipt": _("Receipt of a purchase"),
        "trial_started": _("A trial began"),
        "hand_over_offered": _("A purchase is offered to somebody"),
        "hand_over_decided": _("Answer to an offered purchase"),
        "taken_over": _("A purchase was taken over"),
        "cancel_request": _("Question to cancel a purchase"),
        "cancel_request_answered": _("Answer to a question to cancel"),
        "take_over_undone": _("A take-over was undone"),
        "centralization": _("Purchases were centralized"),
        "purchaser_left": _("A purchaser left"),
        "case_answered": _("Support decided about a leaver's purchase"),
        "case_replied": _("Support answered a case"),
        "case_closed": _("A support case is closed"),
    },
    "payments": {
        "renewal_receipt": _("Receipt of a renewal"),
        "payment_failed": _("A payment failed"),
        "payment_recovered": _("A failed payment was made"),
        "access_ended": _("Access ended, for a bill was not paid"),
        "refund": _("A refund"),
        "card_expiring": _("A card expires soon"),
        "bill_issued": _("A bill"),
        "bill_due": _("A bill is due"),
        "bill_overdue": _("A bill is overdue"),
        "bill_corrected": _("A bill was corrected"),
        "dispute": _("A payment is disputed"),
    },
    "renewals": {
        "renewal_reminder": _("Reminder of a renewal"),
        "monthly_reminder": _("Reminder of monthly renewals"),
        "price_rise": _("A price rises"),
        "expired": _("A purchase expired"),
        "seats_changed": _("The number of licenses changed"),
        "canceled": _("A purchase was canceled"),
        "charges_stopped": _("A renewal was stopped"),
        "reactivated": _("A purchase goes on"),
        "trial_ending": _("A trial ends soon"),
        "trial_converted": _("A trial became a purchase"),
        "trial_ended": _("A trial ended"),
    },
    "licenses": {
        "request_received": _("A request"),
        "request_forwarded": _("A request was passed on"),
        "request_decided": _("A request was decided"),
        "request_given": _("A requested license was given"),
        "request_lapsed": _("A request lapsed"),
        "license_given": _("A license was given"),
        "seat_from_waiting_list": _("A license for somebody on the waiting list"),
        "license_taken": _("A license was taken back"),
    },
    "policy": {
        "policy_changed": _("The purchase policy changed"),
        "new_product": _("A new product to decide about"),
    },
    "security": {
        "role_changed": _("Roles changed"),
        "sign_in_changed": _("The way of signing in changed"),
        "second_factor_changed": _("A second factor changed"),
    },
    "partners": {
        "relationship_asked": _("A partner asks for a relationship"),
        "relationship_decided": _("Answer to a partner's question"),
        "relationship_ending": _("A relationship ends soon"),
        "relationship_ended": _("A relationship ended"),
    },
    OTHER: {
        "job_finished": _("A job ended"),
        "webhook_paused": _("A webhook is paused"),
        "purchase_digest": _("Digest of purchases"),
    },
}
_TOPIC_OF: Final = {kind: topic for topic, kinds in _KINDS.items() for kind in kinds}


def topic_of(kind: str) -> str:
    return _TOPIC_OF.get(kind, OTHER)


def name_of(kind: str) -> Text:
    """What a mail of this kind is called, for who may not read it; its code where it has no name any more."""
    return _KINDS[topic_of(kind)].get(kind, kind)


def kinds_of(topic: str) -> list[str]:
    """The kinds that are named under a topic; of a topic that does not exist, none."""
    return [*_KINDS.get(topic, ())]


def named_kinds() -> list[str]:
    return [kind for kind, topic in _TOPIC_OF.items() if topic != OTHER]
