"""Where a product runs: staff say it, prompts are drawn and purchases go back there alone (docs/adr/0045)."""

from datetime import datetime

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from commerce.addresses import is_origin, is_path
from commerce.models import Product, ProductSite
from commerce.operations.catalogue_rows import catalogue_of, product_entry
from commerce.operations.products import ProductMoved
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from directory.operations.audit import record_all

LONGEST_NAME = 60
MOST_SITES = 20


def add_site(
    *, staff: Actor, product_id: int, name: str, origin: str, path: str, at: datetime
) -> ProductSite:
    """Register where a product runs, as `https://app.example` and the beginning of a path there.

    :raises NotVisible: no such product, or not of the staff. :raises Malformed: a text, an origin or a path that cannot
        be used, one that is registered, or one too many, by field.
    """
    with catalogue_of(staff):
        product = _product(product_id)
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise Malformed(_("Enter one line of text, not longer than the field."), field="name")
        if not is_origin(origin, allows_loopback=settings.DEMO):
            raise Malformed(
                _("Enter https://, the host in small letters, and a port only where it is not 443."),
                field="origin",
            )
        if not is_path(path):
            raise Malformed(_("Enter the beginning of a path, such as /reports/."), field="path")
        others = list(product.sites.values_list("origin", "path"))
        if (origin, path) in others:
            raise Malformed(_("This is registered already."), field="origin")
        if len(others) >= MOST_SITES:
            raise Malformed(_("There are 20 already. Remove one first."), field="origin")
        site = ProductSite.objects.create(product=product, name=name.strip(), origin=origin, path=path)
        record_all([product_entry(staff, "site_added", product, at, after=_facts(site))])
    return site


def remove_site(*, staff: Actor, product_id: int, site_id: int, at: datetime) -> None:
    """Let a product run there no more: what embeds it draws nothing from now on, and no purchase goes back there.

    :raises NotVisible: no such product, or not of the staff. :raises ProductMoved: it is not registered.
    """
    with catalogue_of(staff):
        product = _product(product_id)
        site = product.sites.filter(pk=site_id).first()
        if site is None:
            raise ProductMoved
        before = _facts(site)
        site.delete()
        record_all([product_entry(staff, "site_removed", product, at, before=before)])


def _product(product_id: int) -> Product:
    product = Product.objects.filter(pk=product_id).first()
    if product is None:
        raise NotVisible
    return product


def _facts(site: ProductSite) -> dict[str, str]:
    return {"name": site.name, "origin": site.origin, "path": site.path}
