"""Making and changing a partner's templates of purchase policies (product §12; docs/adr/0046)."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible, constraint_of
from config.kit.tenancy import tenant_atomic
from directory.actors import actors_for_customers, tenant_row
from directory.models import Tenant
from directory.operations import audit
from policies import drift
from policies.drift import Line
from policies.models import PolicyTemplate
from policies.operations import policies as operations
from policies.operations.policies import Change
from policies.queries.templates import changes_templates, sees_templates
from policies.spending import Limit

LONGEST_NAME = 100
MOST_TEMPLATES = 50


class TemplateMoved(Conflict):
    """Somebody changed the template since it was shown."""

    code = "template_moved"
    message = _("Somebody has changed this template since. Nothing was saved. Look at it again.")


class NameTaken(Conflict):
    """Another template of the partner has the name."""

    code = "template_name_taken"
    message = _("Another template has this name. Nothing was saved.")


class TooManyTemplates(Conflict):
    """The partner has enough of them."""

    code = "too_many_templates"
    message = _("There are 50 templates, and no more can be made. Delete one first.")


def create_template(*, actor: Actor, name: str, said: Mapping[str, Any], at: datetime) -> PolicyTemplate:
    """Make a template, version 1. It changes nobody's policy.

    :raises NotVisible, NotAllowed: the actor reads, or changes, no customer's policy.
    :raises Malformed: no name, or a value that there is not. :raises NameTaken, TooManyTemplates: as they say.
    """
    name, kept = _checked_name(name), checked(said)
    with tenant_atomic(actor):
        require_editor(actor, at=at)
        if PolicyTemplate.objects.visible_to(actor).count() >= MOST_TEMPLATES:
            raise TooManyTemplates
        template = PolicyTemplate(
            tenant_id=actor.tenant_id,
            name=name,
            said=kept,
            changed_at=at,
            changed_by_id=actor.user_id,
            changed_by=actor.label,
        )
        _save(template)
        _record(actor, template, "policies.template.created", at, after={"name": name, "says": kept})
    return template


def change_template(
    *, actor: Actor, key: uuid.UUID, seen: int, name: str, said: Mapping[str, Any], at: datetime
) -> PolicyTemplate:
    """Change a template that had the version `seen`; it gets the next one, or stays as it is when nothing differs.

    :raises NotVisible, NotAllowed, Malformed, NameTaken: as `create_template`. :raises TemplateMoved: another version.
    """
    name, kept = _checked_name(name), checked(said)
    with tenant_atomic(actor):
        require_editor(actor, at=at)
        template = lock_template(actor, key, seen=seen)
        if (template.name, template.said) == (name, kept):
            return template
        before = {"name": template.name, "says": template.said}
        template.name, template.said, template.version = name, kept, template.version + 1
        template.changed_at, template.changed_by_id, template.changed_by = at, actor.user_id, actor.label
        _save(template)
        after = {"name": name, "says": kept}
        _record(actor, template, "policies.template.changed", at, before=before, after=after)
    return template


def delete_template(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """Delete a template. What was applied by it stays as it is, in each customer's policy.

    :raises NotVisible, NotAllowed: as `create_template`.
    """
    with tenant_atomic(actor):
        require_editor(actor, at=at)
        template = lock_template(actor, key)
        before = {"name": template.name, "says": template.said}
        _record(actor, template, "policies.template.deleted", at, before=before)
        template.delete()


def require_editor(actor: Actor, *, at: datetime) -> None:
    """Refuse whoever may change no customer's policy at `at`. Inside `tenant_atomic` of the home; two queries.

    :raises NotVisible: they do not even read one. :raises NotAllowed: they read alone, or their organization is suspended.
    """
    actors = actors_for_customers(actor, at=at)
    if not sees_templates(actors):
        raise NotVisible
    if not changes_templates(actors):
        raise NotAllowed
    require_standing(actor)


def require_standing(actor: Actor) -> None:
    """:raises NotAllowed: the partner is suspended, so nobody of it changes anything for others."""
    if tenant_row(actor.home_tenant_id).standing == Tenant.Standing.SUSPENDED:
        raise NotAllowed


def lock_template(actor: Actor, key: uuid.UUID, *, seen: int | None = None) -> PolicyTemplate:
    """:raises NotVisible: no such template. :raises TemplateMoved: another version than was seen."""
    found: PolicyTemplate | None = (
        PolicyTemplate.objects.visible_to(actor).select_for_update().filter(key=key).first()
    )
    if found is None:
        raise NotVisible
    if seen is not None and found.version != seen:
        raise TemplateMoved
    return found


def checked(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a template says, as it is stored: each value is one that can be set in a policy.

    :raises Malformed: an unknown target, or a value that it cannot have; `field` names the target.
    """
    kept: dict[str, Any] = {}
    for name, value in said.items():
        if name in drift.LIMITS:
            kept[name] = _checked_limit(name, value)
            continue
        try:
            change_of(Line(name, value, value, differs=True), keys=(name.partition(":")[2],))
        except (Malformed, NotVisible) as wrong:
            raise Malformed(_("That is no value of this policy."), field=name) from wrong
        kept[name] = value
    return kept


def _checked_limit(name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    basis, amounts = asked["basis"], dict(asked["amounts"])
    if not basis:
        return {"basis": "", "amounts": {}}
    if not amounts:
        raise Malformed(_("Enter a sum in at least one currency."), field=name)
    for currency, minor in amounts.items():
        change_of(Line(name, Limit(minor, basis), None, differs=True), currency=currency)
    return {"basis": basis, "amounts": amounts}


def change_of(line: Line, *, keys: tuple[str, ...] = (), label: str = "", currency: str = "") -> Change:
    """The change that makes a customer's policy say what the template says, from what is stored there now.

    `keys`: of a product, the current one first. `currency`: the customer's.
    """
    kind, _colon, key = line.name.partition(":")
    match kind:
        case drift.DEFAULT:
            return operations.default_for_all(line.wanted, seen={"value": line.stored})
        case drift.NEW_PRODUCTS:
            return operations.new_products(line.wanted, seen={"value": line.stored})
        case drift.CAP:
            return operations.spend_cap(line.wanted, currency=currency, seen=_seen_limit(line.stored))
        case drift.THRESHOLD:
            return operations.approval_threshold(
                line.wanted, currency=currency, seen=_seen_limit(line.stored)
            )
    seen = {"value": line.stored or None}
    match kind:
        case "category":
            return operations.of_category(key, line.wanted or None, seen=seen)
        case "product":
            return operations.of_product(keys, line.wanted or None, name=label, seen=seen)
        case "offer":
            return operations.of_offer_type(key, line.wanted, seen={"value": line.stored})
    raise Malformed(_("That is no value of this policy."), field=line.name)


def _seen_limit(stored: Limit | None) -> dict[str, Any]:
    return {"minor": stored.minor if stored else None, "basis": stored.basis if stored else ""}


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise Malformed(_("Give it a name of up to 100 characters."), field="name")
    return name


def _save(template: PolicyTemplate) -> None:
    try:
        with tenant_atomic(template.tenant_id):
            template.save()
    except IntegrityError as error:
        if constraint_of(error) != "policies_policytemplate_name":
            raise
        raise NameTaken from error


def _record(actor: Actor, template: PolicyTemplate, code: str, at: datetime, **facts: Any) -> None:
    audit.record(
        actor,
        code,
        at=at,
        target_type="policy_template",
        target_id=template.key,
        target_label=template.name,
        **facts,
    )
