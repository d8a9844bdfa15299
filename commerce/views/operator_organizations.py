"""Organizations at the vendor's site: the list, one of them, a new one, another kind or market (product §2, §16)."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from commerce.forms import LineField
from commerce.operations import organizations as operations
from commerce.queries.catalogue import markets
from commerce.queries.organizations import (
    CUSTOMER_KINDS,
    ORGANIZATIONS,
    Organization,
    consequences,
    organization,
)
from commerce.views.operator_forms import SELECT, TEXT, at_its_field, text
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible, Text
from config.kit.languages import country_name
from config.kit.listings import page
from config.kit.operator import render_operator_page
from config.kit.tenancy import tenant_atomic
from directory.models import Domain, Tenant
from directory.staff import StaffCapability

STATES: dict[str, Text] = {
    "": gettext_lazy("All"),
    "good": gettext_lazy("In good standing"),
    "suspended": gettext_lazy("Suspended"),
    "unmanaged": gettext_lazy("Not managed"),
}
# Refusals that are about the domain, and name no field.
OF_DOMAINS = {"domain_taken": "domain", "domain_added": "domain", "too_many_domains": "domain"}


class ReasonForm(forms.Form):
    """Why something is done, which both trails keep."""

    reason = LineField(
        label=gettext_lazy("Why"),
        max_length=operations.LONGEST_REASON,
        widget=text(operations.LONGEST_REASON),
        help_text=gettext_lazy("Kept in the organization's audit trail and in your own."),
    )


class DomainForm(forms.Form):
    """One e-mail domain, perhaps vouched for."""

    domain = LineField(
        label=gettext_lazy("E-mail domain"),
        max_length=253,
        widget=text(253, placeholder="contoso.example", autocapitalize="none"),
    )
    vouched = LineField(
        label=gettext_lazy("How you made sure that it is theirs"),
        required=False,
        max_length=operations.LONGEST_REASON,
        widget=text(operations.LONGEST_REASON),
        help_text=gettext_lazy(
            "With it the domain leads to them at once. Empty: they prove it themselves by a record, once an admin of theirs"
            " can sign in."
        ),
    )


class ProviderForm(forms.Form):
    """Where the people sign in."""

    issuer = LineField(
        label=gettext_lazy("Issuer"),
        max_length=500,
        widget=text(500, placeholder="https://login.contoso.example", inputmode="url"),
        help_text=gettext_lazy("Exactly as the provider shows it."),
    )
    client_id = LineField(label=gettext_lazy("Client id"), max_length=200, widget=text(200))
    client_secret = forms.CharField(
        label=gettext_lazy("Client secret"),
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput(TEXT | {"autocomplete": "new-password"}),
        help_text=gettext_lazy("Kept encrypted and never shown again."),
    )


class NewForm(DomainForm, ProviderForm):
    """An organization with what its first admin needs to sign in."""

    name = LineField(label=gettext_lazy("Name"), max_length=operations.LONGEST_NAME, widget=text(200))
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=CUSTOMER_KINDS, widget=forms.Select(SELECT))
    country = forms.ChoiceField(
        label=gettext_lazy("Country"),
        widget=forms.Select(SELECT),
        help_text=gettext_lazy("The market: it decides currency, tax, seller and what is sold."),
    )
    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        choices=[(zone, zone) for zone in sorted(available_timezones())],
        initial="UTC",
        widget=forms.Select(SELECT),
    )
    language = forms.ChoiceField(
        label=gettext_lazy("Language"), choices=settings.LANGUAGES, widget=forms.Select(SELECT)
    )
    admin_name = LineField(
        label=gettext_lazy("Name of the first global admin"), required=False, max_length=200, widget=text(200)
    )
    admin_email = forms.CharField(
        label=gettext_lazy("Work e-mail"),
        required=False,
        max_length=254,
        widget=text(254, inputmode="email", autocapitalize="none"),
        help_text=gettext_lazy("Where mail goes. It decides nothing about who signs in."),
    )
    admin_id = LineField(
        label=gettext_lazy("Id at their provider"),
        required=False,
        max_length=operations.LONGEST_ID,
        widget=text(operations.LONGEST_ID),
        help_text=gettext_lazy(
            "The subject, or Entra's object id. The first sign-in with it is the global admin's, so ask them for it by a way"
            " that you trust."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        country = self.fields["country"]
        assert isinstance(country, forms.ChoiceField)
        country.choices = market_choices()
        for name in ("domain", "issuer", "client_id", "client_secret"):
            self.fields[name].required = False

    @property
    def wanted(self) -> operations.NewOrganization:
        """What was entered; empty where a field could not be read."""
        names = operations.NewOrganization.__slots__
        return operations.NewOrganization(**{name: self.cleaned_data.get(name, "") for name in names})

    def clean(self) -> dict[str, Any]:
        """Every mistake is told at once, at its field."""
        for mistake in operations.mistakes_of(self.wanted):
            if mistake.field not in self.errors:
                self.add_error(mistake.field, str(mistake))
        return self.cleaned_data


def _with_own(choices: list[tuple[str, str]], tenant: Tenant) -> list[tuple[str, str]]:
    """The markets, and the organization's own country where that is none."""
    own = tenant.country
    return choices if own in dict(choices) else [(own, country_name(own)), *choices]


