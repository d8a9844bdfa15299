"""Reading support cases: whose, what was written, which files came along (product §14)."""

import uuid
from collections.abc import Collection, Sequence
from typing import Final

from django.db.models import Prefetch

from commerce.models import CaseFile, CaseMessage, Subscription, SupportCase
from commerce.queries.subscriptions import words_of
from config.kit import keyset
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from directory.permissions import Capability

State = SupportCase.State
# What the customer's list is narrowed to, by the states that it shows; the first is what it opens with.
SHOWN: Final = {
    "current": (State.OPEN, State.WAITING, State.ANSWERED),
    "over": (State.SOLVED, State.CLOSED, State.DONE, State.DECLINED),
    "all": tuple(State),
}
# So many purchases are offered to be asked about; more are found by a word.
MOST_OFFERED: Final = 20


def cases_page(actor: Actor, *, show: str, kind: str, cursor: str) -> keyset.Page[SupportCase]:
    """The newest first, with product; `show` of `SHOWN`, `kind` empty for every. One query.

    :raises Malformed: there is no such page.
    """
    rows = SupportCase.objects.visible_to(actor).filter(state__in=SHOWN[show])
    if kind:
        rows = rows.filter(kind=kind)
    rows = rows.select_related("subscription__product")
    return keyset.paginate(rows, order=("-id",), cursor=cursor, key=lambda row: (row.pk,))


def case_for(actor: Actor, key: uuid.UUID) -> SupportCase:
    """With its purchase. One query. :raises NotVisible: there is none for this person."""
    rows = SupportCase.objects.visible_to(actor).filter(key=key)
    case: SupportCase | None = rows.select_related("tenant", "subscription__product").first()
    if case is None:
        raise NotVisible
    return case


def conversation(case: SupportCase) -> Sequence[CaseMessage]:
    """What was written, the oldest first, each with its files but for their content. Two queries."""
    files = CaseFile.objects.defer("content").order_by("id")
    rows = CaseMessage.objects.filter(case=case).order_by("id")
    return list(rows.prefetch_related(Prefetch("files", queryset=files)))


def file_of(case: SupportCase, key: uuid.UUID) -> CaseFile:
    """One of its files with its content. One query. :raises NotVisible: it has none such."""
    file: CaseFile | None = CaseFile.objects.filter(message__case=case, key=key).first()
    if file is None:
        raise NotVisible
    return file


def to_ask_about(actor: Actor, text: str) -> tuple[Sequence[Subscription], bool]:
    """Purchases about which the person may ask support, by product; whether there are more. One query."""
    rows = Subscription.objects.visible_to(actor, Capability.OPEN_CASES).not_deleted()
    for word in words_of(text):
        rows = rows.filter(search_text__contains=word)
    found = list(rows.select_related("product", "plan").order_by("product_sort", "id")[: MOST_OFFERED + 1])
    return found[:MOST_OFFERED], len(found) > MOST_OFFERED


def cases_seen(actor: Actor, keys: Collection[str]) -> set[str]:
    """Those that the person sees, for the links of notices. One query."""
    rows = SupportCase.objects.visible_to(actor).filter(key__in=keys)
    return {str(key) for key in rows.values_list("key", flat=True)}
