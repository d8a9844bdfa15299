"""Looking at a partner's customers side by side, and setting what a template says for many (product §12; docs/adr/0046)."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from commerce.queries.fleet import Catalogue, Compared, Served, catalogue, compare_customer, customers_served
from config.kit.actors import Actor
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Job
from directory.operations import audit
from directory.operations.jobs import Kind, Row, Step, start_job
from directory.permissions import Capability
from policies.drift import Said
from policies.models import PolicyChange
from policies.operations.policies import PolicyMoved, change_policies
from policies.operations.templates import change_of, lock_template, require_editor, require_standing

# So many customers are changed by one job.
MOST_CUSTOMERS = 50
# The template's name stands before it, in the customer's history.
LONGEST_WHY = 300
COMPARED = "policies.template.compared"
# That somebody of a partner compares is noted once in so long, for each person and customer.
NOTED_EVERY = timedelta(days=1)


class NoLongerAllowed(DomainError):
    """The person may not change the customer's policy, now: the relationship ended, roles were taken back, the customer is
    suspended or asks for a second factor."""

    code = "no_longer_allowed"
    status = 403
    message = gettext_lazy(
        "You may not change the purchase policy of this customer any more. Nothing was changed."
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be applied: the names of a template's targets, and of each customer what a page showed of theirs."""

    lines: Collection[str]
    seen: Mapping[int, Mapping[str, str]]


def look_at_customers(
    *,
    actor: Actor,
    customers: Sequence[Served],
    said: Said,
    products: Catalogue,
    has_second_factor: bool,
    at: datetime,
) -> list[Compared]:
    """Each customer beside what a template says, in the order given; noted in both trails, once a day for each customer.

    Ten statements for each, five of them for its wall, and one query for all; more where something is noted.
    """
    found = [
        compare_customer(each, said, products, has_second_factor=has_second_factor, at=at)
        for each in customers
    ]
    read = [each.served for each in found if not each.why_not]
    if read:
        _note_comparing(actor, read, at)
    return found


def _note_comparing(actor: Actor, read: Sequence[Served], at: datetime) -> None:
    with tenant_atomic(actor):
        ids = [str(each.actor.tenant_id) for each in read]
        noted = set(
            AuditEntry.objects.filter(
                tenant_id=actor.tenant_id,
                target_type="tenant",
                target_id__in=ids,
                code=COMPARED,
                actor_user_id=actor.user_id,
                at__gt=at - NOTED_EVERY,
            ).values_list("target_id", flat=True)
        )
    for each in read:
        if str(each.actor.tenant_id) not in noted:
            _record_for_both(each.actor, COMPARED, at, name=each.customer.name)


def _record_for_both(acting: Actor, code: str, at: datetime, *, name: str, **facts: object) -> None:
    """Into the customer's trail and the partner's."""
    audit.record_for(
        (acting.tenant_id, acting.home_tenant_id),
        acting,
        code,
        at=at,
        target_type="tenant",
        target_id=acting.tenant_id,
        target_label=name,
        **facts,
    )


# --- Applying to many -----------------------------------------------------------------------------------------------


def start_applying(
    *,
    actor: Actor,
    key: uuid.UUID,
    version: int,
    chosen: Chosen,
    why: str,
    has_second_factor: bool,
    back: str,
    at: datetime,
) -> Job:
    """Queue the job that sets what a template says for each of the customers. It works with the template as it is now.

    :raises NotVisible: no such template, or no such customer of the person's.
    :raises NotAllowed: one whose policy they may not change. :raises TemplateMoved: another version than was seen.
    :raises Malformed: nothing or too much was chosen. :raises TooManyJobs: enough of them wait.
    """
    why = why.replace("\x00", "").strip()
    if len(why) > LONGEST_WHY:
        raise Malformed(_("The reason is longer than 300 characters."), field="why")
    with tenant_atomic(actor):
        require_editor(actor, at=at)
        template = lock_template(actor, key, seen=version)
        if not 0 < len(chosen.seen) <= MOST_CUSTOMERS:
            raise Malformed(_("Choose from 1 to 50 customers."), field="customer")
        said = catalogue().said_in(template)
        if not chosen.lines or not set(chosen.lines) <= set(said):
            raise Malformed(_("Choose at least one value of the template."), field="line")
        served = {each.actor.tenant_id: each for each in customers_served(actor, at=at)}
        if not set(chosen.seen) <= set(served):
            raise NotVisible
        customers = [each for tenant_id, each in served.items() if tenant_id in chosen.seen]
        if not all(each.actor.may(Capability.CHANGE_POLICY) for each in customers):
            raise NotAllowed
        title = ngettext(
            "Apply %(template)s to %(count)d customer",
            "Apply %(template)s to %(count)d customers",
            len(customers),
        )
        return start_job(
            actor=actor,
            kind=APPLY_TEMPLATE.key,
            title=title % {"template": template.name, "count": len(customers)},
            parameters={
                "template": template.name,
                "version": template.version,
                "said": {name: value for name, value in said.items() if name in chosen.lines},
                "customers": [
                    {
                        "id": each.actor.tenant_id,
                        "name": each.customer.name,
                        "seen": dict(chosen.seen[each.actor.tenant_id]),
                    }
                    for each in customers
                ],
                "why": why,
                "has_second_factor": has_second_factor,
            },
            at=at,
            total=len(customers),
            back=back,
        )


