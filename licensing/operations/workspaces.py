"""What people make in a product: made and shared as the data policy allows, handed on, deleted when its time is over
(product §14; docs/data.md).
"""

import uuid
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.models import Product
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.models import User
from directory.operations import audit
from directory.permissions import Capability
from licensing.models import Workspace
from licensing.queries.workspaces import data_for
from policies.operations.data import ServiceOff

NAME_LENGTH = 100
# What one person may have in one product.
MOST = 500
# No less than this after a shorter retention was set, so that what is to be deleted is announced before.
NOTICE_DAYS = 7
SYSTEM = "Seatkeeper"


class MayNotMake(NotAllowed):
    """The data policy lets others make workspaces."""

    code = "may_not_make_workspaces"
    message = _("Your organization lets only some people make workspaces here. Ask your IT admins for one.")


class SharingOff(Conflict):
    """The data policy does not let anything be shared outside the organization."""

    code = "sharing_off"
    message = _("Your organization does not allow sharing outside it. Nothing was shared.")


class TooManyWorkspaces(Conflict):
    code = "too_many_workspaces"
    message = _("You have 500 workspaces here, which is the most. Nothing was made.")


class CannotHave(Conflict):
    """Whoever is to have it is no active member."""

    code = "cannot_have_workspace"
    message = _("Only an active member of the organization can have it. Nothing was changed.")


def make_workspace(
    *, actor: Actor, product: Product, name: str, at: datetime, user_id: int | None = None
) -> Workspace:
    """Make one in a product: one's own, or by the organization's service token for a person.

    :raises NotVisible: the actor makes none here, or no such person. :raises Malformed: no name, or too long.
    :raises ServiceOff: the product is switched off for the person.
    :raises MayNotMake: the data policy lets others make them. :raises TooManyWorkspaces: the person has 500.
    """
    name = " ".join(name.replace("\x00", "").split())
    if not 1 <= len(name) <= NAME_LENGTH:
        raise Malformed(_("Enter a name of 1 to 100 letters."), field="name")
    with tenant_atomic(actor):
        user = _maker(actor, user_id)
        data = data_for(actor=actor, product=product, user=user)
        if not data.policy.service_on:
            raise ServiceOff
        if not data.may_create:
            raise MayNotMake
        if Workspace.objects.filter(tenant_id=actor.tenant_id, holder=user, product=product).count() >= MOST:
            raise TooManyWorkspaces
        made = Workspace.objects.create(
            tenant_id=actor.tenant_id, product=product, name=name, maker=user, holder=user, made_at=at
        )
        _record(actor, made, "licensing.workspace.made", at, after={"user_id": user.pk, "user": user.name})
    return made


def share_workspace(*, actor: Actor, key: uuid.UUID, shared: bool, at: datetime) -> Workspace:
    """Share one's own outside the organization, or end that, which is always allowed.

    :raises NotVisible: not the actor's. :raises ServiceOff, SharingOff: the data policy does not allow it.
    """
    with tenant_atomic(actor):
        found: Workspace | None = (
            Workspace.objects.of(actor).select_for_update(of=("self",)).filter(key=key).first()
        )
        if found is None:
            raise NotVisible
        user = User.objects.get(pk=actor.user_id)
        policy = data_for(actor=actor, product=found.product, user=user).policy
        if shared and not policy.service_on:
            raise ServiceOff
        if shared and not policy.sharing.value:
            raise SharingOff
        if found.is_shared != shared:
            found.is_shared = shared
            found.save(update_fields=["is_shared"])
            code = "licensing.workspace.shared" if shared else "licensing.workspace.unshared"
            _record(actor, found, code, at, after={"shared": shared})
    return found


def hand_workspace(*, actor: Actor, key: uuid.UUID, user_id: int, at: datetime) -> Workspace:
    """Give one to another member of the organization; it is kept as long as that person may use it.

    :raises NotVisible, NotAllowed: the actor may not see, or not change, whose it is. :raises CannotHave: no active member.
    """
    with tenant_atomic(actor):
        found: Workspace | None = (
            Workspace.objects.visible_to(actor)
            .select_for_update(of=("self",))
            .select_related("holder", "product")
            .filter(key=key)
            .first()
        )
        if found is None:
            raise NotVisible
        if not actor.reaches(Capability.CHANGE_DATA_POLICY, is_own=False, is_org=True):
            raise NotAllowed
        to = User.objects.visible_to(actor).active().members().filter(pk=user_id).first()
        if to is None:
            raise CannotHave
        if to.pk == found.holder_id:
            return found
        before = found.holder
        found.holder, found.kept_from, found.deletes_at = to, None, None
        found.save(update_fields=["holder", "kept_from", "deletes_at"])
        _record(
            actor,
            found,
            "licensing.workspace.handed_over",
            at,
            before={"user_id": before.pk, "user": before.name},
            after={"user_id": to.pk, "user": to.name},
        )
    return found


