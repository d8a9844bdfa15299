"""Switching recurring billing (product §5.3, §5.5)."""

import uuid
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.models import CancelRequest, Subscription, Trial
from commerce.operations.cancel_answers import close_cancel_request
from commerce.operations.dunning import resume_trying_renewals, stop_trying_renewals
from commerce.operations.subscriptions import drop_scheduled, remember
from config.kit.actors import Actor
from config.kit.errors import Conflict, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.operations import audit
from directory.permissions import Capability

SWITCHABLE = frozenset({Subscription.State.SCHEDULED, Subscription.State.ACTIVE})


class NothingToRenew(Conflict):
    """The subscription is past its term: it is renewed by reactivation, not by this switch."""

    code = "nothing_to_renew"
    message = _(
        "This subscription has ended. Recurring billing can no longer be switched. Nothing was changed."
    )


class TrialWithoutCard(Conflict):
    """Nothing can be charged at its end: it has no card, and nobody agreed to a price."""

    code = "trial_without_card"
    message = _(
        "This trial has no card, so it ends by itself. Say that you keep it first. Nothing was changed."
    )


def set_recurring_billing(
    *, actor: Actor, key: uuid.UUID, on: bool, version: int, at: datetime
) -> Subscription:
    """Switch recurring billing of one subscription on or off; switching to what it is already does nothing.

    Off: active to the end of the term, then Expired; a yearly term paid monthly goes on being charged until
    then; what was scheduled for the renewal falls away. On: it renews at the end of the term. A trial with a card turns
    paid at its end, or does not and is Disabled then. `version` is that of the page on which the person decided.

    :raises NotVisible: no such purchase for this person.
    :raises NotAllowed: visible, and neither the actor's own nor the organization's for its admins.
    :raises NothingToRenew: Expired, Disabled or Deleted. :raises TrialWithoutCard: a trial that cannot turn paid.
    :raises Conflict: changed since the page was shown.
    """
    with tenant_atomic(actor):
        # The lock first and alone, as in `subscriptions.lock_subscription_row`.
        visible = Subscription.objects.visible_to(actor).filter(key=key)
        list(visible.select_for_update(of=("self",), no_key=True).only("pk"))
        subscription: Subscription | None = visible.select_related(
            "product", "plan", "next_plan", "vendor_entity", "owner_user"
        ).first()
        if subscription is None:
            raise NotVisible
        actor.require(
            Capability.MANAGE_PURCHASES,
            is_own=subscription.is_owned_by(actor),
            is_org=subscription.is_organizations,
            sees=Capability.SEE_PURCHASES,
        )
        if subscription.state not in SWITCHABLE:
            raise NothingToRenew
        if subscription.recurring_billing == on:
            return subscription
        if subscription.version != version:
            raise Conflict
        if on and _is_free_trial(subscription):
            raise TrialWithoutCard
        subscription.recurring_billing = on
        subscription.version += 1
        subscription.save(update_fields=["recurring_billing", "version"])
        remember(subscription, "recurring_billing_on" if on else "recurring_billing_off", actor=actor, at=at)
        audit.record(
            actor,
            "commerce.recurring_billing.switched_on" if on else "commerce.recurring_billing.switched_off",
            at=at,
            target_type="subscription",
            target_id=subscription.key,
            target_label=str(subscription),
            before={"recurring_billing": not on},
            after={"recurring_billing": on},
        )
        if on:
            resume_trying_renewals(actor=actor, subscription=subscription, at=at)
        else:
            drop_scheduled(subscription, actor=actor, at=at)
            close_cancel_request(subscription, CancelRequest.State.CANCELED, actor=actor, at=at)
            stop_trying_renewals(actor=actor, subscription=subscription, at=at)
    return subscription


def _is_free_trial(subscription: Subscription) -> bool:
    return bool(
        subscription.channel == Subscription.Channel.TRIAL
        and Trial.objects.filter(subscription=subscription, kind=Trial.Kind.WITHOUT_CARD).exists()
    )
