"""What the vendor's staff set up and change of an organization (product §1, §2; docs/operator-tenants.md)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext_lazy as _

from commerce.models import Market
from commerce.queries.organizations import CUSTOMER_KINDS
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible, Text
from config.kit.tenancy import tenant_atomic
from directory.domains import fold_domain
from directory.models import Domain, IdentityProvider, Tenant
from directory.operations.domains import DomainAdded, DomainTaken, add_domain
from directory.operations.providers import check_issuer
from directory.operations.provisioning import create_account
from directory.operations.roles import grant_role
from directory.operations.staff_deeds import acting_in, note, note_at_home, require_staff
from directory.operations.tenants import configure_identity_provider, create_tenant
from directory.permissions import Role
from directory.profiles import Profile
from directory.staff import StaffCapability

LONGEST_REASON = 300
LONGEST_NAME = 200
LONGEST_ID = 255
Standing = Tenant.Standing


class Moved(Conflict):
    """Somebody else changed the organization since the page was shown."""

    code = "organization_moved"
    message = _(
        "Somebody changed this organization since you opened the page. Nothing was changed. Look again."
    )


class NoProviderYet(Conflict):
    """The organization has an identity provider; another one is its own admins' to name."""

    code = "has_provider"
    message = _(
        "The organization has an identity provider. Its own global admins change it. Nothing was changed."
    )


@dataclass(frozen=True, slots=True)
class NewOrganization:
    """What staff enter of an organization.

    `domain` leads there at once where the staff vouch for it and say in `vouched` how they made sure; otherwise the
    organization proves it. Issuer, client and secret come together or not at all. The admin's first sign-in is matched by
    `admin_id`, the subject or object id at the provider, never by the mail address (I-23).
    """

    name: str
    kind: str
    country: str
    time_zone: str
    language: str = "en"
    domain: str = ""
    vouched: str = ""
    issuer: str = ""
    client_id: str = ""
    client_secret: str = ""
    admin_name: str = ""
    admin_email: str = ""
    admin_id: str = ""


def create_organization(*, staff: Actor, wanted: NewOrganization, at: datetime) -> Tenant:
    """Set up an organization with its first domain, identity provider and global admin; all of it or nothing.

    :raises NotVisible: not of the staff. :raises Malformed: what cannot be used, by field.
    :raises DomainTaken: vouched for, and another organization's.
    """
    require_staff(staff, StaffCapability.OPERATE_TENANTS)
    wanted = _checked(wanted)
    with tenant_atomic(staff):
        market = Market.objects.filter(pk=wanted.country).first()
        if market is None:
            raise Malformed(_("Choose a country in which something is sold."), field="country")
        tenant = create_tenant(
            name=wanted.name,
            kind=wanted.kind,
            country=wanted.country,
            time_zone=wanted.time_zone,
            currency=market.currency,
            language=wanted.language,
            by=acting_in(staff, 0).label,
            at=at,
        )
        by = _installation(staff, tenant.pk)
        note_at_home(staff, "directory.tenant.created", organization=tenant.pk, at=at, **_target(tenant))
        if wanted.domain:
            _add_domain(staff, by, wanted.domain, wanted.vouched, at)
        if wanted.issuer:
            configure_identity_provider(
                actor=by,
                issuer=wanted.issuer,
                client_id=wanted.client_id,
                client_secret=wanted.client_secret,
                at=at,
            )
        if wanted.admin_email:
            profile = Profile(
                user_name="",
                external_id=wanted.admin_id,
                name=wanted.admin_name,
                given_name="",
                family_name="",
                email=wanted.admin_email,
                language="",
                source="cloud",
                is_active=True,
            )
            admin = create_account(actor=by, profile=profile, at=at)
            grant_role(actor=by, user_id=admin.pk, role=Role.GLOBAL_ADMIN, at=at)
    return tenant


def suspend_organization(*, staff: Actor, tenant_id: int, reason: str, at: datetime) -> Tenant:
    """Suspend an organization: from the next request on its people may only pay, export and open a case (product §1).

    What runs goes on and is billed; nothing is bought, added or brought back.

    :raises NotVisible: no such customer, or not of the staff. :raises Malformed: no reason.
    :raises Moved: it is suspended.
    """
    return _stand(staff, tenant_id, Standing.SUSPENDED, reason, at)


def take_up_organization(*, staff: Actor, tenant_id: int, reason: str, at: datetime) -> Tenant:
    """Take a suspended organization up again, at once.

    :raises NotVisible: no such customer, or not of the staff. :raises Malformed: no reason.
    :raises Moved: it is not suspended.
    """
    return _stand(staff, tenant_id, Standing.GOOD, reason, at)


