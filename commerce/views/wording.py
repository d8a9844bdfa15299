"""The words for what happened to a purchase and what comes next (design §2)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from commerce import states
from commerce.models import Subscription, SubscriptionEvent
from commerce.operations.cancellations import Reason
from commerce.queries import details
from commerce.queries.cancellations import Ending
from commerce.queries.details import HistoryEntry
from commerce.queries.dunning import FailedPayment
from commerce.views.subscriptions import day, day_of, money
from config.kit.actors import Actor
from config.kit.errors import Text

EVENTS: dict[str, Text] = {
    "purchased": gettext_lazy("Bought"),
    "started": gettext_lazy("Started"),
    "renewed": gettext_lazy("Renewed"),
    "charged": gettext_lazy("Charged for a month"),
    "license_assigned": gettext_lazy("License assigned"),
    "license_from_waiting_list": gettext_lazy("License given from the waiting list"),
    "license_unassigned": gettext_lazy("License unassigned"),
    "license_given_back": gettext_lazy("License given back"),
    "first_license_refused": gettext_lazy("First license not given"),
    "recurring_billing_on": gettext_lazy("Recurring billing switched on"),
    "recurring_billing_off": gettext_lazy("Recurring billing switched off"),
    "seats_added": gettext_lazy("Licenses added"),
    "seats_removed": gettext_lazy("Licenses removed"),
    "quantity_scheduled": gettext_lazy("Number of licenses scheduled for the renewal"),
    "quantity_schedule_revoked": gettext_lazy("Scheduled number of licenses taken back"),
    "plan_scheduled": gettext_lazy("Plan scheduled for the renewal"),
    "plan_schedule_revoked": gettext_lazy("Scheduled plan taken back"),
    "quantity_changed": gettext_lazy("Number of licenses changed at the renewal"),
    "plan_changed": gettext_lazy("Plan changed at the renewal"),
    "scheduled_changes_dropped": gettext_lazy("Scheduled changes fell away"),
    "canceled": gettext_lazy("Canceled"),
    "reactivated": gettext_lazy("Reactivated"),
    "hand_over_offered": gettext_lazy("Offered to a colleague"),
    "hand_over_declined": gettext_lazy("Offer declined"),
    "hand_over_withdrawn": gettext_lazy("Offer withdrawn"),
    "hand_over_lapsed": gettext_lazy("Offer not answered in time"),
    "handed_over": gettext_lazy("Handed over"),
    "taken_over": gettext_lazy("Taken over for the organization"),
    "cancel_asked": gettext_lazy("Purchaser asked to cancel"),
    "cancel_declined": gettext_lazy("Kept by the purchaser, who was asked to cancel"),
    "cancel_request_withdrawn": gettext_lazy("Request to cancel taken back"),
    "kept": gettext_lazy("Looked at by an admin and kept"),
    "take_over_undone": gettext_lazy("Given back to the purchaser"),
    "centralized": gettext_lazy("Users moved to central licenses"),
    "centralized_ended": gettext_lazy("Ended after its users were moved"),
    "centralization_undone": gettext_lazy("Moving its users was undone"),
    "card_changed": gettext_lazy("Another card pays"),
    "payment_failed": gettext_lazy("Payment failed"),
    "payment_recovered": gettext_lazy("Payment received"),
    "paid": gettext_lazy("Paid"),
    "credited": gettext_lazy("Credit note issued"),
    "bill_corrected": gettext_lazy("Bill corrected"),
    "refunded": gettext_lazy("Money refunded"),
    "refund_failed": gettext_lazy("Refund delayed"),
    "trial_started": gettext_lazy("Trial started"),
    "trial_extended": gettext_lazy("Trial extended by 30 days"),
    "trial_kept": gettext_lazy("Kept after the trial"),
    "trial_converted": gettext_lazy("Trial turned paid"),
    "trial_ended": gettext_lazy("Trial ended"),
    "dispute_opened": gettext_lazy("Charge contested at the bank"),
    "dispute_won": gettext_lazy("Contested charge stands"),
    "dispute_lost": gettext_lazy("Charge taken back by the bank"),
    "support_asked_to_cancel": gettext_lazy("Support asked to cancel it"),
    "support_done": gettext_lazy("Canceled by support, as asked"),
    "support_declined": gettext_lazy("Support declined to cancel it"),
    "licenses_freed": gettext_lazy("License of somebody who left is free"),
    "expired": gettext_lazy("Expired"),
    "disabled": gettext_lazy("Disabled"),
    "deleted": gettext_lazy("Deleted"),
    "parked": gettext_lazy("Renewal delayed"),
    "unparked": gettext_lazy("Renewal taken up again"),
}

# Why somebody canceled, as the page asks and the history tells.
REASONS: dict[Reason, Text] = {
    Reason.NOT_NEEDED: gettext_lazy("Nobody needs it any more"),
    Reason.TOO_EXPENSIVE: gettext_lazy("It costs too much"),
    Reason.MISSING_FEATURES: gettext_lazy("Something is missing in it"),
    Reason.OTHER_PRODUCT: gettext_lazy("We use another product"),
    Reason.ORGANIZATION: gettext_lazy("The organization provides it"),
    Reason.BY_MISTAKE: gettext_lazy("It was bought by mistake"),
    Reason.OTHER: gettext_lazy("Another reason"),
}


# Bills and credit notes in an order history, but for those whose words count something.
BILLED: dict[str, Text] = {
    "monthly_charge": gettext_lazy("Charged for 1 month"),
    "trial_conversion": gettext_lazy("Trial turned paid"),
    "reactivation": gettext_lazy("Reactivated"),
    "cancel": gettext_lazy("Canceled"),
    "refund": gettext_lazy("Refund"),
    "credit": gettext_lazy("Credited"),
    "take_over": gettext_lazy("Taken over"),
}


class Told(NamedTuple):
    """One line of a life line: its mark, a fact, and what it means."""

    css: str
    title: str
    text: str


# What is told of one person's license.
OF_ONE: dict[str, Text] = {
    "license_assigned": gettext_lazy("License assigned to %(name)s"),
    "license_from_waiting_list": gettext_lazy("License given to %(name)s from the waiting list"),
    "license_unassigned": gettext_lazy("License unassigned from %(name)s"),
    "licenses_freed": gettext_lazy("License of %(name)s, who left, is free"),
}


def titled(events: Sequence[SubscriptionEvent]) -> list[tuple[SubscriptionEvent, Text]]:
    """Events of one purchase, each with its sentence. One query, where some name people."""
    people = details.people_of(events)
    return [(event, event_title(event, people)) for event in events]


def event_title(event: SubscriptionEvent, people: Mapping[int, str]) -> Text:
    """What happened, and to whom: one is named in the sentence, several behind it, unless some would be left out.

    `people`: names by id, of those whom the event names.
    """
    count = event.facts.get("count", 1)
    names = [people[pk] for pk in event.facts.get("user_ids", ()) if pk in people]
    if event.code not in OF_ONE or len(names) != count:
        return _happened(event, count)
    if count == 1:
        return str(OF_ONE[event.code]) % {"name": names[0]}
    return f"{_happened(event, count)}: {', '.join(names)}"


def _happened(event: SubscriptionEvent, count: int) -> Text:
    """What happened; several licenses at once are counted."""
    if event.code == "license_assigned" and count > 1:
        return str(ngettext("%d license assigned", "%d licenses assigned", count) % count)
    if event.code == "license_unassigned" and count > 1:
        return str(ngettext("%d license unassigned", "%d licenses unassigned", count) % count)
    if event.code == "licenses_freed" and count > 1:
        told = ngettext(
            "%d license of people who left is free", "%d licenses of people who left are free", count
        )
        return str(told % count)
    if event.code == "seats_added":
        return str(ngettext("%d license added", "%d licenses added", count) % count)
    if event.code == "seats_removed":
        return str(ngettext("%d license removed", "%d licenses removed", count) % count)
    if event.code == "quantity_scheduled":
        return _("%(number)s licenses scheduled for the renewal") % {"number": event.facts["next_quantity"]}
    if event.code == "canceled":
        return _canceled(event)
    if event.code.startswith("hand") and "from" in event.facts:
        return f"{EVENTS[event.code]}: {event.facts['from']} → {event.facts['to']}"
    return EVENTS.get(event.code, event.code.replace("_", " ").capitalize())


def _canceled(event: SubscriptionEvent) -> str:
    """What canceling did, and why, where that was said."""
    at_term = event.facts.get("ending") == Ending.AT_TERM
    told = _("Renewal stopped") if at_term else _("Canceled")
    reason = event.facts.get("reason", "")
    return f"{told}: {REASONS[Reason(reason)]}" if reason in Reason else told


def history_title(entry: HistoryEntry) -> str:
    if entry.type == "purchase":
        return _("Bought")
    if entry.type == "add_seats":
        return str(ngettext("%d license added", "%d licenses added", entry.quantity) % entry.quantity)
    if entry.type == "remove_seats":
        count = abs(entry.quantity)
        return str(ngettext("%d license removed", "%d licenses removed", count) % count)
    if entry.type in BILLED:
        return str(BILLED[entry.type])
    if entry.months == 12:
        return _("Renewed for 1 year")
    return _("Renewed for 1 month")


def paid_by(actor: Actor, subscription: Subscription) -> tuple[str, str]:
    """How the purchase is paid: a fact and a note. Nobody sees another's card."""
    if subscription.is_on_account:
        return _("On account"), _("Billed under the agreement")
    if subscription.is_organizations:
        return _("Organization's card"), _("Under Payment methods, for who pays its bills")
    if not subscription.is_owned_by(actor):
        return _("Purchaser's card"), _("Card details are never shown to admins")
    card = subscription.card
    if card is None:
        return _("No card"), ""
    expiry = f"{card.expires_month:02d}/{card.expires_year % 100:02d}"
    return f"•• {card.last4}", _("%(brand)s, expires %(expiry)s") % {
        "brand": card.brand.capitalize(),
        "expiry": expiry,
    }


