"""Changing what a tenant allows (product §9; docs/policy.md). Every change has its row of history, and can be undone."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import Group
from directory.operations import audit
from directory.permissions import Capability
from policies import rule
from policies.models import (
    Basis,
    CategoryPolicy,
    GroupPolicy,
    NewProducts,
    OfferType,
    OfferTypePolicy,
    PolicyChange,
    PolicyValue,
    ProductPolicy,
    TenantPolicy,
)
from policies.operations.notices import queue_policy_changed
from policies.queries.policies import ContactText, contact_text, limits_in
from policies.spending import Limit, is_never_asked

CONTACT_TEXT_LENGTH = 1000
WHY_LENGTH = 500
MOST_MINOR = 10**15
_is_web_address = URLValidator(schemes=["https", "http"])

Target = PolicyChange.Target
type Stored = dict[str, Any]


class PolicyMoved(Conflict):
    """Somebody changed it since it was shown, or since the change that is to be undone."""

    code = "policy_moved"
    message = _("Somebody has changed this since. Nothing was saved. Look at what holds now.")


class AlreadyUndone(Conflict):
    """The change was taken back before."""

    code = "already_undone"
    message = _("This change was undone before. Nothing was saved.")


class GroupGone(Conflict):
    """The group of a group's rule no longer exists."""

    code = "group_gone"
    message = _("The group of this rule no longer exists. Nothing was saved.")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to set: what, and what it is to be. Made by the functions below.

    `seen`: what the page showed, compared with what is stored under these names; None: whatever it is.
    """

    target: str
    after: Stored
    key: str = ""
    former_keys: tuple[str, ...] = ()
    level: str = ""
    group_id: int | None = None
    label: str = ""
    seen: Stored | None = field(default=None, compare=False)


def default_for_all(value: str, **seen: Any) -> Change:
    """The tenant's default."""
    return Change(Target.DEFAULT, _one_of(value, PolicyValue.values), **seen)


def new_products(value: str, **seen: Any) -> Change:
    """The rule for products that come into the catalogue from now on; empty: as any other."""
    if value and value not in NewProducts.values:
        raise _no_value()
    return Change(Target.NEW_PRODUCTS, {"value": value}, **seen)


def of_category(category: str, value: str | None, **seen: Any) -> Change:
    """A category's value; None: as the default."""
    return Change(Target.CATEGORY, _one_of(value, PolicyValue.values, none=True), key=category, **seen)


def of_product(keys: Sequence[str], value: str | None, *, name: str = "", **seen: Any) -> Change:
    """A product's own value, by its current key and former ones; None: as inherited."""
    key, *former = keys
    after = _one_of(value, PolicyValue.values, none=True)
    return Change(Target.PRODUCT, after, key=key, former_keys=tuple(former), label=name, **seen)


def of_offer_type(kind: str, value: str, **seen: Any) -> Change:
    """An offer type's value, which knows no trials."""
    if kind not in OfferType.values:
        raise NotVisible
    return Change(Target.OFFER_TYPE, _one_of(value, [rule.ENABLED, rule.DISABLED]), key=kind, **seen)


def of_group(
    group_id: int, value: str | None, *, level: str, keys: Sequence[str] = (), name: str = "", **seen: Any
) -> Change:
    """A group's exception at one level: the tenant, a category or a product (`keys`); None: none."""
    key, *former = [*keys] or [""]
    if level not in GroupPolicy.Level.values or (level == "tenant") != (key == ""):
        raise Malformed(_("Choose for which products the rule holds."), field="level")
    return Change(
        Target.GROUP,
        _one_of(value, PolicyValue.values, none=True),
        key=key,
        former_keys=tuple(former),
        level=level,
        group_id=group_id,
        label=name,
        **seen,
    )


def spend_cap(limit: Limit | None, *, currency: str, **seen: Any) -> Change:
    """The most that may be spent, without tax; None: no cap."""
    return Change(Target.CAP, _limit(limit, currency, "cap"), **seen)


