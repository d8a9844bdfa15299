"""Which of the objects that addresses name somebody sees: for the links of notices (product §2, §15)."""

from collections.abc import Collection

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from commerce.models import Bill, HandOver, Subscription
from commerce.queries.handovers import formerly_owned
from config.kit.actors import Actor


def purchases_seen(actor: Actor, keys: Collection[str]) -> set[str]:
    """Those that the person sees, and own former ones. One query, three where some are not seen."""
    rows = Subscription.objects.visible_to(actor).filter(key__in=keys)
    seen = {str(key) for key in rows.values_list("key", flat=True)}
    unseen = set(keys) - seen
    return seen | formerly_owned(actor, unseen) if unseen else seen


def bills_seen(actor: Actor, numbers: Collection[str]) -> set[str]:
    """One query."""
    return set(Bill.objects.visible_to(actor).filter(number__in=numbers).values_list("number", flat=True))


def own_purchase_keys(actor: Actor) -> QuerySet[Subscription, str]:
    """The keys, as texts, of what the person owns now: a subquery. What the organization took over is not among them."""
    own = Subscription.objects.filter(tenant_id=actor.tenant_id, owner_user_id=actor.user_id)
    keys: QuerySet[Subscription, str] = own.annotate(text=Cast("key", TextField())).values_list(
        "text", flat=True
    )
    return keys


def own_bill_numbers(actor: Actor) -> QuerySet[Bill, str]:
    """The numbers of the bills of what the person owns now that are the person's to pay: a subquery."""
    own = Bill.objects.filter(tenant_id=actor.tenant_id, payer_id=actor.user_id)
    return own.filter(subscription__owner_user_id=actor.user_id).values_list("number", flat=True)


def offers_seen(actor: Actor, keys: Collection[str]) -> set[str]:
    """What was offered to the person. One query."""
    offers = HandOver.objects.visible_to(actor).filter(to_user_id=actor.user_id, key__in=keys)
    return {str(key) for key in offers.values_list("key", flat=True)}


def products_seen(actor: Actor, slugs: Collection[str]) -> set[str]:
    """The catalogue is everybody's; who may open the page of a product's policy is said by its rule."""
    return set(slugs)