def to_whom(actor: Actor, subscription: Subscription) -> str:
    """Where the next charge goes, for the end of a sentence."""
    if subscription.is_on_account:
        return _("on account")
    if subscription.is_organizations:
        return _("to the organization's card")
    if not subscription.is_owned_by(actor):
        return _("to the purchaser's card")
    card = subscription.card
    if card is None:
        return _("to your card")
    return _("to %(brand)s ending in %(last4)s") % {"brand": card.brand.capitalize(), "last4": card.last4}


class Unpaid(NamedTuple):
    """What is open of a purchase whose payment failed, and what comes next of it; no amount for who may not see it."""

    amount: str
    until: str


def unpaid(subscription: Subscription, failed: Sequence[FailedPayment]) -> Unpaid | None:
    """Of its failed payments, all together; None where none failed."""
    if not failed:
        return None
    amounts = [each.total_minor for each in failed if each.total_minor is not None]
    amount = money(sum(amounts), subscription.currency) if len(amounts) == len(failed) else ""
    zone = subscription.time_zone
    if subscription.next_try_at is not None:
        return Unpaid(amount, _("Next try on %(day)s") % {"day": day(subscription.next_try_at, zone)})
    until = min(each.pay_by_at for each in failed)
    return Unpaid(amount, _("To be paid by %(day)s") % {"day": day(until, zone)})


