"""PaymentIntents: from creation over 3-D Secure to a charge or a decline."""

import re
from typing import Any

from . import cards, charges, forms
from .authentication import is_required, next_action
from .errors import ApiError, Json, invalid, malformed
from .forms import Spec
from .payment_methods import attach_to, from_data, is_expired, redeem_token, usable
from .session import PAGE, Session, public, refuse_state

_COMMON: Spec = {
    "payment_method": forms.string,
    "payment_method_data": forms.nested(forms.PAYMENT_METHOD_DATA, required=("type",)),
    "payment_method_options": forms.nested(forms.PAYMENT_METHOD_OPTIONS),
    "allowed_payment_method_types": forms.array(forms.choice("card")),
    "receipt_email": forms.text,
    "setup_future_usage": forms.choice_or_unset("off_session", "on_session"),
    "shipping": forms.nested(forms.SHIPPING),
    "capture_method": forms.choice("automatic", "automatic_async"),
}
_DESCRIPTIVE: Spec = {
    "amount": forms.integer,
    "currency": forms.currency,
    "customer": forms.string,
    "description": forms.text,
    "metadata": forms.metadata,
    "statement_descriptor": forms.short_text(22),
    "statement_descriptor_suffix": forms.short_text(22),
    "transfer_group": forms.text,
}
_AT_CONFIRM: Spec = {
    "confirmation_token": forms.string,
    "error_on_requires_action": forms.boolean,
    "mandate_data": forms.nested(forms.MANDATE_DATA),
    "off_session": forms.off_session,
    "return_url": forms.string,
    "use_stripe_sdk": forms.boolean,
}
CREATE: Spec = (
    _COMMON
    | _DESCRIPTIVE
    | _AT_CONFIRM
    | {
        "automatic_payment_methods": forms.nested(forms.AUTOMATIC_PAYMENT_METHODS, required=("enabled",)),
        "confirm": forms.boolean,
        "confirmation_method": forms.choice("automatic"),
    }
)
UPDATE: Spec = _COMMON | _DESCRIPTIVE
CONFIRM: Spec = _COMMON | _AT_CONFIRM | {"client_secret": forms.string}
CANCEL: Spec = {
    "cancellation_reason": forms.choice("abandoned", "duplicate", "fraudulent", "requested_by_customer")
}
LIST: Spec = PAGE | {"customer": forms.string}
SEARCH: Spec = {"query": forms.string, "limit": forms.integer, "page": forms.string}

# What the least charge is, in minor units. Source: docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
_MINIMUM = {
    "aed": 200,
    "aud": 50,
    "bgn": 100,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "czk": 1500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
    "inr": 50,
    "jpy": 50,
    "mxn": 1000,
    "myr": 200,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "sgd": 50,
    "thb": 1000,
    "usd": 50,
}
_MAXIMUM = 99_999_999
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_CANCELABLE = (*_OPEN, "requires_capture", "processing")
_UNEXPECTED = "payment_intent_unexpected_state"
_SEARCH_CLAUSE = re.compile(
    r"""\s*(?:metadata\[(?P<q>['"])(?P<label>.+?)(?P=q)\]|(?P<field>customer|status|currency|amount))\s*[:=]\s*"""
    r"""(?P<q2>['"]?)(?P<value>[^'"]*?)(?P=q2)\s*(?:\bAND\b|$)""",
    re.IGNORECASE,
)


def create(session: Session, params: Json) -> Json:
    _check_amount(params["amount"], params["currency"])
    if not params.get("confirm"):
        for name in _AT_CONFIRM:
            if name in params and name != "use_stripe_sdk":
                raise malformed(
                    f"The parameter `{name}` can only be used with `confirm` set to `true`.", param=name
                )
    if "customer" in params:
        session.live_customer(params["customer"])
    automatic = {"allow_redirects": "always"} | params.get("automatic_payment_methods", {"enabled": True})
    intent = session.new(
        "pi",
        "payment_intent",
        allowed_payment_method_types=params.get("allowed_payment_method_types"),
        amount=params["amount"],
        amount_capturable=0,
        amount_details={"tip": {}},
        amount_received=0,
        application=None,
        application_fee_amount=None,
        automatic_payment_methods=automatic,
        canceled_at=None,
        cancellation_reason=None,
        capture_method=params.get("capture_method", "automatic_async"),
        confirmation_method="automatic",
        currency=params["currency"],
        customer=params.get("customer"),
        description=params.get("description"),
        excluded_payment_method_types=None,
        last_payment_error=None,
        latest_charge=None,
        metadata=forms.merged_metadata({}, params.get("metadata")),
        next_action=None,
        on_behalf_of=None,
        payment_method=None,
        payment_method_configuration_details=None,
        payment_method_options={"card": {"request_three_d_secure": "automatic"}},
        payment_method_types=["card"],
        processing=None,
        receipt_email=params.get("receipt_email"),
        review=None,
        setup_future_usage=params.get("setup_future_usage"),
        shipping=params.get("shipping"),
        statement_descriptor=params.get("statement_descriptor"),
        statement_descriptor_suffix=params.get("statement_descriptor_suffix"),
        status="requires_payment_method",
        transfer_data=None,
        transfer_group=params.get("transfer_group"),
    )
    intent["client_secret"] = charges.new_client_secret(intent["id"])
    method = _given_method(session, intent, params)
    if method is not None:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    session.put(intent)
    session.emit("payment_intent.created", intent)
    if params.get("confirm"):
        _confirm(session, intent, params)
    return intent


