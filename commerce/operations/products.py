"""Products of the catalogue: staff add, edit and withdraw them, and say what they were called (product §9, §16)."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from commerce.catalogue_files import KEY, PLANS, SLUG
from commerce.models import Plan, Product, ProductAlias
from commerce.operations.addresses import host_of_page
from commerce.operations.catalogue_rows import catalogue_of, product_entry
from commerce.queries.training import LINK_KINDS
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible, Text
from directory.operations.audit import record_all

LONGEST_DESCRIPTION = 5_000
MOST_SEATS = 10_000
MOST_DAYS = 365
MOST_MB = 999_999
MOST_LINKS = 12
LONGEST_LINK_TEXT = 100


class ProductMoved(Conflict):
    """Somebody else changed the product since the page was shown."""

    code = "product_moved"
    message = _("Somebody changed this product since you opened the page. Nothing was changed. Look again.")


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a product and decided about it; ids are not among it.

    Days are those of the phases Expired and Disabled (product §5.1), `max_quantity` the most seats at checkout, `_mb` the
    capacity that each license gives (product §13).
    """

    name: str
    category: str
    tagline: str = ""
    description: str = ""
    self_service: bool = False
    trial_without_card: bool = False
    guests_may_hold: bool = False
    max_quantity: int = 300
    expired_days: int = 30
    disabled_days: int = 90
    database_mb: int = 0
    file_mb: int = 0
    log_mb: int = 0

    @property
    def version(self) -> str:
        """The same for the same contents."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Ids:
    """What a product is known by; only said when it is added."""

    key: str
    slug: str
    sku_id: str
    sku_part_number: str


@dataclass(frozen=True, slots=True)
class Link:
    """A page that the vendor shows beside a product; `kind` is one of `LINK_KINDS`."""

    kind: str
    title: str
    note: str
    url: str


def version_of_links(links: Sequence[dict[str, str]]) -> str:
    """The same for the same links in the same order."""
    return hashlib.sha256(json.dumps(links, sort_keys=True).encode()).hexdigest()[:24]


def edit_links(*, staff: Actor, product_id: int, links: Sequence[Link], seen: str, at: datetime) -> bool:
    """Show other pages beside a product, in this order; whether any differs. `seen`: the version that the page showed.

    :raises NotVisible: no such product, or not of the staff. :raises Malformed: too many, or one that cannot be shown.
    :raises ProductMoved: the links are not what was shown.
    """
    with catalogue_of(staff):
        product = _locked(product_id)
        if len(links) > MOST_LINKS:
            raise Malformed(_("Show at most 12 links."), field="links")
        for place, link in enumerate(links):
            _check_link(link, place)
        if version_of_links(product.links) != seen:
            raise ProductMoved
        before, after = product.links, [asdict(link) for link in links]
        if before == after:
            return False
        product.links = after
        product.save(update_fields=["links"])
        facts: dict[str, Any] = {"before": {"links": before}, "after": {"links": after}}
        record_all([product_entry(staff, "links_changed", product, at, **facts)])
    return True


def said_of(product: Product) -> Said:
    return Said(**{name: getattr(product, name) for name in Said.__slots__})


def add_product(*, staff: Actor, ids: Ids, said: Said, at: datetime) -> Product:
    """Add a product with its three plans, and no price yet, so that nobody can buy it before one is added.

    :raises NotVisible: not of the staff. :raises Malformed: an id that is taken or cannot be used, or a text, by field.
    """
    with catalogue_of(staff):
        _check(said)
        sku_id = _checked(ids)
        product = Product.objects.create(
            key=ids.key,
            slug=ids.slug,
            sku_id=sku_id,
            sku_part_number=ids.sku_part_number,
            added_at=at,
            **asdict(said),
        )
        Plan.objects.bulk_create(
            Plan(product=product, term_months=term, billing_months=billing)
            for term, billing in PLANS.values()
        )
        facts = asdict(said) | asdict(ids)
        record_all([product_entry(staff, "added", product, at, after=facts)])
    return product


def edit_product(*, staff: Actor, product_id: int, said: Said, seen: str, at: datetime) -> bool:
    """Say other things of a product; whether any differs. `seen`: the version that the page showed.

    What was bought keeps its own length of phases until the next transition. A purchase policy of the category
    follows the new one.

    :raises NotVisible: no such product, or not of the staff. :raises Malformed: a text or number, by field.
    :raises ProductMoved: it is not what was shown.
    """
    with catalogue_of(staff):
        product = _locked(product_id)
        _check(said)
        before = said_of(product)
        if before.version != seen:
            raise ProductMoved
        old, new = asdict(before), asdict(said)
        changed = [name for name in new if new[name] != old[name]]
        if not changed:
            return False
        for name in changed:
            setattr(product, name, new[name])
        product.save(update_fields=changed)
        facts: dict[str, Any] = {
            "before": {name: old[name] for name in changed},
            "after": {name: new[name] for name in changed},
        }
        record_all([product_entry(staff, "changed", product, at, **facts)])
    return True


def withdraw_product(*, staff: Actor, product_id: int, at: datetime) -> Product:
    """Sell a product no more: nobody buys, tries, adds or brings back any of it themselves, nor buys it centrally.

    What runs goes on and renews.

    :raises NotVisible: no such product, or not of the staff. :raises ProductMoved: it is withdrawn.
    """
    return _withdraw(staff, product_id, at, "withdrawn", at)


def offer_product_again(*, staff: Actor, product_id: int, at: datetime) -> Product:
    """Sell a withdrawn product again.

    :raises NotVisible: no such product, or not of the staff. :raises ProductMoved: it is not withdrawn.
    """
    return _withdraw(staff, product_id, None, "offered_again", at)


def _withdraw(staff: Actor, product_id: int, since: datetime | None, what: str, at: datetime) -> Product:
    with catalogue_of(staff):
        product = _locked(product_id)
        if product.is_withdrawn == (since is not None):
            raise ProductMoved
        product.withdrawn_at = since
        product.save(update_fields=["withdrawn_at"])
        record_all([product_entry(staff, what, product, at)])
    return product


def add_former_id(*, staff: Actor, product_id: int, former_key: str, at: datetime) -> None:
    """Say that a product was called so: what is said of that id is said of the product (product §9).

    :raises NotVisible: no such product, or not of the staff. :raises Malformed: no id, or one that is in use.
    """
    with catalogue_of(staff):
        product = _locked(product_id)
        if not KEY.fullmatch(former_key):
            raise Malformed(_("Use up to 40 letters, digits and hyphens."), field="former_key")
        _refuse_known(former_key, "former_key")
        ProductAlias.objects.create(product=product, former_key=former_key)
        record_all([product_entry(staff, "id_added", product, at, after={"former_id": former_key})])


def remove_former_id(*, staff: Actor, product_id: int, former_key: str, at: datetime) -> None:
    """Let an id mean the product no more.

    :raises NotVisible: no such product, or not of the staff. :raises ProductMoved: it does not mean it.
    """
    with catalogue_of(staff):
        product = _locked(product_id)
        removed, _rows = ProductAlias.objects.filter(product=product, former_key=former_key).delete()
        if not removed:
            raise ProductMoved
        record_all([product_entry(staff, "id_removed", product, at, before={"former_id": former_key})])


def _locked(product_id: int) -> Product:
    product = Product.objects.select_for_update(no_key=True).filter(pk=product_id).first()
    if product is None:
        raise NotVisible
    return product


def _checked(ids: Ids) -> uuid.UUID:
    if not KEY.fullmatch(ids.key):
        raise Malformed(_("Use up to 40 letters, digits and hyphens."), field="key")
    _refuse_known(ids.key, "key")
    if not SLUG.fullmatch(ids.slug) or len(ids.slug) > 100:
        raise Malformed(_("Use small letters, digits and hyphens."), field="slug")
    if Product.objects.filter(slug=ids.slug).exists():
        raise Malformed(_("Another product has this address."), field="slug")
    try:
        sku_id = uuid.UUID(ids.sku_id)
    except ValueError:
        raise Malformed(_("Enter a UUID."), field="sku_id") from None
    if Product.objects.filter(sku_id=sku_id).exists():
        raise Malformed(_("Another product has this SKU id."), field="sku_id")
    _line(ids.sku_part_number, "sku_part_number", 80)
    return sku_id


def _refuse_known(key: str, field: str) -> None:
    """An id means one product, as its current or as a former one."""
    is_known = (
        Product.objects.filter(key=key).exists() or ProductAlias.objects.filter(former_key=key).exists()
    )
    if is_known:
        raise Malformed(_("This id means a product already."), field=field)


def _check(said: Said) -> None:
    _line(said.name, "name", 200)
    _line(said.category, "category", 40)
    if said.tagline:
        _line(said.tagline, "tagline", 200)
    if len(said.description) > LONGEST_DESCRIPTION or "\0" in said.description:
        raise Malformed(_("Use at most 5,000 letters."), field="description")
    numbers: tuple[tuple[str, int, int, Text], ...] = (
        ("max_quantity", 1, MOST_SEATS, _("Enter 1 to 10,000 seats.")),
        ("expired_days", 0, MOST_DAYS, _("Enter 0 to 365 days.")),
        ("disabled_days", 0, MOST_DAYS, _("Enter 0 to 365 days.")),
        *((field, 0, MOST_MB, _("Enter 0 to 999,999 MB.")) for field in ("database_mb", "file_mb", "log_mb")),
    )
    for field, least, most, problem in numbers:
        if not least <= getattr(said, field) <= most:
            raise Malformed(problem, field=field)


def _check_link(link: Link, place: int) -> None:
    if link.kind not in LINK_KINDS:
        raise Malformed(_("Choose a kind."), field=f"links.{place}.kind")
    _line(link.title, f"links.{place}.title", LONGEST_LINK_TEXT)
    if link.note:
        _line(link.note, f"links.{place}.note", LONGEST_LINK_TEXT)
    refused = Malformed(_("Enter an address that begins with https://."), field=f"links.{place}.url")
    host_of_page(link.url, refused)


def _line(text: str, field: str, longest: int) -> None:
    if not text.strip() or len(text) > longest or not text.isprintable():
        raise Malformed(_("Enter one line of text, not longer than the field."), field=field)