def change_organization(
    *,
    staff: Actor,
    tenant_id: int,
    kind: str,
    country: str,
    seen: tuple[str, str],
    reason: str,
    at: datetime,
) -> Tenant:
    """Change what an organization is, and the market that it buys in, from now on. What was bought keeps its own.

    `seen`: kind and country that the page showed. The currency becomes the market's.

    :raises NotVisible: no such customer, or not of the staff. :raises Malformed: kind, country or reason.
    :raises Moved: it is not what was shown.
    """
    with _customer(staff, tenant_id) as tenant:
        reason = _reason(reason)
        market = checked_change(kind, country, tenant)
        if (tenant.kind, tenant.country) != seen:
            raise Moved
        before = {"kind": tenant.kind, "country": tenant.country, "currency": tenant.currency}
        tenant.kind, tenant.country = kind, country
        tenant.currency = market.currency if market else tenant.currency
        tenant.save(update_fields=["kind", "country", "currency"])
        after = {"kind": tenant.kind, "country": tenant.country, "currency": tenant.currency}
        _note(staff, "directory.tenant.changed", tenant, at, before=before, after=after | {"reason": reason})
    return tenant


def checked_change(kind: str, country: str, tenant: Tenant) -> Market | None:
    """The market of the new country; None of one that stays and is no market.

    :raises Malformed: no kind of a customer, no market, or nothing that differs.
    """
    if kind not in dict(CUSTOMER_KINDS):
        raise Malformed(_("Choose a kind of organization."), field="kind")
    market = Market.objects.filter(pk=country).first()
    if market is None and country != tenant.country:
        raise Malformed(_("Choose a country in which something is sold."), field="country")
    if (kind, country) == (tenant.kind, tenant.country):
        raise Malformed(_("Nothing is different from what it is now."), field="kind")
    return market


def add_organizations_domain(
    *, staff: Actor, tenant_id: int, name: str, vouched: str, at: datetime
) -> Domain:
    """Add a domain to an organization; it leads there at once where the staff say in `vouched` how they made sure.

    :raises NotVisible: no such customer, or not of the staff. :raises Malformed: no domain name, or too long a reason.
    :raises DomainAdded, DomainTaken, TooManyDomains: as named.
    """
    with _customer(staff, tenant_id):
        return _add_domain(staff, _installation(staff, tenant_id), name, _line(vouched, "vouched"), at)


def name_first_provider(
    *, staff: Actor, tenant_id: int, issuer: str, client_id: str, client_secret: str, at: datetime
) -> IdentityProvider:
    """Say where the people of an organization sign in that has no identity provider yet.

    :raises NotVisible: no such customer, or not of the staff. :raises Malformed: what cannot be used, by field.
    :raises NoProviderYet: it has one.
    """
    with _customer(staff, tenant_id) as tenant:
        _check_provider(issuer, client_id, client_secret)
        if IdentityProvider.objects.filter(tenant=tenant, is_active=True).exists():
            raise NoProviderYet
        by = _installation(staff, tenant_id)
        provider = configure_identity_provider(
            actor=by, issuer=issuer, client_id=client_id, client_secret=client_secret, at=at
        )
        note_at_home(
            staff,
            "directory.identity_provider.configured",
            organization=tenant_id,
            at=at,
            target_type="identity_provider",
            target_id=provider.key,
            target_label=issuer[:200],
            after={"issuer": issuer, "client_id": client_id},
        )
    return provider


def _stand(staff: Actor, tenant_id: int, standing: str, reason: str, at: datetime) -> Tenant:
    with _customer(staff, tenant_id) as tenant:
        reason = _reason(reason)
        if tenant.standing == standing:
            raise Moved
        before = {"standing": tenant.standing}
        tenant.standing = standing
        tenant.save(update_fields=["standing"])
        code = "suspended" if standing == Standing.SUSPENDED else "taken_up"
        after = {"standing": standing, "reason": reason}
        _note(staff, f"directory.tenant.{code}", tenant, at, before=before, after=after)
    return tenant


@contextmanager
def _customer(staff: Actor, tenant_id: int) -> Iterator[Tenant]:
    """A customer, locked, in a transaction that is set to it, inside the vendor's."""
    require_staff(staff, StaffCapability.OPERATE_TENANTS)
    if not 0 < tenant_id < 2**63:
        raise NotVisible
    with tenant_atomic(staff), tenant_atomic(tenant_id):
        rows = Tenant.objects.select_for_update(no_key=True).exclude(kind=Tenant.Kind.VENDOR)
        tenant: Tenant | None = rows.filter(pk=tenant_id).first()
        if tenant is None:
            raise NotVisible
        yield tenant


def _installation(staff: Actor, tenant_id: int) -> Actor:
    """The installation in the organization's rows, by the name of the staff member, as from the command line."""
    label = acting_in(staff, tenant_id).label
    return replace(Actor.system(tenant_id, label=label, door="cli"), correlation_id=staff.correlation_id)


