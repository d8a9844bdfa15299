"""SetupIntents: keep a card for later without charging it."""

from . import cards, charges, forms
from .authentication import is_required_to_save, next_action
from .errors import ApiError, Json, invalid
from .forms import Spec
from .payment_methods import attach_to, from_data, is_expired, redeem_token, usable
from .session import PAGE, Session, public, refuse_state

_COMMON: Spec = {
    "payment_method": forms.string,
    "payment_method_data": forms.nested(forms.PAYMENT_METHOD_DATA, required=("type",)),
    "payment_method_options": forms.nested(forms.PAYMENT_METHOD_OPTIONS),
}
_DESCRIPTIVE: Spec = {
    "customer": forms.string,
    "description": forms.text,
    "metadata": forms.metadata,
    "allowed_payment_method_types": forms.array(forms.choice("card")),
}
_AT_CONFIRM: Spec = {
    "confirmation_token": forms.string,
    "mandate_data": forms.nested(forms.MANDATE_DATA),
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
        "usage": forms.choice("off_session", "on_session"),
    }
)
UPDATE: Spec = _COMMON | _DESCRIPTIVE
CONFIRM: Spec = _COMMON | _AT_CONFIRM | {"client_secret": forms.string}
CANCEL: Spec = {"cancellation_reason": forms.choice("abandoned", "duplicate", "requested_by_customer")}
LIST: Spec = PAGE | {"customer": forms.string}

_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_UNEXPECTED = "setup_intent_unexpected_state"


def create(session: Session, params: Json) -> Json:
    if "customer" in params:
        session.live_customer(params["customer"])
    automatic = {"allow_redirects": "always"} | params.get("automatic_payment_methods", {"enabled": True})
    intent = session.new(
        "seti",
        "setup_intent",
        allowed_payment_method_types=params.get("allowed_payment_method_types"),
        application=None,
        automatic_payment_methods=automatic,
        cancellation_reason=None,
        customer=params.get("customer"),
        description=params.get("description"),
        excluded_payment_method_types=None,
        flow_directions=None,
        last_setup_error=None,
        latest_attempt=None,
        mandate=None,
        metadata=forms.merged_metadata({}, params.get("metadata")),
        next_action=None,
        on_behalf_of=None,
        payment_method=None,
        payment_method_configuration_details=None,
        payment_method_options={"card": {"request_three_d_secure": "automatic"}},
        payment_method_types=["card"],
        single_use_mandate=None,
        status="requires_payment_method",
        usage=params.get("usage", "off_session"),
    )
    intent["client_secret"] = charges.new_client_secret(intent["id"])
    method = _given_method(session, intent, params)
    if method is not None:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    session.put(intent)
    session.emit("setup_intent.created", intent)
    if params.get("confirm"):
        _confirm(session, intent, params)
    return intent


def retrieve(session: Session, params: Json, id_: str) -> Json:
    return session.get("setup_intent", id_, param="intent")


def update(session: Session, params: Json, id_: str) -> Json:
    intent = session.get("setup_intent", id_, param="intent")
    if "payment_method" in params or "payment_method_data" in params:
        _refuse_unless_open(intent, "update")
    if "customer" in params:
        intent["customer"] = session.live_customer(params["customer"])["id"]
    intent["description"] = params.get("description", intent["description"])
    intent["metadata"] = forms.merged_metadata(intent["metadata"], params.get("metadata"))
    method = _given_method(session, intent, params)
    if method is not None:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation", "next_action": None}
    session.put(intent)
    return intent


def confirm(session: Session, params: Json, id_: str) -> Json:
    intent = session.get("setup_intent", id_, param="intent")
    _confirm(session, intent, params)
    return intent


def cancel(session: Session, params: Json, id_: str) -> Json:
    intent = session.get("setup_intent", id_, param="intent")
    if intent["status"] not in _OPEN:
        raise refuse_state(
            f"You cannot cancel this SetupIntent because it has a status of {intent['status']}. Only a "
            f"SetupIntent with one of the following statuses may be canceled: {', '.join(_OPEN)}.",
            intent,
            code=_UNEXPECTED,
            kind="setup_intent",
        )
    intent |= {
        "status": "canceled",
        "cancellation_reason": params.get("cancellation_reason"),
        "next_action": None,
    }
    session.put(intent)
    session.emit("setup_intent.canceled", intent)
    return intent


def list_(session: Session, params: Json) -> Json:
    where = {"customer": params.get("customer")}
    return session.page_of("/v1/setup_intents", "setup_intent", params, where=where)


