"""A worker killed before and after each step of a charge, in the middle of many (F-01: R2 to R8).

`make drill` runs the same with a thousand subscriptions each.
"""

import email
import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.kit.tenancy import use_login
from directory.models import OutgoingMail
from directory.operations.outbox import send_due_mails
from tests.faults.crowd import (
    DOSE,
    assert_each_is_billed_and_charged_once,
    bill_and_charge,
    crowd,
    in_a_process,
    let_leases_run_out,
)

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor"),
]

MARCH = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
APRIL = datetime(2026, 4, 10, 9, 30, tzinfo=UTC)
SOON = APRIL + timedelta(minutes=10)

SIDES = ("before", "after")


@pytest.mark.parametrize("point", [f"R{step}:{side}" for step in range(2, 8) for side in SIDES])
def test_the_next_sweep_finishes_what_a_killed_worker_left(point: str) -> None:
    subscriptions = crowd(DOSE, at=MARCH)

    killed = in_a_process(lambda: bill_and_charge(APRIL), fault=f"{point}@{DOSE // 2}")
    let_leases_run_out()
    bill_and_charge(SOON)

    assert killed == -signal.SIGKILL
    assert_each_is_billed_and_charged_once(subscriptions, at=SOON)


@pytest.mark.parametrize("point", [f"R8:{side}" for side in SIDES])
def test_each_receipt_goes_out_once_though_the_worker_that_sends_them_is_killed(
    point: str, settings: Any, tmp_path: Path
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path)
    crowd(DOSE, at=MARCH)
    bill_and_charge(APRIL)
    with use_login("worker"):
        mails = list(OutgoingMail.objects.values_list("event_key", flat=True))
    assert len(mails) == 1 + DOSE

    killed = in_a_process(lambda: send_due_mails(at=APRIL, limit=len(mails)), fault=f"{point}@{DOSE // 2}")
    sent_by_the_next = send_due_mails(at=SOON, limit=len(mails))

    assert killed == -signal.SIGKILL
    assert sent_by_the_next == len(mails) - (DOSE // 2 - (point == "R8:before"))
    ids = sent_ids(tmp_path)
    assert len(ids) == len(set(ids)) == len(mails)


def sent_ids(folder: Path) -> list[str]:
    """The Message-ID of every mail that was sent into a folder."""
    texts = [text for file in folder.iterdir() for text in re.split(r"^-{79}$", file.read_text(), flags=re.M)]
    return [str(email.message_from_string(text.strip())["Message-ID"]) for text in texts if text.strip()]
