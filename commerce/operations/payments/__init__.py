"""Charging cards: commit the attempt > create > commit its id > confirm that id > record (architecture §8).

And giving back: commit the attempt > ask > record.
"""

from commerce.operations.payments.attempts import GIVES_UP_AFTER
from commerce.operations.payments.bills import BillOutcome, BillPaid, finish_bill, last_refusal, pay_bill
from commerce.operations.payments.charging import ChargeResult, charge_bill, put_off, take_due_bills
from commerce.operations.payments.groups import charge_bills
from commerce.operations.payments.outcomes import ActionNeeded, Outcome, Paid, Pending
from commerce.operations.payments.paying import (
    drop_checkout,
    finish_checkout,
    pay_change,
    pay_checkout,
    stop_waiting,
    withdraw_additions,
)
from commerce.operations.payments.reconciling import (
    abandon_checkouts,
    handle_events,
    pull_events,
    reconcile,
    settle_attempt,
    settle_attempts,
    settle_intent,
)
from commerce.operations.payments.refunding import (
    NothingOwed,
    Refunded,
    ask_again,
    book_by_hand,
    refund_now,
    settle_refunds,
)
from commerce.operations.payments.setups import (
    Saved,
    SetupEnded,
    SetupOutcome,
    finish_setup,
    give_up_setup,
    save_card,
    settle_setups,
)
from commerce.operations.payments.webhooks import forget_events, store_event

__all__ = [
    "GIVES_UP_AFTER",
    "ActionNeeded",
    "BillOutcome",
    "BillPaid",
    "ChargeResult",
    "NothingOwed",
    "Outcome",
    "Paid",
    "Pending",
    "Refunded",
    "Saved",
    "SetupEnded",
    "SetupOutcome",
    "abandon_checkouts",
    "ask_again",
    "book_by_hand",
    "charge_bill",
    "charge_bills",
    "drop_checkout",
    "finish_bill",
    "finish_checkout",
    "finish_setup",
    "forget_events",
    "give_up_setup",
    "handle_events",
    "last_refusal",
    "pay_bill",
    "pay_change",
    "pay_checkout",
    "pull_events",
    "put_off",
    "reconcile",
    "refund_now",
    "save_card",
    "settle_attempt",
    "settle_attempts",
    "settle_intent",
    "settle_refunds",
    "settle_setups",
    "stop_waiting",
    "store_event",
    "take_due_bills",
    "withdraw_additions",
]