def approval_threshold(limit: Limit | None, *, currency: str, **seen: Any) -> Change:
    """The sum without tax above which an admin approves first; None: no threshold."""
    return Change(Target.THRESHOLD, _limit(limit, currency, "threshold"), **seen)


def _one_of(value: str | None, values: Sequence[str], *, none: bool = False) -> Stored:
    if value not in values and not (none and value is None):
        raise _no_value()
    return {"value": value}


def _no_value() -> Malformed:
    return Malformed(_("That is no value of this policy."), field="value")


def _never_asked() -> Malformed:
    told = _(
        "Nobody would ever be asked: what is above this is refused already. Enter less than the most that may be spent."
    )
    return Malformed(told, field="threshold")


def _limit(limit: Limit | None, currency: str, name: str) -> Stored:
    if limit is None:
        return {"minor": None, "basis": "", "currency": ""}
    if not 0 <= limit.minor <= MOST_MINOR or limit.basis not in Basis.values or len(currency) != 3:
        raise Malformed(_("Enter an amount from zero on."), field=name)
    return {"minor": limit.minor, "basis": limit.basis, "currency": currency}


# --- The operations -------------------------------------------------------------------------------------------------


def change_policies(
    *, actor: Actor, changes: Sequence[Change], at: datetime, why: str = ""
) -> list[PolicyChange]:
    """Make all of the changes, or none; their rows of history. What is so already makes no row.

    Holds for purchases from now on; what was bought is untouched. Locks the tenant's policy. Admins get a mail.

    :raises NotVisible, NotAllowed: the actor may not read, or not change, the policy.
    :raises Malformed: the reason is too long, or the cap leaves nothing to ask about. :raises PolicyMoved: another value than the page showed.
    :raises NotVisible: no such group.
    """
    why = why.replace("\x00", "").strip()
    if len(why) > WHY_LENGTH:
        raise Malformed(_("The reason is longer than 500 characters."), field="why")
    with tenant_atomic(actor):
        _require(actor, Capability.CHANGE_POLICY, sees=Capability.READ_POLICY)
        policy = lock_policy(actor)
        made = [
            row for change in changes if (row := _make(actor, policy, change, at=at, why=why)) is not None
        ]
        if any(row.target in (Target.CAP, Target.THRESHOLD) for row in made) and is_never_asked(
            limits_in(policy)
        ):
            raise _never_asked()
        queue_policy_changed(actor=actor, changes=made, at=at)
    return made


def set_product_policy(
    *,
    actor: Actor,
    product_keys: Sequence[str],
    value: str | None,
    at: datetime,
    why: str = "",
    name: str = "",
) -> None:
    """Allow a product, for trials only, or not at all; None: as inherited. `product_keys`: the current key first.

    :raises NotVisible, NotAllowed, Malformed: as `change_policies`.
    """
    _require(actor, Capability.CHANGE_POLICY, sees=Capability.READ_POLICY)
    change_policies(actor=actor, changes=[of_product(product_keys, value, name=name)], at=at, why=why)


def undo_change(*, actor: Actor, key: uuid.UUID, at: datetime) -> PolicyChange:
    """Set back what one change set, by a new change.

    :raises NotVisible: no such change. :raises NotAllowed: not theirs to change.
    :raises AlreadyUndone: twice. :raises PolicyMoved: it is no longer what that change made it.
    :raises GroupGone: the group was deleted.
    """
    with tenant_atomic(actor):
        _require(actor, Capability.CHANGE_POLICY, sees=Capability.READ_POLICY)
        policy = lock_policy(actor)
        done: PolicyChange | None = PolicyChange.objects.visible_to(actor).filter(key=key).first()
        if done is None:
            raise NotVisible
        if PolicyChange.objects.visible_to(actor).filter(undoes=done).exists():
            raise AlreadyUndone
        change = Change(
            target=done.target,
            after=done.before,
            key=done.target_key,
            level=done.level,
            group_id=done.group_id,
            label=done.target_label,
            seen=done.after,
        )
        try:
            made = _make(actor, policy, change, at=at, why="", undoes=done)
        except NotVisible as gone:
            raise GroupGone from gone
        assert made is not None, "a change always differs from what was before it"
        queue_policy_changed(actor=actor, changes=[made], at=at)
    return made


