"""Customers."""

from typing import Any

from . import forms
from .errors import Json
from .forms import Spec
from .payment_methods import attach_to, usable
from .session import PAGE, Session

_WRITABLE: Spec = {
    "address": forms.nested(forms.ADDRESS),
    "description": forms.text,
    "email": forms.text,
    "invoice_settings": forms.nested({"default_payment_method": forms.text}),
    "metadata": forms.metadata,
    "name": forms.text,
    "phone": forms.text,
    "preferred_locales": forms.array(forms.string),
    "shipping": forms.nested(forms.SHIPPING),
    "tax_exempt": forms.choice_or_unset("exempt", "none", "reverse"),
}
CREATE: Spec = _WRITABLE | {"payment_method": forms.string}
UPDATE: Spec = _WRITABLE
LIST: Spec = PAGE | {"email": forms.string}


def create(session: Session, params: Json) -> Json:
    method = usable(session, params["payment_method"]) if "payment_method" in params else None
    customer = session.new(
        "cus",
        "customer",
        address=None,
        balance=0,
        currency=None,
        default_source=None,
        delinquent=False,
        description=None,
        discount=None,
        email=None,
        invoice_prefix=None,
        invoice_settings={
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        metadata={},
        name=None,
        phone=None,
        preferred_locales=[],
        shipping=None,
        tax_exempt="none",
        test_clock=None,
    )
    _apply(session, customer, params)
    session.put(customer)
    if method is not None:
        attach_to(session, method, customer["id"])
    session.emit("customer.created", customer)
    return customer


def retrieve(session: Session, params: Json, id_: str) -> Json:
    return session.get("customer", id_)


def update(session: Session, params: Json, id_: str) -> Json:
    customer = session.get("customer", id_)
    if customer.get("deleted"):
        customer = session.live_customer(id_, param="id")
    before = dict(customer)
    _apply(session, customer, params)
    session.put(customer)
    changed = {name: before[name] for name in before if before[name] != customer[name]}
    session.emit("customer.updated", customer, previous=changed)
    return customer


def delete(session: Session, params: Json, id_: str) -> Json:
    customer = session.live_customer(id_, param="id")
    for method in session.store.page("payment_method", limit=1000, where={"customer": id_})[0]:
        session.put(method | {"customer": None, "_is_spent": True})
    session.emit("customer.deleted", customer)
    gone = {"id": id_, "object": "customer", "created": customer["created"], "deleted": True}
    session.put(gone)
    return {name: gone[name] for name in ("id", "object", "deleted")}


def list_(session: Session, params: Json) -> Json:
    return session.page_of("/v1/customers", "customer", params, where={"email": params.get("email")})


def payment_methods(session: Session, params: Json, id_: str) -> Json:
    session.get("customer", id_)
    url = f"/v1/customers/{id_}/payment_methods"
    return session.page_of(url, "payment_method", params, where={"customer": id_})


def payment_method(session: Session, params: Json, id_: str, method_id: str) -> Json:
    session.get("customer", id_)
    method = session.get("payment_method", method_id, param="payment_method")
    if method["customer"] != id_:
        return session.get("payment_method", f"{method_id} of {id_}", param="payment_method")
    return method


def _apply(session: Session, customer: Json, params: Json) -> None:
    changes: dict[str, Any] = {
        name: params[name]
        for name in ("address", "description", "email", "name", "phone", "preferred_locales", "shipping")
        if name in params
    }
    if "tax_exempt" in params:
        changes["tax_exempt"] = params["tax_exempt"] or "none"
    if "address" in changes:
        changes["address"] = dict.fromkeys(forms.ADDRESS) | (customer["address"] or {}) | changes["address"]
    default = params.get("invoice_settings", {})
    if "default_payment_method" in default:
        method_id = default["default_payment_method"]
        if method_id:
            usable(session, method_id, customer=customer["id"])
        changes["invoice_settings"] = customer["invoice_settings"] | {"default_payment_method": method_id}
    changes["metadata"] = forms.merged_metadata(customer["metadata"], params.get("metadata"))
    customer.update(changes)
