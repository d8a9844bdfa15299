"""What a person has of a product already, said wherever more of it is offered (product §3.3 to §3.5)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from commerce.models import Product, Subscription
from config.kit.actors import Actor


@dataclass(frozen=True, slots=True)
class Licenses:
    """`holds`: a license that opens the product. `asked_at`: when one was asked for that is not answered yet."""

    holds: bool = False
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """`own`: the person's own purchases and trials that run, those with free licenses first."""

    licenses: Licenses = Licenses()
    own: tuple[Subscription, ...] = ()

    @property
    def holds(self) -> bool:
        return self.licenses.holds

    @property
    def asked_at(self) -> datetime | None:
        return self.licenses.asked_at

    @property
    def is_new(self) -> bool:
        """Whether the person has nothing of it."""
        return not self.holds and not self.own

    @property
    def first(self) -> Subscription | None:
        """The own one to go to."""
        return next(iter(self.own), None)

    @property
    def free(self) -> int:
        """Licenses of the first own one that nobody holds."""
        return self.first.free if self.first else 0

    @property
    def takes_more(self) -> bool:
        """Whether licenses can be added to the first own one."""
        return (
            self.first is not None
            and self.first.state == Subscription.State.ACTIVE
            and self.first.channel != Subscription.Channel.TRIAL
        )


type Tells = Callable[[int, Product], Licenses]
_telling: list[Tells] = []


def licenses_told_by(tells: Tells) -> None:
    """Register who knows of a person's licenses and requests, by the person's id. For a higher app, when it starts."""
    _telling[:] = [tells]


def standing_of(*, actor: Actor, product: Product) -> Standing:
    """Three queries, inside `tenant_atomic`; nothing for who acts for another organization."""
    if actor.is_partner or actor.user_id is None:
        return Standing()
    rows = Subscription.objects.filter(
        tenant_id=actor.tenant_id,
        product=product,
        owner_user_id=actor.user_id,
        state__in=(Subscription.State.ACTIVE, Subscription.State.EXPIRED),
    )
    own = sorted(rows.order_by("-id"), key=lambda row: (not row.free, row.state != Subscription.State.ACTIVE))
    licenses = Licenses()
    for tells in _telling:
        licenses = tells(actor.user_id, product)
    return Standing(licenses, tuple(own))