def set_contact_text(*, actor: Actor, text: str, url: str, at: datetime) -> ContactText:
    """Write what people read who may not buy, with one link; both may be empty.

    :raises NotVisible: the actor has no part in it.
    :raises Malformed: the text is too long or the link is no web address; `field` names which.
    """
    text, url = text.replace("\x00", "").strip(), url.strip()
    if len(text) > CONTACT_TEXT_LENGTH:
        raise Malformed(_("The text is longer than 1,000 characters."), field="text")
    if url:
        try:
            _is_web_address(url)
        except ValidationError as error:
            raise Malformed(_("That is no web address."), field="url") from error
    with tenant_atomic(actor):
        _require(actor, Capability.EDIT_CONTACT_TEXT, sees=Capability.EDIT_CONTACT_TEXT)
        before = contact_text(actor=actor)
        TenantPolicy.objects.visible_to(actor).update_or_create(
            tenant_id=actor.tenant_id, defaults={"it_contact_text": text, "it_contact_url": url}
        )
        audit.record(
            actor,
            "policies.contact_text.changed",
            at=at,
            target_type="tenant",
            target_id=actor.tenant_id,
            before={"text": before.text, "url": before.url},
            after={"text": text, "url": url},
        )
    return ContactText(text, url)


def _require(actor: Actor, capability: str, *, sees: str) -> None:
    actor.require(capability, is_own=False, is_org=True, sees=sees)


# --- One change -----------------------------------------------------------------------------------------------------


def lock_policy(actor: Actor) -> TenantPolicy:
    """The tenant's row, made where it is missing, locked: changes of one tenant come one after the other."""
    TenantPolicy.objects.bulk_create([TenantPolicy(tenant_id=actor.tenant_id)], ignore_conflicts=True)
    policy: TenantPolicy = TenantPolicy.objects.visible_to(actor).select_for_update().get()
    return policy


def _make(
    actor: Actor,
    policy: TenantPolicy,
    change: Change,
    *,
    at: datetime,
    why: str,
    undoes: PolicyChange | None = None,
) -> PolicyChange | None:
    """Write it with its history and audit; None where it is so already.

    :raises PolicyMoved: not what was seen. :raises NotVisible: no such group.
    """
    group = _group(actor, change)
    before = _stored(actor, policy, change)
    if change.seen is not None and any(before[name] != value for name, value in change.seen.items()):
        raise PolicyMoved
    after = _completed(change, before, at, is_undo=undoes is not None)
    if after == before:
        return None
    _store(actor, policy, change, after, at)
    made = PolicyChange.objects.create(
        tenant_id=actor.tenant_id,
        at=at,
        target=change.target,
        target_key=change.key,
        target_label=change.label[:200],
        level=change.level,
        group_id=group.pk if group else None,
        group_name=group.name if group else "",
        before=before,
        after=after,
        why=why,
        actor_user_id=actor.user_id,
        actor_label=actor.label,
        on_behalf_of=actor.relationship_label,
        door=actor.door,
        undoes=undoes,
    )
    audit.record(
        actor,
        _CODES[Target(change.target)],
        at=at,
        target_type=change.level if group else change.target,
        target_id=change.key or actor.tenant_id,
        target_label=group.name if group else change.label,
        before=before,
        after=after | ({"why": why} if why else {}),
    )
    return made


_CODES = {
    Target.DEFAULT: "policies.default.changed",
    Target.NEW_PRODUCTS: "policies.new_products.changed",
    Target.CATEGORY: "policies.category_policy.changed",
    Target.PRODUCT: "policies.product_policy.changed",
    Target.OFFER_TYPE: "policies.offer_type_policy.changed",
    Target.GROUP: "policies.group_policy.changed",
    Target.CAP: "policies.cap.changed",
    Target.THRESHOLD: "policies.threshold.changed",
}


