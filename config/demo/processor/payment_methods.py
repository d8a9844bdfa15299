"""Payment methods (cards) and the confirmation tokens that a browser makes of them."""

import re
from datetime import UTC, datetime
from typing import Any

from . import cards, forms
from .errors import Json, invalid, malformed
from .forms import Spec
from .session import PAGE, Session

CREATE: Spec = forms.PAYMENT_METHOD_DATA | {"customer": forms.string}
UPDATE: Spec = {
    "billing_details": forms.nested(forms.BILLING_DETAILS),
    "card": forms.nested({"exp_month": forms.integer, "exp_year": forms.integer}),
    "allow_redisplay": forms.choice("always", "limited", "unspecified"),
    "metadata": forms.metadata,
}
LIST: Spec = PAGE | {"customer": forms.string, "type": forms.choice("card")}
LIST_OF_CUSTOMER: Spec = PAGE | {"type": forms.choice("card")}
ATTACH: Spec = {"customer": forms.string}
CREATE_TOKEN: Spec = {
    "payment_method": forms.string,
    "payment_method_data": forms.nested(forms.PAYMENT_METHOD_DATA, required=("type",)),
    "payment_method_options": forms.nested(forms.PAYMENT_METHOD_OPTIONS),
    "return_url": forms.string,
    "setup_future_usage": forms.choice("off_session", "on_session"),
    "shipping": forms.nested(forms.SHIPPING),
}
_TOKEN_LIFE = 12 * 3600


def create(session: Session, params: Json) -> Json:
    if "type" not in params:
        raise malformed("Missing required param: type.", code="parameter_missing", param="type")
    if "customer" in params:
        raise invalid(
            "You must use /v1/payment_methods/:payment_method/attach to attach a PaymentMethod to a Customer.",
            param="customer",
        )
    method = from_data(session, params)
    session.put(method)
    return method


def from_data(session: Session, data: Json) -> Json:
    """A payment method of `payment_method_data`, not yet written.

    :raises ApiError: 402 for a number, expiry or security code that cannot be a card's.
    """
    details = data.get("card")
    if details is None:
        raise malformed("Missing required param: card.", code="parameter_missing", param="card")
    at = datetime.fromtimestamp(session.now, UTC)
    if "token" in details:
        card = cards.named(details["token"])
        if card is None:
            raise cards.unknown_token(details["token"])
        expiry = (12, at.year + 4)
    else:
        if "number" not in details:
            raise malformed(
                "Missing required param: card[number].", code="parameter_missing", param="card[number]"
            )
        card = cards.numbered(details["number"])
        expiry = cards.checked_expiry(
            details.get("exp_month"), details.get("exp_year"), now=(at.year, at.month)
        )
        if "cvc" in details:
            cards.check_cvc(details["cvc"], card)
    return _of_card(session, card, expiry=expiry, has_cvc="cvc" in details, data=data)


def _of_card(
    session: Session, card: cards.Card, *, expiry: tuple[int, int], has_cvc: bool, data: Json
) -> Json:
    billing = data.get("billing_details", {})
    return session.new(
        "pm",
        "payment_method",
        allow_redisplay=data.get("allow_redisplay", "unspecified"),
        billing_details={
            "address": dict.fromkeys(forms.ADDRESS) | billing.get("address", {}),
            "email": billing.get("email"),
            "name": billing.get("name"),
            "phone": billing.get("phone"),
            "tax_id": billing.get("tax_id"),
        },
        card={
            "brand": card.brand,
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": "unchecked" if has_cvc else None,
            },
            "country": card.country,
            "display_brand": card.brand,
            "exp_month": expiry[0],
            "exp_year": expiry[1],
            "fingerprint": cards.fingerprint(card.number, session.store.secret),
            "funding": card.funding,
            "generated_from": None,
            "last4": card.number[-4:],
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        customer=None,
        metadata=forms.merged_metadata({}, data.get("metadata")),
        type="card",
        _traits=cards.traits(card),
        _is_set_up=False,
        _is_spent=False,
    )


def find(session: Session, id_: str, *, param: str = "payment_method", status: int = 404) -> Json:
    """The payment method with that id; `pm_card_visa` and its like make a new one, as in Stripe's test mode."""
    card = cards.named(id_) if id_.startswith("pm_card_") else None
    if card is None:
        return session.get("payment_method", id_, param=param, status=status)
    year = datetime.fromtimestamp(session.now, UTC).year + 4
    method = _of_card(session, card, expiry=(12, year), has_cvc=True, data={})
    session.put(method)
    return method


def usable(session: Session, id_: str, *, customer: str | None = None, param: str = "payment_method") -> Json:
    """The payment method named by a parameter, fit to be used for that customer.

    :raises ApiError: 400 when it is spent, or belongs to somebody else.
    """
    method = find(session, id_, param=param, status=400)
    if method["_is_spent"]:
        raise invalid(
            "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, "
            "shared with a connected account without Customer attachment, or was detached from a Customer. It "
            "may not be used again. To use a PaymentMethod multiple times, you must attach it to a Customer "
            "first."
        )
    if method["customer"] and customer and method["customer"] != customer:
        raise invalid(
            f"The PaymentMethod {method['id']} does not belong to the Customer you supplied {customer}. "
            "Please use this PaymentMethod with the Customer that it belongs to instead.",
            param=param,
        )
    return method


def attach_to(session: Session, method: Json, customer: str) -> None:
    """Keep the card for that customer; nothing happens when it is already there."""
    if method["customer"] == customer:
        return
    method["customer"] = customer
    if method["card"]["checks"]["cvc_check"] == "unchecked":
        method["card"]["checks"]["cvc_check"] = "pass"
    session.put(method)
    session.emit("payment_method.attached", method)