def retrieve(session: Session, params: Json, id_: str) -> Json:
    return session.get("payment_intent", id_, param="intent")


def update(session: Session, params: Json, id_: str) -> Json:
    intent = session.get("payment_intent", id_, param="intent")
    for name in ("amount", "currency", "customer", "payment_method", "payment_method_data"):
        if name in params and intent["status"] not in _OPEN:
            raise refuse_state(
                f"This PaymentIntent's {name} could not be updated because it has a status of "
                f"{intent['status']}. You may only update the {name} of a PaymentIntent with one of the "
                f"following statuses: {', '.join(_OPEN)}.",
                intent,
                code=_UNEXPECTED,
                kind="payment_intent",
            )
    if "amount" in params or "currency" in params:
        checked = intent | params
        _check_amount(checked["amount"], checked["currency"])
    if "customer" in params:
        session.live_customer(params["customer"])
    _apply(intent, params)
    for name in ("amount", "currency", "customer", "statement_descriptor", "statement_descriptor_suffix"):
        intent[name] = params.get(name, intent[name])
    intent["description"] = params.get("description", intent["description"])
    intent["metadata"] = forms.merged_metadata(intent["metadata"], params.get("metadata"))
    method = _given_method(session, intent, params)
    if method is not None:
        intent["payment_method"] = method["id"]
    if intent["status"] in _OPEN and {"amount", "currency", "payment_method"} & params.keys():
        intent["next_action"] = None
        intent["status"] = "requires_confirmation" if intent["payment_method"] else "requires_payment_method"
    session.put(intent)
    return intent


def confirm(session: Session, params: Json, id_: str) -> Json:
    intent = session.get("payment_intent", id_, param="intent")
    _confirm(session, intent, params)
    return intent


def cancel(session: Session, params: Json, id_: str) -> Json:
    intent = session.get("payment_intent", id_, param="intent")
    if intent["status"] not in _CANCELABLE:
        raise refuse_state(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a "
            "PaymentIntent with one of the following statuses may be canceled: requires_payment_method, "
            "requires_capture, requires_reauthorization, requires_confirmation, requires_action, expired, "
            "processing.",
            intent,
            code=_UNEXPECTED,
            kind="payment_intent",
        )
    intent |= {
        "status": "canceled",
        "canceled_at": session.now,
        "cancellation_reason": params.get("cancellation_reason"),
        "next_action": None,
        "processing": None,
    }
    session.put(intent)
    session.emit("payment_intent.canceled", intent)
    return intent


def list_(session: Session, params: Json) -> Json:
    where = {"customer": params.get("customer")}
    return session.page_of("/v1/payment_intents", "payment_intent", params, where=where)


def search(session: Session, params: Json) -> Json:
    """By metadata, customer, status, currency or amount, joined by AND; the first 100 at most."""
    labels, fields, position = {}, {}, 0
    query = params["query"].strip()
    while position < len(query):
        clause = _SEARCH_CLAUSE.match(query, position)
        if clause is None or clause.end() == position:
            raise malformed("We were unable to parse your search query.", param="query")
        if clause["label"]:
            labels[clause["label"]] = clause["value"]
        else:
            fields[clause["field"].lower()] = clause["value"]
        position = clause.end()
    found = [
        intent
        for intent in session.store.labelled("payment_intent", labels)
        if all(str(intent[name]) == value for name, value in fields.items())
    ]
    limit = params.get("limit", 10)
    return {
        "object": "search_result",
        "url": "/v1/payment_intents/search",
        "has_more": False,
        "next_page": None,
        "data": [public(intent) for intent in found[: min(limit, 100)]],
    }