def life(actor: Actor, subscription: Subscription, *, recurring_billing: bool | None = None) -> list[Told]:
    """What happens next, in words, as things stand or as they would with recurring billing switched."""
    steps = details.life_of(subscription, recurring_billing=recurring_billing)
    is_on = subscription.recurring_billing if recurring_billing is None else recurring_billing
    return [_told(step, actor, subscription, is_on) for step in steps]


def _told(step: states.Step, actor: Actor, subscription: Subscription, is_on: bool) -> Told:
    title, text = _words(step, actor, subscription, is_on)
    return Told({"now": "is-now", "change": "is-change"}.get(step.kind, ""), title, text)


def _words(step: states.Step, actor: Actor, subscription: Subscription, is_on: bool) -> tuple[str, str]:
    on_day = {"day": day_of(step.day) if step.day else ""}
    amount = money(details.charge_with_tax(subscription), subscription.currency)
    charge = {"amount": amount, "whom": to_whom(actor, subscription)}
    people = ngettext(
        "The person with a license keeps access for %(days)d days.",
        "The %(count)d people with a license keep access for %(days)d days.",
        subscription.assigned,
    ) % {"count": subscription.assigned, "days": subscription.product.expired_days}
    match step.code:
        case "scheduled":
            return _("Scheduled"), _("Licenses can be used from the start.")
        case "starts":
            return _("%(day)s: starts") % on_day, ""
        case "active":
            return _("Active until %(day)s") % on_day, _("Everybody with a license can work.")
        case "payment_failed":
            return _("Payment failed"), _("Everybody with a license can still work.")
        case "next_try":
            return _("%(day)s: next try") % on_day, _("Once it is paid, everything goes on as before.")
        case "if_paid":
            return _("If it is paid"), _("Active until %(day)s, then Expired.") % on_day
        case "unpaid" if not is_on:
            return _("%(day)s: Disabled, if nothing is paid") % on_day, _(
                "Access ends. Holders and data stay listed; paying the bill brings it back."
            )
        case "unpaid":
            return _("%(day)s: Disabled, if nothing is paid") % on_day, _(
                "Access ends, and recurring billing goes off. Holders and data stay listed; paying the bill brings it back."
            )
        case "trial":
            return _("Trial until %(day)s") % on_day, _("Everybody with a license can work, at no cost.")
        case "turns_paid":
            return _("%(day)s: turns paid") % on_day, f"{charge['amount']} {charge['whom']}."
        case "charged" if is_on:
            return _("%(day)s: next charge") % on_day, _("%(amount)s %(whom)s, and so each month.") % charge
        case "charged":
            total = money(details.still_to_be_charged(subscription), subscription.currency)
            return _("%(day)s: next charge") % on_day, _(
                "%(amount)s %(whom)s, and so each month until the end of the term: %(total)s in all."
            ) % (charge | {"total": total})
        case "renews":
            count = subscription.next_quantity or subscription.quantity
            licenses = ngettext("%d license", "%d licenses", count) % count
            if subscription.next_plan is not None:
                plan = {"licenses": licenses, "plan": subscription.next_plan.label}
                return _("%(day)s: renews") % on_day, _(
                    "%(licenses)s, %(plan)s, at the list price of that day."
                ) % plan
            renewal = money(details.renewal_with_tax(subscription), subscription.currency)
            return _("%(day)s: renews") % on_day, f"{licenses}, {renewal} {charge['whom']}."
        case "if_payment_fails":
            return _("If a payment fails"), _if_payment_fails(subscription)
        case "expired":
            keeps = people if subscription.assigned else _("Nobody has a license.")
            return _("%(day)s: Expired") % on_day, f"{keeps} {_renews(subscription)}".rstrip()
        case "is_expired":
            works = _("Everybody with a license can still work.")
            return _("Expired on %(day)s") % on_day, f"{works} {_renews(subscription)}".rstrip()
        case "disabled":
            ends = _("Access ends. Holders and data stay listed.")
            return _("%(day)s: Disabled") % on_day, f"{ends} {_back(subscription)}".rstrip()
        case "is_disabled":
            stays = _("Nobody has access. Holders and data stay listed.")
            reason = subscription.get_disabled_reason_display()
            told = f"{reason}. {stays}" if reason else stays
            return _("Disabled on %(day)s") % on_day, f"{told} {_back(subscription)}".rstrip()
        case "deleted" if step.kind == "now":
            return _("Deleted on %(day)s") % on_day, _("This is final.")
        case _:
            return _("%(day)s: Deleted") % on_day, _("This is final. The assignments end.")


def _if_payment_fails(subscription: Subscription) -> str:
    if subscription.is_on_account:
        return _("The bill stays open. Nobody loses access because of it.")
    return _(
        "The card is tried again on several days, with a mail each time. If nothing is paid in 30 days, or by the end of that period, access ends."
    )


def _renews(subscription: Subscription) -> str:
    """What Expired leaves open; nothing for a trial, which is bought instead."""
    return "" if subscription.channel == Subscription.Channel.TRIAL else _("It can still be renewed.")


def _back(subscription: Subscription) -> str:
    """What Disabled leaves open; an unpaid one comes back when its bill is paid, which its notice says."""
    if subscription.channel == Subscription.Channel.TRIAL or subscription.payment_failed_at is not None:
        return ""
    return _("It can be brought back by paying a new period.")