def retrieve(session: Session, params: Json, id_: str) -> Json:
    return find(session, id_)


def update(session: Session, params: Json, id_: str) -> Json:
    method = find(session, id_)
    if method["customer"] is None:
        raise invalid(
            "You must save this PaymentMethod to a customer before you can update it.", param="payment_method"
        )
    if "card" in params:
        at = datetime.fromtimestamp(session.now, UTC)
        month, year = cards.checked_expiry(
            params["card"].get("exp_month", method["card"]["exp_month"]),
            params["card"].get("exp_year", method["card"]["exp_year"]),
            now=(at.year, at.month),
        )
        method["card"] |= {"exp_month": month, "exp_year": year}
    billing = params.get("billing_details", {})
    address = method["billing_details"]["address"] | billing.get("address", {})
    method["billing_details"] |= billing | {"address": address}
    method["allow_redisplay"] = params.get("allow_redisplay", method["allow_redisplay"])
    method["metadata"] = forms.merged_metadata(method["metadata"], params.get("metadata"))
    session.put(method)
    session.emit("payment_method.updated", method)
    return method


def attach(session: Session, params: Json, id_: str) -> Json:
    method = find(session, id_)
    if "customer" not in params:
        raise malformed("Must provide customer or customer_account.", code="parameter_missing")
    customer = session.live_customer(params["customer"])["id"]
    if method["customer"] and method["customer"] != customer:
        raise invalid(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    usable(session, method["id"])
    traits = method["_traits"]
    if traits["refuses_attach"]:
        raise cards.declined(*traits["decline"])
    attach_to(session, method, customer)
    return method


def detach(session: Session, params: Json, id_: str) -> Json:
    method = session.get("payment_method", id_, param="payment_method")
    owner = method["customer"]
    if owner is None:
        raise invalid(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    method |= {"customer": None, "_is_spent": True}
    session.put(method)
    customer = session.store.get(owner)
    if customer and customer.get("invoice_settings", {}).get("default_payment_method") == id_:
        customer["invoice_settings"]["default_payment_method"] = None
        session.put(customer)
    session.emit("payment_method.detached", method, previous={"customer": owner})
    return method


def list_(session: Session, params: Json) -> Json:
    url = "/v1/payment_methods"
    if "customer" not in params:
        return {"object": "list", "url": url, "has_more": False, "data": []}
    session.live_customer(params["customer"])
    return session.page_of(url, "payment_method", params, where={"customer": params["customer"]})


def create_token(session: Session, params: Json) -> Json:
    """A confirmation token; its payment method exists only once an intent is confirmed with it."""
    if "payment_method" in params:
        method = usable(session, params["payment_method"])
    elif "payment_method_data" in params:
        method = from_data(session, params["payment_method_data"])
        session.put(method)
    else:
        raise malformed(
            "You must provide one of the following parameters: payment_method, payment_method_data.",
            code="parameter_missing",
        )
    shown = ("allow_redisplay", "billing_details", "card", "customer", "type")
    token = session.new(
        "ctoken",
        "confirmation_token",
        expires_at=session.now + _TOKEN_LIFE,
        mandate_data=None,
        payment_intent=None,
        payment_method_options=params.get("payment_method_options"),
        payment_method_preview={name: method[name] for name in shown},
        return_url=params.get("return_url"),
        setup_future_usage=params.get("setup_future_usage"),
        setup_intent=None,
        shipping=params.get("shipping"),
        use_stripe_sdk=session.is_publishable,
        _payment_method=method["id"],
    )
    session.put(token)
    return token


def retrieve_token(session: Session, params: Json, id_: str) -> Json:
    return session.get("confirmation_token", id_, param="confirmation_token")


def redeem_token(session: Session, id_: str, intent: Json) -> Json:
    """The token, now spent on that intent.

    :raises ApiError: 400 when it was used before, or is over.
    """
    token = session.get("confirmation_token", id_, param="confirmation_token", status=400)
    kind = intent["object"]
    used_for = token["payment_intent"] or token["setup_intent"]
    if used_for:
        raise invalid(
            f"The provided confirmation_token ({id_}) has already been used to confirm the intent {used_for}. "
            "Please create a new ConfirmationToken.",
            param="confirmation_token",
        )
    if token["expires_at"] and session.now >= token["expires_at"]:
        raise invalid(
            f"The provided confirmation_token ({id_}) has expired. Please create a new ConfirmationToken.",
            param="confirmation_token",
        )
    wanted, given = intent.get("setup_future_usage"), token["setup_future_usage"]
    if kind == "payment_intent" and wanted and given and wanted != given:
        raise invalid(
            f"The `setup_future_usage` of the ConfirmationToken ({given}) does not match the one of the "
            f"PaymentIntent ({wanted}).",
            param="setup_future_usage",
        )
    token[kind] = intent["id"]
    token["expires_at"] = None
    session.put(token)
    return token


def is_expired(method: Json, now: int) -> bool:
    """Whether the card's last month is over."""
    at = datetime.fromtimestamp(now, UTC)
    return (method["card"]["exp_year"], method["card"]["exp_month"]) < (at.year, at.month)


def snapshot(method: Json) -> dict[str, Any]:
    """The card as a charge keeps it under `payment_method_details`."""
    card = method["card"]
    kept = ("brand", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
    checks = {name: "pass" if value == "unchecked" else value for name, value in card["checks"].items()}
    return {name: card[name] for name in kept} | {
        "checks": checks,
        "installments": None,
        "mandate": None,
        "network": re.sub(r"\W", "_", card["brand"]),
        "three_d_secure": None,
        "wallet": None,
    }
