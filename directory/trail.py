"""The audit trail in words: what its codes mean and which area each belongs to (product §2, §12).

Higher apps name their own codes when they start; one that nobody named is read as it is written.
"""

from collections.abc import Mapping
from typing import Final

from django.utils.translation import gettext_lazy as _

from config.kit.errors import Text

AREAS: Final[Mapping[str, Text]] = {
    "purchases": _("Purchases"),
    "bills": _("Bills & payments"),
    "policies": _("Policies"),
    "licenses": _("Licenses & requests"),
    "workspaces": _("Workspaces"),
    "people": _("People & groups"),
    "roles": _("Roles"),
    "sign_in": _("Sign-in & security"),
    "settings": _("Settings"),
    "partners": _("Partners"),
    "jobs": _("Jobs"),
}
# The beginnings of the codes of each area.
BEGINNINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "purchases": (
        *("commerce.subscription.", "commerce.seats.", "commerce.recurring_billing.", "commerce.order."),
        *("commerce.cancel_request.", "commerce.hand_over.", "commerce.scheduled_changes."),
        *("commerce.quantity.", "commerce.plan.", "commerce.checkout.", "commerce.case."),
        *("commerce.agreement.", "licensing.centralization."),
    ),
    "bills": (
        *("commerce.bill.", "commerce.attempt.", "commerce.charge.", "commerce.refund."),
        *("commerce.dispute.", "commerce.card.", "commerce.card_setup.", "commerce.customer."),
        "commerce.billing.",
    ),
    "policies": ("policies.",),
    "licenses": (
        *("licensing.license.", "licensing.licenses.", "licensing.request.", "licensing.waiting."),
        "licensing.group.",
    ),
    "workspaces": ("licensing.workspace.",),
    "people": ("directory.user.", "directory.group.", "directory.mail_preference."),
    "roles": ("directory.role.", "directory.staff_role."),
    "sign_in": (
        *("directory.user.signed_in", "directory.session.", "directory.token.", "directory.domain."),
        *("directory.identity_provider.", "directory.scim.", "directory.second_factor."),
        "directory.staff_session.",
    ),
    "settings": (
        *("directory.tenant.", "commerce.product.", "commerce.price.", "commerce.training_link."),
        "directory.webhook.",
    ),
    "partners": ("directory.partner.", "directory.relationship.", "commerce.solution.", "policies.template."),
    "jobs": ("directory.job.", "directory.mail.", "commerce.event."),
}
# What billing admins read of it (product §2).
BILLING_AREAS: Final = ("purchases", "bills", "policies")
DOORS: Final[Mapping[str, Text]] = {
    "web": _("In the portal"),
    "api": _("By the API"),
    "scim": _("By the directory (SCIM)"),
    "cli": _("By the vendor's operators"),
    "job": _("By itself"),
    "mail": _("By mail"),
}
TARGETS: Final[Mapping[str, Text]] = {
    "user": _("Person"),
    "group": _("Group"),
    "tenant": _("Organization"),
    "domain": _("Domain"),
    "identity_provider": _("Identity provider"),
    "session": _("Session"),
    "token": _("Token"),
    "webhook": _("Webhook"),
    "job": _("Job"),
    "mail": _("Mail"),
    "relationship": _("Partner relationship"),
    "solution": _("Solution of a partner"),
    "case": _("Support case"),
    "training_link": _("Training link"),
    "policy_template": _("Template of purchase policies"),
    "subscription": _("Purchase"),
    "bill": _("Bill"),
    "card": _("Card"),
    "card_setup": _("Card"),
    "attempt": _("Charge"),
    "refund": _("Refund"),
    "dispute": _("Contested charge"),
    "customer": _("Customer at the card processor"),
    "event": _("Event of the card processor"),
    "hand_over": _("Offer to a colleague"),
    "product": _("Product"),
    "billing": _("Billing of the installation"),
    "data_policy": _("Data policy"),
    "workspace": _("Workspace"),
}
_WORDS: dict[str, Text] = {
    "directory.user.created": _("Account made"),
    "directory.user.created_at_sign_in": _("Account made at the first sign-in"),
    "directory.user.signed_in": _("Signed in"),
    "directory.user.provisioned": _("Account made by the directory"),
    "directory.user.claimed_at_sign_in": _("Account of the directory taken at the first sign-in"),
    "directory.user.profile_changed": _("Account changed"),
    "directory.user.disabled": _("Account disabled"),
    "directory.user.enabled": _("Account enabled"),
    "directory.user.deleted": _("Account deleted"),
    "directory.user.data_downloaded": _("Own data downloaded"),
    "directory.role.granted": _("Role given"),
    "directory.role.revoked": _("Role taken back"),
    "directory.staff_role.granted": _("Role at the vendor's site given"),
    "directory.staff_role.revoked": _("Role at the vendor's site taken back"),
    "directory.second_factor.added": _("Second factor set up"),
    "directory.second_factor.removed": _("Second factor removed"),
    "directory.second_factor.shown": _("Second factor shown"),
    "directory.second_factor.refused": _("Second factor refused"),
    "directory.second_factor.codes_made": _("Recovery codes made"),
    "directory.second_factor.forgotten": _("Second factors of a person forgotten"),
    "directory.group.created": _("Group made"),
    "directory.group.changed": _("Group changed"),
    "directory.group.deleted": _("Group deleted"),
    "directory.group.member_added": _("Put into a group"),
    "directory.group.member_removed": _("Taken out of a group"),
    "directory.session.ended": _("Own sessions ended"),
    "directory.session.ended_by_admin": _("Sessions of a person ended"),
    "directory.domain.added": _("Domain added"),
    "directory.domain.verified": _("Domain proved"),
    "directory.domain.record_missing": _("Record of a domain found missing"),
    "directory.domain.lapsed": _("Domain no longer proved"),
    "directory.domain.removed": _("Domain removed"),
    "directory.identity_provider.configured": _("Identity provider changed"),
    "directory.identity_provider.prepared": _("Identity provider prepared"),
    "directory.identity_provider.discarded": _("Prepared identity provider discarded"),
    "directory.identity_provider.tested": _("Signed in at another identity provider as a test"),
    "directory.identity_provider.planned": _("Change of the identity provider planned"),
    "directory.identity_provider.confirmed": _("Change of the identity provider confirmed"),
    "directory.identity_provider.stopped": _("Change of the identity provider stopped"),
    "directory.identity_provider.held_up": _("Change of the identity provider held up: it does not answer"),
    "directory.identity_provider.secret_changed": _("Secret of the identity provider's client changed"),
    "directory.tenant.created": _("Organization set up"),
    "directory.tenant.suspended": _("Organization suspended by the vendor's staff"),
    "directory.tenant.taken_up": _("Organization taken up again by the vendor's staff"),
    "directory.tenant.changed": _("Kind or market of the organization changed by the vendor's staff"),
    "directory.tenant.member_creation_set": _("Who becomes a member at the first sign-in changed"),
    "directory.tenant.seats_kept_changed": _("How long licenses of disabled people are kept changed"),
    "directory.tenant.language_changed": _("Default language changed"),
    "directory.tenant.second_factor_set": _("Demand of a second factor changed"),
    "directory.token.issued": _("Token made"),
    "directory.token.revoked": _("Token revoked"),
    "directory.user.language_chosen": _("Own language chosen"),
    "directory.webhook.registered": _("Webhook registered"),
    "directory.webhook.changed": _("Webhook changed"),
    "directory.webhook.secret_rotated": _("New secret of a webhook"),
    "directory.webhook.paused": _("Webhook paused"),
    "directory.webhook.resumed": _("Webhook resumed"),
    "directory.webhook.replayed": _("Messages of a webhook sent again"),
    "directory.webhook.given_up": _("Webhook paused, since a message did not arrive"),
    "directory.webhook.deleted": _("Webhook deleted"),
    "directory.mail_preference.changed": _("Choice of mails changed"),
    "directory.job.started": _("Job started"),
    "directory.job.finished": _("Job finished"),
    "directory.job.stopped": _("Job stopped"),
    "directory.job.interrupted": _("Job paused"),
    "directory.job.resumed": _("Job resumed"),
    "directory.job.canceled": _("Job canceled"),
    "directory.mail.sent_again": _("Mail sent again by the vendor's staff"),
    "directory.staff_session.opened": _("The vendor's staff began to read the organization's pages"),
    "directory.staff_session.ended": _("The vendor's staff stopped reading the organization's pages"),
    "directory.partner.acting_started": _("Partner began to act for the organization"),
    "directory.relationship.created": _("Partner relationship made"),
    "directory.relationship.asked": _("Partner asked for a relationship"),
    "directory.relationship.approved": _("Partner relationship approved"),
    "directory.relationship.declined": _("Partner relationship declined"),
    "directory.relationship.withdrawn": _("Invitation of a partner withdrawn"),
    "directory.relationship.lapsed": _("Invitation of a partner lapsed"),
    "directory.relationship.assigned": _("Roles of a partner relationship given"),
    "directory.relationship.unassigned": _("Roles of a partner relationship taken back"),
    "directory.relationship.extended": _("Partner relationship extended"),
    "directory.relationship.extension_stopped": _("Partner relationship extends no more"),
    "directory.relationship.ended": _("Partner relationship ended"),
}


def add_words(words: Mapping[str, Text]) -> None:
    """Say what codes mean. For higher apps, when they start."""
    _WORDS.update(words)


def is_named(code: str) -> bool:
    return code in _WORDS


def kind_of(target_type: str) -> Text:
    """What an entry is about, where that has no name."""
    return TARGETS.get(target_type, target_type.replace("_", " ").capitalize())


def title_of(code: str) -> Text:
    """What happened; for a code that nobody named, its last two words."""
    return _WORDS.get(code) or " ".join(code.split(".")[1:]).replace("_", " ").capitalize()


def area_of(code: str) -> str:
    """The area of a code, the most exact one; empty for none."""
    fitting = [
        (len(beginning), area)
        for area, beginnings in BEGINNINGS.items()
        for beginning in beginnings
        if code.startswith(beginning)
    ]
    return max(fitting)[1] if fitting else ""


def outside_of(area: str) -> tuple[str, ...]:
    """Beginnings inside an area's own that belong to another one."""
    own = BEGINNINGS[area]
    return tuple(
        beginning
        for other, beginnings in BEGINNINGS.items()
        if other != area
        for beginning in beginnings
        if beginning.startswith(own)
    )
