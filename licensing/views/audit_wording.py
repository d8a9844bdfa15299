"""What the codes of licenses and requests mean in the audit trail."""

from collections.abc import Mapping
from typing import Final

from django.utils.translation import gettext_lazy as _

from config.kit.errors import Text

AUDIT_WORDS: Final[Mapping[str, Text]] = {
    "licensing.license.assigned": _("License assigned"),
    "licensing.license.unassigned": _("License taken back"),
    "licensing.license.given_back": _("License given back"),
    "licensing.license.given_from_waiting_list": _("License given from the waiting list"),
    "licensing.license.freed": _("License of somebody who left is free"),
    "licensing.licenses.ended": _("Licenses ended with their purchase"),
    "licensing.group.assigned": _("Licenses given to a group"),
    "licensing.group.unassigned": _("Licenses of a group taken back"),
    "licensing.request.asked": _("License asked for"),
    "licensing.request.forwarded": _("Request forwarded to the billing admins"),
    "licensing.request.approved": _("Request granted"),
    "licensing.request.rejected": _("Request rejected"),
    "licensing.request.withdrawn": _("Request withdrawn"),
    "licensing.request.lapsed": _("Request lapsed without an answer"),
    "licensing.waiting.added": _("Put on the waiting list"),
    "licensing.waiting.removed": _("Taken off the waiting list"),
    "licensing.workspace.made": _("Workspace made"),
    "licensing.workspace.shared": _("Workspace shared outside the organization"),
    "licensing.workspace.unshared": _("Workspace not shared any more"),
    "licensing.workspace.handed_over": _("Workspace handed to somebody else"),
    "licensing.workspace.deleted": _("Workspace deleted after its time"),
    "licensing.centralization.started": _("Centralizing started"),
    "licensing.centralization.resumed": _("Centralizing taken up again"),
    "licensing.centralization.moved": _("Users moved to central licenses"),
    "licensing.centralization.purchase_ended": _("Purchase ended after its users were moved"),
    "licensing.centralization.done": _("Centralizing done"),
    "licensing.centralization.undo_started": _("Undoing a centralization started"),
    "licensing.centralization.undone": _("Centralization undone"),
}
