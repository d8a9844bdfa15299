"""The processor's customer of each payer, made once."""

from datetime import datetime

from commerce.gateways import stripe
from commerce.models import ProcessorCustomer
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.operations.audit import record


def customer_of(*, actor: Actor, payer: User | None, at: datetime) -> str:
    """The processor's id of a person's customer, of the organization's when `payer` is None; made if missing.

    Not inside a transaction: it may call the processor.

    :raises Retryable: no usable answer.
    """
    with tenant_atomic(actor):
        found = _found(actor, payer)
        if found:
            return found
        tenant = Tenant.objects.get(pk=actor.tenant_id)
    made = stripe.create_customer(
        key=f"customer_{payer.key if payer else tenant.key}",
        email=payer.email if payer else "",
        name=payer.name if payer else tenant.name,
        metadata={"tenant": str(tenant.pk), "user": str(payer.pk if payer else "")},
    )
    with tenant_atomic(actor):
        ProcessorCustomer.objects.bulk_create(
            [ProcessorCustomer(tenant=tenant, user=payer, processor_id=made, created_at=at)],
            ignore_conflicts=True,
        )
        kept = _found(actor, payer)
        if kept == made:
            record(
                actor,
                "commerce.customer.created",
                at=at,
                target_type="customer",
                target_id=made,
                target_label=payer.name if payer else tenant.name,
            )
        return kept


def _found(actor: Actor, payer: User | None) -> str:
    return (
        ProcessorCustomer.objects.filter(tenant_id=actor.tenant_id, user=payer)
        .values_list("processor_id", flat=True)
        .first()
        or ""
    )
