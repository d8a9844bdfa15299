"""*Check a person*: what one person may buy, and by which rule (product §9)."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from commerce.queries.eligibility import eligibility_for
from commerce.queries.policy import Table
from commerce.views.policy_wording import ORIGINS, label_of
from config.kit.actors import Actor
from directory.actors import build_actor
from directory.models import User
from policies import rule
from policies.queries.policies import policy_of
from policies.queries.requests import request_door


def check_of(request: HttpRequest, actor: Actor, table: Table, at: datetime) -> dict[str, Any]:
    """Who was asked about: Buy, or refused with all reasons; the decision that the person's own page makes."""
    typed = request.GET.get("person", "")[:254].strip()
    slug = request.GET.get("product", "")
    check: dict[str, Any] = {"person": typed, "slug": slug, "is_asked": bool(typed and slug)}
    if not check["is_asked"]:
        return check
    user = (
        User.objects.visible_to(actor)
        .filter(email__iexact=typed.replace("\0", ""))
        .exclude(status="deleted")
        .first()
    )
    row = next((row for row in table.rows if row.product.slug == slug), None)
    if user is None or row is None:
        return check | {
            "problem": _("Nobody here has this address.") if user is None else _("Choose a product.")
        }
    buyer = build_actor(user, acting_tenant_id=user.tenant_id, at=at)
    assert buyer is not None, "everybody may act at home"
    rules = policy_of(actor=actor, user_id=user.pk, product_keys=row.subject.keys).rules
    found = rule.effective(rules, row.subject)
    return check | {
        "user": user,
        "product": row.product,
        "decision": eligibility_for(actor=buyer, product=row.product, at=at),
        "requests": user.is_active and request_door(actor=buyer, product_id=row.product.pk).is_open,
        "trial": eligibility_for(actor=buyer, product=row.product, at=at, wanted="free_trial")
        if row.product.trial_without_card
        else None,
        "value": label_of(found),
        "origin": str(ORIGINS[found.origin]),
        "group": found.group,
    }