def sweep_workspaces(*, at: datetime) -> int:
    """Begin and end the time that workspaces are kept, and delete those whose time is over; how many. Worker's login.

    Nobody may use one once whoever has it has left, or once the organization has no purchase of the product that is
    not Deleted. It is kept for the policy's days from when a sweep first finds it so. A longer retention counts at once; a
    shorter one deletes nothing within 7 days. One statement; what somebody changes at the moment waits for the next.
    """
    with use_login("worker"), atomic(), connection().cursor() as cursor:
        cursor.execute(_SWEEP, {"at": at, "notice": NOTICE_DAYS, "by": SYSTEM})
        return int(cursor.fetchone()[0])


_SWEEP = """
WITH judged AS MATERIALIZED (
    SELECT w.id, w.holder_id, w.kept_from, w.deletes_at,
           coalesce(w.kept_from, %(at)s) + make_interval(days => d.retention_days) AS wanted,
           h.status <> 'active' OR NOT EXISTS (
               SELECT FROM commerce_subscription s
                WHERE s.tenant_id = w.tenant_id AND s.product_id = w.product_id AND s.state <> 'deleted') AS is_left
      FROM licensing_workspace w
      JOIN directory_user h ON h.id = w.holder_id
     CROSS JOIN LATERAL policies_data_policy(w.tenant_id, w.product_id, NULL) d
), planned AS (
    SELECT id, holder_id, kept_from, deletes_at, CASE WHEN is_left THEN coalesce(kept_from, %(at)s) END AS since,
           CASE WHEN NOT is_left THEN NULL
                WHEN deletes_at IS NULL OR wanted >= deletes_at THEN wanted
                ELSE least(deletes_at, greatest(wanted, %(at)s + make_interval(days => %(notice)s))) END AS until
      FROM judged
), moving AS MATERIALIZED (
    SELECT w.id, p.since, p.until, coalesce(p.until <= %(at)s, false) AS is_over
      FROM planned p
      JOIN licensing_workspace w ON w.id = p.id AND w.holder_id = p.holder_id
     WHERE p.until <= %(at)s OR p.since IS DISTINCT FROM p.kept_from OR p.until IS DISTINCT FROM p.deletes_at
       FOR UPDATE OF w SKIP LOCKED
), kept AS (
    UPDATE licensing_workspace w SET kept_from = m.since, deletes_at = m.until
      FROM moving m WHERE w.id = m.id AND NOT m.is_over
), gone AS (
    DELETE FROM licensing_workspace w USING moving m WHERE w.id = m.id AND m.is_over
    RETURNING w.tenant_id, w.key, w.name, w.product_id, w.maker_id, w.holder_id, w.made_at, w.kept_from
), audited AS (
    INSERT INTO directory_auditentry
           (tenant_id, at, code, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id,
            target_type, target_id, target_label, before)
    SELECT g.tenant_id, %(at)s, 'licensing.workspace.deleted', g.tenant_id, %(by)s, '', 'job', '',
           'workspace', g.key::text, left(g.name, 200),
           jsonb_build_object('product', p.name, 'user_id', g.holder_id, 'user', h.name, 'maker_id', g.maker_id,
                              'made_at', g.made_at, 'kept_from', g.kept_from)
      FROM gone g JOIN commerce_product p ON p.id = g.product_id JOIN directory_user h ON h.id = g.holder_id
    RETURNING 1
)
SELECT count(*) FROM audited
"""


def _maker(actor: Actor, user_id: int | None) -> User:
    """The person that it is made for: the actor, or whom the organization's own service names.

    :raises NotVisible: nobody, or nobody that the actor may make one for.
    """
    own = None if actor.is_partner else actor.user_id
    is_service = actor.user_id is None and "all" in actor.scopes(Capability.SEE_WORKSPACES)
    wanted = own if user_id is None else user_id
    if wanted is None or (wanted != own and not is_service):
        raise NotVisible
    user: User | None = User.objects.visible_to(actor).active().filter(pk=wanted).first()
    if user is None:
        raise NotVisible
    return user


def _record(actor: Actor, workspace: Workspace, code: str, at: datetime, **facts: object) -> None:
    audit.record(
        actor,
        code,
        at=at,
        target_type="workspace",
        target_id=workspace.key,
        target_label=f"{workspace.name}, {workspace.product.name}"[:200],
        **facts,
    )