def finish_authentication(session: Session, intent: Json, *, is_authenticated: bool) -> None:
    """The issuer's answer to 3-D Secure: the card is kept, or put away."""
    if intent["status"] != "requires_action":
        raise refuse_state(
            f"This SetupIntent is {intent['status']}.", intent, code=_UNEXPECTED, kind="setup_intent"
        )
    method = session.get("payment_method", intent["payment_method"])
    if is_authenticated:
        _succeed(session, intent, method)
        return
    refused = invalid(
        "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new "
        "PaymentMethod to attempt to fulfill this SetupIntent again.",
        code="setup_intent_authentication_failure",
        payment_method=public(method),
    )
    _put_card_away(session, intent, refused)


def _given_method(session: Session, intent: Json, params: Json) -> Json | None:
    if "payment_method" in params:
        return usable(session, params["payment_method"], customer=intent["customer"])
    if "payment_method_data" in params:
        method = from_data(session, params["payment_method_data"])
        session.put(method)
        return method
    return None


def _confirm(session: Session, intent: Json, params: Json) -> None:
    _refuse_unless_open(intent, "confirm")
    token = None
    if "confirmation_token" in params:
        token = redeem_token(session, params["confirmation_token"], intent)
    method = _given_method(session, intent, params)
    kept = token["_payment_method"] if token else intent["payment_method"]
    if method is None and kept:
        method = usable(session, kept, customer=intent["customer"])
    if method is None:
        raise refuse_state(
            "You cannot confirm this SetupIntent because it's missing a payment method. You can either update "
            "the SetupIntent with a payment method and then confirm it again, or confirm it again directly "
            "with a payment method or ConfirmationToken.",
            intent,
            code=_UNEXPECTED,
            kind="setup_intent",
        )
    if method["customer"] and not intent["customer"]:
        raise invalid(
            f"The payment method supplied ({method['id']}) belongs to the Customer {method['customer']}. "
            "Please include the Customer in the `customer` parameter on the SetupIntent.",
            param="payment_method",
            setup_intent=public(intent),
        )
    return_url = params.get("return_url") or (token or {}).get("return_url")
    automatic = intent["automatic_payment_methods"]
    may_redirect = automatic and automatic["enabled"] and automatic["allow_redirects"] == "always"
    if may_redirect and not intent["allowed_payment_method_types"] and not return_url:
        raise invalid(
            "This SetupIntent is configured to accept payment methods enabled in your Dashboard. Because some "
            "of these payment methods might redirect your customer off of your page, you must provide a "
            "`return_url`. If you don't want to accept redirect-based payment methods, set "
            "`automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]` "
            "to `never` when creating Setup Intents and Payment Intents.",
            setup_intent=public(intent),
        )
    intent |= {"payment_method": method["id"], "last_setup_error": None, "next_action": None}
    traits = method["_traits"]
    if is_required_to_save(method):
        uses_sdk = params.get("use_stripe_sdk", bool(token and token["use_stripe_sdk"]))
        intent["status"] = "requires_action"
        intent["next_action"] = next_action(session, intent, return_url=return_url, uses_sdk=uses_sdk)
        session.put(intent)
        session.emit("setup_intent.requires_action", intent)
        return
    if traits["refuses_attach"] or is_expired(method, session.now):
        decline = ("expired_card", None) if is_expired(method, session.now) else traits["decline"]
        refused = cards.declined(*decline, payment_method=public(method))
        _put_card_away(session, intent, refused)
        refused.error["setup_intent"] = public(intent)
        raise refused
    _succeed(session, intent, method)


def _refuse_unless_open(intent: Json, verb: str) -> None:
    if intent["status"] not in _OPEN:
        reason = "has already succeeded" if intent["status"] == "succeeded" else "has been canceled"
        raise refuse_state(
            f"You cannot {verb} this SetupIntent because it {reason}.",
            intent,
            code=_UNEXPECTED,
            kind="setup_intent",
        )


def _succeed(session: Session, intent: Json, method: Json) -> None:
    intent |= {"status": "succeeded", "next_action": None}
    session.put(intent)
    method["_is_set_up"] = method["_is_set_up"] or intent["usage"] == "off_session"
    if intent["customer"] and not method["customer"]:
        attach_to(session, method, intent["customer"])
    else:
        method["_is_spent"] = not method["customer"]
        session.put(method)
    session.emit("setup_intent.succeeded", intent)


def _put_card_away(session: Session, intent: Json, refused: ApiError) -> None:
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "next_action": None,
        "last_setup_error": cards.error_record(refused),
    }
    session.put(intent)
    session.emit("setup_intent.setup_failed", intent)
