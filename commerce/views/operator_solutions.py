"""What partners want to show beside products: the vendor's staff approve or decline it (product §12)."""

from collections.abc import Iterator
from datetime import datetime

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.models import Solution
from commerce.operations.solutions import LONGEST_DESCRIPTION, decide
from commerce.queries.staff_lists import SOLUTIONS, SolutionRow
from config.kit.actors import Actor
from config.kit.listings import oldest
from config.kit.operator import Look, look_at_waiting
from config.kit.templatetags.kit import moment
from config.kit.worklists import Asked, Column, Deed, Said, Shown, WorkList, page_of
from directory.staff import StaffCapability

State = Solution.State
TONES = {
    State.WAITING: "sk-warn",
    State.APPROVED: "sk-ok",
    State.DECLINED: "sk-bad",
    State.WITHDRAWN: "sk-idle",
}
ALL = ""


def _state(row: SolutionRow, zone: str) -> Shown:
    state = State(row.state)
    return Shown(state.label, row.answer, TONES[state])


def _approve(asked: Asked) -> Said:
    decided = decide(staff=asked.actor, solution_id=asked.row_id, is_approved=True, at=asked.at)
    facts = {"title": decided.title, "product": decided.product.name}
    return Said(_("Approved. %(title)s is shown beside %(product)s from now on.") % facts)


def _decline(asked: Asked) -> Said:
    decided = decide(
        staff=asked.actor, solution_id=asked.row_id, is_approved=False, answer=asked.words, at=asked.at
    )
    return Said(_("Declined. The partner reads why beside %(title)s.") % {"title": decided.title})


def _waits(row: SolutionRow) -> bool:
    return row.state == State.WAITING


SOLUTION_LIST = WorkList(
    title=gettext_lazy("Partners' solutions"),
    about=gettext_lazy(
        "What partners offer around a product. Read it and open its address before you approve: from then on everybody sees "
        "it beside the product."
    ),
    nothing=gettext_lazy("No solution waits for an answer."),
    sees=StaffCapability.OPERATE_SOLUTIONS,
    listing=SOLUTIONS,
    filters=lambda chosen, at: (chosen.state, chosen.words),
    columns=(
        Column(gettext_lazy("Partner"), lambda row, zone: Shown(row.organization, row.product)),
        Column(gettext_lazy("Solution"), lambda row, zone: Shown(row.title, row.description)),
        Column(gettext_lazy("Address"), lambda row, zone: Shown(row.url, address=row.url)),
        Column(gettext_lazy("Sent in"), lambda row, zone: Shown(moment(row.sent_at, zone))),
        Column(gettext_lazy("State"), _state),
    ),
    deeds=(
        Deed("approve", gettext_lazy("Approve"), _approve, fits=_waits),
        Deed(
            "decline",
            gettext_lazy("Decline"),
            _decline,
            fits=_waits,
            asks=gettext_lazy("Why, which the partner reads"),
            longest=LONGEST_DESCRIPTION,
        ),
    ),
    states=(
        (State.WAITING, gettext_lazy("Waits for us")),
        *State.choices[1:],
        (ALL, gettext_lazy("All solutions")),
    ),
)
solutions = page_of(SOLUTION_LIST)


def looks(actor: Actor, at: datetime) -> Iterator[Look]:
    """Solutions that wait for an answer."""
    yield from look_at_waiting(
        _("Partners want something shown beside a product"),
        (row.sent_at for row in oldest(SOLUTIONS, State.WAITING, "")),
        address=reverse("operator:solutions"),
        at=at,
    )
