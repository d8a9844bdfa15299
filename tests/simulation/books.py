"""An independent model of what the books must say: calendar, money and seats counted again in Python.

It follows the rows and judges each step of theirs by rules of its own: where a period begins and what it costs, what
added seats cost, who may be charged, which state follows which. Once everything has come to rest, the books and the
processor's own ledger must be equal to the cent. Nothing here uses the portal's arithmetic or its SQL.
"""

import calendar
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.simulation.laws import ask
from tests.simulation.world import World

PERIODS = ("purchase", "renewal", "monthly_charge", "trial_conversion", "reactivation")
RANK = {"scheduled": 0, "active": 1, "expired": 2, "disabled": 3, "deleted": 4}
# What the history must tell of a step into a state.
TOLD = {
    "active": {"started", "reactivated", "purchased"},
    "expired": {"expired"},
    "disabled": {"disabled", "canceled", "trial_ended"},
    "deleted": {"deleted", "canceled"},
}
# What every agreement says, for each month of a billing period.
CENTRAL_MINOR = 810
PAY_WITHIN = timedelta(days=30)


class Row(NamedTuple):
    """A subscription as it is now."""

    id: int
    tenant_id: int
    state: str
    channel: str
    quantity: int
    next_quantity: int | None
    next_plan_id: int | None
    plan_id: int
    term_months: int
    billing_months: int
    unit_price_minor: int
    recurring_billing: bool
    anchor_date: date
    time_zone: str
    period_start: datetime
    period_end: datetime
    term_end: datetime
    market_id: str
    disabled_reason: str
    parked_reason: str
    ordered: int


class Bill(NamedTuple):
    """A bill as it was issued."""

    id: int
    subscription_id: int
    number: str
    type: str
    replaces_id: int | None
    issued_at: datetime
    period_start: datetime
    period_end: datetime
    subtotal_minor: int
    tax_rate: Decimal
    tax_minor: int
    quantity: int
    unit_price_minor: int


