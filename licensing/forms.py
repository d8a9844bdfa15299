"""Reading what the assign pages post: people ticked, a pasted list, a CSV file."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from config.kit.errors import Malformed, Text
from licensing.lists import BYTE_LIMIT, PeopleList, Reason, Unreadable, read_csv, read_pasted
from licensing.operations.assignments import BATCH_LIMIT, TooMany

UNREADABLE: dict[Reason, Text] = {
    "bytes": _("The list is too large. Use one of up to 100,000 people and 10 MB. Nothing was changed."),
    "encoding": _(
        "The file is not text in UTF-8. Save it as “CSV UTF-8” and choose it again. Nothing was changed."
    ),
    "rows": _("The list has more than 100,000 people. Split it. Nothing was changed."),
    "empty": _("The list names nobody. Use one e-mail address or name per line."),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom a post names. `is_confirmed`: also those who have the product through another purchase."""

    user_ids: tuple[int, ...]
    lists: tuple[PeopleList, ...]
    is_confirmed: bool

    @property
    def size(self) -> int:
        """How many rows, also those that name nobody."""
        return len(self.user_ids) + sum(len(each.rows) + len(each.bad) for each in self.lists)


def person_ids(values: Sequence[str]) -> tuple[int, ...]:
    """Ids of people as posted or in an address, in order, each once.

    :raises Malformed: not a number of the database's size.
    :raises TooMany: more than one statement takes.
    """
    if len(values) > BATCH_LIMIT:
        raise TooMany
    if not all(value.isascii() and value.isdigit() and len(value) <= 18 for value in values):
        raise Malformed(_("Choose people from the list."), field="person")
    return tuple(dict.fromkeys(int(value) for value in values))


def read_choice(request: HttpRequest) -> Choice:
    """:raises Malformed: with the sentence for the field `person`, `people` or `file`."""
    lists = []
    pasted = request.POST.get("people", "")
    if pasted.strip():
        lists.append(_read("people", lambda: read_pasted(pasted)))
    upload = request.FILES.get("file")
    if upload:
        content = upload.read(BYTE_LIMIT + 1)
        lists.append(_read("file", lambda: read_csv(content)))
    return Choice(
        user_ids=person_ids(request.POST.getlist("person")),
        lists=tuple(lists),
        is_confirmed=request.POST.get("confirmed") == "yes",
    )


def _read(field: str, read: object) -> PeopleList:
    try:
        found: PeopleList = read()  # type: ignore[operator]
    except Unreadable as refusal:
        raise Malformed(UNREADABLE[refusal.reason], field=field) from None
    return found