def _add_domain(staff: Actor, by: Actor, name: str, vouched: str, at: datetime) -> Domain:
    try:
        domain = add_domain(actor=by, name=name, is_verified=bool(vouched), at=at)
    except Malformed as error:
        raise Malformed(error.message, field="domain") from error
    note_at_home(
        staff,
        "directory.domain.added",
        organization=by.tenant_id,
        at=at,
        target_type="domain",
        target_id=domain.pk,
        target_label=domain.name,
        after={"name": domain.name, "is_verified": bool(vouched)} | ({"reason": vouched} if vouched else {}),
    )
    return domain


def mistakes_of(wanted: NewOrganization) -> list[Malformed]:
    """Everything that cannot be used of what was entered, by field, the first of each."""
    found: dict[str, Malformed] = {}
    for check in _CHECKS:
        try:
            check(wanted)
        except Malformed as mistake:
            found.setdefault(mistake.field, mistake)
    return list(found.values())


def _checked(wanted: NewOrganization) -> NewOrganization:
    """What was entered, as it is stored. :raises Malformed: the first mistake."""
    for mistake in mistakes_of(wanted):
        raise mistake
    return replace(
        wanted,
        name=_line(wanted.name, "name", LONGEST_NAME),
        vouched=_line(wanted.vouched, "vouched"),
        domain=wanted.domain.strip(),
        admin_name=wanted.admin_name.strip(),
        admin_email=wanted.admin_email.strip().lower(),
        admin_id=wanted.admin_id.strip(),
    )


def _check_choices(wanted: NewOrganization) -> None:
    if wanted.kind not in dict(CUSTOMER_KINDS):
        raise Malformed(_("Choose a kind of organization."), field="kind")
    if wanted.time_zone not in available_timezones():
        raise Malformed(_("Choose a time zone."), field="time_zone")
    if wanted.language not in dict(settings.LANGUAGES):
        raise Malformed(_("Choose a language."), field="language")


def _check_domain(wanted: NewOrganization) -> None:
    vouched = _line(wanted.vouched, "vouched")
    if not wanted.domain.strip():
        if vouched:
            raise Malformed(_("Enter the domain that you vouch for."), field="domain")
        return
    try:
        fold_domain(wanted.domain)
    except Malformed as error:
        raise Malformed(error.message, field="domain") from error


def _check_its_provider(wanted: NewOrganization) -> None:
    if wanted.issuer or wanted.client_id or wanted.client_secret:
        _check_provider(wanted.issuer, wanted.client_id, wanted.client_secret)


def _check_its_admin(wanted: NewOrganization) -> None:
    admin = [wanted.admin_name.strip(), wanted.admin_email.strip(), wanted.admin_id.strip()]
    if any(admin):
        _check_admin(*admin)


_CHECKS: tuple[Callable[[NewOrganization], object], ...] = (
    lambda wanted: _line(wanted.name, "name", LONGEST_NAME, is_needed=True),
    _check_choices,
    _check_domain,
    _check_its_provider,
    _check_its_admin,
)


def _check_provider(issuer: str, client_id: str, client_secret: str) -> None:
    check_issuer(issuer)
    if not client_id or len(client_id) > LONGEST_NAME or not client_id.isprintable():
        raise Malformed(_("Enter the client's id, as the provider shows it."), field="client_id")
    if not client_secret or len(client_secret) > 1000 or not client_secret.isprintable():
        raise Malformed(_("Enter the client's secret, as the provider shows it."), field="client_secret")


def _check_admin(name: str, email: str, external_id: str) -> None:
    _line(name, "admin_name", LONGEST_NAME, is_needed=True)
    try:
        validate_email(email)
    except ValidationError:
        raise Malformed(_("Enter the mail address of the first global admin."), field="admin_email") from None
    if not external_id or len(external_id) > LONGEST_ID or not external_id.isprintable():
        needed = _("Enter the admin's id at the provider: the first sign-in is matched by it alone.")
        raise Malformed(needed, field="admin_id")


def _reason(text: str) -> str:
    return _line(text, "reason", is_needed=True)


def _line(text: str, field: str, longest: int = LONGEST_REASON, *, is_needed: bool = False) -> str:
    """One line of text. :raises Malformed: none, too long, or signs that cannot be seen."""
    line = " ".join(text.split())
    if (is_needed and not line) or len(line) > longest or not line.isprintable():
        problem: Text = (
            _("Enter up to %(count)d letters.") if is_needed else _("Use at most %(count)d letters.")
        )
        raise Malformed(str(problem) % {"count": longest}, field=field)
    return line


def _target(tenant: Tenant) -> dict[str, Any]:
    return {"target_type": "tenant", "target_id": tenant.key, "target_label": tenant.name}


def _note(staff: Actor, code: str, tenant: Tenant, at: datetime, **facts: Any) -> None:
    note(staff, code, at=at, organization=tenant.pk, **_target(tenant), **facts)


__all__ = [
    "DomainAdded",
    "DomainTaken",
    "Moved",
    "NewOrganization",
    "NoProviderYet",
    "add_organizations_domain",
    "change_organization",
    "checked_change",
    "create_organization",
    "mistakes_of",
    "name_first_provider",
    "suspend_organization",
    "take_up_organization",
]
