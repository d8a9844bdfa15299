"""The organization's own links beside products: add, remove, put in order (product §14)."""

import uuid
from datetime import datetime
from typing import Literal

from django.db.models import Max
from django.utils.translation import gettext_lazy as _

from commerce.models import Product, TrainingLink
from commerce.operations.addresses import host_of_page
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant
from directory.operations.audit import record
from directory.permissions import Capability

LONGEST_TITLE = 100
# Beside one product: more than anybody reads.
MOST = 20


class TooManyLinks(Conflict):
    """The product has enough of them."""

    code = "too_many_links"
    message = _("This product has 20 links already. Nothing was added. Remove one first.")


def add_training_link(*, actor: Actor, product: str, title: str, url: str, at: datetime) -> TrainingLink:
    """Show the organization's people one more page beside a product, below those that are there. `product` is a slug.

    :raises NotVisible: the actor has no part in it.
    :raises Malformed: no product, no title, or no https address. :raises TooManyLinks: it has 20.
    """
    title, url = " ".join(title.split()), url.strip()
    with tenant_atomic(actor):
        _lock(actor)
        chosen = Product.objects.filter(slug=product).first()
        if chosen is None:
            raise Malformed(_("Choose a product."), field="product")
        if not 0 < len(title) <= LONGEST_TITLE or not title.isprintable():
            raise Malformed(_("Write some words here, and no more than fit."), field="title")
        host_of_page(url, Malformed(_("Enter an address that begins with https://."), field="url"))
        there = TrainingLink.objects.visible_to(actor).filter(product=chosen)
        if there.count() >= MOST:
            raise TooManyLinks
        last = there.aggregate(last=Max("position", default=0))["last"]
        link = TrainingLink.objects.create(
            tenant_id=actor.tenant_id, product=chosen, title=title, url=url, position=last + 1
        )
        _record(actor, "added", link, at)
    return link


def remove_training_link(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """Show it no more.

    :raises NotVisible: none of the organization's, or the actor has no part in it.
    """
    with tenant_atomic(actor):
        _lock(actor)
        link = _found(actor, key)
        TrainingLink.objects.filter(pk=link.pk).delete()
        _record(actor, "removed", link, at)


def move_training_link(
    *, actor: Actor, key: uuid.UUID, direction: Literal["up", "down"], at: datetime
) -> None:
    """Change places with the product's next link above or below; at the end, nothing changes.

    :raises NotVisible: none of the organization's, or the actor has no part in it.
    """
    with tenant_atomic(actor):
        _lock(actor)
        link = _found(actor, key)
        others = TrainingLink.objects.visible_to(actor).filter(product_id=link.product_id)
        if direction == "up":
            other = others.filter(position__lt=link.position).order_by("-position").first()
        else:
            other = others.filter(position__gt=link.position).order_by("position").first()
        if other is None:
            return
        TrainingLink.objects.filter(pk=link.pk).update(position=other.position)
        TrainingLink.objects.filter(pk=other.pk).update(position=link.position)
        _record(actor, "moved", link, at)


def _lock(actor: Actor) -> None:
    """One after the other in an organization. :raises NotVisible: the actor has no part in it."""
    if not actor.may(Capability.EDIT_CONTACT_TEXT):
        raise NotVisible
    Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)


def _found(actor: Actor, key: uuid.UUID) -> TrainingLink:
    rows = TrainingLink.objects.visible_to(actor).select_related("product")
    link: TrainingLink | None = rows.filter(key=key).first()
    if link is None:
        raise NotVisible
    return link


def _record(actor: Actor, what: str, link: TrainingLink, at: datetime) -> None:
    record(
        actor,
        f"commerce.training_link.{what}",
        at=at,
        target_type="training_link",
        target_id=link.key,
        target_label=link.title,
        after={"product": link.product.name, "url": link.url},
    )
