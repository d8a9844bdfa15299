"""Charges, refunds and disputes."""

import secrets
from typing import Any

from . import cards, forms
from .errors import ApiError, Json, invalid, malformed
from .forms import Spec
from .payment_methods import snapshot
from .session import PAGE, Session, needs_one_of

LIST: Spec = PAGE | {"customer": forms.string, "payment_intent": forms.string}
UPDATE: Spec = {"description": forms.text, "metadata": forms.metadata, "receipt_email": forms.text}
REFUND: Spec = {
    "amount": forms.integer,
    "charge": forms.string,
    "payment_intent": forms.string,
    "reason": forms.choice("duplicate", "fraudulent", "requested_by_customer"),
    "metadata": forms.metadata,
    "instructions_email": forms.string,
}
UPDATE_REFUND: Spec = {"metadata": forms.metadata}
LIST_REFUNDS: Spec = PAGE | {"charge": forms.string, "payment_intent": forms.string}
LIST_DISPUTES: Spec = PAGE | {"charge": forms.string, "payment_intent": forms.string}
UPDATE_DISPUTE: Spec = {
    "metadata": forms.metadata,
    "submit": forms.boolean,
    "evidence": forms.nested({"uncategorized_text": forms.text, "product_description": forms.text}),
}
DISPUTE_REASONS = (
    "bank_cannot_process",
    "check_returned",
    "credit_not_processed",
    "customer_initiated",
    "debit_not_authorized",
    "duplicate",
    "fraudulent",
    "general",
    "incorrect_account_details",
    "insufficient_funds",
    "noncompliant",
    "product_not_received",
    "product_unacceptable",
    "subscription_canceled",
    "unrecognized",
)
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}
_EVIDENCE_DAYS = 9


def of_intent(session: Session, intent: Json, method: Json) -> Json:
    """A new charge of that intent, still pending and not yet written."""
    return session.new("ch", "charge") | {
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": intent["statement_descriptor"] or "SEATKEEPER",
        "captured": False,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "metadata": intent["metadata"],
        "on_behalf_of": None,
        "outcome": None,
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": snapshot(method), "type": "card"},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": intent["shipping"],
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": "pending",
        "transfer_data": None,
        "transfer_group": None,
    }


def succeed(charge: Json) -> None:
    charge |= {
        "status": "succeeded",
        "paid": True,
        "captured": True,
        "amount_captured": charge["amount"],
        "outcome": _outcome("authorized", "approved_by_network", None, "Payment complete."),
    }


def fail(charge: Json, code: str, decline_code: str | None) -> None:
    reason = decline_code or code
    charge |= {
        "status": "failed",
        "failure_code": code,
        "failure_message": cards.decline_message(code, decline_code),
        "outcome": _outcome(
            "issuer_declined",
            "declined_by_network",
            reason,
            "The bank did not return any further details with this decline.",
        ),
    }


def _outcome(type_: str, network_status: str, reason: str | None, seller_message: str) -> Json:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": network_status,
        "reason": reason,
        "risk_level": "normal",
        "risk_score": 20,
        "seller_message": seller_message,
        "type": type_,
    }


def retrieve(session: Session, params: Json, id_: str) -> Json:
    return session.get("charge", id_)


def update(session: Session, params: Json, id_: str) -> Json:
    charge = session.get("charge", id_)
    charge["description"] = params.get("description", charge["description"])
    charge["receipt_email"] = params.get("receipt_email", charge["receipt_email"])
    charge["metadata"] = forms.merged_metadata(charge["metadata"], params.get("metadata"))
    session.put(charge)
    session.emit("charge.updated", charge, previous={})
    return charge


def list_(session: Session, params: Json) -> Json:
    where = {"customer": params.get("customer"), "payment_intent": params.get("payment_intent")}
    return session.page_of("/v1/charges", "charge", params, where=where)