def finish_authentication(session: Session, intent: Json, *, is_authenticated: bool) -> None:
    """The issuer's answer to 3-D Secure: the charge follows at once, or the card is put away."""
    if intent["status"] != "requires_action":
        raise refuse_state(
            f"This PaymentIntent is {intent['status']}.", intent, code=_UNEXPECTED, kind="payment_intent"
        )
    method = session.get("payment_method", intent["payment_method"])
    if not is_authenticated:
        refused = invalid(
            "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a "
            "new PaymentMethod to attempt to fulfill this PaymentIntent again.",
            code="payment_intent_authentication_failure",
            payment_method=public(method),
        )
        _put_card_away(session, intent, refused)
        return
    # A decline is written on the intent; the browser reads it from there.
    try:
        _charge(session, intent, method, is_authenticated=True, off_session=False)
    except ApiError as declined:
        if not declined.keeps_work:
            raise


def settle(session: Session, intent: Json, *, succeeds: bool) -> None:
    """The end of `processing`."""
    if intent["status"] != "processing":
        raise refuse_state(
            f"This PaymentIntent is {intent['status']}.", intent, code=_UNEXPECTED, kind="payment_intent"
        )
    charge = session.get("charge", intent["latest_charge"])
    method = session.get("payment_method", charge["payment_method"])
    intent["processing"] = None
    if succeeds:
        _succeed(session, intent, charge, method)
        return
    charges.fail(charge, "card_declined", "generic_decline")
    session.put(charge)
    session.emit("charge.failed", charge)
    declined = cards.declined(
        "card_declined", "generic_decline", charge=charge["id"], payment_method=public(method)
    )
    _put_card_away(session, intent, declined)


def _check_amount(amount: int, currency: str) -> None:
    if amount < 1:
        raise malformed(
            "This value must be greater than or equal to 1.",
            code="parameter_invalid_integer",
            param="amount",
        )
    if amount > _MAXIMUM:
        raise malformed("Amount must be no more than 999,999.99", code="amount_too_large", param="amount")
    least = _MINIMUM.get(currency, 1)
    if amount < least:
        shown = f"{least / 100:.2f}" if currency != "jpy" else str(least)
        raise malformed(
            f"Amount must be at least {shown} {currency}", code="amount_too_small", param="amount"
        )


def _given_method(session: Session, intent: Json, params: Json) -> Json | None:
    """The payment method that these parameters name or describe, written."""
    if "payment_method" in params:
        return usable(session, params["payment_method"])
    if "payment_method_data" in params:
        method = from_data(session, params["payment_method_data"])
        session.put(method)
        return method
    return None


def _apply(intent: Json, params: Json) -> None:
    for name in ("receipt_email", "setup_future_usage", "shipping"):
        intent[name] = params.get(name, intent[name])
    if "allowed_payment_method_types" in params:
        intent["allowed_payment_method_types"] = params["allowed_payment_method_types"]
    for name, options in params.get("payment_method_options", {}).items():
        intent["payment_method_options"][name] = intent["payment_method_options"].get(name, {}) | options


def _confirm(session: Session, intent: Json, params: Json) -> None:
    _refuse_unconfirmable(intent)
    _apply(intent, params)
    token = None
    if "confirmation_token" in params:
        token = redeem_token(session, params["confirmation_token"], intent)
        intent["setup_future_usage"] = intent["setup_future_usage"] or token["setup_future_usage"]
        intent["shipping"] = intent["shipping"] or token["shipping"]
    method = _given_method(session, intent, params)
    if method is None and token is not None:
        method = usable(session, token["_payment_method"])
    if method is None and intent["payment_method"]:
        method = usable(session, intent["payment_method"])
    if method is None:
        raise refuse_state(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either "
            "update the PaymentIntent with a payment method and then confirm it again, or confirm it again "
            "directly with a payment method or ConfirmationToken.",
            intent,
            code=_UNEXPECTED,
            kind="payment_intent",
        )
    _check_owner(intent, method)
    off_session = params.get("off_session", False)
    return_url = params.get("return_url") or (token or {}).get("return_url")
    if not off_session and not return_url and _may_redirect(intent):
        raise invalid(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because "
            "some of these payment methods might redirect your customer off of your page, you must provide a "
            "`return_url`. If you don't want to accept redirect-based payment methods, set "
            "`automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]` "
            "to `never` when creating Setup Intents and Payment Intents.",
            payment_intent=public(intent),
        )
    intent |= {"payment_method": method["id"], "last_payment_error": None, "next_action": None}
    if is_required(method, off_session=off_session) and not off_session:
        if params.get("error_on_requires_action"):
            refused = _error(intent, method, "authentication_required", None, None)
            _put_card_away(session, intent, refused)
            raise refused
        uses_sdk = params.get("use_stripe_sdk", bool(token and token["use_stripe_sdk"]))
        intent["status"] = "requires_action"
        intent["next_action"] = next_action(session, intent, return_url=return_url, uses_sdk=uses_sdk)
        session.put(intent)
        session.emit("payment_intent.requires_action", intent)
        return
    _charge(session, intent, method, is_authenticated=False, off_session=off_session)


