"""Where a product runs: who may embed it, and where a purchase goes back to (docs/embed.md)."""

from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse

from commerce.addresses import leads_into
from commerce.models import Product, ProductSite


def own_site(product: Product) -> ProductSite:
    """The product's page behind the license check of this portal; registered without a row."""
    path = reverse("licensing:app", args=[product.slug])
    return ProductSite(product=product, name=product.name, origin=settings.PUBLIC_URL, path=path)


def may_embed(product: Product, origin: str) -> bool:
    """Whether a page of `origin`, as a browser names it, may draw the product's prompts. One query at most."""
    return origin == settings.PUBLIC_URL or product.sites.filter(origin=origin).exists()


def site_of(product: Product, address: str) -> ProductSite | None:
    """Where in the product `address` leads, the nearest; None where it is not registered. One query at most."""
    if not address:
        return None
    sites = [own_site(product), *product.sites.order_by("pk")]
    found = [site for site in sites if leads_into(address, origin=site.origin, path=site.path)]
    return max(found, key=lambda site: len(site.path), default=None)


@dataclass(frozen=True, slots=True)
class WayBack:
    """Where a person came from: an address in the product, and what the product is called there.

    `is_own`: it is the product's page of this portal.
    """

    name: str
    address: str
    is_own: bool


def way_back(product: Product, address: str) -> WayBack | None:
    """The way back to where the product runs, as it is registered now; None for any other address. One query at most."""
    site = site_of(product, address)
    return WayBack(site.name, address, is_own=site.pk is None) if site else None
