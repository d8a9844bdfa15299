"""The second factors of the vendor's staff: set up, shown, removed, each in the vendor's trail (docs/adr/0033)."""

from datetime import datetime
from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory import factors
from directory.factors import APP, PASSKEY, RECOVERY
from directory.models import BrowserSession, User
from directory.operations.audit import record
from directory.operations.mail import queue_mail
from directory.operations.people import lock_managed, target_of
from directory.queries.factors import passkeys_of

LONGEST_NAME = 60
MOST_PASSKEYS = 10


class WrongCode(Malformed):
    """A code that is not the app's now, or that was taken before."""

    code = "wrong_code"

    def __init__(self) -> None:
        super().__init__(
            _("This code is not the one that the app shows now, or it was used before. Enter the next one."),
            field="code",
        )


class PasskeyRefused(Malformed):
    """What the browser sent is not the answer of a passkey that was asked for."""

    code = "passkey_refused"

    def __init__(self) -> None:
        super().__init__(_("The passkey was not taken. Try again, or use a code."), field="credential")


class LastFactor(Conflict):
    """Without it the person could not come in any more."""

    code = "last_factor"
    message = _("It is your only one, and you need one to come in. Set up another one first.")


class FactorTaken(Conflict):
    """There is one already, or there are too many."""

    code = "factor_taken"
    message = _("You have set it up already. Remove the old one first.")


def set_up_app(
    *, actor: Actor, secret: str, code: str, has_shown: bool, at: datetime, real_at: datetime
) -> list[str]:
    """Take an authenticator app once it shows the right code; the new recovery codes if there were none.

    `has_shown`: the person showed a second factor in this session, which whoever has one must.

    :raises NotAllowed: not of the staff, or one was set up and not shown. :raises WrongCode: not the app's.
    :raises FactorTaken: there is an app already.
    """
    with tenant_atomic(actor.home_tenant_id):
        user = _lock(actor, has_shown=has_shown)
        if Authenticator.objects.filter(user=user, type=APP).exists():
            raise FactorTaken
        step = factors.step_of(secret, code, at=real_at)
        if step is None:
            raise WrongCode
        row = factors.new_app(user, secret, step=step, at=real_at)
        row.save()
        record(actor, "directory.second_factor.added", at=at, **target_of(user), after={"kind": APP})
        _tell(actor, user, "added", row, at)
        return _first_codes(actor, user, at, real_at)


def set_up_passkey(
    *,
    actor: Actor,
    name: str,
    state: dict[str, Any],
    answer: object,
    has_shown: bool,
    at: datetime,
    real_at: datetime,
) -> list[str]:
    """Take a passkey that the browser made; the new recovery codes if there were none.

    :raises NotAllowed: not of the staff, or a factor was set up and not shown. :raises PasskeyRefused: no such answer.
    :raises FactorTaken: there are as many as anybody needs.
    """
    with tenant_atomic(actor.home_tenant_id):
        user = _lock(actor, has_shown=has_shown)
        if Authenticator.objects.filter(user=user, type=PASSKEY).count() >= MOST_PASSKEYS:
            raise FactorTaken
        name = " ".join(name.split())[:LONGEST_NAME] or str(_("Passkey"))
        try:
            row = factors.new_passkey(user, name, state, answer, at=real_at)
        except factors.AnswerRefused as error:
            raise PasskeyRefused from error
        row.save()
        after = {"kind": PASSKEY, "name": name}
        record(actor, "directory.second_factor.added", at=at, **target_of(user), after=after)
        _tell(actor, user, "added", row, at)
        return _first_codes(actor, user, at, real_at)


def take_code(*, actor: Actor, code: str, at: datetime, real_at: datetime) -> bool:
    """Whether the code is the app's now or a recovery code, neither used before. A wrong one is noted."""
    with tenant_atomic(actor.home_tenant_id):
        user = User.objects.get(pk=actor.user_id)
        kinds = {APP: factors.take_app_code, RECOVERY: factors.take_recovery_code}
        rows = Authenticator.objects.select_for_update().filter(user=user, type__in=kinds).order_by("id")
        used = next((row for row in rows if kinds[row.type](row, code, at=real_at)), None)
        deed = "shown" if used else "refused"
        after = {"kind": used.type} if used else None
        record(actor, f"directory.second_factor.{deed}", at=at, **target_of(user), after=after)
    return used is not None


