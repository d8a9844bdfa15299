"""A partner's customers side by side: each one's policy beside a template (product §12; docs/adr/0046).

Nothing here crosses the wall. Each customer is read inside its own tenant, as the person for it, with what it lets that person
read; a page reads a bounded number of them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from commerce.models import Product
from commerce.queries.catalogue import subjects_of
from config.kit.actors import Actor
from config.kit.errors import Malformed
from config.kit.keyset import Page, decode_cursor, encode_cursor
from config.kit.tenancy import tenant_atomic
from directory.actors import actors_for_customers, tenant_row
from directory.models import Tenant
from directory.permissions import Capability, suspended
from directory.queries import Customer, customers_of
from policies.drift import Line, Said, Theirs, compare, current
from policies.models import PolicyChange, PolicyTemplate
from policies.queries.policies import offer_type_values, policy_of
from policies.rule import Subject

# So many customers are on a page.
PAGE_SIZE = 25
WITHOUT_SELF_SERVICE = (Tenant.Kind.GOVERNMENT, Tenant.Kind.EDUCATION)

# Why a customer cannot be compared: the roles there do not read it, it asks for a second factor that this session was
# begun without, or there is no self-service for its kind.
type WhyNot = Literal["", "role", "second_factor", "no_self_service"]


@dataclass(frozen=True, slots=True)
class Served:
    """A customer, and the person as the actor for it."""

    customer: Customer
    actor: Actor


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every product that policies speak of, by name, and each as a policy sees it."""

    products: Sequence[Product]
    subjects: Sequence[Subject]

    def said_in(self, template: PolicyTemplate) -> dict[str, Any]:
        """What a template says of what there is now."""
        return current(template.said, self.subjects)

    @property
    def names(self) -> dict[str, str]:
        """Of each product's current key."""
        return {product.key: product.name for product in self.products}


@dataclass(frozen=True, slots=True)
class Compared:
    """One customer beside a template. Of one that cannot be compared only `why_not` is there.

    `may_change`: its policy, by the person, now. `changed_at`, `changed_by`: the latest change of its policy.
    """

    served: Served
    why_not: WhyNot = ""
    may_change: bool = False
    theirs: Theirs | None = None
    lines: Sequence[Line] = ()
    changed_at: datetime | None = None
    changed_by: str = ""

    @property
    def differences(self) -> list[Line]:
        return [line for line in self.lines if line.differs]


def customers_served(actor: Actor, *, at: datetime) -> list[Served]:
    """The customers that somebody at home may act for at `at`, by name. Two queries under the partner's wall."""
    with tenant_atomic(actor.home_tenant_id):
        actors = {each.tenant_id: each for each in actors_for_customers(actor, at=at)}
    found = customers_of(home_tenant_id=actor.home_tenant_id, user_id=actor.user_id or 0, at=at)
    served = [Served(each, actors[each.tenant_id]) for each in found if each.tenant_id in actors]
    return sorted(served, key=_place)


def page_of(served: Sequence[Served], *, cursor: str, size: int = PAGE_SIZE) -> Page[Served]:
    """One page of customers by name, by key. No query.

    :raises Malformed: there is no such page.
    """
    places = [_place(each) for each in served]
    start, end = 0, size
    if cursor:
        backward, (name, tenant_id) = decode_cursor(cursor, 2)
        if not isinstance(name, str) or not isinstance(tenant_id, int):
            raise Malformed("This page address is not valid.", field="page")
        if backward:
            end = bisect_left(places, (name, tenant_id))
            start = max(0, end - size)
        else:
            start = bisect_right(places, (name, tenant_id))
            end = start + size
    rows = served[start:end]
    return Page(
        rows=rows,
        next=encode_cursor(_place(rows[-1]), backward=False) if rows and end < len(served) else "",
        back=encode_cursor(_place(rows[0]), backward=True) if rows and start > 0 else "",
    )


def _place(served: Served) -> tuple[str, int]:
    return served.customer.name.casefold(), served.customer.tenant_id


def catalogue() -> Catalogue:
    """Those sold by self-service first. Two queries."""
    products = list(Product.objects.order_by("-self_service", "name"))
    return Catalogue(products, subjects_of(products))


def compare_customer(
    served: Served, said: Said, products: Catalogue, *, has_second_factor: bool, at: datetime
) -> Compared:
    """One customer's policy beside what a template says, read inside its tenant as the person for it.

    `has_second_factor`: of the session. Five queries, none where the roles there do not read the policy.
    """
    if not served.actor.may(Capability.READ_POLICY):
        return Compared(served, "role")
    with tenant_atomic(served.actor):
        tenant = tenant_row(served.actor.tenant_id)
        actor = as_the_customer_lets(served.actor, tenant)
        if tenant.admins_need_second_factor and not has_second_factor:
            return Compared(served, "second_factor")
        if tenant.kind in WITHOUT_SELF_SERVICE:
            return Compared(served, "no_self_service")
        policy = policy_of(actor=actor)
        offers = {str(kind): str(value) for kind, value in offer_type_values(actor=actor).items()}
        theirs = Theirs(policy.rules, offers, policy.limits, tenant.currency)
        last = PolicyChange.objects.visible_to(actor).order_by("-id").first()
    return Compared(
        served=replace(served, actor=actor),
        may_change=actor.may(Capability.CHANGE_POLICY),
        theirs=theirs,
        lines=compare(said, theirs, products.subjects, at=at),
        changed_at=last.at if last else None,
        changed_by=last.actor_label if last else "",
    )


def as_the_customer_lets(actor: Actor, tenant: Tenant) -> Actor:
    """The person for a customer, with what is left of the rights while that is suspended."""
    if tenant.standing == Tenant.Standing.SUSPENDED:
        return replace(actor, grants=suspended(actor.grants))
    return actor
