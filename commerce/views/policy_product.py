"""One product's purchase policy: its value, its groups' rules, its history (product §9)."""

from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.models import Product
from commerce.queries.catalogue import subject_of
from commerce.queries.policy import table_of, use_of
from commerce.views.policy_wording import (
    LABELS,
    control_crumbs,
    is_without_self_service,
    label_of,
    lines_of,
    origin_of,
    saved_text,
)
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from directory.models import Group
from directory.permissions import Capability
from policies import rule
from policies.models import GroupPolicy, PolicyChange, PolicyValue
from policies.operations import policies as operations

SEE_OTHER = HTTPStatus.SEE_OTHER


@access.requires(sees=Capability.READ_POLICY)
def policy_product(request: HttpRequest, slug: str) -> HttpResponse:
    """One product's value, its groups' rules, and its history. POST: set or end a group's rule."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    product = Product.objects.filter(slug=slug).first()
    if product is None or is_without_self_service(request):
        raise NotVisible
    problem, status = "", HTTPStatus.OK
    if request.method == "POST":
        if not actor.may(Capability.CHANGE_POLICY):
            raise NotAllowed
        try:
            return _save_group(request, actor, product)
        except (Malformed, Conflict, NotVisible) as refused:
            problem = str(refused) if not isinstance(refused, NotVisible) else _("Choose a group.")
            status = HTTPStatus(refused.status if isinstance(refused, Conflict) else 422)
    return _product_page(request, actor, product, problem=problem, status=status)


def _save_group(request: HttpRequest, actor: Actor, product: Product) -> HttpResponse:
    """:raises NotVisible: no such group. :raises Malformed: no such value or level."""
    group, level = request.POST.get("group", ""), request.POST.get("level", "")
    if not (group.isascii() and group.isdigit() and len(group) < 19):
        raise NotVisible
    keys = {"product": subject_of(product).keys, "category": [product.category], "tenant": []}.get(level)
    if keys is None:
        raise Malformed(_("Choose for which products the rule holds."), field="level")
    names = {"product": product.name, "category": product.category}
    made = operations.change_policies(
        actor=actor,
        changes=[
            operations.of_group(
                int(group),
                request.POST.get("value") or None,
                level=level,
                keys=keys,
                name=names.get(level, ""),
            )
        ],
        why=request.POST.get("why", ""),
        at=now(),
    )
    messages.success(request, saved_text(len(made)))
    return HttpResponseRedirect(reverse("portal:policy-product", args=[product.slug]), status=SEE_OTHER)


def _product_page(
    request: HttpRequest, actor: Actor, product: Product, *, problem: str, status: int
) -> HttpResponse:
    table = table_of(actor)
    row = next(row for row in table.rows if row.product.pk == product.pk)
    tenant = request.tenant  # type: ignore[attr-defined]
    rows = (
        GroupPolicy.objects.visible_to(actor).select_related("group").order_by("level", "group__name", "id")
    )
    here = [
        each
        for each in rows
        if (each.level == "product" and each.key in row.subject.keys)
        or (each.level == "category" and each.key == product.category)
        or each.level == "tenant"
    ]
    levels = {"product": product.name, "category": product.category, "tenant": _("Every product")}
    changes = PolicyChange.objects.visible_to(actor).filter(target_key__in=row.subject.keys).order_by("-id")
    context = {
        "title": product.name,
        "crumbs": [*control_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "problem": problem,
        "may_change": actor.may(Capability.CHANGE_POLICY),
        "product": product,
        "value": label_of(row.effective),
        "origin": origin_of(row),
        "inherited": label_of(row.inherited),
        "use": use_of(actor, product, now()),
        "rules": [(each, levels[each.level], LABELS[each.value]) for each in here],
        "levels": list(levels.items()),
        "groups": list(Group.objects.visible_to(actor).order_by("name")),
        "values": [
            each for each in PolicyValue.choices if product.trial_without_card or each[0] != rule.TRIALS_ONLY
        ],
        "typed": request.POST,
        "history": lines_of(actor, changes[:20], tenant),
        "zone": tenant.time_zone,
    }
    return render_page(request, "commerce/policy_product.html", context, status=status)