@dataclass
class Life:
    """What is known of one subscription: its anchor, and the months from there to its plan and its period."""

    anchor: date
    zone: ZoneInfo
    plan_began: int
    began: int
    billing: int
    term: int
    unit: int
    quantity: int
    past: list[tuple[datetime, bool, str]] = field(default_factory=list)

    def at(self, months: int) -> datetime:
        """The instant `months` after the anchor: that day, or its month's last, at local midnight."""
        years, month = divmod(self.anchor.month - 1 + months, 12)
        year = self.anchor.year + years
        day = date(year, month + 1, min(self.anchor.day, calendar.monthrange(year, month + 1)[1]))
        return _midnight(day, self.zone)

    @property
    def ends(self) -> int:
        return self.began + self.billing

    def may_be_charged(self, at: datetime) -> bool:
        """Whether its renewals were on, and it was active, at some moment of that second."""
        before = [was for was in self.past if was[0] < at]
        then = [was for was in self.past if at <= was[0] <= at + timedelta(seconds=1)]
        return any(on and state == "active" for _at, on, state in [*before[-1:], *then])


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Of a midnight that comes twice the later, of one that is skipped the first instant of the day."""
    local = datetime.combine(day, time(), zone)
    return max(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def _half_up(exact: Fraction) -> int:
    return int(exact + Fraction(1, 2)) if exact >= 0 else -int(-exact + Fraction(1, 2))


class Books:
    """The model of one seed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lives: dict[int, Life] = {}
        self.rows: dict[int, Row] = {}
        self.last_bill = self.last_event = self.last_note = 0
        self.found: list[str] = []
        self.prices = {
            (plan, market): price
            for plan, market, price in ask(
                "SELECT plan_id, market_id, unit_price_minor FROM commerce_price ORDER BY valid_from"
            )
        }
        self.plans = {
            id_: (term, billing)
            for id_, term, billing in ask("SELECT id, term_months, billing_months FROM commerce_plan")
        }

    def errors(self, deed: str, *, is_settled: bool = False) -> list[str]:
        """Everything that the step under way got wrong."""
        self.found = []
        rows = {row[0]: Row(*row) for row in ask(_ROWS)}
        told: dict[int, set[str]] = defaultdict(set)
        for id_, subscription_id, code in ask(_EVENTS, after=self.last_event):
            told[subscription_id].add(code)
            self.last_event = id_
        for values in ask(_BILLS, after=self.last_bill):
            bill = Bill(*values)
            self.last_bill = bill.id
            self._judge(bill, rows[bill.subscription_id], deed)
        for note in ask(_NOTES, after=self.last_note):
            self.last_note = note[0]
            self._judge_note(*note[1:])
        for row in rows.values():
            self._follow(row, told[row.id])
        self.rows = rows
        if is_settled:
            self._compare_with_processor()
            self._must_be_done()
        return self.found

    def _say(self, rule: str, **facts: object) -> None:
        self.found.append(f"{rule}: {', '.join(f'{name}={fact}' for name, fact in facts.items())}")

    # --- Bills ------------------------------------------------------------------------------------------

    def _judge(self, bill: Bill, row: Row, deed: str) -> None:
        tax = _half_up(Fraction(bill.subtotal_minor) * Fraction(bill.tax_rate) / 100)
        if bill.tax_minor != tax:
            self._say("the tax is that of the subtotal", bill=bill.number, tax=bill.tax_minor, is_to_be=tax)
        if bill.replaces_id is not None:
            return
        if bill.type == "add_seats":
            self._judge_added(bill)
        elif bill.type in PERIODS:
            self._judge_period(bill, row, deed)

    def _judge_period(self, bill: Bill, row: Row, deed: str) -> None:
        life = self.lives.get(row.id)
        today = bill.issued_at.astimezone(ZoneInfo(row.time_zone)).date()
        if life is None:
            was_scheduled = self.rows[row.id].state == "scheduled" if row.id in self.rows else False
            anchor = row.anchor_date if was_scheduled else today
            if bill.type == "trial_conversion":
                anchor = bill.period_start.astimezone(ZoneInfo(row.time_zone)).date()
            life = Life(
                anchor,
                ZoneInfo(row.time_zone),
                0,
                0,
                *reversed(self.plans[row.plan_id]),
                bill.unit_price_minor,
                bill.quantity,
            )
            self.lives[row.id] = life
            self._expect(bill, life, bill.type if bill.type == "trial_conversion" else "purchase")
            return
        if bill.type == "reactivation":
            self._begin_anew(bill, row, life, today)
            return
        life.began += life.billing
        is_new_term = (life.began - life.plan_began) % life.term == 0
        before = self.rows[row.id]
        if is_new_term:
            if not before.recurring_billing:
                self._say("nothing is renewed whose recurring billing is off", bill=bill.number)
            self._begin_term(life, before)
        self._expect(bill, life, "renewal" if is_new_term else "monthly_charge")

    def _begin_term(self, life: Life, before: Row) -> None:
        """What was scheduled happens, at the price of the day."""
        plan_id = before.plan_id
        if before.next_plan_id is not None and before.next_plan_id != plan_id:
            plan_id = before.next_plan_id
            life.plan_began = life.began
            life.term, life.billing = self.plans[plan_id]
        if before.next_quantity is not None:
            life.quantity = before.next_quantity
        life.unit = (
            810 * life.billing if before.channel == "central" else self.prices[plan_id, before.market_id]
        )
        # Of several terms in one step only the first one has something scheduled.
        self.rows[before.id] = before._replace(plan_id=plan_id, next_plan_id=None, next_quantity=None)

    def _price(self, row: Row, plan_id: int) -> int:
        """Of the agreement for central ones, else of the list."""
        if row.channel == "central":
            return CENTRAL_MINOR * self.plans[plan_id][1]
        return int(self.prices[plan_id, row.market_id])

    def _begin_anew(self, bill: Bill, row: Row, life: Life, today: date) -> None:
        """From Expired the new period starts at the old end; from Disabled that day, with a new anchor."""
        before = self.rows[row.id]
        life.quantity = bill.quantity
        if before.state == "expired" or bill.period_start == life.at(life.ends):
            life.began += life.billing
        else:
            life.anchor, life.began, life.plan_began = today, 0, 0
        life.term, life.billing = self.plans[row.plan_id]
        life.unit = self._price(row, row.plan_id)
        self._expect(bill, life, "reactivation")

    def _expect(self, bill: Bill, life: Life, type_: str) -> None:
        wanted = (type_, life.at(life.began), life.at(life.ends), life.quantity * life.unit)
        got = (bill.type, bill.period_start, bill.period_end, bill.subtotal_minor)
        if wanted != got:
            self._say(
                "a period is billed once, where the calendar says, at its price",
                bill=bill.number,
                got=got,
                is_to_be=wanted,
            )

    def _judge_added(self, bill: Bill) -> None:
        """By the day, from the day of adding to the end of the period (product §5.4)."""
        life = self.lives[bill.subscription_id]
        first, last = (life.at(months).astimezone(life.zone).date() for months in (life.began, life.ends))
        day = bill.period_start.astimezone(life.zone).date()
        whole, days, used = bill.quantity * life.unit, (last - first).days, (day - first).days
        wanted = whole - _half_up(Fraction(whole * used, days))
        if (bill.subtotal_minor, bill.period_end) != (wanted, life.at(life.ends)):
            self._say(
                "added seats cost what is left of the period",
                bill=bill.number,
                got=bill.subtotal_minor,
                is_to_be=wanted,
            )
        # In one step a charge may get its outcome and the next period its bill, which is for these seats too.
        life.quantity += bill.quantity

    def _judge_note(
        self,
        number: str,
        at: datetime,
        back: int,
        seats: int,
        bill_seats: int,
        unit: int,
        start: datetime,
        end: datetime,
        subscription_id: int,
        is_first: bool,
    ) -> None:
        """By the day, the day of going counted as used (product §5.5); what is given back of a paid bill's seats."""
        life = self.lives[subscription_id]
        day = at.astimezone(life.zone).date()
        last = end.astimezone(life.zone).date()
        first = min(start.astimezone(life.zone).date(), life.at(life.began).astimezone(life.zone).date())
        days, used = (last - first).days, (day - first).days + 1

        def unused(count: int) -> int:
            whole = count * unit
            return whole - _half_up(Fraction(whole * used, days))

        wanted = unused(bill_seats) - unused(bill_seats - seats)
        if (is_first and back != wanted) or back > unused(bill_seats):
            self._say("seats that go give their unused days back", note=number, got=back, is_to_be=wanted)

    # --- Subscriptions ----------------------------------------------------------------------------------

    def _follow(self, row: Row, told: set[str]) -> None:
        life, before = self.lives.get(row.id), self.rows.get(row.id)
        if row.parked_reason:
            self._say("nothing is parked", subscription=row.id, reason=row.parked_reason)
        if before is not None and before.state != row.state:
            is_back = RANK[row.state] < RANK[before.state]
            if not told & TOLD[row.state] or before.state == "deleted" or (is_back and row.state != "active"):
                self._say(
                    "the states follow one another as drawn, and the history says so",
                    subscription=row.id,
                    was=before.state,
                    now=row.state,
                    told=sorted(told),
                )
            # A night's job may stop the renewal of a purchase whose term is over, just before what expires is swept.
            was_to_renew = before.recurring_billing and "recurring_billing_off" not in told
            if row.state == "expired" and (was_to_renew or self.world.at < row.term_end):
                self._say("what expires was to end, and its time had come", subscription=row.id)
            if row.state == "disabled" and row.disabled_reason == "unpaid":
                self._judge_cut(row)
        if row.state in ("scheduled", "active", "expired") and row.ordered != row.quantity:
            self._say(
                "the seats are those of its orders", subscription=row.id, seats=row.quantity, of=row.ordered
            )
        if life is None:
            return
        life.past.append((self.world.at, row.recurring_billing, row.state))
        life.quantity = row.quantity
        if row.state == "active":
            terms = (life.began - life.plan_began) // life.term + 1
            wanted = (life.at(life.began), life.at(life.ends), life.at(life.plan_began + terms * life.term))
            got = (row.period_start, row.period_end, row.term_end)
            if wanted != got:
                self._say(
                    "the running period is the calendar's", subscription=row.id, got=got, is_to_be=wanted
                )

    def _judge_cut(self, row: Row) -> None:
        """Access ends for want of payment 30 days after the first failure, or with the unpaid period if sooner."""
        ends = [
            min(failed_at + PAY_WITHIN, period_end)
            for failed_at, period_end in ask(
                "SELECT failed_at, period_end FROM commerce_bill WHERE subscription_id = %(id)s"
                " AND status IN ('open', 'past_due') AND failed_at IS NOT NULL",
                id=row.id,
            )
        ]
        if not ends or self.world.at < min(ends):
            self._say("access is cut only when the time to pay is over", subscription=row.id, pay_by=ends)

    # --- Money ------------------------------------------------------------------------------------------

    def _compare_with_processor(self) -> None:
        """The processor's ledger and the books are equal to the cent, charge by charge."""
        gateway = self.world.gateway
        charges = {one["id"]: one for one in gateway.objects("charge") if one["status"] == "succeeded"}
        back: dict[str, int] = defaultdict(int)
        for refund in gateway.objects("refund"):
            if refund["status"] == "succeeded":
                back[refund["charge"]] += refund["amount"]
        for dispute in gateway.objects("dispute"):
            if dispute["status"] == "lost":
                back[dispute["charge"]] += dispute["amount"]
        booked = {
            charge_id: (amount, currency.lower(), refunded)
            for charge_id, amount, currency, refunded in ask(_BOOKED)
        }
        given_back = {intent_id: int(amount) for intent_id, amount in ask(_GIVEN_BACK)}
        for id_, charge in charges.items():
            if id_ in booked:
                wanted = (charge["amount"], charge["currency"], back[id_])
                if booked[id_] != wanted:
                    self._say(
                        "a charge is booked as it was made", charge=id_, booked=booked[id_], made=wanted
                    )
            elif (
                back[id_] != charge["amount"] or given_back.get(charge["payment_intent"]) != charge["amount"]
            ):
                self._say(
                    "a charge is booked, or given back whole",
                    charge=id_,
                    amount=charge["amount"],
                    back=back[id_],
                    cause=charge["metadata"],
                )
        for id_ in booked.keys() - charges.keys():
            self._say("what is booked was charged", charge=id_)
        self._judge_charges(charges.values(), back)

    def _judge_charges(self, charges: Any, back: dict[str, int]) -> None:
        """No cause is charged twice, and no renewal that was stopped."""
        kept: dict[str, list[str]] = defaultdict(list)
        renewals = dict(ask(_RENEWALS))
        for charge in charges:
            cause = charge["metadata"].get("bill") or charge["metadata"].get("checkout") or ""
            if back[charge["id"]] < charge["amount"]:
                kept[cause].append(charge["id"])
            subscription_id = renewals.get(charge["payment_intent"])
            if subscription_id is not None:
                at = datetime.fromtimestamp(charge["created"], UTC)
                if not self.lives[subscription_id].may_be_charged(at):
                    self._say("no renewal is charged that was stopped", cause=cause, at=at)
        for cause, ids in kept.items():
            if len(ids) > 1:
                self._say("nothing is charged twice", cause=cause, charges=ids)

    def _must_be_done(self) -> None:
        for what, count in ask(_LEFT, at=self.world.at):
            if count:
                self._say("nothing is left undone", what=what, count=count)

    # --- The end ----------------------------------------------------------------------------------------

    def summary(self) -> list[str]:
        """The books as one history leaves them, for its digest."""
        return [" ".join(map(str, line)) for line in ask(_SUMMARY)]


