"""Where a person of an organization that moves to another identity provider makes the own account go along (I-23)."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory import tryout
from directory.models import AccountLink, IdentityProvider, Tenant
from directory.sessions import fresh_to_post


@access.signed_in(owns_transaction=True)
@fresh_to_post
@require_http_methods(["GET", "HEAD", "POST"])
def connect(request: HttpRequest) -> HttpResponse:
    """What becomes of the own account, where people are to sign in somewhere else soon. POST: prove it there."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor.home_tenant_id):
        waiting = IdentityProvider.objects.filter(tenant_id=actor.home_tenant_id, switch_at__isnull=False)
        home = waiting.first()
        link = AccountLink.objects.filter(provider=home, user_id=actor.user_id or 0).first() if home else None
        tenant = Tenant.objects.get(pk=actor.home_tenant_id)
    can_go = home is not None and not actor.is_guest and not actor.is_partner
    if request.method == "POST":
        if home is None or not can_go:
            return redirect("directory:connect")
        return tryout.begin(request, key=home.key, next_path=reverse("directory:connect"))
    context = {
        "provider": home if can_go else None,
        "link": link,
        "organization": tenant,
        "section": "account",
    }
    return render(request, "directory/connect.html", context)