def run(*, actor: Actor, job: Job, at: datetime) -> Step:
    """One customer a chunk."""
    place = job.cursor or 0
    customers = job.parameters["customers"]
    return Step(
        cursor=place + 1 if place + 1 < len(customers) else None,
        rows=[_row(actor, job, place + 1, customers[place], at)],
    )


APPLY_TEMPLATE = Kind("apply_template", gettext_lazy("Applying a template"), "", run)


def _row(actor: Actor, job: Job, number: int, customer: Mapping[str, object], at: datetime) -> Row:
    name = str(customer["name"])
    try:
        made = apply_to_customer(
            actor=actor,
            customer_id=customer["id"],  # type: ignore[arg-type]
            said=job.parameters["said"],
            seen=customer["seen"],  # type: ignore[arg-type]
            template=job.parameters["template"],
            version=job.parameters["version"],
            why=job.parameters["why"],
            has_second_factor=job.parameters["has_second_factor"],
            at=at,
        )
    except PolicyMoved:
        told = _("Somebody has changed it since you looked. Nothing was changed.")
        return Row(number, name, "changed_meanwhile", told, is_failed=True)
    except DomainError as refused:
        return Row(number, name, refused.code, str(refused), is_failed=True)
    if not made:
        return Row(number, name, "nothing_to_do", _("It says so already."))
    told = ngettext("%(count)d value set.", "%(count)d values set.", len(made)) % {"count": len(made)}
    return Row(number, name, "applied", told)


def apply_to_customer(
    *,
    actor: Actor,
    customer_id: int,
    said: Said,
    seen: Mapping[str, str],
    template: str,
    version: int,
    why: str,
    has_second_factor: bool,
    at: datetime,
) -> list[PolicyChange]:
    """Set what differs in one customer's policy from what a template says, as the person for that customer: all of it or
    nothing. Each change is one of the customer's own history, where it is undone; its admins get a mail.

    `actor` is at home. `seen`: by target, what the page showed of theirs. What is so already is left alone.

    :raises NoLongerAllowed: the person may not, at `at`.
    :raises PolicyMoved: something differs now that was not shown, or was shown otherwise.
    """
    with tenant_atomic(actor):
        served = next(
            (each for each in customers_served(actor, at=at) if each.actor.tenant_id == customer_id), None
        )
        if served is None:
            raise NoLongerAllowed
        require_standing(actor)
    with tenant_atomic(served.actor):
        products = catalogue()
        found = compare_customer(served, said, products, has_second_factor=has_second_factor, at=at)
        if not found.may_change or found.theirs is None:
            raise NoLongerAllowed
        differing = found.differences
        if any(seen.get(line.name) != line.seen for line in differing):
            raise PolicyMoved
        if not differing:
            return []
        changes = [
            change_of(
                line,
                keys=tuple(line.subject.keys) if line.subject else (),
                label=products.names.get(line.key, ""),
                currency=found.theirs.currency,
            )
            for line in differing
        ]
        told = _("Template %(name)s, version %(version)d.") % {"name": template, "version": version}
        made = change_policies(actor=found.served.actor, changes=changes, at=at, why=f"{told} {why}".strip())
        _record_for_both(
            found.served.actor,
            "policies.template.applied",
            at,
            name=served.customer.name,
            after={"template": template, "version": version, "values": len(made)},
        )
    return made
