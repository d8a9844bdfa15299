"""Rows that wait for the vendor's staff, one of each kind, all of one organization."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from commerce.gateways.declines import REFUSED
from commerce.models import (
    Bill,
    PaymentAttempt,
    RefundAttempt,
    Solution,
    Subscription,
    SupportCase,
    WebhookEvent,
)
from commerce.operations.bills import lock_bill
from commerce.operations.dunning import note_failure
from commerce.operations.payments import pay_checkout
from commerce.operations.payments.refunding import fail
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import Job, OutgoingMail, Tenant
from tests.factories import (
    AT,
    actor_of,
    make_agreement,
    make_checkout,
    make_credit_note,
    make_job,
    make_open_bill,
    make_self_service_subscription,
    make_tenant,
    make_user,
    product,
)
from tests.processor import card_token, fault

# Long enough after AT for everything to be overdue.
LATE = AT + timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Work:
    tenant: Tenant
    parked: Subscription
    mail: OutgoingMail
    queued: OutgoingMail
    job: Job
    charge: PaymentAttempt
    bill: Bill
    refund: RefundAttempt
    event: WebhookEvent
    case: SupportCase
    solution: Solution


def make_mail(
    tenant: Tenant, *, state: str = "dead", reader: int | None = None, **fields: object
) -> OutgoingMail:
    with tenant_atomic(tenant.pk):
        row: OutgoingMail = OutgoingMail.objects.create(
            tenant=tenant,
            **{
                "kind": "receipt",
                "event_key": f"receipt:{OutgoingMail.objects.count()}:{tenant.pk}",
                "to_user_id": reader,
                "to_address": "pat@contoso.example",
                "state": state,
                "tries": 10 if state == "dead" else 1,
                "next_try_at": AT,
                "created_at": AT,
                "last_error": "SMTPRecipientsRefused: {'pat@contoso.example': (550, b'no <pat@contoso.example>')}",
                **fields,
            },
        )
    return row


def make_attempt(tenant: Tenant, **fields: object) -> PaymentAttempt:
    """A charge of a checkout whose answer was lost."""
    checkout = make_checkout(make_user(tenant))
    with tenant_atomic(tenant.pk):
        row: PaymentAttempt = PaymentAttempt.objects.create(
            tenant=tenant,
            checkout=checkout,
            **{
                "key": f"attempt-{checkout.key}",
                "params_hash": "0" * 64,
                "amount_minor": 11_374,
                "currency": "EUR",
                "customer_processor_id": "cus_1",
                "intent_id": f"pi_{checkout.pk}",
                "state": "unknown",
                "created_at": AT,
                "updated_at": AT,
                **fields,
            },
        )
    return row


def make_failed_refund(tenant: Tenant) -> RefundAttempt:
    """A credit note that is owed: the processor refused to give it back to the card."""
    subscription = make_self_service_subscription(make_user(tenant))
    with tenant_atomic(tenant.pk):
        bill = Bill.objects.get(subscription=subscription)
    make_credit_note(bill, 1_000)
    with tenant_atomic(tenant.pk):
        row: RefundAttempt = RefundAttempt.objects.get(credit_note__credits=bill)
    fail(actor=Actor.system(tenant.pk), attempt_id=row.pk, code="charge_disputed", at=AT)
    return row


def make_refused_bill(tenant: Tenant) -> Bill:
    """A bill whose charge the processor did not take."""
    subscription = make_self_service_subscription(make_user(tenant))
    bill = make_open_bill(subscription, type="add_seats")
    system = Actor.system(tenant.pk)
    with tenant_atomic(system):
        note_failure(actor=system, bill=lock_bill(bill.pk), kind="hard", code=REFUSED, at=AT)
    return bill


def make_work(tenant: Tenant) -> Work:
    pat = make_user(tenant)
    parked = make_self_service_subscription(pat)
    with tenant_atomic(tenant.pk):
        Subscription.objects.filter(pk=parked.pk).update(parked_at=AT, parked_reason="No price.")
        case = SupportCase.objects.create(
            tenant=tenant,
            kind="cancel",
            subscription=parked,
            message="She left.",
            asked_at=AT,
            asked_by="Bill",
        )
        solution = Solution.objects.create(
            tenant=tenant,
            product=product(),
            partner_name=tenant.name,
            title="Reports in a day",
            description="We build it.",
            url="https://a.example/",
            sent_at=AT,
        )
    make_agreement(tenant)
    charge = make_attempt(tenant)
    event = WebhookEvent.objects.create(
        event_id=f"evt_{charge.pk}",
        type="payment_intent.succeeded",
        object_id=charge.intent_id,
        received_at=AT,
        handled_at=AT,
    )
    return Work(
        tenant=tenant,
        parked=parked,
        mail=make_mail(tenant),
        queued=make_mail(tenant, state="queued"),
        job=make_job(pat, state="failed", reason="It stopped.", finished_at=AT),
        charge=charge,
        bill=make_refused_bill(tenant),
        refund=make_failed_refund(tenant),
        event=event,
        case=case,
        solution=solution,
    )


def lost(at: datetime) -> PaymentAttempt:
    """A charge that the processor made and whose answer was lost."""
    pat = make_user(make_tenant(name="Fabrikam"))
    checkout = make_checkout(pat)
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=at)
    with tenant_atomic(pat.tenant_id):
        found: PaymentAttempt = PaymentAttempt.objects.get(checkout=checkout)
    return found
