"""What tests of conversations with support have in common."""

from datetime import datetime
from typing import Any

from commerce.models import Agreement, CaseMessage, PremierIncidents, Subscription, SupportCase
from commerce.operations.case_talk import Written, open_conversation
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, User
from tests.factories import AT, actor_of

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


def ask(user: User, bought: Subscription, at: datetime = AT, **facts: Any) -> SupportCase:
    """A question about a purchase."""
    written = facts.pop("written", Written("Where is my report?"))
    return open_conversation(
        **{
            "actor": actor_of(user, at=at),
            "key": bought.key,
            "kind": "question",
            "subject": "Report is gone",
            "written": written,
            "is_premier": False,
            "at": at,
        }
        | facts
    )


def again(case: SupportCase) -> SupportCase:
    with tenant_atomic(case.tenant_id):
        row: SupportCase = SupportCase.objects.get(pk=case.pk)
    return row


def said(case: SupportCase) -> list[tuple[str, str, bool]]:
    """Author, text, and whether it is support's."""
    with tenant_atomic(case.tenant_id):
        rows = CaseMessage.objects.filter(case=case).order_by("id")
        return list(rows.values_list("author", "text", "is_staff"))


def mails(case: SupportCase, kind: str = "case_replied") -> list[OutgoingMail]:
    with tenant_atomic(case.tenant_id):
        return list(OutgoingMail.objects.filter(kind=kind).order_by("id"))


def grant(agreement: Agreement, granted: int, used: int = 0) -> PremierIncidents:
    with tenant_atomic(agreement.tenant_id):
        row: PremierIncidents = PremierIncidents.objects.create(
            tenant_id=agreement.tenant_id, agreement=agreement, granted=granted, used=used
        )
    return row


def used(agreement_id: int, tenant_id: int) -> int:
    with tenant_atomic(tenant_id):
        return PremierIncidents.objects.get(agreement_id=agreement_id).used