_ROWS = """
SELECT s.id, s.tenant_id, s.state, s.channel, s.quantity, s.next_quantity, s.next_plan_id, s.plan_id, s.term_months,
       s.billing_months, s.unit_price_minor, s.recurring_billing, s.anchor_date, s.time_zone, s.period_start,
       s.period_end, s.term_end, s.market_id, s.disabled_reason, s.parked_reason, coalesce(o.n, 0)::bigint
  FROM commerce_subscription s
  LEFT JOIN (SELECT l.subscription_id, sum(l.quantity) AS n
               FROM commerce_orderline l JOIN commerce_order r ON r.id = l.order_id
               JOIN commerce_subscription t ON t.id = l.subscription_id
              WHERE r.type <> 'trial' OR t.channel = 'trial'
              GROUP BY 1) o ON o.subscription_id = s.id
 ORDER BY s.id
"""
_EVENTS = "SELECT id, subscription_id, code FROM commerce_subscriptionevent WHERE id > %(after)s ORDER BY id"
_BILLS = """
SELECT b.id, b.subscription_id, b.number, b.type, b.replaces_id, b.issued_at, b.period_start, b.period_end,
       b.subtotal_minor, b.tax_rate, b.tax_minor, l.quantity::bigint, l.unit
  FROM commerce_bill b
  JOIN (SELECT bill_id, sum(quantity) AS quantity, max(unit_price_minor) AS unit FROM commerce_billline GROUP BY 1) l
    ON l.bill_id = b.id
 WHERE b.id > %(after)s AND b.credits_id IS NULL ORDER BY b.id
"""
# Of paid bills only: what is still owed on account is issued anew instead. Centralizing gives back as of the day on which
# it was decided, however late the money moves.
_NOTES = """
SELECT n.id, n.number, coalesce((
           SELECT c.refund_at FROM licensing_centralizedpurchase p
             JOIN licensing_centralization c ON c.id = p.centralization_id
            WHERE p.subscription_id = b.subscription_id AND p.state = 'ended' AND n.type = 'cancel'
              AND EXISTS (SELECT FROM commerce_subscriptionevent e WHERE e.subscription_id = b.subscription_id
                             AND e.code = 'centralized_ended' AND e.at = n.issued_at)
            ORDER BY p.id DESC LIMIT 1), n.issued_at), -n.subtotal_minor, -l.quantity::bigint, o.quantity::bigint, o.unit,
       b.period_start, b.period_end, b.subscription_id,
       NOT EXISTS (SELECT FROM commerce_bill e WHERE e.credits_id = b.id AND e.id < n.id)
  FROM commerce_bill n JOIN commerce_bill b ON b.id = n.credits_id
  JOIN (SELECT bill_id, sum(quantity) AS quantity FROM commerce_billline GROUP BY 1) l ON l.bill_id = n.id
  JOIN (SELECT bill_id, sum(quantity) AS quantity, max(unit_price_minor) AS unit
          FROM commerce_billline GROUP BY 1) o ON o.bill_id = b.id
 WHERE n.id > %(after)s AND n.type IN ('cancel', 'remove_seats') AND b.status = 'paid' AND b.replaces_id IS NULL
 ORDER BY n.id
"""
_BOOKED = """
SELECT p.processor_charge_id, p.amount_minor, p.currency, coalesce(r.amount, 0)::bigint
  FROM commerce_payment p
  LEFT JOIN (SELECT attempt_id, sum(CASE WHEN reverses_id IS NULL THEN amount_minor ELSE -amount_minor END) AS amount
               FROM commerce_refund GROUP BY 1) r ON r.attempt_id = p.attempt_id
 WHERE p.processor_charge_id <> ''
"""
_GIVEN_BACK = """
SELECT a.intent_id, sum(r.amount_minor) FROM commerce_refund r
  JOIN commerce_paymentattempt a ON a.id = r.attempt_id WHERE r.payment_id IS NULL GROUP BY 1
"""
_RENEWALS = """
SELECT a.intent_id, b.subscription_id FROM commerce_paymentattempt a JOIN commerce_bill b ON b.id = a.bill_id
 WHERE b.type = 'renewal' AND NOT a.on_session AND a.state = 'succeeded'
"""
_LEFT = """
SELECT 'attempts', count(*) FROM commerce_paymentattempt WHERE state NOT IN ('succeeded', 'failed', 'canceled')
UNION ALL SELECT 'refunds', count(*) FROM commerce_refundattempt WHERE state = 'created'
UNION ALL SELECT 'cards being added', count(*) FROM commerce_cardsetup
           WHERE state NOT IN ('done', 'failed', 'abandoned') AND created_at < %(at)s - interval '25 hours'
UNION ALL SELECT 'events', count(*) FROM commerce_webhookevent WHERE handled_at IS NULL
UNION ALL SELECT 'periods', count(*) FROM commerce_subscription s
           WHERE s.state <> 'deleted' AND s.due_at <= %(at)s AND s.payment_failed_at IS NULL
UNION ALL SELECT 'card bills neither paid nor in dunning', count(*) FROM commerce_bill b
            JOIN commerce_subscription s ON s.id = b.subscription_id
           WHERE b.collection = 'card' AND b.status = 'open' AND b.credits_id IS NULL AND b.failed_at IS NULL
             AND b.total_minor > 0 AND s.state = 'active'
"""
_SUMMARY = """
SELECT b.number, b.type, b.status, b.total_minor, b.paid_minor, b.refunded_minor, b.credited_minor, b.period_start
  FROM commerce_bill b ORDER BY b.id
"""
