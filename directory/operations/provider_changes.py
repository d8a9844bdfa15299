"""Putting another identity provider in force: planned, confirmed by a second, a day later, and the way back.

Whoever controls the sign-in page is everybody (I-23; reliability §7; docs/adr/0035). So another issuer, or other subjects
of the same one, come into force only after a day in which every global admin is told and can stop it, and with a second
global admin or, where there is none, the vendor's staff.
"""

from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, NotVisible
from config.kit.sweeps import alone
from config.kit.tenancy import tenant_atomic, use_login
from directory import discovery
from directory.models import AccountLink, IdentityProvider, RoleAssignment, User
from directory.models.people import UserQuerySet
from directory.operations.people import PROVIDER_KEPT
from directory.operations.provider_switch import switch
from directory.operations.providers import (
    ProviderAway,
    active_provider,
    can_come,
    lock_tenant,
    record_provider,
    refuse_second_change,
    require_settings,
)
from directory.operations.sign_in_notices import tell_sign_in_changed
from directory.permissions import Role

NOTICE = timedelta(hours=24)
TEST_HOLDS = timedelta(hours=24)
# Nobody confirmed it for so long: it is given up.
LAPSES = timedelta(days=14)
# A global admin alone goes back to the earlier one within this time.
UNDO = timedelta(hours=72)
PAGE = "portal:identity-provider"
MOST_AT_ONCE = 100


class NotTested(Conflict):
    """Nothing is put in force where the admin did not sign in within a day."""

    code = "provider_not_tested"
    message = _("Sign in there as a test first. Nothing was changed.")


class SecondAdminNeeded(Conflict):
    """Who planned it does not confirm it, nor who became global admin since; with a second one, staff do not."""

    code = "second_admin_needed"
    message = _("Another global admin, who was one before the change was planned, must confirm it.")


class TooLateToUndo(Conflict):
    code = "too_late_to_undo"
    message = _(
        "It is too long ago to go back at once. Sign in there as a test and plan the change. Nothing was changed."
    )


def put_in_force(*, actor: Actor, key: str, at: datetime) -> IdentityProvider:
    """Let people sign in there: at once where everybody stays the same person, else planned for a day later.

    At once: the same client with a new secret, and another client of the same issuer which names the admin as before.

    :raises NotAllowed: the actor may not manage the organization's settings. :raises NotVisible: no such configuration.
    :raises NotTested: by this admin within a day. :raises ChangeUnderWay: a change is waiting.
    """
    with tenant_atomic(actor):
        require_settings(actor)
        lock_tenant(actor)
        refuse_second_change(actor)
        provider = _found(actor, key, at=at)
        link = AccountLink.objects.filter(provider=provider, user_id=actor.user_id or 0).first()
        if link is None or link.proved_at is None or at - link.proved_at > TEST_HOLDS:
            raise NotTested
        active = active_provider(actor)
        if active is None or active.issuer != provider.issuer:
            return _plan(actor, provider, at)
        if active.client_id == provider.client_id and provider.ended_at is None:
            return _rotate(actor, active, provider, at)
        user = User.objects.get(tenant_id=actor.tenant_id, pk=actor.user_id)
        if link.subject != user.subject:
            return _plan(actor, provider, at)
        switch(actor, provider, at, moves_people=False)
    return provider


def confirm_change(*, actor: Actor, key: str, at: datetime) -> None:
    """Agree to a planned change. Twice is once.

    By a global admin who did not plan it and was one before; or by the vendor's staff, as the installation's own actor
    (`Actor.system` with their name), where the organization has no such admin.

    :raises NotAllowed: the actor may not manage the organization's settings. :raises NotVisible: no such plan.
    :raises SecondAdminNeeded: somebody else must.
    """
    with tenant_atomic(actor):
        require_settings(actor)
        lock_tenant(actor)
        provider = planned_change(actor, key)
        if provider.confirmed_by:
            return
        seconds = second_admins(provider)
        if seconds.exists() if actor.is_system else not seconds.filter(pk=actor.user_id).exists():
            raise SecondAdminNeeded
        provider.confirmed_by_id, provider.confirmed_by = actor.user_id, actor.label[:200]
        provider.save(update_fields=["confirmed_by_id", "confirmed_by"])
        record_provider(actor, "confirmed", provider, at)
        _tell(actor, "provider_confirmed", provider, at)


