"""What people may spend by themselves: the cap and the threshold (product §9)."""

from decimal import Decimal
from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.views.policy_wording import control_crumbs, is_without_self_service, saved_text
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible
from config.kit.money import digits, parse_minor
from directory.permissions import Capability
from policies.models import Basis
from policies.operations import policies as operations
from policies.queries.policies import policy_of
from policies.spending import Limit

SEE_OTHER = HTTPStatus.SEE_OTHER


@access.requires(sees=Capability.READ_POLICY, may=Capability.CHANGE_POLICY)
def policy_spending(request: HttpRequest) -> HttpResponse:
    """The cap and the threshold: their sums without tax, and what they count."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant = request.tenant  # type: ignore[attr-defined]
    if is_without_self_service(request):
        raise NotVisible
    limits = policy_of(actor=actor, product_keys=()).limits
    currency = tenant.currency
    values = {
        "cap": _typed_amount(limits.cap, currency),
        "cap_basis": limits.cap.basis if limits.cap else Basis.PERSON_MONTH,
        "threshold": _typed_amount(limits.threshold, currency),
        "threshold_basis": limits.threshold.basis if limits.threshold else Basis.PURCHASE,
    }
    errors: dict[str, str] = {}
    if request.method == "POST":
        values |= {name: request.POST.get(name, "")[:40] for name in values}
        why = request.POST.get("why", "")
        try:
            changes = [
                operations.spend_cap(_limit_of(values, "cap", currency), currency=currency),
                operations.approval_threshold(_limit_of(values, "threshold", currency), currency=currency),
            ]
            made = operations.change_policies(actor=actor, changes=changes, why=why, at=now())
        except Malformed as wrong:
            errors[wrong.field] = str(wrong)
        else:
            messages.success(request, saved_text(len(made)) if made else _("The limits are as they were."))
            return HttpResponseRedirect(reverse("portal:policy"), status=SEE_OTHER)
    context = {
        "title": _("Spending"),
        "crumbs": [*control_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "problem": _("Something is missing or wrong. Nothing was saved. The fields say what.")
        if errors
        else "",
        "values": values,
        "errors": errors,
        "bases": Basis.choices,
        "currency": currency,
        "why": request.POST.get("why", "")[: operations.WHY_LENGTH],
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK
    return render_page(request, "commerce/policy_spending.html", context, status=status)


def _typed_amount(limit: Limit | None, currency: str) -> str:
    return "" if limit is None else str(Decimal(limit.minor).scaleb(-digits(currency)))


def _limit_of(values: dict[str, str], name: str, currency: str) -> Limit | None:
    """The sum as typed, in minor units; a comma is a decimal sign too.

    :raises Malformed: no amount of this currency.
    """
    if not values[name].strip():
        return None
    minor = parse_minor(values[name], currency)
    if minor is None:
        raise Malformed(_("Enter an amount such as 50 or 49.90."), field=name)
    return Limit(minor, values[f"{name}_basis"])  # type: ignore[arg-type]