def take_passkey(
    *, actor: Actor, state: dict[str, Any], answer: object, at: datetime, real_at: datetime
) -> bool:
    """Whether one of the person's passkeys signed what it was asked. A wrong answer is noted."""
    with tenant_atomic(actor.home_tenant_id):
        user = User.objects.get(pk=actor.user_id)
        try:
            used = factors.shown_passkey(passkeys_of(user.pk), state, answer)
        except factors.AnswerRefused:
            record(
                actor, "directory.second_factor.refused", at=at, **target_of(user), after={"kind": PASSKEY}
            )
            return False
        Authenticator.objects.filter(pk=used.pk).update(last_used_at=real_at)
        after = {"kind": PASSKEY, "name": used.data["name"]}
        record(actor, "directory.second_factor.shown", at=at, **target_of(user), after=after)
    return True


def remove_factor(*, actor: Actor, factor_id: int, has_shown: bool, at: datetime) -> None:
    """Remove an app or a passkey of the person's own.

    :raises NotAllowed: none was shown in this session. :raises NotVisible: not one of the person's.
    :raises LastFactor: no other app or passkey is left; recovery codes alone are none.
    """
    with tenant_atomic(actor.home_tenant_id):
        user = _lock(actor, has_shown=has_shown)
        rows = list(Authenticator.objects.filter(user=user, type__in=(APP, PASSKEY)).order_by("id"))
        row = next((row for row in rows if row.pk == factor_id), None)
        if row is None:
            raise NotVisible
        if len(rows) == 1:
            raise LastFactor
        _tell(actor, user, "removed", row, at)
        row.delete()
        before = {"kind": row.type} | ({"name": row.data["name"]} if row.type == PASSKEY else {})
        record(actor, "directory.second_factor.removed", at=at, **target_of(user), before=before)


def renew_recovery_codes(*, actor: Actor, has_shown: bool, at: datetime, real_at: datetime) -> list[str]:
    """New recovery codes; the old ones are worth nothing any more.

    :raises NotAllowed: no factor was shown in this session.
    """
    with tenant_atomic(actor.home_tenant_id):
        user = _lock(actor, has_shown=has_shown)
        if not has_shown:
            raise NotAllowed
        Authenticator.objects.filter(user=user, type=RECOVERY).delete()
        codes = _first_codes(actor, user, at, real_at)
        _tell(actor, user, "codes_made", Authenticator.objects.get(user=user, type=RECOVERY), at)
    return codes


def forget_factors(*, actor: Actor, user_id: int, at: datetime, real_at: datetime) -> int:
    """For who lost theirs: all second factors of a person go and their sessions end; how many apps and passkeys.

    They set up a new one at the next sign-in. The installation alone.

    :raises NotAllowed: the actor is not the installation. :raises NotVisible: nobody of the acting tenant.
    """
    if not actor.is_system:
        raise NotAllowed
    with tenant_atomic(actor):
        user = lock_managed(actor, user_id, is_checked=True)
        rows = Authenticator.objects.filter(user=user)
        count: int = rows.exclude(type=RECOVERY).count()
        newest = rows.order_by("-id").first()
        if newest is not None:
            _tell(actor, user, "forgotten", newest, at)
        rows.delete()
        BrowserSession.objects.open().filter(user=user).update(ended_at=real_at)
        record(
            actor, "directory.second_factor.forgotten", at=at, **target_of(user), before={"factors": count}
        )
    return count


def _lock(actor: Actor, *, has_shown: bool) -> User:
    """The person, of whose factors none comes or goes meanwhile."""
    user: User = User.objects.select_for_update().get(pk=actor.user_id)
    if not actor.staff_roles:
        raise NotAllowed
    if not has_shown and Authenticator.objects.filter(user=user, type__in=(APP, PASSKEY)).exists():
        raise NotAllowed(_("Show your second factor first. Nothing was changed."))
    return user


def _first_codes(actor: Actor, user: User, at: datetime, real_at: datetime) -> list[str]:
    if Authenticator.objects.filter(user=user, type=RECOVERY).exists():
        return []
    row, codes = factors.new_recovery_codes(user, at=real_at)
    row.save()
    record(actor, "directory.second_factor.codes_made", at=at, **target_of(user), after={"codes": len(codes)})
    return codes


def _tell(actor: Actor, user: User, what: str, row: Authenticator, at: datetime) -> None:
    """A mail and a notice to the person, also of what they did themselves: perhaps it was not they."""
    is_one = what in ("added", "removed")
    queue_mail(
        "second_factor_changed",
        event_key=f"{what}:{row.pk}",
        to=[user],
        tenant_id=user.tenant_id,
        context={
            "what": what,
            "factor": row.type if is_one else "",
            "factor_name": row.data["name"] if is_one and row.type == PASSKEY else "",
            "by": actor.label,
            "link": f"{settings.PUBLIC_URL}{reverse('operator:factors')}",
        },
        at=at,
    )
