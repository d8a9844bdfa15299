"""May this person buy this product now? The facts for `policies.eligibility` (product §3.3)."""

from dataclasses import replace
from datetime import datetime

from django.db.models import Exists, OuterRef

from commerce.models import Market, MarketExclusion, Price, Product, Trial
from commerce.queries.catalogue import subject_of
from config.kit.actors import Actor
from config.kit.languages import country_name
from config.kit.tenancy import tenant_atomic
from directory.actors import tenant_row
from directory.models import Tenant, User
from policies.eligibility import Eligibility, Facts, Wanted, decide
from policies.queries.data import data_policy_for
from policies.queries.policies import effective_policy
from policies.queries.spending import Purchase, spending_of


def eligibility_for(
    *,
    actor: Actor,
    product: Product,
    at: datetime,
    wanted: Wanted = "purchase",
    purchase: Purchase | None = None,
) -> Eligibility:
    """The decision for the acting tenant, from rows read now. Eight queries at most, one more for a trial.

    With a `purchase` the limits are asked about its sum too: four more at most, one where there are none. Inside a transaction it holds as long as that transaction's other reads do.
    """
    with tenant_atomic(actor):
        facts = facts_for(actor=actor, product=product, at=at)
        if wanted != "purchase":
            facts = replace(facts, had_trial=_had_trial(actor, product))
        if purchase is not None:
            facts = replace(facts, spending=spending_of(actor=actor, purchase=purchase, at=at))
        return decide(facts, wanted)


def eligibility_by_way(*, actor: Actor, product: Product, at: datetime) -> dict[Wanted, Eligibility]:
    """The decision for each way to get the product oneself: bought, tried with a card, tried without. Nine queries."""
    with tenant_atomic(actor):
        facts = facts_for(actor=actor, product=product, at=at)
        facts = replace(facts, had_trial=_had_trial(actor, product))
        return {wanted: decide(facts, wanted) for wanted in ("purchase", "trial", "free_trial")}


def facts_for(*, actor: Actor, product: Product, at: datetime) -> Facts:
    """What the decision rests on; inside `tenant_atomic(actor)`."""
    tenant = tenant_row(actor.tenant_id)
    user_id = None if actor.is_partner else actor.user_id
    policy = effective_policy(actor=actor, subject=subject_of(product), user_id=user_id)
    data = data_policy_for(actor=actor, product_id=product.pk, user_id=user_id)
    user = None if actor.is_partner else User.objects.filter(pk=actor.user_id).first()
    market = (
        Market.objects.filter(pk=tenant.country)
        .annotate(
            has_price=Exists(
                Price.objects.filter(market=OuterRef("pk"), plan__product=product, valid_from__lte=at)
            ),
            excludes_category=Exists(
                MarketExclusion.objects.filter(market=OuterRef("pk"), category=product.category)
            ),
        )
        .first()
    )
    return Facts(
        organization=tenant.name,
        product=product.name,
        category=product.category,
        country=country_name(tenant.country),
        account_is_active=actor.is_partner or (user is not None and user.is_active),
        is_guest=user is not None and user.kind == User.Kind.GUEST,
        acts_for_customer=actor.is_partner,
        tenant_is_managed=tenant.is_managed,
        tenant_is_in_good_standing=tenant.standing == Tenant.Standing.GOOD,
        tenant_kind=tenant.kind,
        has_price=market is not None and market.has_price,
        market_is_open=market is not None and market.self_service,
        category_is_open=market is not None and not market.excludes_category,
        product_is_self_service=product.self_service,
        product_is_withdrawn=product.is_withdrawn,
        policy=policy.value,
        is_undecided=policy.is_undecided,
        offers_free_trial=product.trial_without_card,
        service_is_on=data.service_on,
    )


def _had_trial(actor: Actor, product: Product) -> bool:
    if actor.user_id is None:
        return False
    return Trial.objects.filter(tenant_id=actor.tenant_id, user_id=actor.user_id, product=product).exists()
