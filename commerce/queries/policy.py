"""The purchase policy with the catalogue beside it: what holds for each product, and whom a change affects (product §9)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import Count, Q, Sum

from commerce.models import Checkout, Product, Subscription
from commerce.queries.catalogue import subjects_of
from config.kit.actors import Actor
from policies.models import GroupPolicy
from policies.queries.policies import Policy, policy_of
from policies.rule import Effective, Rules, Subject, effective, inherited, own_value

State = Subscription.State
_UNDER_WAY = (Checkout.State.OPEN, Checkout.State.PAYING, Checkout.State.ACTION)


@dataclass(frozen=True, slots=True)
class Row:
    """One product: what holds without groups, its own value (empty: none), and what it would inherit."""

    product: Product
    subject: Subject
    effective: Effective
    own: str
    inherited: Effective
    groups: Sequence[GroupPolicy]
    seats: int


@dataclass(frozen=True, slots=True)
class Use:
    """What people have of a product by self-service: purchases and trials, of how many, with how many licenses given."""

    purchases: int = 0
    people: int = 0
    seats: int = 0
    assigned: int = 0
    checkouts: int = 0


@dataclass(frozen=True, slots=True)
class Affected:
    """One product whose value a change moves, and who has something of it."""

    product: Product
    before: Effective
    after: Effective
    use: Use


@dataclass(frozen=True, slots=True)
class Table:
    """Every product of the catalogue under the acting tenant's policy, by category and name."""

    policy: Policy
    rows: Sequence[Row]

    @property
    def categories(self) -> list[str]:
        return sorted({row.product.category for row in self.rows})


def table_of(actor: Actor) -> Table:
    """The whole policy. Six queries, for any number of products."""
    products = list(Product.objects.order_by("-self_service", "name"))
    policy = policy_of(actor=actor)
    groups: dict[str, list[GroupPolicy]] = {}
    for each in (
        GroupPolicy.objects.visible_to(actor)
        .filter(level=GroupPolicy.Level.PRODUCT)
        .select_related("group")
        .order_by("group__name")
    ):
        groups.setdefault(each.key, []).append(each)
    seats = dict(
        _of_people(actor).values_list("product").annotate(n=Sum("quantity")).values_list("product", "n")
    )
    return Table(
        policy,
        [
            Row(
                product=product,
                subject=subject,
                effective=effective(policy.rules, subject),
                own=own_value(policy.rules, subject),
                inherited=inherited(policy.rules, subject),
                groups=[each for key in subject.keys for each in groups.get(key, ())],
                seats=seats.get(product.pk, 0),
            )
            for product, subject in zip(products, subjects_of(products), strict=True)
        ],
    )


def affected_by(actor: Actor, table: Table, rules: Rules, at: datetime) -> list[Affected]:
    """The products whose value would be another one under `rules`, with who has something of them. Two queries."""
    moved = [
        (row, after)
        for row in table.rows
        if (after := effective(rules, row.subject)).value != row.effective.value
    ]
    uses = _uses(actor, [row.product for row, _after in moved], at)
    return [
        Affected(row.product, row.effective, after, uses.get(row.product.pk, Use())) for row, after in moved
    ]


def use_of(actor: Actor, product: Product, at: datetime) -> Use:
    """What people have of one product by self-service. Two queries."""
    return _uses(actor, [product], at).get(product.pk, Use())


def undecided(table: Table) -> list[Row]:
    """The products that await an admin's decision."""
    return [row for row in table.rows if row.effective.is_undecided and row.product.self_service]


def _uses(actor: Actor, products: Sequence[Product], at: datetime) -> dict[int, Use]:
    found = {
        row["product"]: Use(row["purchases"], row["people"], row["seats"], row["given"])
        for row in _of_people(actor)
        .filter(product__in=products)
        .values("product")
        .annotate(
            purchases=Count("pk"),
            people=Count("owner_user", distinct=True),
            seats=Sum("quantity"),
            given=Sum("assigned"),
        )
    }
    open_ones = (
        Checkout.objects.filter(tenant_id=actor.tenant_id, product__in=products, state__in=_UNDER_WAY)
        .filter(~Q(state=Checkout.State.OPEN) | Q(expires_at__gt=at))
        .values_list("product")
        .annotate(n=Count("pk"))
    )
    for product_id, count in open_ones:
        found[product_id] = replace(found.get(product_id, Use()), checkouts=count)
    return found


def _of_people(actor: Actor):  # type: ignore[no-untyped-def]
    """What people bought or try themselves and is not over."""
    return Subscription.objects.filter(
        tenant_id=actor.tenant_id,
        owner_kind=Subscription.Owner.PERSON,
        state__in=[State.ACTIVE, State.EXPIRED, State.DISABLED],
    ).order_by()
