"""What a product shows to somebody who opens it: the purchase prompt (product §3.1, docs/embed.md)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from commerce.models import Product
from commerce.queries.eligibility import eligibility_for
from config.kit.actors import Actor
from directory.permissions import Capability
from licensing.queries.entitlements import entitlement_of
from policies.queries.data import products_off_for
from policies.queries.policies import ContactText, contact_text
from policies.queries.requests import RequestDoor, RequestProcess, request_door

type State = Literal["licensed", "buy", "request", "contact"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The decision, with the organization's own words for whoever may not buy."""

    state: State
    contact: ContactText
    door: RequestDoor


NOTHING_SAID = Prompt("contact", ContactText("", ""), RequestDoor(RequestProcess(), is_open=False))


def prompt_for(*, actor: Actor, product: Product, at: datetime) -> Prompt:
    """What this person does next about this product; inside `tenant_atomic(actor)`. Fourteen queries at most.

    The same decision as at Buy, with all its reasons (product §3.3). It tells nothing of anybody else.
    """
    held = None if actor.user_id is None else entitlement_of(user_id=actor.user_id, product=product)
    is_off = bool(products_off_for(actor=actor, product_ids=[product.pk]))
    door, contact = request_door(actor=actor, product_id=product.pk), contact_text(actor=actor)
    state: State = "contact"
    if held is not None and not is_off:
        state = "licensed"
    elif actor.may(Capability.BUY) and eligibility_for(actor=actor, product=product, at=at).is_eligible:
        state = "buy"
    elif door.is_open:
        state = "request"
    return Prompt(state, contact, door)


def prompt_for_anybody(product: Product) -> Prompt:
    """Of somebody whose account is not known yet: Buy leads to the work e-mail, which decides."""
    if product.self_service and not product.is_withdrawn:
        return Prompt("buy", NOTHING_SAID.contact, NOTHING_SAID.door)
    return NOTHING_SAID
