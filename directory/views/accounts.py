"""The account menu: the rows of one person in several organizations (product §1, §3.2)."""

from urllib.parse import parse_qsl, urlencode, urlsplit

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import User
from directory.queries import account_at, accounts_of
from directory.sessions import PROVED, PROVIDER, SECOND_FACTOR, SINCE, start_session
from directory.sign_in import safe_next

# By which a link into the portal names the organization that it is for: one of its e-mail domains.
ORGANIZATION = "organization"


def named_elsewhere(request: HttpRequest, way_here: str) -> HttpResponse | None:
    """To the account menu, where a link names another organization in which the person has an account.

    None where it names none, this one, or one that is not theirs: then the link is for the account that they use.
    """
    here: User = request.user  # type: ignore[assignment]
    domain = request.GET.get(ORGANIZATION, "")[:254]
    named = account_at(domain, issuer=here.issuer, subject=here.subject) if domain else None
    if named is None or named.user_id == here.pk:
        return None
    return HttpResponseRedirect(f"{reverse('directory:accounts')}?{urlencode({'next': way_here})}")


@access.signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def accounts(request: HttpRequest) -> HttpResponse:
    """Choose the organization; choosing another starts a new session as the account there, and goes on to `next`."""
    way_on = safe_next(request.GET.get("next"))
    here: User = request.user  # type: ignore[assignment]
    rows = accounts_of(here.issuer, here.subject)
    if request.method != "POST":
        actor: Actor = request.actor  # type: ignore[attr-defined]
        stay = "" if actor.is_partner else _without_name(way_on)
        context = {"accounts": rows, "section": "account", "stay": stay}
        return render(request, "directory/accounts.html", context)
    chosen = next((row for row in rows if str(row.user_id) == request.POST.get("user_id")), None)
    if chosen is None:
        raise NotVisible
    if chosen.user_id == here.pk:
        return redirect(way_on)
    with tenant_atomic(chosen.tenant_id):
        user = User.objects.active().filter(pk=chosen.user_id).first()
    if user is None:
        raise NotVisible
    session = request.session
    start_session(
        request,
        user,
        since=session.get(SINCE),
        proved=session.get(PROVED),
        has_second_factor=session.get(SECOND_FACTOR, False),
        provider=session.get(PROVIDER, ""),
    )
    return HttpResponseRedirect(way_on)


def _without_name(way_on: str) -> str:
    """The way on for the organization that the person is in; empty where it leads nowhere in particular."""
    parts = urlsplit(way_on)
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name != ORGANIZATION]
    return "" if way_on == "/" else parts._replace(query=urlencode(kept)).geturl()