def market_choices() -> list[tuple[str, str]]:
    """Code and name of each country in which something is sold, by name."""
    return [(market.code, market.name) for market in markets()]


@access.requires(sees=StaffCapability.SEE_TENANTS)
@require_safe
def organizations(request: HttpRequest) -> HttpResponse:
    """Every organization, the newest first."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    query = request.GET.get("q", "").replace("\0", "").strip()[:200]
    kind, market, state = (request.GET.get(name, "") for name in ("kind", "market", "state"))
    if state not in STATES or (kind and kind not in Tenant.Kind.values) or "\0" in market:
        raise Malformed(_("There is no such filter."), field="state")
    found = page(ORGANIZATIONS, query, kind, market, state, cursor=request.GET.get("page", ""))
    kept = {"q": query, "kind": kind, "market": market, "state": state}
    context = {
        "title": _("Organizations"),
        "rows": [{"row": row, "country": country_name(row.country)} for row in found.rows],
        "chips": [
            {
                "label": label,
                "address": _address(kept | {"state": code}),
                "is_current": code == state,
            }
            for code, label in STATES.items()
        ],
        "kinds": Tenant.Kind.choices,
        "markets": market_choices(),
        "kept": kept,
        "is_narrowed": bool(query or kind or market),
        "may_change": actor.may(StaffCapability.OPERATE_TENANTS),
        "next": _address(kept | {"page": found.next}) if found.next else "",
        "back": _address(kept | {"page": found.back}) if found.back else "",
    }
    return render_operator_page(request, "commerce/operator_organizations.html", context)


def _address(values: dict[str, str]) -> str:
    return f"?{urlencode({name: value for name, value in values.items() if value})}"


@access.requires(sees=StaffCapability.SEE_TENANTS)
@require_http_methods(["GET", "HEAD", "POST"])
def one(request: HttpRequest, tenant_id: int) -> HttpResponse:
    """How one organization is set up. POST: suspend it, take it up, add a domain, or name its first provider."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = organization(tenant_id)
    made: dict[str, forms.Form] = {}
    status: int = HTTPStatus.OK
    problem = ""
    if request.method == "POST":
        if not actor.may(StaffCapability.OPERATE_TENANTS):
            raise NotAllowed
        action = request.POST.get("action", "")
        form = _form_of(action, request)
        made[action] = form
        if form.is_valid():
            try:
                said = _do(actor, found, action, form.cleaned_data)
            except NotVisible:
                raise
            except DomainError as refused:
                status, problem = refused.status, at_its_field(form, refused, **OF_DOMAINS)
            else:
                messages.success(request, said)
                return _to(tenant_id)
        else:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
        found = organization(tenant_id)
    return _page_of_one(request, actor, found, made, problem, status)


def _form_of(action: str, request: HttpRequest) -> forms.Form:
    kinds: dict[str, type[forms.Form]] = {
        "suspend": ReasonForm,
        "take-up": ReasonForm,
        "domain": DomainForm,
        "provider": ProviderForm,
    }
    if action not in kinds:
        raise Malformed(_("Choose what to do."), field="action")
    return kinds[action](request.POST)


def _do(actor: Actor, found: Organization, action: str, values: dict[str, Any]) -> str:
    at, tenant = now(), found.tenant
    names = {"organization": tenant.name}
    match action:
        case "suspend":
            operations.suspend_organization(staff=actor, tenant_id=tenant.pk, reason=values["reason"], at=at)
            return _("%(organization)s is suspended from now on.") % names
        case "take-up":
            operations.take_up_organization(staff=actor, tenant_id=tenant.pk, reason=values["reason"], at=at)
            return _("%(organization)s is in good standing again.") % names
        case "domain":
            domain = operations.add_organizations_domain(
                staff=actor, tenant_id=tenant.pk, name=values["domain"], vouched=values["vouched"], at=at
            )
            return _("%(domain)s was added.") % {"domain": domain.name}
    operations.name_first_provider(staff=actor, tenant_id=tenant.pk, at=at, **values)
    return _("People of %(organization)s sign in there from now on.") % names


def _page_of_one(
    request: HttpRequest,
    actor: Actor,
    found: Organization,
    made: dict[str, forms.Form],
    problem: str,
    status: int,
) -> HttpResponse:
    tenant = found.tenant
    standing = "take-up" if tenant.standing == Tenant.Standing.SUSPENDED else "suspend"
    provider = found.provider
    callback = reverse("directory:provider-callback", args=[provider.key]) if provider else ""
    context = {
        "title": tenant.name,
        "crumbs": [(_("Organizations"), reverse("operator:organizations"))],
        "found": found,
        "tenant": tenant,
        "country": country_name(tenant.country),
        "domains": [{"domain": each, "state": _state_of(each)} for each in found.domains],
        "read_address": _read_address(actor, found),
        "callback": f"{settings.PUBLIC_URL}{callback}",
        "standing_action": standing,
        "standing_form": made.get(standing) or ReasonForm(),
        "domain_form": made.get("domain") or DomainForm(),
        "provider_form": made.get("provider") or ProviderForm(),
        "may_change": found.is_customer and actor.may(StaffCapability.OPERATE_TENANTS),
        "problem": problem or (_("Nothing was changed.") if status != HTTPStatus.OK else ""),
    }
    return render_operator_page(request, "commerce/operator_organization.html", context, status=status)