def stop_change(*, actor: Actor, key: str, at: datetime) -> None:
    """Give a planned change up, as any global admin or the vendor's staff. The configuration stays prepared.

    :raises NotAllowed: the actor may not manage the organization's settings. :raises NotVisible: no such plan.
    """
    with tenant_atomic(actor):
        require_settings(actor)
        lock_tenant(actor)
        _give_up(actor, planned_change(actor, key), "provider_stopped", at)


def go_back(*, actor: Actor, at: datetime) -> IdentityProvider:
    """Put the earlier provider in force again, at once; not inside a transaction, since it must answer.

    A global admin within 72 hours, the vendor's staff (`Actor.system`) within the 30 days that it is kept.

    :raises NotAllowed: the actor may not manage the organization's settings. :raises NotVisible: there is no earlier one.
    :raises TooLateToUndo: as said. :raises ProviderAway: it does not answer.
    """
    with tenant_atomic(actor):
        require_settings(actor)
        earlier = earlier_provider(actor, at=at)
        if earlier is None:
            raise NotVisible
        if not may_undo(earlier, at=at) and not actor.is_system:
            raise TooLateToUndo
    if not _answers(earlier):
        raise ProviderAway
    with tenant_atomic(actor):
        require_settings(actor)
        lock_tenant(actor)
        provider = _found(actor, earlier.key, at=at)
        for each in IdentityProvider.objects.filter(tenant_id=actor.tenant_id, switch_at__isnull=False):
            _give_up(actor, each, "provider_stopped", at)
            provider.refresh_from_db()
        switch(actor, provider, at, moves_people=provider.has_moved_people)
    return provider


def earlier_provider(actor: Actor, *, at: datetime) -> IdentityProvider | None:
    """The one that was in force before the present one, while it is kept."""
    rows = can_come(actor, at=at).filter(ended_at__isnull=False)
    earlier: IdentityProvider | None = rows.order_by("-ended_at", "-pk").first()
    return earlier


def may_undo(earlier: IdentityProvider, *, at: datetime) -> bool:
    """Whether a global admin goes back to it alone and at once."""
    return earlier.ended_at is not None and at - earlier.ended_at <= UNDO


def planned_change(actor: Actor, key: str = "") -> IdentityProvider:
    """:raises NotVisible: no such change is planned."""
    rows = IdentityProvider.objects.filter(tenant_id=actor.tenant_id, switch_at__isnull=False)
    provider: IdentityProvider | None = (rows.filter(key=key) if key else rows).first()
    if provider is None:
        raise NotVisible
    return provider


def second_admins(provider: IdentityProvider) -> UserQuerySet:
    """The active global admins who may confirm a planned change: not who planned it, and none made since."""
    roles = RoleAssignment.objects.filter(
        tenant_id=provider.tenant_id, role=Role.GLOBAL_ADMIN, granted_at__lte=provider.planned_at
    )
    people = User.objects.active().filter(tenant_id=provider.tenant_id, pk__in=roles.values("user_id"))
    others: UserQuerySet = people.exclude(pk=provider.planned_by_id)
    return others


def make_due_changes(*, at: datetime) -> int:
    """Make the planned and confirmed changes whose day is over, give up what nobody confirmed, forget old secrets.

    By the worker, which finds them; each is then judged under its own tenant. One that does not answer is held up and
    told of, and tried again by the next sweep. How many came into force.
    """
    with use_login("worker"):
        planned = IdentityProvider.objects.filter(switch_at__isnull=False)
        due = planned.exclude(confirmed_by="").filter(switch_at__lte=at)
        stale = planned.filter(confirmed_by="", planned_at__lte=at - LAPSES)
        found = list((due | stale).order_by("switch_at", "pk").values_list("tenant_id", "key")[:MOST_AT_ONCE])
        IdentityProvider.objects.filter(ended_at__lte=at - PROVIDER_KEPT).exclude(
            client_secret_encrypted=""
        ).update(client_secret_encrypted="")
    made = 0
    for tenant_id, key in found:
        with alone("Identity provider %s", key):
            made += _make_due(Actor.system(tenant_id), key, at)
    return made


