"""Many subscriptions that fall due at once, and a worker process that is killed at a named point."""

import os
import threading
import traceback
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from commerce.models import Bill, BillLine, BillSeries, OrderLine, Payment, Subscription
from commerce.operations.dunning import dun_due
from commerce.operations.payments import Paid, pay_checkout, reconcile
from commerce.operations.renewals import charge_due, expire_due, renew_due
from config.invariants import Violation, violations
from config.kit import faults
from config.kit.tenancy import atomic, connection, use_login
from directory.models import OutgoingMail
from tests.factories import actor_of, make_checkout, make_tenant, make_user
from tests.processor import card_token, charges_by_bill

# How many subscriptions each fault meets: a few in the suite, many as `make drill`.
DOSE = int(os.environ.get("DRILL_SUBSCRIPTIONS", "20"))


def crowd(size: int, *, at: datetime, card: str = "pm_card_visa") -> list[Subscription]:
    """`size` monthly subscriptions of one person, bought at `at` with a card that the processor knows.

    The first goes through a checkout; the others are rows like its own, each with line, bill and payment.
    """
    owner = make_user(make_tenant(name="Contoso"), name="Alice")
    checkout = make_checkout(owner, quantity=3, at=at)
    outcome = pay_checkout(
        actor=actor_of(owner, at=at), key=checkout.key, confirmation_token=card_token(card), at=at
    )
    assert isinstance(outcome, Paid)
    with use_login("worker"), atomic():
        first = Subscription.objects.get()
        return [first, *_like(first, size - 1)]


def _like(first: Subscription, count: int) -> list[Subscription]:
    line, bill, payment = first.order_lines.get(), first.bills.get(), Payment.objects.get()
    bill_line = BillLine.objects.get(bill=bill)
    subscriptions = [_copy(first, key=uuid.uuid4(), assigned=0) for _ in range(count)]
    Subscription.objects.bulk_create(subscriptions)
    OrderLine.objects.bulk_create(_copy(line, subscription=each) for each in subscriptions)
    bills = [
        _copy(
            bill,
            subscription=each,
            series_number=number,
            number=f"{bill.number[:-6]}{number:06d}",
        )
        for number, each in enumerate(subscriptions, bill.series_number + 1)
    ]
    Bill.objects.bulk_create(bills)
    BillLine.objects.bulk_create(_copy(bill_line, bill=each) for each in bills)
    Payment.objects.bulk_create(_copy(payment, bill=each, attempt=None) for each in bills)
    BillSeries.objects.update(next_number=bill.series_number + count + 1)
    return subscriptions


def _copy[M: (Subscription, OrderLine, Bill, BillLine, Payment)](row: M, **changed: object) -> M:
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    del values["id"]
    copy: M = type(row)(**values)
    for name, value in changed.items():
        setattr(copy, name, value)
    return copy


def bill_and_charge(at: datetime) -> None:
    """R0 to R7: the sweeps over periods and money, each until nothing is due. Receipts are queued and not sent."""
    reconcile(at)
    dun_due(at=at)
    renew_due(at=at)
    expire_due(at=at)
    charge_due(at=at)


def in_a_process(work: Callable[[], object], *, fault: str = "") -> int:
    """Do work in a process of its own, which dies at `fault`; its exit status, -9 when killed.

    The child works in a new thread: connections to the servers belong to a thread, so none is shared.
    """
    return ended(start(work, fault=fault))


def ended(child: int) -> int:
    """The exit status of a child, once it is there."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start(work: Callable[[], object], *, fault: str = "") -> int:
    """Start `in_a_process` without waiting; its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.environ[faults.VARIABLE] = fault
        done: list[object] = []
        worker = threading.Thread(target=lambda: done.append(work()))
        worker.start()
        worker.join()
        code = 0 if done else 1
    except BaseException:  # noqa: BLE001 - a child must never return into the test
        traceback.print_exc()
    finally:
        os._exit(code)


def let_leases_run_out() -> None:
    """What time does, at once: leases are on real time and last minutes."""
    with use_login("worker"), atomic(), connection().cursor() as cursor:
        cursor.execute("UPDATE commerce_bill SET leased_until = NULL WHERE leased_until IS NOT NULL")
        cursor.execute(
            "UPDATE commerce_paymentattempt SET leased_until = NULL WHERE leased_until IS NOT NULL"
        )


def bills_by_subscription() -> Counter[int]:
    """How many bills other than the purchase's each subscription has."""
    with use_login("worker"):
        rows = Bill.objects.exclude(type="purchase").values_list("subscription_id", flat=True)
        return Counter(rows)


def assert_each_is_billed_and_charged_once(subscriptions: list[Subscription], *, at: datetime) -> None:
    """For each one paid bill beside the purchase's, one charge at the processor, one receipt; nothing broken."""
    assert bills_by_subscription() == {each.pk: 1 for each in subscriptions}
    with use_login("worker"):
        numbers = list(Bill.objects.exclude(type="purchase").values_list("number", "status"))
        receipts = OutgoingMail.objects.filter(kind="renewal_receipt").values_list("context__bill_number")
        assert sorted(number for (number,) in receipts) == sorted(number for number, _ in numbers)
    assert {status for _, status in numbers} == {"paid"}
    assert charges_by_bill() == {"": 1, **{number: 1 for number, _ in numbers}}
    assert broken(at) == []


def broken(at: datetime) -> list[Violation]:
    return violations(at=at)
