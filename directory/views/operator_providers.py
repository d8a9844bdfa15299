"""Planned changes of identity providers, of all organizations, for the vendor's staff (docs/operator.md)."""

from collections.abc import Iterator
from datetime import datetime

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.kit.actors import Actor
from config.kit.listings import oldest
from config.kit.operator import Look, look_at_waiting
from config.kit.templatetags.kit import moment
from config.kit.worklists import Asked, Column, Deed, Said, Shown, WorkList, page_of
from directory.operations.staff_providers import (
    LONGEST_PROOF,
    confirm_for_organization,
    stop_for_organization,
)
from directory.queries.staff_organizations import PROVIDER_CHANGES, ProviderChange
from directory.staff import StaffCapability

_HOW = gettext_lazy("How you made sure")


def _second(row: ProviderChange, zone: str) -> Shown:
    if row.confirmed_by:
        return Shown(_("Confirmed"), row.confirmed_by, tone="sk-ok")
    return Shown(_("Waits for a second"), tone="sk-warn")


def _when(row: ProviderChange, zone: str) -> Shown:
    held_up = row.held_up_since
    note = _("Does not answer since %s") % moment(held_up, zone) if held_up else ""
    return Shown(moment(row.switch_at, zone), note)


def _confirm(asked: Asked) -> Said:
    change = confirm_for_organization(
        staff=asked.actor, change_id=asked.row_id, proof=asked.words, at=asked.at
    )
    facts = {"organization": change.organization, "issuer": change.issuer}
    return Said(_("%(organization)s signs in at %(issuer)s once its day of notice is over.") % facts)


def _stop(asked: Asked) -> Said:
    change = stop_for_organization(staff=asked.actor, change_id=asked.row_id, proof=asked.words, at=asked.at)
    return Said(_("The change of %(organization)s was stopped.") % {"organization": change.organization})


CHANGES = WorkList(
    title=gettext_lazy("Changes of sign-in"),
    about=gettext_lazy(
        "Organizations that are about to sign in somewhere else. Whoever controls the sign-in page is everybody: call back on a "
        "number that you know before you confirm. Where there is a second global admin, that one confirms."
    ),
    nothing=gettext_lazy("No organization is about to sign in somewhere else."),
    sees=StaffCapability.OPERATE_TENANTS,
    listing=PROVIDER_CHANGES,
    filters=lambda chosen, at: (chosen.words,),
    columns=(
        Column(gettext_lazy("Organization"), lambda row, zone: Shown(row.organization, row.issuer)),
        Column(
            gettext_lazy("Planned"), lambda row, zone: Shown(row.planned_by, moment(row.planned_at, zone))
        ),
        Column(gettext_lazy("Not before"), _when),
        Column(gettext_lazy("Second"), _second),
    ),
    deeds=(
        Deed(
            "confirm",
            gettext_lazy("Confirm"),
            _confirm,
            fits=lambda row: not row.confirmed_by,
            asks=_HOW,
            longest=LONGEST_PROOF,
        ),
        Deed("stop", gettext_lazy("Stop"), _stop, asks=_HOW, longest=LONGEST_PROOF),
    ),
)
changes = page_of(CHANGES)


def looks(actor: Actor, at: datetime) -> Iterator[Look]:
    """What of these needs a look."""
    yield from look_at_waiting(
        _("Changes of sign-in wait for a second"),
        (row.planned_at for row in oldest(PROVIDER_CHANGES, "") if not row.confirmed_by),
        address=reverse("operator:sign-in-changes"),
        at=at,
    )