def _make_due(actor: Actor, key: str, at: datetime) -> bool:
    with tenant_atomic(actor):
        found = IdentityProvider.objects.filter(tenant_id=actor.tenant_id, key=key).first()
    is_away = found is not None and bool(found.confirmed_by) and not _answers(found)
    with tenant_atomic(actor):
        lock_tenant(actor)
        provider = IdentityProvider.objects.filter(
            tenant_id=actor.tenant_id, key=key, switch_at__lte=at
        ).first()
        if provider is None:
            return False
        if not provider.confirmed_by:
            _give_up(actor, provider, "provider_lapsed", at)
            return False
        if not _planner_goes_along(provider):
            _give_up(actor, provider, "provider_dropped", at)
            return False
        if is_away:
            _hold_up(actor, provider, at)
            return False
        switch(actor, provider, at, moves_people=True)
    return True


def _planner_goes_along(provider: IdentityProvider) -> bool:
    """Whether who planned it is a global admin still and can sign in there: so that somebody manages the organization."""
    if provider.planned_by_id is None:
        return False
    is_admin = RoleAssignment.objects.filter(
        tenant_id=provider.tenant_id, user_id=provider.planned_by_id, role=Role.GLOBAL_ADMIN
    ).exists()
    link = AccountLink.objects.filter(provider=provider, user_id=provider.planned_by_id).first()
    people = User.objects.filter(tenant_id=provider.tenant_id)
    if not is_admin or link is None or not people.active().filter(pk=provider.planned_by_id).exists():
        return False
    taken = people.filter(issuer=provider.issuer, subject=link.subject).exclude(pk=provider.planned_by_id)
    return not taken.exists()


def _hold_up(actor: Actor, provider: IdentityProvider, at: datetime) -> None:
    if provider.held_up_since is not None:
        return
    provider.held_up_since = at
    provider.save(update_fields=["held_up_since"])
    record_provider(actor, "held_up", provider, at)
    _tell(actor, "provider_held_up", provider, at)


def _plan(actor: Actor, provider: IdentityProvider, at: datetime) -> IdentityProvider:
    provider.planned_at, provider.planned_by_id, provider.planned_by = at, actor.user_id, actor.label[:200]
    provider.switch_at = at + NOTICE
    provider.save()
    after = {"issuer": provider.issuer, "switch_at": provider.switch_at.isoformat()}
    record_provider(actor, "planned", provider, at, after=after)
    _tell(actor, "provider_planned", provider, at, switch_at=provider.switch_at.isoformat())
    return provider


def _rotate(
    actor: Actor, active: IdentityProvider, provider: IdentityProvider, at: datetime
) -> IdentityProvider:
    """Use the new secret of the client that is in force; the prepared row has done its work."""
    active.client_secret_encrypted = provider.client_secret_encrypted
    active.save(update_fields=["client_secret_encrypted"])
    provider.delete()
    record_provider(actor, "secret_changed", active, at)
    _tell(actor, "provider_secret", active, at)
    return active


def _give_up(actor: Actor, provider: IdentityProvider, what: str, at: datetime) -> None:
    provider.planned_at = provider.switch_at = provider.held_up_since = None
    provider.planned_by_id = provider.confirmed_by_id = None
    provider.planned_by = provider.confirmed_by = ""
    provider.save()
    record_provider(actor, "stopped", provider, at, after={"why": what})
    _tell(actor, what, provider, at)


def _answers(provider: IdentityProvider) -> bool:
    try:
        discovery.ask_anew(provider.key, provider.issuer)
    except discovery.ProviderUnusable:
        return False
    return True


def _found(actor: Actor, key: str, *, at: datetime) -> IdentityProvider:
    provider: IdentityProvider | None = can_come(actor, at=at).filter(key=key).first()
    if provider is None:
        raise NotVisible
    return provider


def _tell(actor: Actor, what: str, provider: IdentityProvider, at: datetime, **facts: object) -> None:
    tell_sign_in_changed(actor=actor, what=what, subject=provider.issuer, at=at, page=PAGE, **facts)
