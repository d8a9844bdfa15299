"""What outgoing webhooks tell of: types of events, and the codes of the audit trail that each is made of (product §16).

The trail is the one home of what happened. A trigger on its table makes the messages, in the transaction of the change.
Whoever changes `TYPES` puts the trigger up anew in a migration with its own copy; a test tries every code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext_lazy as _

from config.kit.errors import Text
from directory.trail import BILLING_AREAS, area_of

TEST: Final = "webhook.test"


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of the catalogue: what it means, and which entries of the trail it is."""

    label: Text
    codes: tuple[str, ...]

    @property
    def is_billing(self) -> bool:
        """Whether billing admins read those entries, too."""
        return all(area_of(code) in BILLING_AREAS for code in self.codes)


TYPES: Final[Mapping[str, EventType]] = {
    "purchase.made": EventType(
        _("Something was bought, or a trial begun"),
        ("commerce.subscription.purchased", "commerce.subscription.trial_started"),
    ),
    "purchase.renewed": EventType(_("A purchase renewed"), ("commerce.subscription.renewed",)),
    "purchase.canceled": EventType(_("A purchase was canceled"), ("commerce.subscription.canceled",)),
    "purchase.expired": EventType(
        _("A purchase or trial ran out"),
        ("commerce.subscription.expired", "commerce.subscription.trial_ended"),
    ),
    "purchase.disabled": EventType(
        _("The days after the end are over: nobody has access"), ("commerce.subscription.disabled",)
    ),
    "purchase.deleted": EventType(_("A purchase was deleted"), ("commerce.subscription.deleted",)),
    "purchase.reactivated": EventType(
        _("A purchase was brought back"), ("commerce.subscription.reactivated",)
    ),
    "purchase.owner_changed": EventType(
        _("A purchase was taken over, handed over or given back"),
        (
            "commerce.subscription.taken_over",
            "commerce.subscription.handed_over",
            "commerce.subscription.take_over_undone",
        ),
    ),
    "seats.changed": EventType(
        _("Licenses were added to a purchase or removed"),
        ("commerce.seats.added", "commerce.seats.removed", "commerce.quantity.changed"),
    ),
    "bill.issued": EventType(_("A bill was issued"), ("commerce.bill.issued",)),
    "bill.paid": EventType(_("A bill was paid"), ("commerce.bill.paid",)),
    "bill.payment_failed": EventType(_("A payment failed"), ("commerce.bill.payment_failed",)),
    "policy.changed": EventType(
        _("The purchase policy changed"),
        (
            "policies.cap.changed",
            "policies.threshold.changed",
            "policies.default.changed",
            "policies.new_products.changed",
            "policies.category_policy.changed",
            "policies.product_policy.changed",
            "policies.group_policy.changed",
            "policies.offer_type_policy.changed",
        ),
    ),
    "license.assigned": EventType(
        _("Somebody got a license"),
        ("licensing.license.assigned", "licensing.license.given_from_waiting_list"),
    ),
    "license.removed": EventType(
        _("Somebody's license ended, or all of a deleted purchase"),
        (
            "licensing.license.unassigned",
            "licensing.license.given_back",
            "licensing.license.freed",
            "licensing.licenses.ended",
        ),
    ),
    "request.opened": EventType(_("Somebody asked for a license"), ("licensing.request.asked",)),
    "request.decided": EventType(
        _("A request was approved or rejected"),
        ("licensing.request.approved", "licensing.request.rejected"),
    ),
    "request.closed": EventType(
        _("A request was withdrawn or lapsed"), ("licensing.request.withdrawn", "licensing.request.lapsed")
    ),
    "user.left": EventType(
        _("Somebody's account was disabled or deleted"), ("directory.user.disabled", "directory.user.deleted")
    ),
    "relationship.approved": EventType(
        _("A partner relationship was approved"), ("directory.relationship.approved",)
    ),
    "relationship.ended": EventType(_("A partner relationship ended"), ("directory.relationship.ended",)),
}
TYPE_OF_CODE: Final[Mapping[str, str]] = {
    code: name for name, event_type in TYPES.items() for code in event_type.codes
}
BILLING_TYPES: Final = frozenset(name for name, event_type in TYPES.items() if event_type.is_billing)


_TRIGGER = """
CREATE OR REPLACE FUNCTION directory_queue_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.directory_webhookdelivery (tenant_id, endpoint_id, key, type, at, data, state, next_try_at)
    SELECT n.tenant_id, w.id, gen_random_uuid(), told.type, n.at,
           jsonb_strip_nulls(jsonb_build_object(
               'auditEntryId', n.id,
               'purchaseId', CASE WHEN n.target_type = 'subscription' THEN n.target_id END,
               'billNumber', CASE WHEN n.target_type = 'bill' THEN nullif(n.target_label, '') END,
               'requestId', CASE WHEN n.target_type = 'license_request' THEN n.target_id END,
               'relationshipId', CASE WHEN n.target_type = 'relationship' THEN n.target_id END,
               'userId', CASE WHEN n.target_type = 'user' THEN n.target_id
                              WHEN n.code LIKE 'licensing.license.%' THEN
                                   (SELECT u.key::text FROM public.directory_user u
                                     WHERE u.tenant_id = n.tenant_id
                                       AND u.id = CASE WHEN coalesce(n.after, n.before) ->> 'user_id' ~ '^[0-9]{1,18}$'
                                                       THEN (coalesce(n.after, n.before) ->> 'user_id')::bigint END)
                         END)),
           'queued', n.at
      FROM made n
      JOIN public.directory_webhookendpoint w ON w.tenant_id = n.tenant_id
      JOIN (VALUES {values}) told (code, type) ON told.code = n.code AND told.type = ANY (w.types);
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER directory_queue_webhooks AFTER INSERT ON directory_auditentry
REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION directory_queue_webhooks()
"""


def put_up_trigger(type_of_code: Mapping[str, str]) -> str:
    """The SQL of the trigger for a catalogue that a migration writes out; again is harmless."""
    values = ", ".join(f"('{code}', '{name}')" for code, name in type_of_code.items())
    return _TRIGGER.replace("{values}", values)
