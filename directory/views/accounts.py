"""The account menu: the rows of one person in several organizations (product §1, §3.2)."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.errors import NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import User
from directory.queries import accounts_of
from directory.sessions import PROVED, PROVIDER, SECOND_FACTOR, SINCE, start_session


@access.signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def accounts(request: HttpRequest) -> HttpResponse:
    """Choose the organization; choosing another starts a new session as the account there."""
    here: User = request.user  # type: ignore[assignment]
    rows = accounts_of(here.issuer, here.subject)
    if request.method != "POST":
        return render(request, "directory/accounts.html", {"accounts": rows, "section": "account"})
    chosen = next((row for row in rows if str(row.user_id) == request.POST.get("user_id")), None)
    if chosen is None:
        raise NotVisible
    if chosen.user_id == here.pk:
        return redirect("/")
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
    return HttpResponseRedirect("/")