def _refuse_unconfirmable(intent: Json) -> None:
    status = intent["status"]
    if status in _OPEN:
        return
    message = (
        "You cannot confirm this PaymentIntent because it has already succeeded after being previously "
        "confirmed."
        if status == "succeeded"
        else f"This PaymentIntent could not be confirmed because it has a status of {status}. Only a "
        "PaymentIntent with one of the following statuses may be confirmed: requires_payment_method, "
        "requires_confirmation, requires_action."
    )
    raise refuse_state(message, intent, code=_UNEXPECTED, kind="payment_intent")


def _check_owner(intent: Json, method: Json) -> None:
    owner = method["customer"]
    if owner and not intent["customer"]:
        raise invalid(
            f"The `payment_method` parameter supplied {method['id']} belongs to the Customer {owner}. Please "
            "include the Customer in the `customer` parameter on the PaymentIntent.",
            code="parameter_missing",
            param="source",
            payment_intent=public(intent),
        )
    if owner and owner != intent["customer"]:
        raise invalid(
            f"The PaymentMethod {method['id']} does not belong to the Customer you supplied "
            f"{intent['customer']}. Please use this PaymentMethod with the Customer that it belongs to "
            "instead.",
            param="payment_method",
            payment_intent=public(intent),
        )


def _may_redirect(intent: Json) -> bool:
    automatic = intent["automatic_payment_methods"]
    if not automatic or not automatic["enabled"] or intent["allowed_payment_method_types"]:
        return False
    return bool(automatic["allow_redirects"] == "always")


def _charge(
    session: Session, intent: Json, method: Json, *, is_authenticated: bool, off_session: bool
) -> None:
    """Charge the card.

    :raises ApiError: 402, after the failed charge, the intent and their events were written.
    """
    if off_session and is_required(method, off_session=True):
        refused = _error(intent, method, "authentication_required", "authentication_required", None)
        _put_card_away(session, intent, refused)
        raise _with_intent(refused, intent)
    charge = charges.of_intent(session, intent, method)
    if is_authenticated:
        charge["payment_method_details"]["card"]["three_d_secure"] = {
            "authentication_flow": "challenge",
            "result": "authenticated",
            "result_reason": None,
            "version": "2.2.0",
        }
    intent |= {"latest_charge": charge["id"], "next_action": None}
    decline = ("expired_card", None) if is_expired(method, session.now) else method["_traits"]["decline"]
    if decline:
        code, decline_code = decline
        charges.fail(charge, code, decline_code)
        session.put(charge)
        session.emit("charge.failed", charge)
        refused = _error(intent, method, code, decline_code, charge["id"])
        _put_card_away(session, intent, refused)
        raise _with_intent(refused, intent)
    if session.take_hold():
        intent |= {"status": "processing", "processing": {"type": "card", "card": {}}}
        session.put(charge)
        session.put(intent)
        session.emit("charge.pending", charge)
        session.emit("payment_intent.processing", intent)
        return
    _succeed(session, intent, charge, method)


def _succeed(session: Session, intent: Json, charge: Json, method: Json) -> None:
    charges.succeed(charge)
    intent |= {"status": "succeeded", "amount_received": intent["amount"]}
    session.put(charge)
    session.put(intent)
    is_saved = bool(intent["customer"] and intent["setup_future_usage"])
    if is_saved and not method["customer"]:
        if intent["setup_future_usage"] == "off_session":
            method["_is_set_up"] = True
        attach_to(session, method, intent["customer"])
    elif is_saved and intent["setup_future_usage"] == "off_session" and not method["_is_set_up"]:
        session.put(method | {"_is_set_up": True})
    elif not method["customer"]:
        session.put(method | {"_is_spent": True})
    session.emit("charge.succeeded", charge)
    if method["_traits"]["is_disputed"]:
        charges.create_dispute(session, charge, reason="fraudulent")
    session.emit("payment_intent.succeeded", intent)


def _error(intent: Json, method: Json, code: str, decline_code: str | None, charge: str | None) -> ApiError:
    facts: dict[str, Any] = {"payment_method": public(method)}
    if charge is not None:
        facts["charge"] = charge
    return cards.declined(code, decline_code, **facts)


def _put_card_away(session: Session, intent: Json, refused: ApiError) -> None:
    """The intent after a failed attempt: it waits for another card and remembers why."""
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "next_action": None,
        "last_payment_error": cards.error_record(refused),
    }
    session.put(intent)
    session.emit("payment_intent.payment_failed", intent)


def _with_intent(refused: ApiError, intent: Json) -> ApiError:
    refused.error["payment_intent"] = public(intent)
    return refused
