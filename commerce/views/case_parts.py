"""What the customer's and the staff's pages of a case have in common: the form, the conversation, a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.attachments import ACCEPT, MOST_BYTES, MOST_FILES, LeftOut, Why
from commerce.incoming_mail import LONGEST_TEXT
from commerce.models import CaseFile, CaseMessage, SupportCase
from commerce.operations.case_talk import FileRefused, Written
from commerce.queries.cases import conversation
from config.kit.actors import Actor
from config.kit.errors import DomainError, Text
from config.kit.rate import Limit

State = SupportCase.State
TONES: Final = {
    State.OPEN: "sk-info",
    State.WAITING: "sk-warn",
    State.ANSWERED: "sk-ok",
    State.DONE: "sk-ok",
    State.SOLVED: "sk-idle",
    State.DECLINED: "sk-idle",
    State.CLOSED: "sk-idle",
}
_WHY: Final[dict[str, Text]] = {
    Why.TOO_MANY: gettext_lazy("more than 5 files"),
    Why.TOO_LARGE: gettext_lazy("larger than 5 MB"),
    Why.EMPTY: gettext_lazy("empty"),
    Why.KIND: gettext_lazy("not a picture (PNG, JPEG), a PDF or text"),
    Why.TEXT_CUT: gettext_lazy("the text after 20,000 characters"),
}
# Messages of one person, on pages.
_MESSAGES: Final = Limit("case-message", tries=30, per=timedelta(minutes=10), fails_closed=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """A message with what was not kept of it, in words."""

    message: CaseMessage
    files: Sequence[CaseFile]
    left_out: Sequence[str]


def shown(case: SupportCase) -> list[Shown]:
    """The conversation, inside the organization's transaction."""
    return [
        Shown(message, list(message.files.all()), [_left_out(each) for each in message.left_out])
        for message in conversation(case)
    ]


def _left_out(said: dict[str, str]) -> str:
    why = str(_WHY.get(said.get("why", ""), ""))
    return f"{said['name']}: {why}" if said.get("name") else why


def written_of(request: HttpRequest, actor: Actor) -> Written:
    """What was typed and chosen; of files no more is read than tells that there is too much.

    :raises TooManyTries: the person wrote too often.
    """
    _MESSAGES.count(f"{actor.home_tenant_id}:{actor.user_id}")
    chosen = request.FILES.getlist("files")[: MOST_FILES + 1]
    files = [(upload.name or "", upload.read(MOST_BYTES + 1)) for upload in chosen]
    return Written(text_of(request), files)


def text_of(request: HttpRequest) -> str:
    return request.POST.get("text", "").replace("\r\n", "\n")


def form_context(request: HttpRequest, refused: DomainError | None) -> dict[str, Any]:
    """What the fields of a message need; what was typed in vain is still in them, chosen files are not."""
    return {
        "problem": words_of(refused) if refused else "",
        "field": getattr(refused, "field", ""),
        "typed": text_of(request)[:LONGEST_TEXT],
        "longest": LONGEST_TEXT,
        "accept": ACCEPT,
        "hint": _("Up to %(files)d files of %(size)d MB each: pictures (PNG, JPEG), PDF, text, CSV.")
        % {"files": MOST_FILES, "size": MOST_BYTES // 1_000_000},
    }


def words_of(refused: DomainError) -> str:
    if isinstance(refused, FileRefused):
        left_out: LeftOut = refused.left_out
        facts = {"name": left_out.name, "why": _WHY[left_out.why]}
        return _("%(name)s cannot be sent: %(why)s. Nothing was sent. Choose the files again.") % facts
    return str(refused)


def download(file: CaseFile) -> HttpResponse:
    """The file to keep, never to show: whatever is in it, no browser opens it as a page of ours."""
    response = HttpResponse(bytes(file.content), content_type=file.media_type)
    response["Content-Disposition"] = content_disposition_header(True, file.name)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response