def create_refund(session: Session, params: Json) -> Json:
    """Give money back, at most what is left of the charge; the store's lock makes the cap hold."""
    needs_one_of(params, "payment_intent", "charge")
    charge = _charge_to_refund(session, params)
    left = charge["amount_captured"] - charge["amount_refunded"]
    if left <= 0:
        raise invalid(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = params.get("amount", left)
    if amount < 1:
        raise malformed(
            "This value must be greater than or equal to 1.",
            code="parameter_invalid_integer",
            param="amount",
        )
    if amount > left:
        raise invalid(
            f"Refund amount ({_money(amount, charge['currency'])}) is greater than unrefunded amount on charge "
            f"({_money(left, charge['currency'])})",
            param="amount",
        )
    refund = session.new("re", "refund") | {
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "currency": charge["currency"],
        "customer": charge["customer"],
        "destination_details": {
            "card": {
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        "metadata": forms.merged_metadata({}, params.get("metadata")),
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }
    del refund["livemode"]
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    session.put(refund)
    session.put(charge)
    session.emit("refund.created", refund)
    session.emit("charge.refunded", charge, previous={"amount_refunded": charge["amount_refunded"] - amount})
    return refund


def _charge_to_refund(session: Session, params: Json) -> Json:
    if "charge" in params:
        charge = session.get("charge", params["charge"])
    else:
        intent = session.get("payment_intent", params["payment_intent"], param="payment_intent")
        found = session.store.get(intent["latest_charge"]) if intent["latest_charge"] else None
        if found is None:
            raise _nothing_to_refund(intent["id"])
        charge = found
    if charge["status"] != "succeeded":
        raise _nothing_to_refund(charge["payment_intent"])
    if charge.get("_is_charged_back"):
        raise invalid(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
        )
    return charge


def _nothing_to_refund(intent_id: str) -> ApiError:
    return invalid(f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.")


def retrieve_refund(session: Session, params: Json, id_: str) -> Json:
    return session.get("refund", id_, param="refund")


def update_refund(session: Session, params: Json, id_: str) -> Json:
    refund = session.get("refund", id_, param="refund")
    refund["metadata"] = forms.merged_metadata(refund["metadata"], params.get("metadata"))
    session.put(refund)
    session.emit("refund.updated", refund, previous={})
    return refund


def list_refunds(session: Session, params: Json) -> Json:
    where = {"charge": params.get("charge"), "payment_intent": params.get("payment_intent")}
    return session.page_of("/v1/refunds", "refund", params, where=where)


def fail_refund(session: Session, id_: str) -> Json:
    """The bank sends a refund back: the money is the merchant's again."""
    refund = session.get("refund", id_)
    if refund["status"] != "succeeded":
        raise invalid(f"Refund {id_} is {refund['status']}.")
    refund |= {
        "status": "failed",
        "failure_reason": "lost_or_stolen_card",
        "failure_balance_transaction": None,
    }
    charge = session.get("charge", refund["charge"])
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    session.put(refund)
    session.put(charge)
    session.emit("refund.updated", refund, previous={"status": "succeeded"})
    session.emit("refund.failed", refund)
    return refund


def create_dispute(session: Session, charge: Json, *, reason: str, amount: int | None = None) -> Json:
    """The cardholder disputes a charge; the amount is withdrawn until the dispute is decided."""
    dispute = session.new("du", "dispute")
    disputed = charge["amount"] if amount is None else amount
    dispute |= {
        "amount": disputed,
        "balance_transactions": [],
        "charge": charge["id"],
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": session.now + _EVIDENCE_DAYS * 86400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": charge["payment_method_details"]["card"]["brand"],
                "case_type": "chargeback",
                "network_reason_code": "10",
            },
            "type": "card",
        },
        "reason": reason,
        "status": "needs_response",
    }
    charge |= {"disputed": True, "_is_charged_back": True}
    session.put(dispute)
    session.put(charge)
    session.emit("charge.dispute.created", dispute)
    session.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def retrieve_dispute(session: Session, params: Json, id_: str) -> Json:
    return session.get("dispute", id_, param="dispute")


def list_disputes(session: Session, params: Json) -> Json:
    where = {"charge": params.get("charge"), "payment_intent": params.get("payment_intent")}
    return session.page_of("/v1/disputes", "dispute", params, where=where)


def update_dispute(session: Session, params: Json, id_: str) -> Json:
    dispute = session.get("dispute", id_, param="dispute")
    dispute["metadata"] = forms.merged_metadata(dispute["metadata"], params.get("metadata"))
    previous: dict[str, Any] = {}
    if params.get("evidence"):
        dispute["evidence"] |= params["evidence"]
        dispute["evidence_details"]["has_evidence"] = True
    if params.get("submit", "evidence" in params):
        previous["status"] = dispute["status"]
        dispute["status"] = "under_review"
        dispute["evidence_details"]["submission_count"] += 1
    session.put(dispute)
    session.emit("charge.dispute.updated", dispute, previous=previous)
    return dispute


def accept_dispute(session: Session, params: Json, id_: str) -> Json:
    return close_dispute(session, session.get("dispute", id_, param="dispute"), status="lost")


def close_dispute(session: Session, dispute: Json, *, status: str) -> Json:
    """The end of a dispute, `won` or `lost`; won gives the amount back."""
    if dispute["status"] in {"won", "lost"}:
        raise invalid("This dispute is already closed.")
    previous = dispute["status"]
    dispute["status"] = status
    session.put(dispute)
    if status == "won":
        charge = session.get("charge", dispute["charge"])
        session.put(charge | {"_is_charged_back": False})
        session.emit("charge.dispute.funds_reinstated", dispute)
    session.emit("charge.dispute.closed", dispute, previous={"status": previous})
    return dispute


def _money(amount: int, currency: str) -> str:
    symbol = _SYMBOLS.get(currency, f"{currency.upper()} ")
    return f"{symbol}{amount // 100:,}.{amount % 100:02d}"


def new_client_secret(id_: str) -> str:
    """What lets a browser see and confirm that one intent."""
    return f"{id_}_secret_{secrets.token_hex(12)}"