def _group(actor: Actor, change: Change) -> Group | None:
    if change.target != Target.GROUP:
        return None
    group: Group | None = Group.objects.visible_to(actor).filter(pk=change.group_id).first()
    if group is None:
        raise NotVisible
    return group


def _completed(change: Change, before: Stored, at: datetime, *, is_undo: bool) -> Stored:
    """What is to be stored. A rule for new products has its beginning, which changes of it keep."""
    if change.target != Target.NEW_PRODUCTS or is_undo:
        return change.after
    if not change.after["value"]:
        return {"value": "", "since": None}
    return change.after | {"since": before["since"] or at.isoformat()}


def _stored(actor: Actor, policy: TenantPolicy, change: Change) -> Stored:
    """What is stored under the target now."""
    match change.target:
        case Target.DEFAULT:
            return {"value": policy.default_value}
        case Target.NEW_PRODUCTS:
            since = policy.new_products_since
            return {"value": policy.new_products_value, "since": since.isoformat() if since else None}
        case Target.CAP:
            return _limit_in(policy, "cap")
        case Target.THRESHOLD:
            return _limit_in(policy, "threshold")
    rows = dict(_rows(actor, change).values_list(_key_field(change), "value"))
    found = next((rows[key] for key in (change.key, *change.former_keys) if key in rows), None)
    if found is None and change.target == Target.OFFER_TYPE:
        found = rule.ENABLED
    return {"value": found}


def _limit_in(policy: TenantPolicy, name: str) -> Stored:
    minor = getattr(policy, f"{name}_minor")
    return {
        "minor": minor,
        "basis": getattr(policy, f"{name}_basis"),
        "currency": "" if minor is None else policy.limits_currency,
    }


def _store(actor: Actor, policy: TenantPolicy, change: Change, after: Stored, at: datetime) -> None:
    match change.target:
        case Target.DEFAULT:
            policy.default_value = after["value"]
        case Target.NEW_PRODUCTS:
            policy.new_products_value = after["value"]
            since = after["since"]
            policy.new_products_since = datetime.fromisoformat(since) if since else None
        case Target.CAP | Target.THRESHOLD:
            name = str(change.target)
            setattr(policy, f"{name}_minor", after["minor"])
            setattr(policy, f"{name}_basis", after["basis"])
            policy.limits_currency = after["currency"] or policy.limits_currency
        case _:
            _store_value(actor, change, after["value"], at)
            return
    policy.save()


def _store_value(actor: Actor, change: Change, value: str | None, at: datetime) -> None:
    """One row for the current key; those of former keys end."""
    rows = _rows(actor, change)
    if value is None:
        rows.delete()
        return
    rows.exclude(**{_key_field(change): change.key}).delete()
    facts: dict[str, Any] = {_key_field(change): change.key}
    if change.target == Target.GROUP:
        facts |= {"level": change.level, "group_id": change.group_id}
    rows.update_or_create(
        tenant_id=actor.tenant_id,
        **facts,
        defaults={
            "value": value,
            "changed_at": at,
            "changed_by_id": actor.user_id,
            "changed_by": actor.label,
        },
    )


def _rows(actor: Actor, change: Change) -> Any:
    """The rows of the target, of former keys too."""
    models: dict[str, Any] = {
        Target.CATEGORY: CategoryPolicy,
        Target.PRODUCT: ProductPolicy,
        Target.OFFER_TYPE: OfferTypePolicy,
        Target.GROUP: GroupPolicy,
    }
    rows = models[change.target].objects.visible_to(actor)
    if change.target == Target.GROUP:
        rows = rows.filter(level=change.level, group_id=change.group_id)
    return rows.filter(**{f"{_key_field(change)}__in": [change.key, *change.former_keys]})


def _key_field(change: Change) -> str:
    return {
        Target.CATEGORY: "category",
        Target.PRODUCT: "product_key",
        Target.OFFER_TYPE: "offer_type",
        Target.GROUP: "key",
    }[Target(change.target)]