def _read_address(actor: Actor, found: Organization) -> str:
    """Where a session begins in which its pages are read; empty for who opens none, and without a domain that leads there."""
    leading = [domain.name for domain in found.domains if domain.verified_at]
    if not (found.is_customer and leading and actor.may(StaffCapability.OPEN_STAFF_SESSION)):
        return ""
    return f"{reverse('operator:sessions')}?{urlencode({'domain': leading[0]})}"


def _state_of(domain: Domain) -> dict[str, str]:
    if domain.verified_at is None:
        return {"label": _("Not proved yet"), "tone": "sk-warn"}
    if domain.missing_since is not None:
        return {"label": _("Record is gone"), "tone": "sk-bad"}
    return {"label": _("Proved") if domain.token else _("Vouched for"), "tone": "sk-ok"}


def _to(tenant_id: int) -> HttpResponseRedirect:
    return HttpResponseRedirect(
        reverse("operator:organization", args=[tenant_id]), status=HTTPStatus.SEE_OTHER
    )


@access.requires(sees=StaffCapability.OPERATE_TENANTS)
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Set up an organization, all of it or nothing."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form, status, problem = NewForm(request.POST or None), HTTPStatus.OK, ""
    if request.method == "POST":
        if form.is_valid():
            try:
                made = operations.create_organization(staff=actor, wanted=form.wanted, at=now())
            except NotVisible:
                raise
            except DomainError as refused:
                status, problem = HTTPStatus(refused.status), at_its_field(form, refused, **OF_DOMAINS)
            else:
                messages.success(request, _("%(organization)s is set up.") % {"organization": made.name})
                return _to(made.pk)
        else:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
    context = {
        "title": _("Set up an organization"),
        "crumbs": [(_("Organizations"), reverse("operator:organizations"))],
        "form": form,
        "problem": problem or (_("Nothing was set up.") if status != HTTPStatus.OK else ""),
    }
    return render_operator_page(request, "commerce/operator_organization_new.html", context, status=status)


@access.requires(sees=StaffCapability.OPERATE_TENANTS)
@require_http_methods(["GET", "HEAD", "POST"])
def change(request: HttpRequest, tenant_id: int) -> HttpResponse:
    """Another kind or market: what is chosen, then what it changes. POST: change it, as it was shown."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = organization(tenant_id)
    if not found.is_customer:
        raise NotVisible
    posted = request.method == "POST"
    params = request.POST if posted else request.GET
    kind = params.get("kind", found.tenant.kind)
    country = params.get("country", found.tenant.country)
    is_chosen = posted or "kind" in params or "country" in params
    form = ReasonForm(request.POST if posted else None)
    problem: DomainError | None = None
    if posted and form.is_valid():
        seen = (params.get("seen_kind", ""), params.get("seen_country", ""))
        try:
            operations.change_organization(
                staff=actor,
                tenant_id=tenant_id,
                kind=kind,
                country=country,
                seen=seen,
                reason=form.cleaned_data["reason"],
                at=now(),
            )
        except NotVisible:
            raise
        except DomainError as refused:
            problem = refused
            found = organization(tenant_id)
        else:
            messages.success(request, _("Changed. It holds for what is bought from now on."))
            return _to(tenant_id)
    status = problem.status if problem else HTTPStatus.OK
    if posted and form.errors:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    tenant, preview = found.tenant, None
    if is_chosen:
        with tenant_atomic(tenant_id):
            try:
                operations.checked_change(kind, country, tenant)
            except Malformed as refused:
                if problem is None:
                    problem, status = refused, refused.status
            else:
                preview = consequences(tenant, kind=kind, country=country)
    context = {
        "title": _("Kind and market"),
        "crumbs": [
            (_("Organizations"), reverse("operator:organizations")),
            (tenant.name, reverse("operator:organization", args=[tenant_id])),
        ],
        "tenant": tenant,
        "kinds": CUSTOMER_KINDS,
        "markets": _with_own(market_choices(), tenant),
        "kind": kind,
        "country": country,
        "kind_label": dict(CUSTOMER_KINDS).get(kind, ""),
        "old_country": country_name(tenant.country),
        "new_country": country_name(country),
        "preview": preview,
        "form": form,
        "problem": str(problem) if problem else (_("Nothing was changed.") if form.errors else ""),
        "field": getattr(problem, "field", ""),
    }
    return render_operator_page(request, "commerce/operator_organization_change.html", context, status=status)
